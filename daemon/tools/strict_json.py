"""Strict JSON: one text, one value, one meaning.

Trusted to turn bytes of a stranger into a value that no two readers can take differently, before
anything deep or large is built: UTF-8 only, no duplicate keys, no NaN or Infinity, no lone
surrogates, no number outside the range RFC 7493 (I-JSON) calls interoperable, size, depth and
number of values capped. A number that is integral is an ``int`` however it was spelled (``1.0``,
``1e0``), so a value equals the value of its own canonical form, types included.

Errors: only ``JsonError``. It carries a position, never a piece of the text.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import Never, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_NUMBER = 2**53 - 1  # RFC 7493 section 2.2
_INTEGER_TEXT = 17  # "-9007199254740991": longer is out of range; int() of a long text is quadratic
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_A_BRACKET = re.compile(r"[^\[\]{}]+")


@unique
class Fault(Enum):
    """What kind of rule a text broke."""

    TOO_LARGE = "too large"
    TOO_DEEP = "too deep"
    DUPLICATE_KEY = "a duplicate key"
    MALFORMED = "malformed"


class JsonError(Exception):
    """A text that is not strict JSON; caught and renamed at this package's boundary."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """Bounds that hold before a value is built. ``max_values`` bounds the schema's work too."""

    max_bytes: int = 1024 * 1024
    max_depth: int = 32
    max_values: int = 10_000


def parse_json(raw: bytes, limits: JsonLimits) -> JsonValue:
    """Parse one strict JSON text."""
    if len(raw) > limits.max_bytes:
        raise JsonError(Fault.TOO_LARGE, f"more than {limits.max_bytes} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(Fault.MALFORMED, f"not UTF-8 at byte {error.start}") from None
    _measure(text, limits)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        # Its message can quote a character of the text; the position says enough.
        raise JsonError(Fault.MALFORMED, f"not JSON at character {error.pos}") from None
    if "\\u" in text and _holds_surrogate(value):
        raise JsonError(Fault.MALFORMED, "a string holds a lone surrogate")
    return value


def _measure(text: str, limits: JsonLimits) -> None:
    """Bound depth and number of values without building any.

    Dropping the escaped backslashes, then the escaped quotes, leaves quotes that only open or
    close a string, so every second piece between them lies outside strings. Text that is no
    JSON can confuse this only from its first error on, and the parser stops there.
    """
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    opened = outside.count("[") + outside.count("{")
    if opened + outside.count(",") >= limits.max_values:
        raise JsonError(Fault.TOO_LARGE, f"more than {limits.max_values} values")
    if opened <= limits.max_depth:
        return
    depth = 0
    for bracket in _NOT_A_BRACKET.sub("", outside):
        depth += 1 if bracket in "[{" else -1
        if depth > limits.max_depth:
            raise JsonError(Fault.TOO_DEEP, f"nested deeper than {limits.max_depth}")


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError(Fault.DUPLICATE_KEY, "an object names a key twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _INTEGER_TEXT or abs(number := int(text)) > MAX_NUMBER:
        raise JsonError(Fault.MALFORMED, "a number beyond 2^53 - 1 (send it as a string)")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or abs(number) > MAX_NUMBER:
        raise JsonError(Fault.MALFORMED, "a number beyond 2^53 - 1 (send it as a string)")
    return int(number) if number.is_integer() else number


def _constant(_text: str) -> Never:
    raise JsonError(Fault.MALFORMED, "NaN and Infinity are not JSON")


def _holds_surrogate(value: JsonValue) -> bool:
    match value:
        case str():
            return _SURROGATE.search(value) is not None
        case list():
            return any(map(_holds_surrogate, value))
        case dict():
            return any(_holds_surrogate(k) or _holds_surrogate(v) for k, v in value.items())
        case _:
            return False
