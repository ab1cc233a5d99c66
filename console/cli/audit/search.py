"""`saphan audit search`: find entries."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from console.cli.audit.journals import open_journals
from console.cli.audit.options import AS_JSON, DIRECTORIES, Moment
from console.cli.audit.printing import Progress, plain, print_json
from exchange.entries import Kind
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code
from mediator.journal import index
from mediator.journal.index import Cursor, Hit, Query


@click.command()
@DIRECTORIES
@click.option("--from", "since", type=Moment(), help="Not before this time (UTC).")
@click.option("--until", type=Moment(), help="Before this time (UTC).")
@click.option("--client", help="Calling application: LA/GOV/MOF/budget.")
@click.option("--service", help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option("--member", help="Member on either side: LA/GOV/MPI.")
@click.option("--endpoint", help="Path template: /projects/{id}.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Kind of entry.")
@click.option(
    "--outcome",
    type=click.Choice(index.OUTCOMES),
    help="How it ended: refused here; failed, or answered with a problem.",
)
@click.option("--status", type=click.IntRange(100, 599), help="HTTP status.")
@click.option("--problem", help="Problem code: AccessDenied.")
@click.option("--id", "message_id", help="Message id (X-Road-Id).")
@click.option("--request-id", help="Request id (X-Road-Request-Id).")
@click.option("--trace", help="Trace id.")
@click.option("--agreement", help="Agreement: mof-mpi-2026.")
@click.option("--purpose", help="Purpose code: national-budget.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Hits on a page.",
)
@click.option("--cursor", help="Go on where a page ended.")
@AS_JSON
def search(
    directories: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    client: str | None,
    service: str | None,
    member: str | None,
    endpoint: str | None,
    kind: str | None,
    outcome: str | None,
    status: int | None,
    problem: str | None,
    message_id: str | None,
    request_id: str | None,
    trace: str | None,
    agreement: str | None,
    purpose: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Find entries in the journals of DIR..., newest first. All conditions must hold."""
    query = Query(
        since=since,
        until=until,
        client=str(ApplicationId.parse(client, "--client")) if client else None,
        service=str(ServiceId.parse(service, "--service")) if service else None,
        member=str(MemberId.parse(member, "--member")) if member else None,
        endpoint=endpoint,
        kind=kind,
        outcome=outcome,
        status=status,
        problem=problem,
        id=message_id,
        request_id=request_id,
        trace=trace,
        agreement=agreement,
        purpose=purpose,
    )
    place = Cursor.parse(cursor) if cursor else None
    journals = open_journals(directories)
    progress = Progress()
    page = index.search([journal.index(progress) for journal in journals], query, limit, place)
    progress.end()
    where = {journal.origin: str(journal.directory) for journal in journals}
    if as_json:
        hits = [{"journal": where[hit.origin], **_hit(hit)} for hit in page.hits]
        print_json({"hits": hits, "next": str(page.next) if page.next else None})
        return
    for hit in page.hits:
        click.echo(_line(hit, where[hit.origin]))
    if not page.hits:
        click.echo("No entry fits. Try fewer conditions, or a longer time.")
        if query.problem is not None and query.problem not in set(Code):
            click.echo(f"Saphan has no problem {query.problem}; docs/problems.md lists all.")
    elif page.next:
        click.echo(f"Next page: the same command with --cursor {page.next}")
    else:
        click.echo("Next: saphan audit show DIR INDEX, or saphan audit export DIR INDEX -o FOLDER")


def _hit(hit: Hit) -> dict[str, Any]:
    document = {name: value for name, value in dataclasses.asdict(hit).items() if value is not None}
    document["at"] = hit.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document


def _line(hit: Hit, directory: str) -> str:
    parties = f"{hit.client or '?'} → {hit.service or '?'}" if hit.kind != "system" else "–"
    request = " ".join(filter(None, (hit.method, hit.endpoint)))
    result = " ".join(str(x) for x in (hit.status, hit.problem) if x is not None)
    moment = hit.at.strftime("%Y-%m-%d %H:%M:%SZ")
    begin = f"{moment}  {directory} {hit.index}  {hit.side} {hit.kind}  {parties}"
    return plain("  ".join(filter(None, (begin, request, result, hit.id))))
