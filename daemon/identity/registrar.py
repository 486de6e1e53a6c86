"""Changes of the device registry: each recorded first, then in force at once.

Trusted so that a revoked device is out within the second: its RPCs are cut, its calls cancelled,
its certificates unknown, before the revocation is even told to whoever asked for it. Raises
`NotFound`, `Conflict`, `BadRequest`, and `Unavailable` when it cannot be recorded.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import anyio

from daemon.clock import Clock
from daemon.config import Config
from daemon.errors import BadRequest, Conflict, NotFound
from daemon.identity.agents import read_agents
from daemon.identity.authorities import Authorities
from daemon.identity.devices import (
    OWNERS,
    Devices,
    Known,
    certificate_row,
    read_device,
    read_devices,
)
from daemon.identity.enrolment import end_all, require_room
from daemon.identity.owners import is_last_owner
from daemon.identity.suspended import META_KEY
from daemon.store import certificates, devices, meta
from daemon.store.commit import Tx
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.ids import DeviceId, Serial
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.worlds import Worlds
from identity.authority import IssuedCertificate
from identity.names import DeviceId as NewDeviceId
from ledger.chain import Entry

_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}")
MAX_GROUPS = 32


class Registrar:
    """See the module."""

    def __init__(
        self,
        *,
        authorities: Authorities,
        devices: Devices,
        worlds: Worlds,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        config: Config,
        local_device: str,
        cut: Callable[[str], Awaitable[None]],
        cut_certificate: Callable[[str], None],
    ) -> None:
        self._authorities = authorities
        self._devices = devices
        self._worlds = worlds
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._lifetime = timedelta(hours=config.identity.device_certificate_hours)
        self._local_lifetime = timedelta(hours=config.identity.local_certificate_hours)
        self._local_device = local_device
        self._cut = cut
        self._cut_certificate = cut_certificate

    async def pair(
        self,
        csr_pem: bytes,
        name: str,
        groups: Sequence[str],
        invited_by: str,
        may_invite: Callable[[], None],
    ) -> tuple[Known, IssuedCertificate, Entry]:
        """Makes a device of the key that signed this request; raises what `may_invite` does."""
        device_id = NewDeviceId.generate()
        issued = await self._issue(csr_pem, device_id)
        async with self._worlds.changing():
            may_invite()  # here, where neither groups nor policies change meanwhile
            entry = await self._writer.write(
                lambda tx: record_device(
                    tx, device_id, name, groups, issued, self._clock.now_ms(), invited_by
                )
            )
            known = await self._reload(device_id)
            await self._worlds.refresh_devices()
        return known, issued, entry

    async def renew(self, csr_pem: bytes, device_id: str, principal: str) -> IssuedCertificate:
        """Another certificate for an active device; the one it has stays good until it ends."""
        issued = await self._issue(csr_pem, NewDeviceId(device_id))
        row = certificate_row(DeviceId(device_id), issued)

        def operation(tx: Tx) -> None:
            known = devices.get(tx.connection, DeviceId(device_id))
            if known is None or known.status is not DeviceStatus.ACTIVE:
                raise Conflict(
                    "this device was revoked", code="DEVICE_REVOKED", fix="pair it again"
                )
            require_room(tx, row, self._clock.now_ms())
            certificates.add(tx.connection, row)
            body = {"device": device_id, "serial": str(issued.serial), "not_after": row.not_after}
            tx.receipt("device.renewed", body, principal=principal)

        async with self._worlds.changing():
            await self._writer.write(operation)
            await self._reload(device_id)
        return issued

    async def revoke(self, device_id: str, principal: str) -> Entry:
        """Ends a device."""
        async with self._worlds.changing():
            self._require_active(device_id)
            if self._is_last_owner(device_id):
                raise _last_owner()

            def operation(tx: Tx) -> Entry:
                now = self._clock.now_ms()
                if not devices.revoke(tx.connection, DeviceId(device_id), now_ms=now):
                    raise _unknown(device_id)
                end_all(tx, device_id, now, principal)
                certificates.revoke_device(tx.connection, DeviceId(device_id), now_ms=now)
                body = {"principal": principal, "device": device_id}
                return tx.receipt("device.revoked", body, principal=principal)

            entry = await self._writer.write(operation)
            # Shielded: a device that revokes itself cuts this very RPC.
            with anyio.CancelScope(shield=True):
                await self._reload(device_id)
                await self._cut(device_id)
                await self._worlds.refresh_devices()
        return entry

    async def revoke_certificate(self, serial: str, principal: str) -> Entry:
        """Ends one certificate; the others of its device stay good."""
        async with self._worlds.changing():
            device_id = self._devices.holder(serial)
            if device_id is None:
                raise NotFound(
                    f"there is no good certificate {serial!r:.80}",
                    code="UNKNOWN_CERTIFICATE",
                    fix="`stockade devices show DEVICE` lists those of a device",
                )
            if self._is_last_owner(device_id) and not self._has_other(device_id, serial):
                raise Conflict(
                    "this is the only certificate of the last owner",
                    code="LAST_OWNER",
                    fix="renew it first, on that device: `stockade devices renew`",
                )

            def operation(tx: Tx) -> Entry:
                certificates.revoke(tx.connection, Serial(serial), now_ms=self._clock.now_ms())
                body = {"principal": principal, "device": device_id, "serial": serial}
                return tx.receipt("certificate.revoked", body, principal=principal)

            entry = await self._writer.write(operation)
            # Shielded: a certificate may be used to revoke itself, which cuts this very RPC.
            with anyio.CancelScope(shield=True):
                await self._reload(device_id)
                self._cut_certificate(serial)
        return entry

    async def set_groups(
        self, device_id: str, groups: Sequence[str], principal: str
    ) -> tuple[Known, Entry]:
        """Puts a device in exactly these groups."""
        names = check_groups(groups)
        async with self._worlds.changing():
            self._require_active(device_id)
            if self._is_last_owner(device_id) and OWNERS not in names:
                raise _last_owner()

            def operation(tx: Tx) -> Entry:
                if not devices.set_groups(tx.connection, DeviceId(device_id), names):
                    raise _unknown(device_id)
                body = {"principal": principal, "device": device_id, "groups": names}
                return tx.receipt("device.groups", body, principal=principal)

            entry = await self._writer.write(operation)
            known = await self._reload(device_id)
            await self._worlds.refresh_devices()
        return known, entry

    async def _issue(self, csr_pem: bytes, device_id: NewDeviceId) -> IssuedCertificate:
        local = str(device_id) == self._local_device
        lifetime = self._local_lifetime if local else self._lifetime
        return await self._authorities.issue_device(csr_pem, device_id, self._clock.now(), lifetime)

    def _is_last_owner(self, device_id: str) -> bool:
        return is_last_owner(self._devices, device_id, self._local_device)

    def _has_other(self, device_id: str, serial: str) -> bool:
        known, now = self._devices.get(device_id), self._clock.now_ms()
        return known is not None and any(
            one.revoked_ms is None and one.not_after > now and str(one.serial) != serial
            for one in known.certificates
        )

    def _require_active(self, device_id: str) -> None:
        known = self._devices.get(device_id)
        if known is None or not known.active:
            raise _unknown(device_id)

    async def _reload(self, device_id: str) -> Known:
        """Takes over a device and its agents as the database has them now: before anything else."""
        now = self._clock.now_ms()
        known = await self._reader.read(lambda connection: read_device(connection, device_id, now))
        if known is None:
            raise _unknown(device_id)
        self._devices.put(known)
        await self.reload()
        return known

    async def reload(self) -> None:
        """Takes over the agents as the database has them; for whoever changes them."""
        now = self._clock.now_ms()
        agents = await self._reader.read(lambda connection: read_agents(connection, now))
        self._devices.agents.replace(agents)


async def load_registry(devices: Devices, reader: Reader, clock: Clock) -> None:
    """Makes memory what the database says."""
    now = clock.now_ms()
    devices.suspended.load(await reader.read(lambda connection: meta.get(connection, META_KEY)))
    devices.replace(await reader.read(lambda connection: read_devices(connection, now)))
    devices.agents.replace(await reader.read(lambda connection: read_agents(connection, now)))


def record_device(
    tx: Tx,
    device_id: NewDeviceId,
    name: str,
    groups: Sequence[str],
    issued: IssuedCertificate,
    now_ms: int,
    invited_by: str,
) -> Entry:
    """Stores a new device with its first certificate."""
    stored_id = DeviceId(str(device_id))
    row = DeviceRow(stored_id, name, "device", DeviceStatus.ACTIVE, now_ms)
    if not devices.add(tx.connection, row):
        raise Conflict("the device's id is taken", code="DEVICE_ID_TAKEN", fix="try again")
    devices.set_groups(tx.connection, stored_id, groups)
    certificates.add(tx.connection, certificate_row(stored_id, issued))
    body = {
        "principal": invited_by,
        "device": str(stored_id),
        "name": name,
        "groups": list(groups),
        "serial": str(issued.serial),
        "key": str(issued.spki_sha256),
    }
    return tx.receipt("device.paired", body, principal=invited_by)


def check_groups(groups: Sequence[str]) -> list[str]:
    """Group names, each once, sorted; or BAD_GROUP."""
    names = sorted(set(groups))
    bad = [name for name in names if not _GROUP.fullmatch(name)]
    if bad or len(names) > MAX_GROUPS:
        raise BadRequest(
            f"not a group's name: {bad[0]!r:.80}" if bad else f"more than {MAX_GROUPS} groups",
            code="BAD_GROUP",
            fix="groups are lower-case words: owners, operators, approvers, callers, auditors",
        )
    return names


def check_device_name(name: str) -> str:
    """A device's name as people read it; or BAD_DEVICE_NAME."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            "a device's name is 1 to 63 letters, digits, spaces, dots, - and _",
            code="BAD_DEVICE_NAME",
            fix="choose another name",
        )
    return name


def _last_owner() -> Conflict:
    return Conflict(
        "this is the last owner that can connect",
        code="LAST_OWNER",
        fix="make another device an owner first: `stockade devices groups`",
    )


def _unknown(device_id: str) -> NotFound:
    return NotFound(
        f"there is no active device {device_id!r:.80}",
        code="UNKNOWN_DEVICE",
        fix="`stockade devices list` shows them",
    )
