"""A statement as an approver reads it: all of it, nothing else, and nothing a terminal would obey.

Pure: a verified statement in, lines out. Every text goes through `visible`. Long arguments are
folded with their size, and the fold says so; `whole` unfolds them.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from stockade.cli.risk_words import inputs_in_words
from stockade.cli.terminal import local_time, size, time_left
from stockade.cli.visible import visible, visible_lines
from stockade.statement import Statement

FOLD_LINES = 12
FOLD_CHARACTERS = 800

_LABEL = 11
# A doubled backslash is taken first, so that the text "\\u001b" stays what it is.
_JSON_ESCAPE = re.compile(r"\\\\|\\u([0-9a-f]{4})")
_RULE = "│ "  # stands before every line of an argument, so that none can pose as a label


def statement_lines(statement: Statement, *, width: int = 80, whole: bool = False) -> list[str]:
    """The statement as lines of at most `width` columns."""
    call = statement.call
    lines: list[str] = []
    for label, text in _facts(statement):
        lines += _labelled(label, text, width)
    lines += _labelled("arguments", "" if call.arguments else "none", width)
    for name, value in call.arguments.items():
        lines += _argument(name, value, width, whole)
    return lines


def _facts(statement: Statement) -> Iterator[tuple[str, str]]:
    call = statement.call
    yield "approval", statement.approval_id
    yield "who", f"{statement.requester_name} ({call.principal})"
    yield "tool", call.tool
    yield "digest", call.tool_digest
    why = ", ".join(f"{one.id} ({one.file}:{one.line})" for one in statement.asked_because)
    yield "asks for", why or "no policy permits it without a person's yes"
    made_of = f": {inputs_in_words(statement.risk)}" if statement.risk else ""
    yield "risk", f"{statement.risk_milli / 1000:.3f} of 1{made_of}"
    yield "tier", call.tier
    yield "secrets", ", ".join(call.secrets) or "none"
    yield "workspace", call.workspace or "none"
    left = time_left(statement.expires_ms)
    yield "until", f"{local_time(statement.expires_ms)} ({left})"


def _labelled(label: str, text: str, width: int) -> list[str]:
    start = f"{label:<{_LABEL}}"
    return textwrap.wrap(
        visible(text),
        width,
        initial_indent=start,
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [start.rstrip()]


def _argument(name: str, value: Any, width: int, whole: bool) -> list[str]:
    text = _readable(value)
    head = f"  {visible(name)} = "
    shown, folded = (text, False) if whole else _fold(text)
    lines = [part for line in visible_lines(shown) for part in _cut(line, width - 6)]
    if folded:
        hidden, total = (
            len(one.encode(errors="surrogatepass")) for one in (text[len(shown) :], text)
        )
        lines.append(f"… NOT SHOWN: {size(hidden)} of {size(total)}; --full shows all")
    if len(lines) == 1 and not folded and len(head) + len(lines[0]) <= width:
        return [head + lines[0]]
    # Indented throughout: an argument's name may be long enough to reach the next line, too.
    heads = [f"  {piece}" for piece in _cut(head.strip(), width - 2)]
    return [*heads, *(f"    {_RULE}{line}" for line in lines)]


def _readable(value: Any) -> str:
    """A text with line breaks as itself, anything else as JSON, which shows its type."""
    if isinstance(value, str) and "\n" in value:
        return value
    indent = 2 if isinstance(value, (Mapping, list)) and value else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _JSON_ESCAPE.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    r"""JSON's \u001b as the character, for `visible` to show as it shows all such."""
    return found[0] if found[1] is None else chr(int(found[1], 16))


def _fold(text: str) -> tuple[str, bool]:
    lines = text.split("\n")
    short = "\n".join(lines[:FOLD_LINES])[:FOLD_CHARACTERS]
    return short, len(short) < len(text)


def _cut(line: str, width: int) -> list[str]:
    """The line in pieces that fit, also where characters are two columns wide. Drops nothing."""
    from rich.cells import cell_len

    pieces: list[str] = []
    piece, used = "", 0
    for character in line:
        columns = cell_len(character)
        if used + columns > width:
            pieces.append(piece)
            piece, used = "", 0
        piece += character
        used += columns
    return [*pieces, piece]
