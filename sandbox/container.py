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
from sandbox.docker_engine import EngineError
from sandbox.engine_answers import Ended, Engine
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
        self._aside: dict[str, tuple[RunSpec, Box]] = {}
        self._pool = Pool(
            self._starter.start, lambda box: box.alive, self._starter.discard, settings.pool
        )

    def set_aside(self, spec: RunSpec) -> None:
        """See the interface: as far as the engine need not be asked anything for it."""
        self._check(spec)
        image = self._starter.known_image(spec.image)
        if self._engine is None or image is None:
            return
        profile = profile_of(spec, image)
        if self._pool.holds(profile) and (box := self._waiting(profile)) is not None:
            box.rouse(frame.beginning(spec))
            self._aside[spec.run_id] = spec, box

    async def let_go(self, run_id: str) -> None:
        """See the interface."""
        if (aside := self._aside.pop(run_id, None)) is not None:
            await self._pool.put_away(aside[1])

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec`, in a container that waits for the like of it or in a new one."""
        if not self._is_aside(spec) or spec.run_id in self._running:
            self._check(spec)
        self._running.add(spec.run_id)
        try:
            return await self._run(spec, output, await self._ready())
        finally:
            self._running.discard(spec.run_id)
            await self.let_go(spec.run_id)  # nothing, unless it came to no start

    def _is_aside(self, spec: RunSpec) -> bool:
        """Whether a box is held for this very spec: what it was roused with is of no other."""
        return spec.run_id in self._aside and self._aside[spec.run_id][0] is spec

    def _check(self, spec: RunSpec) -> None:
        if not spec.image:
            check_startable(spec)
        if spec.run_id in self._running or spec.run_id in self._aside:
            raise SpecRefusedError("RUN_ID_IN_USE", "this run is already running", "use a new id")

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
            profile = await self._profile(spec)
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
            with _unavailable(whatever=True):
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

    async def _run(self, spec: RunSpec, output: OutputSink, engine: Engine) -> Outcome:
        try:
            with _unavailable():
                box, ahead = await self._have(spec)
        except (EngineError, BoxError) as fault:
            self._refuse_if_gone(engine)
            return failed(str(fault), None, report(spec, self.settings, engine, NoGroup()))
        try:
            return await self._watch(spec, output, engine, box, ahead=ahead)
        finally:
            await self._pool.put_away(box)

    async def _have(self, spec: RunSpec) -> tuple[Box, bool]:
        """A box for `spec`; whether it had waited."""
        try:
            return await self._take(await self._profile(spec), spec)
        except EngineError as error:
            if not error.image_gone:
                raise
        # Somebody has tidied up the engine's images since it was found.
        return await self._take(await self._profile(spec), spec)

    async def _profile(self, spec: RunSpec) -> Profile:
        return profile_of(spec, await self._starter.image(spec.image))

    def _refuse_if_gone(self, engine: Engine) -> None:
        """Where nothing could be started: say so if the runtime was taken away since."""
        program = engine.runtimes[self.settings.runtime]
        if program and shutil.which(program) is None:
            raise TierUnavailableError(
                "RUNTIME_MISSING",
                f"Docker Engine has {self.settings.runtime} at {program}, which is gone",
                "`make engines` installs and registers it",
            )

    def _waiting(self, profile: Profile) -> Box | None:
        """A box that waits, in which the mounts are what their names mean now."""
        wanted = places(profile.mounts, self.settings)
        while can_wait(profile) and (box := self._pool.ready(profile)) is not None:
            if box.mounted.places == wanted:
                return box
            self._pool.end(box)
        return None

    async def _take(self, profile: Profile, spec: RunSpec) -> tuple[Box, bool]:
        """A box in which the mounts are what their names mean now; whether it had waited."""
        wanted = places(profile.mounts, self.settings)
        if spec.run_id in self._aside:
            box = self._aside[spec.run_id][1]
            if box.alive and box.mounted.places == wanted:
                del self._aside[spec.run_id]
                return box, True
            await self.let_go(spec.run_id)
        if (waiting := self._waiting(profile)) is not None:
            return waiting, True
        if can_wait(profile):
            box = await self._pool.take(profile, spec.asker)
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

        gvisor, own = self.settings.gvisor, box.own_streams
        request = frame.build(spec, spec.argv[0], _GROUPS, gvisor=gvisor, own_streams=own)
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
def _unavailable(*, whatever: bool = False) -> Iterator[None]:
    """An engine that is not there to be asked, or `whatever` it did, makes the tier unavailable."""
    try:
        yield
    except EngineError as error:
        if not (error.unreachable or whatever):
            raise
        raise TierUnavailableError(
            "DOCKER_UNREACHABLE",
            f"Docker Engine cannot be asked: {error}",
            "start it (`make engines`), and let this user reach its socket",
        ) from None


def _explain(outcome: Outcome) -> tuple[Missing, ...]:
    said = outcome.detail or f"the probe ended as {outcome.end.value}"
    return (Missing("container", f"the probe did not run: {said}", "see dockerd's log"),)
