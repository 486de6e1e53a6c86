"""The process tier: one bubblewrap per run, seccomp, cgroups where writable, rlimits always.

Trusted to give a run nothing but what its spec grants, to end it with its whole tree, and to
leave nothing behind. Refuses rather than weakens: there is no path that starts a tool with a
control missing. `run` raises `SpecRefusedError` and `TierUnavailableError` before anything is
started, the sink's own exception, and cancellation; everything else is an `Outcome`.
"""

import os
from pathlib import Path

import anyio
from uuid_utils.compat import uuid7

from sandbox import cgroup, cgroup_hosts, enforcement, launch, waiting
from sandbox.conclude import conclude, failed
from sandbox.diagnosis import forbidding
from sandbox.errors import SpecRefusedError, TierUnavailableError
from sandbox.hostview import check_startable
from sandbox.outcome import LimitName, Outcome
from sandbox.pool import Pool
from sandbox.probe import observe
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec
from sandbox.started import NotStartedError, Started, Starter
from sandbox.supervise import Supervisor
from sandbox.tier import OutputSink, ProbeReport

_BY_GROUPS = frozenset({LimitName.MEMORY, LimitName.PIDS, LimitName.CPU})
_DELEGATE = "let the daemon write control groups (systemd: Delegate=yes), and restart it"


