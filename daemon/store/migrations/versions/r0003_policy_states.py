"""Policy sets with their schema and entity data, each part once; snapshots of entities."""

import hashlib
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the new tables, with what the old ones had."""
    connection = op.get_bind()
    policies = connection.execute(sa.text("SELECT digest, files, saved_ms FROM policies")).all()
    activations = connection.execute(
        sa.text("SELECT number, digest, activated_ms, activated_by FROM policy_activations")
    ).all()
    # Dropped and made again: the one refers to the other, and SQLite changes no constraint.
    op.drop_table("policy_activations")
    op.drop_table("policies")
    _create()
    documents = sa.table("policy_documents", sa.column("digest"), sa.column("content"))
    names = ("digest", "files", "saved_ms")
    sets = sa.table("policies", *map(sa.column, names))
    known: set[str] = set()
    for digest, files, saved_ms in policies:
        content = bytes(files)
        name = hashlib.sha256(content).hexdigest()
        if name not in known:
            known.add(name)
            row = {"digest": name, "content": zlib.compress(content)}
            connection.execute(documents.insert(), row)
        values = {"digest": digest, "files": name, "saved_ms": saved_ms}
        connection.execute(sets.insert(), values)
    columns = ("number", "digest", "activated_ms", "activated_by", "cause")
    history = sa.table("policy_activations", *map(sa.column, columns))
    for activation in activations:
        values = dict(zip(columns, (*activation, "applied"), strict=True))
        connection.execute(history.insert(), values)


def _create() -> None:
    op.create_table(
        "policy_documents",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policy_documents")),
    )
    op.create_table(
        "policies",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("files", sa.String(), nullable=False),
        sa.Column("schema", sa.String(), nullable=True),
        sa.Column("data", sa.String(), nullable=True),
        sa.Column("saved_ms", sa.BigInteger(), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [name],
                ["policy_documents.digest"],
                name=op.f(f"fk_policies_{name}_policy_documents"),
            )
            for name in ("files", "schema", "data")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policies")),
    )
    op.create_table(
        "policy_activations",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("activated_ms", sa.BigInteger(), nullable=False),
        sa.Column("activated_by", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["policies.digest"], name=op.f("fk_policy_activations_digest_policies")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policy_activations")),
    )
    op.create_table(
        "entity_snapshots",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("saved_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_entity_snapshots")),
    )
    op.create_index(
        op.f("ix_entity_snapshots_saved_ms"), "entity_snapshots", ["saved_ms"], unique=False
    )
