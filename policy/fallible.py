"""How a policy that validates can still be in error when it is asked.

Strict validation leaves two ways: arithmetic that overflows, and a look at an entity that is not
there. Principal, resource and what the context refers to are there, or the daemon asks nothing; but
an entity that the policy itself names need not be, nor the agent of a call that has ended. Trusted
with a warning. Pure; raises nothing for a valid policy.
"""

import dataclasses
import re
from collections.abc import Collection, Iterator

import cedarpy
from cedarpy import pst

# Without one of these no policy can fail: most are done with here.
_SUSPECT = re.compile(
    r"[+*-]|\b(?:offset|durationSince|toDate)\b|\bresource\b\s*[.[]|\"\s*(?:\.|\[|has\b)"
)
_OVERFLOWS = {
    "add": "a sum can overflow",
    "sub": "a difference can overflow",
    "mul": "a product can overflow",
    "offset": "an offset can overflow",
    "duration_since": "a duration can overflow",
}


def why_fallible(text: str) -> str | None:
    """In what way the policy can fail; None if it cannot."""
    if not _SUSPECT.search(text):
        return None
    (policy,) = cedarpy.policies_to_pst(text).static_policies.values()
    nodes = list(_nodes(policy.clauses))
    asked_first = {base for node in nodes if (base := _asks(node)) is not None}
    return next((way for node in nodes if (way := _way(node, asked_first)) is not None), None)


def _nodes(clauses: tuple[pst.Clause, ...]) -> Iterator[object]:
    left: list[object] = list(clauses)
    while left:
        node = left.pop()
        yield node
        if dataclasses.is_dataclass(node):
            left += [getattr(node, part.name) for part in dataclasses.fields(node)]
        elif isinstance(node, tuple):
            left += node
        elif isinstance(node, dict):
            left += node.values()


def _asks(node: object) -> object | None:
    """Of what `node` asks whether it has something: of an entity that is gone the answer is no."""
    match node:
        case pst.HasAttr(base=base) | pst.BinaryOp(op="has_tag", left=base):
            return base
    return None


def _way(node: object, asked_first: Collection[object]) -> str | None:
    match node:
        case pst.BinaryOp(op=op) if op in _OVERFLOWS:
            return _OVERFLOWS[op]
        case pst.UnaryOp(op="neg"):
            return "a negation can overflow"
        case pst.UnaryOp(op="to_date"):
            return "a date can overflow"
        case pst.GetAttr(base=base) | pst.BinaryOp(op="get_tag", left=base):
            gone = _may_be_gone(base)
            return f"{gone} may not be there" if gone and base not in asked_first else None
    return None


def _may_be_gone(base: object) -> str | None:
    match base:
        case pst.EntityLit(value=uid):
            return str(uid)
        case pst.GetAttr(base=pst.Var(name="resource"), attr="agent"):
            return "the agent of a call"
    return None
