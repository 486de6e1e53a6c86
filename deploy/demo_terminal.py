"""The demo's terminals: a command is shown as typed, run for real, shown as it goes and checked.

Every process that is started here stands in a session of its own, so that Ctrl-C reaches the demo
alone, and is ended with the demo. Raises `DemoError` when something is not as it should be.
"""

import codecs
import contextlib
import os
import pty
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0
# In the environment of everything that is started here, so that what is left can be found.
MARK = ("STOCKADE_DEMO", secrets.token_hex(8))
_LABEL = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Lines for programs are shown by their beginning.
_MOST_JSON = 200
_INDENT = "   "
_PRINTING = threading.Lock()


class DemoError(Exception):
    """Something did not go as it should."""


def interruptible() -> None:
    """From now on a signal that would end us is a KeyboardInterrupt."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts such a signal off: a process must not be lost between its start and its being known."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in _SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt(came[0])


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _styled(text: str, style: str) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[{style}m{text}\x1b[0m" if colour else text


def heading(text: str) -> None:
    """What comes next."""
    with _PRINTING:
        for line in ("", *broken(f"== {text}", _width(), _INDENT)):
            print(_styled(line, "1;36"), flush=True)


def remark(text: str) -> None:
    """What the demo itself has to say."""
    with _PRINTING:
        for line in broken(_INDENT + text, _width(), _INDENT):
            print(_styled(line, "2"), flush=True)


def broken(text: str, width: int, indent: str = "  ") -> list[str]:
    """A line as those that fit; what goes on below is indented. A table's row stays as it is."""
    if len(text) <= width:
        return [text]
    start = " " * (len(text) - len(text.lstrip(" ")))
    return textwrap.wrap(text, width, subsequent_indent=max(start, indent), break_on_hyphens=False)


def _width() -> int:
    """Of our terminal; where there is none, lines are left whole."""
    if not sys.stdout.isatty():
        return sys.maxsize
    return max(40, shutil.get_terminal_size().columns)


@dataclass
class Command:
    """A command that was typed at a terminal and may still be running."""

    text: str
    process: "subprocess.Popen[bytes]"
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "\n".join(self.lines)

    def wait(self, status: int) -> str:
        """Waits until it ends, as it should; what it said."""
        try:
            ended = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoError(f"has not ended in {PATIENCE_SECONDS:.0f} s: {self.text}") from None
        if self.reader is not None:
            self.reader.join(PATIENCE_SECONDS)
        if ended != status:
            raise DemoError(f"exit status {ended} where {status} was due: {self.text}")
        return self.output

    def await_line(self, text: str) -> str:
        """Waits for the line that holds `text`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            if self.process.poll() is not None and not (self.reader and self.reader.is_alive()):
                break
            time.sleep(0.02)
        raise DemoError(f"has not said {text!r}: {self.text}")

    def end(self) -> None:
        """Ends it and everything it started, if it still runs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)


@dataclass
class Terminal:
    """Where one person sits: a name, a directory, and the STOCKADE_HOME of their device."""

    name: str
    place: Path
    home: Path
    programs: Path
    style: str = "0"
    commands: list[Command] = field(default_factory=list)

    def run(
        self,
        *words: str,
        status: int = 0,
        stdin: bytes = b"",
        remark: str = "",
        into: Path | None = None,
        unbroken: bool = False,
    ) -> str:
        """Types a command and waits for its end; what it said.

        `into` is where `> FILE` sends its output; `unbroken` lets it end before we are interrupted.
        """
        typed = shlex.join(words) + (f" > {os.path.relpath(into, self.place)}" if into else "")
        with uninterrupted() if unbroken else contextlib.nullcontext():
            command = self.start(*words, typed=typed + remark, stdin=stdin, into=into)
            return command.wait(status)

    def start(
        self, *words: str, typed: str = "", stdin: bytes = b"", into: Path | None = None
    ) -> Command:
        """Types a command and goes on while it runs."""
        self.show("$ " + (typed or shlex.join(words)), "1")
        with into.open("wb") if into else contextlib.nullcontext() as output:
            command = self._open(
                words,
                stdin=subprocess.PIPE,
                stdout=output or subprocess.PIPE,
                stderr=None if into else subprocess.STDOUT,
            )
        if into is None:
            command.reader = threading.Thread(target=self._read, args=(command,), daemon=True)
            command.reader.start()
        assert command.process.stdin is not None  # noqa: S101 - asked for above
        with contextlib.suppress(BrokenPipeError), command.process.stdin as pipe:
            pipe.write(stdin)
        return command

    def answer(self, *words: str, question: str, answer: str) -> str:
        """Types a command that asks a question, at a real terminal, and the answer to it."""
        self.show("$ " + shlex.join(words), "1")
        master, slave = pty.openpty()
        try:
            command = self._open(words, stdin=slave, stdout=slave, stderr=slave)
        finally:
            os.close(slave)
        try:
            asked = False
            for part in _screen(master):
                if part.endswith("\n"):
                    self._say(command, part)
                elif not asked and question in part:
                    asked = True
                    os.write(master, answer.encode() + b"\n")
        finally:
            os.close(master)
        return command.wait(0)

    def show(self, line: str, style: str = "0") -> None:
        """A line on this terminal."""
        with _PRINTING:
            label = _styled(self.name.ljust(_LABEL), self.style)
            for part in broken(line, _width() - _LABEL):
                print(label + (_styled(part, style) if style != "0" else part), flush=True)

    def _open(self, words: Sequence[str], **streams: Any) -> Command:
        with uninterrupted():
            process = subprocess.Popen(
                words,
                cwd=self.place,
                env=self._environment(),
                start_new_session=True,
                **streams,
            )
            command = Command(shlex.join(words), process)
            self.commands.append(command)
        return command

    def _environment(self) -> dict[str, str]:
        path = f"{self.programs}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        ours = {
            "STOCKADE_HOME": str(self.home),
            "PATH": path,
            "COLUMNS": str(min(90, _width() - _LABEL)),
            "NO_COLOR": "1",
        }
        return {**os.environ, **ours, **dict([MARK])}

    def _read(self, command: Command) -> None:
        assert command.process.stdout is not None  # noqa: S101 - started with a pipe
        with command.process.stdout as stream:
            for line in stream:
                self._say(command, line.decode(errors="replace"))

    def _say(self, command: Command, text: str) -> None:
        line = text.rstrip("\r\n")
        cut = line.startswith("{") and len(line) > _MOST_JSON
        self.show(line[:_MOST_JSON] + " …" if cut else line)
        command.lines.append(line)


def _screen(master: int) -> Iterator[str]:
    """What a program writes to its terminal: whole lines, and each line again as it grows."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    line = ""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # its last holder has closed it
            data = b""
        if not data:
            break
        *whole, line = (line + decoder.decode(data)).split("\n")
        yield from (one + "\n" for one in whole)
        yield line
    if line:
        yield line + "\n"
