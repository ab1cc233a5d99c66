"""A signed submission that waits on the member's machine for proofs from other machines.

A proof is of one signed role (:mod:`registry.requests.possession`), so the role is signed first and
kept in the member's folder; proofs are brought to it, and just that is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.problems import Code, Problem
from exchange.registrations import MEMBER_FILE, parse_member
from registry.offline.member import Described
from registry.requests.possession import is_proof
from registry.requests.submissions import (
    MAX_SUBMISSION_BYTES,
    Submission,
    certificates_of,
    format_submission,
    parse_submission,
)
from serving.small_files import read_file

FILE = "prepared.json"


def keep(folder: Path, submission: Submission) -> Path:
    """Keep a signed submission until its proofs are there; returns its file."""
    path = folder / FILE
    path.write_bytes(format_submission(submission))
    return path


def taken(
    folder: Path, described: Described, published_version: int, proofs: Iterable[Path]
) -> Submission:
    """The submission that was kept, with proofs.

    Raises:
        Problem: ``Conflict`` when none was kept, or the member is described otherwise by now;
            ``InvalidSignatureValue`` for a proof of nothing in it.
    """
    path = folder / FILE
    if not path.is_file():
        raise _stale(path, "nothing waits for a proof here")
    kept = parse_submission(read_file(path, MAX_SUBMISSION_BYTES))
    if (kept.member, kept.files) != (described.member, dict(described.files)):
        raise _stale(path, "the description says another thing by now")
    known = dict(kept.proofs)
    lacking = unproven(kept, ())
    for file in proofs:
        proof = read_file(file)
        of = [one for one in lacking if is_proof(kept.member, one, kept.role, proof)]
        if not of:
            raise Problem(
                Code.INVALID_SIGNATURE,
                where=str(file),
                detail="proves no key of the certificates that need one, over the role that was "
                f"signed (SHA-256 {role_digest(kept)})",
                status=422,
            )
        known |= {fingerprint_of(one): proof for one in of}
    return replace(kept, proofs=known)


def drop(folder: Path) -> None:
    """Forget what was kept: it was handed in, or another was signed."""
    (folder / FILE).unlink(missing_ok=True)


def unproven(
    submission: Submission, published: Iterable[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The certificates of a submission that are neither published nor proven."""
    record = parse_member(submission.files[MEMBER_FILE], submission.member)
    known = set(published)
    return tuple(
        one
        for one in certificates_of(record)
        if one not in known and fingerprint_of(one) not in submission.proofs
    )


def role_digest(submission: Submission) -> str:
    """What a proof names of the signed role."""
    return sha256(submission.role).hexdigest()


def _stale(path: Path, why: str) -> Problem:
    return Problem(
        Code.CONFLICT,
        where=str(path),
        detail=f"{why}; hand in without --proof first, and prove what that signs",
    )
