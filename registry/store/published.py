"""What is published: roots, roles, files, and which of them each state (snapshot) held.

Nothing that was published is forgotten: a role's version and a file hold from the snapshot
``since`` until the snapshot ``until``; what holds now has no ``until``. So every state since the
beginning can be told again. Snapshot and timestamp alone are kept in their newest version: they
follow from the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from exchange.registry.log import State
from registry.store.database import METADATA, WHOLE
from registry.store.log import Log

ONLINE = frozenset({"snapshot", "timestamp"})

ROOTS = Table(
    "roots",
    METADATA,
    Column("version", WHOLE, primary_key=True, autoincrement=False),
    Column("metadata", LargeBinary, nullable=False),
    sqlite_strict=True,
)
ROLES = Table(
    "roles",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", WHOLE, primary_key=True, autoincrement=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("since", WHOLE, nullable=False),
    Column("until", WHOLE),
    sqlite_strict=True,
)
Index(
    "one_present_version",
    ROLES.c.name,
    unique=True,
    sqlite_where=ROLES.c.until.is_(None),
    postgresql_where=ROLES.c.until.is_(None),
)
_IS_PRESENT = ROLES.c.until.is_(None)
BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_strict=True,
)
FILES = Table(
    "files",
    METADATA,
    Column("path", Text, primary_key=True),
    Column("since", WHOLE, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, ForeignKey("blobs.digest"), nullable=False),
    Column("until", WHOLE),
    sqlite_strict=True,
)
Index(
    "one_present_file",
    FILES.c.role,
    FILES.c.path,
    unique=True,
    sqlite_where=FILES.c.until.is_(None),
    postgresql_where=FILES.c.until.is_(None),
)
STATES = Table(
    "states",
    METADATA,
    Column("snapshot", WHOLE, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    sqlite_strict=True,
)


@dataclass(frozen=True, slots=True)
class Publication:
    """New metadata of roles with the whole set of files of each role that brings files."""

    roles: Mapping[str, tuple[int, bytes]]
    files: Mapping[str, Mapping[str, bytes]]


class Published(Log):
    """The published part of the store."""

    def root(self) -> bytes:
        """The newest root."""
        return bytes(
            self._rows(select(ROOTS.c.metadata).order_by(ROOTS.c.version.desc()).limit(1))[0][0]
        )

    def roots(self) -> dict[int, bytes]:
        """Every root by its version."""
        return {
            row.version: bytes(row.metadata)
            for row in self._rows(select(ROOTS.c.version, ROOTS.c.metadata))
        }

    def put_root(self, version: int, metadata: bytes) -> None:
        """Add a root; within a transaction."""
        self._run(insert(ROOTS).values(version=version, metadata=metadata))

    def role(self, name: str) -> tuple[int, bytes] | None:
        """Version and metadata of a published role."""
        rows = self._rows(
            select(ROLES.c.version, ROLES.c.metadata).where(ROLES.c.name == name, _IS_PRESENT)
        )
        return (rows[0].version, bytes(rows[0].metadata)) if rows else None

    def roles(self) -> dict[str, tuple[int, bytes]]:
        """Every published role but the roots."""
        rows = self._rows(
            select(ROLES.c.name, ROLES.c.version, ROLES.c.metadata).where(_IS_PRESENT)
        )
        return {row.name: (row.version, bytes(row.metadata)) for row in rows}

    def versions(self) -> dict[str, int]:
        """The version of every published role but the roots."""
        rows = self._rows(select(ROLES.c.name, ROLES.c.version).where(_IS_PRESENT))
        return {row.name: row.version for row in rows}

    def version(self, name: str) -> int | None:
        """The version of a published role."""
        rows = self._rows(select(ROLES.c.version).where(ROLES.c.name == name, _IS_PRESENT))
        return rows[0].version if rows else None

    def files(self, role: str | None = None) -> dict[str, bytes]:
        """The published files by their target path, of one role or of all."""
        query = select(FILES.c.path, BLOBS.c.data).join(BLOBS).where(FILES.c.until.is_(None))
        if role is not None:
            query = query.where(FILES.c.role == role)
        return {row.path: bytes(row.data) for row in self._rows(query)}

    def named(self) -> list[tuple[str, str, str]]:
        """Role, target path and SHA-256 of every published file, in this order."""
        query = select(FILES.c.role, FILES.c.path, FILES.c.digest)
        query = query.where(FILES.c.until.is_(None)).order_by(FILES.c.role, FILES.c.path)
        return [(row.role, row.path, row.digest) for row in self._rows(query)]

    def publish(self, publication: Publication, at: datetime) -> None:
        """Take over new metadata and files; within a transaction."""
        roles = dict(publication.roles)
        snapshot = self._state(publication, at)
        for name in ONLINE & roles.keys():
            version, metadata = roles.pop(name)
            self._run(delete(ROLES).where(ROLES.c.name == name))
            self._run(
                insert(ROLES).values(name=name, version=version, metadata=metadata, since=snapshot)
            )
        for name, (version, metadata) in roles.items():
            self._run(
                update(ROLES)
                .where(ROLES.c.name == name, ROLES.c.until.is_(None))
                .values(until=snapshot)
            )
            self._run(
                insert(ROLES).values(name=name, version=version, metadata=metadata, since=snapshot)
            )
        for name, files in publication.files.items():
            self._put_files(name, files, snapshot)
        if "snapshot" in publication.roles:
            self._log_state(*publication.roles["snapshot"])

    def _log_state(self, version: int, snapshot: bytes) -> None:
        """A state is an entry of the log in the transaction that publishes it."""
        targets, roots = self.role("targets"), self.roots()
        if targets is not None and roots:
            self.append_log(bytes(State.of(snapshot, version, targets[0], max(roots))))

    def _state(self, publication: Publication, at: datetime) -> int:
        signed = publication.roles.get("snapshot")
        if signed is not None:
            self._run(insert(STATES).values(snapshot=signed[0], at=at.isoformat()))
            return signed[0]
        if publication.files or publication.roles.keys() - ONLINE:
            raise ValueError("roles and files are published with a snapshot")
        present = self.role("snapshot")
        return 0 if present is None else present[0]

    def _put_files(self, role: str, files: Mapping[str, bytes], snapshot: int) -> None:
        """Only what differs is written."""
        present = {
            row.path: row.digest
            for row in self._rows(
                select(FILES.c.path, FILES.c.digest).where(
                    FILES.c.role == role, FILES.c.until.is_(None)
                )
            )
        }
        new = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        for path in {path for path, digest in present.items() if new.get(path) != digest}:
            self._run(
                update(FILES)
                .where(FILES.c.role == role, FILES.c.path == path, FILES.c.until.is_(None))
                .values(until=snapshot)
            )
        added = [path for path, digest in new.items() if present.get(path) != digest]
        if not added:
            return
        blobs = {new[path]: files[path] for path in added}
        wanted = BLOBS.c.digest.in_(sorted(blobs))
        for row in self._rows(select(BLOBS.c.digest).where(wanted)):
            del blobs[row.digest]  # kept once, however many states and roles hold it
        if blobs:
            self._run(insert(BLOBS), [{"digest": key, "data": blobs[key]} for key in blobs])
        self._run(
            insert(FILES),
            [
                {"path": path, "role": role, "digest": new[path], "since": snapshot}
                for path in added
            ],
        )

    # ----------------------------------------------------------------------------- earlier states

    def states(self, *, until: datetime | None = None) -> list[tuple[int, datetime]]:
        """Every state as version of the snapshot and time, oldest first."""
        query = select(STATES.c.snapshot, STATES.c.at).order_by(STATES.c.snapshot)
        found = [(row.snapshot, datetime.fromisoformat(row.at)) for row in self._rows(query)]
        return [(version, at) for version, at in found if until is None or at <= until]

    def roles_at(self, snapshot: int) -> dict[str, tuple[int, bytes]]:
        """The roles as they held in a state; without snapshot and timestamp."""
        rows = self._rows(
            select(ROLES.c.name, ROLES.c.version, ROLES.c.metadata).where(
                ROLES.c.name.not_in(ONLINE), _held(ROLES, snapshot)
            )
        )
        return {row.name: (row.version, bytes(row.metadata)) for row in rows}

    def files_at(self, snapshot: int, role: str) -> dict[str, bytes]:
        """The files of a role as they held in a state."""
        query = select(FILES.c.path, BLOBS.c.data).join(BLOBS)
        rows = self._rows(query.where(FILES.c.role == role, _held(FILES, snapshot)))
        return {row.path: bytes(row.data) for row in rows}


def _held(table: Table, snapshot: int):  # type: ignore[no-untyped-def]  # a clause of SQLAlchemy
    return and_(table.c.since <= snapshot, or_(table.c.until.is_(None), table.c.until > snapshot))
