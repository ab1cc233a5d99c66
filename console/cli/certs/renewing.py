"""`saphan certs renew`: a successor beside a certificate."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography import x509

from certs.authority import DevelopmentAuthority
from certs.description import State, describe
from certs.files import read_file
from certs.issue import PublicKey, parse_private_key, requested_key
from certs.profiles import Profile, profile_of
from console.cli.certs.options import ALGORITHM, CSR, DAYS, PKI
from console.cli.certs.telling import next_steps, tell_issued
from console.cli.options import JSON
from exchange.certificates.reading import parse_certificates
from exchange.problems import Code, Problem


@click.command()
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@PKI
@click.option("--same-key", is_flag=True, help="Keep the key; its file is not touched.")
@CSR
@ALGORITHM
@DAYS
@JSON
def renew(
    certificate: Path,
    pki: Path,
    same_key: bool,
    csr: Path | None,
    algorithm: str,
    days: int | None,
    as_json: bool,
) -> None:
    """Issue a successor of CERTIFICATE, with its names, beside it.

    The old files stay for the time of overlap. A new key is made unless --same-key or --csr
    says otherwise.
    """
    if same_key and csr is not None:
        raise click.UsageError("--same-key and --csr exclude each other")
    now = datetime.now(UTC)
    old = parse_certificates(read_file(certificate), str(certificate))[0]
    authority = DevelopmentAuthority.open(pki)
    key: PublicKey | None = None
    own_key_path: Path | None = None
    if same_key:
        own_key_path, key = _key_beside(certificate, old)
    elif csr is not None:
        key = requested_key(read_file(csr), str(csr))
    issued = authority.reissue(old, at=now, public_key=key, algorithm=algorithm, days=days)
    cert_path, key_path = _successor(certificate, now)
    new_key_path = key_path if key is None else None
    issued.write(cert_path, new_key_path)
    before, after = describe(old, now), describe(issued.certificate, now)
    kind = profile_of(issued.certificate) or Profile.SEAL
    steps = next_steps(kind, after.owner, cert_path, own_key_path or new_key_path)
    steps.append(
        f"keep {certificate} registered until {before.not_after:%F %H:%M} UTC: what was sent "
        "under it is still checked with it"
        if before.state is State.VALID
        else f"{certificate} has ended: take it out of the registration"
    )
    tell_issued(issued, cert_path, new_key_path, steps, as_json)


def _successor(certificate: Path, now: datetime) -> tuple[Path, Path]:
    """Unused file names beside a certificate: ``seal-LA.GOV.MPI.20261121.pem`` and its key's."""
    stem = re.sub(r"\.[0-9]{8}(-[0-9]+)?$", "", certificate.stem)
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        name = f"{stem}.{now:%Y%m%d}{suffix}"
        pair = certificate.with_name(f"{name}.pem"), certificate.with_name(f"{name}.key.pem")
        if not any(path.exists() for path in pair):
            return pair
    raise Problem(Code.CONFLICT, where=str(certificate), detail="renewed 99 times today already")


def _key_beside(certificate: Path, old: x509.Certificate) -> tuple[Path, PublicKey]:
    """The file of a certificate's private key, in the same folder, and the public key."""
    for path in sorted(certificate.parent.glob("*.key.pem")):
        key = parse_private_key(read_file(path), str(path)).public_key()
        if key == old.public_key():
            return path, key
    raise Problem(
        Code.NOT_FOUND,
        where=str(certificate.parent),
        detail=f"no *.key.pem file here is the key of {certificate.name}; leave --same-key out "
        "for a new key, or give a request with --csr",
    )
