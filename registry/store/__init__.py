"""What the registry remembers: published metadata and files, submissions, acts, API keys, its log.

One database (SQLite, or PostgreSQL by setting), the truth from which the published tree of files is
only an export (:mod:`registry.publication.tree`). Every change of what is published, the submission
that it came from and its record in ``acts`` are one transaction.

:class:`Store` is made of parts, each a module with its tables and its methods; they speak in
values and bytes, and no SQL leaves them. To add a part: a module with its tables on
:data:`registry.store.database.METADATA` and a class on
:class:`~registry.store.database.Database`, a migration
(:mod:`registry.store.migrations`), and the class among the bases of :class:`Store`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert

from exchange.problems import Code, Problem
from registry.store.acts import CONSENT, ActRow, Acts
from registry.store.api_keys import ApiKeys
from registry.store.database import METADATA, Database
from registry.store.log import Log, LogCheckpoint
from registry.store.migrations import create, migrate, version_of
from registry.store.published import Publication, Published
from registry.store.requests import NewRequest, NoticeRow, RequestRow, Requests

__all__ = [
    "CONSENT",
    "ActRow",
    "LogCheckpoint",
    "NewRequest",
    "NoticeRow",
    "Publication",
    "RequestRow",
    "Store",
]


class Store(Published, Requests, Acts, ApiKeys, Log):
    """The registry's database at ``place``: a file, or the address of a PostgreSQL database.

    Made by :meth:`create`; the constructor opens it and brings its tables up to date.

    Raises:
        Problem: ``NotFound`` when there is no registry at ``place``; ``Conflict`` when a newer
            program has been here; ``DatabaseUnavailable``.
    """

    def __init__(self, place: Path | str) -> None:
        if isinstance(place, Path) and not place.is_file():
            raise _no_registry(str(place))
        super().__init__(place)
        try:
            self._migrate(is_new=False)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, place: Path | str) -> Store:
        """Make a new database.

        Raises:
            Problem: ``Conflict`` when a registry is there already; ``DatabaseUnavailable``.
        """
        if isinstance(place, Path):
            if place.exists():
                raise _is_there(str(place))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch(0o600)
        store = cls.__new__(cls)
        Database.__init__(store, place)
        try:
            store._migrate(is_new=True)
        except BaseException:
            store.close()
            raise
        return store

    def migrate(self) -> str:
        """The version of the tables, which opening brought up to date."""
        with self._failures(), self._engine.connect() as connection:
            return version_of(connection) or ""

    def take_all(self, source: Store) -> None:
        """Fill this new database with everything of another; within its :meth:`reading`."""
        with self.transaction():
            for table in METADATA.sorted_tables:
                for rows in source._batches(table):
                    self._run(insert(table), rows)
            self._continue_numbers()

    def _migrate(self, *, is_new: bool) -> None:
        with self._failures(), self._engine.connect() as connection:
            version = version_of(connection)
        if version is None and not is_new:
            raise _no_registry(self.name)
        with self.transaction(), self._failures():
            held = self._held
            assert held is not None  # noqa: S101  # within a transaction
            if is_new and version_of(held) is not None:
                raise _is_there(self.name)
            (create if is_new else migrate)(held)


def _no_registry(name: str) -> Problem:
    return Problem(
        Code.NOT_FOUND,
        where=name,
        detail="there is no registry here; saphan registry init makes one",
    )


def _is_there(name: str) -> Problem:
    return Problem(Code.CONFLICT, where=name, detail="a registry is here already")
