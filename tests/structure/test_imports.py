"""Imports point one way, and third parties stay behind their fences."""

import ast
from collections.abc import Callable

import pytest

import stockade
from tests.structure.source import LEAVES, PACKAGES, Module, modules, within

# What the daemon may share with the client: the wire, and the formats both ends must agree on.
SHARED = (
    "stockade.bounds",
    "stockade.canonical",
    "stockade.home",
    "stockade.lease",
    "stockade.masking",
    "stockade.pairing_code",
    "stockade.statement",
    "stockade.v1",
    "stockade.words",
)

# The commands that work on files alone, or verify what they are told, and the leaf that they do it
# with.
OFFLINE = {
    "ledger": (
        "stockade/cli/ledger_evidence.py",
        "stockade/cli/ledger_export.py",
        "stockade/cli/ledger_jobs.py",
        "stockade/cli/ledger_output.py",
        "stockade/cli/ledger_verify.py",
        "stockade/cli/ledger_witness.py",
    ),
    "policy": ("stockade/cli/policy_evaluate.py",),
}

# Who may import what of others. Where a fence has a hole, the reason stands beside it.
FENCES: dict[str, tuple[str, ...]] = {
    "grpc": (
        "daemon/rpc/",
        "daemon/server.py",
        "daemon/identity/pairing.py",  # serves the one RPC of a device without a certificate
        "stockade/",
    ),
    "grpc_health": ("daemon/server.py", "daemon/rpc/health.py"),
    "grpc_reflection": ("daemon/server.py",),
    "cedarpy": ("policy/",),
    "keyring": ("vault/",),
    "hyperscan": ("vault/",),
    "docker": ("sandbox/",),
    "pyseccomp": ("sandbox/",),
    "alembic": ("daemon/store/",),
    "nacl": ("ledger/", "vault/submission.py", "stockade/sealing.py"),
    "jsonschema": ("daemon/tools/",),
    "pkcs11": (
        "identity/token.py",
        "identity/tokenobjects.py",
        "identity/tokened25519.py",
        "vault/token.py",
    ),
    "pydantic": (
        # what is read from files
        "daemon/identity/agent_manifest.py",
        "daemon/config/",
        "daemon/config_file.py",
        "daemon/inquiry/expectations.py",
        "daemon/tools/",
    ),
    "prometheus_client": ("daemon/metrics.py",),
    "opentelemetry": ("daemon/traces.py",),
    "structlog": ("daemon/",),
    "typer": ("stockade/cli/",),
    "rich": ("stockade/cli/",),
    "sqlalchemy": (
        "daemon/store/",
        # These name the type of the connection they pass on, see the test below.
        "daemon/identity/agents.py",
        "daemon/identity/devices.py",
        "daemon/ledger/evidence_documents.py",
        "daemon/ledger/evidence_pack.py",
        "daemon/policy/policies.py",
        "daemon/inquiry/",
        "daemon/rpc/approvals.py",
    ),
}

# Where it is known which database the store is.
DIALECT = (
    "daemon/store/copying.py",
    "daemon/store/driver_errors.py",
    "daemon/store/engine.py",
)

