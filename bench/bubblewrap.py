"""Bubblewrap alone, with the arguments that the process tier gives it for the benchmark's tool.

The same functions of `sandbox` make the arguments, so they cannot drift apart. Left out is all that
is not bubblewrap: joining cgroups, leaving host root, waiting at the gate, limits, streams.
"""

import os
from pathlib import Path

from bench.daemon import TOOL, RunningDaemon
from bench.sampling import StepError
from daemon.calls.run import ENVIRONMENT, HOSTNAME, TOOL_TARGET, limits_of
from daemon.tools.registry import Tool, load
from daemon.tools.snapshot import SnapshotStore
from sandbox import bubblewrap, seccomp
from sandbox.descriptors import Descriptors
from sandbox.settings import ProcessSettings
from sandbox.spec import Mount, RunSpec


class BareBubblewrap:
    """A spawn of /usr/bin/bwrap, waited for to its end."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self._tool = _tool(daemon)
        self._settings = ProcessSettings(instance="bench")
        self._spec = RunSpec(
            argv=("/bin/true",),
            env={**ENVIRONMENT, "PWD": ENVIRONMENT["HOME"]},
            stdin=b"",
            cwd=ENVIRONMENT["HOME"],
            hostname=HOSTNAME,
            mounts=(Mount(str(self._tool.snapshot), TOOL_TARGET),),
            secret_env={},
            secret_files={},
            limits=limits_of(self._tool.manifest),
            run_id="bench",
        )
        self._command: list[str] = []
        self._passed: list[int] = []
        self._descriptors = Descriptors()

    def prepare(self) -> None:
        """Fills the descriptors that bubblewrap reads."""
        fds, spec, settings = Descriptors(), self._spec, self._settings
        gate = fds.gate()
        os.write(gate, b"!")  # open from the start
        _, status = fds.pipe()
        files = bubblewrap.etc_files(spec, settings)
        wiring = bubblewrap.Wiring(
            arguments=fds.memory(b""),
            seccomp=fds.memory(seccomp.build_program()),
            status=status,
            block=gate,
            files={path: fds.memory(content) for path, content in files.items()},
            secrets={},
            mounts={mount.target: fds.place(mount.source) for mount in spec.mounts},
        )
        fds.fill(wiring.arguments, bubblewrap.arguments(spec, settings, wiring))
        self._command = bubblewrap.command(spec, settings, wiring.arguments)
        self._passed = [wiring.arguments, wiring.seccomp, wiring.status, wiring.block]
        self._passed += [*wiring.files.values(), *wiring.mounts.values()]
        self._descriptors = fds

    def run(self) -> None:
        """Spawns it and waits."""
        again = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in self._passed]
        pid = os.posix_spawn(self._command[0], self._command, {}, file_actions=again)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            raise StepError(f"exit status {status}")

    def clean(self) -> None:
        """Closes the descriptors."""
        self._descriptors.__exit__(None, None, None)


def _tool(daemon: RunningDaemon) -> Tool:
    """The tool as the daemon has it, from the same files."""
    snapshots = SnapshotStore(daemon.home.data / "tools", lambda: "bench")
    registry = load(Path("/nonexistent"), daemon.home.tools, snapshots)
    return registry.by_name[TOOL]
