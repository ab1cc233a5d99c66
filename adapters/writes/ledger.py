"""The ledger: a table of the source that remembers each message which wrote, and its answer.

Its row is written in the transaction of the effect, so the two are there together or not at all:
whatever breaks after the commit, the same message finds its first answer here, and whatever breaks
before it leaves nothing. Two transactions with one id meet at its key: the second waits for the
first and then finds its answer.

The table is the owner's to create (:func:`ddl`) and to thin (:func:`thin`): for as long as a row is
there, its message is not carried out again. Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

COLUMNS = ("client", "id", "digest", "status", "etag", "location", "body", "written_at")

LONGEST_LOCATION = 1_000
"""What the column holds; a longer one is not told."""

# fmt: off
_TYPES: dict[str, dict[str, str]] = {
    "sqlite": {"key": "TEXT", "text": "TEXT", "body": "TEXT", "time": "INTEGER"},
    "postgresql": {"key": "VARCHAR(255)", "text": "VARCHAR(1000)", "body": "TEXT",
                   "time": "BIGINT"},
    "mariadb": {"key": "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin",
                "text": "VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin",
                "body": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "time": "BIGINT"},
}
# fmt: on
_TYPES["mysql"] = _TYPES["mariadb"]


@dataclass(frozen=True, slots=True)
class Message:
    """Who asks, the message's id, and the digest of what is asked, under which agreement."""

    client: str
    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as the ledger has it; ``etag`` and ``location`` may be empty."""

    status: int
    etag: str
    location: str
    body: bytes


class Ledger:
    """The statements of one ledger; ``table`` is a name that passed the mapping's reader."""

    def __init__(self, table: str) -> None:
        values = ", ".join(f":{column}" for column in COLUMNS)
        key = "WHERE client = :client AND id = :id"
        self._claim = text(f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({values})")  # noqa: S608
        self._find = text(f"SELECT digest, status, etag, location, body FROM {table} {key}")  # noqa: S608
        self._finish = text(
            f"UPDATE {table} SET status = :status, etag = :etag, location = :location, "  # noqa: S608
            f"body = :body {key}"
        )
        self._look = text(f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE 1 = 0")  # noqa: S608
        self._thin = text(f"DELETE FROM {table} WHERE written_at < :before")  # noqa: S608

    def claim(self, connection: Connection, message: Message, now: int) -> None:
        """Write the row of a message, still without its answer.

        Raises:
            sqlalchemy.exc.IntegrityError: when the message has one.
        """
        row = _key(message) | {"digest": message.digest, "written_at": now}
        empty = {"status": 0, "etag": None, "location": None, "body": None}
        connection.execute(self._claim, row | empty)

    def find(self, connection: Connection, message: Message) -> tuple[str, Kept] | None:
        """The digest of what was asked under the message's id before, and the answer to it."""
        row = connection.execute(self._find, _key(message)).one_or_none()
        if row is None:
            return None
        digest, status, etag, location, body = row
        return digest, Kept(status, etag or "", location or "", (body or "").encode())

    def finish(self, connection: Connection, message: Message, kept: Kept) -> None:
        """Add the answer to the row that :meth:`claim` wrote."""
        values = {
            "status": kept.status,
            "etag": kept.etag or None,
            "location": kept.location or None,
            "body": kept.body.decode() or None,
        }
        connection.execute(self._finish, _key(message) | values)

    def look(self, connection: Connection) -> None:
        """See that the table and its columns are there."""
        connection.execute(self._look)

    def thin(self, connection: Connection, before: int) -> int:
        """Forget the messages that wrote before a time; how many there were."""
        return connection.execute(self._thin, {"before": before}).rowcount


def _key(message: Message) -> dict[str, str]:
    return {"client": message.client, "id": message.id}


def ddl(table: str, dialect: str) -> str:
    """The statements that make the ledger, for the owner of the source to run.

    Args:
        dialect: SQLAlchemy's name of one that is written to.
    """
    types = _TYPES[dialect]
    index = table.replace(".", "_") + "_written_at"
    return f"""CREATE TABLE {table} (
  client {types["key"]} NOT NULL,
  id {types["key"]} NOT NULL,
  digest CHAR(64) NOT NULL,
  status INTEGER NOT NULL,
  etag {types["text"]},
  location {types["text"]},
  body {types["body"]},
  written_at {types["time"]} NOT NULL,
  PRIMARY KEY (client, id)
);
CREATE INDEX {index} ON {table} (written_at);
"""
