"""The container tier and the gVisor tier: one container per run, by Docker Engine.

Trusted to give a run nothing but what its spec grants, to end it with everything in its container,
and to leave nothing behind. A container is started with a launcher that waits; the run itself comes
over its standard input, so containers can wait ahead of time, and are used once either way. Refuses
rather than weakens. `run` raises `SpecRefusedError` and `TierUnavailableError` before the tool is
started, the sink's own exception, and cancellation; everything else is an `Outcome`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from sandbox import frame, root_image
from sandbox.box import Box, BoxError
from sandbox.cgroup import NoGroup
from sandbox.conclude import failed
from sandbox.container_config import LEAST_PIDS, Profile, config, profile_of
from sandbox.container_end import conclude
from sandbox.container_report import report
from sandbox.container_settings import ContainerSettings
from sandbox.container_watch import ContainerWatch
from sandbox.descriptors import Descriptors
from sandbox.docker_engine import (
    INSTANCE_LABEL,
    TIER_LABEL,
    DockerEngine,
    Ended,
    Engine,
    EngineError,
)
from sandbox.errors import SpecRefusedError, TierUnavailableError
from sandbox.hostview import check_startable
from sandbox.outcome import LimitName, Outcome
from sandbox.pool import Pool
from sandbox.probe import observe
from sandbox.spec import Mount, RunSpec
from sandbox.tier import Missing, OutputSink, ProbeReport

T = TypeVar("T")

_LAUNCHER = Path(__file__).with_name("launcher.py")
_THREADS = 8
_GROUPS = frozenset({LimitName.MEMORY, LimitName.CPU, LimitName.PIDS})


class ContainerSandbox:
    """One container tier of one daemon."""

    def __init__(self, settings: ContainerSettings) -> None:
        self.settings = settings
        self.name = settings.tier
        self._docker = DockerEngine(settings.socket)
        self._engine: Engine | None = None
        self._images: dict[str, str] = {}
        self._running: set[str] = set()
        self._command = (*frame.PYTHON, "-c", _LAUNCHER.read_text("utf-8"))
        self._pool = Pool(self._start, lambda box: box.alive, self._discard, settings.pool)
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec`, in a container that waits for the like of it or in a new one."""
        if not spec.image:
            check_startable(spec)
        if spec.run_id in self._running:
            raise SpecRefusedError("RUN_ID_IN_USE", "this run is already running", "use a new id")
        self._running.add(spec.run_id)
        try:
            engine = await self._ready()
            return await self._run(spec, output, engine)
        finally:
            self._running.discard(spec.run_id)

    async def probe(self) -> ProbeReport:
        """Run a sandbox and observe what it refuses."""
        self._engine = None
        return await observe(self, self.settings, _explain)

    async def keep(self) -> None:
        """Keep containers waiting for what is asked for, until cancelled."""
        await self._pool.keep()

    async def altered(self) -> None:
        """Until the engine goes, comes back, or is another."""
        before = await self._seen()
        while True:
            await anyio.sleep(self.settings.look_seconds)
            if await self._seen() != before:
                return

    async def _seen(self) -> Engine | None:
        try:
            return await self._ask(self._docker.info)
        except EngineError:
            return None

    async def reap(self) -> int:
        """Remove what an earlier daemon of this instance left; how many of it still ran."""
        labels = {INSTANCE_LABEL: self.settings.instance, TIER_LABEL: self.name}
        try:
            left = await self._ask(lambda: self._docker.containers(labels))
        except EngineError:
            return 0  # the probe says why
        async with anyio.create_task_group() as group:
            for container, _ in left:
                group.start_soon(self._remove, container)
        return sum(runs for _, runs in left)

    async def _ready(self) -> Engine:
        """The engine, which has to be there and know the runtime."""
        if self._engine is None:
            try:
                engine = await self._ask(self._docker.info)
            except EngineError as error:
                raise _unavailable(error) from None
            if self.settings.runtime not in engine.runtimes:
                raise TierUnavailableError(
                    "RUNTIME_MISSING",
                    f"Docker Engine has no runtime {self.settings.runtime}",
                    "`make engines` installs and registers it",
                )
            self._engine = engine
        return self._engine

    async def _run(self, spec: RunSpec, output: OutputSink, engine: Engine) -> Outcome:
        profile = profile_of(spec, await self._image(spec.image))
        try:
            box = await self._take(profile)
        except EngineError as fault:
            if fault.unreachable:
                raise _unavailable(fault) from None
            return failed(str(fault), None, report(spec, self.settings, engine, NoGroup()))
        except BoxError as fault:
            return failed(str(fault), None, report(spec, self.settings, engine, NoGroup()))
        try:
            return await self._watch(spec, output, engine, box)
        finally:
            box.kill()
            await self._pool.put_away(box)

    async def _watch(self, spec: RunSpec, output: OutputSink, engine: Engine, box: Box) -> Outcome:
        async def kill() -> None:
            if not box.kill():
                await self._remove(box.container)

        elsewhere = _GROUPS if engine.limits_memory else _GROUPS - {LimitName.MEMORY}
        request = frame.build(spec, spec.argv[0], elsewhere, gvisor=self.settings.gvisor)
        watch = ContainerWatch(spec, self.settings, box, output, kill)
        try:
            await watch.run(memoryview(request))
            if watch.output.failure is not None:
                raise watch.output.failure
            breach = watch.breached()
            ended = None if watch.report or watch.verdict else await self._ended(box.container)
            controls = report(spec, self.settings, engine, box.group)
            return conclude(spec, watch, breach, ended, controls)
        finally:
            request[:] = bytes(len(request))  # it held the secrets
            watch.output.forget()

    async def _ended(self, container: str) -> Ended | None:
        """How a container that fell silent ended; None if the engine cannot say."""
        with anyio.move_on_after(self.settings.drain_seconds):
            while True:
                try:
                    ended = await self._ask(lambda: self._docker.ended(container))
                except EngineError:
                    return None
                if not ended.running:
                    return ended
                await anyio.sleep(self.settings.poll_seconds)
        return None

    async def _take(self, profile: Profile) -> Box:
        """A box in which the mounts are what their names mean now."""
        places = _places(profile.mounts)
        while (box := self._pool.ready(profile)) is not None:
            if box.places == places:
                return box
            await self._pool.put_away(box)
        box = await self._pool.take(profile)
        if box.places != places:
            await self._pool.put_away(box)
            raise _moved()
        return box

    async def _image(self, reference: str) -> str:
        """The id of an image: the tool's own, or the empty root, which is made if need be."""
        if reference not in self._images:
            try:
                found = await self._ask(lambda: self._find_image(reference))
            except EngineError as error:
                raise _unavailable(error) from None
            self._images[reference] = found
        return self._images[reference]

    def _find_image(self, reference: str) -> str:
        if not reference:
            archive, tag = root_image.archive(self.settings.inside_uid)
            name = f"{root_image.REPOSITORY}:{tag}"
            if self._docker.image(name) is None:
                self._docker.import_image(archive, root_image.REPOSITORY, tag)
            reference = name
        found = self._docker.image(reference)
        if found is None:
            raise SpecRefusedError(
                "IMAGE_MISSING",
                "Docker Engine does not have the tool's image",
                f"docker pull {reference}, or docker load; Stockade fetches nothing itself",
            )
        if (found.get("Config") or {}).get("Volumes"):
            # Docker would make each a writable directory on the host's disk.
            raise SpecRefusedError(
                "IMAGE_REFUSED", "the tool's image declares volumes", "use one that does not"
            )
        return str(found["Id"])

    async def _start(self, profile: Profile) -> Box:
        """A new container whose launcher waits."""
        with Descriptors() as fds:
            pins = {mount.target: _pin(mount, fds) for mount in profile.mounts}
            sources = {mount.target: _source(mount, pins[mount.target]) for mount in profile.mounts}
            places = tuple(_identity(pins[mount.target]) for mount in profile.mounts)
            wanted = config(profile, self.settings, self._command, sources)
            attached = await self._ask(lambda: self._docker.start(wanted))
        box = Box.of(attached, places)
        try:
            with anyio.fail_after(self.settings.start_seconds):
                await box.ready()
            if self.settings.most_pids(profile.pids) < LEAST_PIDS:
                count = self.settings.most_pids(profile.pids)
                await self._ask(lambda: self._docker.limit_pids(box.container, count))
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._discard(box)
            if isinstance(error, TimeoutError):
                raise BoxError("the launcher did not start in time") from None
            raise
        return box

    async def _discard(self, box: Box) -> None:
        """Leave nothing of a box."""
        box.kill()
        try:
            await self._remove(box.container)
        finally:
            box.close()

    async def _remove(self, container: str) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._ask(lambda: self._docker.remove(container))
            except EngineError:
                return  # the next start reaps it

    async def _ask(self, question: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(question, limiter=self._threads)


def _pin(mount: Mount, fds: Descriptors) -> int:
    try:
        return fds.place(mount.source)
    except OSError:
        raise SpecRefusedError(
            "MOUNT_SOURCE",
            "a mount source does not exist, or is reached through a link",
            "give the real path of something that exists",
        ) from None


def _source(mount: Mount, pin: int) -> str:
    """What Docker is told to mount: our descriptor, where it takes one."""
    if os.path.isdir(f"/proc/self/fd/{pin}"):  # noqa: PTH112
        return f"/proc/{os.getpid()}/fd/{pin}"
    return mount.source


def _places(mounts: tuple[Mount, ...]) -> tuple[tuple[int, int], ...]:
    with Descriptors() as fds:
        return tuple(_identity(_pin(mount, fds)) for mount in mounts)


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _moved() -> SpecRefusedError:
    return SpecRefusedError(
        "MOUNT_SOURCE", "a mount source was replaced while the sandbox was built", "try again"
    )


def _unavailable(error: EngineError) -> TierUnavailableError:
    return TierUnavailableError(
        "DOCKER_UNREACHABLE",
        f"Docker Engine cannot be asked: {error}",
        "start it (`make engines`), and let this user reach its socket",
    )


def _explain(outcome: Outcome) -> tuple[Missing, ...]:
    said = outcome.detail or f"the probe ended as {outcome.end.value}"
    return (Missing("container", f"the probe did not run: {said}", "see dockerd's log"),)
