"""Sealed secrets, by scope, name and version. Sealing and opening is the vault's.

Trusted never to give a version twice, also after removal: the version is part of what a secret is
sealed with, and an old blob must not pass for a new one. Removing erases the sealed bytes of every
version and keeps the row. (The file may hold the bytes until its pages are used again: what makes
them worthless is that they are sealed.)

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, tuple_, update

from daemon.store.faults import stored_state
from daemon.store.tables import secrets

MAX_PAGE: Final = 500


class SecretState(StrEnum):
    """What a version is. Values are stored: never renamed."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    REMOVED = "removed"


_NAMED: Final = (secrets.c.scope == bindparam("b_scope"), secrets.c.name == bindparam("b_name"))
_VERSION: Final = select(func.max(secrets.c.version)).where(*_NAMED)
_INSERT: Final = insert(secrets)
_SUPERSEDE: Final = (
    update(secrets)
    .where(*_NAMED, secrets.c.state == SecretState.CURRENT)
    .values(state=SecretState.SUPERSEDED)
)
_CURRENT: Final = select(secrets).where(*_NAMED, secrets.c.state == SecretState.CURRENT)
_ALL_CURRENT: Final = (
    select(secrets)
    .where(secrets.c.state == SecretState.CURRENT)
    .order_by(secrets.c.scope, secrets.c.name)
)
_REMOVE: Final = (
    update(secrets)
    .where(*_NAMED, secrets.c.state != SecretState.REMOVED)
    .values(state=SecretState.REMOVED, sealed=b"")
)
_SEALED: Final = (
    select(secrets)
    .where(secrets.c.state != SecretState.REMOVED)
    .order_by(secrets.c.scope, secrets.c.name, secrets.c.version)
    .limit(bindparam("b_limit"))
)
_SEALED_AFTER: Final = _SEALED.where(
    tuple_(secrets.c.scope, secrets.c.name, secrets.c.version)
    > tuple_(
        bindparam("b_scope", type_=secrets.c.scope.type),
        bindparam("b_name", type_=secrets.c.name.type),
        bindparam("b_version", type_=secrets.c.version.type),
    )
)
_REWRAP: Final = (
    update(secrets)
    .where(*_NAMED, secrets.c.version == bindparam("b_version"))
    .where(secrets.c.sealed == bindparam("b_old", type_=secrets.c.sealed.type))
    .where(secrets.c.state != SecretState.REMOVED)
    .values(sealed=bindparam("b_new", type_=secrets.c.sealed.type))
)


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One version of a secret, sealed."""

    scope: str
    name: str
    version: int
    sealed: bytes = field(repr=False)
    created_ms: int
    state: SecretState


def put(
    connection: Connection,
    scope: str,
    name: str,
    *,
    seal: Callable[[int], bytes],
    now_ms: int,
) -> int:
    """Store the next version, sealed by `seal` for its number; that number.

    `seal` runs inside the transaction: the number is not known before.
    """
    named = {"b_scope": scope, "b_name": name}
    version = (connection.execute(_VERSION, named).scalar_one() or 0) + 1
    connection.execute(_SUPERSEDE, named)
    connection.execute(
        _INSERT,
        {
            "scope": scope,
            "name": name,
            "version": version,
            "sealed": seal(version),
            "created_ms": now_ms,
            "state": SecretState.CURRENT,
        },
    )
    return int(version)


def current(connection: Connection, scope: str, name: str) -> SecretRow | None:
    """The version in use, or None."""
    found = connection.execute(_CURRENT, {"b_scope": scope, "b_name": name}).mappings()
    row = found.one_or_none()
    return None if row is None else _row(row)


def list_current(connection: Connection) -> tuple[SecretRow, ...]:
    """Every secret's version in use, by scope and name."""
    return tuple(_row(found) for found in connection.execute(_ALL_CURRENT).mappings())


def remove(connection: Connection, scope: str, name: str) -> bool:
    """Erase every version; whether there was one."""
    return connection.execute(_REMOVE, {"b_scope": scope, "b_name": name}).rowcount > 0


def sealed(
    connection: Connection, *, after: SecretRow | None = None, limit: int = MAX_PAGE
) -> tuple[SecretRow, ...]:
    """Every version that still holds something, page by page: what a new root key must re-wrap."""
    values: dict[str, object] = {"b_limit": max(1, min(limit, MAX_PAGE))}
    statement = _SEALED
    if after is not None:
        statement = _SEALED_AFTER
        values |= {"b_scope": after.scope, "b_name": after.name, "b_version": after.version}
    return tuple(_row(found) for found in connection.execute(statement, values).mappings())


def rewrap(connection: Connection, row: SecretRow, sealed: bytes) -> bool:
    """Replace the sealed bytes of a version if they are still those of `row`."""
    values = {
        "b_scope": row.scope,
        "b_name": row.name,
        "b_version": row.version,
        "b_old": row.sealed,
        "b_new": sealed,
    }
    return connection.execute(_REWRAP, values).rowcount == 1


def _row(found: RowMapping) -> SecretRow:
    values = dict(found)
    values["state"] = stored_state(SecretState, values["state"])
    return SecretRow(**values)
