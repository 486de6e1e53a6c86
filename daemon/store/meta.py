"""Small facts about the database itself, by key.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from daemon.store import tables
from daemon.store.engine import insert_once
from daemon.store.prepared import Prepared

_GET: Final = select(tables.meta.c.value).where(tables.meta.c.key == bindparam("b_key"))
_SWAP: Final = Prepared(
    update(tables.meta)
    .where(tables.meta.c.key == bindparam("b_key"), tables.meta.c.value == bindparam("b_old"))
    .values(value=bindparam("b_new"))
)


def get(connection: Connection, key: str) -> str | None:
    """The value of `key`, or None."""
    return connection.execute(_GET, {"b_key": key}).scalar_one_or_none()


def swap(connection: Connection, key: str, old: str | None, new: str) -> bool:
    """Set `key` to `new` if it still is `old` (None: not there); whether it was."""
    if old is None:
        return insert_once(connection, tables.meta, {"key": key, "value": new})
    return _SWAP.run(connection, {"b_key": key, "b_old": old, "b_new": new}) == 1
