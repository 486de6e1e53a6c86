"""Snapshots of entities, by digest, as long as there is room.

Trusted to keep a snapshot with the decision that was made with it, in one transaction, and to keep
no more than MAX_BYTES of them: the oldest go first, and the one just saved never does. Functions
over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from daemon.store.engine import insert_once
from daemon.store.tables import entity_snapshots

MAX_BYTES: Final = 64 * 1024 * 1024

_GET: Final = select(entity_snapshots.c.content).where(
    entity_snapshots.c.digest == bindparam("b_digest")
)
_SIZE: Final = select(func.coalesce(func.sum(entity_snapshots.c.size), 0))
_OLDEST: Final = (
    select(entity_snapshots.c.digest, entity_snapshots.c.size)
    .where(entity_snapshots.c.digest != bindparam("b_digest"))
    .order_by(entity_snapshots.c.saved_ms, entity_snapshots.c.digest)
    .limit(100)
)
_TOUCH: Final = (
    update(entity_snapshots)
    .where(entity_snapshots.c.digest == bindparam("b_digest"))
    .values(saved_ms=bindparam("b_now"))
)
_DELETE: Final = delete(entity_snapshots).where(entity_snapshots.c.digest == bindparam("b_digest"))


def save(
    connection: Connection, digest: str, content: bytes, now_ms: int, *, room: int = MAX_BYTES
) -> bool:
    """Store a snapshot and make room for it; False if it is there already: it is fresh again."""
    values = {"digest": digest, "content": content, "size": len(content), "saved_ms": now_ms}
    if not insert_once(connection, entity_snapshots, values):
        connection.execute(_TOUCH, {"b_digest": digest, "b_now": now_ms})
        return False
    over = int(connection.execute(_SIZE).scalar_one()) - room
    while over > 0:
        oldest = connection.execute(_OLDEST, {"b_digest": digest}).all()
        for row in oldest:
            if over > 0:
                connection.execute(_DELETE, {"b_digest": row.digest})
                over -= row.size
        if not oldest:
            return True
    return True


def get(connection: Connection, digest: str) -> bytes | None:
    """A snapshot's content, or None if it is not kept (any more)."""
    return connection.execute(_GET, {"b_digest": digest}).scalar_one_or_none()
