"""Whom an approval was shown to and when others were asked; the lease a lease was narrowed from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "approval_shown",
        sa.Column("approval_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"],
            ["approvals.approval_id"],
            name=op.f("fk_approval_shown_approval_id_approvals"),
        ),
        sa.PrimaryKeyConstraint("approval_id", "device_id", name=op.f("pk_approval_shown")),
    )
    op.add_column("approvals", sa.Column("escalated_ms", sa.BigInteger(), nullable=True))
    op.add_column("leases", sa.Column("parent_id", sa.String(), nullable=True))
