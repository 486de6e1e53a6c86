"""Alerts to a program of the operator's: fixed words, JSON on standard input, bounded."""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.operating.test_alerts import BURST, burst
from tests.promises.acting import ALONE, apply, run, sleepers, until
from tests.running import CONFIG, RunningDaemon, finished, make_directory, running


@contextmanager
def telling(
    script: str, *arguments: str, seconds: int = 10
) -> Iterator[tuple[RunningDaemon, Path]]:
    """A daemon whose alerts go to a script, and the directory that the script is in."""
    folder = make_directory("stockade-test-alert-")
    folder.chmod(0o777)
    program = folder / "tell"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    command = json.dumps([str(program), *arguments])
    section = f"[alerts]\ndenied_per_minute = {BURST}\ncommand = {command}\n"
    section += f"command_seconds = {seconds}\n"
    try:
        with running(CONFIG + section, SECRET_OF_THE_DAEMON="hidden") as daemon:
            yield daemon, folder
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def said(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


TELLS = """\
here=${0%/*}
cat >> "$here/told"
printf '%s\\n' "$@" > "$here/words"
env > "$here/environment"
cat /proc/[0-9]*/comm > "$here/processes"
"""


def test_an_alert_is_a_line_of_json_to_a_program_that_sees_nothing_else() -> None:
    """Its words are those of the configuration; no variable, process or file of the daemon's."""
    words = "a b; $(id) `id` '\""
    with telling(TELLS, "DATA", words) as (daemon, folder):
        with daemon.client() as client:
            burst(client)
            device = client.credentials.device_id
            assert until(lambda: (folder / "processes").exists() and bool(said(folder / "told")))
            [alert] = said(folder / "told")
            assert (alert["rule"], alert["subject"]) == ("denied_burst", f"device/{device}")
            assert alert["receipt"] > 0
        assert (folder / "words").read_text() == f"DATA\n{words}\n"
        environment = (folder / "environment").read_text()
        assert "SECRET_OF_THE_DAEMON" not in environment
        assert "STOCKADE" not in environment
        assert until(lambda: bool((folder / "processes").read_text()))
        assert "stockaded" not in (folder / "processes").read_text()


def test_the_daemons_data_is_not_there_for_it() -> None:
    """What it could read of keys it can give away: it finds an empty directory."""
    script = 'cd "${0%/*}" && ls -A "$(cat where)" > data && echo done >> data'
    with telling(script) as (daemon, folder):
        assert list(daemon.home.data.iterdir())
        (folder / "where").write_text(str(daemon.home.data))
        with daemon.client() as client:
            burst(client)
        assert until(lambda: (folder / "data").exists() and "done" in (folder / "data").read_text())
        assert (folder / "data").read_text() == "done\n"


def test_a_program_that_fails_is_tried_again() -> None:
    """It was told once it ends with 0, and then not again."""
    script = 'echo try >> "${0%/*}/tries"; [ "$(wc -l < "${0%/*}/tries")" -ge 3 ]'
    with telling(script) as (daemon, folder):
        with daemon.client() as client:
            burst(client)
        tries = folder / "tries"
        assert until(lambda: tries.exists() and len(tries.read_text().splitlines()) == 3)
        assert daemon.log.count('"alert.undelivered"') == 2
        assert "it ended with status 1" in daemon.log


def test_a_program_that_hangs_is_killed_with_all_it_started_and_holds_up_nothing() -> None:
    """Also what left its session and its group; calls go on, and the daemon ends in its time."""
    mark = f"7{os.getpid()}"
    script = f"trap '' TERM; setsid sleep {mark} & setsid setsid sleep {mark} & sleep {mark}"
    with telling(script, seconds=2) as (daemon, _):
        with daemon.client() as client:
            apply(client, ALONE)
            burst(client)
            assert until(lambda: len(sleepers(mark)) >= 3)
            assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
            assert until(lambda: '"alert.undelivered"' in daemon.log)
            assert "it was killed after 2 seconds" in daemon.log
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 90
    assert until(lambda: not sleepers(mark))


def test_a_program_of_a_killed_daemon_dies_with_it() -> None:
    """A kill -9 of the daemon: nothing that it started for an alert goes on."""
    mark = f"6{os.getpid()}"
    with telling(f"sleep {mark}", seconds=300) as (daemon, _):
        with daemon.client() as client:
            burst(client)
        assert until(lambda: bool(sleepers(mark)))
        daemon.stop(9)
        assert until(lambda: not sleepers(mark))
