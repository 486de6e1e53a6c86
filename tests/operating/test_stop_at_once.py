"""A daemon that is told to stop ends in order: at once, and by a person who is not root."""

import contextlib
import json
import os
import signal
import subprocess
import threading

from tests.running import STOCKADE, RunningDaemon, running


def test_told_to_stop_when_it_has_just_started() -> None:
    """SIGTERM at the first moment its process can be known: status 0, and its end is recorded."""
    with running() as daemon:
        daemon.stop()
        for rounds in range(3):
            told: list[int] = []
            stopping = threading.Thread(target=stop_when_found, args=(daemon, told))
            stopping.start()
            daemon.start()
            stopping.join()
            assert daemon.stop() == 0
            assert daemon.log.count('"event": "daemon.stopped"') == rounds + 2, daemon.log[-500:]


def stop_when_found(daemon: RunningDaemon, told: list[int]) -> None:
    while not told:
        with contextlib.suppress(OSError, ValueError):
            pid = json.loads(daemon.home.endpoint.read_bytes())["pid"]
            os.kill(pid, signal.SIGTERM)
            told.append(pid)


def test_down_takes_no_right_to_look_into_the_daemon() -> None:
    """The kernel shows nobody what it has open who has no right over all processes: no user has."""
    bounded = ["setpriv", "--bounding-set", "-sys_ptrace"] if os.geteuid() == 0 else []
    with running() as daemon:
        done = subprocess.run(
            [*bounded, STOCKADE, "down"],
            env=daemon.environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
        assert daemon.stop() == 0
