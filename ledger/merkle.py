"""The Merkle tree of RFC 6962 (section 2.1) with SHA-256, and its two proofs.

Trusted to compute roots and to accept a proof only if it proves the claim. The leaf data of a
ledger is the 32-byte *digest* of the entry (frozen): so a root can be recomputed from the digests
alone, and a proof shown without the receipts around it. Knows nothing of receipts, stores
nothing. Raises ProofError and nothing else.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ledger.errors import ProofError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""MTH(D[start:end]); a store with cached nodes answers without reading the leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf. The 0x00 keeps an inner node from passing as a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The tree so far, as the roots of its perfect subtrees: at most 64 hashes for any size."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Empty, or continued from the `size` and `hashes` of one kept earlier."""
        if size < 0 or len(hashes) != size.bit_count():
            _refuse("RANGE", "not the hashes of a tree of that size")
        if any(len(item) != HASH_SIZE for item in hashes):
            _refuse("RANGE", "a hash is 32 bytes")
        self._size = size
        self._hashes = list(hashes)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """From the left, largest subtree first."""
        return tuple(self._hashes)

    def append(self, data: bytes) -> None:
        """Add the leaf with this data."""
        node = leaf_hash(data)
        # Each trailing one bit of the size is a subtree of the size that `node` has by then.
        size = self._size
        while size & 1:
            node = node_hash(self._hashes.pop(), node)
            size >>= 1
        self._hashes.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._hashes:
            return EMPTY_ROOT
        node = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            node = node_hash(left, node)
        return node


def subtree_of(leaves: Sequence[bytes]) -> Subtree:
    """The subtree roots over leaf data held in memory."""

    def root(start: int, end: int) -> bytes:
        tree = CompactRange()
        for data in leaves[start:end]:
            tree.append(data)
        return tree.root()

    return root


def inclusion_proof(index: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """PATH(index, D[size]) of RFC 6962, 2.1.1: from the leaf upwards."""
    if not 0 <= index < size:
        _refuse("RANGE", "no such leaf in a tree of that size")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, subtree: Subtree) -> tuple[bytes, ...]:
    """PROOF(old, D[new]) of RFC 6962, 2.1.2; empty where old is 0 or equals new."""
    if not 0 <= old <= new:
        _refuse("RANGE", "a tree is consistent only with a later one")
    if old in (0, new):
        return ()
    path: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    if start > 0:  # the old tree is not itself one perfect subtree on the left edge
        path.append(subtree(start, end))
    return tuple(reversed(path))


def verify_inclusion(
    data: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Refuse unless the leaf with `data` stands at `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        _refuse("RANGE", "no such leaf in a tree of that size")
    _check_hashes(proof)
    place, last = index, size - 1
    node = leaf_hash(data)
    for sibling in proof:
        if last == 0:
            _refuse("PROOF", "the inclusion proof is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or node != root:
        _refuse("PROOF", "the leaf is not shown to be in the tree")


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Refuse unless the old tree is a prefix of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        _refuse("RANGE", "a tree is consistent only with a later one")
    _check_hashes(proof)
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected or (new == 0 and new_root != EMPTY_ROOT):
            _refuse("PROOF", "the trees are not shown to be consistent")
        return
    if old & (old - 1) == 0:  # a perfect tree is its own first node, and is left out of the proof
        proof = (old_root, *proof)
    if _climb(old, new, proof) != (old_root, new_root):
        _refuse("PROOF", "the trees are not shown to be consistent")


def _climb(old: int, new: int, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Both roots as the proof has them; None where its length does not fit the sizes."""
    if not proof:
        return None
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        place, last = place >> 1, last >> 1
    return (old_node, new_node) if last == 0 else None


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (RFC 6962: k < n <= 2k)."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(proof: Sequence[bytes]) -> None:
    # Sizes are fixed here, so that no other cut of the same bytes is ever hashed.
    if any(type(item) is not bytes or len(item) != HASH_SIZE for item in proof):
        _refuse("PROOF", "a proof is a list of 32-byte hashes")


def _refuse(code: str, message: str) -> NoReturn:
    raise ProofError(code, message)
