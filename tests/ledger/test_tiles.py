"""The tree from stored nodes is the tree of RFC 6962."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import ProofError
from ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.tiles import WIDTH, Node, grown, subtree_from

MOST = WIDTH * WIDTH + 3 * WIDTH + 5
LEAVES = [number.to_bytes(32, "big") for number in range(MOST)]
HASHES = [leaf_hash(data) for data in LEAVES]


class Shelf:
    """Nodes as a store keeps them; counts what is asked of it."""

    def __init__(self) -> None:
        self.kept: dict[int, list[bytes]] = {0: HASHES}
        self.read = 0

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        self.read += end - start
        return self.kept.get(level, [])[start:end]

    def keep(self, node: Node) -> None:
        row = self.kept.setdefault(node.level, [])
        assert len(row) == node.number
        row.append(node.hash)


def shelf(*sizes: int) -> Shelf:
    made = Shelf()
    for size, to in zip((0, *sizes), sizes, strict=False):
        for node in grown(size, to, made.nodes):
            made.keep(node)
    return made


FULL = shelf(MOST)


@settings(max_examples=60)
@given(size=st.integers(0, 3 * WIDTH + 5))
def test_the_root_is_that_of_all_leaves(size: int) -> None:
    """A root from kept nodes is the root from every leaf."""
    assert subtree_from(FULL.nodes)(0, size) == subtree_of(LEAVES)(0, size)


def test_nodes_above_nodes_are_kept_too() -> None:
    """The second level of kept nodes (65,536 leaves) is used, and right."""
    assert [len(FULL.kept[level]) for level in (8, 16)] == [WIDTH + 3, 1]
    before = FULL.read
    assert subtree_from(FULL.nodes)(0, MOST) == subtree_of(LEAVES)(0, MOST)
    assert FULL.read - before < 2 * WIDTH


@given(steps=st.lists(st.integers(0, MOST), max_size=5))
@settings(max_examples=20)
def test_growing_in_steps_keeps_the_same_nodes(steps: list[int]) -> None:
    """However a ledger grew, what is kept of its tree is the same."""
    assert shelf(*sorted(steps), MOST).kept == FULL.kept


@settings(max_examples=60)
@given(data=st.data(), size=st.integers(1, MOST))
def test_proofs_from_kept_nodes_verify(data: st.DataObject, size: int) -> None:
    """Inclusion and consistency proofs made from kept nodes are the ones that verify."""
    subtree = subtree_from(FULL.nodes)
    root = subtree(0, size)
    index = data.draw(st.integers(0, size - 1))
    before = FULL.read
    proof = inclusion_proof(index, size, subtree)
    verify_inclusion(LEAVES[index], index, size, proof, root)
    old = data.draw(st.integers(0, size))
    verify_consistency(old, subtree(0, old), size, root, consistency_proof(old, size, subtree))
    assert FULL.read - before < 60 * WIDTH


@pytest.mark.parametrize("level", [0, 8, 16])
def test_a_node_that_is_gone_is_no_root(level: int) -> None:
    """Where a kept node is missing there is no answer, not a wrong one."""
    broken = shelf(MOST)
    broken.kept[level] = broken.kept[level][:-1] if level else HASHES[:-1]
    with pytest.raises(ProofError, match="RANGE"):
        subtree_from(broken.nodes)(0, MOST)


def test_a_subtree_begins_where_one_can() -> None:
    """A range that is no subtree of any tree is refused."""
    with pytest.raises(ProofError, match="RANGE"):
        subtree_from(FULL.nodes)(3, 9)
