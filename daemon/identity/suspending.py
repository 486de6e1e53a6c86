"""Suspending a principal, and letting it in again: recorded first, then in force at once.

Trusted so that whoever is suspended is out within the second, as if revoked, and yet nothing is
lost for good but what was under way and leases; and that the operator cannot be locked out: the
local command line and the last owner are never suspended, nor anybody while policy would let no
other device undo it. Raises `NotFound`, `Conflict`, and `Unavailable` when it cannot be recorded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import anyio

from daemon.acts import may_do
from daemon.clock import Clock
from daemon.errors import Conflict, NotFound, Unauthenticated
from daemon.identity.devices import Devices
from daemon.identity.owners import is_last_owner
from daemon.identity.suspended import META_KEY, MOST_SUSPENDED, Suspension, principal_suspended
from daemon.principal import Principal
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from ledger.chain import Entry
from policy.values import EntityUid

_WHO = "`stockade devices list` and `stockade agents list` show who there is"


@dataclass(frozen=True, slots=True)
class Suspending:
    """See the module."""

    devices: Devices
    worlds: Worlds
    writer: Writer
    clock: Clock
    local_device: str
    # Ends RPCs, calls and leases of whoever has that name.
    cut: Callable[[str, Unauthenticated], None]

    async def suspend(self, name: str, rule: str, body: Mapping[str, object]) -> Entry:
        """Shuts somebody out; `body` is what the receipt says of why."""
        async with self.worlds.changing():
            self._check(name)
            found = Suspension(rule, self.clock.now_ms())
            stored = self.devices.suspended.with_one(name, found)
            entry = await self._store(
                stored, "principal.suspended", {**body, "principal": f"alert/{rule}"}, name
            )
            self.cut(name, principal_suspended(name, rule))
        return entry

    async def resume(self, name: str, by: str) -> Entry:
        """Lets somebody in again."""
        async with self.worlds.changing():
            if name not in self.devices.suspended:
                raise NotFound(
                    f"{name!r:.80} is not suspended",
                    code="NOT_SUSPENDED",
                    fix="`stockade devices list` and `stockade agents list` show who is",
                )
            stored = self.devices.suspended.without(name)
            return await self._store(stored, "principal.resumed", {"principal": by}, name)

    async def _store(self, stored: str, kind: str, body: Mapping[str, object], name: str) -> Entry:
        before = self.devices.suspended.stored

        def operation(tx: Tx) -> Entry:
            if not meta.swap(tx.connection, META_KEY, before, stored):
                raise Conflict("somebody else changed it", code="STORE_CONFLICT", fix="try again")
            return tx.receipt(kind, {**body, "subject": name}, principal=name)

        with anyio.CancelScope(shield=True):
            entry = await self.writer.write(operation)
            self.devices.suspended.load(stored)
        return entry

    def uid(self, name: str) -> EntityUid | None:
        """The Cedar entity of an active device or agent of that name."""
        kind, _, own = name.partition("/")
        if kind == "device":
            device = self.devices.get(own)
            return EntityUid("Device", own) if device is not None and device.active else None
        agent = self.devices.agents.get(own) if kind == "agent" else None
        return EntityUid("Agent", own) if agent is not None and agent.active else None

    def who_could(self, action: str, world: World, without: str = "") -> Iterator[Principal]:
        """The devices, but for one, that policy would let do this in that world, now."""
        for device in self.devices.active:
            own = str(device.row.device_id)
            principal = None if own == without else self.devices.as_principal(own, "")
            if principal is None:
                continue
            asked = world.subjects(principal)
            if may_do(world, asked, action, time=self.clock.now(), origin="").allowed:
                yield principal

    def _check(self, name: str) -> None:
        kind, _, own = name.partition("/")
        if self.uid(name) is None:
            raise NotFound(f"there is no active {name!r:.80}", code="UNKNOWN_PRINCIPAL", fix=_WHO)
        if name in self.devices.suspended:
            raise Conflict(f"{name} is suspended already", code="ALREADY_SUSPENDED", fix=_WHO)
        if len(self.devices.suspended) >= MOST_SUSPENDED:
            raise Conflict(
                f"{MOST_SUSPENDED} are suspended",
                code="TOO_MANY_SUSPENDED",
                fix="revoke those who are not let in again",
            )
        if kind == "device" and own == self.local_device:
            raise Conflict(
                "it is the daemon's own machine",
                code="LOCAL_DEVICE",
                fix="`stockade devices revoke`, if it must go",
            )
        if kind == "device" and is_last_owner(self.devices, own, self.local_device):
            raise Conflict(
                "it is the last owner", code="LAST_OWNER", fix="make another one an owner first"
            )
        world = self.worlds.current
        if next(self.who_could("resume_principal", world, without=own), None) is None:
            raise Conflict(
                "nobody could let it in again",
                code="SUSPENSION_LOCKS_OUT",
                fix="permit `resume_principal` to somebody else",
            )
