"""Migrations of the registry's database (Alembic): how one version's tables become the next's.

Each is a module ``versions/m{number}_{what}.py`` with ``revision = "{number}"`` and
``down_revision`` the number before; it runs on SQLite and on PostgreSQL, in one transaction, and
stays as it is once it was released. The tables as they are now are defined where they are used
(:data:`registry.store.database.METADATA`); a test holds both to be the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from exchange.problems import Code, Problem
from registry.store.database import METADATA

FOLDER = Path(__file__).parent
_NAME = re.compile(r"m([0-9]{4})_[a-z_]+\.py", re.ASCII)


def head() -> str:
    """The newest version that this program knows."""
    return known()[-1]


def known() -> list[str]:
    """All versions that this program knows, oldest first."""
    found = (_NAME.fullmatch(path.name) for path in (FOLDER / "versions").iterdir())
    return sorted(match[1] for match in found if match is not None)


def version_of(connection: Connection) -> str | None:
    """The version of the tables in a database; nothing when it holds no registry."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def create(connection: Connection) -> None:
    """Make the tables of :func:`head` in a new database, as they are defined; within a transaction.

    A test holds that the migrations, one after the other, make the same.
    """
    METADATA.create_all(connection, checkfirst=False)
    key = "CONSTRAINT alembic_version_pkc PRIMARY KEY"
    connection.execute(
        text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL {key})")
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": head()})


def migrate(connection: Connection) -> None:
    """Bring the tables up to :func:`head`; within a transaction.

    Raises:
        Problem: ``Conflict`` when a newer program has been here.
    """
    version = version_of(connection)
    if version == head():
        return
    if version is not None and version not in known():
        raise Problem(
            Code.CONFLICT,
            where="database",
            detail=f"its tables are of version {version}, this program knows {head()}; "
            "run the newer program",
            facts={"version": version, "known": head()},
        )
    # Imported here: a start that finds all in place needs none of it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
