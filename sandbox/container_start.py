"""Containers that wait: the image they are of, the mounts they have, their start and their end.

Trusted to mount what a name means at one moment, by descriptor, so that renaming comes too late,
and to say of a started container which places those were. Leaves nothing of a start that failed.
Raises `SpecRefusedError` for what no container can have, `EngineError` and `BoxError` for the rest.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from sandbox import container_image, foreign_root, frame
from sandbox.box import Box, BoxError
from sandbox.cgroup_v1 import bound_sockets
from sandbox.container_config import LEAST_PIDS, Profile, config
from sandbox.container_image import Image
from sandbox.container_mounts import family, forget_copies, labels, mounted
from sandbox.container_settings import ContainerSettings
from sandbox.container_threads import Owner, Task
from sandbox.descriptors import Descriptors
from sandbox.docker_engine import DockerEngine, EngineError

T = TypeVar("T")
_PARTS = ("in_place.py", "own_streams.py", "rehearsal.py", "launcher.py")
_LAUNCHER = [Path(__file__).with_name(name) for name in _PARTS]
_THREADS = 8
_LOOK_SECONDS = 0.02
_HANGING_SECONDS = 1.0  # for an engine that was waited for already
_SPARE = 2  # address spaces: one for what the tool becomes, one for what it starts


class ContainerStarter:
    """Starts and ends the containers of one tier."""

    def __init__(self, settings: ContainerSettings) -> None:
        self._settings = settings
        self.docker = DockerEngine(settings.socket)
        self._images: dict[str, Image] = {}
        self._launcher = "\n".join(part.read_text("utf-8") for part in _LAUNCHER)
        self._threads = anyio.CapacityLimiter(_THREADS)
        # What bears our labels and is none of these was left by an earlier daemon, or while the
        # engine could not be asked to remove it.
        self._held: set[str] = set()
        self.left = False  # whether there may be some of those
        self._hangs = False  # whether the engine was waited for in vain

    async def ask(self, question: Callable[[], T]) -> T:
        """Ask the engine, from a thread. Who is cancelled does not wait for one that hangs."""
        run = anyio.to_thread.run_sync
        return await run(question, abandon_on_cancel=True, limiter=self._threads)

    async def _change(self, change: Callable[[], T]) -> T:
        """Change something in the engine. Cancelled, it is seen to its end: not if that hangs."""
        task = Task(change)
        try:
            return await self.ask(task)
        except anyio.get_cancelled_exc_class():
            if task.leave():
                with self._patience():
                    while not task.over:  # noqa: ASYNC110 - a thread says so
                        await anyio.sleep(_LOOK_SECONDS)
            raise

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """For what has to be done also when cancelled; not longer than an engine is waited for.

        A thread that was left goes on for as long as there is one; the next look, or the next
        start, does what it did not.
        """
        seconds = _HANGING_SECONDS if self._hangs else self._settings.remove_seconds
        with anyio.move_on_after(seconds, shield=True) as patience:
            yield
        self._hangs = patience.cancelled_caught
        self.left = self.left or self._hangs

    async def image(self, reference: str) -> Image:
        """An image: the tool's own, or the empty root, which is made if need be."""
        if reference not in self._images:
            self._images[reference] = await self._change(lambda: self._find_image(reference))
        return self._images[reference]

    def known_image(self, reference: str) -> Image | None:
        """An image, if it was asked for before."""
        return self._images.get(reference)

    async def start(self, profile: Profile) -> Box:
        """A new container whose launcher waits."""
        owner = Owner()
        try:
            box = await self._change(lambda: owner.given(self._build(profile), self._end))
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
                await self._change(lambda: self.docker.limit_pids(box.container, count))
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self.discard(box)
            if isinstance(error, TimeoutError):
                raise BoxError("the launcher did not start in time") from None
            raise
        return box

    def _build(self, profile: Profile) -> Box:
        """A started container, in a thread. The descriptors it mounts from are open until then."""
        name = self._name()
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
                seen = not self._settings.gvisor  # its pipes are its own kernel's
                command = (*start, "-c", self._launcher, str(spare), str(int(seen)))
                wanted = config(profile, self._settings, command, found)
                box = Box.of(self.docker.start(name, wanted, found.volumes), found)
                bound_sockets(box.group, profile.memory_bytes)  # which no engine does for us
                return box
            except BaseException:
                found.forget()
                self._images.clear()  # perhaps somebody removed one: it is looked for again
                raise

    async def discard(self, box: Box) -> None:
        """Leave nothing of a box."""
        box.kill()
        task = Task(partial(self._end, box))
        with self._patience():
            await self.ask(task)
        if not (task.leave() or task.over):
            # No thread came to it in time: the next look removes what the engine has of it.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._let_go, box)
            self.left = True

    def _end(self, box: Box) -> None:
        box.kill()
        removed = False
        try:
            with suppress(EngineError):  # it is dead; the next look reaps what the engine has of it
                self.docker.remove(box.container, box.mounted.volumes)
                removed = True
        finally:
            self._let_go(box)
            if not removed:  # said only now: a look before would have left it to us
                self.left = True

    def _let_go(self, box: Box) -> None:
        """Of all that is ours of it."""
        box.close()
        box.mounted.forget()
        self._held.discard(box.mounted.name)

    async def remove(self, container: str, volumes: Sequence[str] = ()) -> None:
        """Remove a container, also when cancelled."""
        try:
            with self._patience():
                await self.ask(lambda: self.docker.remove(container, volumes))
        except EngineError:
            self.left = True

    async def close(self) -> None:
        """Remove what could not be removed before, as far as it can be now; leave the engine."""
        if self.left and not self._hangs:
            with suppress(EngineError), anyio.move_on_after(self._settings.remove_seconds):
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
        left = [one for one in found if self._is_left(one.name)]
        async with anyio.create_task_group() as group:
            for one in left:
                group.start_soon(self.remove, one.container)
        for name in await self.ask(lambda: self.docker.volumes(ours)):
            if self._is_left(name.rpartition("-")[0]):
                await self.ask(partial(self.docker.remove_volume, name))
        await self.ask(lambda: forget_copies(self._settings, self._held))
        return sum(one.running for one in left)

    def _is_left(self, name: str) -> bool:
        """Of what bears our labels: one gets them from an image too, that was committed of ours."""
        return name.startswith(family(self._settings)) and name not in self._held

    def _find_image(self, reference: str) -> Image:
        if not reference:
            return container_image.empty_root(self.docker, self._settings.inside_uid)
        name = self._name()
        self._held.add(name)
        try:
            return container_image.own(self.docker, reference, name, labels(self._settings))
        except BaseException:
            self.left = True
            raise
        finally:
            self._held.discard(name)

    def _name(self) -> str:
        """Of a new container."""
        return family(self._settings) + secrets.token_hex(8)
