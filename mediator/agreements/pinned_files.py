"""The folder of pinned agreements: sealed agreements (``*.jws``) and what revokes them
(``*.revocation.jws``), each verified when it is read; and beside the journal, which revocations
are in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from errno import EFBIG
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from cryptography import x509

from exchange.agreements import Agreement, AgreementRevocation, open_agreement, open_revocation
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from serving.durable_files import replace_file

MAX_AGREEMENTS: Final = 10_000
MAX_FILES: Final = 4 * MAX_AGREEMENTS
MAX_AGREEMENT_BYTES: Final = 1 << 20
TOLD_FILE: Final = "revocations-recorded"
REVOCATION: Final = ".revocation.jws"
log = structlog.get_logger("mediator.agreements.pinned")

Listing: TypeAlias = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file, by name."""


@dataclass(frozen=True, slots=True)
class PinnedFiles:
    """What the folder says; revocations by the hex SHA-256 of their files."""

    agreements: tuple[Agreement, ...] = ()
    revocations: tuple[tuple[str, AgreementRevocation], ...] = ()
    rejected: tuple[tuple[str, Problem], ...] = ()


def list_files(folder: Path | None) -> Listing:
    """What lies in the folder; nothing when there is none.

    Raises:
        OSError: when it cannot be read, or holds more than :data:`MAX_FILES` files; which of them
            count is then not for this server to choose.
    """
    if folder is None or not folder.is_dir():
        return ()
    listing = []
    files = sorted(islice(folder.glob("*.jws"), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        raise OSError(EFBIG, f"more than {MAX_FILES} files", str(folder))
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        listing.append((file.name, stat.st_size, stat.st_mtime_ns))
    return tuple(listing)


def read_files(
    folder: Path,
    listing: Listing,
    members: Collection[MemberId],
    authorities: Sequence[x509.Certificate],
    now: datetime,
) -> PinnedFiles:
    """Read the listed files; one that does not verify is rejected, and opens or closes nothing."""
    agreements: list[Agreement] = []
    revocations: list[tuple[str, AgreementRevocation]] = []
    rejected: list[tuple[str, Problem]] = []
    for name, size, _ in listing:
        try:
            data = _read(folder / name, size)
            if name.endswith(REVOCATION):
                revocation, _ = open_revocation(data)
                check_hosted(name, revocation, members)
                revocations.append((sha256(data).hexdigest(), revocation))
            else:
                agreement = open_agreement(data, authorities, now)
                check_hosted(name, agreement, members)
                if len(agreements) >= MAX_AGREEMENTS:
                    raise Problem(
                        Code.AGREEMENT_INVALID,
                        where=name,
                        detail=f"more than {MAX_AGREEMENTS} agreements are pinned",
                    )
                agreements.append(agreement)
        except Problem as problem:
            rejected.append((name, problem))
            log.warning("agreement_rejected", file=name, code=problem.code, why=str(problem))
    return PinnedFiles(tuple(agreements), tuple(revocations), tuple(rejected))


def place_revocation(folder: Path, jws: bytes) -> Path:
    """Put a revocation where servers obey it; durable when this returns, idempotent.

    Raises:
        Problem: as :func:`exchange.agreements.open_revocation`.
        OSError: when it cannot be written.
    """
    revocation, _ = open_revocation(jws)
    target = folder / f"{revocation.agreement}.{sha256(jws).hexdigest()[:16]}{REVOCATION}"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(target, jws)
    return target


def _read(path: Path, size: int) -> bytes:
    if size > MAX_AGREEMENT_BYTES:
        raise Problem(Code.AGREEMENT_INVALID, where=path.name, detail="longer than 1 MiB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem(
            Code.AGREEMENT_INVALID, where=path.name, detail=f"cannot be read: {error.strerror}"
        ) from error


def check_hosted(
    where: str, document: Agreement | AgreementRevocation, members: Collection[MemberId]
) -> None:
    """Raises: Problem ``AgreementInvalid`` when neither party is hosted by this server."""
    if document.provider not in members and document.consumer.member not in members:
        raise Problem(
            Code.AGREEMENT_INVALID,
            where=where,
            detail=f"neither {document.provider} nor {document.consumer.member} is hosted by this "
            "server",
        )


class Told:
    """Which revocations have their entry in the journal: a line each, durable when it is added.

    A file that cannot be read or was cut counts as not told: an entry too many is no harm.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.digests: set[str] = set()
        with contextlib.suppress(OSError):
            if path is not None:
                self.digests = set(path.read_text("ascii", "replace").split())

    def add(self, digest: str) -> None:
        """Note one.

        Raises:
            OSError: when it cannot be written.
        """
        if self._path is not None:
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"\n{digest}")
                file.flush()
                os.fsync(file.fileno())
        self.digests.add(digest)
