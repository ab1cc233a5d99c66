"""`saphan agreement`: draft, seal, pin and show the agreements that open doors."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from console.cli.agreement_files import MAX_FILE_BYTES, moment, purposes, read, tell, write
from console.cli.mandate import mandate, mandate_lines
from console.cli.options import JSON
from exchange.agreements import (
    LIMIT_NAMES,
    MAX_QUOTA,
    Agreement,
    Asked,
    format_agreement,
    open_agreement,
    parse_agreement,
    read_agreement,
    seal_agreement,
)
from exchange.certificates import member_of, parse_certificates
from exchange.identifiers import ApplicationId, ServiceId
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from serving.yaml_files import read_yaml

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_NO_PURPOSE = " Calls need not name a purpose."


@click.group()
def agreement() -> None:
    """Draft, seal, pin and show agreements: the only thing that opens a door."""


agreement.add_command(mandate)


@agreement.command()
@click.option("--consumer", required=True, help="Calling application: LA/GOV/MOF/budget.")
@click.option("--service", required=True, help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option(
    "--endpoint", "endpoints", multiple=True, required=True, help="METHOD PATH; may be repeated."
)
@click.option(
    "--field", "fields", multiple=True, help="Released field: /items/*/code; all if none."
)
@click.option("--purpose", help="Purpose code that calls must name: national-budget; none if none.")
@click.option("--legal-basis", help="The law or decree behind the purpose.")
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    default=365,
    show_default=True,
    help="Validity from now.",
)
@click.option("--per-day", type=click.IntRange(1, MAX_QUOTA), help="Calls a day (UTC).")
@click.option("--per-second", type=click.IntRange(1, MAX_QUOTA), help="Calls a second.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    help=f"NAME=NUMBER, may be repeated. Names: {', '.join(LIMIT_NAMES)}.",
)
@click.option(
    "--subject-required",
    is_flag=True,
    help="Each call must say whom or what it is about (Exchange-Subject).",
)
@click.option("--id", "identifier", help="Name; made from the parties if not given.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write."
)
@JSON
def draft(
    consumer: str,
    service: str,
    endpoints: tuple[str, ...],
    fields: tuple[str, ...],
    purpose: str | None,
    legal_basis: str | None,
    days: int,
    per_day: int | None,
    per_second: int | None,
    limits: tuple[str, ...],
    subject_required: bool,
    identifier: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write an agreement to OUTPUT, to be read, edited and sealed by both parties."""
    client, offered = ApplicationId.parse(consumer), ServiceId.parse(service)
    now = datetime.now(UTC).replace(microsecond=0)
    codes = (client.member_code, offered.member_code, offered.service_code, str(now.year))
    name = identifier or re.sub("[^a-z0-9]+", "-", "-".join(codes).lower())[-63:].strip("-")
    document = {
        "id": name,
        "version": 1,
        "title": {"en": f"{client} calls {offered}", "lo": f"{client} ເອີ້ນ {offered}"},
        "provider": str(offered.member),
        "consumer": str(client),
        "grants": [
            {
                "service": str(offered),
                "endpoints": [_endpoint(text) for text in endpoints],
                "fields": list(fields) or ["*"],
            }
        ],
        "purposes": purposes(purpose, legal_basis),
        "valid_from": moment(now),
        "valid_until": moment(now + timedelta(days=days)),
    }
    quota = {"per_day": per_day, "per_second": per_second}
    if given := {name: calls for name, calls in quota.items() if calls is not None}:
        document["quota"] = given
    if limits:
        document["limits"] = dict(_limit(text) for text in limits)
    if subject_required:
        document["subject"] = Asked.REQUIRED.value
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    parse_agreement(text)
    write(output, text)
    released = (
        "" if fields else " It releases every field; name each with --field to release fewer."
    )
    if as_json:
        tell({"file": str(output), "agreement": name, "sealed_by": []})
        return
    click.echo(
        f"{output}: agreement {name}.{released}{'' if purpose else _NO_PURPOSE}\n"
        f"Next: both parties seal it: saphan agreement seal {output} --certificate … --key … -o …"
    )


@agreement.command()
@FILE
@click.option(
    "--certificate",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Seal certificate of the party (PEM).",
)
@click.option(
    "--key",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Its private key (PEM).",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write."
)
@JSON
def seal(file: Path, certificate: Path, key: Path, output: Path, as_json: bool) -> None:
    """Seal FILE (JSON or YAML, or already sealed by the other party) with a member's seal key."""
    document = read(file)
    if file.suffix in (".yaml", ".yml"):
        try:
            document = orjson.dumps(read_yaml(document), default=_yaml_value)
        except (yaml.YAMLError, TypeError) as error:
            raise Problem(
                Code.AGREEMENT_INVALID, where=str(file), detail=f"is not YAML: {error}"
            ) from error
    leaf = _certificates(certificate, "--certificate")[0]
    sealed = seal_agreement(document, signing_key(_private_key(key), leaf), leaf)
    write(output, sealed)
    found, seals = read_agreement(sealed)
    missing = len({found.provider, found.consumer.member}) - len(seals)
    if as_json:
        parties = [str(member_of(certificate)) for certificate in seals]
        tell({"file": str(output), "agreement": found.id, "sealed_by": parties})
        return
    click.echo(f"{output}: agreement {found.id}, sealed by {len(seals)}.")
    if missing:
        click.echo("Next: the other party seals this file too: saphan agreement seal …")
    else:
        click.echo(
            "Next: the provider pins it: saphan agreement pin "
            f"{output} --to FOLDER (setting `agreements` of its server)"
        )


