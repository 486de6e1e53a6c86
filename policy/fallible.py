"""How a policy that validates can still be in error when it is asked.

Strict validation leaves two ways: arithmetic that overflows, and a look at an entity that is not
there. Principal, resource and what the context refers to are there, or the daemon asks nothing; so
are the tool and the device of a call. But an entity that the policy itself names need not be, nor
the agent of a call that has ended. Trusted to miss no policy that can be in error (`can_fail`);
what is said of one for people (`why_fallible`) leaves out what was asked about with `has` first.
Pure; raises nothing for a valid policy.
"""

import re
from collections.abc import Collection

from cedarpy import pst

from policy.tree import nodes, tree_of

# Without one of these hardly any policy can fail: most are done with here.
_SUSPECT = re.compile(
    r"[+*-]|\b(?:offset|durationSince|toDate)\b|\bresource\b\s*[.[]|\"[\s)]*(?:\.|\[|has\b)"
)
_OVERFLOWS = {
    "add": "a sum can overflow",
    "sub": "a difference can overflow",
    "mul": "a product can overflow",
    "offset": "an offset can overflow",
    "duration_since": "a duration can overflow",
}


def why_fallible(text: str) -> str | None:
    """In what way the policy can fail, as far as it does not see to it; None if it cannot."""
    if not _SUSPECT.search(text):
        return None
    found = list(nodes(tree_of(text)))
    asked_first = {base for node in found if (base := _asks(node)) is not None}
    return next((way for node in found if (way := _way(node, asked_first)) is not None), None)


def can_fail(text: str) -> bool:
    """Whether there could be a question to which the policy is in error."""
    return any(_way(node, ()) is not None for node in nodes(tree_of(text)))


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
    """What an attribute or tag is read of, if that could be an entity that is not there."""
    match base:
        case pst.EntityLit(value=uid):
            return str(uid)
        case pst.GetAttr(base=pst.Var(name="resource"), attr="agent"):
            return "the agent of a call"
        case pst.Record():
            return None
    return None if _is_given(base) else "an entity that it names"


def _is_given(expression: object) -> bool:
    """Whether it is what the question is about, or a part of that, which is there like it."""
    while isinstance(expression, pst.GetAttr):
        expression = expression.base
    return isinstance(expression, pst.Var)
