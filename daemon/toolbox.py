"""Adding and removing the operator's own tools, live.

A tool is taken in whole or not at all: read, checked against the policies in force, put on disk,
recorded, and only then put into the world. Raises the faults of the request, and `Unavailable` when
it cannot be recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from uuid_utils.compat import uuid7

from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound
from daemon.policy import states as policy_states
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.tools.errors import ToolError
from daemon.tools.folder import UploadEntry, parse_upload
from daemon.tools.install import install, recover, uninstall
from daemon.tools.manifest import Origin
from daemon.tools.registry import BUILTIN_TOOLS, Registry, Tool, load
from daemon.tools.snapshot import SnapshotStore
from daemon.world import World
from daemon.worlds import Worlds
from ledger.chain import Entry
from policy.errors import PolicyError

T = TypeVar("T")


class Toolbox:
    """See the module."""

    def __init__(
        self,
        operator_dir: Path,
        snapshots: SnapshotStore,
        worlds: Worlds,
        writer: Writer,
        clock: Clock,
    ) -> None:
        self._operator_dir = operator_dir
        self._snapshots = snapshots
        self._worlds = worlds
        self._writer = writer
        self._clock = clock

    async def load(self) -> Registry:
        """The tools as they are on disk now."""

        def work() -> Registry:
            if self._operator_dir.is_dir():
                recover(self._operator_dir)
            return load(BUILTIN_TOOLS, self._operator_dir, self._snapshots)

        return await anyio.to_thread.run_sync(work)

    async def add(self, entries: Sequence[UploadEntry], principal: str) -> tuple[Tool, Entry]:
        """Takes in a tool folder that was sent."""
        folder = await _in_thread(lambda: parse_upload(list(entries)))
        name = folder.manifest.name
        async with self._worlds.changing() as world:
            registry = await _in_thread(lambda: world.registry.with_tool(folder, self._snapshots))
            changed = await self._world_with(registry)
            tool = registry.by_name[name]
            body = {
                "principal": principal,
                "tool": name,
                "version": tool.manifest.version,
                "tool_digest": str(tool.digest),
                "policy_digest": changed.digest,
            }
            with self._worlds.recording():
                # Recorded first: a tool on disk without a receipt would be there at the next start.
                entry = await self._record("tool.added", body, changed)
                try:
                    await _in_thread(lambda: install(self._operator_dir, folder, _random_name))
                except BadRequest as fault:
                    body |= {"reason": fault.code, "policy_digest": world.digest}
                    await self._record("tool.add_failed", body, world)
                    raise
                await self._worlds.succeed(changed)
        return tool, entry

    async def remove(self, name: str, principal: str) -> Entry:
        """Takes one of the operator's tools away."""
        async with self._worlds.changing() as world:
            tool = world.registry.get(name)
            if tool is None or tool.origin is Origin.BUILTIN:
                raise NotFound(
                    f"there is no tool {name!r:.80} of the operator's own",
                    code="UNKNOWN_TOOL",
                    fix="`stockade tools list` shows them; builtin tools stay",
                )
            changed = await self._world_with(world.registry.without(name))
            body = {
                "principal": principal,
                "tool": name,
                "tool_digest": str(tool.digest),
                "policy_digest": changed.digest,
            }
            with self._worlds.recording():
                entry = await self._record("tool.removed", body, changed)
                await self._worlds.succeed(changed)
            await _in_thread(lambda: uninstall(self._operator_dir, name, _random_name))
        return entry

    async def _world_with(self, registry: Registry) -> World:
        try:
            return await self._worlds.rebuild(registry=registry)
        except PolicyError as error:
            raise BadRequest(
                f"with these tools the policies in force are not valid: {error}",
                code=error.code,
                fix="change the policies first: `stockade policy apply`",
            ) from None

    async def _record(self, kind: str, body: Mapping[str, object], world: World) -> Entry:
        """The receipt, and the world's policy state: the schema follows the tools."""
        principal, now = str(body["principal"]), self._clock.now_ms()
        packed = await policy_states.pack(world)

        def operation(tx: Tx) -> Entry:
            policy_states.follow(tx, packed, by=principal, cause=policy_states.TOOLS, now_ms=now)
            return tx.receipt(kind, body, principal=principal)

        return await self._writer.write(operation)


def _random_name() -> str:
    return uuid7().hex


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await anyio.to_thread.run_sync(work)
    except ToolError as error:
        raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
