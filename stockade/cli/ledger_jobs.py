"""Verifying an export by several processes, each a stretch of the file at a time.

Trusted to say exactly what one process would: stretches that are whole are joined in order, and
from the first one that is not, this process reads on by itself and names the first bad entry.
Memory does not grow with the file. Raises the ledger's BadEntry, and OSError.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from ledger.authentic import Inauthentic, Reader
from ledger.checkpoint import Checkpoint
from ledger.errors import BadEntry, KeyFileError, LineError, RotationError
from ledger.export import MAX_LINE, parse_line, read_lines
from ledger.lineage import Lineage
from ledger.rotation import KIND as ROTATION
from ledger.segment import Segment, read_segment
from ledger.verify import Verification, Verified

STRETCH: Final = 2 * 1024 * 1024
"""Bytes: some thousand entries, a third of a second of one core."""
_PIECE: Final = 1024 * 1024


def default_jobs() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def keys_in(path: Path, known: Lineage) -> Lineage:
    """The keys that are known, and those they hand over to in a file; its order is not looked at.

    So that what is signed by later keys can be read before the file is verified, which is what
    tells whether the rotations are in their places.
    """
    if not path.is_file():
        return known  # of a pipe there is one reading
    found = Lineage(known.first)
    for raw in _rotations(path):
        with suppress(Inauthentic, RotationError):
            found = found.followed_by(Reader(found.current).authentic(raw))
    with suppress(KeyFileError):
        return known.extended(found)
    return known


def _rotations(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        before = b""
        # As it stands in a canonical line. In pieces: what is mapped counts as memory.
        mark = f'"kind":"{ROTATION}"'.encode()
        while piece := file.read(_PIECE):
            place, text = file.tell() - len(before) - len(piece), before + piece
            at = text.find(mark)
            while at >= 0:
                if (line := _line_around(file, place + at)) is not None:
                    yield line
                file.seek(place + len(text))
                at = text.find(mark, at + 1)
            before = text[1 - len(mark) :]


def _line_around(file: BinaryIO, place: int) -> bytes | None:
    """The line that this place is in, if it is the entry of a rotation."""
    begin = max(0, place - MAX_LINE)
    file.seek(begin)
    start = begin + file.read(place - begin).rfind(b"\n") + 1
    file.seek(start)
    line = file.readline(MAX_LINE + 1)
    try:
        return line if parse_line(line).receipt.kind == ROTATION else None
    except LineError:
        return None


def verify_file(
    path: Path,
    key: Lineage,
    checkpoints: Sequence[Checkpoint],
    jobs: int,
    seen: Mapping[int, int] | None = None,
) -> Verified:
    """Verify an export from its first entry; raise BadEntry for the first bad one."""
    ahead = keys_in(path, key) if jobs > 1 else key
    if ahead != key:
        # Of keys that are known ahead, every process has what it takes.
        with suppress(BadEntry):
            return _verify(Verification(ahead, checkpoints, seen), path, ahead, jobs)
        jobs = 1  # what is wrong is said as if they were not
    return _verify(Verification(key, checkpoints, seen), path, key, jobs)


def _verify(verification: Verification, path: Path, key: Lineage, jobs: int) -> Verified:
    with path.open("rb") as file:
        # Of what cannot be sought in, and of what is over before a process has started, each line
        # is read here.
        if jobs > 1 and file.seekable() and (size := os.fstat(file.fileno()).st_size) > STRETCH:
            file.seek(_in_parallel(verification, path, size, key, jobs))
        verification.read(read_lines(file))
    return verification.end()


def _in_parallel(verification: Verification, path: Path, size: int, key: Lineage, jobs: int) -> int:
    """Join what is whole; where the first line that was not joined begins."""
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"))
    try:
        return join_all(verification, _in_order(pool, path, size, key, jobs))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def join_all(verification: Verification, stretches: Iterable[tuple[int, Segment | None]]) -> int:
    """Join stretches until one is not whole; where the first line that was not joined begins."""
    reached = 0
    # A process that was killed: the rest is read here.
    with suppress(BrokenProcessPool):
        for end, segment in stretches:
            if end <= reached:
                continue  # no line begins in it
            if segment is None or not verification.join(segment):
                break
            reached = end
    return reached


def _in_order(
    pool: ProcessPoolExecutor, path: Path, size: int, key: Lineage, jobs: int
) -> Iterator[tuple[int, Segment | None]]:
    """The stretches of the file in order; a few at a time are under way."""
    waiting: deque[Future[tuple[int, Segment | None]]] = deque()
    for start in range(0, size, STRETCH):
        waiting.append(pool.submit(read_stretch, path, key, start, min(start + STRETCH, size)))
        if len(waiting) > 2 * jobs:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def read_stretch(path: Path, key: Lineage, start: int, end: int) -> tuple[int, Segment | None]:
    """The lines that begin in `[start, end)` as a segment, and where the line after them begins."""
    with path.open("rb") as file:
        place = _first_line(file, start)
        lines = _Lines(file, place, end)
        segment = read_segment(lines, key)
    return (lines.place if place < end else start, segment)


def _first_line(file: BinaryIO, start: int) -> int:
    """Where the first line begins that does not begin before `start`."""
    if start == 0:
        return 0
    file.seek(start - 1)
    # A line too long is no entry: the stretch it begins in is refused, and nothing after it joined.
    skipped = file.readline(MAX_LINE + 1)
    return start - 1 + len(skipped)


class _Lines:
    """The lines from `place` on that begin before `end`; `place` moves on with them."""

    def __init__(self, file: BinaryIO, place: int, end: int) -> None:
        self._file = file
        self.place = place
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self.place)
        while self.place < self._end and (line := self._file.readline(MAX_LINE + 1)):
            self.place += len(line)
            yield line
