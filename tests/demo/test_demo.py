"""`make demo` is played for real, in a directory of its own."""

import contextlib
import functools
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.host import of_each_process
from tests.running import make_directory, remove_directory

DEMO = Path(__file__).parents[2] / "deploy" / "demo.py"
TERMINAL = "demo_terminal"
PATIENCE_SECONDS = 400
GONE_SECONDS = 60


@dataclass
class Place:
    """Where a demo is played, and the mark that all its processes inherit."""

    folder: Path
    mark: str

    def start(self) -> "subprocess.Popen[str]":
        """Starts the demo as make does."""
        return subprocess.Popen(
            [sys.executable, "-E", "-s", DEMO, self.folder / ".demo"],
            env={**os.environ, "STOCKADE_TEST_MARK": self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self) -> tuple[int, str]:
        """Plays it to its end; status and everything it printed."""
        with self.start() as demo:
            said, _ = demo.communicate(timeout=PATIENCE_SECONDS)
        return demo.returncode, said

    def left(self) -> list[int]:
        """Processes of it that run, given a moment to be gone."""
        deadline = time.monotonic() + GONE_SECONDS
        while (found := self._running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _running(self) -> list[int]:
        environments = of_each_process("environ")
        return [pid for pid, environ in environments.items() if self.mark.encode() in environ]


@pytest.fixture
def place() -> Iterator[Place]:
    """An empty directory; afterwards neither it nor what ran in it is left."""
    folder = make_directory("stockade-demo-test-")
    made = Place(folder, secrets.token_hex(8))
    yield made
    for pid in made.left():
        with contextlib.suppress(ProcessLookupError):  # one takes others with it
            os.kill(pid, signal.SIGKILL)
    remove_directory(folder)


def interrupt(place: Place) -> None:
    """Ctrl-C while a call waits for its approver: everything ends."""
    with place.start() as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "waiting for approval" in line:
                demo.send_signal(signal.SIGINT)
        demo.wait(PATIENCE_SECONDS)
    assert demo.returncode == 130, said
    assert "interrupted" in said
    assert place.left() == []


def test_the_demo_shows_all_three_outcomes_and_leaves_nothing_running(place: Place) -> None:
    """One call runs at once, one waits for its approver, one is denied; the ledger verifies.

    It is played where another was interrupted, so this is also: it can be run again.
    """
    interrupt(place)
    status, said = place.play()
    assert status == 0, said
    told = iter(said.splitlines())
    for line in (
        # each is looked for after the one before
        "$ stockade pair ",
        "$ stockade devices confirm ",
        "permitted by unattended-reads",
        "1005,east,1,1290.00",
        "waiting for approval",
        "$ stockade approvals approve ",
        "Approve this? [y/N] y",
        "total: 7372.85",
        "denied by read-only-workspace",
        "REPORT_KEY is [redacted",
        "$ stockade down",
        "whole, in order, signed",
        "EDITED: line ",
        "TRUNCATED: ",
        "Done in ",
    ):
        assert any(line in one for one in told), f"{line!r} is missing in:\n{said}"
    assert "\x1b[" not in said  # no colours where there is no terminal
    assert place.left() == []
    report = (place.folder / ".demo" / "orders" / "report.md").read_text()
    assert report.splitlines()[0] == "# Revenue by region"


def test_a_demo_that_cannot_be_played_fails_loudly(place: Place) -> None:
    """Something not as it should be: status 1 and the reason, not a traceback."""
    (place.folder / ".demo").write_text("not a directory of ours")
    status, said = place.play()
    assert status == 1
    assert "demo: FAILED: " in said
    assert "Traceback" not in said
    assert place.left() == []


@functools.cache
def terminal() -> Any:
    """The demo's module, which is in no package."""
    spec = importlib.util.spec_from_file_location(TERMINAL, DEMO.with_name(f"{TERMINAL}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[TERMINAL] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(st.text(alphabet="ab- ", max_size=200), st.integers(20, 90))
def test_what_the_demo_shows_fits_its_terminal(text: str, width: int) -> None:
    """Lines that are too long are broken between words, and no word is lost."""
    shown = terminal().broken(text, width)
    assert all(len(line) <= width for line in shown)
    assert "".join("".join(shown).split()) == "".join(text.split())
