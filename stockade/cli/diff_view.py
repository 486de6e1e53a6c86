"""Whether a text is a unified diff, and what each of its lines then is.

Strict: a text counts as a diff only if every line of it has a place in one, by the lengths that its
hunks declare; anything else is shown as plain text, so that nothing passes for a harmless context
line or a heading that is none. Pure; never raises.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stockade.cli.terminal import many

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@.*")
_HEADING = re.compile(
    r"(?:diff --git |index |old mode |new mode |new file mode |deleted file mode |"
    r"similarity index |rename from |rename to ).*"
)

HEADING, HUNK, ADDED, REMOVED, SAME = "heading", "hunk", "added", "removed", "same"


@dataclass(frozen=True, slots=True)
class Diff:
    """A diff's lines by what they are, without the line breaks."""

    lines: tuple[tuple[str, str], ...]
    files: int

    def __str__(self) -> str:
        kinds = [kind for kind, _ in self.lines]
        files = many(self.files, "file")
        return f"a diff: {files}, {kinds.count(ADDED)} added, {kinds.count(REMOVED)} removed"


def parse_diff(text: str) -> Diff | None:
    """The diff that the whole text is; None if it is none."""
    lines = text.removesuffix("\n").split("\n")
    if not any(line.startswith("@@ ") for line in lines):
        return None
    try:
        kinds = list(_read(lines))
    except _NoDiffError:
        return None
    files = sum(
        line.startswith("+++ ") for kind, line in zip(kinds, lines, strict=True) if kind == HEADING
    )
    return Diff(tuple(zip(kinds, lines, strict=True)), files) if files else None


class _NoDiffError(Exception):
    pass


def _read(lines: Sequence[str]) -> Iterator[str]:
    """The kind of each line."""
    at = 0
    named = False
    while at < len(lines):
        line = lines[at]
        if line.startswith("--- ") and lines[at + 1 : at + 2] and lines[at + 1].startswith("+++ "):
            yield from (HEADING, HEADING)
            at, named = at + 2, True
        elif named and (found := _HUNK.fullmatch(line)):
            yield HUNK
            kinds = list(_hunk(lines[at + 1 :], int(found[2] or 1), int(found[4] or 1)))
            yield from kinds
            at += 1 + len(kinds)
        elif _HEADING.fullmatch(line):
            yield HEADING
            at, named = at + 1, False
        else:
            raise _NoDiffError


def _hunk(lines: Sequence[str], old: int, new: int) -> Iterator[str]:
    for line in lines:
        if line.startswith("\\ No newline"):
            yield SAME
            continue
        if old == 0 and new == 0:
            return
        kind = {"+": ADDED, "-": REMOVED, " ": SAME, "": SAME}.get(line[:1])
        old -= kind in (REMOVED, SAME)
        new -= kind in (ADDED, SAME)
        if kind is None or old < 0 or new < 0:
            raise _NoDiffError
        yield kind
    if old or new:
        raise _NoDiffError
