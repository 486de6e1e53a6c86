"""A folder of policies checked without a daemon: against the schema and the tools of this home.

What `stockaded check` prints, for `stockade policy check --offline`. Reads the tools as a start
would and keeps nothing. Who is paired, in which groups, and what is stored is not looked at: of
devices, groups and secrets it says nothing. Raises the faults of a start.
"""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uuid_utils.compat import uuid7

from daemon.tools.registry import BUILTIN_TOOLS, Registry, load
from daemon.tools.snapshot import SnapshotStore
from daemon.world import schema_text, tool_entity
from policy.bundle import Bundle, load_directory
from policy.entity_store import EntityStore
from policy.errors import BundleError
from policy.lint import Known, lint
from stockade.home import Home


def check(folder: Path, home: Home, schema: Path | None = None) -> dict[str, Any]:
    """What is wrong with the policies, as `CheckPolicyResponse` says it, and the tools left out."""
    with TemporaryDirectory(prefix="stockade-check-") as copies:
        store = SnapshotStore(Path(copies), lambda: uuid7().hex)
        registry = load(BUILTIN_TOOLS, home.tools, store)
    text = schema_text(registry) if schema is None else schema.read_text("utf-8")
    try:
        bundle = Bundle.build(load_directory(folder), text)
        problems = lint(bundle, _known(registry, bundle) if schema is None else Known())
    except BundleError as error:
        problems = error.problems
    return {
        "problems": [asdict(one) for one in problems],
        "digest": "",
        "refused_tools": sorted(one.folder.name for one in registry.refused),
    }


def _known(registry: Registry, bundle: Bundle) -> Known:
    store = EntityStore.build([tool_entity(tool) for tool in registry.tools], bundle.schema)
    return Known(store.entities.keys(), frozenset({"Tool"}), store.ancestors)
