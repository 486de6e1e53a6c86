"""Secrets with the root key they are under and the time they expire; their bytes last."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BEFORE = ("scope", "name", "version", "sealed", "created_ms", "state")
_AFTER = (*_BEFORE, "root_key_id", "expires_ms")


def upgrade() -> None:
    """Make the table anew, with what the old one had."""
    connection = op.get_bind()
    op.rename_table("secrets", "secrets_before")
    op.create_table(
        "secrets",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root_key_id", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", "version", name=op.f("pk_secrets")),
    )
    op.create_index(op.f("ix_secrets_root_key_id"), "secrets", ["root_key_id"], unique=False)
    before = sa.table("secrets_before", *map(sa.column, _BEFORE))
    after = sa.table("secrets", *map(sa.column, _AFTER))
    newest: dict[tuple[str, str], int] = {}
    rows = connection.execute(sa.select(before)).mappings().all()
    for row in rows:
        key = (row["scope"], row["name"])
        newest[key] = max(newest.get(key, 0), row["version"])
    for row in rows:
        sealed = bytes(row["sealed"])
        if not sealed and row["version"] < newest[row["scope"], row["name"]]:
            continue  # an erased version; the newest row knows the number
        # Bytes 5 to 12 of the frozen format are the id of the root key.
        values = {**row, "sealed": sealed, "root_key_id": sealed[5:13].hex(), "expires_ms": None}
        connection.execute(after.insert(), values)
    op.drop_table("secrets_before")
