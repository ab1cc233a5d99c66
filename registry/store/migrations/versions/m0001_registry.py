"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _published()
    op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    _submissions()
    op.create_table(
        "acts",
        sa.Column("number", WHOLE, primary_key=True, autoincrement=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("at", "actor", "act", "subject", "detail")
        ),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("member", sa.Text),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text),
        sqlite_strict=True,
    )
    op.create_table(
        "log",
        sa.Column("index", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("size", WHOLE, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )


def _published() -> None:
    op.create_table(
        "roots",
        sa.Column("version", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "roles",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("since", WHOLE, nullable=False),
        sa.Column("until", WHOLE),
        sqlite_strict=True,
    )
    _present("one_present_version", "roles", ["name"])
    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "files",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("since", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, sa.ForeignKey("blobs.digest"), nullable=False),
        sa.Column("until", WHOLE),
        sqlite_strict=True,
    )
    _present("one_present_file", "files", ["role", "path"])
    op.create_table(
        "states",
        sa.Column("snapshot", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sqlite_strict=True,
    )


def _present(name: str, table: str, columns: list[str]) -> None:
    where = sa.text("until IS NULL")
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
        sa.Column("member", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("submitted_at", sa.Text, nullable=False),
        sa.Column("submitted_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("submissions_of_member", "submissions", ["member", "state"])
    where = sa.text("state = 'submitted'")
    op.create_index(
        "one_open_submission",
        "submissions",
        ["member"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
