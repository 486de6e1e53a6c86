"""What is kept of a call's output."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column."""
    op.add_column("calls", sa.Column("output", sa.LargeBinary(), nullable=True))
