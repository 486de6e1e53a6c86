"""The process tier: one bubblewrap per run, seccomp, cgroups where writable, rlimits always.

Trusted to give a run nothing but what its spec grants, to end it with its whole tree, and to
leave nothing behind. Refuses rather than weakens: there is no path that starts a tool with a
control missing. `run` raises `SpecRefusedError` and `TierUnavailableError` before anything is
started, the sink's own exception, and cancellation; everything else is an `Outcome`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import anyio

from sandbox import cgroup, cgroup_hosts, enforcement, launch, spawn
from sandbox.conclude import conclude, failed
from sandbox.descriptors import Descriptors
from sandbox.diagnosis import forbidding
from sandbox.errors import SpecRefusedError, TierUnavailableError
from sandbox.hostview import check_startable
from sandbox.outcome import Control, Outcome
from sandbox.probe import observe
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec
from sandbox.supervise import Supervisor
from sandbox.tier import OutputSink, ProbeReport


class ProcessSandbox:
    """The process tier of one daemon."""

    name = "process"

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._cgroups = cgroup_hosts.find() if settings.use_cgroups else cgroup.NoCgroups("off")
        self._running: set[str] = set()

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec`. Call it from the event loop's own thread; the sandbox dies with that."""
        check_startable(spec)
        self._check_tier()
        if spec.run_id in self._running:
            raise SpecRefusedError("RUN_ID_IN_USE", "this run is already running", "use a new id")
        self._running.add(spec.run_id)
        try:
            return await self._run(spec, output)
        finally:
            self._running.discard(spec.run_id)

    async def probe(self) -> ProbeReport:
        """Run a sandbox and observe what it refuses."""
        return await observe(self, self._settings)

    async def reap(self) -> int:
        """Kill and remove what an earlier daemon of this instance left; how many runs that was.

        Runs of this object are not touched. Call it once, before the first run.
        """
        prefix = self._group_name("")
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

    def _group_name(self, run_id: str) -> str:
        return f"stockade-{self._settings.instance}-{run_id}"

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

    def _controls(self, spec: RunSpec, group: cgroup.RunGroup) -> Mapping[str, Control]:
        return enforcement.report(spec, self._settings, group, self._cgroups.description)

    async def _run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        try:
            group = self._cgroups.create(self._group_name(spec.run_id), spec.limits)
        except FileExistsError:
            raise SpecRefusedError(
                "RUN_ID_IN_USE", "this run id was used", "use a new id"
            ) from None
        except OSError as error:
            controls = self._controls(spec, cgroup.NoGroup())
            return failed(f"no cgroup could be made: {error}", None, controls)
        launched = None
        with Descriptors() as fds:
            try:
                launched = launch.begin(spec, self._settings, group, fds)
                return await self._supervise(spec, output, launched, group, fds)
            except (launch.LaunchError, OSError) as fault:
                _refuse_if_forbidden()
                return failed(str(fault), group.breached(), self._controls(spec, group))
            finally:
                await self._clean_up(spec, launched, group)

    async def _supervise(
        self,
        spec: RunSpec,
        output: OutputSink,
        launched: launch.Launched,
        group: cgroup.RunGroup,
        fds: Descriptors,
    ) -> Outcome:
        with anyio.CancelScope(shield=True):
            # Milliseconds, and bounded. Cancelled in the middle, we would not know the child
            # that has to be killed.
            await launch.bound(launched, spec, self._settings, group, fds)
        supervisor = Supervisor(spec, self._settings, launched, group, output)
        await supervisor.watch(fds)
        if supervisor.output.failure is not None:
            raise supervisor.output.failure
        code = launch.exit_code(launched)
        if group.enforces:
            supervisor.measure()
        return conclude(spec, supervisor, code, group.breached(), self._controls(spec, group))

    async def _clean_up(
        self, spec: RunSpec, launched: launch.Launched | None, group: cgroup.RunGroup
    ) -> None:
        """Leave nothing: also when cancelled, and in bounded time."""
        with anyio.CancelScope(shield=True):
            try:
                if launched is not None:
                    await self._end(spec, launched, group)
            finally:
                with anyio.move_on_after(self._settings.cleanup_seconds):
                    while not group.remove():
                        group.kill()
                        await anyio.sleep(0.002)

    async def _end(self, spec: RunSpec, launched: launch.Launched, group: cgroup.RunGroup) -> None:
        group.kill()
        launched.kill()
        if launched.init_fd < 0:
            launch.kill_marked(self._settings, spec.run_id)
        with anyio.move_on_after(self._settings.cleanup_seconds):
            await anyio.wait_readable(launched.child.pidfd)
            if launched.init_fd >= 0:
                await anyio.wait_readable(launched.init_fd)
        spawn.reap(launched.child.pidfd)
        if launched.init_fd >= 0:
            spawn.reap(launched.init_fd)  # ours only if we are a subreaper, or pid 1


def _refuse_if_forbidden() -> None:
    """Where a sandbox could not be built: say so if user namespaces were switched off since."""
    for missing in forbidding():
        raise TierUnavailableError(
            "USER_NAMESPACES_OFF", f"no user namespaces: {missing.reason}", missing.fix
        )