class ProcessSandbox:
    """The process tier of one daemon."""

    name = "process"

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._cgroups = cgroup_hosts.find() if settings.use_cgroups else cgroup.NoCgroups("off")
        self._running: set[str] = set()
        self._aside: dict[str, tuple[RunSpec, Started]] = {}
        self._starter = Starter(settings, self._cgroups)
        self._shell = waiting.shell()
        self._pool = Pool(
            self._start_ahead, lambda started: started.usable, self._starter.end, settings.pool
        )

    def set_aside(self, spec: RunSpec) -> None:
        """See the interface: what waits now is the run's of this very spec."""
        self._check(spec)
        if (started := self._waiting(spec)) is not None:
            self._aside[spec.run_id] = spec, started

    async def let_go(self, run_id: str) -> None:
        """See the interface."""
        if (aside := self._aside.pop(run_id, None)) is not None:
            await self._pool.put_away(aside[1])

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec`. Call it from the event loop's own thread; the sandbox dies with that."""
        started = self._taken(spec)
        if started is not None and not started.usable:
            await self._pool.put_away(started)
            started = None
        if started is None:
            self._check(spec)
            started = self._waiting(spec)
        self._running.add(spec.run_id)
        try:
            found = await (self._told(started, spec) if started else self._cold(spec))
            if isinstance(found, Outcome):
                return found
            return await self._through(spec, output, found)
        finally:
            self._running.discard(spec.run_id)

    async def keep(self) -> None:
        """Keep sandboxes started ahead, of the shapes that are asked for, until cancelled."""
        if self._shell is not None and self._settings.pool.per_profile > 0:
            await self._pool.keep()

    async def warm(self, spec: RunSpec) -> bool:
        """Wait until one is started ahead for runs like `spec`; false if none will be."""
        shape = waiting.shape_of(spec)
        return shape is not None and await self._pool.stock(shape)

    async def probe(self) -> ProbeReport:
        """Run a sandbox and observe what it refuses."""
        return await observe(self, self._settings)

    async def altered(self) -> None:
        """Never: what this tier needs is looked at before every run."""
        await anyio.sleep_forever()

    async def close(self) -> None:
        """Nothing: the end of each run has removed all there was of it."""

    @property
    def ready(self) -> int:
        """How many were started ahead and wait."""
        return self._pool.waiting

    async def reap(self) -> int:
        """Kill and remove what an earlier daemon of this instance left; how many runs that was.

        Runs of this object are not touched. Call it once, before the first run.
        """
        prefix = self._starter.group_name("")
        left = [
            path
            for path in self._cgroups.leftovers(prefix)
            if path.name.removeprefix(prefix) not in self._running
        ]
        found = {path.name.removeprefix(prefix) for path in left}
        for path in left:
            cgroup.kill_members(path)
        if not self._running:
            found |= launch.kill_marked(self._settings)
        with anyio.move_on_after(self._settings.cleanup_seconds):
            while left := [path for path in left if not cgroup.remove_directory(path)]:  # noqa: ASYNC110
                # A dying process leaves its group a little later; no event says when.
                await anyio.sleep(0.01)
        return len(found)

    def _check(self, spec: RunSpec) -> None:
        """Whether this run may begin here, now."""
        if spec.image:
            raise SpecRefusedError(
                "IMAGE_IN_PROCESS", "the process tier has no images", "run it in a container"
            )
        check_startable(spec)
        self._check_tier()
        if spec.run_id in self._running or spec.run_id in self._aside:
            raise SpecRefusedError("RUN_ID_IN_USE", "this run is already running", "use a new id")

    def _check_tier(self) -> None:
        wanted = {self._settings.bubblewrap: "bubblewrap", self._settings.shell: "dash"}
        if os.geteuid() == 0:
            wanted |= {self._settings.chroot: "coreutils", self._settings.prlimit: "util-linux"}
        for path, package in wanted.items():
            if not os.access(path, os.X_OK):
                raise TierUnavailableError(
                    f"{Path(path).name.upper()}_MISSING",
                    f"{path} is not there",
                    f"apt-get install {package}",
                )
        if self._settings.require_cgroups and not self._cgroups.enforces >= _BY_GROUPS:
            raise TierUnavailableError(
                "CGROUPS_MISSING",
                "control groups that bound memory, processes and processor time are required, and "
                f"cannot be made here: {self._cgroups.description}",
                _DELEGATE,
            )

    async def _start_ahead(self, shape: waiting.Shape) -> Started:
        assert self._shell is not None  # noqa: S101 - else nothing is kept ready
        spec = waiting.waiting(shape, self._shell, f"ahead-{uuid7()}")
        started = await self._starter.start(spec, self._starter.group(spec), ahead=True)
        try:
            await self._starter.settle(started)
        except BaseException:
            await self._starter.end(started)
            raise
        return started

    def _waiting(self, spec: RunSpec) -> Started | None:
        """A sandbox that was started ahead and fits, for this run alone; None if there is none."""
        shape = waiting.shape_of(spec)
        started = None if shape is None else self._pool.ready(shape)
        if started is None:
            return None
        try:
            if self._starter.same_places(started, spec):
                return started
        except BaseException:
            self._pool.end(started)
            raise
        self._pool.end(started)  # a mount's path names something else by now
        return None

    def _taken(self, spec: RunSpec) -> Started | None:
        """What was set aside for this very spec: another may be granted something else."""
        if spec.run_id not in self._aside or self._aside[spec.run_id][0] is not spec:
            return None
        return self._aside.pop(spec.run_id)[1]

    async def _told(self, started: Started, spec: RunSpec) -> Started:
        """A sandbox that waited, told what to run."""
        try:
            self._starter.tell(started, spec)
        except BaseException:
            await self._starter.end(started)  # by itself: the pool that kept it may have ended
            raise
        return started

    async def _cold(self, spec: RunSpec) -> Started | Outcome:
        """A sandbox started for this run; or the outcome that says why there is none."""
        try:
            group = self._starter.group(spec)
        except OSError as error:
            # There were some when this daemon started. Nothing runs with less than it has told of.
            raise TierUnavailableError(
                "CGROUPS_GONE", f"no control group can be made now: {error.strerror}", _DELEGATE
            ) from None
        try:
            return await self._starter.start(spec, group)
        except NotStartedError as fault:
            _refuse_if_forbidden()
            return failed(str(fault), fault.breach, self._starter.controls(spec, group))

    async def _through(self, spec: RunSpec, output: OutputSink, started: Started) -> Outcome:
        """From the gate to the end. What is left of it is taken down after the answer."""
        launched, group, scratch = started.launched, started.group, started.scratch
        supervisor = Supervisor(spec, self._settings, launched, group, output, scratch)
        try:
            try:
                await supervisor.watch(started.fds)
            finally:
                await supervisor.end()  # cancelled, it still runs; else nothing of it is left
            if supervisor.output.failure is not None:
                raise supervisor.output.failure
            code = launch.exit_code(launched)
            if group.enforces:
                supervisor.measure()
            controls = enforcement.started(
                started.controls, ahead=started.ahead, counted=supervisor.counted
            )
            return conclude(spec, supervisor, code, group.breached(), controls)
        except OSError as fault:
            return failed(str(fault), group.breached(), started.controls)
        finally:
            launched.wipe()
            supervisor.output.forget()
            await self._pool.put_away(started)


def _refuse_if_forbidden() -> None:
    """Where a sandbox could not be built: say so if user namespaces were switched off since."""
    for missing in forbidding():
        raise TierUnavailableError(
            "USER_NAMESPACES_OFF", f"no user namespaces: {missing.reason}", missing.fix
        )
