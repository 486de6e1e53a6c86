"""What a lease says of each argument of a tool, and in which words.

Pure, and shared by the daemon, which makes Cedar of it, and the client, which shows the words
before a person signs. Closed by default: an argument that is not named may not be given. There is
no pattern, no negation and no "or" between arguments: each bound can be read alone. `parse_bounds`
raises `BoundError` and nothing else.

    {"is": VALUE}         exactly this text, whole number or truth value
    {"one_of": [TEXT..]}  one of these texts
    {"below": "a/b"}      this path or one below it, without a ".." anywhere
    {"from": 1, "to": 9}  a whole number, both ends included
    {"any": true}         anything
"""

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_BOUNDS = 64
MAX_CHOICES = 64
MAX_TEXT = 4096
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_I64 = range(-(2**63), 2**63)

Bounds = Mapping[str, Mapping[str, Any]]


class BoundError(ValueError):
    """Not a bound, or one that does not say one thing."""


def parse_bounds(value: object) -> Bounds:
    """Bounds by the names of arguments, each of exactly one of the forms above."""
    if not isinstance(value, Mapping) or len(value) > MAX_BOUNDS:
        raise BoundError(f"bounds are an object of at most {MAX_BOUNDS} arguments")
    for name, bound in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BoundError(f"{name!r:.80} is not an argument that can be bounded")
        if not isinstance(bound, Mapping) or not _is_bound(bound):
            raise BoundError(f"{name}: not a bound")
    return value


def words(name: str, bound: Mapping[str, Any]) -> str:
    """A bound as an approver reads it."""
    match dict(bound):
        case {"is": value}:
            return f"{name}: exactly {json.dumps(value, ensure_ascii=False)}"
        case {"one_of": choices}:
            said = ", ".join(json.dumps(one, ensure_ascii=False) for one in choices)
            return f"{name}: one of {said}"
        case {"below": path}:
            return f"{name}: {json.dumps(path, ensure_ascii=False)} or a path below it, without .."
        case {"from": low, "to": high}:
            return f"{name}: a whole number from {low} to {high}"
    return f"{name}: ANYTHING"


def covers(bound: Mapping[str, Any], value: object) -> bool:
    """Whether a value is within a bound."""
    match dict(bound):
        case {"any": True}:
            return True
        case {"is": wanted}:
            return type(wanted) is type(value) and wanted == value
        case {"one_of": list() as choices}:
            return isinstance(value, str) and value in choices
        case {"below": str() as path}:
            return isinstance(value, str) and _is_below(value, path)
        case {"from": int() as low, "to": int() as high}:
            return type(value) is int and low <= value <= high
    return False


def within(narrow: Mapping[str, Any], wide: Mapping[str, Any]) -> bool:
    """Whether whatever the one bound covers, the other does, too."""
    match dict(narrow), dict(wide):
        case _, {"any": True}:
            return True
        case {"is": value}, _:
            return covers(wide, value)
        case {"one_of": list() as choices}, _:
            return all(covers(wide, one) for one in choices)
        case {"below": str() as path}, {"below": str() as above}:
            return _is_below(path, above)
        case {"from": int() as low, "to": int() as high}, {"from": int(), "to": int()}:
            return covers(wide, low) and covers(wide, high)
    return False


def _is_below(path: str, above: str) -> bool:
    return path == above or (path.startswith(f"{above}/") and ".." not in path.split("/"))


def _is_bound(bound: Mapping[str, Any]) -> bool:
    match dict(bound):
        case {"is": bool() | str() | int() as value, **rest} if not rest:
            return _fits(value)
        case {"one_of": list() as choices, **rest} if not rest:
            short = 0 < len(choices) <= MAX_CHOICES
            return short and all(isinstance(one, str) and _fits(one) for one in choices)
        case {"below": str() as path, **rest} if not rest:
            return _is_path(path)
        case {"from": int() as low, "to": int() as high, **rest} if not rest:
            whole = type(low) is int and type(high) is int
            return whole and low in _I64 and high in _I64 and low <= high
        case {"any": True, **rest} if not rest:
            return bound["any"] is True
    return False


def _fits(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    return isinstance(value, bool) or value in _I64


def _is_path(path: str) -> bool:
    """One that is its own shortest form: no empty part, no dot, no slash at the end."""
    parts = path.removeprefix("/").split("/")
    return _fits(path) and all(part not in ("", ".", "..") for part in parts)
