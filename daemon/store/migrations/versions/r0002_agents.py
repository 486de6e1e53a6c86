"""Agents, their certificates, and the calls of a device with those of its agents."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the agents; say of every certificate whether it is one's."""
    op.create_table(
        "agents",
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("manifest_digest", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.device_id"], name=op.f("fk_agents_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agents")),
    )
    op.create_index(op.f("ix_agents_device_id"), "agents", ["device_id"], unique=False)
    with op.batch_alter_table("certificates") as table:
        table.add_column(sa.Column("agent_id", sa.String(), nullable=True))
        table.create_foreign_key(
            op.f("fk_certificates_agent_id_agents"), "agents", ["agent_id"], ["agent_id"]
        )
        table.create_index(op.f("ix_certificates_agent_id"), ["agent_id"], unique=False)
    op.create_index(
        op.f("ix_calls_device_id_created_ms_call_id"),
        "calls",
        ["device_id", "created_ms", "call_id"],
        unique=False,
    )
