"""One entry by itself, and the step from one entry to the next.

Trusted to say of a line whether it is an entry of this chain that nobody changed, and of an entry
whether it follows the one before. Where an entry stands in the whole is `ledger.verify`'s to say.
Raises Inauthentic, and nothing else whatever the bytes.
"""

from typing import NamedTuple

import nacl.exceptions
import nacl.signing

from ledger.errors import Fault, LineError
from ledger.export import Line, parse_line
from ledger.keys import Keys, PublicKeys
from ledger.receipt import NO_PREVIOUS, Receipt, digest_of, message_of


class Inauthentic(Exception):  # noqa: N818 - it says what was found
    """Not an entry of this chain as it was signed; `sequence` is what it claims to be, if that."""

    def __init__(self, fault: Fault, message: str, sequence: int | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.sequence = sequence


class Link(NamedTuple):
    """What the next entry has to follow: a `Head` whose fields were looked at already."""

    sequence: int
    digest: bytes
    time: str


class Reader:
    """Reads lines with one chain's keys."""

    __slots__ = ("_chain", "_key", "_keys", "_public")

    def __init__(self, keys: Keys) -> None:
        self._chain = keys.chain
        self._keys = keys
        self._take_up(keys.of(1))

    def authentic(self, raw: bytes) -> Line:
        """The line as an entry of this chain that nobody changed; its place is not looked at."""
        try:
            line = parse_line(raw)
        except LineError as error:
            raise Inauthentic(Fault(error.code), error.message) from error
        receipt, entry = line.receipt, line.entry
        if digest_of(entry.canonical) != entry.digest:
            raise Inauthentic(
                Fault.EDITED,
                "the receipt does not have the digest recorded with it",
                receipt.sequence,
            )
        if receipt.chain != self._chain:
            raise Inauthentic(
                Fault.OTHER_CHAIN, "the receipt is of another chain", receipt.sequence
            )
        public = self._keys.of(receipt.sequence)
        if public is not self._public:
            self._take_up(public)
        try:
            self._key.verify(message_of(entry.digest), entry.signature)
        except nacl.exceptions.CryptoError:
            raise Inauthentic(
                Fault.BAD_SIGNATURE, "not signed by this chain's key for it", receipt.sequence
            ) from None
        return line

    def _take_up(self, public: PublicKeys) -> None:
        self._public = public
        self._key = nacl.signing.VerifyKey(public.ed25519)


def link_of(line: Line) -> Link:
    """An entry, as the next one sees it."""
    return Link(line.receipt.sequence, line.entry.digest, line.receipt.time)


def succession(receipt: Receipt, head: Link | None) -> tuple[Fault, str] | None:
    """What keeps the receipt, of the right number, from following `head`; None if it does."""
    if receipt.prev != (NO_PREVIOUS if head is None else head.digest):
        return Fault.FORKED, "it follows another entry than the one before it"
    before = receipt.time if head is None else head.time
    # The fixed form of a time makes text order time order.
    if receipt.time < before:
        return Fault.CLOCK_BACK, "its time lies before that of the entry before it"
    if receipt.clock_behind_ms is not None and (head is None or receipt.time != before):
        return (
            Fault.CLOCK_BACK,
            "it says the clock was behind, but has not the time before it",
        )
    return None
