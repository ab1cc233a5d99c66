"""`saphan agreement draft`: an agreement to be read, edited and sealed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from console.cli.agreement.files import purposes, write
from console.cli.agreement.options import IDENTIFIER, OUTPUT, VALIDITY
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import LIMIT_NAMES, MAX_QUOTA, Asked, parse_agreement
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, ServiceId
from exchange.once_only.evidence_requests import BasisKind

_NO_PURPOSE = " Calls need not name a purpose."


@click.command()
@click.option("--consumer", required=True, help="Calling application: LA/GOV/MOF/budget.")
@click.option("--service", required=True, help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option(
    "--endpoint", "endpoints", multiple=True, required=True, help="METHOD PATH; may be repeated."
)
@click.option(
    "--field", "fields", multiple=True, help="Released field: /items/*/code; all if none."
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    help="FIELD=VALUE: only records whose field has the value; may be repeated. All if none.",
)
@click.option("--purpose", help="Purpose code that calls must name: national-budget; none if none.")
@click.option("--legal-basis", help="The law or decree behind the purpose.")
@VALIDITY
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
@click.option(
    "--request-basis",
    "kinds",
    type=click.Choice(sorted(BasisKind)),
    multiple=True,
    help="Each call must say why it is made (Exchange-Request-Basis), by one of these kinds.",
)
@IDENTIFIER
@OUTPUT
@JSON
def draft(
    consumer: str,
    service: str,
    endpoints: tuple[str, ...],
    fields: tuple[str, ...],
    rows: tuple[str, ...],
    purpose: str | None,
    legal_basis: str | None,
    days: int,
    per_day: int | None,
    per_second: int | None,
    limits: tuple[str, ...],
    subject_required: bool,
    kinds: tuple[str, ...],
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
                **({"rows": _rows(rows)} if rows else {}),
                **({"request_basis": list(dict.fromkeys(kinds))} if kinds else {}),
            }
        ],
        "purposes": purposes(purpose, legal_basis),
        "valid_from": format_moment(now),
        "valid_until": format_moment(now + timedelta(days=days)),
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
        print_json({"file": str(output), "agreement": name, "sealed_by": []})
        return
    click.echo(
        f"{output}: agreement {name}.{released}{'' if purpose else _NO_PURPOSE}\n"
        f"Next: both parties seal it: saphan agreement seal {output} --certificate … --key … -o …"
    )


def _endpoint(text: str) -> dict[str, str]:
    method, separator, path = text.partition(" ")
    if not separator:
        raise click.UsageError(f"--endpoint {text!r} is not METHOD PATH, such as 'GET /projects'")
    return {"method": method.upper(), "path": path.strip()}


def _rows(texts: tuple[str, ...]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for text in texts:
        field, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"--row {text!r} is not FIELD=VALUE, such as province=LA-VT")
        rows.setdefault(field, []).append(value)
    return rows


def _limit(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in LIMIT_NAMES or not (number.isascii() and number.isdigit()):
        raise click.UsageError(
            f"--limit {text!r} is not NAME=NUMBER, such as exchange_s=30; "
            f"names are {', '.join(LIMIT_NAMES)}"
        )
    return name, int(number)
