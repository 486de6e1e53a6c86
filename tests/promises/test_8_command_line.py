"""Promise 8, as a script sees it: a call that was taken in is no call that never arrived."""

import os
import signal
import subprocess

from tests.promises.acting import ALONE, SOON, apply, sleepers, until
from tests.running import STOCKADE, RunningDaemon


def test_the_status_of_a_call_whose_daemon_dies_says_that_it_had_begun(
    daemon: RunningDaemon,
) -> None:
    """Not that no daemon was within reach, after which one would simply try again."""
    mark = f"6{os.getpid()}.5"
    with daemon.client() as client:
        apply(client, ALONE)
    command = [str(STOCKADE), "call", "run_shell", f"command=sleep {mark}"]
    with subprocess.Popen(command, env=daemon.environ(), stderr=subprocess.PIPE) as caller:
        assert until(lambda: len(sleepers(mark)) == 1)
        daemon.stop(signal.SIGKILL)
        assert caller.wait(SOON) == 16
        assert caller.stderr is not None
        said = caller.stderr.read().decode()
    assert "fix: once it is back, how this call ended: stockade calls watch " in said
    watch = said.rpartition("stockade calls watch ")[2].strip()
    assert daemon.cli("call", "run_shell", "command=true").status == 20
    daemon.start()
    assert daemon.cli("calls", "watch", watch).status == 16
