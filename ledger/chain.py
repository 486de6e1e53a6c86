"""Appending to a chain, in memory: each entry names the one before, and is signed.

Trusted to give every entry the next sequence number, the digest of the one before and a time that
never goes back. It writes nothing: whoever appends stores the entries in one transaction and, if
that rolls back, rewinds to the head from before. An entry must not leave the process (shown,
exported, covered by a checkpoint) before it is durable: after a rewind its sequence number is
used again, and two signed entries with one number are a fork. One thread owns a chain.

Raises ReceiptError (what was offered is no receipt; nothing changed) and ChainError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import nacl.exceptions
import nacl.signing

from ledger.errors import ChainError, ReceiptError
from ledger.receipt import (
    NO_PREVIOUS,
    Receipt,
    check_chain,
    digest_of,
    format_time,
    message_of,
    parse_time,
)

_SIGNATURE_SIZE: Final = 64
_DIGEST_SIZE: Final = 32


class Signer(Protocol):
    """Whatever can sign for a chain: 64 bytes of Ed25519 over the message."""

    def sign(self, message: bytes, /) -> bytes:
        """The signature; raising is allowed, and then nothing is appended."""
        ...


class Ed25519Signer:
    """The signer that holds its key in memory, from a 32-byte seed."""

    __slots__ = ("_key",)

    def __init__(self, seed: bytes) -> None:
        try:
            self._key = nacl.signing.SigningKey(seed)
        except nacl.exceptions.CryptoError:
            # from None: nothing that saw the seed is kept in the chain of causes
            raise ChainError("SEED", "an Ed25519 seed is 32 bytes") from None

    def sign(self, message: bytes, /) -> bytes:
        """The Ed25519 signature: the same one each time (RFC 8032)."""
        return self._key.sign(message).signature


class Signers:
    """Who signs which entries: one after the other, as each hands over to the next."""

    __slots__ = ("_from",)

    def __init__(self, first: Signer) -> None:
        self._from: list[tuple[int, Signer]] = [(1, first)]

    def of(self, sequence: int) -> Signer:
        """Who signs this entry."""
        return next(signer for start, signer in reversed(self._from) if sequence >= start)

    def hand_over(self, sequence: int, signer: Signer) -> None:
        """From this entry on, another one."""
        self._from.append((sequence, signer))

    def copy(self) -> "Signers":
        """The same, apart from what is handed over or taken back later."""
        copied = Signers(self._from[0][1])
        copied._from = list(self._from)
        return copied

    def rewind(self, sequence: int) -> None:
        """This is the last entry: what was handed over by a later one was not."""
        while len(self._from) > 1 and self._from[-1][0] > sequence + 1:
            self._from.pop()


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain: all that the next one needs to know."""

    chain: str
    sequence: int
    digest: bytes
    time: str

    def __post_init__(self) -> None:
        try:
            check_chain(self.chain)
            parse_time(self.time)
        except ReceiptError as error:
            raise ChainError("HEAD", f"no head of a chain: {error.message}") from error
        if type(self.sequence) is not int or self.sequence < 1:
            raise ChainError("HEAD", "no head of a chain: its sequence is below 1")
        if type(self.digest) is not bytes or len(self.digest) != _DIGEST_SIZE:
            raise ChainError("HEAD", "no head of a chain: its digest is not 32 bytes")


@dataclass(frozen=True, slots=True)
class Entry:
    """A receipt with its digest and signature: what a store keeps and an export carries."""

    sequence: int
    receipt_id: str
    kind: str
    time: str
    canonical: bytes = field(repr=False)
    digest: bytes
    signature: bytes = field(repr=False)


class Chain:
    """One chain of one daemon; `head` is None while it is empty."""

    __slots__ = ("_chain_id", "_head", "_signers")

    def __init__(self, chain_id: str, signer: Signer | Signers, head: Head | None) -> None:
        try:
            check_chain(chain_id)
        except ReceiptError as error:
            raise ChainError("CHAIN", error.message) from error
        self._chain_id = chain_id
        self._signers = signer if isinstance(signer, Signers) else Signers(signer)
        self._head = self._own(head)
        self._signers.rewind(_position(head))

    @property
    def head(self) -> Head | None:
        """The last entry appended, durable or not yet."""
        return self._head

    def append(
        self, kind: str, body: Mapping[str, object], *, receipt_id: str, now_ms: int
    ) -> Entry:
        """Sign the next entry and advance the head; on any error the head stays where it was."""
        return self._add(self._next(kind, body, receipt_id, now_ms))

    def hand_over(
        self,
        kind: str,
        body: Mapping[str, object],
        seal: Callable[[Receipt], Receipt],
        signer: Signer,
        *,
        receipt_id: str,
        now_ms: int,
    ) -> Entry:
        """Append an entry, completed by `seal`, after which another signs (`ledger.rotation`)."""
        entry = self._add(seal(self._next(kind, body, receipt_id, now_ms)))
        self._signers.hand_over(entry.sequence + 1, signer)
        return entry

    def _next(self, kind: str, body: Mapping[str, object], receipt_id: str, now_ms: int) -> Receipt:
        head = self._head
        time, behind = self._time(now_ms)
        return Receipt(
            chain=self._chain_id,
            sequence=1 if head is None else head.sequence + 1,
            receipt_id=receipt_id,
            time=time,
            kind=kind,
            prev=NO_PREVIOUS if head is None else head.digest,
            body=body,
            clock_behind_ms=behind,
        )

    def _add(self, receipt: Receipt) -> Entry:
        canonical = receipt.canonical()
        digest = digest_of(canonical)
        signature = self._signers.of(receipt.sequence).sign(message_of(digest))
        if len(signature) != _SIGNATURE_SIZE:
            raise ChainError("SIGNER", "the signer returned no Ed25519 signature")
        sequence, time = receipt.sequence, receipt.time
        self._head = _head(self._chain_id, sequence, digest, time)
        return Entry(sequence, receipt.receipt_id, receipt.kind, time, canonical, digest, signature)

    def rewind(self, head: Head | None) -> None:
        """Go back to `head`: the transaction that carried the entries after it rolled back."""
        target = self._own(head)
        if _position(target) > _position(self._head):
            raise ChainError("REWIND", "a chain is never rewound forwards")
        if _position(target) == _position(self._head) and target != self._head:
            raise ChainError("REWIND", "that head is from another history of this chain")
        self._head = target
        self._signers.rewind(_position(target))

    def _time(self, now_ms: int) -> tuple[str, int | None]:
        """Now, or the time of the entry before where the clock has been set back."""
        now = format_time(now_ms)
        if self._head is None or now >= self._head.time:
            return now, None
        return self._head.time, parse_time(self._head.time) - now_ms

    def _own(self, head: Head | None) -> Head | None:
        if head is not None and head.chain != self._chain_id:
            raise ChainError("OTHER_CHAIN", "that head belongs to another chain")
        return head


def _head(chain: str, sequence: int, digest: bytes, time: str) -> Head:
    """A head of what was checked as a receipt just now: looking twice is 4 of 90 microseconds."""
    made = object.__new__(Head)
    for name, value in zip(Head.__slots__, (chain, sequence, digest, time), strict=True):
        object.__setattr__(made, name, value)
    return made


def _position(head: Head | None) -> int:
    return 0 if head is None else head.sequence
