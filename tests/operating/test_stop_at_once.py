"""A daemon that is told to stop as soon as it can be found ends in order."""

import contextlib
import json
import os
import signal
import threading

from tests.running import RunningDaemon, running


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
