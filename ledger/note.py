"""C2SP signed notes (c2sp.org/signed-note): text, a blank line, signature lines.

Trusted to take a note apart in exactly one way. Verifies nothing: what it returns is the text and
what claims to have signed it. Raises CheckpointError and nothing else.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ledger.errors import CheckpointError

MAX_NOTE: Final = 128 * 1024
"""Sixteen signatures (the least a verifier must accept) of 5 kB each, and room."""
MAX_SIGNATURES: Final = 16

_DASH: Final = "\N{EM DASH} "
_KEY_ID_SIZE: Final = 4
# C2SP: no control character but the newline. Only "\n" ends a line here: splitlines() would
# also split at U+2028, U+0085 and others, and so show another text than the one signed.
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, with which key, and the signature."""

    name: str
    key_id: bytes
    signature: bytes = field(repr=False)


def format_note(text: str, signatures: list[NoteSignature]) -> bytes:
    """The note; `text` ends in a newline."""
    lines = [
        f"{_DASH}{item.name} {base64.b64encode(item.key_id + item.signature).decode()}\n"
        for item in signatures
    ]
    return (text + "\n" + "".join(lines)).encode()


def parse_note(data: bytes) -> tuple[str, list[NoteSignature]]:
    """The text (with its last newline) and the signature lines."""
    if len(data) > MAX_NOTE:
        _refuse(f"a note of {len(data)} bytes; {MAX_NOTE} are allowed")
    try:
        note = data.decode()
    except UnicodeDecodeError:
        _refuse("a note is UTF-8")
    if _CONTROL.search(note):
        _refuse("a note holds no control character but the newline")
    # The last blank line ends the text: the text itself may have others.
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        _refuse("a note is text, a blank line and signature lines, each ended by a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        _refuse(f"a note of {len(lines)} signatures; {MAX_SIGNATURES} are allowed")
    return text + "\n", [_parse_line(line) for line in lines]


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_name(name):
        _refuse("a signature line is an em dash, a key name and a signature")
    blob = decode_base64(encoded)
    if blob is None or len(blob) <= _KEY_ID_SIZE:
        _refuse("a signature is base64 of a key id and a signature")
    return NoteSignature(name, blob[:_KEY_ID_SIZE], blob[_KEY_ID_SIZE:])


def is_name(name: str) -> bool:
    """Whether this may name a key: not empty, no Unicode space, no plus."""
    return bool(name) and "+" not in name and not any(map(str.isspace, name))


def decode_base64(text: str) -> bytes | None:
    """The bytes, or None unless `text` is the one standard encoding of them (RFC 4648, 4)."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Stray bits behind the last byte decode to nothing, so many texts would mean the same.
    return blob if base64.b64encode(blob).decode() == text else None


def _refuse(message: str) -> NoReturn:
    raise CheckpointError("MALFORMED", message)
