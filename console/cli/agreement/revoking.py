"""`saphan agreement revoke`: end an agreement before its time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from console.cli.administration import ask_server
from console.cli.agreement.files import FILE, certificates, moment, private_key, read, tell, write
from console.cli.options import JSON
from exchange.agreements import parse_agreement, read_agreement, revocation_of, seal_revocation
from exchange.certificates import member_of
from exchange.keys import signing_key
from exchange.problems import Code, Problem, Text
from mediator.pinned_files import place_revocation

_PATH = click.Path(exists=True, path_type=Path)


@click.command()
@FILE
@click.option("--certificate", type=_PATH, required=True, help="Seal certificate of a party (PEM).")
@click.option("--key", type=_PATH, required=True, help="Its private key (PEM).")
@click.option("--reason", required=True, help="Why, in English; callers and auditors read it.")
@click.option("--reason-lo", help="Why, in Lao; the English one if not given.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The provider's folder of agreements: its server obeys within a second.",
)
@click.option(
    "--admin",
    metavar="URL",
    help="The administration of the provider's server: it obeys before the command ends.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where to write it, to be carried."
)
@JSON
def revoke(
    file: Path,
    certificate: Path,
    key: Path,
    reason: str,
    reason_lo: str | None,
    folder: Path | None,
    admin: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Revoke the agreement of FILE, and its earlier versions, with the seal of one party.

    Either party may. The provider gives it to its server at once (--admin, or --to); a consumer
    sends the file (-o) to the provider. A later version, sealed by both, opens the door again.
    """
    if folder is None and admin is None and output is None:
        raise click.UsageError("say where it goes: --admin, --to or -o")
    document = read(file)
    found = (
        read_agreement(document)[0] if b'"signatures"' in document else parse_agreement(document)
    )
    leaf = certificates(certificate, "--certificate")[0]
    now = datetime.now(UTC).replace(microsecond=0)
    revocation = revocation_of(found, now, Text(reason, reason_lo or reason))
    sealed = seal_revocation(revocation, signing_key(private_key(key), leaf), leaf)
    if output is not None:
        write(output, sealed)
    if folder is not None:
        _place(folder, sealed)
    if admin is not None:
        ask_server(None, admin, "POST", "/agreements/revocations", orjson.loads(sealed))
    if as_json:
        tell(
            {
                "agreement": found.id,
                "version": found.version,
                "revoked_at": moment(now),
                "revoked_by": str(member_of(leaf)),
                "in_force": admin is not None,
            }
        )
        return
    click.echo(f"{found.reference} is revoked by {member_of(leaf)}: {reason}")
    if admin is not None:
        click.echo("The provider's server obeys: calls under it are refused from now on.")
    elif folder is not None:
        click.echo("The server that reads this folder obeys within a second.")
    else:
        click.echo(
            f"Next: the provider's server is told: saphan agreement revoked {output} --admin URL"
        )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--admin", metavar="URL", help="The administration of the provider's server.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The provider's folder of agreements.",
)
def revoked(file: Path, admin: str | None, folder: Path | None) -> None:
    """Have the provider's server obey a revocation that the other party sealed (FILE)."""
    if (admin is None) is (folder is None):
        raise click.UsageError("say where it goes: --admin or --to")
    sealed = read(file)
    if folder is not None:
        _place(folder, sealed)
        click.echo("The server that reads this folder obeys within a second.")
        return
    try:
        order = orjson.loads(sealed)
    except orjson.JSONDecodeError as error:
        raise Problem(
            Code.AGREEMENT_INVALID, where=str(file), detail="is no sealed revocation"
        ) from error
    done = ask_server(None, admin, "POST", "/agreements/revocations", order)
    click.echo(f"{done['agreement']} up to version {done['version']} is revoked.")


def _place(folder: Path, sealed: bytes) -> None:
    try:
        place_revocation(folder, sealed)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(folder), detail=f"cannot be written: {error.strerror}"
        ) from error
