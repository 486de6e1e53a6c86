"""The receipt: one signed, chained entry of the ledger. This format is frozen.

Trusted to turn a receipt into its one byte string and back, and to refuse whatever is not exactly
a receipt. It knows no key and no clock. Raises ReceiptError and nothing else.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn

from ledger import canonical
from ledger.errors import ReceiptError

VERSION: Final = 1
MAX_RECEIPT: Final = 1024 * 1024 - 256
"""Canonical bytes; leaves room for digest and signature in an export line of 1 MiB."""
NO_PREVIOUS: Final = bytes(32)
"""The `prev` of the first entry."""

# Whatever one key signs and one hash covers begins with what it is, and ends that with a NUL,
# which no other use of key or hash can contain there: checkpoint notes are text without NUL.
_DIGEST_DOMAIN: Final = b"stockade.ledger/receipt/v1\x00"
_SIGNATURE_DOMAIN: Final = b"stockade.ledger/receipt-signature/v1\x00"

_CHAIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# Hours end at 23 here: some Pythons read 24:00 as the next day, and one moment has one form.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

_FIXED: Final = frozenset({"v", "chain", "seq", "id", "time", "kind", "prev", "body"})
_CLOCK_BEHIND: Final = "clock_behind_ms"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt. As JSON it has exactly these fields.

    v       1
    chain   the chain's id: [a-z0-9][a-z0-9._-]{0,62}
    seq     1 for the first entry, then one more each time: the size of the ledger with this entry
    id      UUIDv7, lower case
    time    RFC 3339, UTC, milliseconds, "Z"; never before that of the entry before
    kind    what happened: [A-Za-z][A-Za-z0-9._-]{0,63}
    prev    digest of the entry before, lower-case hex; 64 zeros in the first
    clock_behind_ms   only where the clock lay behind the entry before: by how much (>= 1). `time`
                      is then that of the entry before
    body    a mapping of str, int within +-(2^53 - 1), bool, None, list, mapping with str keys

    Bytes: RFC 8785, at most MAX_RECEIPT of them.
    Digest: SHA-256("stockade.ledger/receipt/v1" NUL bytes).
    Signature: Ed25519 over "stockade.ledger/receipt-signature/v1" NUL digest.

    How this may evolve, and how not:
    - What has been written is never rewritten, and stays valid for ever under these rules.
    - The header is closed. A field added, removed or given another meaning is version 2, with its
      own two domain prefixes, so that no byte string is a receipt of two versions.
    - A verifier refuses versions it does not know. A chain may go from version 1 to 2; the
      verifier that learns 2 also learns that no 1 may follow a 2.
    - New kinds, and new fields in a body, need no new version. The ledger reads no body but that
      of ledger.keys_rotated (`ledger.rotation`), which is as frozen as this.
    - The bytes under tests/ledger/fixtures are never regenerated.
    """

    chain: str
    sequence: int
    receipt_id: str
    time: str
    kind: str
    prev: bytes
    body: Mapping[str, object] = field(repr=False)
    clock_behind_ms: int | None = None

    def canonical(self) -> bytes:
        """The bytes that are hashed, signed, stored and exported."""
        _check(self)
        return self.encoded()

    def encoded(self) -> bytes:
        """The same, of a receipt that was parsed: its header has been looked at already."""
        header: dict[str, object] = {
            "v": VERSION,
            "chain": self.chain,
            "seq": self.sequence,
            "id": self.receipt_id,
            "time": self.time,
            "kind": self.kind,
            "prev": self.prev.hex(),
            "body": self.body,
        }
        if self.clock_behind_ms is not None:
            header[_CLOCK_BEHIND] = self.clock_behind_ms
        encoded = canonical.encode(header)
        if len(encoded) > MAX_RECEIPT:
            _refuse("TOO_LARGE", f"a receipt of {len(encoded)} bytes; {MAX_RECEIPT} are allowed")
        return encoded


def digest_of(canonical_bytes: bytes) -> bytes:
    """The digest of a receipt, by which the next entry and the Merkle tree name it."""
    return hashlib.sha256(_DIGEST_DOMAIN + canonical_bytes).digest()


