"""Taking secrets out of a tool's output while it streams.

Trusted to let no byte through that belongs to a known form of a secret (`vault.forms`), wherever
the stream is cut into chunks: what comes out does not depend on the cuts. Each run of overlapping
occurrences becomes one `[redacted:NAME]`, named for the one that begins first, the longest of
these, the first secret given. Overlaps are covered whole: replacing only the first match would let
the tail of the second through.

Bytes are held back only while the stream ends in a real beginning of a form, at most the longest
form less one byte; ordinary output flows at once. `finish` releases what is held: a beginning that
was never completed is not the secret.

A redactor holds the secrets in plain bytes and belongs to one stream: let go of it with the run.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NoReturn, final

from vault.errors import Code, RedactorError
from vault.forms import forms
from vault.matcher import Matcher
from vault.reference import SecretName
from vault.secret import Secret


@final
class Redactor:
    """Replaces the secrets of one call in one stream."""

    __slots__ = ("_cover", "_done", "_found", "_held", "_matchers", "_start", "count")

    def __init__(self, secrets: Iterable[tuple[SecretName, Secret]]) -> None:
        named: dict[bytes, SecretName] = {}
        for name, secret in secrets:
            for form in forms(secret.reveal()):
                named.setdefault(form, name)
        self._matchers = [(Matcher(form), name) for form, name in named.items()]
        self._held = bytearray()  # what was taken in and not yet given out
        self._start = 0  # place of the first held byte in the stream
        self._cover = 0  # everything before this place is inside what a marker stands for
        # Occurrences not yet given out, in order: first by beginning, then the longest.
        self._found: list[tuple[int, int, SecretName]] = []  # beginning, minus the end, name
        self._done = False
        self.count = 0  # markers given out

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes in and return those that are safe to show."""
        self._refuse_after_end()
        offset = self._start + len(self._held)
        self._held += chunk
        pending = 0
        for matcher, name in self._matchers:
            for end in matcher.feed(chunk):
                insort(self._found, (offset + end - matcher.length, -offset - end, name))
            pending = max(pending, matcher.matched)
        return self._give_out(offset + len(chunk) - pending)

    def finish(self) -> bytes:
        """Return what was held back; the stream has ended."""
        self._refuse_after_end()
        self._done = True
        return self._give_out(self._start + len(self._held))

    def _give_out(self, limit: int) -> bytes:
        """Give out all bytes before `limit`, where no further occurrence can begin."""
        out: list[bytes] = []
        decided = bisect_left(self._found, (limit,))
        for start, minus_end, name in self._found[:decided]:
            if start >= self._cover:
                out.append(self._take(start))
                out.append(b"[redacted:%b]" % name.encode("ascii"))
                self.count += 1
            self._cover = max(self._cover, -minus_end)
        del self._found[:decided]
        out.append(self._take(limit))
        return b"".join(out)

    def _take(self, limit: int) -> bytes:
        """Remove the held bytes before `limit` and return those that no marker stands for."""
        hidden = max(0, min(self._cover, limit) - self._start)
        size = max(0, limit - self._start)
        shown = bytes(self._held[hidden:size])
        del self._held[:size]
        self._start += size
        return shown

    def _refuse_after_end(self) -> None:
        if self._done:
            raise RedactorError(
                Code.REDACTOR_FINISHED, "this redactor has finished", "make one for each stream"
            )

    def __repr__(self) -> str:
        return f"Redactor({len(self._matchers)} forms, {self.count} redacted)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise RedactorError(
            Code.SECRET_STAYS, "a redactor holds secrets and is not copied", "make a new one"
        )


def redact(data: bytes, secrets: Iterable[tuple[SecretName, Secret]]) -> bytes:
    """Redact a whole text at once."""
    redactor = Redactor(secrets)
    return redactor.feed(data) + redactor.finish()
