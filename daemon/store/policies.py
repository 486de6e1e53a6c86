"""Policy sets by digest, and which was in force when.

Trusted to change the set in force only for who knew the one before: activations are numbered, and
a number is given once. Nothing here is edited or removed.
Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, select

from daemon.store.engine import insert_once
from daemon.store.ids import PolicyDigest
from daemon.store.tables import policies, policy_activations

MAX_PAGE: Final = 500

_GET: Final = select(policies).where(policies.c.digest == bindparam("b_digest"))
_HISTORY: Final = (
    select(policy_activations)
    .order_by(policy_activations.c.number.desc())
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy set, as the bytes its digest is over."""

    digest: PolicyDigest
    files: bytes = field(repr=False)
    saved_ms: int


@dataclass(frozen=True, slots=True)
class Activation:
    """The `number`th time a policy set came into force."""

    number: int
    digest: PolicyDigest
    activated_ms: int
    activated_by: str


def save(connection: Connection, row: PolicyRow) -> bool:
    """Store a policy set; False if it is there already (the same digest is the same set)."""
    values = {"digest": row.digest, "files": row.files, "saved_ms": row.saved_ms}
    return insert_once(connection, policies, values)


def get(connection: Connection, digest: PolicyDigest) -> PolicyRow | None:
    """A policy set, or None."""
    found = connection.execute(_GET, {"b_digest": digest}).mappings().one_or_none()
    return None if found is None else PolicyRow(**found)


def current(connection: Connection) -> Activation | None:
    """The set in force, or None: then everything is denied."""
    found = history(connection, limit=1)
    return found[0] if found else None


def activate(
    connection: Connection,
    digest: PolicyDigest,
    *,
    after: Activation | None,
    activated_by: str,
    now_ms: int,
) -> bool:
    """Bring a saved set into force if `after` still is the last activation; whether it was."""
    number = 1 if after is None else after.number + 1
    if current(connection) != after:
        return False
    values = {
        "number": number,
        "digest": digest,
        "activated_ms": now_ms,
        "activated_by": activated_by,
    }
    return insert_once(connection, policy_activations, values)


def history(connection: Connection, *, limit: int = MAX_PAGE) -> tuple[Activation, ...]:
    """Activations, newest first."""
    values = {"b_limit": max(1, min(limit, MAX_PAGE))}
    return tuple(Activation(**row) for row in connection.execute(_HISTORY, values).mappings())