def message_of(digest: bytes) -> bytes:
    """What is signed for a receipt with this digest."""
    return _SIGNATURE_DOMAIN + digest


def parse_receipt(value: object) -> Receipt:
    """The receipt in a decoded JSON value; strict: no field more, none less, each in its form."""
    if type(value) is not dict:
        _refuse("FIELDS", "a receipt is a JSON object")
    version = value.get("v")
    if type(version) is int and version != VERSION:
        _refuse("VERSION", f"a receipt of version {version}; this is version {VERSION}")
    # True == 1 in Python: the type is part of the comparison.
    if type(version) is not int or not _FIXED <= value.keys() <= _FIXED | {_CLOCK_BEHIND}:
        _refuse("FIELDS", "a receipt has exactly the header fields of its version")
    prev = value["prev"]
    if type(prev) is not str or _HEX32.fullmatch(prev) is None:
        _refuse("PREV", "prev is not 64 lower-case hex digits")
    if _CLOCK_BEHIND in value and value[_CLOCK_BEHIND] is None:
        _refuse("TIME", "clock_behind_ms is absent or an integer")
    receipt = Receipt(
        chain=value["chain"],
        sequence=value["seq"],
        receipt_id=value["id"],
        time=value["time"],
        kind=value["kind"],
        prev=bytes.fromhex(prev),
        body=value["body"],
        clock_behind_ms=value.get(_CLOCK_BEHIND),
    )
    _check(receipt)
    return receipt


def _check(receipt: Receipt) -> None:
    """Every header field has the type and form the format says; values come from anywhere."""
    check_chain(receipt.chain)
    if not _is_count(receipt.sequence):
        _refuse("SEQUENCE", "seq is not an integer from 1")
    if not _matches(_UUID7, receipt.receipt_id):
        _refuse("ID", "the id is not a lower-case UUIDv7")
    if not _matches(_KIND, receipt.kind):
        _refuse("KIND", "the kind is not a word of [A-Za-z0-9._-], at most 64 long")
    if type(receipt.prev) is not bytes or len(receipt.prev) != len(NO_PREVIOUS):
        _refuse("PREV", "prev is not 32 bytes")
    # Both ways: a first entry that names another hides what came before it.
    if (receipt.sequence == 1) != (receipt.prev == NO_PREVIOUS):
        _refuse("PREV", "prev is all zeros in the first entry and only there")
    if receipt.clock_behind_ms is not None and not _is_count(receipt.clock_behind_ms):
        _refuse("TIME", "clock_behind_ms is not an integer from 1")
    if not isinstance(receipt.body, Mapping):
        _refuse("BODY", "the body is not a mapping")
    parse_time(receipt.time)


def check_chain(chain: object) -> None:
    """Refuse what is no chain id; it becomes part of key names and origins, so no odd letters."""
    if not _matches(_CHAIN, chain):
        _refuse("CHAIN", "a chain id is [a-z0-9][a-z0-9._-]{0,62}")


def format_time(milliseconds: int) -> str:
    """Milliseconds since 1970 as a receipt's time."""
    if type(milliseconds) is not int or not 0 <= milliseconds <= _MAX_MS:
        _refuse("TIME", "a time is in milliseconds since 1970, before the year 10000")
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: object) -> int:
    """A receipt's time as milliseconds since 1970; only the one form `format_time` writes."""
    if type(text) is not str:
        _refuse("TIME", "a time is RFC 3339 in UTC with milliseconds and Z")
    return _parsed(text)


@lru_cache(maxsize=64)  # of one receipt it is asked for again and again: 8 microseconds each time
def _parsed(text: str) -> int:
    if _TIME.fullmatch(text) is None:
        _refuse("TIME", "a time is RFC 3339 in UTC with milliseconds and Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        _refuse("TIME", "a time that is not in the calendar")
    if moment < _EPOCH:
        _refuse("TIME", "a time before 1970")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return type(value) is str and pattern.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= canonical.MAX_INTEGER


def _refuse(code: str, message: str) -> NoReturn:
    raise ReceiptError(code, message)
