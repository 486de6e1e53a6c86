"""A run from its gate to its end: streams, clocks, limits, and who ended it.

The first verdict wins, and killing the tree is part of reaching one. Trusted to stop waiting for
the tool's relatives: the end is the end of the tool itself, then everything else is killed, then
what is already in the pipes is delivered, within bounds.
"""

import contextlib
import time
from collections.abc import AsyncIterator

import anyio

from sandbox import processes, spawn
from sandbox.cgroup import RunGroup
from sandbox.descriptors import Descriptors
from sandbox.giving_way import GivingWay
from sandbox.launch import Launched
from sandbox.outcome import End, LimitName
from sandbox.scratch import Scratch
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec
from sandbox.streams import Output, feed
from sandbox.tier import OutputSink

_GONE_SECONDS = 1.0
_FIRST_LOOK = 0.001


class Supervisor:
    """Watches one run. Mutable, used once."""

    def __init__(
        self,
        spec: RunSpec,
        settings: ProcessSettings,
        launched: Launched,
        group: RunGroup,
        sink: OutputSink,
        scratch: Scratch,
    ) -> None:
        self._spec, self._settings = spec, settings
        self._launched, self._group = launched, group
        self._began = time.monotonic()
        self._scratch = scratch
        self.output = Output(spec.limits.output_bytes, sink, self._over_output)
        self.verdict: tuple[End, LimitName | None] | None = None
        self.cut_short = False
        self._gone = False
        self._giving_way = GivingWay(group, settings.give_way_seconds)
        self.wall_seconds = 0.0
        self.cpu_seconds: float | None = None
        self.peak_memory: int | None = None

    def settle(self, end: End, limit: LimitName | None = None) -> None:
        """Decide how the run ended, unless it is decided, and kill what is left of it."""
        self.verdict = self.verdict or (end, limit)
        self.kill()

    def kill(self) -> None:
        """Kill what is left of it, and have that end soon.

        With its init the kernel kills all of a pid namespace at once, however many there are: the
        group need not be gone through for that.
        """
        self._giving_way.end()
        self._launched.kill()

    async def end(self) -> None:
        """Kill what is left of it and see it gone, also for whoever has been cancelled."""
        self.kill()
        if not self._gone:
            with anyio.CancelScope(shield=True):
                await self._see_gone()

    async def _see_gone(self) -> None:
        with anyio.move_on_after(_GONE_SECONDS):
            # Readable only when every process of the pid namespace is gone.
            await spawn.until_ended(self._launched.init_fd)
            self._gone = True

    def _over_output(self) -> None:
        self.settle(End.KILLED_BY_LIMIT, LimitName.OUTPUT)

    def _sink_failed(self) -> None:
        self.settle(End.CANCELLED)

    @property
    def scratch_full(self) -> bool:
        """Whether the tool ended with its scratch full."""
        return self._scratch.full

    @property
    def counted(self) -> bool:
        """Whether its files were counted; or it was over before they had to be."""
        soon = self.wall_seconds < self._settings.poll_seconds
        return self._scratch.pinned or (soon and not self._scratch.barred)

    @property
    def elapsed(self) -> float:
        """Seconds since the gate was opened."""
        return time.monotonic() - self._began

    async def watch(self, fds: Descriptors) -> None:
        """Until the tool has ended and its output is delivered."""
        launched = self._launched
        async with anyio.create_task_group() as pumps:
            pumps.start_soon(self.output.pump, launched.stdout, "stdout", self._sink_failed)
            pumps.start_soon(self.output.pump, launched.stderr, "stderr", self._sink_failed)
            async with self._beside(fds):
                await self._ended()
            self._scratch.look()
            # Every writer is dead, so what is left is at most two pipes full.
            pumps.cancel_scope.deadline = anyio.current_time() + self._settings.drain_seconds
        self.cut_short = pumps.cancel_scope.cancelled_caught

    @contextlib.asynccontextmanager
    async def _beside(self, fds: Descriptors) -> AsyncIterator[None]:
        """What is still to be done for the tool while it runs; mostly nothing."""
        if self._scratch.pinned and not self._launched.unsent:
            yield
            return
        async with anyio.create_task_group() as beside:
            if not self._scratch.pinned:
                beside.start_soon(self._take_hold)
            for fd, rest in self._launched.unsent.items():
                beside.start_soon(feed, fd, rest, fds.close)
            yield
            beside.cancel_scope.cancel()

    async def _take_hold(self) -> None:
        """Of the scratch, which bubblewrap builds meanwhile; no event says when it is there."""
        pause = _FIRST_LOOK
        while not self._scratch.pin(self._launched.init_pid):
            await anyio.sleep(pause)
            pause = min(2 * pause, self._settings.poll_seconds)

    async def _ended(self) -> None:
        """The tool has ended when bubblewrap has; its relatives are not waited for but killed."""
        await self._within_limits()
        self.wall_seconds = self.elapsed
        self._giving_way.end()
        spawn.kill(self._launched.init_fd)
        await self._see_gone()

    async def _within_limits(self) -> None:
        """Until bubblewrap has ended; on time, or when a limit has to be looked at, by our hand."""
        monitor, cost = self._launched.child.pidfd, 0.0
        if not self._group.enforces:
            self.measure()  # a group remembers what a short run used; /proc does not
        while self.verdict is None:
            # Looking at a large tree without cgroups is not cheap: at most a twentieth of a core.
            left = max(0.0, self._spec.limits.wall_seconds - self.elapsed)
            with anyio.move_on_after(min(left, max(self._settings.poll_seconds, 20 * cost))):
                await anyio.wait_readable(monitor)
                return
            cost = -time.monotonic()
            self._look()
            cost += time.monotonic()
        await anyio.wait_readable(monitor)

    def _look(self) -> None:
        """The limits that have to be looked at, and the clock."""
        self.measure()
        self._giving_way.look(self.cpu_seconds)
        left = self._spec.limits.wall_seconds - self.elapsed
        over = self._group.breached() or self._over_cpu() or self._over_memory()
        over = over or (LimitName.DISK if self._scratch.too_many else None)
        if over is not None:
            self.settle(End.KILLED_BY_LIMIT, over)
        elif left <= 0:
            self.settle(End.TIMED_OUT, LimitName.WALL)

    def measure(self) -> None:
        """Take the figures of the whole tree, from the group or else from /proc."""
        self._scratch.look()
        cpu, memory = self._group.cpu_seconds(), self._group.peak_memory()
        if cpu is None or memory is None:
            seen = processes.cpu_and_memory(self._launched.init_pid)
            cpu = seen[0] if cpu is None else cpu
            memory = seen[1] if memory is None else memory
        self.cpu_seconds = max(self.cpu_seconds or 0.0, cpu)
        self.peak_memory = max(self.peak_memory or 0, memory)

    def _over_memory(self) -> LimitName | None:
        """Without a group: the tree as a whole, since RLIMIT_AS gives every child its own."""
        allowed = self._spec.limits.memory_bytes
        if LimitName.MEMORY in self._group.enforces or (self.peak_memory or 0) < allowed:
            return None
        held = processes.proportional_memory(self._launched.init_pid)
        return LimitName.MEMORY if held >= allowed else None

    def _over_cpu(self) -> LimitName | None:
        used, allowed = self.cpu_seconds, self._spec.limits.cpu_seconds
        return LimitName.CPU if used is not None and used >= allowed else None
