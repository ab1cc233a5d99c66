"""A database under the search index, as its writer and its readers see it.

Statements are written once, with ``?`` for values; what a database raises stops here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from mediator.journal.index.tables import Batch

Row: TypeAlias = tuple[Any, ...]


class StoreError(Exception):
    """What became of a statement that did not succeed."""


class Damaged(StoreError):
    """The tables are not what they should be, or of another version: derived, made anew."""


class Away(StoreError):
    """The database does not answer; it may again."""


class GaveUp(StoreError):
    """The statement took longer than it may."""


class Store(Protocol):
    """A connection; used by one thread at a time. Every method raises :class:`StoreError`."""

    name: str

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        ...

    def load(self, batch: Batch) -> None:
        """Add a batch, whole or not at all; ``Away`` when somebody else added to it meanwhile."""
        ...

    def give_up_after(self, seconds: float) -> None:
        """Let no statement from now on run past this time."""
        ...

    def close(self) -> None:
        """Disconnect; idempotent, raises nothing."""
        ...


class Place(Protocol):
    """Where an index is kept."""

    name: str

    def connect(self) -> Store:
        """Open it for writing; its tables are there then.

        Raises:
            StoreError: ``Damaged`` when it has to be removed first; ``Away``.
        """
        ...

    def remove(self) -> None:
        """Remove all of it, so that it can be made anew."""
        ...
