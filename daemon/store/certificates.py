"""Certificates the authority has issued.

Trusted to keep a serial number for one certificate, and a revocation for ever.
Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from dataclasses import dataclass, field, fields
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, update

from daemon.store.engine import insert_once
from daemon.store.ids import AgentId, DeviceId, Serial
from daemon.store.tables import agents, certificates

_GET: Final = select(certificates).where(certificates.c.serial == bindparam("b_serial"))
_OF_DEVICE: Final = (
    select(certificates)
    .where(certificates.c.device_id == bindparam("b_device"))
    .where(certificates.c.agent_id.is_(None))
    .where(certificates.c.not_after > bindparam("b_since"))
    .order_by(certificates.c.not_before, certificates.c.serial)
)
_GOOD_OF: Final = (
    select(func.count())
    .select_from(certificates)
    .where(certificates.c.device_id == bindparam("b_device"))
    .where(certificates.c.agent_id.is_(None))
    .where(certificates.c.revoked_ms.is_(None))
    .where(certificates.c.not_after > bindparam("b_now"))
)
_GOOD_OF_AGENT: Final = (
    select(func.count())
    .select_from(certificates)
    .where(certificates.c.agent_id == bindparam("b_agent"))
    .where(certificates.c.revoked_ms.is_(None))
    .where(certificates.c.not_after > bindparam("b_now"))
)
# By way of the agents: else every good certificate of every device is looked at.
_OF_AGENTS: Final = (
    select(certificates)
    .where(certificates.c.agent_id.in_(select(agents.c.agent_id)))
    .where(certificates.c.revoked_ms.is_(None))
    .where(certificates.c.not_after > bindparam("b_now"))
    .order_by(certificates.c.not_before, certificates.c.serial)
)
_REVOKED: Final = (
    select(certificates.c.serial)
    .where(certificates.c.revoked_ms.is_not(None))
    .where(certificates.c.not_after > bindparam("b_now"))
)
_REVOKE: Final = (
    update(certificates)
    .where(certificates.c.serial == bindparam("b_serial"))
    .where(certificates.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("b_now"))
)
_REVOKE_ALL: Final = (
    update(certificates)
    .where(certificates.c.device_id == bindparam("b_device"))
    .where(certificates.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("b_now"))
)
_REVOKE_AGENT: Final = (
    update(certificates)
    .where(certificates.c.agent_id == bindparam("b_agent"))
    .where(certificates.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("b_now"))
)


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate; `not_before` and `not_after` in milliseconds, like every time here."""

    serial: Serial
    device_id: DeviceId
    spki: bytes = field(repr=False)
    pem: bytes = field(repr=False)
    not_before: int
    not_after: int
    revoked_ms: int | None = None
    agent_id: AgentId | None = None


def add(connection: Connection, row: CertificateRow) -> bool:
    """Store a new certificate; False if the serial number is taken."""
    values = {column.name: getattr(row, column.name) for column in fields(row)}
    return insert_once(connection, certificates, values)


def get(connection: Connection, serial: Serial) -> CertificateRow | None:
    """The certificate, or None."""
    found = connection.execute(_GET, {"b_serial": serial}).mappings().one_or_none()
    return None if found is None else CertificateRow(**found)


def of_device(
    connection: Connection, device_id: DeviceId, *, ended_after_ms: int = 0
) -> tuple[CertificateRow, ...]:
    """Those of one device, without its agents', that end after that; oldest first."""
    values = {"b_device": device_id, "b_since": ended_after_ms}
    found = connection.execute(_OF_DEVICE, values).mappings()
    return tuple(CertificateRow(**row) for row in found)


def good_of_agents(connection: Connection, *, now_ms: int) -> tuple[CertificateRow, ...]:
    """Those of all agents that are neither revoked nor ended: the rest are too many to keep."""
    found = connection.execute(_OF_AGENTS, {"b_now": now_ms}).mappings()
    return tuple(CertificateRow(**row) for row in found)


def count_good(
    connection: Connection, device_id: DeviceId, agent_id: AgentId | None, *, now_ms: int
) -> int:
    """How many of a device (without its agents'), or of an agent, are neither revoked nor ended."""
    if agent_id is not None:
        values: dict[str, object] = {"b_agent": agent_id, "b_now": now_ms}
        return int(connection.execute(_GOOD_OF_AGENT, values).scalar_one())
    values = {"b_device": device_id, "b_now": now_ms}
    return int(connection.execute(_GOOD_OF, values).scalar_one())


def revoked(connection: Connection, *, now_ms: int) -> frozenset[Serial]:
    """The serial numbers of revoked certificates that time has not ended yet."""
    found = connection.execute(_REVOKED, {"b_now": now_ms}).scalars()
    return frozenset(Serial(serial) for serial in found)


def revoke(connection: Connection, serial: Serial, *, now_ms: int) -> bool:
    """Revoke one; whether it was not revoked before."""
    found = connection.execute(_REVOKE, {"b_serial": serial, "b_now": now_ms})
    return found.rowcount == 1


def revoke_device(connection: Connection, device_id: DeviceId, *, now_ms: int) -> int:
    """Revoke all of a device's and its agents'; how many were not revoked before."""
    found = connection.execute(_REVOKE_ALL, {"b_device": device_id, "b_now": now_ms})
    return found.rowcount


def revoke_agent(connection: Connection, agent_id: AgentId, *, now_ms: int) -> int:
    """Revoke all of one agent's; how many were not revoked before."""
    found = connection.execute(_REVOKE_AGENT, {"b_agent": agent_id, "b_now": now_ms})
    return found.rowcount
