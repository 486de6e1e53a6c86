"""The kinds of looks that a policy takes at a value, each with what it can make out there.

Trusted so that two values of which a look makes out the same are the same to the expression it was
read from: true for both, false for both, or an error for both. What it makes out need not be what
the engine would say, but it is; a law in the tests holds them together. A value of another type
than the look is for cannot be told (`UnlikeError`): which is never a no. Pure; raises nothing else.
"""

import enum
import operator
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from cedarpy import pst

# The forms of a time that are exact as text: others go to the engine.
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})?Z", re.ASCII)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "less": operator.lt,
    "less_eq": operator.le,
    "greater": operator.gt,
    "greater_eq": operator.ge,
}


class UnlikeError(Exception):
    """What cannot be told. Never leaves `policy.looks`."""


class Absent(enum.Enum):
    """There is no such attribute: neither yes nor no."""

    HERE = 0


class Moment(NamedTuple):
    """A time, to the millisecond, in UTC, as text of one length: in the order of the times."""

    text: str


class Kind(Protocol):
    """What all of them can do."""

    def of(self, value: object) -> Hashable:
        """What it makes out of a value."""


def moment(text: str) -> Moment | None:
    """What `datetime` makes of a text, if it is in a form that is exact as it stands."""
    if _DATE.fullmatch(text):
        return Moment(f"{text}T00:00:00.000Z")
    found = _TIME.fullmatch(text)
    return Moment(f"{found[1]}{found[2] or '.000'}Z") if found else None


@dataclass(frozen=True, slots=True)
class Exact:
    """The value itself, where there are few: a yes or no; of the clock also numbers and a date."""

    of_clock: bool

    def of(self, value: object) -> Hashable:
        """See `Kind`."""
        if type(value) is bool or (self.of_clock and type(value) in (int, str)):
            return type(value), value
        raise UnlikeError


@dataclass(frozen=True, slots=True)
class Has:
    """`has`: whether there is an attribute, and in it the next."""

    attributes: tuple[str, ...]

    def of(self, value: object) -> bool:
        """See `Kind`."""
        for name in self.attributes:
            if type(value) is not dict or "__entity" in value or "__extn" in value:
                raise UnlikeError
            if name not in value:
                return False
            value = value[name]
        return True


@dataclass(frozen=True, slots=True)
class Like:
    """`like`: the pieces between the stars."""

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, pattern: tuple[pst.PatternElem, ...]) -> "Like":
        """A pattern in the engine's tree."""
        pieces = [""]
        for one in pattern:
            if isinstance(one, pst.Char):
                pieces[-1] += one.value
            else:
                pieces.append("")
        return cls(tuple(pieces))

    def of(self, value: object) -> bool:
        """See `Kind`. From left to right, each piece where it first fits: never tried again."""
        text, (first, *rest) = _text(value), self.pieces
        if not rest:
            return text == first
        at, end = len(first), len(text) - len(rest[-1])
        if at > end or not text.startswith(first) or not text.endswith(rest[-1]):
            return False
        for piece in rest[:-1]:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True


@dataclass(frozen=True, slots=True)
class Same:
    """`==` and `!=` with a constant."""

    type: type  # beside the constant, since True is 1 to Python
    constant: object

    def of(self, value: object) -> bool:
        """See `Kind`."""
        return _of(self.type, value) == self.constant


@dataclass(frozen=True, slots=True)
class Ordered:
    """`<` and its like with a constant."""

    op: str
    type: type
    constant: object

    def of(self, value: object) -> bool:
        """See `Kind`."""
        return _ORDER[self.op](_of(self.type, value), self.constant)


@dataclass(frozen=True, slots=True)
class OneOf:
    """`contains` of a set of constants, all of one type."""

    type: type
    constants: frozenset[object]

    def of(self, value: object) -> bool:
        """See `Kind`."""
        return _of(self.type, value) in self.constants


@dataclass(frozen=True, slots=True)
class Holds:
    """`contains` of a set that is there, with a constant."""

    type: type
    constant: object

    def of(self, value: object) -> bool:
        """See `Kind`."""
        if type(value) is not list:
            raise UnlikeError
        return self.constant in [_of(self.type, one) for one in value]


@dataclass(frozen=True, slots=True)
class Empty:
    """`isEmpty`."""

    def of(self, value: object) -> bool:
        """See `Kind`."""
        if type(value) is not list:
            raise UnlikeError
        return not value


@dataclass(frozen=True, slots=True)
class Meets:
    """`containsAny` and `containsAll` between a set that is there and one of constants."""

    relation: str
    """What is said of the set that is there: "any", that it has "all", that it is "within"."""
    type: type
    constants: frozenset[object]

    def of(self, value: object) -> bool:
        """See `Kind`."""
        if type(value) is not list:
            raise UnlikeError
        there = {_of(self.type, one) for one in value}
        if self.relation == "any":
            return not self.constants.isdisjoint(there)
        return self.constants <= there if self.relation == "all" else there <= self.constants


def _of(kind: type, value: object) -> object:
    """The value, if it is of this very type."""
    if kind is Moment:
        match value:
            case {"__extn": {"fn": "datetime", "arg": str(text)}} if found := moment(text):
                return found
        raise UnlikeError
    if kind is str:
        return _text(value)
    if type(value) is not kind:
        raise UnlikeError
    return value


def _text(value: object) -> str:
    if type(value) is not str:
        raise UnlikeError
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnlikeError from None  # the engine refuses it
    return value
