"""One argument of a call as an approver reads it: a diff as a diff, a command line as one.

What it is taken for changes only how it is set out, never what is shown: each character of it is
there, unless it is folded or masked, and both say so with their size. Every line of a value stands
behind a rule, so that none can pose as a label of ours, and what is only the rest of a line behind
another, so that it cannot pose as a line. Pure.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stockade.cli import diff_view, rows
from stockade.cli.lookalike import revealed
from stockade.cli.rows import Row, cut
from stockade.cli.terminal import many, size
from stockade.cli.visible import visible
from stockade.masking import is_command_name, masker

FOLD_LINES = 12
FOLD_CHARACTERS = 800

_RULE, _REST = "│ ", "┊ "
# A doubled backslash is taken first, so that the text "\\u001b" stays what it is.
_JSON_ESCAPE = re.compile(r"\\\\|\\u([0-9a-f]{4})")
_KINDS = {
    diff_view.ADDED: rows.ADDED,
    diff_view.REMOVED: rows.REMOVED,
    diff_view.HUNK: rows.HUNK,
    diff_view.HEADING: rows.TITLE,
    diff_view.SAME: rows.PLAIN,
}


@dataclass(frozen=True, slots=True)
class View:
    """How much an approver wants to see."""

    width: int = 80
    whole: bool = False
    unmasked: bool = False
    at_desk: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A value set out in lines, with a word for what it is."""

    lines: tuple[tuple[str, str], ...]
    word: str = ""


@dataclass(frozen=True, slots=True)
class Argument:
    """The rows of an argument, and how many bytes of it are not in them."""

    rows: tuple[Row, ...]
    hidden: int
    masked: bool


def argument(name: str, value: Any, view: View) -> Argument:
    """The argument, set out."""
    shape = _shape(name, value, unmasked=view.unmasked)
    masked = not view.unmasked and shape != _shape(name, value, unmasked=True)
    shown = shape.lines if view.whole else _folded(shape.lines)
    hidden = _size(shape.lines) - _size(shown)
    lines = [
        (_REST if number else _RULE, Row(piece, kind))
        for kind, line in shown
        for number, piece in enumerate(cut(_safe(line), view.width - 4 - len(_RULE)))
    ]
    head = f"  {_safe(name)} = {shape.word}"
    if hidden:
        text = f"… NOT SHOWN: {size(hidden)} of {size(_size(shape.lines))}"
        lines.append((_RULE, Row(text, rows.WARNING)))
    return Argument(tuple(_set_out(head, lines, view.width)), hidden, masked)


def _set_out(head: str, lines: list[tuple[str, Row]], width: int) -> list[Row]:
    from rich.cells import cell_len

    if len(lines) == 1 and head.endswith("= ") and cell_len(head + lines[0][1].text) <= width:
        return [Row(head + lines[0][1].text)]
    # Indented throughout: an argument's name may be long enough to reach the next line, too.
    heads = [Row(f"  {piece}") for piece in cut(head.strip(), width - 2)]
    return [*heads, *(Row(f"    {rule}{line.text}", line.kind) for rule, line in lines)]


def _shape(name: str, value: Any, *, unmasked: bool) -> Shape:
    mask = (lambda text: text) if unmasked else masker(name)
    if is_command_name(name) and (said := _command(value)) is not None:
        word, text = said
        first, *more = mask(text).split("\n")
        lines = [(rows.COMMAND, f"$ {first}"), *((rows.COMMAND, f"  {line}") for line in more)]
        return Shape(tuple(lines), word)
    if isinstance(value, str) and "\n" in value:
        text = mask(value)
        if (diff := diff_view.parse_diff(text)) is not None:
            return Shape(tuple((_KINDS[kind], line) for kind, line in diff.lines), str(diff))
        lines = [(rows.PLAIN, line) for line in text.split("\n")]
        count = len(lines) - text.endswith("\n")
        return Shape(tuple(lines), f"a text of {many(count, 'line')}")
    if isinstance(value, str):
        return Shape(((rows.PLAIN, _json(mask(value))),))
    text = mask(_json(value))
    return Shape(tuple((rows.PLAIN, line) for line in text.split("\n")))


def _command(value: Any) -> tuple[str, str] | None:
    """The command line that the value is, and what to call it; None if it is none."""
    if isinstance(value, str) and value and value == value.strip():
        count = value.count("\n") + 1
        return ("a command line" if count == 1 else f"a command of {count} lines"), value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        # One line whatever the words hold: what breaks lines in a word is made visible there.
        said = shlex.join(value).replace("\n", "\u240a")
        return f"a command of {many(len(value), 'word')}", said
    return None


def _json(value: Any) -> str:
    """JSON, which shows a value's type and where it begins and ends."""
    indent = 2 if isinstance(value, (Mapping, list)) and value else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _JSON_ESCAPE.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    r"""JSON's \u001b as the character, for `visible` to show as it shows all such."""
    return found[0] if found[1] is None else chr(int(found[1], 16))


def _folded(lines: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The first lines, of so many characters together."""
    kept, left = [], FOLD_CHARACTERS
    for kind, line in lines[:FOLD_LINES]:
        kept.append((kind, line[:left]))
        left -= len(line) + 1
        if left <= 0:
            break
    return tuple(kept)


def _size(lines: tuple[tuple[str, str], ...]) -> int:
    text = "\n".join(line for _, line in lines)
    return len(text.encode(errors="surrogatepass"))


def _safe(line: str) -> str:
    return visible(revealed(line))
