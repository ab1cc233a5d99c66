"""What the registry remembers: published metadata and files, submissions, acts, API keys.

One SQLite file (WAL, ``synchronous=FULL``), the truth from which the published tree of files is
only an export (:mod:`registry.tree`). Every change of what is published, the submission that it
came from and its record in ``acts`` are one transaction.

The class is the seam for another engine (PostgreSQL): it speaks in values and bytes, and no SQL
leaves it. Methods block and are called from threads; one lock lets one in at a time.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any

from exchange.documents import format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.lifecycle import Act, Kind, State, next_state
from registry.roles import Caller, Right

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE roots (version INTEGER PRIMARY KEY, metadata BLOB NOT NULL) STRICT;
CREATE TABLE roles (name TEXT PRIMARY KEY, version INTEGER NOT NULL, metadata BLOB NOT NULL) STRICT;
CREATE TABLE blobs (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE files (
    path TEXT PRIMARY KEY, role TEXT NOT NULL, digest TEXT NOT NULL REFERENCES blobs
) STRICT;
CREATE INDEX files_of_role ON files (role);
CREATE TABLE submissions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, member TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL, note TEXT NOT NULL,
    submitted_at TEXT NOT NULL, submitted_by TEXT NOT NULL,
    decided_at TEXT, decided_by TEXT, reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX submissions_of_member ON submissions (member, state);
CREATE UNIQUE INDEX one_open_submission ON submissions (member) WHERE state = 'submitted';
CREATE TABLE acts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL,
    act TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY, right TEXT NOT NULL, member TEXT, label TEXT NOT NULL,
    digest BLOB NOT NULL, created_at TEXT NOT NULL, revoked_at TEXT
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """A submission as it is stored; ``body`` is what the member sent."""

    id: int
    member: MemberId
    kind: Kind
    state: State
    version: int
    body: bytes
    note: str
    submitted_at: str
    submitted_by: str
    decided_at: str | None
    decided_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ActRow:
    """One recorded act."""

    number: int
    at: str
    actor: str
    act: str
    subject: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Publication:
    """New metadata of roles with the whole set of files of each role that brings files."""

    roles: Mapping[str, tuple[int, bytes]]
    files: Mapping[str, Mapping[str, bytes]]


class Store:
    """The registry's database at ``path``; made by :meth:`create`, opened by the constructor.

    Raises:
        Problem: ``NotFound`` when there is no registry at ``path``.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise Problem(
                Code.NOT_FOUND,
                where=str(path),
                detail="there is no registry here; saphan registry init makes one",
            )
        self._lock = threading.RLock()
        self._connection = _connect(path)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make a new database.

        Raises:
            Problem: ``Conflict`` when there is one already.
        """
        if path.exists():
            raise Problem(Code.CONFLICT, where=str(path), detail="a registry is here already")
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path)
        connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.close()
        path.chmod(0o600)
        return cls(path)

    def close(self) -> None:
        """Close the database; idempotent."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else meanwhile."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    # --------------------------------------------------------------------- what is published

    def root(self) -> bytes:
        """The newest root."""
        rows = self._rows("SELECT metadata FROM roots ORDER BY version DESC LIMIT 1")
        return bytes(rows[0][0])

    def roots(self) -> dict[int, bytes]:
        """Every root by its version."""
        return {row[0]: bytes(row[1]) for row in self._rows("SELECT version, metadata FROM roots")}

    def put_root(self, version: int, metadata: bytes) -> None:
        """Add a root; within a transaction."""
        self._run("INSERT INTO roots VALUES (?, ?)", version, metadata)

    def role(self, name: str) -> tuple[int, bytes] | None:
        """Version and metadata of a published role."""
        rows = self._rows("SELECT version, metadata FROM roles WHERE name = ?", name)
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    def roles(self) -> dict[str, tuple[int, bytes]]:
        """Every published role but the roots."""
        return {
            row[0]: (row[1], bytes(row[2]))
            for row in self._rows("SELECT name, version, metadata FROM roles")
        }

    def files(self, role: str | None = None) -> dict[str, bytes]:
        """The published files by their target path, of one role or of all."""
        query = "SELECT path, data FROM files JOIN blobs USING (digest)"
        rows = self._rows(f"{query} WHERE role = ?", role) if role else self._rows(query)
        return {row[0]: bytes(row[1]) for row in rows}

    def publish(self, publication: Publication) -> None:
        """Take over new metadata and files; within a transaction."""
        for name, (version, metadata) in publication.roles.items():
            self._run("INSERT OR REPLACE INTO roles VALUES (?, ?, ?)", name, version, metadata)
        for name, files in publication.files.items():
            self._run("DELETE FROM files WHERE role = ?", name)
            for path, data in files.items():
                digest = hashlib.sha256(data).hexdigest()
                self._run("INSERT OR IGNORE INTO blobs VALUES (?, ?)", digest, data)
                self._run("INSERT INTO files VALUES (?, ?, ?)", path, name, digest)
        self._run("DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM files)")

    # ------------------------------------------------------------------------- submissions

    def add_submission(
        self,
        member: MemberId,
        kind: Kind,
        version: int,
        body: bytes,
        note: str,
        at: datetime,
        by: str,
    ) -> int:
        """Store a submission; one that the member had open is replaced."""
        for row in self.submissions(state=State.SUBMITTED, member=member):
            self.decide(row.id, Act.REPLACE, at, by, "replaced by a newer submission")
        cursor = self._run(
            "INSERT INTO submissions (member, kind, state, version, body, note, submitted_at,"
            " submitted_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            str(member),
            kind.value,
            State.SUBMITTED.value,
            version,
            body,
            note,
            at.isoformat(),
            by,
        )
        if cursor.lastrowid is None:  # pragma: no cover - an INSERT has one
            raise Problem(Code.INTERNAL_ERROR, detail="the submission got no number")
        return cursor.lastrowid

    def submission(self, number: int) -> SubmissionRow:
        """Raises: Problem ``NotFound``."""
        rows = self._rows(_SUBMISSIONS + " WHERE id = ?", number)
        if not rows:
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="there is no such submission"
            )
        return _submission_row(rows[0])

    def submissions(
        self,
        *,
        state: State | None = None,
        member: MemberId | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[SubmissionRow]:
        """Submissions in their order, filtered, after the number ``after``."""
        return [
            _submission_row(row)
            for row in self._rows(
                _SUBMISSIONS + " WHERE id > ? AND (? IS NULL OR state = ?)"
                " AND (? IS NULL OR member = ?) ORDER BY id LIMIT ?",
                after,
                state and state.value,
                state and state.value,
                member and str(member),
                member and str(member),
                limit,
            )
        ]

    def decide(self, number: int, act: Act, at: datetime, by: str, reason: str) -> None:
        """Move a submission on; within a transaction.

        Raises:
            Problem: ``NotFound``, or ``Conflict`` when it is not open any more.
        """
        state = next_state(self.submission(number).state, act)
        self._run(
            "UPDATE submissions SET state = ?, decided_at = ?, decided_by = ?, reason = ?"
            " WHERE id = ?",
            state.value,
            at.isoformat(),
            by,
            reason,
            number,
        )

    # -------------------------------------------------------------------------------- acts

    def record(
        self, at: datetime, actor: str, act: str, subject: str, detail: Mapping[str, Any]
    ) -> None:
        """Record an act."""
        self._run(
            "INSERT INTO acts (at, actor, act, subject, detail) VALUES (?, ?, ?, ?, ?)",
            at.isoformat(),
            actor,
            act,
            subject,
            format_document(detail).decode(),
        )

    def acts(self, *, after: int = 0, limit: int = 100) -> list[ActRow]:
        """Recorded acts in their order, after the number ``after``."""
        return [
            ActRow(
                number=row[0],
                at=row[1],
                actor=row[2],
                act=row[3],
                subject=row[4],
                detail=parse_document(row[5].encode(), 1 << 20, "act").value,
            )
            for row in self._rows(
                "SELECT number, at, actor, act, subject, detail FROM acts WHERE number > ?"
                " ORDER BY number LIMIT ?",
                after,
                limit,
            )
        ]

    # ---------------------------------------------------------------------------- API keys

    def add_api_key(self, right: Right, member: MemberId | None, label: str, at: datetime) -> str:
        """Make an API key and return it; only its digest is kept, so it is shown this once.

        Raises:
            Problem: ``InvalidRequest`` when a member's key names no member, or another one does.
        """
        if right.is_of_member is (member is None):
            raise Problem(
                Code.INVALID_REQUEST,
                where="member",
                detail="a key of a member's right, and no other, names its member",
            )
        identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._run(
            "INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, NULL)",
            identifier,
            right.value,
            None if member is None else str(member),
            label,
            _key_digest(secret),
            at.isoformat(),
        )
        return f"saphan-{identifier}-{secret}"

    def caller(self, api_key: str) -> Caller:
        """Who holds ``api_key``.

        Raises:
            Problem: ``NotAuthorised`` when nobody does.
        """
        prefix, _, rest = api_key.partition("-")
        identifier, _, secret = rest.partition("-")
        rows = self._rows(
            "SELECT id, right, member, label, digest FROM api_keys"
            " WHERE id = ? AND revoked_at IS NULL",
            identifier[:64],
        )
        # Compared also when there is no such key, so that the time tells nothing.
        digest = rows[0][4] if rows else bytes(32)
        if not compare_digest(digest, _key_digest(secret)) or not rows or prefix != "saphan":
            raise Problem(Code.NOT_AUTHORISED, where="Authorization", detail="unknown API key")
        row = rows[0]
        member = None if row[2] is None else MemberId.parse(row[2])
        return Caller(row[0], Right(row[1]), member, row[3])

    def api_keys(self) -> list[dict[str, str | None]]:
        """All API keys, without their secrets."""
        names = ("id", "right", "member", "label", "created_at", "revoked_at")
        rows = self._rows(
            "SELECT id, right, member, label, created_at, revoked_at FROM api_keys"
            " ORDER BY created_at"
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def revoke_api_key(self, identifier: str, at: datetime) -> None:
        """Raises: Problem ``NotFound`` when there is no such valid key."""
        cursor = self._run(
            "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
            at.isoformat(),
            identifier,
        )
        if cursor.rowcount == 0:
            raise Problem(Code.NOT_FOUND, where=f"keys/{identifier}", detail="no such valid key")

    # ------------------------------------------------------------------------------- facts

    def fact(self, name: str) -> str:
        """A fact that was set when the registry was made."""
        return str(self._rows("SELECT value FROM facts WHERE name = ?", name)[0][0])

    def put_fact(self, name: str, value: str) -> None:
        """Set a fact."""
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        with self._lock:
            return self._connection.execute(statement, values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


_SUBMISSIONS = (
    "SELECT id, member, kind, state, version, body, note, submitted_at, submitted_by,"
    " decided_at, decided_by, reason FROM submissions"
)


def _submission_row(row: Any) -> SubmissionRow:
    return SubmissionRow(
        row[0],
        MemberId.parse(row[1]),
        Kind(row[2]),
        State(row[3]),
        row[4],
        bytes(row[5]),
        *row[6:],
    )


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: transactions begin and end where this module says.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _key_digest(secret: str) -> bytes:
    # The secret has 256 random bits, so a plain digest cannot be guessed back.
    return hashlib.sha256(secret.encode()).digest()
