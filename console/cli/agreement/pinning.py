"""`saphan agreement pin`: the provider's server obeys an agreement from then on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from console.cli.agreement.files import FILES, authorities
from console.cli.agreement.groups import every_file
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import Agreement, open_agreement, open_revocation, read_agreement
from exchange.documents import format_moment
from exchange.problems import Code, Problem
from mediator.agreements.pinned_files import REVOCATION
from serving.durable_files import replace_file
from serving.small_files import read_file


@click.command()
@FILES
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder that the provider's server reads (setting `agreements`).",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Authorities that the seals must chain to (PEM).",
)
@JSON
def pin(files: tuple[Path, ...], folder: Path, ca: Path, as_json: bool) -> None:
    """Verify both seals of FILE and place it in FOLDER, where the provider's server obeys it.

    Of several files, or of a folder of them, nothing is placed unless all can be.
    """
    files = every_file(files)
    now, trusted = datetime.now(UTC), authorities(ca)
    judged = [judge_pin(file, folder, trusted, now) for file in files]
    for sealed, _, target in judged:
        place(target, sealed)
    if as_json:
        reports = [_report(found, target) for _, found, target in judged]
        print_json(reports[0] if len(reports) == 1 else {"pinned": reports})
        return
    for _, found, target in judged:
        click.echo(
            f"{target}: in force for {found.consumer} {_period(found, now)}; "
            "the server that reads this folder takes it within a second."
        )


def judge_pin(
    file: Path, folder: Path, trusted: Sequence[x509.Certificate], now: datetime
) -> tuple[bytes, Agreement, Path]:
    """The bytes to place, what they say, and where they belong."""
    sealed = read_file(file)
    found = open_agreement(sealed, trusted, now)
    if found.valid_until <= now:
        raise Problem(
            Code.AGREEMENT_EXPIRED,
            where=str(file),
            detail=f"it ended at {format_moment(found.valid_until)}; nothing was pinned",
        )
    _refuse_revoked(folder, found)
    target = folder / f"{found.id}.jws"
    if _refuse_replacing(target, found) and found.valid_from > now:
        # What is in force stays until this one begins; servers then take this one.
        target = folder / f"{found.id}.{found.version}.jws"
        _refuse_replacing(target, found)
    return sealed, found, target


def place(target: Path, sealed: bytes) -> None:
    """Pin what :func:`judge_pin` allows: durable when this returns, since it is an access right.

    Raises:
        Problem: ``InvalidSettings`` when it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, sealed)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(target), detail=f"cannot be written: {error.strerror}"
        ) from error


def _report(found: Agreement, target: Path) -> dict[str, Any]:
    return {
        "file": str(target),
        "agreement": found.id,
        "consumer": str(found.consumer),
        "valid_from": format_moment(found.valid_from),
        "valid_until": format_moment(found.valid_until),
    }


def _refuse_revoked(folder: Path, new: Agreement) -> None:
    """One that was revoked would open nothing."""
    for file in sorted(folder.glob(f"{new.id}.*{REVOCATION}")):
        revocation, signer = open_revocation(read_file(file))
        if revocation.ends(new):
            raise Problem(
                Code.AGREEMENT_REVOKED,
                where=str(file),
                detail=f"{signer} revoked it: {revocation.reason.en}; nothing was pinned. "
                "saphan agreement renew writes the next version for both to seal",
            )


def _refuse_replacing(target: Path, new: Agreement) -> bool:
    """A name that others chose too, or an older version, does not push out what is in force.

    Tells whether a lower version lies there.
    """
    if not target.exists():
        return False
    try:
        old, _ = read_agreement(read_file(target))
    except Problem:
        return False  # it opens nothing
    if (old.provider, old.consumer) != (new.provider, new.consumer):
        raise Problem(
            Code.CONFLICT,
            where=str(target),
            detail=f"holds another agreement of this name, for {old.consumer}; nothing was pinned. "
            "Have this one sealed under another id",
        )
    if old.version > new.version:
        raise Problem(
            Code.CONFLICT,
            where=str(target),
            detail=f"holds version {old.version}, this is {new.version}; nothing was pinned. "
            "To go back, remove that file first",
        )
    return old.version < new.version


def _period(found: Agreement, now: datetime) -> str:
    begins = f"from {format_moment(found.valid_from)} " if found.valid_from > now else ""
    return f"{begins}until {format_moment(found.valid_until)}"
