"""The whole of a terminal, painted row by row; only what has changed is sent.

The alternate screen, so that afterwards everything is as it was. Trusted to paint only rows, which
have been made safe before, and never more columns or rows than there are.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stockade.cli.rows import Row, clipped, painted
from stockade.cli.terminal import in_colour

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
LEAST_COLUMNS, LEAST_ROWS = 40, 12


class Screen:
    """What is on it."""

    def __init__(self) -> None:
        self._before: list[str] = []
        self._size = (0, 0)

    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        found = shutil.get_terminal_size((80, 24))
        return found.columns, found.lines

    def paint(self, rows: Sequence[Row]) -> None:
        """Shows the rows, from the top."""
        columns, height = size = self.size()
        now = [_line(row, columns) for row in rows[:height]]
        out = []
        if size != self._size:
            self._before, self._size = [], size
            out.append("\x1b[2J")
        for number, line in enumerate(now):
            if number >= len(self._before) or self._before[number] != line:
                out.append(f"\x1b[{number + 1};1H{line}\x1b[K")
        if len(now) < len(self._before):
            out.append(f"\x1b[{len(now) + 1};1H\x1b[J")
        self._before = now
        if out:
            sys.stdout.write("".join(out))
            sys.stdout.flush()


def _line(row: Row, columns: int) -> str:
    text = clipped(row.text, columns).rstrip(" ")
    return painted(Row(text, row.kind), colour=in_colour(sys.stdout))


@contextmanager
def screen() -> Iterator[Screen]:
    """A screen of its own until it is left."""
    sys.stdout.write(_ENTER)
    sys.stdout.flush()
    try:
        yield Screen()
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
