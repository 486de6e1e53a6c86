"""Which policies can matter to a question, found without looking at the others.

Trusted to name every policy whose scope the question fits, and no other. A policy whose scope does
not fit is neither satisfied nor in error, whatever its conditions say (Cedar joins scope and
conditions by `&&`, which stops at the first false), so leaving it out changes no decision, no
reason and no error. Policies are numbers here: their places in the set. Pure; raises nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Self

from policy.scope import Key, Scope, is_narrow

_Tree = dict[Key, dict[Key, dict[Key, list[int]]]]


class Index:
    """The scopes of one set of policies; built once, then only read."""

    __slots__ = ("_tree", "narrow", "size")

    def __init__(self) -> None:
        self._tree: _Tree = {}
        self.size = 0
        self.narrow: set[int] = set()
        """The policies that are about one principal or one resource."""

    @classmethod
    def build(cls, scopes: Iterable[Scope]) -> Self:
        """An index in which the nth scope is policy n."""
        index = cls()
        for scope in scopes:
            index._add(scope)
        return index

    def _add(self, scope: Scope) -> None:
        # By action first: every question has one, and most policies name one.
        for action in scope.actions:
            principals = self._tree.setdefault(action, {})
            resources = principals.setdefault(scope.principal, {})
            resources.setdefault(scope.resource, []).append(self.size)
        if is_narrow(scope):
            self.narrow.add(self.size)
        self.size += 1

    def candidates(
        self, principal: Sequence[Key], action: Sequence[Key], resource: Sequence[Key]
    ) -> tuple[int, ...]:
        """The policies that fit entities with these keys, in the order of the set."""
        found: list[int] = []
        for branch in (self._tree[key] for key in action if key in self._tree):
            for twig in (branch[key] for key in principal if key in branch):
                for key in resource:
                    found += twig.get(key, ())
        # A set, because `action in [..]` may have put a policy under two keys of this action.
        return tuple(sorted(set(found)))

    def pieces(self) -> list[object]:
        """All that is large in it, in small parts."""
        twigs = [twig for branch in self._tree.values() for twig in branch.values()]
        return [*twigs, *(numbers for twig in twigs for numbers in twig.values())]
