"""One sandbox of the process tier from its start to its end, whatever happens between.

Trusted to leave nothing: what `start` could not finish it takes down again, and `end` kills the
tree, waits for it in bounded time and removes the groups. Raises `SpecRefusedError` and
`NotStartedError` from `start`; nothing from `end`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from sandbox import enforcement, launch, places, spawn, waiting
from sandbox.cgroup import Cgroups, RunGroup
from sandbox.descriptors import Descriptors
from sandbox.errors import SpecRefusedError
from sandbox.launch import Launched
from sandbox.outcome import Control, LimitName
from sandbox.scratch import Scratch
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec

_FIRST_LOOK = 0.002
_THREADS = 2  # that take scratches down


class NotStartedError(Exception):
    """The sandbox could not be built; with the limit that was hit over it, if one was."""

    def __init__(self, message: str, breach: LimitName | None) -> None:
        super().__init__(message)
        self.breach = breach


@dataclass(slots=True)
class Started:
    """A sandbox past its gate. `ahead`: it waits to be told what to run.

    `controls` are those of the run it was started for, or of any of its shape.
    """

    run_id: str
    fds: Descriptors
    launched: Launched
    group: RunGroup
    scratch: Scratch
    controls: Mapping[str, Control]
    ahead: bool = False
    bounds: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.bounds = tuple(str(place) for place in self.group.join)

    @property
    def usable(self) -> bool:
        """Whether its init still runs, and what bounds it can still be read."""
        there = all(os.access(place, os.F_OK) for place in self.bounds)
        return there and not spawn.ended(self.launched.init_fd)


class Starter:
    """Starts and ends the sandboxes of one daemon."""

    def __init__(self, settings: ProcessSettings, cgroups: Cgroups) -> None:
        self._settings = settings
        self._cgroups = cgroups
        self._threads = anyio.CapacityLimiter(_THREADS)

    def group_name(self, run_id: str) -> str:
        """What the groups of a run are called."""
        return f"stockade-{self._settings.instance}-{run_id}"

    def group(self, spec: RunSpec) -> RunGroup:
        """The groups of a run, made."""
        try:
            return self._cgroups.create(self.group_name(spec.run_id), spec.limits)
        except FileExistsError:
            raise SpecRefusedError(
                "RUN_ID_IN_USE", "this run id was used", "use a new id"
            ) from None

    async def start(self, spec: RunSpec, group: RunGroup, *, ahead: bool = False) -> Started:
        """Build the sandbox of `spec`; with `ahead`, its shell reads what to run."""
        fds, launched = Descriptors(), None
        try:
            launched = launch.begin(spec, self._settings, group, fds, ahead=ahead)
            with anyio.CancelScope(shield=True):
                # Milliseconds, and bounded. Cancelled in the middle, we would not know the child
                # that has to be killed.
                await launch.bound(launched, spec, self._settings, group, fds)
        except (launch.LaunchError, OSError) as fault:
            breach = group.breached()
            await self._take_down(spec.run_id, launched, group, fds)
            raise NotStartedError(str(fault), breach) from None
        except BaseException:
            await self._take_down(spec.run_id, launched, group, fds)
            raise
        scratch, controls = Scratch(spec.limits, fds), self.controls(spec, group)
        return Started(spec.run_id, fds, launched, group, scratch, controls, ahead)

    def controls(self, spec: RunSpec, group: RunGroup) -> Mapping[str, Control]:
        """What enforces each control of a run in these groups."""
        return enforcement.report(spec, self._settings, group, self._cgroups.description)

    async def settle(self, started: Started) -> None:
        """Until a sandbox that was started ahead is built, and there is a hold of its scratch.

        Not for longer than a start may take: where there can be no hold the run is told so.
        """
        pause = _FIRST_LOOK
        with anyio.move_on_after(self._settings.setup_seconds):
            while not started.scratch.pin(started.launched.init_pid) and started.usable:
                if started.scratch.barred:
                    return
                await anyio.sleep(pause)
                pause = min(2 * pause, self._settings.poll_seconds)

    @staticmethod
    def tell(started: Started, spec: RunSpec) -> None:
        """Have a sandbox that was started ahead run `spec`."""
        launched, fds = started.launched, started.fds
        # While it still waits: what runs now may be over before there is time to look again.
        started.scratch.pin(launched.init_pid)
        launched.secret = waiting.commands(spec)
        launched.write(launched.stdin, memoryview(spec.stdin), fds)
        launched.write(launched.commands, memoryview(launched.secret), fds)

    async def end(self, started: Started) -> None:
        """Leave nothing of it: also when cancelled, and in bounded time."""
        await self._take_down(
            started.run_id, started.launched, started.group, started.fds, started.scratch
        )

    def same_places(self, started: Started, spec: RunSpec) -> bool:
        """Whether what it has bound is still what these paths name; refuses as a start would."""
        with Descriptors() as fds:
            found = [
                places.identity(places.pin(one.source, self._settings.root_becomes, fds))
                for one in launch.bound_mounts(spec)
            ]
        return tuple(found) == started.launched.places

    async def _take_down(
        self,
        run_id: str,
        launched: Launched | None,
        group: RunGroup,
        fds: Descriptors,
        scratch: Scratch | None = None,
    ) -> None:
        with anyio.CancelScope(shield=True), fds:
            try:
                if launched is not None:
                    await self._kill(run_id, launched, group)
                if scratch is not None and scratch.heavy:
                    await anyio.to_thread.run_sync(scratch.let_go, limiter=self._threads)
            finally:
                await self._remove(group)

    async def _remove(self, group: RunGroup) -> None:
        """The group, once the last of it has left: the kernel does not tell when."""
        pause = _FIRST_LOOK
        with anyio.move_on_after(self._settings.cleanup_seconds):
            while not group.remove():
                if pause > _FIRST_LOOK:  # what was killed with its init is most likely dying
                    group.kill()
                await anyio.sleep(pause)
                pause = min(2 * pause, self._settings.poll_seconds)

    async def _kill(self, run_id: str, launched: Launched, group: RunGroup) -> None:
        launched.kill()
        if launched.init_fd < 0:
            # Its init is not known, so that not everything goes with it.
            group.kill()
            launch.kill_marked(self._settings, run_id)
        with anyio.move_on_after(self._settings.cleanup_seconds):
            await spawn.until_ended(launched.child.pidfd)
            if launched.init_fd >= 0:
                await spawn.until_ended(launched.init_fd)
        spawn.reap(launched.child.pidfd)
        if launched.init_fd >= 0:
            spawn.reap(launched.init_fd)  # ours only if we are a subreaper, or pid 1
