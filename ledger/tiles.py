"""The Merkle tree of a long ledger, from stored nodes: a root or a proof without reading it all.

One node is kept for every 256 leaves, and one for every 256 of those, and so on: with them any
subtree that a root or a proof asks for costs a few reads of at most 255 nodes, also in a tree of
millions. Trusted to combine what it is given as RFC 6962 says. What is kept is not signed, so
what comes of it is held against a signed root, or verified as a proof, before anybody is told.
Raises ProofError where a node that must be there is not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, NoReturn

from ledger.errors import ProofError
from ledger.merkle import EMPTY_ROOT, HASH_SIZE, Subtree, node_hash

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT

Nodes = Callable[[int, int, int], Sequence[bytes]]
"""The nodes `start` to `end` (exclusive) of a level; levels are 0 (leaf hashes), 8, 16, ..."""


class Node(NamedTuple):
    """A node to keep: it covers 2**level leaves, from leaf number * 2**level on."""

    level: int
    number: int
    hash: bytes


def subtree_from(nodes: Nodes) -> Subtree:
    """The subtree roots of the tree that `nodes` is about."""

    def root(start: int, end: int) -> bytes:
        if start == end:
            return EMPTY_ROOT
        # Of the perfect subtrees from the left; RFC 6962 joins them from the right.
        found = list(_perfect(start, end, nodes))
        node = found[-1]
        for left in reversed(found[:-1]):
            node = node_hash(left, node)
        return node

    return root


def grown(size: int, to: int, nodes: Nodes) -> Iterator[Node]:
    """The nodes to keep that are complete with `to` leaves and were not with `size`.

    In an order in which each needs only those before it, or kept before; `nodes` must give them.
    """
    for number in range(size >> HEIGHT, to >> HEIGHT):
        yield Node(HEIGHT, number, _fold(_full(nodes, 0, number)))
        level, done = HEIGHT, number + 1
        while not done % WIDTH:
            done >>= HEIGHT
            yield Node(level + HEIGHT, done - 1, _fold(_full(nodes, level, done - 1)))
            level += HEIGHT


def _perfect(start: int, end: int, nodes: Nodes) -> Iterator[bytes]:
    while start < end:
        height = (end - start).bit_length() - 1
        if start & ((1 << height) - 1):
            _refuse("RANGE", "no subtree of a tree begins there")
        level = height - height % HEIGHT
        first = start >> level
        yield _fold(_asked(nodes, level, first, first + (1 << (height - level))))
        start += 1 << height


def _full(nodes: Nodes, level: int, number: int) -> Sequence[bytes]:
    return _asked(nodes, level, number * WIDTH, (number + 1) * WIDTH)


def _asked(nodes: Nodes, level: int, start: int, end: int) -> Sequence[bytes]:
    found = nodes(level, start, end)
    if len(found) != end - start or any(len(item) != HASH_SIZE for item in found):
        _refuse("RANGE", "the tree that is kept has not all of its nodes")
    return found


def _fold(row: Sequence[bytes]) -> bytes:
    """The root over a power of two of nodes."""
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def _refuse(code: str, message: str) -> NoReturn:
    raise ProofError(code, message)
