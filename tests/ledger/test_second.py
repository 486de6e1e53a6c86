"""A second, independent implementation says the same: pymerkle of trees, and C2SP by hand."""

import base64
import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import (  # type: ignore[import-untyped]
    InmemoryTree,
    InvalidProof,
    verify_consistency,
    verify_inclusion,
)

from ledger import merkle
from ledger.checkpoint import Checkpoint, sign
from ledger.errors import ProofError
from ledger.keys import encode_public
from ledger.tiles import grown, subtree_from

from .specimen import KEYS, PUBLIC, ledger, root_of

MOST = 700
DATA = [hashlib.sha256(bytes([n % 251, n // 251])).digest() for n in range(MOST)]
OURS = merkle.subtree_of(DATA)
SIZES = st.integers(1, MOST)


def theirs() -> Any:
    tree = InmemoryTree()
    for data in DATA:
        tree.append_entry(data)
    return tree


THEIRS = theirs()


@settings(max_examples=150, deadline=None)
@given(SIZES)
def test_the_roots_are_the_same(size: int) -> None:
    """Of every size."""
    assert OURS(0, size) == THEIRS.get_root(size)


@settings(max_examples=150, deadline=None)
@given(SIZES, st.data())
def test_inclusion_proofs_are_the_same(size: int, data: st.DataObject) -> None:
    """Each accepts the other's proof, and refuses it for another leaf."""
    index = data.draw(st.integers(0, size - 1))
    mine = merkle.inclusion_proof(index, size, OURS)
    other = THEIRS.prove_inclusion(index + 1, size)
    assert list(mine) == other.path[1:]
    merkle.verify_inclusion(DATA[index], index, size, other.path[1:], THEIRS.get_root(size))
    other.path = [merkle.leaf_hash(DATA[index]), *mine]
    verify_inclusion(other.path[0], OURS(0, size), other, index=index + 1, size=size)
    wrong = merkle.leaf_hash(DATA[(index + 1) % MOST])
    with pytest.raises(InvalidProof):
        verify_inclusion(wrong, OURS(0, size), other)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(b"another leaf", index, size, mine, OURS(0, size))


def subproof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[start:end], b), as RFC 6962, 2.1.2 has it, over pymerkle's hashes."""
    n = end - start
    if m == n:
        return [] if whole else [THEIRS._get_root(start, end)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*subproof(m, start, start + k, whole), THEIRS._get_root(start + k, end)]
    return [*subproof(m - k, start + k, end, False), THEIRS._get_root(start, start + k)]


@settings(max_examples=150, deadline=None)
@given(SIZES, st.data())
def test_consistency_proofs_are_the_same(size: int, data: st.DataObject) -> None:
    """Those of the RFC's recursion; and pymerkle, whose proofs have another form, agrees on both
    roots and refuses another beginning.
    """
    old = data.draw(st.integers(1, size))
    mine = list(merkle.consistency_proof(old, size, OURS))
    assert mine == subproof(old, 0, size, True)
    merkle.verify_consistency(old, THEIRS.get_root(old), size, THEIRS.get_root(size), mine)
    other = THEIRS.prove_consistency(old, size)
    verify_consistency(OURS(0, old), OURS(0, size), other, prior_size=old, later_size=size)
    with pytest.raises(InvalidProof):
        verify_consistency(bytes(32), OURS(0, size), other)
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, bytes(32), size, THEIRS.get_root(size), mine)


def test_the_kept_tree_is_the_same() -> None:
    """Also from the stored nodes alone, which a long ledger's proofs are made of."""
    kept: dict[int, list[bytes]] = {0: [merkle.leaf_hash(data) for data in DATA]}

    def nodes(level: int, start: int, end: int) -> list[bytes]:
        return kept.get(level, [])[start:end]

    for node in grown(0, MOST, nodes):
        kept.setdefault(node.level, []).append(node.hash)
    for size in (1, 255, 256, 257, 512, 699, 700):
        assert subtree_from(nodes)(0, size) == THEIRS.get_root(size)
    for old, new in pairwise((1, 256, 300, 512, 700)):
        proof = list(merkle.consistency_proof(old, new, subtree_from(nodes)))
        assert proof == list(merkle.consistency_proof(old, new, OURS))


def signature_lines(note: str) -> Iterator[tuple[str, bytes, bytes]]:
    for line in note.rpartition("\n\n")[2].splitlines():
        dash, name, encoded = line.split(" ")
        assert dash == "\N{EM DASH}"
        blob = base64.b64decode(encoded)
        yield name, blob[:4], blob[4:]


def test_the_note_verifies_by_the_specification_alone() -> None:
    """C2SP signed-note and tlog-checkpoint, read by hand; no code of the ledger's verifies it."""
    entries = ledger(5)
    note = sign(Checkpoint("alpha", 5, root_of(entries)), KEYS).decode()
    tree = InmemoryTree()
    for entry in entries:
        tree.append_entry(entry.digest)
    text = note.rpartition("\n\n")[0] + "\n"
    origin, size, root = text.splitlines()
    assert (origin, size) == ("stockade/alpha", "5")
    assert base64.b64decode(root) == tree.get_root()
    found = dict[bytes, bytes]()
    for name, key_id, signature in signature_lines(note):
        assert name == origin
        found[key_id] = signature
    for line in encode_public(PUBLIC).decode().splitlines():
        name, hex_id, encoded = line.split("+", 2)
        blob = base64.b64decode(encoded)
        key_id = hashlib.sha256(f"{name}\n".encode() + blob).digest()[:4]
        assert key_id.hex() == hex_id
        signature = found.pop(key_id)
        if blob[0] == 1:
            ed25519.Ed25519PublicKey.from_public_bytes(blob[1:]).verify(signature, text.encode())
            continue
        kind = b"\xffstockade.ledger/ml-dsa-65/v1"
        key = mldsa.MLDSA65PublicKey.from_public_bytes(blob.removeprefix(kind))
        key.verify(signature, text.encode(), b"stockade.ledger/checkpoint/v1")
        with pytest.raises(InvalidSignature):
            key.verify(signature, text.encode())  # not without its context
    assert not found
