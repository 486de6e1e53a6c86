"""A stream of bytes sealed under a passphrase: written and read piece by piece, whatever its size.

Trusted to hand out nothing that was not sealed, in order, and to miss an end that is not there: who
reads to the end has the whole or an error. Holds one piece in memory. Raises `BackupError`,
`RootError` for the passphrase, and what the file under it raises.

The form, version 1, frozen: records (`vault.records`) of the magic "SKDH", bound to
"stockade-home-v1", of 2,097,152 bytes at most. Kind 1 is the next piece; the end is empty.
"""

from types import TracebackType
from typing import BinaryIO, Final, Self, final

from vault.passphrase import Cost
from vault.records import END, HEADER, LENGTH, Form, Opener, Sealer, refused
from vault.secret import Secret

_FORM: Final = Form(magic=b"SKDH", bound_to=b"stockade-home-v1", largest=1 << 21)
_PIECE: Final = 1 << 20
_DATA: Final = 1


@final
class SealingWriter:
    """Seals what is written to it. Left without an error, it writes the end."""

    def __init__(self, passphrase: Secret, to: BinaryIO, cost: Cost | None = None) -> None:
        self._sealer = Sealer(_FORM, passphrase, cost)
        self._to = to
        self._held = bytearray()
        to.write(self._sealer.header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._put(len(self._held))
            self._to.write(self._sealer.record(END, b""))

    def write(self, data: bytes) -> int:
        """Takes all of it."""
        self._held += data
        while len(self._held) >= _PIECE:
            self._put(_PIECE)
        return len(data)

    def _put(self, count: int) -> None:
        if count:
            self._to.write(self._sealer.record(_DATA, self._held[:count]))
            del self._held[:count]


@final
class OpeningReader:
    """Reads what a `SealingWriter` wrote."""

    def __init__(self, passphrase: Secret, source: BinaryIO) -> None:
        self._opener = Opener(_FORM, passphrase, source.read(HEADER))
        self._source = source
        self._held = bytearray()

    def read(self, count: int) -> bytes:
        """So many bytes; fewer at the end alone, which has then been seen."""
        while len(self._held) < count and not self._opener.ended:
            self._held += self._next()
        found = bytes(self._held[:count])
        del self._held[:count]
        return found

    def finish(self) -> None:
        """Refuses what has no end yet, or something behind it."""
        if self.read(1) or self._source.read(1):
            raise refused("there is something behind its end")

    def _next(self) -> bytes:
        length = self._opener.length(self._source.read(LENGTH.size))
        record = self._source.read(length)
        if len(record) < length:
            raise refused("it is cut off, or damaged")
        return self._opener.plain(record)[1]
