"""Sealed secrets, by scope, name and version. Sealing and opening is the vault's.

Trusted never to give a version twice, also after removal: the version is part of what a secret is
sealed with, and an old blob must not pass for a new one. So many older versions are kept as the
caller says; the rows of the others go. Of a secret that is removed or revoked one row stays,
empty, which knows the last version. The database overwrites what goes with zeros; what is left of
it in the log goes with `daemon.store.engine.scrub`.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import (
    Connection,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from daemon.store.faults import stored_state
from daemon.store.tables import secrets

MAX_PAGE: Final = 500


class SecretState(StrEnum):
    """What a version is. Values are stored: never renamed."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
    REVOKED = "revoked"


class SealedValue(NamedTuple):
    """A sealed value, and which root key it is under."""

    root_key_id: str
    sealed: bytes


_T: Final = secrets.c
_NAMED: Final = (_T.scope == bindparam("b_scope"), _T.name == bindparam("b_name"))
_THIS: Final = (*_NAMED, _T.version == bindparam("b_version"))
_WITHOUT_BYTES: Final = tuple(column for column in _T if column.name != "sealed")
_LATEST: Final = select(*_WITHOUT_BYTES).where(*_NAMED).order_by(_T.version.desc()).limit(1)
_INSERT: Final = insert(secrets)
_SUPERSEDE: Final = (
    update(secrets)
    .where(*_NAMED, _T.state == SecretState.CURRENT)
    .values(state=SecretState.SUPERSEDED)
)
_CURRENT: Final = select(secrets).where(*_NAMED, _T.state == SecretState.CURRENT)
_VERSION: Final = select(secrets).where(*_THIS)
_OLDER: Final = (
    select(_T.version)
    .where(*_NAMED, _T.state != SecretState.CURRENT)
    .order_by(_T.version.desc())
    .offset(bindparam("b_keep"))
    .limit(MAX_PAGE)
)
_ALL_VERSIONS: Final = select(_T.version).where(*_NAMED).order_by(_T.version)
_DELETE: Final = delete(secrets).where(*_THIS)
_EMPTY: Final = (
    update(secrets)
    .where(*_THIS)
    .values(state=bindparam("b_state"), sealed=b"", root_key_id="", expires_ms=None)
)
_OLD: Final = secrets.alias("old")
_KEPT: Final = (
    select(func.count())
    .select_from(_OLD)
    .where(
        _OLD.c.scope == _T.scope,
        _OLD.c.name == _T.name,
        _OLD.c.state == SecretState.SUPERSEDED,
    )
    .scalar_subquery()
)
_LIST: Final = (
    select(*_WITHOUT_BYTES, _KEPT.label("older"))
    .where(
        _T.state == SecretState.CURRENT,
        tuple_(_T.scope, _T.name)
        > tuple_(
            bindparam("b_scope", type_=_T.scope.type), bindparam("b_name", type_=_T.name.type)
        ),
    )
    .order_by(_T.scope, _T.name)
    .limit(bindparam("b_limit"))
)
_PAGE: Final = (
    select(secrets)
    .where(
        _T.state.in_((SecretState.CURRENT, SecretState.SUPERSEDED)),
        tuple_(_T.scope, _T.name, _T.version)
        > tuple_(
            bindparam("b_scope", type_=_T.scope.type),
            bindparam("b_name", type_=_T.name.type),
            bindparam("b_version", type_=_T.version.type),
        ),
    )
    .order_by(_T.scope, _T.name, _T.version)
    .limit(bindparam("b_limit"))
)
_UNDER: Final = (
    select(secrets).where(_T.root_key_id == bindparam("b_root")).limit(bindparam("b_limit"))
)
_ROOTS: Final = select(_T.root_key_id).where(_T.root_key_id != "").distinct()
_EXPIRING: Final = (
    select(func.count())
    .select_from(secrets)
    .where(_T.state == SecretState.CURRENT, _T.expires_ms <= bindparam("b_before"))
)
_RESEAL: Final = (
    update(secrets)
    .where(*_THIS, _T.sealed == bindparam("b_old", type_=_T.sealed.type))
    .where(_T.state.in_((SecretState.CURRENT, SecretState.SUPERSEDED)))
    .values(
        sealed=bindparam("b_new", type_=_T.sealed.type),
        root_key_id=bindparam("b_root", type_=_T.root_key_id.type),
    )
)


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One version of a secret, sealed."""

    scope: str
    name: str
    version: int
    root_key_id: str
    created_ms: int
    expires_ms: int | None
    state: SecretState
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What may be said of a version to whoever may list secrets."""

    scope: str
    name: str
    version: int
    created_ms: int
    expires_ms: int | None
    state: SecretState
    older: int = 0
    """How many versions before it are kept."""


BEFORE_ALL: Final = ("", "", 0)


def put(
    connection: Connection,
    scope: str,
    name: str,
    *,
    seal: Callable[[int], SealedValue],
    now_ms: int,
    keep: int,
    expires_ms: int | None = None,
    at_least: int = 1,
) -> tuple[int, int]:
    """Store the next version, sealed by `seal` for its number; that number, and how many went.

    `seal` runs inside the transaction: the number is not known before. `keep` older versions stay.
    """
    last = latest(connection, scope, name)
    version = max(last.version + 1 if last else 1, at_least)
    sealed = seal(version)
    connection.execute(_SUPERSEDE, _named(scope, name))
    connection.execute(
        _INSERT,
        {
            "scope": scope,
            "name": name,
            "version": version,
            "root_key_id": sealed.root_key_id,
            "created_ms": now_ms,
            "expires_ms": expires_ms,
            "state": SecretState.CURRENT,
            "sealed": sealed.sealed,
        },
    )
    older = connection.execute(_OLDER, {**_named(scope, name), "b_keep": keep}).scalars().all()
    for one in older:
        connection.execute(_DELETE, _this(scope, name, one))
    return version, len(older)


