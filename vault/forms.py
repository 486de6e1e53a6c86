"""The forms a secret takes in the output of a tool that prints it.

Trusted to list, for one value: itself; base64 (standard and URL-safe alphabet, at each of the three
alignments inside a longer encoding, with and without padding, and wrapped at 64 and 76 columns as
`base64` and `openssl` do); hexadecimal in either case; percent-encoding as URLs, forms and
`encodeURIComponent` write it, in either case; and escaped as inside a JSON string, as Python,
JavaScript and Go write it. A value that ends in a newline is also looked for without it.

What is not listed is not found: other encodings, compression, encryption, reversal, pieces, one
character per line; nor a value in the midst of a longer text that is encoded in lines, where one
of these ends in it. Redaction catches accidents and careless tools. A tool that *wants* to leak
what it was given can; only policy, which gave it, helps there. In base64 inside a longer text the
characters shared with the neighbours stay: at most four bits of the first and last byte.

Very short values. Under 4 bytes only the value itself is redacted, wherever it occurs: that garbles
ordinary output, but the promise is that the value does not appear. Its encoded forms are one to
five characters that occur everywhere by chance; replacing them would garble the rest and hide
nothing, since so short a value can be guessed. Refuse such values when they are put.

What is made on the way to a form is overwritten; the forms are the caller's to overwrite.
"""

import binascii
from collections.abc import Iterator, Sequence
from string import ascii_letters, digits
from typing import Final

from vault.burn import burn
from vault.jsonforms import json_forms

SHORT: Final = 4
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_LINES: Final = (64, 76)
_HEX: Final = tuple(b"%02x" % byte for byte in range(256))
_HEX_UPPER: Final = tuple(b"%02X" % byte for byte in range(256))
# What encoders leave alone beyond letters, digits and "_.-~": nothing, the path's slash,
# encodeURIComponent's set, encodeURI's set. And what is written for a space.
_UNRESERVED: Final = ascii_letters + digits + "_.-~"
_SETS: Final = (("", b"%20"), ("", b"+"), ("/", b"%20"), ("!~*'()", b"%20"))
_SETS_OF_WHOLE_URLS: Final = ((";,/?:@&=+$-_.!~*'()#", b"%20"),)


def _percent_table(safe: str, space: bytes, digit: str) -> tuple[bytes, ...]:
    kept = frozenset((_UNRESERVED + safe).encode())
    table = [bytes((b,)) if b in kept else b"%%%b" % (digit % b).encode() for b in range(256)]
    table[0x20] = space
    return tuple(table)


_PERCENT: Final = tuple(
    table
    for digit in ("%02X", "%02x")
    for table in (
        tuple(b"%%%b" % (digit % byte).encode() for byte in range(256)),
        *(_percent_table(safe, space, digit) for safe, space in (*_SETS, *_SETS_OF_WHOLE_URLS)),
    )
)


def forms(value: bytes) -> list[bytes]:
    """List the distinct forms of one value, each a new object."""
    found: dict[bytes, None] = {}
    for base in (_copy(value), _copy(value.rstrip(b"\r\n"))):
        if not _keep(found, base) or len(base) < SHORT:
            continue
        for family in (_base64, _hexadecimal, _percent, json_forms):
            for form in family(base):
                _keep(found, form)
    found.pop(b"", None)
    return list(found)


def _keep(found: dict[bytes, None], form: bytes) -> bool:
    """Whether it is new; what is not is overwritten."""
    if form in found:
        burn(form)
        return False
    found[form] = None
    return True


def _copy(value: bytes) -> bytes:
    return bytes(bytearray(value))


def _mapped(value: bytes, table: Sequence[bytes]) -> bytes:
    return b"".join([table[byte] for byte in value])


def _base64(value: bytes) -> Iterator[bytes]:
    for before in range(3):
        shifted = bytes(before) + value if before else _copy(value)
        padded = binascii.b2a_base64(shifted, newline=False)
        burn(shifted)
        # Characters that carry bits of what stands before or after are left out.
        start, end = (0, 2, 3)[before], (before + len(value)) * 8 // 6
        bare = len(padded.rstrip(b"="))
        # Not where it changes nothing: that would be the same object, and burnt.
        safe = padded.translate(_URL_SAFE) if b"+" in padded or b"/" in padded else b""
        for alphabet in filter(None, (padded, safe)):
            for last in (end, bare, len(padded)):
                yield _cut(alphabet, start, last)
            burn(alphabet)
    whole = binascii.b2a_base64(value, newline=False)
    # Without the last group too: it looks different where a newline was encoded along.
    for length in (len(whole), len(value) * 8 // 6):
        for width in _LINES:
            lines = [_cut(whole, at, min(at + width, length)) for at in range(0, length, width)]
            yield b"\n".join(lines) if len(lines) > 1 else _copy(lines[0])
            burn(*lines)
    burn(whole)


def _cut(text: bytes, start: int, end: int) -> bytes:
    return bytes(bytearray(memoryview(text)[start:end]))


def _hexadecimal(value: bytes) -> Iterator[bytes]:
    yield _mapped(value, _HEX)
    yield _mapped(value, _HEX_UPPER)


def _percent(value: bytes) -> Iterator[bytes]:
    for table in _PERCENT:
        yield _mapped(value, table)
