"""What a development authority has revoked, and the list of it (CRL, RFC 5280 section 5).

``DIR/revoked.json`` holds one row for each revoked certificate, replaced atomically; it is read
anew for each answer, so that a revocation counts at once. Nothing is ever taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import DevelopmentAuthority
from certs.files import PUBLIC_MODE, read_file, write_file
from exchange.problems import Code, Problem

FILE: Final = "revoked.json"
CRL_VALIDITY: Final = timedelta(hours=24)
REASONS: Final = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
"""Reasons of RFC 5280 section 5.3.1 that suit an end entity and are for good."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revoked certificate."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags


def revoked_by(directory: Path) -> tuple[Revoked, ...]:
    """What the authority in ``directory`` has revoked, in the order in which it did.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return ()
    try:
        rows = orjson.loads(read_file(path))
        if not isinstance(rows, list):
            raise TypeError("not a list")
        return tuple(
            Revoked(
                int(row["serial"], 16),
                datetime.fromisoformat(row["at"]),
                x509.ReasonFlags(row["reason"]),
            )
            for row in rows
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail="not a list of what was revoked"
        ) from error


def revoke(
    authority: DevelopmentAuthority, certificate: x509.Certificate, reason: str, at: datetime
) -> Revoked:
    """Revoke a certificate for good, from ``at`` on.

    Raises:
        Problem: ``CONFLICT`` when another authority issued it or it is revoked already;
            ``INVALID_SETTINGS`` for a reason that is not one of :data:`REASONS`.
    """
    if reason not in REASONS:
        raise Problem(
            Code.INVALID_SETTINGS, where="reason", detail=f"is none of {', '.join(REASONS)}"
        )
    if not authority.has_issued(certificate):
        raise Problem(
            Code.CONFLICT,
            where="certificate",
            detail=f"it was not issued by the authority in {authority.directory}",
        )
    before = revoked_by(authority.directory)
    if any(row.serial == certificate.serial_number for row in before):
        raise Problem(Code.CONFLICT, where="certificate", detail="it is revoked already")
    moment = at.astimezone(UTC).replace(microsecond=0)
    row = Revoked(certificate.serial_number, moment, x509.ReasonFlags(reason))
    write_file(
        authority.directory / FILE,
        orjson.dumps([_described(each) for each in (*before, row)], option=orjson.OPT_INDENT_2),
        mode=PUBLIC_MODE,
    )
    return row


def _described(row: Revoked) -> dict[str, Any]:
    return {"serial": f"{row.serial:x}", "at": row.at.isoformat(), "reason": row.reason.value}


def make_crl(
    authority: DevelopmentAuthority,
    revoked: Sequence[Revoked],
    at: datetime,
    *,
    validity: timedelta = CRL_VALIDITY,
) -> bytes:
    """The authority's list as of ``at``, in DER; its number is the time in seconds."""
    issuer = authority.issuer
    moment = at.astimezone(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(moment)
        .next_update(moment + validity)
        .add_extension(x509.CRLNumber(int(moment.timestamp())), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private_key.public_key()),
            critical=False,
        )
    )
    for row in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(row.serial)
            .revocation_date(row.at)
            .add_extension(x509.CRLReason(row.reason), critical=False)
        )
        builder = builder.add_revoked_certificate(entry.build())
    key = issuer.private_key
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)
