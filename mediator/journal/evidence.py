"""What authorities said of certificates that were used: OCSP answers and CRLs, as they came.

Invariants:
- ``evidence.sqlite`` is evidence, not derived (:mod:`mediator.journal.evidence_files`): what was
  kept is never changed; an entry of the journal (``event: revocation``) commits to its SHA-256;
- a document is kept once, however many certificates it speaks of;
- of what is old, at least one document of each day about a certificate stays.

What is read here is to be judged again (:mod:`exchange.evidence.revocation`), at the time of
``fetched_at``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.reading import fingerprint_of
from exchange.evidence.revocation import Finding, Kind, Status
from mediator.journal.evidence_files import EvidenceFile

FILE: Final = "evidence.sqlite"
EVENT: Final = "revocation"
"""The event of the entries that commit to what is kept here."""
KEEP_ALL: Final = timedelta(days=30)
"""So long nothing is thinned out, by the time of the entries."""
SOON: Final = timedelta(days=2)
"""Within this time of what was thinned out, another document of the same certificate was kept."""
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
_THIN_OUT = """
DELETE FROM statements AS old WHERE fetched_at < :before AND entry IS NOT NULL AND EXISTS (
    SELECT 1 FROM statements AS later WHERE later.fingerprint = old.fingerprint
    AND later.fetched_at > old.fetched_at AND later.fetched_at < :before
    AND later.fetched_at < (CAST(old.fetched_at / 86400 AS INTEGER) + 1) * 86400
    AND later.status = old.status AND later.entry IS NOT NULL)
"""
_UNSAID = """
DELETE FROM documents WHERE NOT EXISTS (
    SELECT 1 FROM statements WHERE statements.digest = documents.digest)
"""
_STATEMENTS = """
SELECT fingerprint, kind, status, digest, der, fetched_at, entry
FROM statements JOIN documents USING (digest)
"""
_FIRST_REVOKED = """
status = 'revoked' AND fetched_at = (
    SELECT MIN(fetched_at) FROM statements AS first
    WHERE first.fingerprint = statements.fingerprint AND first.status = 'revoked')
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


class EvidenceReader(EvidenceFile):
    """The evidence of a journal or of a copy, read only."""

    NAME = FILE
    TABLES = _TABLES
    PROBE = "SELECT fingerprint FROM statements LIMIT 1"

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

    def revocations(self) -> Iterator[Statement]:
        """Of each certificate that was revoked what said so first."""
        yield from map(_statement, self._rows(f"{_STATEMENTS} WHERE {_FIRST_REVOKED}"))

    def has(self, fingerprint: str, digest: str) -> bool:
        """Whether a document about a certificate is kept."""
        condition = "fingerprint = ? AND digest = ?"
        return bool(
            self._rows(f"SELECT 1 FROM statements WHERE {condition}", fingerprint, digest)  # noqa: S608
        )

    def last_entry(self) -> int:
        """The newest entry that commits to what is kept; -1 when none does."""
        ((last,),) = self._rows("SELECT COALESCE(MAX(entry), -1) FROM statements")
        return int(last)

    def certificates(self) -> Iterator[tuple[str, bytes]]:
        """All certificates that are kept: the fingerprint under which, and the DER."""
        last = ""
        query = "SELECT fingerprint, der FROM certificates WHERE fingerprint > ?"
        while rows := self._rows(f"{query} ORDER BY fingerprint LIMIT 64", last):
            yield from ((fingerprint, der) for fingerprint, der in rows)
            last = rows[-1][0]

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


class EvidenceStore(EvidenceReader):
    """The evidence of an open journal."""

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
        with self._writing() as connection:
            for each, name, signer in (
                (issuer, above, None),
                (certificate, finding.certificate, above),
            ):
                connection.execute(
                    "INSERT INTO certificates VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (name, signer, each.public_bytes(Encoding.DER)),
                )
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (finding.digest, finding.kind.value, finding.der),
            )
            connection.execute(
                "INSERT INTO statements VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
                (finding.certificate, finding.digest, fetched_at, finding.status.value),
            )

    def note(self, finding: Finding, entry: int) -> None:
        """Say which entry commits to it.

        Raises:
            OSError: the disk failed.
        """
        with self._writing() as connection:
            connection.execute(
                "UPDATE statements SET entry = ?"
                " WHERE fingerprint = ? AND digest = ? AND entry IS NULL",
                (entry, finding.certificate, finding.digest),
            )

    def thin_out(self, now: float) -> int:
        """Thin out what is old: of the documents of a day about one certificate that say the same,
        keep the last.

        Old is what came :data:`KEEP_ALL` and a day before the newest that an entry commits to. What
        no entry commits to stays. Returns how many documents about certificates went.

        Args:
            now: POSIX seconds; what came later than that was timed by a wrong clock.

        Raises:
            OSError: the disk failed; nothing or all of it is gone.
        """
        with self._writing() as connection:
            ((newest,),) = connection.execute(
                "SELECT MAX(fetched_at) FROM statements WHERE entry IS NOT NULL"
            ).fetchall()
            if newest is None:
                return 0
            before = min(newest, now) - (KEEP_ALL + timedelta(days=1)).total_seconds()
            gone = connection.execute(_THIN_OUT, {"before": before}).rowcount
            if gone:
                connection.execute(_UNSAID)
        return gone


def _statement(row: Any) -> Statement:
    fingerprint, kind, status, digest, der, fetched_at, entry = row
    return Statement(fingerprint, Kind(kind), Status(status), digest, der, fetched_at, entry)
