"""Several processes say of an export what one says."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.chain import Chain, Entry
from ledger.checkpoint import Checkpoint, sign
from ledger.errors import BadEntry
from ledger.export import MAX_LINE, encode_line, read_lines
from ledger.keys import encode_public
from ledger.lineage import Lineage
from ledger.segment import Segment
from ledger.verify import Verification, Verified, verify
from stockade.cli.ledger_jobs import STRETCH, join_all, read_stretch
from tests.ledger.specimen import KEYS, PUBLIC, extend, fork, ledger, lines_of, root_of
from tests.running import STOCKADE

ENTRIES = ledger(60)
LINES = lines_of(ENTRIES)
OTHER = lines_of(fork(ENTRIES, 20, 40))
CHECKPOINT = Checkpoint("alpha", 50, root_of(ENTRIES[:50]))

Edit = Callable[[list[bytes], int], list[bytes]]
EDITS: dict[str, Edit] = {
    "whole": lambda lines, _: lines,
    "edited": lambda lines, at: [
        *lines[:at],
        lines[at].replace(b"builder", b"burglar"),
        *lines[at + 1 :],
    ],
    "dropped": lambda lines, at: lines[:at] + lines[at + 1 :],
    "doubled": lambda lines, at: [*lines[: at + 1], lines[at], *lines[at + 1 :]],
    "swapped": lambda lines, at: [
        *lines[:at],
        *reversed(lines[at : at + 2]),
        *lines[at + 2 :],
    ],
    "moved": lambda lines, at: [*lines[:at], *lines[at + 1 :], lines[at]],
    "spliced": lambda lines, at: lines[:at] + OTHER[at:],
    "cut": lambda lines, at: lines[:at],
    "cut in a line": lambda lines, at: [*lines[:at], lines[at][:-9]],
    "long": lambda lines, at: [*lines[:at], b"x" * (MAX_LINE + 10) + b"\n", *lines[at:]],
    "blank": lambda lines, at: [*lines[:at], b"\n", *lines[at:]],
}


def by_stretches(path: Path, checkpoint: Checkpoint | None, length: int) -> Verified:
    """What `verify_file` does, without processes."""

    def stretches() -> Iterator[tuple[int, Segment | None]]:
        size = path.stat().st_size
        for start in range(0, size, length):
            yield read_stretch(path, Lineage(PUBLIC), start, min(start + length, size))

    verification = Verification(PUBLIC, [checkpoint] if checkpoint else [])
    with path.open("rb") as file:
        file.seek(join_all(verification, stretches()))
        verification.read(read_lines(file))
    return verification.end()


def outcome(run: Callable[[], Verified]) -> object:
    try:
        return run()
    except BadEntry as bad:
        return (bad.code, bad.line, bad.sequence, bad.message)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    how=st.sampled_from(sorted(EDITS)),
    at=st.integers(0, 59),
    length=st.one_of(st.integers(1, 3000), st.integers(3000, 40_000)),
    vouched=st.booleans(),
)
def test_stretches_say_what_one_pass_says(
    tmp_path: Path, how: str, at: int, length: int, vouched: bool
) -> None:
    """Whatever was done to the file and wherever it is cut: the same entry, line and reason."""
    path, checkpoint = tmp_path / "export", CHECKPOINT if vouched else None
    data = b"".join(EDITS[how](LINES, at))
    path.write_bytes(data)
    with path.open("rb") as file:
        alone = outcome(lambda: verify(read_lines(file), PUBLIC, checkpoint))
    assert outcome(lambda: by_stretches(path, checkpoint, length)) == alone
    assert isinstance(alone, Verified) or how != "whole"


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of several stretches, its keys and a checkpoint."""
    folder = tmp_path_factory.mktemp("auditor")
    entries: list[Entry] = extend(Chain("alpha", KEYS.signer(), None), 9000)
    folder.joinpath("whole").write_bytes(b"".join(map(encode_line, entries)))
    assert folder.joinpath("whole").stat().st_size > 2 * STRETCH
    folder.joinpath("keys").write_bytes(encode_public(PUBLIC))
    folder.joinpath("note").write_bytes(sign(Checkpoint("alpha", 9000, root_of(entries)), KEYS))
    return folder


def said(folder: Path, name: str, *extra: str) -> tuple[int, dict[str, Any]]:
    files = (
        str(folder / name),
        "--key",
        str(folder / "keys"),
        "--checkpoint",
        str(folder / "note"),
    )
    done = subprocess.run(
        [STOCKADE, "ledger", "verify", *files, "--json", *extra],
        env={"STOCKADE_HOME": str(folder / "none"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[0])


@pytest.mark.parametrize("jobs", ["1", "3", "0"])
def test_a_whole_ledger_by_any_number_of_processes(auditor: Path, jobs: str) -> None:
    """The same count, root and coverage."""
    status, found = said(auditor, "whole", "--jobs", jobs)
    assert (status, found["ok"], found["entries"], found["covered"]) == (0, True, 9000, 9000)


@pytest.mark.parametrize(
    ("how", "at", "sequence", "reason"),
    [
        ("edited", 7000, 7001, "EDITED"),
        ("dropped", 4500, 4501, "MISSING"),
        ("swapped", 4500, 4502, "REORDERED"),
        ("moved", 0, 2, "REORDERED"),
        ("doubled", 8999, 9000, "DUPLICATE"),
        ("cut", 8000, 8001, "TRUNCATED"),
    ],
)
def test_the_first_bad_entry_by_several_processes(
    auditor: Path, how: str, at: int, sequence: int, reason: str
) -> None:
    """Named as one process names it, wherever in the file it is."""
    lines = auditor.joinpath("whole").read_bytes().splitlines(keepends=True)
    auditor.joinpath(how).write_bytes(b"".join(EDITS[how](lines, at)))
    alone = said(auditor, how, "--jobs", "1")
    assert said(auditor, how, "--jobs", "3") == alone
    status, found = alone
    assert (status, found["sequence"], found["reason"]) == (1, sequence, reason)


def test_a_pipe_is_verified_too(auditor: Path) -> None:
    """What cannot be sought in is read by one process, as it comes."""
    keys, whole = auditor / "keys", auditor / "whole"
    done = subprocess.run(
        [STOCKADE, "ledger", "verify", "/dev/stdin", "--key", str(keys), "--jobs", "4"],
        input=whole.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"9000 entries" in done.stdout) == (0, True)


def test_several_checkpoints_all_have_to_hold(auditor: Path) -> None:
    """One of an earlier time from elsewhere is checked as well."""
    older = auditor / "older"
    older.write_bytes(sign(Checkpoint("alpha", 4000, bytes(32)), KEYS))
    status, found = said(auditor, "whole", "--checkpoint", str(older))
    assert (status, found["sequence"], found["reason"]) == (1, 4000, "FORKED")


def test_the_verifier_loads_nothing_of_the_daemon(auditor: Path) -> None:
    """Neither the daemon's packages nor a network library."""
    program = (
        "import sys; from pathlib import Path; from stockade.cli.ledger_verify import verify;"
        f"verify(Path({str(auditor / 'whole')!r}), Path({str(auditor / 'keys')!r}), jobs=1);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "ledger" in loaded
    assert not loaded & {"daemon", "policy", "sandbox", "vault", "identity", "grpc", "sqlalchemy"}
