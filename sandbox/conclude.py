"""From the facts of a finished run to its outcome.

Pure. The order of belief: our own verdict, then a limit the kernel reports as hit, then what
bubblewrap says of the tool. A tool that fails with its scratch full is taken to have failed for
that, since no kernel reports it (but not if it was over before its scratch was found). bubblewrap
reports a tool killed by signal N as 128+N, as a shell does, so a tool that exits with such a code
on purpose is read as signalled; `detail` says so.
"""

import signal
from collections.abc import Mapping

from sandbox.ending import Ending, outcome
from sandbox.outcome import Control, End, LimitName, Outcome, Usage
from sandbox.spec import RunSpec
from sandbox.streams import Tally
from sandbox.supervise import Supervisor

_SIGNAL_OF = {128 + number: int(number) for number in signal.valid_signals()}
_LIMIT_OF = {
    int(signal.SIGXCPU): LimitName.CPU,
    int(signal.SIGXFSZ): LimitName.FILE_SIZE,
}


def limit_of_signal(number: int) -> LimitName | None:
    """The limit whose signal this is."""
    return _LIMIT_OF.get(number)


def conclude(
    spec: RunSpec,
    supervisor: Supervisor,
    code: int | None,
    breach: LimitName | None,
    controls: Mapping[str, Control],
) -> Outcome:
    """The outcome of a run whose gate was opened."""
    return outcome(_ending(spec, supervisor, code, breach), supervisor, controls)


def _ending(
    spec: RunSpec, supervisor: Supervisor, code: int | None, breach: LimitName | None
) -> Ending:
    if supervisor.verdict is not None:
        return Ending(*supervisor.verdict)
    if breach is not None:
        return Ending(End.KILLED_BY_LIMIT, breach)
    if code is None:
        said = supervisor.output.stderr_head.strip()
        return Ending(End.ENGINE_FAILURE, detail=said or "bubblewrap ended without a report")
    number = _SIGNAL_OF.get(code)
    if supervisor.scratch_full and (code == 128 + signal.SIGBUS or (code and number is None)):
        # A full tmpfs is ENOSPC to who writes and SIGBUS to who has mapped it.
        how = f"ended with {code}, its scratch full"
        return Ending(End.KILLED_BY_LIMIT, LimitName.DISK, how)
    if number is None:
        return Ending(End.EXITED, exit_code=code)
    limit = _LIMIT_OF.get(number)
    if number == signal.SIGKILL and (supervisor.cpu_seconds or 0) >= spec.limits.cpu_seconds:
        limit = LimitName.CPU  # RLIMIT_CPU's hard limit, in a tool that ignores SIGXCPU
    if limit is not None:
        return Ending(End.KILLED_BY_LIMIT, limit, f"by signal {number}")
    how = f"reported as {code}: signal {number}, or exit code {code}"
    return Ending(End.SIGNALLED, detail=how, signal=number)


def failed(detail: str, breach: LimitName | None, controls: Mapping[str, Control]) -> Outcome:
    """The outcome of a run whose sandbox could not be built: the tool never ran."""
    nothing = Tally()
    return Outcome(
        end=End.ENGINE_FAILURE if breach is None else End.KILLED_BY_LIMIT,
        exit_code=None,
        signal=None,
        limit=breach,
        usage=Usage(0, None, None),
        controls=controls,
        stdout_digest=nothing.digest,
        stderr_digest=nothing.digest,
        stdout_bytes=0,
        stderr_bytes=0,
        detail=detail,
    )
