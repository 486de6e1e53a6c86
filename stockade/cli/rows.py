"""A line of a screen or a page, and what it is, which colour may say again but never alone.

Pure. Every text here has been through `visible`, so its width is what `rich.cells` says it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

PLAIN, TITLE, WARNING, ADDED, REMOVED, HUNK, COMMAND, FAINT = (
    "plain",
    "title",
    "warning",
    "added",
    "removed",
    "hunk",
    "command",
    "faint",
)
_SGR = {
    TITLE: "1",
    WARNING: "1;33",
    ADDED: "32",
    REMOVED: "31",
    HUNK: "36",
    COMMAND: "1",
    FAINT: "2",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line."""

    text: str
    kind: str = PLAIN


def painted(row: Row, *, colour: bool) -> str:
    """The row as a terminal gets it."""
    code = _SGR.get(row.kind, "")
    return f"\x1b[{code}m{row.text}\x1b[0m" if colour and code and row.text else row.text


def cut(line: str, width: int) -> list[str]:
    """The line in pieces that fit, also where characters are two columns wide. Drops nothing."""
    return list(_pieces(line, max(width, 2)))


def _pieces(line: str, width: int) -> Iterator[str]:
    if line.isascii():
        yield from (line[at : at + width] for at in range(0, len(line) or 1, width))
        return
    from rich.cells import cell_len

    piece, used = "", 0
    for character in line:
        columns = cell_len(character)
        if used + columns > width:
            yield piece
            piece, used = "", 0
        piece += character
        used += columns
    yield piece


def clipped(text: str, width: int) -> str:
    """The text padded to so many columns; where it is longer, … says so."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(width - 1, 0)) + "…"
