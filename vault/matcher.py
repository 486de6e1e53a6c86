"""Following one byte pattern in a stream of chunks: Knuth, Morris and Pratt, in strides.

Trusted to report every occurrence, overlapping ones too, however the stream is cut, given every
place where the pattern's anchor (its first bytes, `vault.anchors`) ends. From an anchor on the
match is compared in doubling strides; only where it breaks is the failure table used, which is
built no further than it is needed. Time is linear in the stream for every pattern and every input,
so a tool that knows the secret cannot stall the reader with near misses.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import final

from vault.anchors import LENGTH


@final
class Matcher:
    """The state of the search for one pattern in one stream."""

    __slots__ = ("_anchor", "_borders", "_pattern", "length", "matched")

    def __init__(self, pattern: bytes) -> None:
        self._pattern = memoryview(pattern)
        self._anchor = min(LENGTH, len(pattern))
        # _borders[n]: length of the longest proper border of the first n bytes.
        self._borders = array("I", (0, 0))
        self.length = len(pattern)
        # How many bytes of the pattern, an anchor or more, the stream seen so far ends in.
        self.matched = 0

    def feed(self, chunk: memoryview, anchors: Sequence[int]) -> list[int]:
        """Return the places in this chunk just behind each occurrence that ends in it.

        `anchors` are the places, in order, just behind each occurrence of the anchor that ends in
        this chunk.
        """
        ends: list[int] = []
        at = 0
        while at < len(chunk):
            if self.matched:
                at = self._follow(chunk, at)
            else:
                following = bisect_right(anchors, at)
                if following == len(anchors):
                    break
                at, self.matched = anchors[following], self._anchor
            if self.matched == self.length:
                ends.append(at)
                self._fall_back()
        return ends

    def _follow(self, chunk: memoryview, at: int) -> int:
        """From a started match: extend it as far as it goes; where it breaks, fall back."""
        stride = 1
        while at < len(chunk) and self.matched < self.length:
            wanted = self._pattern[self.matched : self.matched + stride]
            step = min(len(wanted), len(chunk) - at)
            if chunk[at : at + step] == wanted[:step]:
                self.matched += step
                at += step
                stride = min(stride * 2, 4096)
            elif stride > 1:
                stride //= 2
            else:
                self._fall_back()
                return at
        return at

    def _fall_back(self) -> None:
        """To the longest shorter beginning that the stream ends in; the anchors tell of the rest.

        A beginning shorter than an anchor is none: its anchor, if it comes, ends further on.
        """
        border = self._border(self.matched)
        self.matched = border if border >= self._anchor else 0

    def _border(self, length: int) -> int:
        pattern, borders = self._pattern, self._borders
        while len(borders) <= length:
            known = len(borders) - 1
            border = borders[known]
            while border and pattern[border] != pattern[known]:
                border = borders[border]
            borders.append(border + (pattern[border] == pattern[known]))
        return borders[length]
