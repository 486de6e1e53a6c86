"""A policy's conditions as the engine's syntax tree, part by part.

For whoever asks what a policy looks at, and not what it decides. Pure; raises nothing for a policy.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import cedarpy
from cedarpy import pst


def tree_of(text: str) -> pst.Template:
    """The tree of one policy that parses."""
    (policy,) = cedarpy.policies_to_pst(text).static_policies.values()
    return policy


def nodes(policy: pst.Template) -> Iterator[object]:
    """Every part of its conditions, at any depth."""
    left: list[object] = list(policy.clauses)
    while left:
        node = left.pop()
        yield node
        left += parts_of(node)


def parts_of(node: object) -> Iterator[object]:
    """What it is made of, one level down."""
    if dataclasses.is_dataclass(node):
        yield from (getattr(node, part.name) for part in dataclasses.fields(node))
    elif isinstance(node, tuple):
        yield from node
    elif isinstance(node, Mapping):
        yield from node.values()