@agreement.command()
@FILE
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
def pin(file: Path, folder: Path, ca: Path, as_json: bool) -> None:
    """Verify both seals of FILE and place it in FOLDER, where the provider's server obeys it."""
    sealed = read(file)
    now = datetime.now(UTC)
    found = open_agreement(sealed, _authorities(ca), now)
    if found.valid_until <= now:
        raise Problem(
            Code.AGREEMENT_EXPIRED,
            where=str(file),
            detail=f"it ended at {moment(found.valid_until)}; nothing was pinned",
        )
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{found.id}.jws"
    _refuse_replacing(target, found)
    temporary = folder / f".{found.id}.tmp"
    write(temporary, sealed)
    os.replace(temporary, target)
    if as_json:
        tell(
            {
                "file": str(target),
                "agreement": found.id,
                "consumer": str(found.consumer),
                "valid_from": moment(found.valid_from),
                "valid_until": moment(found.valid_until),
            }
        )
        return
    click.echo(
        f"{target}: in force for {found.consumer} {_period(found, now)}; "
        "the server that reads this folder takes it within a second."
    )


@agreement.command()
@FILE
@click.option("--ca", type=click.Path(exists=True, path_type=Path), help="Verify the seals too.")
@click.option("--json", "as_json", is_flag=True, help="Print the document as JSON.")
def show(file: Path, ca: Path | None, as_json: bool) -> None:
    """Show an agreement, sealed or not."""
    document = read(file)
    sealed_by = 0
    if b'"signatures"' in document[:MAX_FILE_BYTES]:
        found, seals = read_agreement(document)
        sealed_by = len(seals)
        if ca is not None:
            open_agreement(document, _authorities(ca), datetime.now(UTC))
    else:
        found = parse_agreement(document)
    if as_json:
        click.echo(format_agreement(found).decode())
        return
    _print(found)
    click.echo(f"seals: {sealed_by}" + (", verified" if ca is not None and sealed_by else ""))


def _refuse_replacing(target: Path, new: Agreement) -> None:
    """A name that others chose too, or an older version, does not push out what is in force."""
    if not target.exists():
        return
    try:
        old, _ = read_agreement(read(target))
    except Problem:
        return  # it opens nothing
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


def _print(found: Agreement) -> None:
    click.echo(f"{found.id} (version {found.version}): {found.title.en} / {found.title.lo}")
    click.echo(f"provider: {found.provider}\nconsumer: {found.consumer}")
    for grant in found.grants:
        click.echo(f"service:  {grant.service}")
        for endpoint in grant.endpoints:
            click.echo(f"  {endpoint.method} {endpoint.path}")
        click.echo(f"  fields: {', '.join(grant.fields)}")
    for line in mandate_lines(found):
        click.echo(line)
    for purpose in found.purposes:
        click.echo(f"purpose:  {purpose.code}: {purpose.legal_basis.en}")
    if found.subject is not None:
        click.echo(f"subject:  {found.subject.value}: each call says whom or what it is about")
    quota = {"per_day": found.quota.per_day, "per_second": found.quota.per_second}
    if calls := {name: value for name, value in quota.items() if value is not None}:
        click.echo(f"quota:    {_named(calls)}")
    if limits := found.limits.given():
        click.echo(f"limits:   {_named(limits)}")
    now = datetime.now(UTC)
    state = "; not yet" if found.valid_from > now else "; ended" if found.valid_until <= now else ""
    click.echo(f"valid:    {moment(found.valid_from)} to {moment(found.valid_until)}{state}")


def _period(found: Agreement, now: datetime) -> str:
    begins = f"from {moment(found.valid_from)} " if found.valid_from > now else ""
    return f"{begins}until {moment(found.valid_until)}"


def _endpoint(text: str) -> dict[str, str]:
    method, separator, path = text.partition(" ")
    if not separator:
        raise click.UsageError(f"--endpoint {text!r} is not METHOD PATH, such as 'GET /projects'")
    return {"method": method.upper(), "path": path.strip()}


def _limit(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in LIMIT_NAMES or not (number.isascii() and number.isdigit()):
        raise click.UsageError(
            f"--limit {text!r} is not NAME=NUMBER, such as exchange_s=30; "
            f"names are {', '.join(LIMIT_NAMES)}"
        )
    return name, int(number)


def _named(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _yaml_value(value: object) -> str:
    if isinstance(value, datetime):
        return moment(value if value.tzinfo else value.replace(tzinfo=UTC))
    raise TypeError(f"{type(value).__name__} has no place in an agreement")


def _private_key(path: Path) -> Any:
    try:
        return load_pem_private_key(read(path), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS, where="--key", detail=f"{path} holds no PEM private key"
        ) from error


def _authorities(path: Path) -> list[x509.Certificate]:
    return _certificates(path, "--ca")


def _certificates(path: Path, where: str) -> list[x509.Certificate]:
    found = list(parse_certificates(read(path)))
    if not found:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=f"{path} holds no PEM certificate")
    return found
