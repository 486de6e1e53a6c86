"""A daemon that is told to stop ends in order: at once, and by a person who is not root."""

import contextlib
import json
import os
import signal
import subprocess
import threading

from tests.promises.acting import ALONE, apply, until
from tests.running import CONFIG, STOCKADE, RunningDaemon, finished, running


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


def test_ctrl_c_twice() -> None:
    """The second one ends the calls that the first one waits for; the daemon's end is in order."""
    slow = CONFIG.replace("drain_seconds = 1\n", "drain_seconds = 60\n")
    with running(slow) as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            call = client.call("run_shell", {"command": "echo ready; sleep 300"})
            next(event for event in call if event.HasField("output"))
            os.kill(daemon.pid, signal.SIGINT)
            assert until(lambda: '"event": "daemon.stopping"' in daemon.log)
            os.kill(daemon.pid, signal.SIGINT)
            assert finished(list(call)).reason == "DAEMON_STOPPED"
            assert daemon.stop(signal.SIGINT) == 0
        assert '"event": "daemon.stopped"' in daemon.log


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
