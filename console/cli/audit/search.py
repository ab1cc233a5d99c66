"""`saphan audit search`: find entries."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import click

from console.cli.audit.completeness import Shown, show_complete, tell_complete
from console.cli.audit.journals import open_journals
from console.cli.audit.mandates import subject_given
from console.cli.audit.options import AS_JSON, DIRECTORIES, INDEX_DATABASE, PASSPHRASE_FILE, Moment
from console.cli.printing import Progress, plain, print_json
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.journal import subjects
from exchange.journal.entries import Kind
from exchange.problems import Code, Problem
from mediator.journal import index
from mediator.journal.index import Cursor, Hit, IndexReader, MonthTag, Query
from mediator.journal.reader import JournalReader


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
@click.option("--event", help="What a system entry is about: started, erasure.")
@click.option(
    "--subject",
    metavar="SCHEME:ID",
    help="Whom or what it was about: la-nid:0123456789, or @FILE. Needs the journal's keys.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Hits on a page.",
)
@click.option("--cursor", help="Go on where a page ended.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["lines", "table", "csv", "json"]),
    default="lines",
    show_default=True,
    help="How hits are printed.",
)
@click.option(
    "--prove-complete",
    is_flag=True,
    help="Show that nothing about the subject was left out; with --json, give the proofs.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="With --prove-complete: make the monthly indexes from the entries, believe no file.",
)
@AS_JSON
@INDEX_DATABASE
@PASSPHRASE_FILE
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
    event: str | None,
    subject: str | None,
    limit: int,
    cursor: str | None,
    form: str,
    prove_complete: bool,
    recompute: bool,
    as_json: bool,
    database: str | None,
    passphrase_file: Path | None,
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
        event=event,
    )
    if prove_complete and subject is None:
        raise click.UsageError("--prove-complete is about a subject; name it by --subject.")
    place = Cursor.parse(cursor) if cursor else None
    journals = open_journals(directories, passphrase_file)
    if subject is not None:
        query = dataclasses.replace(query, subject=_tags(journals, subject, since, until))
    progress = Progress()
    readers = [journal.index(progress, database) for journal in journals]
    page = index.search(readers, query, limit, place)
    check_hits(journals, readers, page.hits)
    shown = []
    if prove_complete:
        tags = query.subject or ()
        span = (since, until)
        shown = [
            show_complete(journal, reader, tags, span, recompute, database, progress)
            for journal, reader in zip(journals, readers, strict=True)
        ]
    progress.end()
    where = {journal.origin: str(journal.directory) for journal in journals}
    if as_json or form == "json":
        hits = [{"journal": where[hit.origin], **_hit(hit)} for hit in page.hits]
        document = {"hits": hits, "next": str(page.next) if page.next else None}
        if prove_complete:
            document["complete"] = [each.describe() for each in shown]
        print_json(document)
        _end(shown)
        return
    if form == "csv":
        _print_csv(page.hits, where)
        if page.next:
            click.echo(f"--cursor {page.next}", err=True)
        tell_complete(shown, err=True)
        _end(shown)
        return
    if form == "table":
        _print_table(page.hits, where)
    else:
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
    tell_complete(shown)
    _end(shown)


def check_hits(
    journals: Sequence[JournalReader], readers: Sequence[IndexReader], hits: Sequence[Hit]
) -> None:
    """Hold each hit against its entry, whose hash is in the tree; what is elsewhere is not held.

    Raises:
        Problem: ``JournalCorrupt`` when a row is not what the entry says.
    """
    logs = {one.origin: (one, reader) for one, reader in zip(journals, readers, strict=True)}
    for hit in hits:
        journal, reader = logs[hit.origin]
        try:
            entry = journal.entry(hit.index, checked=True)
        except Problem as problem:
            if problem.code is Code.ARCHIVED:
                continue
            raise
        kept = [one for one in (reader, reader.rest) if one is not None]
        if not any(one.holds(hit.index, entry) for one in kept):
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=f"{journal.directory} {index.FILE}",
                detail=f"the row of entry {hit.index} is not what the entry says: somebody changed "
                "it; delete the index, which is derived, or make it anew (saphan audit index)",
                facts={"index": hit.index},
            )


def _end(shown: Sequence[Shown]) -> None:
    if not all(each.complete for each in shown):
        sys.exit(1)


def _tags(
    journals: Sequence[JournalReader], subject: str, since: datetime | None, until: datetime | None
) -> tuple[MonthTag, ...]:
    """The tags of a subject in all journals; each has its own."""
    normal = subjects.normal_subject(subject_given(subject))
    tags = [tag for journal in journals for tag in journal.tags(normal, since, until)]
    if not tags:
        raise Problem(
            Code.NOT_FOUND,
            where="keys/",
            detail="no journal here holds keys of subjects for this time: a subject is found where "
            "the keys are, or asked for through the organisation's server (saphan audit ask)",
        )
    return tuple(dict.fromkeys(tags))


def _print_csv(hits: Sequence[Hit], where: Mapping[str, str]) -> None:
    """Every member of every hit, in columns that are always the same (RFC 4180)."""
    names = [field.name for field in dataclasses.fields(Hit)]
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["journal", *names])
    for hit in hits:
        known = _hit(hit)
        values = [where[hit.origin], *(known.get(name, "") for name in names)]
        writer.writerow([_cell(value) for value in values])
    click.echo(plain(text.getvalue().replace("\r\n", "\n")), nl=False)


def _cell(value: Any) -> Any:
    """A spreadsheet takes what begins with one of these for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def _print_table(hits: Sequence[Hit], where: Mapping[str, str]) -> None:
    rows = [("time", "journal", "index", "kind", "client", "service", "result", "purpose", "id")]
    for hit in hits:
        result = " ".join(str(x) for x in (hit.status, hit.problem or hit.event) if x is not None)
        moment = hit.at.strftime("%Y-%m-%d %H:%M:%SZ")
        parties = (hit.client or "", hit.service or "")
        last = (result, hit.purpose or "", hit.id or "")
        rows.append((moment, where[hit.origin], str(hit.index), hit.kind, *parties, *last))
    cells = [[plain(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


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
