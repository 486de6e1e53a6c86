"""A tool that writes to the terminal of whoever watches its call."""

import io
import os
import pty
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.cli.tool_output import ToolOutput
from tests.promises.acting import ask, python_tool
from tests.running import STOCKADE, RunningDaemon

# The clipboard, a question that the terminal types the answer to, C1, an override, a false line.
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[c\x9b31m\u202eabc\rsucceeded\r\n\ttwo\n".encode()
SHOWN = "␛]52;c;ZXZpbA==␇␛[c\\u{9b}31m\\u{202e}abc\nsucceeded\n\ttwo\n"
TOOL = f"import os\nos.write(1, {HOSTILE!r})\nos.write(2, {HOSTILE!r})\n"


@pytest.fixture(scope="module")
def hostile(shared_daemon: RunningDaemon) -> Iterator[str]:
    with shared_daemon.client() as owner:
        python_tool(owner, "hostile", TOOL)
        yield "hostile"
        owner.remove_tool("hostile")


def read_all(descriptor: int) -> bytes:
    """All that comes, until nobody has the terminal open any more."""
    said = b""
    try:
        while piece := os.read(descriptor, 65536):
            said += piece
    except OSError:  # a terminal's end
        pass
    os.close(descriptor)
    return said


@pytest.mark.parametrize("on_terminal", ["stdout", "stderr"])
def test_a_terminal_is_sent_nothing_that_it_would_obey(
    shared_daemon: RunningDaemon, hostile: str, on_terminal: str
) -> None:
    """Neither by standard output nor by standard error; the other, into a pipe, is as it was."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [STOCKADE, "call", hostile],
        env={**shared_daemon.environ(), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs if on_terminal == "stdout" else subprocess.PIPE,
        stderr=theirs if on_terminal == "stderr" else subprocess.PIPE,
    ) as process:
        os.close(theirs)
        seen = read_all(mine).replace(b"\r\n", b"\n").decode()
        piped = process.stderr if on_terminal == "stdout" else process.stdout
        assert piped is not None
        assert HOSTILE in piped.read()
    assert process.returncode == 0
    assert SHOWN in seen
    assert not any(not one.isprintable() and one not in "\n\t" for one in seen)


def test_no_letter_keeps_an_approval_from_being_shown(shared_daemon: RunningDaemon) -> None:
    """A requester picks one that the approver's terminal has not: it is spelled out."""
    with shared_daemon.client() as owner:
        waiting = ask(owner, "run_shell", command="echo \u2620\x1b", detach=True)
        shown = subprocess.run(
            [STOCKADE, "approvals", "show", waiting.approval.approval_id],
            env={**shared_daemon.environ(), "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            text=True,
            check=False,
        )
        owner.cancel_call(waiting.call_id)
    assert shown.returncode == 0, shown.stderr
    assert "\\u2620\\u241b" in shown.stdout


class Screen(io.TextIOWrapper):
    """A terminal, as far as what is written to it goes."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, "utf-8", newline="")

    def isatty(self) -> bool:
        return True

    @property
    def seen(self) -> str:
        return self.bytes.getvalue().decode()


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode), st.sets(st.integers(0, 60)))
def test_no_cut_lets_anything_through(data: bytes, cuts: set[int]) -> None:
    """However a tool's output is cut into pieces: nothing that a terminal would obey is shown."""
    screen = Screen()
    passed = ToolOutput(screen)
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        passed.write(data[at:cut])
        at = max(at, cut)
    passed.end()
    assert all(one.isprintable() or one in "\n\t" for one in screen.seen)
    if data.isascii() and data.decode().isprintable():
        assert screen.seen == data.decode()
