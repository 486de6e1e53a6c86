"""Leases that several people sign: what each signed with a yes, and the signatures of a lease."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns."""
    for name in ("lease_signature", "lease_terms"):
        op.add_column("approval_answers", sa.Column(name, sa.LargeBinary(), nullable=True))
    op.add_column("leases", sa.Column("cosigned", sa.LargeBinary(), nullable=True))
