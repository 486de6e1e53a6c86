"""From the facts of a run in a container to its outcome.

Pure. The order of belief is the process tier's: our own verdict, then a limit the kernel reports as
hit, then what the launcher says of the tool. Raises `SpecRefusedError` where the launcher found no
such program or directory, for then nothing of the tool ever ran.
"""

import errno
import os
import signal
from collections.abc import Mapping

from sandbox.box import Report
from sandbox.conclude import limit_of_signal
from sandbox.container_watch import ContainerWatch
from sandbox.ending import Ending, outcome
from sandbox.engine_answers import Ended
from sandbox.errors import SpecRefusedError
from sandbox.outcome import Control, End, LimitName, Outcome
from sandbox.spec import RunSpec

_REFUSED = {
    "no-cwd": ("CWD_MISSING", "the sandbox has no such working directory", "mount it, or use /tmp"),
    "no-program": (
        "EXECUTABLE_MISSING",
        "the sandbox has no executable at argv[0]",
        "name a program of the image, or of a mount",
    ),
}
_ABSENT = (errno.ENOENT, errno.EACCES, errno.ENOTDIR)


def conclude(
    spec: RunSpec,
    watch: ContainerWatch,
    breach: LimitName | None,
    ended: Ended | None,
    controls: Mapping[str, Control],
) -> Outcome:
    """The outcome. `ended` is the engine's word, asked for only when there was no report."""
    return outcome(_ending(spec, watch, breach, ended), watch, controls)


def _ending(
    spec: RunSpec, watch: ContainerWatch, breach: LimitName | None, ended: Ended | None
) -> Ending:
    if watch.verdict is not None:
        return Ending(*watch.verdict)
    if breach is not None:
        return Ending(End.KILLED_BY_LIMIT, breach)
    if watch.report is None:
        if ended is not None and ended.out_of_memory:
            how = "the container's first process with it"
            return Ending(End.KILLED_BY_LIMIT, LimitName.MEMORY, how)
        return Ending(End.ENGINE_FAILURE, detail=watch.fault or _gone(ended))
    return _reported(spec, watch.report, watch.cpu_seconds or 0.0)


def _gone(ended: Ended | None) -> str:
    if ended is None:
        return "Docker Engine went away under the run"
    return ended.error or f"the container ended without a report, with status {ended.exit_code}"


def _reported(spec: RunSpec, report: Report, cpu_seconds: float) -> Ending:
    failed = report.number != 0 if report.kind == "exit" else report.number == signal.SIGBUS
    if report.scratch_full and failed and report.kind in ("exit", "signal"):
        # A full tmpfs is ENOSPC to who writes and SIGBUS to who has mapped it.
        how = f"ended by {report.kind} {report.number}, its scratch full"
        return Ending(End.KILLED_BY_LIMIT, LimitName.DISK, how)
    if report.kind == "exit":
        return Ending(End.EXITED, exit_code=report.number)
    if report.kind != "signal":
        if report.kind in _REFUSED and report.number in _ABSENT:
            raise SpecRefusedError(*_REFUSED[report.kind])
        return Ending(End.ENGINE_FAILURE, detail=f"{report.kind}: {os.strerror(report.number)}")
    limit = limit_of_signal(report.number)
    if report.number == signal.SIGKILL and cpu_seconds >= spec.limits.cpu_seconds:
        limit = LimitName.CPU  # RLIMIT_CPU's hard limit, in a tool that ignores SIGXCPU
    if limit is not None:
        return Ending(End.KILLED_BY_LIMIT, limit, f"by signal {report.number}")
    return Ending(End.SIGNALLED, signal=report.number)