SPAWNERS = (
    "sandbox/",
    "stockade/cli/ledger_jobs.py",  # the offline verifier's own copies, to use every core
    "stockade/cli/installed.py",
    "stockade/cli/notifying.py",  # the approver's own command, on the approver's own device
    "stockade/cli/preparation.py",
    "stockade/cli/systemd.py",  # systemctl and its kin, by absolute path
    "stockade/cli/up.py",
)
SPAWNING_MODULES = ("subprocess", "multiprocessing", "concurrent.futures.process", "pty", "posix")
SPAWNING_NAMES = (
    *("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "startfile"),
    *("execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp", "execvpe"),
    *("spawnl", "spawnle", "spawnlp", "spawnlpe", "spawnv", "spawnve", "spawnvp", "spawnvpe"),
    *("create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"),
    *("open_process", "run_process"),
)
FORBIDDEN_NAMES = ("utils", "util", "common", "helpers", "helper", "base", "manager", "misc")


def offenders(
    rule: Callable[[Module, str], bool], among: Callable[[Module], bool] = lambda _: True
) -> list[str]:
    """The imports that a rule forbids, as text for the failure."""
    return [
        f"{module.path} imports {name}"
        for module in modules()
        if among(module)
        for name in sorted(module.imports)
        if rule(module, name)
    ]


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_imports_nothing_else_of_ours(leaf: str) -> None:
    """A leaf imports no other leaf, nothing of the daemon, nothing of the client."""
    others = [name for name in PACKAGES if name != leaf]
    assert not offenders(
        lambda _, name: any(within(name, other) for other in others), lambda m: m.top == leaf
    )


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_knows_nothing_of_the_network(leaf: str) -> None:
    """A leaf imports no gRPC and no protobuf."""
    assert not offenders(
        lambda _, name: any(within(name, other) for other in ("grpc", "google")),
        lambda m: m.top == leaf,
    )


def test_the_daemon_takes_only_the_shared_formats_of_the_client() -> None:
    """The daemon imports of `stockade` the wire and the formats of both ends, nothing else."""
    assert not offenders(
        lambda _, name: (
            within(name, "stockade")
            and name != "stockade"
            and not any(within(name, one) for one in SHARED)
        ),
        lambda m: m.top == "daemon",
    )


def test_what_is_shared_depends_on_nothing_of_the_client() -> None:
    """A shared module imports only shared modules: the daemon does not get the client with it."""
    assert not offenders(
        lambda _, name: (
            any(within(name, one) for one in PACKAGES)
            and name != "stockade"
            and not any(within(name, one) for one in SHARED)
        ),
        lambda m: any(within(m.name, one) for one in SHARED),
    )


def test_the_client_does_not_import_the_daemon() -> None:
    """`stockade` imports nothing of the daemon or of a leaf, but where a command works offline."""
    assert not offenders(
        lambda module, name: (
            any(within(name, one) for one in PACKAGES if one != "stockade")
            and not any(
                within(name, leaf) and module.path in commands for leaf, commands in OFFLINE.items()
            )
        ),
        lambda m: m.top == "stockade",
    )


def test_the_command_line_is_above_the_library() -> None:
    """Nothing of `stockade` outside `stockade.cli` imports the command line."""
    assert not offenders(
        lambda _, name: within(name, "stockade.cli"),
        lambda m: m.top == "stockade" and not within(m.name, "stockade.cli"),
    )


def test_the_wire_is_below_everything() -> None:
    """`stockade.v1` imports nothing of ours but itself."""
    assert not offenders(
        lambda _, name: (
            any(within(name, one) for one in PACKAGES) and not within(name, "stockade.v1")
        ),
        lambda m: within(m.name, "stockade.v1"),
    )


@pytest.mark.parametrize("package", FENCES)
def test_a_third_party_stays_behind_its_fence(package: str) -> None:
    """Each third party is imported only where the fence lets it."""
    assert not offenders(
        lambda _, name: within(name, package),
        lambda m: not m.path.startswith(FENCES[package]),
    )


def test_outside_the_store_a_connection_is_only_passed_on() -> None:
    """Outside daemon/store nothing of SQLAlchemy is used but the name of a connection's type."""
    assert not offenders(
        lambda _, name: (
            within(name, "sqlalchemy") and name not in ("sqlalchemy", "sqlalchemy.Connection")
        ),
        lambda m: not m.path.startswith("daemon/store/"),
    )


def test_one_module_speaks_a_dialect() -> None:
    """Only these know which database it is."""
    assert not offenders(
        lambda _, name: within(name, "sqlalchemy.dialects") or within(name, "sqlite3"),
        lambda m: m.path not in DIALECT,
    )


def test_processes_are_started_in_few_places() -> None:
    """Only the sandbox starts processes; the command line `stockaded` and the service manager."""
    found = offenders(
        lambda _, name: any(within(name, one) for one in SPAWNING_MODULES),
        lambda m: not m.path.startswith(SPAWNERS),
    )
    found += [
        f"{module.path}:{node.lineno} uses {name}"
        for module in modules()
        if not module.path.startswith(SPAWNERS)
        for node, name in _names(module.tree)
        if name in SPAWNING_NAMES
    ]
    assert not found


def test_nothing_is_imported_by_a_computed_name() -> None:
    """No import escapes these tests by being computed, but the client's own names, on first use."""
    assert set(stockade._WHERE.values()) <= {module.name for module in modules()}
    assert all(within(name, "stockade") for name in stockade._WHERE.values())
    assert not [
        f"{module.path}:{node.lineno} uses {name}"
        for module in modules()
        if module.name != "stockade"
        for node, name in _names(module.tree)
        if name in ("__import__", "import_module", "exec_module", "spec_from_file_location")
    ]


def test_no_module_is_a_drawer() -> None:
    """No module or package is called utils, common, helpers, base or manager."""
    assert not [
        module.path
        for module in modules()
        if set(module.name.split(".")) & set(FORBIDDEN_NAMES)
        or module.name.endswith(tuple(f"_{name}" for name in FORBIDDEN_NAMES))
    ]


def test_the_fences_are_looked_at() -> None:
    """Every fenced package is imported somewhere, except those whose part is still to come."""
    used = {name.partition(".")[0] for module in modules() for name in module.imports}
    assert set(FENCES) - used <= {"docker"}  # the container tier


def _names(tree: ast.Module) -> list[tuple[ast.expr | ast.alias, str]]:
    """Every name and attribute that is used, and every name that is imported from a module."""
    found: list[tuple[ast.expr | ast.alias, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.append((node, node.attr))
        elif isinstance(node, ast.Name):
            found.append((node, node.id))
        elif isinstance(node, ast.ImportFrom):
            found.extend((alias, alias.name) for alias in node.names)
    return found
