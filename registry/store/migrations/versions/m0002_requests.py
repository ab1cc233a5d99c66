"""Requests of every kind with their approvals, notices, and the scope of API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; submissions become requests."""
    _requests()
    op.execute(
        "INSERT INTO requests (id, kind, member, subject, state, version, body, note, changes,"
        " submitted_at, submitted_by, decided_at, decided_by, reason)"
        " SELECT id, kind, member, member, state, version, body, note, '[]',"
        " submitted_at, submitted_by, decided_at, decided_by, reason FROM submissions"
    )
    op.drop_table("submissions")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('requests', 'id'),"
            " (SELECT COALESCE(MAX(id), 0) + 1 FROM requests), false)"
        )
    where = sa.text("state = 'submitted' AND kind IN ('first', 'keys', 'update')")
    op.create_index("requests_of_member", "requests", ["member", "state"])
    op.create_index(
        "one_open_submission",
        "requests",
        ["member"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_table(
        "approvals",
        sa.Column("request", WHOLE, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("by", sa.Text, primary_key=True),
        sa.Column("seen", sa.Text, primary_key=True),
        sa.Column("at", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    _notices()
    op.add_column("api_keys", sa.Column("scope", sa.Text, nullable=False, server_default="[]"))


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("member", sa.Text),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("submitted_at", sa.Text, nullable=False),
        sa.Column("submitted_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("number", WHOLE, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("member", sa.Text, nullable=False),
        sa.Column("request", WHOLE),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("text_en", sa.Text, nullable=False),
        sa.Column("text_lo", sa.Text, nullable=False),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("notices_of_member", "notices", ["member", "number"])
