"""Changing what is in force: one change at a time, built off the event loop, swapped in at once.

A change that does not validate leaves the world as it was. What is stored is stored by the caller,
inside `changing`, so that no other change can come between building a world and recording it; and
inside `recording`, so that no call begins by a world that the ledger says has been replaced.
"""

import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import anyio
import anyio.to_thread

from daemon.background_work import beside_calls, rest
from daemon.config import Config
from daemon.identity.devices import Devices
from daemon.tools.registry import Registry
from daemon.world import PolicyFault, Unavailable, World, build, with_principals
from policy.bundle import Bundle
from policy.entity_data import EntityData
from policy.errors import BundleError
from policy.fallback import fallback_files
from policy.pace import LIGHT, no_pause, paced, taken
from policy.risk import Tier

_PATIENCE = 20  # rests; whoever made the change waits for them


class Worlds:
    """The world in force, and the way to another."""

    def __init__(self, config: Config, devices: Devices, local_device: str) -> None:
        self._config = config
        self._devices = devices
        self._local_device = local_device
        self._current: World | None = None
        self._lock = anyio.Lock()
        self._recorded: anyio.Event | None = None

    @property
    def current(self) -> World:
        """The world in force; there is one from before the first RPC on."""
        if self._current is None:
            raise RuntimeError("no world yet")
        return self._current

    async def build(
        self,
        files: Mapping[str, str],
        registry: Registry,
        unavailable: Mapping[Tier, Unavailable],
        data: EntityData,
        read: Bundle | None = None,
    ) -> World:
        """A world of the devices as they are now; raises `PolicyError`. Changes nothing.

        For callers inside `changing`, so that the devices stay as they are meanwhile.
        """
        return await anyio.to_thread.run_sync(self._build, files, registry, unavailable, data, read)

    def _build(
        self,
        files: Mapping[str, str],
        registry: Registry,
        unavailable: Mapping[Tier, Unavailable],
        data: EntityData,
        read: Bundle | None,
    ) -> World:
        devices = self._devices.entities()
        now = self._current
        # Before there is a world, nobody calls.
        before, pause = (now.bundle, rest) if now else (None, no_pause)
        with beside_calls():
            built = build(
                files,
                registry,
                devices,
                self._config,
                unavailable,
                data,
                before=read or before,
                pause=pause,
            )
            if now is not None:
                built.pdp.foresee(now.pdp, pause)
        return built

    async def rebuild(
        self,
        *,
        files: Mapping[str, str] | None = None,
        registry: Registry | None = None,
        data: EntityData | None = None,
        read: Bundle | None = None,
    ) -> World:
        """The world in force with these parts in place of its own, for callers inside `changing`.

        `read` are the files as `read_policies` gave them; they are read again where the schema is
        another by now. Raises `PolicyError`. Changes nothing.
        """
        now = self.current
        registry, data = registry or now.registry, now.data if data is None else data
        if files is not None or now.fault is None:
            wanted = now.bundle.files if files is None else files
            return await self.build(wanted, registry, now.unavailable, data, read)
        if now.fault.wanted is None:
            return await self.build_without(now.fault, registry, now.unavailable, data)
        # With another tool, say, the set that should be in force may be valid again.
        return await self.build_anyhow(now.fault.wanted, registry, now.unavailable, data)

    async def build_anyhow(
        self,
        files: Mapping[str, str],
        registry: Registry,
        unavailable: Mapping[Tier, Unavailable],
        data: EntityData,
    ) -> World:
        """A world with these policies, or, if they are not valid, with none and saying so."""
        try:
            return await self.build(files, registry, unavailable, data)
        except BundleError as error:
            fault = PolicyFault.of(error, files)
        return await self.build_without(fault, registry, unavailable, data)

    async def build_without(
        self,
        fault: PolicyFault,
        registry: Registry,
        unavailable: Mapping[Tier, Unavailable],
        data: EntityData,
    ) -> World:
        """A world in which nothing is permitted but to see the fault and to mend it."""
        files = fallback_files(self._local_device)
        return replace(await self.build(files, registry, unavailable, data), fault=fault)

    async def read_policies(self, files: Mapping[str, str]) -> Bundle:
        """The policies of these files under the schema there is now; raises `PolicyError`.

        It can take seconds, and is for before `changing`: a revocation must not wait for it.
        """
        return await anyio.to_thread.run_sync(self._read, files, self.current)

    @staticmethod
    def _read(files: Mapping[str, str], now: World) -> Bundle:
        if files == now.bundle.files:
            return now.bundle
        with beside_calls():
            return Bundle.build(files, now.bundle.schema.text, rest, now.bundle)

    def replace(self, world: World) -> None:
        """Puts a world in force."""
        self._current = world
        self._settle()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Until another world is in force, or this is left: the one there is begins no call."""
        self._recorded = anyio.Event()
        try:
            yield
        finally:
            self._settle()

    @property
    def unsettled(self) -> bool:
        """Whether another world is being recorded. May be asked from the writer's thread."""
        return self._recorded is not None

    async def settled(self) -> World:
        """The world in force, once no other is being recorded."""
        while self._recorded is not None:
            await self._recorded.wait()
        return self.current

    def _settle(self) -> None:
        if self._recorded is not None:
            self._recorded.set()
            self._recorded = None

    async def succeed(self, world: World) -> None:
        """The same for one with other policies; those before are let go of."""
        before = [self.current] if self._current else []
        self.replace(world)
        if before and before[0].bundle is not world.bundle:
            await anyio.to_thread.run_sync(_let_go, before)

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[World]:
        """Alone with the right to change; gives the world in force."""
        async with self._lock:
            yield self.current

    async def set_unavailable(self, unavailable: Mapping[Tier, Unavailable]) -> None:
        """The same world with the tiers as they were last seen."""
        async with self.changing() as now:
            self.replace(replace(now, unavailable=unavailable))

    async def refresh_devices(self) -> None:
        """The same world with the devices as they are now; for callers inside `changing`."""
        self.replace(await anyio.to_thread.run_sync(self._with_devices, self.current))

    def _with_devices(self, now: World) -> World:
        with beside_calls():
            return with_principals(now, self._devices.entities(), self._config, pause=rest)


def _let_go(held: list[World]) -> None:
    """Of the one world that is held; what its policies have compiled, too.

    All at once, by whichever call was the last to be judged by it, it would hold up the rest.
    """
    world = held.pop()
    world.pdp.retire(rest)
    pieces, gone = world.bundle.pieces(), weakref.ref(world.bundle)
    del world
    # The calls that it is judging have to end first, or nothing of it goes away here.
    for _ in range(_PATIENCE):
        if gone() is None:
            break
        rest()
    for _ in paced(taken(pieces), rest, LIGHT):
        pass
