"""Canonical JSON (RFC 8785) of values without floats.

Trusted to give one value exactly one byte string, so that a digest names a value. Refuses floats
(their shortest form is where implementations differ), integers a double cannot hold, strings that
are not Unicode, keys that are not strings, every other type (also subclasses: an enumeration or a
date has no one JSON form), and nesting too deep. Raises ReceiptError and nothing else.

Most values are plain already, and are looked at once and not copied; whatever is not, or is refused
by the encoder, goes the long way, which says why.

Two encoders, one result. RFC 8785 sorts keys by UTF-16 code units, orjson by UTF-8 bytes; for
ASCII keys these orders are the same, and with floats gone the rest of the two grammars (escapes,
integers, literals) agrees too: a test holds them side by side. Any key outside ASCII goes to the
rfc8785 library, which is fifty times slower and the oracle.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import orjson
import rfc8785

from ledger.errors import ReceiptError

MAX_DEPTH: Final = 64
"""Containers within containers. orjson stops at 254, Python at about 1000; people at 10."""
MAX_INTEGER: Final = 2**53 - 1
"""RFC 7493: beyond this, readers that use doubles silently read another number."""

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


_LEAVES: Final = frozenset({str, int, bool, type(None)})


def encode(value: object) -> bytes:
    """The canonical bytes of `value`."""
    if _is_plain(value, 0):
        with suppress(TypeError):
            encoded = orjson.dumps(value, option=_OPTIONS)
            if encoded.isascii():  # so are the keys
                return encoded
    return _encode_checked(value)


def _is_plain(value: object, depth: int) -> bool:
    """Whether it is lists, mappings and what may be in them, of these very types; not how large."""
    if depth >= MAX_DEPTH:
        return False
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return False
        items: Iterable[object] = value.values()
    elif type(value) is list:
        items = value
    else:
        return False
    for item in items:  # noqa: SIM110 - a generator costs as much again
        if type(item) not in _LEAVES and not _is_plain(item, depth + 1):
            return False
    return True


def _encode_checked(value: object) -> bytes:
    beyond_ascii: list[str] = []
    plain = _plain(value, 0, beyond_ascii)
    try:
        if beyond_ascii:
            return rfc8785.dumps(plain)  # type: ignore[arg-type]
        return orjson.dumps(plain, option=_OPTIONS)
    except (ValueError, TypeError) as error:
        # All other reasons were ruled out in _plain: what is left is a lone surrogate, which
        # orjson reports as TypeError and rfc8785 as either of two ValueErrors.
        raise ReceiptError("NOT_UNICODE", "a string holds a lone surrogate") from error


def _plain(value: object, depth: int, beyond_ascii: list[str]) -> object:
    """A copy of `value` of plain types only; keys outside ASCII are noted on the way."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:  # type: ignore[operator]
            raise ReceiptError("INTEGER_RANGE", "an integer lies outside +-(2^53 - 1)")
        return value
    if depth >= MAX_DEPTH:
        raise ReceiptError("TOO_DEEP", f"nested more than {MAX_DEPTH} deep")
    if kind is list:
        return [
            item if type(item) is str else _plain(item, depth + 1, beyond_ascii)
            for item in value  # type: ignore[attr-defined]
        ]
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth, beyond_ascii)
    if isinstance(value, float):
        raise ReceiptError("FLOAT", "a float has no place in a receipt", "scale it to an integer")
    raise ReceiptError("TYPE", f"a {kind.__name__} is not a JSON value of this ledger")


def _plain_mapping(
    value: Mapping[object, object], depth: int, beyond_ascii: list[str]
) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise ReceiptError("TYPE", f"a {type(key).__name__} is not a key")
        if not key.isascii():
            beyond_ascii.append(key)
        # Most values are text: a call for each would be most of the time a receipt takes.
        plain[key] = item if type(item) is str else _plain(item, depth + 1, beyond_ascii)
    return plain
