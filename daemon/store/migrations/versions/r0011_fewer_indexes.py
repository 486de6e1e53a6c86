"""No index of receipts by their ids: nothing finds them so, and each receipt paid for it."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Remove it."""
    op.drop_index("ix_receipts_receipt_id", table_name="receipts")
