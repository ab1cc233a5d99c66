"""API keys say whose they are, who made them and who confirmed them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; keys of before need nobody's word."""
    op.add_column("api_keys", sa.Column("person", sa.Text, nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("made_by", sa.Text, nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("confirmed_by", sa.Text, server_default=""))
