"""What people read: plain lines, tables that fit 80 columns, errors with their fix, questions.

Everything printed here has been through `visible`. Results go to standard output, everything else
to standard error. Colour only on a terminal and never with NO_COLOR. Rich is loaded when needed.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO
from urllib.parse import unquote

from stockade.cli.visible import visible
from stockade.errors import StockadeError

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import Console

WIDTH = 80


class UsageError(StockadeError):
    """The command line asks for something that cannot be asked for; exit status 2."""

    default_reason = "USAGE"


class Interrupted(StockadeError):  # noqa: N818 - it is none
    """Ctrl-C, at a place where it is worth saying what that leaves behind; exit status 130."""

    default_reason = "INTERRUPTED"


@contextmanager
def interruptible(left: str) -> Iterator[None]:
    """Where a person may well press Ctrl-C: they are told what is left."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(left) from None


def say(text: str = "") -> None:
    """A line of result."""
    print(visible(text), flush=True)


def note(text: str = "") -> None:
    """A line about what happens, on standard error; on a terminal broken between words."""
    shown = visible(text)
    if sys.stderr.isatty():
        indent = " " * (len(shown) - len(shown.lstrip(" ")) + 2)
        shown = "\n".join(
            textwrap.wrap(
                shown,
                columns(),
                subsequent_indent=indent,
                break_long_words=False,  # ids and paths are copied
                break_on_hyphens=False,
            )
        )
    print(shown, file=sys.stderr, flush=True)


def report(error: StockadeError) -> None:
    """An error, in the one form all have."""
    note(f"error: {error.reason}: {error.message}")
    if error.fix:
        note(f"fix: {error.fix}")


def console(file: TextIO | None = None) -> "Console":
    """A rich console that never interprets what it prints."""
    from rich.console import Console

    stream = file or sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else columns(),
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Rows under headings, or one after the other where that is too wide. Nothing is cut off."""
    rows = [[visible(cell) for cell in row] for row in rows]
    if not rows:
        note(empty)
        return
    from rich.table import Table
    from rich.text import Text

    from stockade.cli.column_widths import GAP, widths

    screen = console()
    fitting = widths([headings, *rows], screen.width)
    if fitting is None:
        _blocks(headings, rows)
        return
    shown = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading, width in zip(headings, fitting, strict=True):
        shown.add_column(heading, overflow="fold", width=width)
    for row in rows:
        shown.add_row(*map(Text, row))
    with screen.capture() as captured:
        screen.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip())  # rich pads the last column


def _blocks(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    label = max(map(len, headings)) + 2
    for number, row in enumerate(rows):
        if number:
            print()
        facts(zip(headings, row, strict=True), label=label)


def facts(rows: Iterable[tuple[str, str]], *, label: int, more: int = 0) -> None:
    """Labelled lines of result; long ones continue under their text, or `more` columns on."""
    for name, text in rows:
        start = f"{visible(name):<{label}}"
        wrapped = textwrap.wrap(
            visible(text),
            columns(),
            initial_indent=start,
            subsequent_indent=" " * (label + more),
            break_long_words=False,
            break_on_hyphens=False,
        )
        print("\n".join(wrapped) or start.rstrip(), flush=True)


def lines(texts: Iterable[str], *, indent: int) -> None:
    """Lines of result, each indented; what does not fit goes on below, a little further in."""
    for text in texts:
        facts([("", text)], label=indent, more=2)


def in_colour(stream: TextIO) -> bool:
    """Colour says nothing that the words do not, and only where it is wanted."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not plain


def columns() -> int:
    """How wide lines may be."""
    return max(40, min(120, shutil.get_terminal_size((WIDTH, 24)).columns))


def ask(question: str) -> bool:
    """Yes or no, from a person at a terminal; anything but a plain yes is no."""
    # What was typed before the question was shown is no answer to it.
    flush_typed_ahead()
    print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return answer.strip().lower() in ("y", "yes")


def answerable() -> bool:
    """Whether a question would be heard: input is a terminal, and it is this program's now.

    A shell's background job has the terminal, too; asking there only stops it, unseen.
    """
    if not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # no terminal of ours, so no shell that hands it about
        return True


def flush_typed_ahead() -> None:
    """Forgets keys pressed before now."""
    import termios

    if sys.stdin.isatty():
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def spinner(text: str) -> AbstractContextManager[object]:
    """A sign of life while something is waited for, on a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    return console(sys.stderr).status(text)


def when(stamp: "Timestamp") -> str:
    """A time of day here, with its date unless that is today."""
    if not stamp.ByteSize():
        return "-"
    return local_time(stamp.ToMilliseconds())


def local_time(milliseconds: int) -> str:
    """The same from milliseconds since 1970; a time no calendar has is shown as its number."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms since 1970"
    today = moment.date() == datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def time_left(until_ms: int) -> str:
    """How long until then, in words."""
    seconds = int(until_ms / 1000 - datetime.now(UTC).timestamp())
    if seconds <= 0:
        return "no time left"
    if seconds < 120:
        return f"{seconds} s left"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min left"
    return f"{seconds // 3600} h left"


def address(peer: str) -> str:
    """Where a connection comes from, without the prefix that gRPC and policy have for its kind."""
    if peer == "unix:":
        return "this machine"
    return unquote(peer.removeprefix("ipv4:").removeprefix("ipv6:"))


def many(count: int, noun: str, plural: str = "") -> str:
    """So many of them, in words."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def size(count: int) -> str:
    """A number of bytes, in words."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024 / 1024:.1f} MiB"
