"""What is kept of a call's output: how each stream began and how it ended, as its caller got it.

Trusted to hold no more of a stream than so many bytes, however much of it there is; to say how much
was left out between the two; and to sign nothing else than what is stored: the digest in the
receipt of the call's end is of these very bytes (`ledger.documents` repeats the formula). Pure;
`unpack` raises ValueError.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.tier import Stream

_TAG: Final = b"stockade/output/v1"
_HEAD: Final = struct.Struct(">BQQQ")
_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is kept of one stream."""

    start: bytes = field(repr=False)
    end: bytes = field(default=b"", repr=False)
    # So many bytes were between the two.
    left_out: int = 0

    @property
    def size(self) -> int:
        """So many bytes are kept."""
        return len(self.start) + len(self.end)

    def digest(self) -> str:
        """By which the receipt of the end names it."""
        parts = (_TAG, self.start, self.left_out.to_bytes(8, "big"), self.end)
        return hashlib.sha256(
            b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        ).hexdigest()

    def told(self) -> Mapping[str, Any]:
        """What the receipt of the end says of it."""
        return {"kept_digest": self.digest(), "left_out": self.left_out}


class Excerpting:
    """One stream as it comes. Of nothing that it is given it keeps more than `most` bytes."""

    __slots__ = ("_count", "_end", "_most_at_end", "_most_at_start", "_start")

    def __init__(self, most: int) -> None:
        self._most_at_start, self._most_at_end = most - most // 2, most // 2
        self._start, self._end = bytearray(), bytearray()
        self._count = 0

    def add(self, data: bytes) -> None:
        """The next bytes."""
        self._count += len(data)
        room = self._most_at_start - len(self._start)
        if room > 0:
            self._start += data[:room]
            data = data[room:]
        if not data or not self._most_at_end:
            return
        self._end += data[-self._most_at_end :]
        # Not at each of many short writes.
        if len(self._end) > 2 * self._most_at_end:
            del self._end[: -self._most_at_end]

    def excerpt(self) -> Excerpt | None:
        """What is kept; None where there is nothing, or nothing may be."""
        if not self._start:
            return None
        end = bytes(self._end[-self._most_at_end :]) if self._most_at_end else b""
        left_out = self._count - len(self._start) - len(end)
        if left_out:
            return Excerpt(bytes(self._start), end, left_out)
        return Excerpt(bytes(self._start) + end)


def pack(kept: Mapping[Stream, Excerpt]) -> bytes | None:
    """As it is stored; None where nothing is kept."""
    return b"".join(_packed(number, kept.get(one)) for number, one in enumerate(_STREAMS)) or None


def unpack(stored: bytes) -> Mapping[Stream, Excerpt]:
    """What was stored; ValueError where that is damaged."""
    kept: dict[Stream, Excerpt] = {}
    while stored:
        try:
            number, first, left_out, last = _HEAD.unpack_from(stored)
            stream = _STREAMS[number]
        except (struct.error, IndexError):
            raise ValueError("no kept output") from None
        stored = stored[_HEAD.size :]
        if len(stored) < first + last or stream in kept:
            raise ValueError("no kept output")
        kept[stream] = Excerpt(stored[:first], stored[first : first + last], left_out)
        stored = stored[first + last :]
    return kept


def _packed(number: int, one: Excerpt | None) -> bytes:
    if one is None:
        return b""
    return _HEAD.pack(number, len(one.start), one.left_out, len(one.end)) + one.start + one.end
