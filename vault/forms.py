"""The forms a secret takes in the output of a tool that prints it.

Trusted to list, for one value: itself; base64 (standard and URL-safe alphabet, at each of the three
alignments inside a longer encoding, with and without padding, and wrapped at 64 and 76 columns as
`base64` and `openssl` do); hexadecimal in either case; percent-encoding as URLs, forms and
`encodeURIComponent` write it, in either case; and escaped as inside a JSON string, as Python,
JavaScript and Go write it. A value that ends in a newline is also looked for without it.

What is not listed is not found: other encodings, compression, encryption, reversal, pieces, one
character per line. Redaction catches accidents and careless tools. A tool that *wants* to leak what
it was given can; only policy, which gave it, helps there. In base64 inside a longer text the
characters shared with the neighbours stay: at most four bits of the first and last byte.

Very short values. Under 4 bytes only the value itself is redacted, wherever it occurs: that garbles
ordinary output, but the promise is that the value does not appear. Its encoded forms are one to
five characters that occur everywhere by chance; replacing them would garble the rest and hide
nothing, since so short a value can be guessed. Refuse such values when they are put.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

SHORT: Final = 4
_ALPHABETS: Final = (base64.b64encode, base64.urlsafe_b64encode)
# What encoders leave alone beyond letters, digits and "_.-~": nothing, the path's slash,
# encodeURIComponent's set, encodeURI's set.
_SAFE: Final = ("", "/", "!~*'()", ";,/?:@&=+$-_.!~*'()#")
_GO: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def forms(value: bytes) -> list[bytes]:
    """List the distinct forms of one value."""
    found: dict[bytes, None] = {}
    for base in dict.fromkeys((value, value.rstrip(b"\r\n"))):
        found.setdefault(base)
        if len(base) >= SHORT:
            for family in (_base64, _hexadecimal, _percent, _json):
                found.update(dict.fromkeys(family(base)))
    found.pop(b"", None)
    return list(found)


def _base64(value: bytes) -> Iterator[bytes]:
    for encode in _ALPHABETS:
        for before in range(3):
            padded = encode(bytes(before) + value)
            bare = padded.rstrip(b"=")
            # Characters that carry bits of what stands before or after are left out.
            start, end = (0, 2, 3)[before], (before + len(value)) * 8 // 6
            yield bare[start:end]
            yield bare[start:]
            yield padded[start:]
    whole = base64.b64encode(value)
    # Without the last group too: it looks different where a newline was encoded along.
    for text in (whole, whole[: len(value) * 8 // 6]):
        for width in (64, 76):
            lines = [text[at : at + width] for at in range(0, len(text), width)]
            yield b"\n".join(lines)


def _hexadecimal(value: bytes) -> Iterator[bytes]:
    text = value.hex().encode("ascii")
    yield text
    yield text.upper()


def _percent(value: bytes) -> Iterator[bytes]:
    every = "".join(f"%{byte:02X}" for byte in value)
    for text in (every, quote_plus(value), *(quote(value, safe=safe) for safe in _SAFE)):
        yield text.encode("ascii")
        lower = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), text)
        yield lower.encode("ascii")


def _json(value: bytes) -> Iterator[bytes]:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")  # how such bytes get into a JSON string at all
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        for written in (escaped, escaped.replace("/", "\\/"), escaped.translate(_GO)):
            yield written.encode("utf-8")
            upper = re.sub(
                r"\\\\|\\u[0-9a-f]{4}",
                lambda escape: escape[0][:2] + escape[0][2:].upper(),
                written,
            )
            yield upper.encode("utf-8")
