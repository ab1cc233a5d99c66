"""The intake of the registry's own log: entries in their order, and the newest checkpoint.

Entries are appended in the transaction of what they tell of, so neither stands without the other.
The log's tiles are derived from here. The checkpoint is replaced by compare-and-swap, so that two
processes on one database never put out two that disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, LargeBinary, Table, func, insert, select, update

from registry.store.database import METADATA, WHOLE, Database

LOG = Table(
    "log",
    METADATA,
    Column("index", WHOLE, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    sqlite_strict=True,
)
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("id", WHOLE, primary_key=True, autoincrement=False),  # there is one row, 1
    Column("size", WHOLE, nullable=False),
    Column("note", LargeBinary, nullable=False),
    sqlite_strict=True,
)


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """The newest signed checkpoint: how many entries it covers, and its note."""

    size: int
    note: bytes


class Log(Database):
    """The log of the store."""

    def append_log(self, entry: bytes) -> int:
        """Append an entry and give its index, counted from 0 without a gap."""
        with self.transaction():
            index = self.log_size()
            self._run(insert(LOG).values(index=index, entry=entry))
        return index

    def log_size(self) -> int:
        """How many entries there are."""
        return int(self._rows(select(func.coalesce(func.max(LOG.c.index), -1)))[0][0]) + 1

    def log(self, *, after: int = -1, limit: int = 1000) -> list[tuple[int, bytes]]:
        """Entries with their indexes in their order, after the index ``after``."""
        rows = self._rows(
            select(LOG.c.index, LOG.c.entry)
            .where(LOG.c.index > after)
            .order_by(LOG.c.index)
            .limit(limit)
        )
        return [(int(row[0]), bytes(row[1])) for row in rows]

    def checkpoint(self) -> LogCheckpoint | None:
        """The newest checkpoint, if there is one."""
        rows = self._rows(select(CHECKPOINTS.c.size, CHECKPOINTS.c.note))
        return LogCheckpoint(rows[0].size, bytes(rows[0].note)) if rows else None

    def put_checkpoint(self, expected_size: int | None, size: int, note: bytes) -> bool:
        """Replace the checkpoint if its size is still the expected one (``None``: there is none).

        Returns whether it was replaced: if not, another process was faster, whose checkpoint
        holds. The same size again, with more signatures, is fine.
        """
        if not (expected_size or 0) <= size:
            raise ValueError("a checkpoint never covers less than the one before")
        with self.transaction():
            if size > self.log_size():
                raise ValueError("a checkpoint covers entries that there are")
            if expected_size is None:
                if self.checkpoint() is not None:
                    return False
                self._run(insert(CHECKPOINTS).values(id=1, size=size, note=note))
                return True
            done = self._run(
                update(CHECKPOINTS)
                .where(CHECKPOINTS.c.size == expected_size)
                .values(size=size, note=note)
            )
            return done.rowcount == 1
