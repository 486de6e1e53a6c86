"""Finding one byte pattern in a stream of chunks: Knuth, Morris and Pratt, in strides.

Trusted to report every occurrence, overlapping ones too, however the stream is cut, and to know how
much of the pattern the stream ends in. Ordinary output is crossed by `bytes.find`; a started match
is compared in doubling strides; only where it breaks is the failure table used, which is built no
further than it is needed. Time is linear in the stream for every pattern and every input, so a
tool that knows the secret cannot stall the reader with near misses.
"""

from array import array
from typing import final

_ANCHOR = 16  # bytes that `find` looks for before the match is followed byte by byte


@final
class Matcher:
    """The state of the search for one pattern."""

    __slots__ = ("_anchor", "_borders", "_pattern", "length", "matched")

    def __init__(self, pattern: bytes) -> None:
        self._pattern = pattern
        self._anchor = pattern[:_ANCHOR]
        # _borders[n]: length of the longest proper border of the first n bytes.
        self._borders = array("I", (0, 0))
        self.length = len(pattern)
        self.matched = 0  # how many bytes of the pattern the stream seen so far ends in

    def feed(self, chunk: bytes) -> list[int]:
        """Return the places in this chunk just behind each occurrence that ends in it."""
        ends: list[int] = []
        at = 0
        while at < len(chunk):
            step = self._follow if self.matched else self._seek
            at = step(chunk, at)
            if self.matched == self.length:
                ends.append(at)
                self.matched = self._border(self.length)
        return ends

    def _seek(self, chunk: bytes, at: int) -> int:
        """From no match: go to behind the next anchor, or to the end with what begins there."""
        found = chunk.find(self._anchor, at)
        if found >= 0:
            self.matched = len(self._anchor)
            return found + self.matched
        tail = chunk[max(at, len(chunk) - len(self._anchor) + 1) :]
        start = tail.find(self._anchor[:1])
        while start >= 0:
            if self._anchor.startswith(tail[start:]):
                self.matched = len(tail) - start
                break
            start = tail.find(self._anchor[:1], start + 1)
        return len(chunk)

    def _follow(self, chunk: bytes, at: int) -> int:
        """From a started match: extend it as far as it goes; where it breaks, fall back."""
        stride = 1
        while at < len(chunk) and self.matched < self.length:
            wanted = self._pattern[self.matched : self.matched + stride]
            if chunk.startswith(wanted[: len(chunk) - at], at):
                step = min(len(wanted), len(chunk) - at)
                self.matched += step
                at += step
                stride = min(stride * 2, 4096)
            elif stride > 1:
                stride //= 2
            else:
                self.matched = self._border(self.matched)
                return at
        return at

    def _border(self, length: int) -> int:
        pattern, borders = self._pattern, self._borders
        while len(borders) <= length:
            known = len(borders) - 1
            border = borders[known]
            while border and pattern[border] != pattern[known]:
                border = borders[border]
            borders.append(border + (pattern[border] == pattern[known]))
        return borders[length]
