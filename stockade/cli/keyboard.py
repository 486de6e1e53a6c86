"""The keys of a terminal, one at a time. What is pasted, typed ahead or in a burst is no key.

A key that answers must come alone: a moment of silence before it and after it, outside of a
bracketed paste. So a paste is no answer, nor is a held key, nor what a slow line delivers at once.
`typed` is for the one place where text is asked for. Pure but for `Keyboard`, which reads.
"""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# How long after a byte another one still belongs to it, and how long a burst spoils what follows.
TOGETHER_SECONDS = 0.04
SPOILT_SECONDS = 0.4
MAX_BURST = 65536

ESCAPE, ENTER, GONE, BURST = "escape", "enter", "gone", "burst"
UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"

_SEQUENCES = {
    b"\x1b[A": UP,
    b"\x1bOA": UP,
    b"\x1b[B": DOWN,
    b"\x1bOB": DOWN,
    b"\x1b[5~": PAGE_UP,
    b"\x1b[6~": PAGE_DOWN,
    b"\x1b[H": HOME,
    b"\x1b[1~": HOME,
    b"\x1bOH": HOME,
    b"\x1b[F": END,
    b"\x1b[4~": END,
    b"\x1bOF": END,
}
_PASTE, _PASTED = b"\x1b[200~", b"\x1b[201~"
_ON, _OFF = "\x1b[?2004h", "\x1b[?2004l"


def key_of(data: bytes) -> str:
    """The one key that these bytes are; `BURST` for anything else."""
    if data in (b"\r", b"\n"):
        return ENTER
    if data == b"\x1b":
        return ESCAPE
    if len(data) == 1 and data.isascii():
        return data.decode()
    for sequence, name in _SEQUENCES.items():
        # A held arrow key comes as several at once, and only scrolls.
        if data == sequence * (len(data) // len(sequence)) and data:
            return name
    return BURST


def typed(text: str, data: bytes) -> str:
    """The text after these bytes were typed at it, pasted ones too; controls do not get in."""
    plain = data.replace(_PASTE, b"").replace(_PASTED, b"")
    if plain.startswith(b"\x1b"):
        return text
    for character in plain.decode(errors="ignore").replace("\r", " ").replace("\n", " "):
        if character in "\x7f\x08":
            text = text[:-1]
        elif character == "\x15":
            text = ""
        elif character.isprintable():
            text += character
    return text


@dataclass
class Keyboard:
    """Standard input, which must be a terminal."""

    descriptor: int
    in_paste: bool = False
    spoilt_until: float = 0.0
    gone: bool = False  # the terminal was closed

    def read(self) -> bytes:
        """What was pressed, all that came with it included; nothing if nothing was."""
        data = b""
        while len(data) < MAX_BURST and _readable(self.descriptor, TOGETHER_SECONDS if data else 0):
            try:
                more = os.read(self.descriptor, 4096)
            except OSError:  # what a closed terminal says
                more = b""
            if not more:
                self.gone = True
                break
            data += more
        return data

    def key(self) -> str:
        """The key that was pressed, `BURST` for what is none, empty if nothing was pressed."""
        if not self.pressed:
            return ""
        data = self.read()
        if self.gone:
            return GONE
        key = BURST if self._pasted(data) else key_of(data)
        now = time.monotonic()
        if key == BURST:
            self.spoilt_until = now + SPOILT_SECONDS
        elif now < self.spoilt_until:
            return BURST
        return key

    @property
    def pressed(self) -> bool:
        """Whether something was that has not been read."""
        return _readable(self.descriptor, 0)

    def _pasted(self, data: bytes) -> bool:
        """Whether any of it is from within a paste, which may be longer than one reading."""
        was = self.in_paste
        starts, ends = data.rfind(_PASTE), data.rfind(_PASTED)
        if starts != ends:
            self.in_paste = starts > ends
        return was or starts >= 0


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Keys come without Enter and are not echoed; afterwards the terminal is as it was."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        sys.stdout.write(_ON)
        sys.stdout.flush()
        yield Keyboard(descriptor)
    finally:
        sys.stdout.write(_OFF)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
