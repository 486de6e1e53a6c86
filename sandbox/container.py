"""The container tier and the gVisor tier: one container per run, by Docker Engine.

Trusted to give a run nothing but what its spec grants, to end it with everything in its container,
and to leave nothing behind. A container is started with a launcher that waits; the run itself comes
over its standard input, so containers can wait ahead of time, and are used once either way. Refuses
rather than weakens. `run` raises `SpecRefusedError` and `TierUnavailableError` before the tool is
started, the sink's own exception, and cancellation; everything else is an `Outcome`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from sandbox import frame
from sandbox.box import Box, BoxError
from sandbox.cgroup import NoGroup
from sandbox.conclude import failed
from sandbox.container_config import Profile, can_wait, profile_of
from sandbox.container_end import conclude
from sandbox.container_mounts import places
from sandbox.container_report import report
from sandbox.container_settings import ContainerSettings
from sandbox.container_start import ContainerStarter
from sandbox.container_watch import ContainerWatch
from sandbox.docker_engine import Ended, Engine, EngineError
from sandbox.errors import SpecRefusedError, TierUnavailableError
from sandbox.hostview import check_startable
from sandbox.outcome import LimitName, Outcome
from sandbox.pool import Pool
from sandbox.probe import observe
from sandbox.spec import Mount, RunSpec
from sandbox.tier import Missing, OutputSink, ProbeReport

_GROUPS = frozenset({LimitName.MEMORY, LimitName.CPU, LimitName.PIDS})


class ContainerSandbox:
    """One container tier of one daemon."""

    def __init__(self, settings: ContainerSettings) -> None:
        self.settings = settings
        self.name = settings.tier
        self._starter = ContainerStarter(settings)
        self._engine: Engine | None = None
        self._running: set[str] = set()
        self._pool = Pool(
            self._starter.start, lambda box: box.alive, self._starter.discard, settings.pool
        )

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec`, in a container that waits for the like of it or in a new one."""
        if not spec.image:
            check_startable(spec)
        if spec.run_id in self._running:
            raise SpecRefusedError("RUN_ID_IN_USE", "this run is already running", "use a new id")
        self._running.add(spec.run_id)
        try:
            engine = await self._ready()
            with _unavailable():
                profile = profile_of(spec, await self._starter.image(spec.image))
            return await self._run(spec, profile, output, engine)
        finally:
            self._running.discard(spec.run_id)

    async def probe(self) -> ProbeReport:
        """Run a sandbox and observe what it refuses."""
        self._engine = None
        # A mount by descriptor, which an engine in another namespace than ours cannot make.
        return await observe(self, self.settings, _explain, (Mount("/usr", "/probe"),))

    async def keep(self) -> None:
        """Keep containers waiting for what is asked for, until cancelled."""
        # Also with none to keep: whoever keeps it takes containers down beside the calls.
        await self._pool.keep()

    async def warm(self, spec: RunSpec) -> bool:
        """Wait until one is started ahead for runs like `spec`; false if none will be."""
        with _unavailable():
            profile = profile_of(spec, await self._starter.image(spec.image))
            return can_wait(profile) and await self._pool.stock(profile)

    async def altered(self) -> None:
        """Until the engine goes, comes back, or is another; what it kept is removed meanwhile."""
        before = await self._seen()
        while True:
            await anyio.sleep(self.settings.look_seconds)
            if self._starter.left:
                await self.reap()
            if await self._seen() != before:
                return

    async def close(self) -> None:
        """Remove what the engine still has of us; give back the connections to it."""
        await self._starter.close()

    @property
    def ready(self) -> int:
        """How many were started ahead and wait."""
        return self._pool.waiting

    async def reap(self) -> int:
        """Remove what an earlier daemon of this instance left; how many of it still ran."""
        try:
            return await self._starter.reap()
        except EngineError:
            return 0  # the probe says why

    async def _seen(self) -> Engine | None:
        try:
            return await self._starter.ask(self._starter.docker.info)
        except EngineError:
            return None

    async def _ready(self) -> Engine:
        """The engine, which has to be there and know the runtime."""
        if self._engine is None:
            with _unavailable():
                engine = await self._starter.ask(self._starter.docker.info)
            if self.settings.runtime not in engine.runtimes:
                raise TierUnavailableError(
                    "RUNTIME_MISSING",
                    f"Docker Engine has no runtime {self.settings.runtime}",
                    "`make engines` installs and registers it",
                )
            if not (engine.limits_memory and engine.limits_pids):
                raise TierUnavailableError(
                    "CGROUPS_MISSING",
                    "Docker Engine has no control groups that bound memory and processes",
                    "mount the memory and pids hierarchies, and restart dockerd",
                )
            self._engine = engine
        return self._engine

    async def _run(
        self, spec: RunSpec, profile: Profile, output: OutputSink, engine: Engine
    ) -> Outcome:
        try:
            with _unavailable():
                box, ahead = await self._take(profile, spec.asker)
        except (EngineError, BoxError) as fault:
            self._refuse_if_gone(engine)
            return failed(str(fault), None, report(spec, self.settings, engine, NoGroup()))
        try:
            return await self._watch(spec, output, engine, box, ahead=ahead)
        finally:
            await self._pool.put_away(box)

    def _refuse_if_gone(self, engine: Engine) -> None:
        """Where nothing could be started: say so if the runtime was taken away since."""
        program = engine.runtimes[self.settings.runtime]
        if program and shutil.which(program) is None:
            raise TierUnavailableError(
                "RUNTIME_MISSING",
                f"Docker Engine has {self.settings.runtime} at {program}, which is gone",
                "`make engines` installs and registers it",
            )

    async def _take(self, profile: Profile, asker: str) -> tuple[Box, bool]:
        """A box in which the mounts are what their names mean now; whether it had waited."""
        wanted = places(profile.mounts, self.settings)
        while can_wait(profile) and (box := self._pool.ready(profile)) is not None:
            if box.mounted.places == wanted:
                return box, True
            await self._pool.put_away(box)
        if can_wait(profile):
            box = await self._pool.take(profile, asker)
        else:
            box = await self._starter.start(profile)
        if box.mounted.places != wanted:
            await self._pool.put_away(box)
            raise SpecRefusedError(
                "MOUNT_SOURCE", "a mount source was replaced while the sandbox was built", "retry"
            )
        return box, False

    async def _watch(
        self, spec: RunSpec, output: OutputSink, engine: Engine, box: Box, *, ahead: bool
    ) -> Outcome:
        async def kill() -> None:
            if not box.kill():
                await self._starter.remove(box.container)

        request = frame.build(spec, spec.argv[0], _GROUPS, gvisor=self.settings.gvisor)
        watch = ContainerWatch(spec, self.settings, box, output, kill)
        try:
            await watch.run(memoryview(request))
            if watch.output.failure is not None:
                raise watch.output.failure
            breach = watch.breached()
            ended = None
            if not (watch.report or watch.verdict or breach):
                ended = await self._ended(box.container)
                breach = LimitName.MEMORY if await box.ran_out_of_memory() else None
            controls = report(spec, self.settings, engine, box.group, ahead=ahead)
            return conclude(spec, watch, breach, ended, controls)
        finally:
            request[:] = bytes(len(request))  # it held the secrets
            watch.output.forget()
            if watch.report is None:  # which says that nothing of the tool is left
                watch.kill()

    async def _ended(self, container: str) -> Ended | None:
        """How a container that fell silent ended; None if the engine cannot say."""
        docker = self._starter.docker
        with anyio.move_on_after(self.settings.drain_seconds):
            while True:
                try:
                    ended = await self._starter.ask(lambda: docker.ended(container))
                except EngineError:
                    return None
                if not ended.running:
                    return ended
                await anyio.sleep(self.settings.poll_seconds)
        return None


@contextmanager
def _unavailable() -> Iterator[None]:
    """An engine that is not there to be asked makes the tier unavailable."""
    try:
        yield
    except EngineError as error:
        if not error.unreachable:
            raise
        raise TierUnavailableError(
            "DOCKER_UNREACHABLE",
            f"Docker Engine cannot be asked: {error}",
            "start it (`make engines`), and let this user reach its socket",
        ) from None


def _explain(outcome: Outcome) -> tuple[Missing, ...]:
    said = outcome.detail or f"the probe ended as {outcome.end.value}"
    return (Missing("container", f"the probe did not run: {said}", "see dockerd's log"),)
