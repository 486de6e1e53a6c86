"""Every fault of the daemon says what to do about it: read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import daemon
from daemon import errors
from daemon.rpc import faults
from daemon.store.faults import StoreFault

ROOT = Path(daemon.__file__).parent
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.Fault) and kind is not errors.Fault
}
FIX_POSITION = 2  # StoreFault(code, message, fix)


def raised(path: Path) -> Iterator[ast.Call]:
    """Where a module makes a fault."""
    tree = ast.parse(path.read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "daemon.errors"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == StoreFault.__name__ or node.func.id in imported & set(KINDS):
            yield node


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_fault_carries_a_fix(path: Path) -> None:
    """An error without a way out is half an error."""
    for call in raised(path):
        fix = any(keyword.arg == "fix" for keyword in call.keywords)
        by_place = ast.unparse(call.func) == "StoreFault" and len(call.args) > FIX_POSITION
        assert fix or by_place, f"{path}:{call.lineno}: {ast.unparse(call)}"


def test_every_kind_of_fault_has_a_grpc_code() -> None:
    """Only a defect is INTERNAL, and what cannot happen once it serves: the errors of starting."""
    for kind in KINDS.values():
        more: dict[str, Any] = {"ruled": {}} if kind is errors.RefusedByPolicy else {}
        code = faults.status_code(kind("what", fix="how", **more))
        starting = kind in (errors.ConfigError, errors.StartError)
        assert (code.name == "INTERNAL") is starting, kind
    status = faults.status_of(errors.BadRequest("what", fix="how"))
    assert status.details[0].type_url == "type.googleapis.com/google.rpc.ErrorInfo"
