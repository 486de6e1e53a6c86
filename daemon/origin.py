"""Whether the packages that run are the ones that were installed together.

Their names are generic. A `./policy` in the working directory, or somebody else's `ledger`, must
never become ours: all of them must come from one parent directory, or nothing starts.
"""

import importlib.util
from pathlib import Path

from daemon.errors import StartError

PACKAGES = ("daemon", "identity", "ledger", "policy", "sandbox", "stockade", "vault")


def check_origin() -> None:
    """Raises `StartError` (PACKAGES_MIXED) if the packages have more than one parent directory."""
    parents = {name: _parent(name) for name in PACKAGES}
    if len(set(parents.values())) != 1 or None in parents.values():
        found = ", ".join(f"{name} from {parent}" for name, parent in sorted(parents.items()))
        raise StartError(
            f"the packages do not belong together: {found}",
            code="PACKAGES_MIXED",
            fix="install Stockade in an environment of its own, and start it by its command",
        )


def _parent(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve().parent.parent
