"""`saphan certs create`: the folder of a development PKI."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from certs.authority import create_development_pki
from console.cli.certs.options import FOLDER
from console.cli.options import JSON
from console.cli.printing import print_json


@click.command()
@click.argument("directory", type=FOLDER)
@click.option("--instance", default="LA", show_default=True, help="X-Road instance code.")
@click.option(
    "--environment",
    default="development",
    show_default=True,
    help="What the instance says of itself; production is refused.",
)
@click.option(
    "--services-url",
    help="Where `saphan certs serve` will be reached, such as http://ca.example:8089; certificates "
    "then name its OCSP responder and revocation list.",
)
@JSON
def create(
    directory: Path, instance: str, environment: str, services_url: str | None, as_json: bool
) -> None:
    """Create a development PKI in DIRECTORY.

    Makes a root (kept apart), an issuing authority, a time-stamp certificate and an OCSP
    certificate.
    """
    from certs.services import make_keys

    now = datetime.now(UTC)
    authority = create_development_pki(
        directory, instance, at=now, environment=environment, services_url=services_url
    )
    make_keys(authority, now)
    files = {
        "authorities": str(directory / "authorities.pem"),
        "root_key": str(directory / "root" / "root.key.pem"),
        "issuing_key": str(directory / "issuing" / "issuing.key.pem"),
        "tsa": str(directory / "tsa" / "tsa.pem"),
        "ocsp": str(directory / "ocsp" / "ocsp.pem"),
    }
    if as_json:
        print_json({"instance": instance, "files": files})
        return
    click.echo(f"{directory}: a DEVELOPMENT PKI for the instance {instance}.")
    click.echo(f"  {files['authorities']}  what every server is to trust; goes to the registry")
    click.echo(f"  {files['root_key']}  move it off this machine; issuing does not need it")
    click.echo(f"  {files['issuing_key']}  signs certificates; keep it here only")
    click.echo(f"  {files['tsa']}, {files['ocsp']}  for the time-stamp and OCSP services")
    click.echo(
        f"Next: saphan certs issue seal {instance}/GOV/MPI --pki {directory} -o FOLDER, "
        "for each member;\n"
        f"      saphan certs issue auth {instance}/GOV/MPI/ss1 --name HOST --pki {directory} "
        "-o FOLDER, for each server."
    )
