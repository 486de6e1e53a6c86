"""Devices and agents, and the groups they are in.

Trusted to end a device once and for all: a revoked one is never active again, and an id is never
given twice. Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from daemon.store.engine import insert_once
from daemon.store.faults import stored_state
from daemon.store.ids import DeviceId
from daemon.store.tables import device_groups, devices


class DeviceStatus(StrEnum):
    """Whether a device may connect. Values are stored: never renamed."""

    ACTIVE = "active"
    REVOKED = "revoked"


_GET: Final = select(devices).where(devices.c.device_id == bindparam("b_id"))
_ALL: Final = select(devices).order_by(devices.c.created_ms, devices.c.device_id)
_GROUPS: Final = (
    select(device_groups.c.name)
    .where(device_groups.c.device_id == bindparam("b_id"))
    .order_by(device_groups.c.name)
)
_LEAVE: Final = delete(device_groups).where(device_groups.c.device_id == bindparam("b_id"))
_JOIN: Final = insert(device_groups)
_ACTIVE: Final = _GET.where(devices.c.status == DeviceStatus.ACTIVE).with_for_update()
_REVOKE: Final = (
    update(devices)
    .where(devices.c.device_id == bindparam("b_id"))
    .where(devices.c.status == DeviceStatus.ACTIVE)
    .values(status=DeviceStatus.REVOKED, revoked_ms=bindparam("b_now"))
)


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A paired device, or an agent enrolled by one."""

    device_id: DeviceId
    name: str
    kind: str
    status: DeviceStatus
    created_ms: int
    revoked_ms: int | None = None


def add(connection: Connection, row: DeviceRow) -> bool:
    """Store a new device; False if the id is taken, also by a revoked one."""
    values = {column.name: getattr(row, column.name) for column in fields(row)}
    return insert_once(connection, devices, values)


def get(connection: Connection, device_id: DeviceId) -> DeviceRow | None:
    """The device, or None."""
    found = connection.execute(_GET, {"b_id": device_id}).mappings().one_or_none()
    return None if found is None else _row(found)


def list_all(connection: Connection) -> tuple[DeviceRow, ...]:
    """Every device there ever was, oldest first."""
    return tuple(_row(found) for found in connection.execute(_ALL).mappings())


def revoke(connection: Connection, device_id: DeviceId, *, now_ms: int) -> bool:
    """End the device; whether it was active. Revoke its certificates in the same transaction."""
    found = connection.execute(_REVOKE, {"b_id": device_id, "b_now": now_ms})
    return found.rowcount == 1


def groups(connection: Connection, device_id: DeviceId) -> tuple[str, ...]:
    """The groups the device is in, sorted."""
    return tuple(connection.execute(_GROUPS, {"b_id": device_id}).scalars())


def set_groups(connection: Connection, device_id: DeviceId, names: Collection[str]) -> bool:
    """Put an active device into these groups and no others; False if it is not active."""
    if connection.execute(_ACTIVE, {"b_id": device_id}).one_or_none() is None:
        return False
    connection.execute(_LEAVE, {"b_id": device_id})
    rows = [{"device_id": device_id, "name": name} for name in sorted(set(names))]
    if rows:
        connection.execute(_JOIN, rows)
    return True


def _row(found: RowMapping) -> DeviceRow:
    values = dict(found)
    values["status"] = stored_state(DeviceStatus, values["status"])
    return DeviceRow(**values)
