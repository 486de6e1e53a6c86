"""Containers that wait: the image they are of, the mounts they have, their start and their end.

Trusted to mount what a name means at one moment, by descriptor, so that renaming comes too late,
and to say of a started container which places those were. Leaves nothing of a start that failed.
Raises `SpecRefusedError` for what no container can have, `EngineError` and `BoxError` for the rest.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from sandbox import foreign_root, frame, root_image
from sandbox.box import Box, BoxError
from sandbox.container_config import LEAST_PIDS, Profile, config
from sandbox.container_mounts import family, forget_copies, labels, mounted
from sandbox.container_settings import ContainerSettings
from sandbox.descriptors import Descriptors
from sandbox.docker_engine import DockerEngine, EngineError
from sandbox.errors import SpecRefusedError

T = TypeVar("T")
_LAUNCHER = [Path(__file__).with_name(name) for name in ("in_place.py", "launcher.py")]
_THREADS = 8
_SPARE = 2  # address spaces: one for what the tool becomes, one for what it starts


class ContainerStarter:
    """Starts and ends the containers of one tier."""

    def __init__(self, settings: ContainerSettings) -> None:
        self._settings = settings
        self.docker = DockerEngine(settings.socket)
        self._images: dict[str, str] = {}
        self._launcher = "\n".join(part.read_text("utf-8") for part in _LAUNCHER)
        self._threads = anyio.CapacityLimiter(_THREADS)
        # What bears our labels and is none of these was left by an earlier daemon, or while the
        # engine could not be asked to remove it.
        self._held: set[str] = set()
        self.left = False  # whether there may be some of those

    async def ask(self, question: Callable[[], T]) -> T:
        """Ask the engine, from a thread."""
        return await anyio.to_thread.run_sync(question, limiter=self._threads)

    async def image(self, reference: str) -> str:
        """The id of an image: the tool's own, or the empty root, which is made if need be."""
        if reference not in self._images:
            self._images[reference] = await self.ask(lambda: self._find_image(reference))
        return self._images[reference]

    async def start(self, profile: Profile) -> Box:
        """A new container whose launcher waits."""
        owner = _Owner()
        try:
            box = await self.ask(lambda: owner.given(self._build(profile), self._end))
        except BaseException:
            # Cancelled in the middle: whoever comes last of the thread and us ends the box.
            if (left := owner.gone()) is not None:
                with anyio.CancelScope(shield=True):
                    await self.discard(left)
            raise
        try:
            with anyio.fail_after(self._settings.start_seconds):
                await box.ready()
            count = self._settings.most_pids(profile.pids)
            if count < LEAST_PIDS:
                await self.ask(lambda: self.docker.limit_pids(box.container, count))
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self.discard(box)
            if isinstance(error, TimeoutError):
                raise BoxError("the launcher did not start in time") from None
            raise
        return box

    def _build(self, profile: Profile) -> Box:
        """A started container, in a thread. The descriptors it mounts from are open until then."""
        name = family(self._settings) + secrets.token_hex(8)
        self._held.add(name)
        try:
            return self._build_as(name, profile)
        except BaseException:
            self._held.discard(name)
            self.left = True  # an engine that failed in the middle may have kept a volume
            raise

    def _build_as(self, name: str, profile: Profile) -> Box:
        with Descriptors() as fds:
            below = foreign_root.PLACE if profile.own_image else ""
            start = foreign_root.command() if profile.own_image else frame.PYTHON
            found = mounted(profile.mounts, self._settings, name, fds, programs_at=below)
            try:
                spare = _SPARE if self._settings.gvisor and not profile.own_image else 0
                command = (*start, "-c", self._launcher, str(spare))
                wanted = config(profile, self._settings, command, found)
                return Box.of(self.docker.start(name, wanted, found.volumes), found)
            except BaseException:
                found.forget()
                self._images.clear()  # perhaps somebody removed one: it is looked for again
                raise

    async def discard(self, box: Box) -> None:
        """Leave nothing of a box."""
        with anyio.CancelScope(shield=True):
            await self.ask(lambda: self._end(box))

    def _end(self, box: Box) -> None:
        box.kill()
        removed = False
        try:
            with suppress(EngineError):  # it is dead; the next look reaps what the engine has of it
                self.docker.remove(box.container, box.mounted.volumes)
                removed = True
        finally:
            box.close()
            box.mounted.forget()
            self._held.discard(box.mounted.name)
            if not removed:  # said only now: a look before would have left it to us
                self.left = True

    async def remove(self, container: str, volumes: Sequence[str] = ()) -> None:
        """Remove a container, also when cancelled."""
        with anyio.CancelScope(shield=True):
            try:
                await self.ask(lambda: self.docker.remove(container, volumes))
            except EngineError:
                self.left = True

    async def close(self) -> None:
        """Remove what could not be removed before, as far as it can be now; leave the engine."""
        if self.left:
            with suppress(EngineError):
                await self.reap()
        await self.ask(self.docker.close)

    async def reap(self) -> int:
        """Remove all that bears our labels and that we do not hold; how many of it still ran."""
        self.left = False
        try:
            return await self._reap()
        except EngineError:
            self.left = True
            raise

    async def _reap(self) -> int:
        ours = labels(self._settings)
        found = await self.ask(lambda: self.docker.containers(ours))
        left = [one for one in found if one.name not in self._held]
        async with anyio.create_task_group() as group:
            for one in left:
                group.start_soon(self.remove, one.container)
        for name in await self.ask(lambda: self.docker.volumes(ours)):
            if name.rpartition("-")[0] not in self._held:
                await self.ask(partial(self.docker.remove_volume, name))
        await self.ask(lambda: forget_copies(self._settings, self._held))
        return sum(one.running for one in left)

    def _find_image(self, reference: str) -> str:
        if not reference:
            archive, tag = root_image.archive(self._settings.inside_uid)
            reference = f"{root_image.REPOSITORY}:{tag}"
            if self.docker.image(reference) is None:
                self.docker.import_image(archive, root_image.REPOSITORY, tag)
        return _judged(reference, self.docker.image(reference))


class _Owner:
    """Of a box that a thread makes for somebody who may be gone when it is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._box: Box | None = None
        self._gone = False

    def given(self, box: Box, end: Callable[[Box], None]) -> Box:
        """Hand it over, or end it if nobody is there any more."""
        with self._lock:
            self._box = box
            if not self._gone:
                return box
        end(box)
        raise BoxError("nobody wants it any more")

    def gone(self) -> Box | None:
        """Nobody is there from now on; the box that was handed over, if it was."""
        with self._lock:
            self._gone = True
            return self._box


def _judged(reference: str, found: Mapping[str, Any] | None) -> str:
    """The id of an image that the engine has and that asks for nothing."""
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
