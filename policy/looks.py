"""What policies can tell apart of a value: the comparisons with constants that they make of it.

A policy that asks only `context.arguments.git.ref like "feature/*"` cannot tell two refs apart that
both begin so, nor a quarter past ten from half past where it asks for the hour. Evaluation has no
other way to the context than what the policy writes: where each mention of it is a look as below,
questions with the same outcomes of the looks have the same answer, the same policies behind it and
the same errors. Trusted so that equal outcomes mean just that. Any other mention of a value (put
beside an attribute, counted with, compared with a value of another kind) is none that is known, and
then nothing is said at all. Pure; raises nothing.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from cedarpy import pst

from policy.kinds import (
    Absent,
    Empty,
    Exact,
    Has,
    Holds,
    Kind,
    Like,
    Meets,
    OneOf,
    Ordered,
    Same,
    UnlikeError,
)
from policy.kinds import moment as moment_of
from policy.tree import parts_of
from policy.values import CedarValue

MAX_LOOKS = 64  # for one question; more would cost what they save

_CONTEXT = pst.Var("context")
_MIRRORED = {"less": "greater", "less_eq": "greater_eq", "greater": "less", "greater_eq": "less_eq"}
_RELATIONS = {"contains_any": "any", "contains_all": "all"}
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison, and of what: the names that lead there from the context."""

    path: Path
    kind: Kind

    def at(self, context: Mapping[str, CedarValue]) -> Hashable:
        """What it sees; `UnlikeError` where that cannot be told."""
        value: object = context
        for name in self.path:
            if type(value) is not dict or "__entity" in value or "__extn" in value:
                raise UnlikeError
            if name not in value:
                return Absent.HERE  # an error to the policy, unless it asked with `has`
            value = value[name]
        return self.kind.of(value)

    @property
    def is_unsure(self) -> bool:
        """Whether what is there may be of a type of which there are too many values."""
        return isinstance(self.kind, Exact) and not self.kind.of_clock


def seen(looks: tuple[Look, ...], context: Mapping[str, CedarValue]) -> tuple[Hashable, ...] | None:
    """What the looks see of this context; None where one cannot tell."""
    try:
        return tuple([look.at(context) for look in looks])
    except UnlikeError:
        return None


def looks_of(policy: pst.Template, names: frozenset[str]) -> frozenset[Look] | None:
    """Every look that a policy takes at these attributes of the context; None if at more."""
    found: set[Look] = set()
    left: list[object] = list(policy.clauses)
    while left:
        node = left.pop()
        if (look := _look(node)) is not None:
            found.add(look)
        elif node == _CONTEXT:
            return None  # as a whole
        else:
            left += parts_of(node)
    return frozenset(look for look in found if _first(look) in names)


def _first(look: Look) -> str:
    """The attribute of the context that it is about."""
    if look.path:
        return look.path[0]
    return look.kind.attributes[0] if isinstance(look.kind, Has) else ""


def _look(node: object) -> Look | None:
    """This very expression as a look; None if it is none, whatever there may be inside."""
    match node:
        case pst.HasAttr(base=base, attrs=names) if (path := _path(base)) is not None:
            return Look(path, Has(names))
        case pst.GetAttr() if path := _path(node):
            return Look(path, Exact(path[0] == "clock" and path[-1] != "epoch"))
        case pst.Like(base=base, pattern=pattern) if path := _path(base):
            return Look(path, Like.parse(pattern))
        case pst.UnaryOp(op="is_empty", arg=base) if path := _path(base):
            return Look(path, Empty())
        case pst.BinaryOp(op=op, left=left, right=right):
            if path := _path(left):
                return _compared(path, op, right)
            if path := _path(right):
                return _against(path, op, left)
    return None


def _path(node: object) -> Path | None:
    """The names that lead from the context to this expression, if it is nothing but that."""
    names: list[str] = []
    while isinstance(node, pst.GetAttr):
        names.append(node.attr)
        node = node.base
    return tuple(reversed(names)) if node == _CONTEXT else None


def _compared(path: Path, op: str, other: object) -> Look | None:
    """What is there, on the left of a constant."""
    if op in _RELATIONS and (constants := _constants(other)) is not None:
        return Look(path, Meets(_RELATIONS[op], *constants))
    constant = _constant(other)
    if constant is None:
        return None
    if op in ("eq", "not_eq"):
        return Look(path, Same(type(constant), constant))
    if op in _MIRRORED and not isinstance(constant, str):
        return Look(path, Ordered(op, type(constant), constant))
    if op == "contains" and isinstance(constant, str | int):
        return Look(path, Holds(type(constant), constant))
    return None


def _against(path: Path, op: str, other: object) -> Look | None:
    """What is there, on the right of a constant."""
    if op in ("eq", "not_eq") or op in _MIRRORED:
        return _compared(path, _MIRRORED.get(op, op), other)
    if (constants := _constants(other)) is None:
        return None
    if op == "contains":
        return Look(path, OneOf(*constants))
    if op in _RELATIONS:
        return Look(path, Meets("any" if op == "contains_any" else "within", *constants))
    return None


def _constants(node: object) -> tuple[type, frozenset[object]] | None:
    """A set that is written out, of texts or of numbers."""
    if not isinstance(node, pst.Set):
        return None
    constants = [_constant(one) for one in node.elements]
    kinds = {type(one) for one in constants}
    return (kinds.pop(), frozenset(constants)) if kinds in ({str}, {int}) else None


def _constant(node: object) -> str | int | bool | object | None:
    match node:
        case pst.StringLit(value=value) | pst.LongLit(value=value) | pst.BoolLit(value=value):
            return value
        case pst.UnaryOp(op="datetime", arg=pst.StringLit(value=text)):
            return moment_of(text)
    return None
