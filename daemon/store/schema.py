"""Bringing a database to the schema of this version.

Trusted to leave alone what it does not know: a database of a newer version (STORE_NEWER) and one
that is not ours (STORE_CORRUPT) are refused unchanged. A migration is one transaction: it happens
whole or not at all; and before it, a copy of the database as it is is put beside it. Alembic is
imported only when there is something to migrate; it would cost every start 90 ms and 12 MB.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select

from daemon.store import copying
from daemon.store.faults import StoreFault

REVISION: Final = "0011"
"""The newest revision in migrations/versions; a test holds the two together."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_version: Final = Table("alembic_version", MetaData(), Column("version_num", String))


def bring_up(reads: Engine, writes: Engine) -> None:
    """Migrate to REVISION if the database is older or new."""
    with reads.connect() as connection:
        found = revision(connection)
        if found == REVISION:
            return
    if found is not None and found < REVISION:
        path = Path(str(reads.url.database))
        copying.copy(path, path.with_name(f"{path.stem}-before-{REVISION}{path.suffix}"))
    with writes.begin() as connection:
        # Asked again under the write lock: another process may just have migrated.
        if revision(connection) != REVISION:
            _upgrade(connection)


def revision(connection: Connection) -> str | None:
    """The revision of a database of ours; None if it is empty."""
    names = inspect(connection).get_table_names()
    if _version.name in names:
        revisions = connection.execute(select(_version.c.version_num)).scalars().all()
        if len(revisions) == 1:
            return str(revisions[0])
    if not names:
        return None
    raise StoreFault(
        "STORE_CORRUPT",
        "the file is a database, but not one of this daemon",
        "name another data directory, or restore this one from a backup",
    )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    # A % in the path would be read as an interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = revision(connection)
    if found is not None and found not in known:
        raise StoreFault(
            "STORE_NEWER",
            f"the database has the schema {found} of a newer version; this one knows {REVISION}",
            "run the version of the daemon that last ran here, or a newer one",
        )
    command.upgrade(config, REVISION)
