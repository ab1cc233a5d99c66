"""`saphan certs issue`: a certificate for a server, a member, an application or a service."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from certs.authority import DevelopmentAuthority, Issuance
from certs.files import read_file
from certs.issue import Issued, PublicKey, requested_key
from certs.profiles import Profile
from console.cli.certs.options import ALGORITHM, CSR, DAYS, FOLDER, PKI
from console.cli.certs.telling import next_steps, tell_issued
from console.cli.options import JSON
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.problems import Code, Problem

_OF_SERVICE = {Profile.TSA, Profile.OCSP}


@click.command()
@click.argument("profile", type=click.Choice(["auth", "seal", "client", "tsa", "ocsp"]))
@click.argument("owner", required=False)
@PKI
@click.option("-o", "--output", type=FOLDER, required=True, help="Folder for the new files.")
@click.option(
    "--name", "names", multiple=True, help="DNS name or IP address of a server; may be repeated."
)
@CSR
@ALGORITHM
@DAYS
@JSON
def issue(
    profile: str,
    owner: str | None,
    pki: Path,
    output: Path,
    names: tuple[str, ...],
    csr: Path | None,
    algorithm: str,
    days: int | None,
    as_json: bool,
) -> None:
    """Issue a certificate of PROFILE to OWNER.

    \b
    auth    TLS between servers; OWNER is a server      LA/GOV/MPI/ss1, with --name
    seal    signs messages; OWNER is a member           LA/GOV/MPI
    client  an application's; OWNER is an application   LA/GOV/MPI/oda-mis
    tsa     time-stamp authority; no OWNER
    ocsp    OCSP responder; no OWNER

    Without --csr a new key is made and written beside the certificate, readable by you alone.
    """
    kind = Profile(profile)
    _check_usage(kind, owner, names)
    authority = DevelopmentAuthority.open(pki)
    key = None if csr is None else requested_key(read_file(csr), str(csr))
    stem = _stem(kind, owner)
    cert_path, key_path = output / f"{stem}.pem", output / f"{stem}.key.pem"
    for path in (cert_path, key_path):
        if path.exists():
            raise Problem(
                Code.CONFLICT,
                where=str(path),
                detail="the file exists; `saphan certs renew` replaces a certificate",
            )
    issued = _issue(authority, kind, owner or "", names, key, algorithm, days)
    issued.write(cert_path, key_path if key is None else None)
    steps = next_steps(kind, owner, cert_path, key_path if key is None else None)
    tell_issued(issued, cert_path, key_path if key is None else None, steps, as_json)


def _check_usage(kind: Profile, owner: str | None, names: tuple[str, ...]) -> None:
    if (owner is None) != (kind in _OF_SERVICE):
        needs = "has no OWNER" if owner else "needs an OWNER, such as LA/GOV/MPI"
        raise click.UsageError(f"the profile {kind} {needs}")
    if names and kind is not Profile.AUTH:
        raise click.UsageError(f"the profile {kind} has no --name")
    if not names and kind is Profile.AUTH:
        raise click.UsageError("a server needs --name: the DNS name or IP address peers dial")


def _issue(
    authority: DevelopmentAuthority,
    kind: Profile,
    owner: str,
    names: tuple[str, ...],
    key: PublicKey | None,
    algorithm: str,
    days: int | None,
) -> Issued:
    terms: Issuance = {
        "at": datetime.now(UTC),
        "public_key": key,
        "algorithm": algorithm,
        "days": days,
    }
    match kind:
        case Profile.AUTH:
            return authority.issue_auth(ServerId.parse(owner), names, **terms)
        case Profile.SEAL:
            return authority.issue_seal(MemberId.parse(owner), **terms)
        case Profile.CLIENT:
            return authority.issue_client(ApplicationId.parse(owner), **terms)
        case Profile.TSA:
            return authority.issue_tsa(**terms)
        case _:
            return authority.issue_ocsp(**terms)


def _stem(kind: Profile, owner: str | None) -> str:
    """A file name without suffix: ``seal-LA.GOV.MPI``."""
    if owner is None:
        return kind.value
    return f"{kind.value}-{re.sub(r'[^A-Za-z0-9.-]', '_', owner.replace('/', '.'))}"[:120]
