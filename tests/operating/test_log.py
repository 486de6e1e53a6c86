"""The daemon's own log: a JSON object a line, or on a terminal lines for people."""

import json
import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.running import CONFIG, STOCKADED, RunningDaemon, make_directory


@pytest.fixture(scope="module")
def home() -> Iterator[RunningDaemon]:
    """A home whose daemon is started on whatever a test gives it for standard error."""
    made = RunningDaemon(make_directory())
    assert made.init().returncode == 0
    yield made
    made.stop()
    shutil.rmtree(made.root, ignore_errors=True)


def logged(daemon: RunningDaemon, form: str, *, on_terminal: bool) -> list[str]:
    """What it wrote to standard error from its start to its end."""
    daemon.home.config_file.write_text(CONFIG.replace('format = "json"', f'format = "{form}"'))
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    said = bytearray()

    def listen() -> None:
        with suppress(OSError):  # how a terminal says that nobody has it open any more
            while chunk := os.read(ours, 65536):
                said.extend(chunk)

    listener = threading.Thread(target=listen)
    listener.start()
    ready, told = os.pipe()
    daemon.process = subprocess.Popen(
        [STOCKADED, "serve", "--ready-fd", str(told)],
        env=daemon.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        pass_fds=[told],
    )
    os.close(told)
    os.close(theirs)
    with os.fdopen(ready, "rb") as pipe:
        assert pipe.read() == b"ready\n", said
    assert daemon.stop() == 0
    listener.join(60)
    os.close(ours)
    return said.decode().splitlines()


@pytest.mark.parametrize(
    ("form", "on_terminal"), [("auto", False), ("json", False), ("json", True)]
)
def test_each_line_is_a_json_object(home: RunningDaemon, form: str, on_terminal: bool) -> None:
    """For programs, which is whoever is no terminal; and where the configuration says so."""
    lines = [json.loads(line) for line in logged(home, form, on_terminal=on_terminal)]
    assert {"daemon.ready", "daemon.stopped"} <= {line["event"] for line in lines}
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)


@pytest.mark.parametrize(("form", "on_terminal"), [("auto", True), ("text", False), ("text", True)])
def test_lines_are_for_people(home: RunningDaemon, form: str, on_terminal: bool) -> None:
    """On a terminal, or where the configuration says so; colours are for terminals alone."""
    lines = logged(home, form, on_terminal=on_terminal)
    assert any("daemon.ready" in line for line in lines)
    assert not [line for line in lines if line.startswith("{")]
    assert any("\x1b[" in line for line in lines) is on_terminal
