"""What authorities said of certificates that were used: OCSP answers and CRLs, as they came.

Invariants:
- ``evidence.sqlite`` is evidence, not derived: what was kept is durable when the call returns, and
  is never changed; an entry of the journal (``event: revocation``) commits to its SHA-256;
- a document is kept once, however many certificates it speaks of;
- it is one file at rest (a rollback journal), like the anchors, so that a copy is read as it is;
- the store is never used on the message path: every call may block on the disk.

What is read here is to be judged again (:mod:`exchange.revocation`), at the time of ``fetched_at``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates import fingerprint_of
from exchange.problems import Code, Problem
from exchange.revocation import Finding, Kind, Status

FILE: Final = "evidence.sqlite"
EVENT: Final = "revocation"
"""The event of the entries that commit to what is kept here."""
BUSY_S: Final = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS certificates (
    fingerprint TEXT PRIMARY KEY, issuer TEXT, der BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, der BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS statements (
    fingerprint TEXT NOT NULL REFERENCES certificates, digest TEXT NOT NULL REFERENCES documents,
    fetched_at REAL NOT NULL, status TEXT NOT NULL, entry INTEGER,
    PRIMARY KEY (fingerprint, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS statements_in_time ON statements (fingerprint, fetched_at);
"""
_STATEMENTS = """
SELECT fingerprint, kind, status, digest, der, fetched_at, entry
FROM statements JOIN documents USING (digest)
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an authority said of a certificate.

    ``fetched_at`` is when it came (POSIX seconds, this server's clock); ``entry`` the index of the
    entry that commits to it, None when a crash came between.
    """

    certificate: str
    kind: Kind
    status: Status
    digest: str
    der: bytes
    fetched_at: float
    entry: int | None


class EvidenceReader:
    """The evidence of a journal or of a copy, read only. May be used by several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, journal: Path) -> EvidenceReader:
        """The evidence beside a journal; none when the journal or the copy has no such file.

        Raises:
            Problem: ``JournalCorrupt`` when the file is no store of evidence.
        """
        path = journal / FILE
        if not path.exists():
            connection = sqlite3.connect(":memory:", check_same_thread=False)
            connection.executescript(_TABLES)
            return EvidenceReader(connection)
        with _readable():
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=BUSY_S,
                check_same_thread=False,
                isolation_level=None,
            )
            connection.execute("SELECT fingerprint FROM statements LIMIT 1").fetchone()
        return EvidenceReader(connection)

    def chain(self, fingerprint: str) -> tuple[x509.Certificate, ...]:
        """A certificate and its issuer, as far as they are kept; empty for an unknown one."""
        rows = self._rows("SELECT issuer, der FROM certificates WHERE fingerprint = ?", fingerprint)
        if not rows:
            return ()
        issuer, der = rows[0]
        above = self._rows("SELECT der FROM certificates WHERE fingerprint = ?", issuer)
        return tuple(x509.load_der_x509_certificate(each) for each in (der, *(r[0] for r in above)))

    def statement(self, fingerprint: str, at: float) -> Statement | None:
        """What was known of a certificate at a time: the last that had come, else the next."""
        for condition, order in (("<=", "DESC"), (">", "ASC")):
            rows = self._rows(
                f"{_STATEMENTS} WHERE fingerprint = ? AND fetched_at {condition} ?"
                f" ORDER BY fetched_at {order} LIMIT 1",
                fingerprint,
                at,
            )
            if rows:
                return _statement(rows[0])
        return None

    def statements(self) -> Iterator[Statement]:
        """All that is kept, certificate by certificate, oldest first."""
        last: tuple[str, float, str] = ("", 0.0, "")
        while True:
            rows = self._rows(
                f"{_STATEMENTS} WHERE (fingerprint, fetched_at, digest) > (?, ?, ?)"
                " ORDER BY fingerprint, fetched_at, digest LIMIT 16",
                *last,
            )
            if not rows:
                return
            for row in rows:
                found = _statement(row)
                yield found
                last = (found.certificate, found.fetched_at, found.digest)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        with self._lock, _readable():
            return self._connection.execute(statement, arguments).fetchall()


class EvidenceStore(EvidenceReader):
    """The evidence of an open journal."""

    @classmethod
    def create(cls, journal: Path) -> Self:
        """Open the store beside a journal, or begin it.

        Raises:
            Problem: ``JournalCorrupt`` when the file is no store of evidence.
        """
        with _readable():
            connection = sqlite3.connect(
                journal / FILE, timeout=BUSY_S, check_same_thread=False, isolation_level=None
            )
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(_TABLES)
        return cls(connection)

    def keep(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        finding: Finding,
        fetched_at: float,
    ) -> None:
        """Keep what was said of a certificate, with it and its issuer; the first time counts.

        Raises:
            OSError: the disk failed; all of it is kept or nothing.
        """
        above = fingerprint_of(issuer)
        with self._lock, _written():
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            try:
                for each, name, signer in (
                    (issuer, above, None),
                    (certificate, finding.certificate, above),
                ):
                    execute(
                        "INSERT INTO certificates VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                        (name, signer, each.public_bytes(Encoding.DER)),
                    )
                execute(
                    "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (finding.digest, finding.kind.value, finding.der),
                )
                execute(
                    "INSERT INTO statements VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
                    (finding.certificate, finding.digest, fetched_at, finding.status.value),
                )
                execute("COMMIT")
            except BaseException:
                execute("ROLLBACK")
                raise

    def note(self, finding: Finding, entry: int) -> None:
        """Say which entry commits to it.

        Raises:
            OSError: the disk failed.
        """
        with self._lock, _written():
            self._connection.execute(
                "UPDATE statements SET entry = ?"
                " WHERE fingerprint = ? AND digest = ? AND entry IS NULL",
                (entry, finding.certificate, finding.digest),
            )


def _statement(row: Any) -> Statement:
    fingerprint, kind, status, digest, der, fetched_at, entry = row
    return Statement(fingerprint, Kind(kind), Status(status), digest, der, fetched_at, entry)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise Problem(
            Code.JOURNAL_CORRUPT, where=FILE, detail=f"the evidence cannot be read: {error}"
        ) from error


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OSError(f"{FILE}: {error}") from error
