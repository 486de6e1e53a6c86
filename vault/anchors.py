"""Where the first bytes of many texts occur in a piece of output: one pass, however many there are.

Trusted to report every occurrence of every anchor that ends in a piece, also of one that began in
the pieces before. Only anchors, at most `LENGTH` bytes of a text, reach the native library, so that
what it leaves in freed memory is no secret. An instance belongs to one thread at a time.
Raises `RedactorError` where the library does not work on this processor.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

from vault.burn import burn
from vault.errors import Code, RedactorError

LENGTH: Final = 8


@final
class Anchors:
    """The anchors of some texts, ready to be looked for."""

    __slots__ = ("_anchors", "_beginnings", "_database", "_hits")

    def __init__(self, anchors: Sequence[bytes]) -> None:
        self._anchors = anchors
        self._hits: list[tuple[int, int]] = []
        self._beginnings = frozenset(
            anchor[:length] for anchor in anchors for length in range(1, len(anchor))
        )
        self._database: Any = _compiled(anchors) if anchors else None

    def ends_in(self, window: bytes) -> Sequence[tuple[int, int]]:
        """The anchors in a window: the place behind each, and its number, by place."""
        self._hits = []
        if self._database is not None:
            self._database.scan(window, match_event_handler=self._hit)
            self._hits.sort()
        return self._hits

    def begun(self, tail: bytes) -> int:
        """How long a beginning of an anchor the output ends in; `tail` is its last bytes."""
        for length in range(min(len(tail), LENGTH - 1), 0, -1):
            if tail[-length:] in self._beginnings:
                return length
        return 0

    def wipe(self) -> None:
        """Forget them."""
        burn(*self._beginnings, *self._anchors)
        self._beginnings, self._anchors = frozenset(), ()
        self._database = None

    def _hit(self, number: int, _start: int, end: int, _flags: int, _context: object) -> None:
        self._hits.append((end, number))


def distinct(texts: Iterable[bytes]) -> dict[bytes, list[int]]:
    """The anchors of texts, each with the numbers of the texts that begin with it."""
    found: dict[bytes, list[int]] = {}
    for number, text in enumerate(texts):
        found.setdefault(text[:LENGTH], []).append(number)
    return found


def _compiled(anchors: Sequence[bytes]) -> object:
    # Imported here: 60 ms that a daemon whose tools have no secrets need not spend.
    import hyperscan

    database = hyperscan.Database()
    try:
        database.compile(
            # As expressions: the binding ends a literal at its first NUL.
            expressions=[b"".join(b"\\x%02x" % byte for byte in anchor) for anchor in anchors],
            ids=list(range(len(anchors))),
            elements=len(anchors),
            flags=0,
        )
    except hyperscan.error as error:
        raise RedactorError(
            Code.REDACTOR_UNUSABLE,
            f"output cannot be searched for secrets here ({type(error).__name__})",
            "run on a processor with SSE 4.2 or NEON; until then no tool with secrets runs",
        ) from None
    return database
