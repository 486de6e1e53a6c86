"""Agents: who enrolled them, by which manifest, and whether they still are.

Trusted to end an agent once and for all: a revoked one is never active again, and an id is never
given twice. The manifest is kept as the bytes it came in. Functions over a connection; the caller's
transaction decides. Leaves: StoreFault.
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, func, select, update

from daemon.store.engine import insert_once
from daemon.store.faults import stored_state
from daemon.store.ids import AgentId, DeviceId
from daemon.store.tables import agents


class AgentStatus(StrEnum):
    """Whether an agent may connect. Values are stored: never renamed."""

    ACTIVE = "active"
    REVOKED = "revoked"


_GET: Final = select(agents).where(agents.c.agent_id == bindparam("b_id"))
_ALL: Final = select(agents).order_by(agents.c.created_ms, agents.c.agent_id)
_ACTIVE_OF: Final = (
    _ALL.where(agents.c.device_id == bindparam("b_device"))
    .where(agents.c.status == AgentStatus.ACTIVE)
    .with_for_update()
)
_SINCE: Final = (
    select(func.count())
    .select_from(agents)
    .where(agents.c.device_id == bindparam("b_device"))
    .where(agents.c.created_ms > bindparam("b_since"))
)
_REVOKE: Final = (
    update(agents)
    .where(agents.c.agent_id == bindparam("b_id"))
    .where(agents.c.status == AgentStatus.ACTIVE)
    .values(status=AgentStatus.REVOKED, revoked_ms=bindparam("b_now"))
)


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent, and the device that answers for it."""

    agent_id: AgentId
    name: str
    device_id: DeviceId
    manifest: bytes = field(repr=False)
    manifest_digest: str
    status: AgentStatus
    created_ms: int
    revoked_ms: int | None = None


def add(connection: Connection, row: AgentRow) -> bool:
    """Store a new agent; False if the id is taken, also by a revoked one."""
    values = {column.name: getattr(row, column.name) for column in fields(row)}
    return insert_once(connection, agents, values)


def get(connection: Connection, agent_id: AgentId) -> AgentRow | None:
    """The agent, or None."""
    found = connection.execute(_GET, {"b_id": agent_id}).mappings().one_or_none()
    return None if found is None else _row(found)


def list_all(connection: Connection) -> tuple[AgentRow, ...]:
    """Every agent there ever was, oldest first."""
    return tuple(_row(found) for found in connection.execute(_ALL).mappings())


def active_of(connection: Connection, device_id: DeviceId) -> tuple[AgentRow, ...]:
    """The agents of a device that may connect, oldest first."""
    found = connection.execute(_ACTIVE_OF, {"b_device": device_id}).mappings()
    return tuple(_row(row) for row in found)


def count_since(connection: Connection, device_id: DeviceId, since_ms: int) -> int:
    """How many agents a device has enrolled since then, whatever became of them."""
    values = {"b_device": device_id, "b_since": since_ms}
    return int(connection.execute(_SINCE, values).scalar_one())


def revoke(connection: Connection, agent_id: AgentId, *, now_ms: int) -> bool:
    """End the agent; whether it was active. Revoke its certificates in the same transaction."""
    return connection.execute(_REVOKE, {"b_id": agent_id, "b_now": now_ms}).rowcount == 1


def _row(found: RowMapping) -> AgentRow:
    values = dict(found)
    values["status"] = stored_state(AgentStatus, values["status"])
    return AgentRow(**values)
