"""What is remembered of tools: which digest a name stood for, since when, and where it came from.

Trusted to let a name have one digest at a time: the one that was pinned stays until it is removed,
so that a changed manifest under a known name is seen.
Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from daemon.store.engine import insert_once
from daemon.store.faults import stored_state
from daemon.store.tables import tool_records


class ToolState(StrEnum):
    """Whether the name stands for this digest now. Values are stored: never renamed."""

    PINNED = "pinned"
    REMOVED = "removed"


_BY_NAME: Final = (
    select(tool_records)
    .where(tool_records.c.name == bindparam("b_name"))
    .order_by(tool_records.c.added_ms, tool_records.c.digest)
)
_PINNED: Final = (
    select(tool_records)
    .where(tool_records.c.name == bindparam("b_name"))
    .where(tool_records.c.state == ToolState.PINNED)
    .with_for_update()
)
_AGAIN: Final = (
    update(tool_records)
    .where(tool_records.c.name == bindparam("b_name"))
    .where(tool_records.c.digest == bindparam("b_digest"))
    .where(tool_records.c.state == ToolState.REMOVED)
    .values(
        state=ToolState.PINNED,
        provenance=bindparam("b_provenance"),
        added_ms=bindparam("b_now"),
        removed_ms=None,
    )
)
_REMOVE: Final = (
    update(tool_records)
    .where(tool_records.c.name == bindparam("b_name"))
    .where(tool_records.c.digest == bindparam("b_digest"))
    .where(tool_records.c.state == ToolState.PINNED)
    .values(state=ToolState.REMOVED, removed_ms=bindparam("b_now"))
)


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A name and the digest it stands for, or stood for."""

    name: str
    digest: str
    provenance: str
    state: ToolState
    added_ms: int
    removed_ms: int | None = None


def pin(connection: Connection, name: str, digest: str, *, provenance: str, now_ms: int) -> ToolRow:
    """Let the name stand for the digest, unless it stands for one already; the one it stands for.

    A caller that gets another digest back than it gave met a changed tool.
    """
    found = pinned(connection, name)
    if found is not None:
        return found
    row = ToolRow(name, digest, provenance, ToolState.PINNED, now_ms)
    again = {"b_name": name, "b_digest": digest, "b_provenance": provenance, "b_now": now_ms}
    if connection.execute(_AGAIN, again).rowcount == 0:
        values = {
            "name": name,
            "digest": digest,
            "provenance": provenance,
            "state": ToolState.PINNED,
            "added_ms": now_ms,
            "removed_ms": None,
        }
        insert_once(connection, tool_records, values)
    return row


def pinned(connection: Connection, name: str) -> ToolRow | None:
    """What the name stands for now, or None."""
    found = connection.execute(_PINNED, {"b_name": name}).mappings().one_or_none()
    return None if found is None else _row(found)


def history(connection: Connection, name: str) -> tuple[ToolRow, ...]:
    """All a name ever stood for, oldest first."""
    return tuple(_row(row) for row in connection.execute(_BY_NAME, {"b_name": name}).mappings())


def remove(connection: Connection, name: str, digest: str, *, now_ms: int) -> bool:
    """Let the name no longer stand for the digest; whether it did."""
    values = {"b_name": name, "b_digest": digest, "b_now": now_ms}
    return connection.execute(_REMOVE, values).rowcount == 1


def _row(found: RowMapping) -> ToolRow:
    values = dict(found)
    values["state"] = stored_state(ToolState, values["state"])
    return ToolRow(**values)
