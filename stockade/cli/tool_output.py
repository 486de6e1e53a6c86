"""What a tool wrote, passed on: byte for byte into files and pipes, and as text to terminals.

A terminal obeys what it is sent. Trusted so that no tool repaints what was said of its call, writes
to the clipboard of whoever watches, or has a terminal answer for them: there, all that it would
obey is made visible, but for tabs and the ends of lines. Raises what the stream does.
"""

import codecs
import io
from typing import TextIO

from stockade.cli.visible import visible


class ToolOutput:
    """One stream of a tool's, to one of ours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text: io.IncrementalNewlineDecoder | None = None
        if stream.isatty():
            utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
            self._text = io.IncrementalNewlineDecoder(utf8, translate=True)

    def write(self, data: bytes) -> None:
        """A piece of it; one character may be in two."""
        self._stream.flush()
        if self._text is None:
            self._stream.buffer.write(data)
        else:
            self._stream.write(_shown(self._text.decode(data)))
        self._stream.flush()

    def end(self) -> None:
        """There is no more."""
        if self._text is not None:
            self._stream.write(_shown(self._text.decode(b"", final=True)))
            self._stream.flush()


def _shown(text: str) -> str:
    return "\n".join(
        "\t".join(visible(cell) for cell in line.split("\t")) for line in text.split("\n")
    )
