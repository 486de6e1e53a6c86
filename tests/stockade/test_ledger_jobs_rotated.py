"""The offline verifier by several processes, of a ledger whose keys were rotated."""

from pathlib import Path

import pytest

from ledger.errors import BadEntry
from ledger.export import read_lines
from ledger.lineage import Lineage
from ledger.verify import Verification, verify
from stockade.cli import ledger_jobs
from stockade.cli.ledger_jobs import join_all, keys_in, read_stretch, verify_file
from tests.ledger.specimen import PUBLIC
from tests.ledger.test_rotation import LINEAGE, LINES

FIRST = Lineage(PUBLIC)


@pytest.mark.parametrize("piece", [1, 7, 100, 1000, 5000, 10**6])
def test_rotations_are_found_wherever_the_pieces_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """The keys ahead are those that the file hands over to; each line of them once."""
    monkeypatch.setattr(ledger_jobs, "_PIECE", max(piece, 64))
    path = tmp_path / "export"
    path.write_bytes(b"".join(LINES))
    assert keys_in(path, FIRST) == LINEAGE


@pytest.mark.parametrize("length", [500, 4000, 20_000, 10**6])
def test_stretches_are_joined_across_rotations(tmp_path: Path, length: int) -> None:
    """All of the file is joined, and none of it read by one process alone."""
    path = tmp_path / "export"
    path.write_bytes(b"".join(LINES))
    size = path.stat().st_size
    verification = Verification(LINEAGE)
    stretches = (
        read_stretch(path, LINEAGE, start, min(start + length, size))
        for start in range(0, size, length)
    )
    assert join_all(verification, stretches) == size
    assert verification.end() == verify(LINES, PUBLIC)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_wrong_is_the_same_by_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """Taken out, put in twice, put in later: the entry and the reason are those of one process."""
    monkeypatch.setattr(ledger_jobs, "STRETCH", 4000)
    path = tmp_path / "export"
    attacks = [
        *(LINES[:at] + LINES[at + 1 :] for at in range(9)),
        *([*LINES[:at], LINES[3], *LINES[at:]] for at in (0, 4, 7, 10)),
        [*LINES[:3], LINES[7], *LINES[3:]],
        LINES[7:],
    ]
    for lines in attacks:
        path.write_bytes(b"".join(lines))
        with pytest.raises(BadEntry) as by_file:
            verify_file(path, FIRST, (), jobs)
        with pytest.raises(BadEntry) as by_lines, path.open("rb") as file:
            verify(read_lines(file), PUBLIC)
        assert str(by_file.value) == str(by_lines.value)
    path.write_bytes(b"".join(LINES))
    assert verify_file(path, FIRST, (), jobs) == verify(LINES, PUBLIC)


def test_a_pipe_is_read_once() -> None:
    """What cannot be read twice is not looked through for keys ahead."""
    assert keys_in(Path("/dev/null"), FIRST) is FIRST
