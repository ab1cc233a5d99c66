"""`saphan agreement show`: what an agreement says, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography import x509

from console.cli.agreement.files import authorities
from console.cli.agreement.groups import AGREEMENT, GROUP, Chosen, chosen, text_of
from console.cli.agreement.mandate import mandate_lines
from console.cli.printing import print_json
from exchange.agreements import (
    Agreement,
    format_agreement,
    open_agreement,
    parse_agreement,
    read_agreement,
)
from exchange.documents import format_moment
from exchange.problems import Code, Problem
from serving.small_files import MAX_BYTES, read_file


@click.command()
@AGREEMENT
@GROUP
@click.option("--ca", type=click.Path(exists=True, path_type=Path), help="Verify the seals too.")
@click.option("--json", "as_json", is_flag=True, help="Print the document as JSON.")
@click.option("--html", is_flag=True, help="Print a page for officials to read, print and sign.")
@click.option("--text", is_flag=True, help="Print the same as text.")
@click.option(
    "--language",
    type=click.Choice(["en", "lo", "both"]),
    default="both",
    show_default=True,
    help="Of --html and --text.",
)
def show(
    file: Path,
    group: str | None,
    ca: Path | None,
    as_json: bool,
    html: bool,
    text: bool,
    language: str,
) -> None:
    """Show an agreement, sealed or not; of a group (FILE is a folder) its text and its consumers.

    Whether the agreements of a group still say the same is told.
    """
    if as_json + html + text > 1:
        raise click.UsageError("choose one of --json, --html and --text")
    if file.is_dir():
        if ca is not None:
            raise click.UsageError("--ca is of one file of the group each")
        members = chosen(file, group)
        if html or text:
            _render(members[0].agreement, (), language, html, _same(members))
        else:
            _show_group(members, as_json)
        return
    document = read_file(file)
    sealed_by = 0
    seals: tuple[x509.Certificate, ...] = ()
    if b'"signatures"' in document[:MAX_BYTES]:
        found, seals = read_agreement(document)
        sealed_by = len(seals)
        if ca is not None:
            open_agreement(document, authorities(ca), datetime.now(UTC))
    else:
        found = parse_agreement(document)
    if as_json:
        click.echo(format_agreement(found).decode())
        return
    if html or text:
        _render(found, seals, language, html)
        return
    _print(found)
    click.echo(f"seals: {sealed_by}" + (", verified" if ca is not None and sealed_by else ""))


def _show_group(members: list[Chosen], as_json: bool) -> None:
    first = members[0].agreement
    rows = [
        {
            "consumer": str(one.agreement.consumer),
            "agreement": one.agreement.reference,
            "file": str(one.path),
            "seals": one.seals,
            "valid_until": format_moment(one.agreement.valid_until),
            "same": text_of(one.agreement) == text_of(first),
        }
        for one in members
    ]
    if as_json:
        print_json({"group": first.group, "members": rows})
        return
    _print(first, f"{len(rows)} consumers, see below")
    for row in rows:
        other = "" if row["same"] else ", says something else"
        click.echo(
            f"  {row['consumer']}: {row['agreement']}, seals: {row['seals']}, "
            f"until {row['valid_until']}{other}"
        )


def _same(members: list[Chosen]) -> list[Agreement]:
    """The agreements of a group, which can be told together only when they say the same."""
    for one in members:
        if text_of(one.agreement) != text_of(members[0].agreement):
            detail = f"says something else than {members[0].path}; show it by itself"
            raise Problem(Code.CONFLICT, where=str(one.path), detail=detail)
    return [one.agreement for one in members]


def _render(
    found: Agreement,
    seals: tuple[x509.Certificate, ...],
    language: str,
    html: bool,
    members: Sequence[Agreement] = (),
) -> None:
    # Here, since templates are not needed for anything else that this command does.
    from console.agreements.rendering import Language, page, plain_text

    if html:
        click.echo(page(found, Language(language), seals, members))
        return
    for line in plain_text(found, Language(language), members):
        click.echo(line)


def _print(found: Agreement, consumers: str = "") -> None:
    click.echo(f"{found.id} (version {found.version}): {found.title.en} / {found.title.lo}")
    click.echo(f"provider: {found.provider}\nconsumer: {consumers or found.consumer}")
    if found.group is not None:
        click.echo(f"group:    {found.group}")
    for grant in found.grants:
        click.echo(f"service:  {grant.service}")
        for endpoint in grant.endpoints:
            click.echo(f"  {endpoint.method} {endpoint.path}")
        click.echo(f"  fields: {', '.join(grant.fields)}")
        for condition in grant.rows:
            click.echo(f"  only where {condition.field} is {' or '.join(condition.values)}")
        if grant.request_basis:
            click.echo(f"  each call says why: {' or '.join(sorted(grant.request_basis))}")
    for line in mandate_lines(found):
        click.echo(line)
    for purpose in found.purposes:
        click.echo(f"purpose:  {purpose.code}: {purpose.legal_basis.en}")
        if purpose.request_basis:
            click.echo(f"  each call says why: {' or '.join(sorted(purpose.request_basis))}")
    if found.subject is not None:
        click.echo(f"subject:  {found.subject.value}: each call says whom or what it is about")
    quota = {"per_day": found.quota.per_day, "per_second": found.quota.per_second}
    if calls := {name: value for name, value in quota.items() if value is not None}:
        click.echo(f"quota:    {_named(calls)}")
    if limits := found.limits.given():
        click.echo(f"limits:   {_named(limits)}")
    now = datetime.now(UTC)
    state = "; not yet" if found.valid_from > now else "; ended" if found.valid_until <= now else ""
    click.echo(
        f"valid:    {format_moment(found.valid_from)} to {format_moment(found.valid_until)}{state}"
    )


def _named(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
