"""Taking secrets out of a tool's output while it streams.

Trusted to let no byte through that belongs to a known form of a secret (`vault.forms`), wherever
the stream is cut into chunks: what comes out does not depend on the cuts. Each run of overlapping
occurrences becomes one `[redacted:NAME]`, named for the one that begins first, the longest of
these, the first secret given. Overlaps are covered whole: replacing only the first match would let
the tail of the second through.

Bytes are held back only while the stream ends in a real beginning of a form, at most the longest
form less one byte; ordinary output flows at once. `finish` releases what is held: a beginning that
was never completed is not the secret.

`Redaction` holds the forms of the secrets of one run, in plain bytes, and is wiped with the run.
Its making takes milliseconds where there are many secrets: do it beside the event loop. The
redactors of its streams belong to one thread.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NoReturn, Self, final

from vault.anchors import LENGTH, Anchors, distinct
from vault.burn import burn
from vault.errors import Code, RedactorError
from vault.forms import forms
from vault.matcher import Matcher
from vault.reference import SecretName
from vault.secret import Secret


@final
class Redaction:
    """What is looked for in the streams of one run."""

    __slots__ = ("_names", "anchors", "patterns", "starting_with")

    def __init__(self, secrets: Iterable[tuple[SecretName, Secret]]) -> None:
        named: dict[bytes, SecretName] = {}
        for name, secret in secrets:
            value = secret.reveal()
            for form in forms(value):
                if form in named:
                    burn(form)
                else:
                    named[form] = name
            burn(value)
        self.patterns = list(named)
        self._names = list(named.values())
        found = distinct(self.patterns)
        self.anchors = Anchors(list(found))
        self.starting_with = list(found.values())

    def name(self, number: int) -> SecretName:
        """Whose form a pattern is."""
        return self._names[number]

    def stream(self) -> "Redactor":
        """A redactor for one more stream."""
        return Redactor(self)

    def wipe(self) -> None:
        """Overwrite the forms. The redactors of its streams are done then."""
        self.anchors.wipe()
        burn(*self.patterns)
        self.patterns.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"Redaction({len(self.patterns)} forms)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise _stays()


@final
class Redactor:
    """Replaces the secrets of one call in one stream."""

    __slots__ = (
        *("_cover", "_done", "_follows", "_found", "_given", "_held", "_matchers", "_start"),
        *("_tail", "_wanted", "count"),
    )

    def __init__(self, wanted: Redaction) -> None:
        self._wanted = wanted
        self._matchers: dict[int, Matcher] = {}  # made at the first anchor of each pattern
        self._follows: set[int] = set()  # those that the stream ends in the midst of
        self._tail = b""  # the last bytes seen: an anchor may have begun there
        self._held = bytearray()  # what was taken in; of it, so much was given out:
        self._given = 0
        self._start = 0  # place in the stream of the first byte that was not
        self._cover = 0  # everything before this place is inside what a marker stands for
        # Occurrences not yet given out, in order: first by beginning, then the longest.
        self._found: list[tuple[int, int, int, SecretName]] = []
        self._done = False
        self.count = 0  # markers given out

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes in and return those that are safe to show."""
        self._refuse_after_end()
        offset = self._start + len(self._held) - self._given
        self._take_in(chunk)
        anchored = self._look(chunk)
        follows = set()
        with memoryview(chunk) as view:
            for number in sorted(self._follows | anchored.keys()):
                matcher = self._matcher(number)
                for end in matcher.feed(view, anchored.get(number, ())):
                    self._note(offset + end, matcher.length, number)
                if matcher.matched:
                    follows.add(number)
        self._follows = follows
        pending = max((self._matchers[number].matched for number in follows), default=0)
        pending = max(pending, self._wanted.anchors.begun(self._tail))
        return self._give_out(offset + len(chunk) - pending)

    def finish(self) -> bytes:
        """Return what was held back; the stream has ended."""
        self._refuse_after_end()
        self._done = True
        shown = self._give_out(self._start + len(self._held) - self._given)
        burn(self._tail, self._held)
        self._tail = b""
        return shown

    def _take_in(self, chunk: bytes) -> None:
        # A new buffer each time: one that grows leaves behind what it held. And by views: assigned
        # to a slice of a bytearray, bytes are copied once more on the way.
        before = self._held
        kept = len(before) - self._given
        self._held = bytearray(kept + len(chunk))
        with memoryview(self._held) as now, memoryview(before) as old:
            now[:kept] = old[self._given :]
            now[kept:] = chunk
        self._given = 0
        burn(before)

    def _look(self, chunk: bytes) -> dict[int, list[int]]:
        """By pattern: the places in the chunk behind each of its anchors."""
        before = len(self._tail)
        window = self._tail + chunk
        anchored: dict[int, list[int]] = {}
        for end, anchor in self._wanted.anchors.ends_in(window):
            if end > before:  # else it was seen with the chunk that it ended in
                for number in self._wanted.starting_with[anchor]:
                    anchored.setdefault(number, []).append(end - before)
        last, self._tail = self._tail, bytes(bytearray(memoryview(window)[1 - LENGTH :]))
        if window is not chunk:
            burn(window)
        burn(last)
        return anchored

    def _matcher(self, number: int) -> Matcher:
        matcher = self._matchers.get(number)
        if matcher is None:
            matcher = self._matchers[number] = Matcher(self._wanted.patterns[number])
        return matcher

    def _note(self, end: int, length: int, number: int) -> None:
        insort(self._found, (end - length, -end, number, self._wanted.name(number)))

    def _give_out(self, limit: int) -> bytes:
        """Give out all bytes before `limit`, where no further occurrence can begin."""
        out: list[bytes] = []
        decided = bisect_left(self._found, (limit,))
        for start, minus_end, _, name in self._found[:decided]:
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
        with memoryview(self._held)[self._given :] as held:
            shown = bytes(held[hidden:size])
        self._given += size
        self._start += size
        return shown

    def _refuse_after_end(self) -> None:
        if self._done:
            raise RedactorError(
                Code.REDACTOR_FINISHED, "this redactor has finished", "make one for each stream"
            )

    def __repr__(self) -> str:
        return f"Redactor({len(self._wanted.patterns)} forms, {self.count} redacted)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise _stays()


def redact(data: bytes, secrets: Iterable[tuple[SecretName, Secret]]) -> bytes:
    """Redact a whole text at once."""
    with Redaction(secrets) as wanted:
        redactor = wanted.stream()
        return redactor.feed(data) + redactor.finish()


def _stays() -> RedactorError:
    return RedactorError(
        Code.SECRET_STAYS, "a redactor holds secrets and is not copied", "make a new one"
    )
