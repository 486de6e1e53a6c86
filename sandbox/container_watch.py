"""A run in a container, from its request to its end: streams, clocks, limits, and who ended it.

The first verdict wins, and killing the container is part of reaching one. Both streams come over
one connection, so a reader that does not read holds up both, the report behind them too: when the
time is over, what is left is read without being passed on, to learn whether the tool had ended by
then. Leaves: nothing but cancellation; a sink's exception is kept in `output.failure`.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable

import anyio

from sandbox.box import Box, BoxError, Report, Trailer
from sandbox.container_settings import ContainerSettings
from sandbox.giving_way import GivingWay
from sandbox.outcome import End, LimitName
from sandbox.spec import RunSpec
from sandbox.streams import Output
from sandbox.tier import OutputSink, Stream

_CATCH_UP_SECONDS = 1.0


class ContainerWatch:
    """Watches one run. Mutable, used once."""

    def __init__(
        self,
        spec: RunSpec,
        settings: ContainerSettings,
        box: Box,
        sink: OutputSink,
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._spec, self._settings, self._box = spec, settings, box
        self._kill = kill
        self.output = Output(spec.limits.output_bytes, sink, self._over_output)
        self._trailers: dict[Stream, Trailer] = {
            "stdout": Trailer(box.nonce),
            "stderr": Trailer(box.nonce),
        }
        self._began = time.monotonic()
        self._cpu_before = _cpu_seconds(box) or 0.0
        self._reading = anyio.CancelScope()
        self._delivery: anyio.CancelScope | None = None
        self.verdict: tuple[End, LimitName | None] | None = None
        self.report: Report | None = None
        self.fault = ""
        self._breach: LimitName | None = None
        self.cut_short = False
        self._giving_way = GivingWay(box.group, settings.gives_way_after)
        self.wall_seconds = 0.0
        self.cpu_seconds: float | None = None
        self.peak_memory: int | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the request was sent."""
        return time.monotonic() - self._began

    async def run(self, frame: memoryview) -> None:
        """Until the tool has ended and its output is delivered, or the container is killed."""
        # Before anybody else has a turn: the container works while others are told of its start.
        rest = self._box.offer(frame, memoryview(self._spec.stdin))
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._box.send, rest)
            beside.start_soon(self._enforce)
            beside.start_soon(self._look_last)
            with self._reading:
                await self._follow()
            self.wall_seconds = self.elapsed
            beside.cancel_scope.cancel()
        self.measure()

    async def _follow(self) -> None:
        """Everything that comes, until both streams have said how the tool ended."""
        try:
            while self.report is None and (piece := await self._box.read()) is not None:
                stream, data = piece
                await self._pass_on(stream, self._trailers[stream].feed(data))
                reports = [trailer.report for trailer in self._trailers.values()]
                self.report = reports[0] if all(reports) else None
                await self.output.pass_turn(len(data))
            if self.report is None:
                for stream, trailer in self._trailers.items():
                    await self._pass_on(stream, trailer.finish())
        except BoxError as fault:
            self.fault = str(fault)

    async def _pass_on(self, stream: Stream, data: bytes) -> None:
        if not data or self.cut_short or self.output.failure is not None:
            return
        with anyio.CancelScope() as self._delivery:
            try:
                await self.output.deliver(stream, data)
            except Exception as error:  # noqa: BLE001 - the sink's own, handed back by `run`
                self.output.failure = error
                self.settle(End.CANCELLED)
        self._delivery = None

    def _over_output(self) -> None:
        self.settle(End.KILLED_BY_LIMIT, LimitName.OUTPUT)

    def settle(self, end: End, limit: LimitName | None = None) -> None:
        """Decide how the run ended, unless it is decided. Whoever enforces then kills."""
        self.verdict = self.verdict or (end, limit)
        self.kill()

    def kill(self) -> None:
        """Kill what is left of it, and have that end soon."""
        self._giving_way.end()
        self._box.kill()

    async def _enforce(self) -> None:
        """The clock, and the limits that have to be looked at."""
        while self.verdict is None:
            left = self._spec.limits.wall_seconds - self.elapsed
            over = self.breached() or self._over_cpu()
            if over is not None:
                self.settle(End.KILLED_BY_LIMIT, over)
            elif left <= 0:
                await self._catch_up()
                self.settle(End.TIMED_OUT, LimitName.WALL)
            else:
                await anyio.sleep(min(left, self._settings.poll_seconds))
                self.measure()
                self._giving_way.look(self.cpu_seconds)
        await self._kill()
        await anyio.sleep(self._settings.drain_seconds)
        self.cut_short = True
        self._reading.cancel()

    async def _look_last(self) -> None:
        """At its death: the engine takes the groups away before it closes the streams."""
        await self._box.died()
        self.measure()
        self.breached()

    async def _catch_up(self) -> None:
        """A reader that does not read must not make a tool that has ended look as if it ran."""
        if self._delivery is not None:
            self.cut_short = True
            self._delivery.cancel()
            await anyio.sleep(_CATCH_UP_SECONDS)

    def measure(self) -> None:
        """Take the figures of the whole container; it may be gone, then the last ones stay."""
        try:
            cpu, memory = _cpu_seconds(self._box), self._box.group.peak_memory()
        except OSError:
            return
        if cpu is not None:
            self.cpu_seconds = max(self.cpu_seconds or 0.0, cpu - self._cpu_before)
        if memory is not None:
            self.peak_memory = max(self.peak_memory or 0, memory)

    def breached(self) -> LimitName | None:
        """The limit the kernel has reported as hit, if any; once seen, it stays."""
        with contextlib.suppress(OSError):
            self._breach = self._breach or self._box.group.breached()
        return self._breach

    def _over_cpu(self) -> LimitName | None:
        used, allowed = self.cpu_seconds, self._spec.limits.cpu_seconds
        return LimitName.CPU if used is not None and used >= allowed else None


def _cpu_seconds(box: Box) -> float | None:
    try:
        return box.group.cpu_seconds()
    except OSError:
        return None  # the container is gone, and its groups with it: what is read from it says so
