"""A daemon with a disk that lies: a commit reaches it, and it reports an error.

    python faulty_daemon.py FLAG once|silent stockaded serve ...

The first commit of an answer after the file FLAG appears is the one. With `silent` the store does
not find out by itself that it was durable, either: its next attempt to sync the log fails.
"""

import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Connection


def last_kinds(connection: Connection) -> list[str]:
    """Of the newest receipts; whatever else the daemon does meanwhile is committed in peace."""
    raw: Any = connection.connection.dbapi_connection
    newest = raw.execute("SELECT kind FROM receipts ORDER BY sequence DESC LIMIT 4")
    return [kind for (kind,) in newest]


def main() -> None:
    flag, how = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[3:]
    from daemon import main as daemon_main
    from daemon.store import engine
    from daemon.store.faults import StoreFault

    real_commit, real_sync = engine._commit, engine.sync
    state = {"silent": False}

    def commit(connection: Connection) -> None:
        real_commit(connection)
        if flag.exists() and "approval.answered" in last_kinds(connection):
            flag.unlink()
            state["silent"] = how == "silent"
            raise StoreFault("STORE_IO", "the disk did not answer", "a test")

    def sync(connection: Any) -> bool:
        if state["silent"]:
            state["silent"] = False
            raise StoreFault("STORE_IO", "nor now", "a test")
        return real_sync(connection)

    engine._commit, engine.sync = commit, sync
    daemon_main.main()


if __name__ == "__main__":
    main()
