"""Changing what is in force: one change at a time, built off the event loop, swapped in at once.

A change that does not validate leaves the world as it was. What is stored is stored by the caller,
inside `changing`, so that no other change can come between building a world and recording it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from daemon.config import Config
from daemon.devices import Devices
from daemon.tools.registry import Registry
from daemon.world import Unavailable, World, build
from policy.risk import Tier


class Worlds:
    """The world in force, and the way to another."""

    def __init__(self, config: Config, devices: Devices) -> None:
        self._config = config
        self._devices = devices
        self._current: World | None = None
        self._lock = anyio.Lock()

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
    ) -> World:
        """A world of the devices as they are now; raises `PolicyError`. Changes nothing."""
        devices = self._devices.entities()
        return await anyio.to_thread.run_sync(
            build, files, registry, devices, self._config, unavailable
        )

    def replace(self, world: World) -> None:
        """Puts a world in force."""
        self._current = world

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[World]:
        """Alone with the right to change; gives the world in force."""
        async with self._lock:
            yield self.current

    async def refresh_devices(self) -> None:
        """The same world with the devices as they are now; for callers inside `changing`."""
        now = self.current
        self.replace(await self.build(now.bundle.files, now.registry, now.unavailable))
