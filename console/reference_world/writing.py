"""How the legacy systems of the reference world are written into a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, Table, create_engine, insert

Rows = list[dict[str, Any]]


def written(day: date) -> str:
    """A day as people of these systems write it."""
    return f"{day.day:02d}/{day.month:02d}/{day.year}"


def write_tables(
    target: Path | str, metadata: MetaData, tables: Sequence[tuple[Table, Rows]]
) -> None:
    """Write tables into a SQLite file, or the database at a SQLAlchemy address; what was there
    under the same names is replaced.
    """
    url = target if isinstance(target, str) and "://" in target else f"sqlite:///{target}"
    engine = create_engine(url)
    try:
        metadata.drop_all(engine)
        metadata.create_all(engine)
        with engine.begin() as connection:
            for table, rows in tables:
                connection.execute(insert(table), [_stored(engine, row) for row in rows])
    finally:
        engine.dispose()


def _stored(engine: Engine, row: dict[str, Any]) -> dict[str, Any]:
    if engine.dialect.name != "sqlite":
        return row
    # SQLite has no decimals and no times: numbers with two decimals and text, as PHP would write.
    return {
        name: float(value)
        if isinstance(value, Decimal)
        else str(value)
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
