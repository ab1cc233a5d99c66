"""`saphan audit export`: all evidence of one exchange."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import click

from console.cli.audit.evidence import signer, surroundings_of
from console.cli.audit.journals import one_journal, open_journals
from console.cli.audit.options import AS_JSON, DIRECTORY, PASSPHRASE_FILE
from console.cli.audit.verdicts import export_verdict, print_verdict
from console.cli.printing import Progress, print_json
from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.journal.export import Chosen, make_export, verify_export, write_export
from mediator.journal.reader import JournalReader

_Parties: TypeAlias = tuple[ApplicationId | None, ServiceId | None]


@click.command()
@DIRECTORY
@click.argument("number", metavar="[INDEX]", required=False, type=click.IntRange(0))
@click.option("--id", "message_id", help="Message id (X-Road-Id) instead of an index.")
@click.option(
    "--also",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another journal to look in for the same message, such as the other side's.",
)
@click.option(
    "--certificates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with certificates (PEM) of those who signed.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New container (.asice, signed), or a new folder or .zip.",
)
@click.option(
    "--registry",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A server's copy of the registry; else the one beside a journal, if there is one.",
)
@click.option(
    "--seal-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key (PEM) of the member that signs the export.",
)
@click.option(
    "--seal-certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Seal certificate (PEM) of the member that signs the export.",
)
@click.option("--tsa", metavar="URL", help="Time-stamp authority (RFC 3161) for the signature.")
@click.option(
    "--tsa-certificates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities (PEM) above that of --tsa; else those that the registry lists.",
)
@AS_JSON
@PASSPHRASE_FILE
def export(
    directory: Path,
    number: int | None,
    message_id: str | None,
    also: tuple[Path, ...],
    certificates: Path | None,
    output: Path,
    registry: Path | None,
    seal_key: Path | None,
    seal_certificate: Path | None,
    tsa: str | None,
    tsa_certificates: Path | None,
    as_json: bool,
    passphrase_file: Path | None,
) -> None:
    """Export all evidence of one exchange: that of entry INDEX in DIR, or of a message id.

    Entries of the same message id, client and service belong together. The export holds their
    content in clear and may be read by its owner alone. With a seal key it is signed as a whole
    (ASiC-E with CAdES), and with --tsa the signature is stamped; without one it is marked as not
    signed.

    Exit codes: 0 the export verifies; 1 it does not, or could not be made; 2 wrong usage.
    """
    if (number is None) == (message_id is None):
        raise click.UsageError("Name the exchange by INDEX or by --id, one of the two.")
    if number is not None:
        first = one_journal(directory, passphrase_file)
        entry = parse_entry(first.entry(number), f"entry {number}")
        message_id = entry.id
        journals = open_journals([first.directory, *also], passphrase_file)
        chosen = [Chosen(first, number)]
        if message_id is not None:
            parties = (entry.client, entry.service)
            chosen = _exchange(journals, message_id, parties) or chosen
    else:
        assert message_id is not None  # noqa: S101  # one of the two
        chosen = _exchange(open_journals([directory, *also], passphrase_file), message_id)
    if not chosen:
        raise Problem(
            Code.NOT_FOUND,
            where=str(directory),
            detail=f"no published entry has the message id {message_id!r}; "
            "saphan audit search finds ids",
        )
    around = surroundings_of(chosen, certificates, registry)
    signs = signer(seal_key, seal_certificate, around.authorities, tsa, tsa_certificates)
    write_export(make_export(chosen, around), output, signs, datetime.now(UTC))
    verdict = verify_export(output)
    if as_json:
        print_json(
            {
                "output": str(output),
                "id": message_id,
                "entries": [
                    {"journal": str(choice.journal.directory), "index": choice.index}
                    for choice in chosen
                ],
                "verdict": export_verdict(output, verdict),
            }
        )
    elif not verdict.good:
        print_verdict(export_verdict(output, verdict))
    if not verdict.good:
        sys.exit(1)
    if as_json:
        return
    click.echo(
        f"{output}: {len(chosen)} entries of {message_id or 'one entry'}, {verdict.opened} with "
        f"their content, {verdict.signatures} signatures verified; "
        f"{verdict.signed_by or 'not signed as a whole'}."
    )
    if verdict.without_certificate:
        click.echo(
            f"{verdict.without_certificate} signatures could not be checked. Next: export again "
            "with --certificates FOLDER (certificates in PEM of those who signed)."
        )
        return
    click.echo(f"Next: hand it over; anybody checks it with: saphan audit verify {output}")


def _exchange(
    journals: Sequence[JournalReader], message_id: str, parties: _Parties | None = None
) -> list[Chosen]:
    """The entries of one exchange: of a message id, and of one client and one service.

    A message id is what its sender makes it, so that two exchanges may have the same.

    Raises:
        Problem: ``Conflict`` when several exchanges have the id and ``parties`` names none.
    """
    progress = Progress()
    found: dict[_Parties, list[Chosen]] = {}
    for journal in journals:
        for number, entry in journal.of_message(message_id, progress):
            of = (entry.client, entry.service)
            found.setdefault(of, []).append(Chosen(journal, number))
    progress.end()
    if parties is not None:
        return found.get(parties, [])
    if len(found) > 1:
        places = (f"{chosen[0].journal.directory} {chosen[0].index}" for chosen in found.values())
        raise Problem(
            Code.CONFLICT,
            where=f"message id {message_id!r}",
            detail="several exchanges have it; name one by DIR and INDEX: "
            + ", ".join([*places][:10]),
        )
    return [choice for chosen in found.values() for choice in chosen]
