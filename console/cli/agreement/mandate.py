"""`saphan agreement mandate`: draft what an auditor, or a portal for citizens, may ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import orjson

from console.cli.agreement.files import purposes, write
from console.cli.agreement.options import IDENTIFIER, OUTPUT, VALIDITY
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import Agreement, Kind, parse_agreement
from exchange.agreements.mandate import CONTENT, FIELDS
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.journal.auditing import JOURNAL, USAGE, auditing_service

_JOURNAL: Final = (
    "/checkpoint", "/anchor", "/entries", "/entries/{index}", "/entries/{index}/proof",
)  # fmt: skip
_TIME: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.command()
@click.option("--auditor", required=True, help="Asking application: LA/GOV/SIA/inspection.")
@click.option("--organisation", required=True, help="Audited member: LA/GOV/MPI.")
@click.option("--legal-basis", required=True, help="The law that gives the mandate.")
@click.option("--from", "since", type=_TIME, required=True, help="Entries from this time (UTC).")
@click.option("--until", type=_TIME, help="Entries before this time; open if not given.")
@click.option(
    "--field",
    "fields",
    type=click.Choice(sorted(FIELDS)),
    multiple=True,
    help="Shown member of entries; all but the content if none. `content`: what was exchanged.",
)
@click.option("--with", "others", multiple=True, help="Exchanges with this member only.")
@click.option("--service", "services", multiple=True, help="Exchanges of this service only.")
@click.option("--subjects", is_flag=True, help="May ask about persons.")
@click.option("--hidden", is_flag=True, help="Sees what orders hide.")
@click.option("--usage-only", is_flag=True, help="Only who used a person's records, for a portal.")
@click.option("--purpose", help="Purpose code that each question must name; none if none.")
@VALIDITY
@IDENTIFIER
@OUTPUT
@JSON
def mandate(
    auditor: str,
    organisation: str,
    legal_basis: str,
    since: datetime,
    until: datetime | None,
    fields: tuple[str, ...],
    others: tuple[str, ...],
    services: tuple[str, ...],
    subjects: bool,
    hidden: bool,
    usage_only: bool,
    purpose: str | None,
    days: int,
    identifier: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write a mandate to OUTPUT, to be read, edited and sealed by auditor and audited."""
    client, audited = ApplicationId.parse(auditor), MemberId.parse(organisation)
    now = datetime.now(UTC).replace(microsecond=0)
    codes = ("audit", client.member_code, audited.member_code, str(now.year))
    name = identifier or re.sub("[^a-z0-9]+", "-", "-".join(codes).lower())[-63:].strip("-")
    paths = [] if usage_only else list(_JOURNAL)
    paths += ["/evidence/{index}"] if CONTENT in fields and not usage_only else []
    paths += ["/hidings"] if hidden and not usage_only else []
    if subjects and hidden and not (usage_only or others or services):
        paths.append("/completeness")
    grants = [_grant(audited, JOURNAL, paths)] if paths else []
    if subjects or usage_only:
        grants.append(_grant(audited, USAGE, ["/"]))
    document = {
        "id": name,
        "version": 1,
        "kind": Kind.AUDIT.value,
        "title": {"en": f"{client} audits {audited}", "lo": f"{client} ກວດສອບ {audited}"},
        "provider": str(audited),
        "consumer": str(client),
        "grants": grants,
        "mandate": {
            "legal_basis": {"en": legal_basis, "lo": legal_basis},
            "period": {"from": _moment(since), "until": _moment(until) if until else None},
            "fields": list(fields) or ["*"],
            "organisations": [str(MemberId.parse(other, "--with")) for other in others],
            "services": [str(ServiceId.parse(service, "--service")) for service in services],
            "subjects": subjects or usage_only,
            "hidden": hidden,
        },
        "purposes": purposes(purpose, legal_basis if purpose else None),
        "valid_from": format_moment(now),
        "valid_until": format_moment(now + timedelta(days=days)),
    }
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    parse_agreement(text)
    write(output, text)
    if as_json:
        print_json({"file": str(output), "agreement": name, "sealed_by": []})
        return
    click.echo(
        f"{output}: mandate {name}.\n"
        f"Next: both parties seal it: saphan agreement seal {output} --certificate … --key … -o …"
    )


def mandate_lines(agreement: Agreement) -> Iterator[str]:
    """What a mandate shows, for people."""
    if agreement.disclosure_delay_days:
        yield f"uses are told to the persons concerned after {agreement.disclosure_delay_days} days"
    terms = agreement.mandate
    if terms is None:
        return
    end = "with no end" if terms.until is None else f"before {format_moment(terms.until)}"
    yield f"mandate:  {terms.legal_basis.en}"
    yield f"  entries from {format_moment(terms.since)}, {end}"
    yield f"  members of entries: {', '.join(sorted(terms.fields))}"
    yield f"  exchanges with: {', '.join(sorted(map(str, terms.organisations))) or 'anybody'}"
    yield f"  services: {', '.join(sorted(map(str, terms.services))) or 'all'}"
    yield f"  about persons: {'yes' if terms.subjects else 'no'}"
    yield f"  what orders hide: {'shown' if terms.hidden else 'not shown'}"


def _grant(member: MemberId, code: str, paths: list[str]) -> dict[str, Any]:
    return {
        "service": str(auditing_service(member, code)),
        "endpoints": [{"method": "GET", "path": path} for path in paths],
        "fields": ["*"],
    }


def _moment(at: datetime) -> str:
    return format_moment(at.replace(tzinfo=UTC))