def current(connection: Connection, scope: str, name: str) -> SecretRow | None:
    """The version in use, or None."""
    found = connection.execute(_CURRENT, _named(scope, name)).mappings().one_or_none()
    return None if found is None else _row(found)


def get(connection: Connection, scope: str, name: str, version: int) -> SecretRow | None:
    """One version, if it is kept."""
    found = connection.execute(_VERSION, _this(scope, name, version)).mappings().one_or_none()
    return None if found is None or not found["sealed"] else _row(found)


def latest(connection: Connection, scope: str, name: str) -> SecretFacts | None:
    """What is known of the newest version, also of one that is gone."""
    found = connection.execute(_LATEST, _named(scope, name)).mappings().one_or_none()
    return None if found is None else _facts(found)


def page_of_current(
    connection: Connection, *, after: tuple[str, str] = ("", ""), limit: int = MAX_PAGE
) -> tuple[SecretFacts, ...]:
    """Every secret's version in use, by scope and name, page by page; without its bytes."""
    values = {**_named(*after), "b_limit": _bounded(limit)}
    return tuple(_facts(found) for found in connection.execute(_LIST, values).mappings())


def page(
    connection: Connection, *, after: tuple[str, str, int] = BEFORE_ALL, limit: int = MAX_PAGE
) -> tuple[SecretRow, ...]:
    """Every version that still holds something, page by page."""
    values = {**_this(*after), "b_limit": _bounded(limit)}
    return tuple(_row(found) for found in connection.execute(_PAGE, values).mappings())


def all_versions(connection: Connection) -> list[SecretRow]:
    """Every version that still holds something."""
    rows: list[SecretRow] = []
    after = BEFORE_ALL
    while found := page(connection, after=after):
        rows += found
        after = (found[-1].scope, found[-1].name, found[-1].version)
    return rows


def under(connection: Connection, root_key_id: str, limit: int) -> tuple[SecretRow, ...]:
    """Versions that are sealed under this root key."""
    values = {"b_root": root_key_id, "b_limit": _bounded(limit)}
    return tuple(_row(found) for found in connection.execute(_UNDER, values).mappings())


def root_key_ids(connection: Connection) -> frozenset[str]:
    """The root keys that something is sealed under."""
    return frozenset(connection.execute(_ROOTS).scalars())


def expiring(connection: Connection, before_ms: int) -> int:
    """How many secrets in use expire before then, or have."""
    return int(connection.execute(_EXPIRING, {"b_before": before_ms}).scalar_one())


def erase(connection: Connection, scope: str, name: str, state: SecretState) -> bool:
    """Erase every version and say what became of the secret; False if there is none."""
    last = latest(connection, scope, name)
    if last is None or last.state in (SecretState.REMOVED, SecretState.REVOKED):
        return False
    versions = connection.execute(_ALL_VERSIONS, _named(scope, name)).scalars().all()
    for version in versions:
        this = _this(scope, name, version)
        if version == last.version:
            connection.execute(_EMPTY, {**this, "b_state": state})
        else:
            connection.execute(_DELETE, this)
    return True


def bar(connection: Connection, scope: str, name: str, *, now_ms: int) -> bool:
    """Have a name that is kept elsewhere refused from now on; False if it is already."""
    last = latest(connection, scope, name)
    if last is not None and last.state is SecretState.REVOKED:
        return False
    if last is not None:
        connection.execute(_DELETE, _this(scope, name, last.version))
    empty = {"root_key_id": "", "sealed": b"", "expires_ms": None, "created_ms": now_ms}
    version = last.version + 1 if last else 1
    state = SecretState.REVOKED
    connection.execute(
        _INSERT, {"scope": scope, "name": name, "version": version, "state": state, **empty}
    )
    return True


def unbar(connection: Connection, scope: str, name: str) -> bool:
    """Let such a name be had again; False if it was not refused."""
    last = latest(connection, scope, name)
    if last is None or last.state is not SecretState.REVOKED:
        return False
    connection.execute(_EMPTY, {**_this(scope, name, last.version), "b_state": SecretState.REMOVED})
    return True


def reseal(connection: Connection, row: SecretRow, value: SealedValue) -> bool:
    """Replace the sealed bytes of a version if they are still those of `row`."""
    values = {
        **_this(row.scope, row.name, row.version),
        "b_old": row.sealed,
        "b_new": value.sealed,
        "b_root": value.root_key_id,
    }
    return connection.execute(_RESEAL, values).rowcount == 1


def _named(scope: str, name: str) -> dict[str, object]:
    return {"b_scope": scope, "b_name": name}


def _this(scope: str, name: str, version: int) -> dict[str, object]:
    return {"b_scope": scope, "b_name": name, "b_version": version}


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _facts(found: RowMapping) -> SecretFacts:
    values = {key: value for key, value in found.items() if key != "root_key_id"}
    values["state"] = stored_state(SecretState, values["state"])
    return SecretFacts(**values)


def _row(found: RowMapping) -> SecretRow:
    values = dict(found)
    values["state"] = stored_state(SecretState, values["state"])
    return SecretRow(**values)
