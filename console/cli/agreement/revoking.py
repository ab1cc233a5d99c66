"""`saphan agreement revoke`: end an agreement, or a group of them, before its time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from console.cli.administration import ask_server
from console.cli.agreement.files import certificates, private_key, write
from console.cli.agreement.groups import AGREEMENT, GROUP, chosen
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import revocation_of, seal_revocation
from exchange.certificates.names import member_of
from exchange.documents import format_moment
from exchange.keys import signing_key
from exchange.problems import Code, Problem, Text
from mediator.agreements.pinned_files import REVOCATION, place_revocation
from serving.small_files import read_file

_PATH = click.Path(exists=True, path_type=Path)


@click.command()
@AGREEMENT
@GROUP
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
    group: str | None,
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
    Of a group (FILE is a folder) each is revoked, and -o names a folder.
    """
    if folder is None and admin is None and output is None:
        raise click.UsageError("say where it goes: --admin, --to or -o")
    leaf = certificates(certificate, "--certificate")[0]
    signer = signing_key(private_key(key), leaf)
    now = datetime.now(UTC).replace(microsecond=0)
    why = Text(reason, reason_lo or reason)
    found = [one.agreement for one in chosen(file, group)]
    sealed = [seal_revocation(revocation_of(one, now, why), signer, leaf) for one in found]
    if output is not None and file.is_dir():
        output.mkdir(parents=True, exist_ok=True)
    rows = []
    for one, data in zip(found, sealed, strict=True):
        if output is not None:
            write(output / f"{one.id}{REVOCATION}" if file.is_dir() else output, data)
        if folder is not None:
            _place(folder, data)
        if admin is not None:
            ask_server(None, admin, "POST", "/agreements/revocations", orjson.loads(data))
        rows.append(
            {
                "agreement": one.id,
                "version": one.version,
                "revoked_at": format_moment(now),
                "revoked_by": str(member_of(leaf)),
                "in_force": admin is not None,
            }
        )
        if not as_json:
            click.echo(f"{one.reference} is revoked by {member_of(leaf)}: {reason}")
    if as_json:
        print_json({"revoked": rows} if file.is_dir() else rows[0])
    elif admin is not None:
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
    sealed = read_file(file)
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
