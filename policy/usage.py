"""Which policies look at what: read off their text, for what policies themselves cannot say.

Trusted with questions about policies, never with a decision. Pure; raises nothing of its own.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import cedarpy
from cedarpy import pst

from policy.bundle import Bundle
from policy.statements import PolicyRef, Statement

_CONTEXT = pst.Var("context")


def statements(bundle: Bundle) -> Iterator[tuple[PolicyRef, Statement]]:
    """Every policy of a bundle with its text."""
    for ref, text in zip(bundle.policies, bundle.texts, strict=True):
        yield ref, Statement(text, ref.file, ref.line)


def texts_of(bundle: Bundle, refs: Iterable[PolicyRef]) -> dict[str, str]:
    """The text of each of these policies, by id."""
    wanted = set(refs)
    return {
        ref.id: text
        for ref, text in zip(bundle.policies, bundle.texts, strict=True)
        if ref in wanted
    }


def forbids_by_context(bundle: Bundle, attribute: str) -> tuple[PolicyRef, ...]:
    """The forbids that read this attribute of the context."""
    return tuple(
        ref
        for ref, statement in statements(bundle)
        if attribute in statement.text and _forbids_by(statement.text, attribute)
    )


def _forbids_by(text: str, attribute: str) -> bool:
    return any(
        policy.effect == "forbid" and _reads(policy.clauses, attribute)
        for policy in cedarpy.policies_to_pst(text).static_policies.values()
    )


def _reads(value: object, attribute: str) -> bool:
    if isinstance(value, pst.GetAttr) and value.attr == attribute and value.base == _CONTEXT:
        return True
    if dataclasses.is_dataclass(value):
        parts = [getattr(value, part.name) for part in dataclasses.fields(value)]
        return any(_reads(part, attribute) for part in parts)
    return isinstance(value, tuple | list) and any(_reads(part, attribute) for part in value)


def effect_of(text: str) -> str:
    """Whether the text of one policy is a "permit" or a "forbid"."""
    [policy] = cedarpy.policies_to_pst(text).static_policies.values()
    return policy.effect


def can_err(text: str) -> bool:
    """Whether the text of one policy holds anything that can fail once it has been validated."""
    [policy] = cedarpy.policies_to_pst(text).static_policies.values()
    return _fails(policy.clauses)


# Validated policies fail where a number or a time leaves its range, and nowhere else.
_FAILING = frozenset({"add", "sub", "mul", "neg", "offset", "duration_since", "to_date"})


def _fails(value: object) -> bool:
    if isinstance(value, pst.BinaryOp | pst.UnaryOp) and value.op in _FAILING:
        return True
    if dataclasses.is_dataclass(value):
        return any(_fails(getattr(value, part.name)) for part in dataclasses.fields(value))
    return isinstance(value, tuple | list) and any(_fails(part) for part in value)
