"""What receipts say in fields of many parts, as lines that a person reads.

Pure, for what was verified and for nothing else. Trusted to leave nothing out, and to let no text
in a receipt make a line of its own: what is not printable is shown as an escape. A field of a form
that is not known here is told all the same. Raises nothing.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

WIDTH: Final = 72
"""Of a line of ours: with what is before it, 80 columns."""


def in_words(name: str, value: object) -> str:
    """A field of a receipt; its first line stands beside its name. Empty for what says nothing."""
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, str):
        return value
    if name == "questions" and _all_mappings(value):
        return "\n".join([_how_answered(value), *_questions(value)])
    if name == "controls" and isinstance(value, Mapping) and _all_mappings([*value.values()]):
        return "\n".join([f"{len(value)}, as achieved (and as requested)", *_controls(value)])
    return "\n".join(wrapped(_said(value), first=len(name)))


def wrapped(text: str, *, first: int = 0) -> list[str]:
    """As lines of ours; the first of them stands behind a name of so many characters."""
    indent = " " * max(0, first - 2)  # behind "    NAME: ", the others behind "      | "
    lines = _wrap(text, first=indent)
    return [lines[0].removeprefix(indent), *lines[1:]] if lines else [""]


def count(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def visible(text: str) -> str:
    """With escapes for what is not printable: no text acts on its reader."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _how_answered(asked: Sequence[Mapping[str, Any]]) -> str:
    no = sum(one.get("allowed") is not True for one in asked)
    return f"{len(asked)} asked, {no or 'none'} answered with no"


def _questions(asked: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, one in enumerate(asked, 1):
        rest = dict(one)
        who, what, on = (_said(rest.pop(name, "")) for name in ("principal", "action", "resource"))
        answer = "yes" if rest.pop("allowed", None) is True else "no"
        code, by = _said(rest.pop("code", "")), rest.pop("policies", None)
        said = f"{number}. may {who} {what} {on}? {answer}: {code}"
        said += f", by {_said(by)}" if by else ""
        said += f"; {_said(rest)}" if rest else ""
        yield from _wrap(said, rest="   ")


def _controls(controls: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, one in controls.items():
        rest = dict(one)
        achieved, asked = _said(rest.pop("achieved", None)), _said(rest.pop("requested", None))
        more = f"; {_said(rest)}" if rest else ""
        text = f"{visible(name)}: {achieved} ({asked}){more}"
        yield from _wrap(text, rest="  ")


def _said(value: object) -> str:
    """On one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(name))} {_said(one)}" for name, one in value.items())
    if isinstance(value, list):
        both = any(isinstance(one, Mapping | list) for one in value)
        return ("; " if both else ", ").join(map(_said, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return visible(str(value))


def _all_mappings(value: object) -> TypeGuard[list[Mapping[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _wrap(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
