"""The log of a MariaDB (MySQL) database: which rows were written lately, by triggers of the owner.

MariaDB tells an account that may only SELECT nothing of the transactions that run, so numbers and
their order would prove nothing (docs/adr/0073). The triggers keep one row for each key instead,
with the time when its row was last written. A look reads the keys of the time since the last one,
and of ``overlap`` before it: a transaction that takes longer is found by the next comparison.

No transaction waits for a reader, and two wait for each other here only when they write the same
row of the owner's table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from adapters.changes.reading import key_of, no_log
from adapters.mapping.changes import Changes, Log
from exchange.problems import Code, Problem

TABLE = "saphan_changes"
_FOUND = text(
    "SELECT COUNT(*) FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saphan_changes'"
)
_PRESENT = text("SELECT UTC_TIMESTAMP(6)")
_ENTRIES = text(
    f"SELECT at, digest, row_key FROM {TABLE}"  # noqa: S608
    " WHERE topic = :topic AND (at > :at OR (at = :at AND digest > :digest))"
    " ORDER BY at, digest LIMIT :most"
)
_COMMON = f"""\
CREATE TABLE IF NOT EXISTS {TABLE} (
    topic VARCHAR(40) CHARACTER SET ascii NOT NULL,
    digest BINARY(32) NOT NULL,
    row_key TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at DATETIME(6) NOT NULL,
    PRIMARY KEY (topic, digest),
    KEY saphan_changes_read (topic, at, digest)
) ENGINE = InnoDB;"""
_EVENTS = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


@dataclass(frozen=True, slots=True)
class Noted:
    """A key whose row was written ``at`` a time, in UTC by the database's clock."""

    at: datetime
    digest: bytes
    key: tuple[Any, ...]


def present(connection: Connection, changes: Changes) -> datetime:
    """The time by the database's clock.

    Raises:
        Problem: ``SourceFailed`` when the database has no log.
    """
    if not connection.execute(_FOUND).scalar_one():
        raise no_log(changes, TABLE)
    found: datetime = connection.execute(_PRESENT).scalar_one()
    return found


def entries(
    connection: Connection, topic: str, after: tuple[datetime, bytes], most: int
) -> list[Noted]:
    """The next keys after a time and a digest, in their order."""
    values = {"topic": topic, "at": after[0], "digest": after[1], "most": most}
    rows = connection.execute(_ENTRIES, values)
    return [Noted(at, bytes(digest), key_of(key) or ()) for at, digest, key in rows]


def owner_sql(changes: Changes, log: Log) -> str:
    """What the owner of the database runs once, as one who may create tables and triggers.

    Running it again changes nothing. There is no block in it, so no DELIMITER either.

    Raises:
        Problem: ``InvalidMapping`` for a table of another database than that of the address.
    """
    parts = [
        f"-- The account of the mapping needs to SELECT from {TABLE}.",
        f"-- It has one row a key; rows older than {log.keep_days} days may be deleted.",
        _COMMON,
    ]
    for table, columns in log.tables.items():
        if "." in table:
            detail = f"{table}: triggers are for tables of the database that the address names"
            raise Problem(Code.INVALID_MAPPING, where=changes.where, detail=detail)
        for event, images in _EVENTS.items():
            rows = ",\n    ".join(_row(changes.name, image, columns) for image in images)
            name = _trigger(changes, table, event)
            parts.append(
                f"DROP TRIGGER IF EXISTS {name};\n"
                f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW\n"
                f"  INSERT INTO {TABLE} (topic, digest, row_key, at) VALUES\n    {rows}\n"
                "  ON DUPLICATE KEY UPDATE at = GREATEST(at, VALUES(at));"
            )
    return "\n".join(parts)


def _row(topic: str, image: str, columns: Sequence[str]) -> str:
    key = f"JSON_ARRAY({', '.join(f'{image}.{column}' for column in columns)})"
    return f"('{topic}', UNHEX(SHA2({key}, 256)), {key}, UTC_TIMESTAMP(6))"


def _trigger(changes: Changes, table: str, event: str) -> str:
    """A name that no other table's trigger has: they are of a whole database here."""
    mark = hashlib.blake2b(table.encode(), digest_size=3).hexdigest()
    return f"saphan_{changes.name.replace('-', '_').lower()}_{mark}_{event[:3].lower()}"
