"""The Merkle tree of RFC 6962 and its proofs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ProofError
from ledger.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)

# The test data of the Certificate Transparency reference implementation.
LEAVES = [
    bytes.fromhex(item)
    for item in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def digests(count: int) -> list[bytes]:
    return [bytes([number]) * 32 for number in range(count)]


def root_of(leaves: list[bytes]) -> bytes:
    return subtree_of(leaves)(0, len(leaves))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """Every size has the root that the reference implementation has."""
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_inclusion_proofs_of_the_rfc() -> None:
    """The audit paths are those of the seven-leaf example (RFC 6962, 2.1.3)."""
    leaves = digests(7)
    a, b, c, d, e, f, j = map(leaf_hash, leaves)
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l_ = node_hash(g, h), node_hash(i, j)
    tree = subtree_of(leaves)
    assert root_of(leaves) == node_hash(k, l_)
    assert inclusion_proof(0, 7, tree) == (b, h, l_)
    assert inclusion_proof(3, 7, tree) == (c, g, l_)
    assert inclusion_proof(4, 7, tree) == (f, j, k)
    assert inclusion_proof(6, 7, tree) == (i, k)


def test_consistency_proofs_of_the_rfc() -> None:
    """The consistency proofs are those of the seven-leaf example (RFC 6962, 2.1.3)."""
    leaves = digests(7)
    a, b, c, d, e, f, j = map(leaf_hash, leaves)
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l_ = node_hash(g, h), node_hash(i, j)
    tree = subtree_of(leaves)
    assert consistency_proof(3, 7, tree) == (c, d, g, l_)
    assert consistency_proof(4, 7, tree) == (l_,)
    assert consistency_proof(6, 7, tree) == (i, j, k)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_verifies(size: int) -> None:
    """Every leaf of every tree is shown to be in it, and every older tree to be its prefix."""
    leaves = digests(size)
    tree, root = subtree_of(leaves), root_of(leaves)
    for index in range(size):
        verify_inclusion(leaves[index], index, size, inclusion_proof(index, size, tree), root)
    for old in range(size + 1):
        proof = consistency_proof(old, size, tree)
        verify_consistency(old, root_of(leaves[:old]), size, root, proof)


@pytest.mark.parametrize("size", range(1, 18))
def test_no_proof_serves_another_claim(size: int) -> None:
    """A proof for one place, size or leaf is refused for every other."""
    leaves = digests(size)
    tree, root = subtree_of(leaves), root_of(leaves)
    for index in range(size):
        proof = inclusion_proof(index, size, tree)
        for claimed in range(size):
            if claimed != index:
                with pytest.raises(ProofError):
                    verify_inclusion(leaves[index], claimed, size, proof, root)
                with pytest.raises(ProofError):
                    verify_inclusion(leaves[claimed], index, size, proof, root)
    for old in range(1, size):
        proof = consistency_proof(old, size, tree)
        for claimed in range(1, size + 1):
            if claimed != old:
                with pytest.raises(ProofError):
                    verify_consistency(claimed, root_of(leaves[:old]), size, root, proof)


@given(st.integers(2, 40), st.data())
def test_an_altered_proof_is_refused(size: int, data: st.DataObject) -> None:
    """A hash changed, dropped, added, glued together or swapped: refused."""
    leaves = digests(size)
    tree, root = subtree_of(leaves), root_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    inclusion = list(inclusion_proof(index, size, tree))
    consistency = list(consistency_proof(old, size, tree))
    at = data.draw(st.integers(0, len(inclusion) - 1))
    for altered in _alter(inclusion, at):
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], index, size, altered, root)
    for altered in _alter(consistency, min(at, len(consistency) - 1)):
        with pytest.raises(ProofError):
            verify_consistency(old, root_of(leaves[:old]), size, root, altered)


def _alter(proof: list[bytes], at: int) -> list[list[bytes]]:
    flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    return [
        [*proof[:at], flipped, *proof[at + 1 :]],
        proof[:at] + proof[at + 1 :],
        proof[: at + 1] + proof[at:],
        [*proof, bytes(32)],
        [bytes(32), *proof],
        [b"".join(proof)] if len(proof) > 1 else [proof[0][:31]],
    ]


@pytest.mark.parametrize("item", ["x" * 32, None, 1, bytearray(32), bytes(31), bytes(33), b""])
def test_a_proof_is_a_list_of_hashes(item: bytes) -> None:
    """Anything else in a proof is refused as such, before it is hashed."""
    with pytest.raises(ProofError, match="32-byte hashes"):
        verify_inclusion(b"", 0, 2, [item], EMPTY_ROOT)
    with pytest.raises(ProofError, match="32-byte hashes"):
        verify_consistency(1, EMPTY_ROOT, 2, EMPTY_ROOT, [item])


def test_an_old_root_that_was_not_is_refused() -> None:
    """Consistency is with the old root itself, also where the proof is empty."""
    leaves = digests(8)
    tree, root = subtree_of(leaves), root_of(leaves)
    for old in range(9):
        with pytest.raises(ProofError):
            verify_consistency(old, bytes(32), 8, root, consistency_proof(old, 8, tree))
    with pytest.raises(ProofError):
        verify_consistency(0, EMPTY_ROOT, 0, bytes(32), ())
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())


@pytest.mark.parametrize(("first", "second"), [(-1, 5), (5, 5), (6, 5), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(first: int, second: int) -> None:
    """Neither made nor accepted."""
    with pytest.raises(ProofError, match="RANGE"):
        inclusion_proof(first, second, subtree_of(digests(5)))
    with pytest.raises(ProofError, match="RANGE"):
        verify_inclusion(b"", first, second, (), EMPTY_ROOT)


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5)])
def test_a_tree_is_not_consistent_with_a_shorter_one(old: int, new: int) -> None:
    """Neither made nor accepted."""
    with pytest.raises(ProofError, match="RANGE"):
        consistency_proof(old, new, subtree_of(digests(6)))
    with pytest.raises(ProofError, match="RANGE"):
        verify_consistency(old, EMPTY_ROOT, new, EMPTY_ROOT, ())


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_kept_range_goes_on_where_it_was(before: int, after: int) -> None:
    """A compact range saved and restored gives the roots of one that never stopped."""
    kept = CompactRange()
    for data in digests(before):
        kept.append(data)
    restored = CompactRange(kept.size, kept.hashes)
    whole = digests(before) + digests(after)
    for data in digests(after):
        restored.append(data)
    assert restored.size == before + after
    assert len(restored.hashes) == (before + after).bit_count()
    assert restored.root() == root_of(whole)


@pytest.mark.parametrize(
    ("size", "hashes"), [(1, []), (0, [bytes(32)]), (3, [bytes(32)]), (1, [bytes(31)]), (-1, [])]
)
def test_a_damaged_range_is_refused(size: int, hashes: list[bytes]) -> None:
    """Hashes that cannot belong to the size are refused."""
    with pytest.raises(ProofError, match="RANGE"):
        CompactRange(size, hashes)


def test_an_inner_node_is_no_leaf() -> None:
    """Leaf data made of two hashes does not pass for the node above them (second preimage)."""
    leaves = digests(2)
    left, right = map(leaf_hash, leaves)
    assert leaf_hash(left + right) != root_of(leaves)
