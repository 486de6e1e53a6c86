"""The product's source as the structure tests see it: modules, and what each of them imports."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("daemon", "identity", "ledger", "policy", "sandbox", "stockade", "vault")
LEAVES = ("identity", "ledger", "policy", "sandbox", "vault")


@dataclass(frozen=True)
class Module:
    """One file of the product."""

    name: str  # as it is imported
    path: str  # in the checkout
    tree: ast.Module

    @property
    def imports(self) -> frozenset[str]:
        """Every module it imports, anywhere in it: inside functions and for type checkers too.

        Of `from a import b` both "a" and "a.b", since b may be a module.
        """
        return frozenset(_imports(self.tree))

    @property
    def top(self) -> str:
        """The package it is in."""
        return self.name.partition(".")[0]


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every module of the seven packages."""
    return tuple(
        Module(_name(path), path.relative_to(CHECKOUT).as_posix(), ast.parse(path.read_bytes()))
        for package in PACKAGES
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    )


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return name == package or name.startswith(package + ".")


def _name(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read here"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
