"""Which policies look at what: read off their text, for what policies themselves cannot say.

Trusted with questions about policies, never with a decision. Pure; raises nothing of its own.
"""

from collections.abc import Iterable

from cedarpy import pst

from policy.bundle import Bundle
from policy.statements import PolicyRef
from policy.tree import nodes, tree_of

_CONTEXT = pst.Var("context")


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
        for ref, text in zip(bundle.policies, bundle.texts, strict=True)
        if attribute in text and _forbids_by(text, attribute)
    )


def _forbids_by(text: str, attribute: str) -> bool:
    policy = tree_of(text)
    return policy.effect == "forbid" and pst.GetAttr(_CONTEXT, attribute) in nodes(policy)
