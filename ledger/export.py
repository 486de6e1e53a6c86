"""An export of the ledger: NDJSON, one entry per line, each line itself canonical JSON.

    {"digest":"<hex>","receipt":{...},"sig":"<base64>"}

Trusted to read an entry in exactly one form. Whether it is authentic is `ledger.verify`'s to say:
nothing here looks at a digest or a signature. Raises LineError and nothing else.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

import orjson

from ledger.chain import Entry
from ledger.errors import Fault, LineError, ReceiptError
from ledger.note import decode_base64
from ledger.receipt import Receipt, parse_receipt

MAX_LINE: Final = 1024 * 1024
"""With its newline."""

_FIELDS: Final = {"digest", "receipt", "sig"}
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says: the receipt, and the entry it came in. Not yet verified."""

    receipt: Receipt
    entry: Entry


def encode_line(entry: Entry) -> bytes:
    """The line of an entry, with its newline."""
    # Canonical JSON composes: a canonical member in its sorted place is canonical as it stands.
    return b'{"digest":"%b","receipt":%b,"sig":"%b"}\n' % (
        entry.digest.hex().encode(),
        entry.canonical,
        base64.b64encode(entry.signature),
    )


def parse_line(line: bytes) -> Line:
    """The entry in a line, with or without its newline."""
    if len(line) > MAX_LINE:
        _refuse(Fault.OVERSIZE, f"a line is at most {MAX_LINE} bytes")
    text = line.removesuffix(b"\n")
    fields = _decode(text)
    digest, signature = fields["digest"], fields["sig"]
    if type(digest) is not str or _HEX32.fullmatch(digest) is None:
        _refuse(Fault.MALFORMED, "the digest is not 64 lower-case hex digits")
    blob = decode_base64(signature) if type(signature) is str else None
    if blob is None or len(blob) != _SIGNATURE_SIZE:
        _refuse(Fault.MALFORMED, "the signature is not base64 of 64 bytes")
    parsed = _receipt(fields["receipt"], bytes.fromhex(digest), blob)
    # One comparison for all that a lenient reader lets pass: duplicate keys (the last one won),
    # white space, key order, needless escapes, -0, a byte after the end.
    if encode_line(parsed.entry) != text + b"\n":
        _refuse(Fault.NOT_CANONICAL, "the line is not in canonical form")
    return parsed


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of an export; a line too long comes as its first MAX_LINE + 1 bytes and is last.

    Iterating over a file would read a gigabyte without newline into memory.
    """
    while line := stream.readline(MAX_LINE + 1):
        yield line
        if len(line) > MAX_LINE:
            return


def _decode(text: bytes) -> dict[str, object]:
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        # from None: the cause quotes the line, and its text may hold what must not be shown
        raise LineError(Fault.MALFORMED, "the line is not JSON") from None
    if type(fields) is not dict or fields.keys() != _FIELDS:
        _refuse(Fault.MALFORMED, "an entry has exactly the fields digest, receipt and sig")
    return fields


def _receipt(value: object, digest: bytes, signature: bytes) -> Line:
    try:
        receipt = parse_receipt(value)
        canonical = receipt.encoded()
    except ReceiptError as error:
        fault = Fault.VERSION if error.code == "VERSION" else Fault.MALFORMED
        raise LineError(fault, error.message) from error
    entry = Entry(
        receipt.sequence,
        receipt.receipt_id,
        receipt.kind,
        receipt.time,
        canonical,
        digest,
        signature,
    )
    return Line(receipt, entry)


def _refuse(fault: Fault, message: str) -> NoReturn:
    raise LineError(fault, message)
