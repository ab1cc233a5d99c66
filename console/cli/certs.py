"""`saphan certs`: the development PKI, from the first root to the last renewal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from cryptography import x509

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.description import Description, State, describe
from certs.files import PUBLIC_MODE, read_file, write_file
from certs.issue import ALGORITHMS, Issued, PublicKey, parse_private_key, requested_key
from certs.profiles import Profile, profile_of
from certs.revocation import REASONS, make_crl, revoke, revoked_by
from console.cli.options import JSON
from exchange.certificates.reading import parse_certificates
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.problems import Code, Fact, Problem
from serving.clock import SystemClock

if TYPE_CHECKING:
    from certs.services import Services

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_PKI = click.option(
    "--pki", type=_FOLDER, required=True, help="Folder that `saphan certs create` made."
)
_DAYS = click.option("--days", type=click.IntRange(1, 3650), help="Validity; by profile if absent.")
_CSR = click.option(
    "--csr", type=_FILE, help="Certificate request; its key is used, not its names."
)
_ALGORITHM = click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    default=ALGORITHMS[0],
    show_default=True,
    help="Kind of a new key.",
)
_OF_SERVICE = {Profile.TSA, Profile.OCSP}


@click.group()
def certs() -> None:
    """Create, show and renew development certificates.

    They are for development and training: every subject says DEV, and an instance that says
    production refuses them.
    """


@certs.command()
@click.argument("directory", type=_FOLDER)
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

    now = _now()
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
        _print_json({"instance": instance, "files": files})
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


@certs.command()
@click.argument("profile", type=click.Choice(["auth", "seal", "client", "tsa", "ocsp"]))
@click.argument("owner", required=False)
@_PKI
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the new files.")
@click.option(
    "--name", "names", multiple=True, help="DNS name or IP address of a server; may be repeated."
)
@_CSR
@_ALGORITHM
@_DAYS
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
    steps = _next_steps(kind, owner, cert_path, key_path if key is None else None)
    _tell_issued(issued, cert_path, key_path if key is None else None, steps, as_json)


@certs.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@JSON
def show(path: Path, as_json: bool) -> None:
    """Show the certificates of PATH, a PEM file or a folder with all below it."""
    now = _now()
    shown = [(file, describe(certificate, now)) for file, certificate in _certificates(path)]
    if as_json:
        _print_json([{"file": str(file), **description.facts()} for file, description in shown])
        return
    for file, description in shown:
        click.echo(_card(file, description))
    ending = [d for _, d in shown if d.state is not State.VALID or d.days_left < 3]
    if ending:
        click.echo(
            f"Next: {len(ending)} of {len(shown)} are ended or end within 3 days: "
            "saphan certs renew FILE --pki FOLDER"
        )


@certs.command()
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_PKI
@click.option("--same-key", is_flag=True, help="Keep the key; its file is not touched.")
@_CSR
@_ALGORITHM
@_DAYS
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
    now = _now()
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
    steps = _next_steps(kind, after.owner, cert_path, own_key_path or new_key_path)
    steps.append(
        f"keep {certificate} registered until {before.not_after:%F %H:%M} UTC: what was sent "
        "under it is still checked with it"
        if before.state is State.VALID
        else f"{certificate} has ended: take it out of the registration"
    )
    _tell_issued(issued, cert_path, new_key_path, steps, as_json)


@certs.command("revoke")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_PKI
@click.option("--reason", type=click.Choice(REASONS), required=True, help="RFC 5280 section 5.3.1.")
@JSON
def revoke_certificate(certificate: Path, pki: Path, reason: str, as_json: bool) -> None:
    """Revoke CERTIFICATE for good: the responder and the list say so from now on."""
    found = parse_certificates(read_file(certificate), str(certificate))[0]
    row = revoke(DevelopmentAuthority.open(pki), found, reason, _now())
    if as_json:
        _print_json({"serial": f"{row.serial:x}", "at": row.at.isoformat(), "reason": reason})
        return
    click.echo(f"{certificate}: revoked at {row.at:%F %T} UTC, reason {reason}.")
    click.echo(
        "Next: take it out of the registration. Servers that ask the responder refuse it when they "
        "ask anew, within revocation.refresh_s."
    )


@certs.command()
@_PKI
@click.option("-o", "--output", type=_FILE, required=True, help="File for the list, in DER.")
def crl(pki: Path, output: Path) -> None:
    """Write the list of what was revoked (CRL), good for a day."""
    der = make_crl(DevelopmentAuthority.open(pki), revoked_by(pki), _now())
    write_file(output, der, mode=PUBLIC_MODE)
    click.echo(f"{output}: good for a day. Next: publish it where the certificates say.")


@certs.command()
@_PKI
@click.option("--listen", default="127.0.0.1:8089", show_default=True, help="HOST:PORT.")
def serve(pki: Path, listen: str) -> None:
    """Answer time-stamps (/tsa), OCSP (/ocsp) and the revocation list (/crl) until interrupted."""
    # What a server needs takes longer to load than any other command takes.
    from certs.services import Services
    from serving import runtime
    from serving.listener import split_address

    host, port = split_address(listen, "--listen")
    services = Services.open(DevelopmentAuthority.open(pki), SystemClock())
    runtime.run(lambda stop: _serve(services, host, port, stop))


async def _serve(services: Services, host: str, port: int, stop: asyncio.Event) -> None:
    from certs.services import start

    try:
        listening = await start(services, host, port)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where="--listen", detail=f"cannot listen: {error.strerror}"
        ) from error
    click.echo(f"{listening.url}: DEVELOPMENT time-stamps, OCSP and revocation list.")
    await stop.wait()
    await listening.stop()


# ------------------------------------------------------------------------------------- the work


def _now() -> datetime:
    return datetime.now(UTC)


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
    now = _now()
    match kind:
        case Profile.AUTH:
            return authority.issue_auth(
                ServerId.parse(owner), names, at=now, public_key=key, algorithm=algorithm, days=days
            )
        case Profile.SEAL:
            return authority.issue_seal(
                MemberId.parse(owner), at=now, public_key=key, algorithm=algorithm, days=days
            )
        case Profile.CLIENT:
            return authority.issue_client(
                ApplicationId.parse(owner), at=now, public_key=key, algorithm=algorithm, days=days
            )
        case Profile.TSA:
            return authority.issue_tsa(at=now, public_key=key, algorithm=algorithm, days=days)
        case _:
            return authority.issue_ocsp(at=now, public_key=key, algorithm=algorithm, days=days)


def _stem(kind: Profile, owner: str | None) -> str:
    """A file name without suffix: ``seal-LA.GOV.MPI``."""
    if owner is None:
        return kind.value
    return f"{kind.value}-{re.sub(r'[^A-Za-z0-9.-]', '_', owner.replace('/', '.'))}"[:120]


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


def _certificates(path: Path) -> Iterator[tuple[Path, x509.Certificate]]:
    """Every certificate below ``path`` once, in the order of the file names."""
    if path.is_file():
        for certificate in parse_certificates(read_file(path), str(path)):
            yield path, certificate
        return
    seen: set[x509.Certificate] = set()
    for file in sorted(path.rglob("*.pem")):
        data = read_file(file)
        if b"BEGIN CERTIFICATE-" not in data:
            continue
        for certificate in parse_certificates(data, str(file)):
            if certificate not in seen:
                seen.add(certificate)
                yield file, certificate
    if not seen:
        raise Problem(
            Code.NOT_FOUND, where=str(path), detail="no certificate in any .pem file below"
        )


# --------------------------------------------------------------------------------- what is said


def _next_steps(
    kind: Profile, owner: str | None, cert_path: Path, key_path: Path | None
) -> list[str]:
    pair = f"{cert_path} and {key_path}" if key_path else f"{cert_path}, with the requester's key,"
    match kind:
        case Profile.AUTH:
            return [
                f"register {cert_path} as an auth certificate of {owner}, and have it approved",
                f"then set {pair} as the TLS certificate and key of the server {owner}",
            ]
        case Profile.SEAL:
            return [
                f"register {cert_path} as a seal certificate of {owner}, and have it approved",
                f"then set {pair} as the seal of {owner} on its server",
            ]
        case Profile.CLIENT:
            return [
                f"pin {cert_path} for {owner} in the settings of its server (mode mtls)",
                f"give {pair} to the application",
            ]
        case _:
            return [
                f"give {pair} to the {kind} service",
                f"list {cert_path} in the registry's instance record",
            ]


def _tell_issued(
    issued: Issued, cert_path: Path, key_path: Path | None, steps: list[str], as_json: bool
) -> None:
    description = describe(issued.certificate, _now())
    if as_json:
        _print_json(
            {
                "certificate_file": str(cert_path),
                "key_file": str(key_path) if key_path else None,
                **description.facts(),
                "next": steps,
            }
        )
        return
    click.echo(_card(cert_path, description))
    for number, step in enumerate(steps):
        click.echo(f"{'Next: ' if number == 0 else '      '}{number + 1}. {step}")


def _card(file: Path, description: Description) -> str:
    """One certificate, one block of lines."""
    left = {
        State.VALID: f"{description.days_left} day(s) left",
        State.EXPIRED: f"EXPIRED {-description.days_left} day(s) ago",
        State.NOT_YET_VALID: "NOT YET VALID",
    }[description.state]
    lines = [
        f"{file}{'  [DEV]' if description.development else ''}",
        f"  profile      {description.profile or '-'}: {description.title}",
        f"  owner        {description.owner or '-'}",
        f"  subject      {description.subject}",
        f"  issuer       {description.issuer}",
    ]
    if description.addresses:
        lines.append(f"  addresses    {', '.join(description.addresses)}")
    lines += [
        f"  key          {description.key_kind}",
        f"  valid        {description.not_before:%F %H:%M} to {description.not_after:%F %H:%M} UTC"
        f", {left}",
        f"  fingerprint  {description.fingerprint}",
    ]
    return "\n".join(lines)


def _print_json(value: dict[str, object] | list[dict[str, Fact]]) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
