"""Attack: the place of config.toml gives no answer when it is read again, as a disk that hangs."""

import os
import signal
import time

from tests.running import RunningDaemon


def test_a_configuration_that_gives_no_answer_keeps_nobody_from_stopping(
    daemon: RunningDaemon,
) -> None:
    """Calls go on while it is waited for, and SIGTERM ends the daemon as ever."""
    path = daemon.home.config_file
    path.unlink()
    os.mkfifo(path)
    os.kill(daemon.pid, signal.SIGHUP)
    time.sleep(1)
    with daemon.client() as client:
        assert client.status().version
    assert daemon.stop() == 0
    assert '"daemon.stopped"' in daemon.log
