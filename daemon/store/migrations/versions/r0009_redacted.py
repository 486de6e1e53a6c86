"""The redacted copy of a call's arguments, and the salt of their digest while the call is open."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns."""
    for name in ("redacted", "salt"):
        op.add_column("calls", sa.Column(name, sa.LargeBinary(), nullable=True))
