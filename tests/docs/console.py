r"""Runs what the documents show in their ```console blocks.

The convention: a line that begins with "$ " is typed, with the lines after it that begin with "> ".
The lines that follow are everything that is then said (standard output and error as they come). In
them "..." stands for anything within a line and, alone on its line, for any lines. A command ends
with status 0 unless the next one is `echo $?`, which shows its status. All blocks of a page run in
order in one shell.

Substituted are the checkout's .venv (by the environment the tests run in), and the port: a daemon
that a page starts listens on a free one.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT, fenced
from tests.running import make_directory

COMMAND_SECONDS = 400
_ASKS = "echo $?"
_SEED = Path(__file__).with_name("seed.py")


@dataclass(frozen=True)
class Step:
    """A command and what the page says it says."""

    command: str
    expected: tuple[str, ...]
    status_follows: bool


def steps(text: str) -> list[Step]:
    """The commands of a page."""
    found: list[tuple[str, list[str]]] = []
    for block in fenced(text, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and not found[-1][1] and (line == ">" or line.startswith("> ")):
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
            else:
                assert found, f"output before any command: {line!r}"
                found[-1][1].append(line)
    return [
        Step(command, tuple(lines), [later for later, _ in found[i : i + 1]] == [_ASKS])
        for i, (command, lines) in enumerate(found, 1)
    ]


def fits(said: str, expected: tuple[str, ...]) -> bool:
    """Whether the output is what the page shows; trailing spaces do not show."""
    lines = "".join(f"{line.rstrip()}\n" for line in said.splitlines())
    pattern = "".join(
        "(?:.*\n)*?" if line == "..." else _pattern(line.rstrip()) + "\n" for line in expected
    )
    return re.fullmatch(pattern, lines) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


class Shell:
    """One bash; `run` gives what a command said and its status."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._count = 0
        # So that `echo $?` finds the status of the page's command before it, not one of ours.
        self._send("__status=0; __again() { return $__status; }\n")

    def run(self, command: str) -> tuple[str, int]:
        """Types a command and waits for its end."""
        self._count += 1
        script = self._folder / f"command-{self._count}.sh"
        script.write_text(command + "\n")
        mark = f"--- end of command {self._count}: "
        self._send(f'__again; . {script}; __status=$?; echo; echo "{mark}$__status"\n')
        return self._read_until(re.compile(rf"\n{re.escape(mark)}(\d+)\n$"))

    def close(self) -> None:
        """Ends the shell and whatever it left running in its session's group."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.communicate(timeout=COMMAND_SECONDS)

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def _read_until(self, end: re.Pattern[str]) -> tuple[str, int]:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        said, deadline = b"", time.monotonic() + COMMAND_SECONDS
        while not (found := end.search(said.decode(errors="replace"))):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise AssertionError(f"no end of the command; it said {said.decode()!r}")
            data = os.read(output, 65536)
            if not data:
                raise AssertionError(f"the shell ended; it said {said.decode()!r}")
            said += data
        return said.decode(errors="replace")[: found.start()], int(found[1])


@contextmanager
def shell() -> Iterator[tuple[Shell, Path]]:
    """A shell with a temporary directory of its own; the daemons it leaves are ended."""
    folder = make_directory("stockade-docs-")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STOCKADE_", "XDG_", "DBUS_"))
    }
    environment |= {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
    }
    made = Shell(folder, environment)
    try:
        yield made, folder
    finally:
        made.close()
        for lock in folder.rglob("data/lock"):
            home = str(lock.parents[1])
            subprocess.run(
                [Path(sys.executable).parent / "stockade", "down"],
                env={**environment, "STOCKADE_HOME": home},
                capture_output=True,
                check=False,
                timeout=COMMAND_SECONDS,
            )
        shutil.rmtree(folder, ignore_errors=True)


def play(made: Shell, page: str) -> None:
    """Runs a page's commands and compares."""
    play_steps(made, steps(page))


def play_steps(made: Shell, wanted: list[Step]) -> None:
    """The same for a part of them."""
    for step in wanted:
        if "stockade up" in step.command:
            _, status = made.run(f"{sys.executable} {_SEED}")
            assert status == 0
        if step.command.startswith("export PATH="):
            # The environment of the tests stands in for the checkout's .venv.
            continue
        said, status = made.run(step.command)
        assert fits(said, step.expected), (
            f"$ {step.command}\nsaid:\n{said}\nthe page has:\n" + "\n".join(step.expected)
        )
        assert step.status_follows or status == 0, f"$ {step.command}\nended with {status}\n{said}"
