"""`saphan audit ask`: search the journals of all organisations of a mandate, over the network."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from console.auditing.asking import Auditor, Found, NotAnswered, Outcome, Told, merged
from console.auditing.complete import Complete, prove_complete
from console.auditing.crossing import Owed, must_show, owed
from console.cli.audit.mandates import (
    Question,
    Way,
    all_proven,
    asked_rows,
    asking,
    open_auditor,
    print_asked,
    subject_given,
)
from console.cli.printing import plain, print_json
from exchange.agreements import Agreement
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.auditing import JOURNAL, told
from exchange.journal.entries import Kind

MAX_CROSSED = 200
OUTCOMES = ("ok", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of every server."""

    query: dict[str, str]
    subject: str | None
    limit: int
    evidence: Path | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one exchange at one server, or why there is none."""

    server: ServerId
    index: int
    path: Path | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.server.member_code}-{self.server.server_code}-{self.index}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What all servers said, and what some of them leave out."""

    told: list[Told]
    left_out: list[Owed]
    evidence: list[Evidence]
    complete: list[Complete]

    @property
    def found(self) -> list[Found]:
        """All proven entries, newest first."""
        return merged(self.told)


@click.command()
@asking
@click.option("--subject", help="Whom or what it is about: scheme:identifier, or @FILE.")
@click.option("--client", help="Calling application: LA/GOV/MOF/budget.")
@click.option("--service", help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option("--member", help="Member on either side: LA/GOV/MPI.")
@click.option("--endpoint", help="Path template: /projects/{id}.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Kind of entry.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How it ended.")
@click.option("--status", type=click.IntRange(100, 599), help="HTTP status.")
@click.option("--problem", help="Problem code: AccessDenied.")
@click.option("--id", "message_id", help="Message id (X-Road-Id).")
@click.option("--request-id", help="Request id (X-Road-Request-Id).")
@click.option("--agreement", help="Agreement: mof-mpi-2026/1.")
@click.option("--purpose", "for_purpose", help="Purpose code of the exchanges.")
@click.option(
    "--evidence",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fetch the evidence of each exchange found into this folder; needs the field content.",
)
@click.option(
    "--prove-complete",
    is_flag=True,
    help="Have each server prove that nothing about the subject was left out that its log "
    "committed to.",
)
def ask(
    question: Question,
    subject: str | None,
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
    agreement: str | None,
    for_purpose: str | None,
    evidence: Path | None,
    prove_complete: bool,
    as_json: bool,
) -> None:
    """Ask the servers of all organisations that gave you a mandate for entries that fit.

    Each entry is proven against the key of its log in the registry. Exit code 1 when somebody did
    not answer, could not be proven, or does not show what another organisation's journal proves.

    Without conditions, it lists which entries between those shown were not shown.
    """
    given = {
        "client": str(ApplicationId.parse(client, "--client")) if client else None,
        "service": str(ServiceId.parse(service, "--service")) if service else None,
        "member": str(MemberId.parse(member, "--member")) if member else None,
        "endpoint": endpoint,
        "kind": kind,
        "outcome": outcome,
        "status": str(status) if status else None,
        "problem": problem,
        "id": message_id,
        "request_id": request_id,
        "agreement": agreement,
        "purpose": for_purpose,
    }
    conditions = {name: value for name, value in given.items() if value is not None}
    about = subject_given(subject) if subject is not None else None
    query = conditions | question.period
    if prove_complete and (conditions or about is None):
        raise click.UsageError("--prove-complete is about a --subject and a period alone.")
    wanted = Wanted(query, about, question.limit, evidence, prove_complete)
    asked = asyncio.run(_ask(question.way, question.mandates, wanted))
    all_of_it = not conditions and about is None
    if as_json:
        print_json(
            {
                "hits": [_row(found) for found in asked.found],
                "asked": asked_rows(asked.told, all_of_it=all_of_it),
                "left_out": [_debt(debt) for debt in asked.left_out],
                "complete": [one.describe() for one in asked.complete],
                "evidence": [
                    {
                        "server": str(one.server),
                        "index": one.index,
                        "file": str(one.path) if one.path else None,
                        "problem": one.problem or None,
                    }
                    for one in asked.evidence
                ],
            }
        )
    else:
        _print(asked, all_of_it=all_of_it)
    lacking = [one for one in asked.evidence if one.path is None]
    doubtful = [one for one in asked.complete if not one.good]
    if asked.left_out or lacking or doubtful or not all_proven(asked.told):
        sys.exit(1)


async def _ask(way: Way, mandates: list[Agreement], wanted: Wanted) -> Asked:
    async with open_auditor(way) as auditor:
        said = await auditor.ask(
            mandates, JOURNAL, "/entries", wanted.query, wanted.subject, wanted.limit
        )
        found = [each for one in said for each in one.found]
        left_out = await _cross(auditor, mandates, found)
        written, complete = [], []
        if wanted.evidence is not None:
            written = await _fetch(auditor, said, wanted.evidence)
        if wanted.complete and wanted.subject is not None:
            complete = [
                await prove_complete(auditor, one, wanted.query, wanted.subject)
                for one in said
                if one.outcome is Outcome.PROVEN
            ]
        return Asked(said, left_out, written, complete)


async def _cross(
    auditor: Auditor, mandates: Sequence[Agreement], found: Sequence[Found]
) -> list[Owed]:
    """What the other side does not show, though it must; each exchange is asked for by its id."""
    left_out = []
    for debt in owed(found)[:MAX_CROSSED]:
        bound = [mandate for mandate in mandates if must_show(mandate, debt)]
        if not bound:
            continue
        said = await auditor.ask(
            bound, JOURNAL, "/entries", {"id": debt.exchange.id}, None, MAX_CROSSED
        )
        if not all_proven(said):
            continue  # whoever was not heard may have it, and is named as such
        entries = [told(hit) for one in said for hit in one.hits]
        shown = {(entry.get("client"), entry.get("service")) for entry in entries}
        if (debt.exchange.client, debt.exchange.service) not in shown:
            left_out.append(debt)
    return left_out


async def _fetch(auditor: Auditor, said: Sequence[Told], folder: Path) -> list[Evidence]:
    """The evidence of each exchange at each server that showed it, once."""
    written = []
    for one in said:
        records = {record.id: record for record in auditor.servers(one.agreement.provider)}
        for index in _exchanges(one.found):
            got = Evidence(one.server, index)
            try:
                data = await auditor.get(
                    one.agreement, records[one.server], JOURNAL, f"/evidence/{index}"
                )
                path = await asyncio.to_thread(_write, folder, f"{got.name}.asice", data)
                got = replace(got, path=path)
            except NotAnswered as refusal:
                got = replace(got, problem=f"{refusal.code} {refusal.detail}")
            written.append(got)
    return written


def _exchanges(found: Iterable[Found]) -> list[int]:
    """An entry of each exchange."""
    first: dict[object, int] = {}
    for one in found:
        entry = told(one.hit)
        if entry.get("kind") != Kind.SYSTEM:
            exchange = (entry.get("id"), entry.get("client"), entry.get("service"))
            first.setdefault(exchange, one.hit.index)
    return list(first.values())


def _write(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _row(found: Found) -> dict[str, Any]:
    entry = dict(told(found.hit))
    return {"server": str(found.server), "index": found.hit.index, "entry": entry}


def _debt(debt: Owed) -> dict[str, Any]:
    shown = {"shown_by": str(debt.shown_by.server), "index": debt.shown_by.hit.index}
    return {"organisation": str(debt.by), **debt.exchange._asdict(), **shown}


def _completeness(one: Complete) -> str:
    """What a server proved, for people."""
    if one.proven is None:
        return f"{one.server}: completeness not proven: {one.problem}"
    if not one.proven.rest:
        return (
            f"{one.server}: its log has committed to no entries yet, so that nothing is proven of "
            "what was left out; it does so once a month, for the months before"
        )
    known = f"{one.server}: {len(one.proven.indexes)} entries about the subject in the log's "
    known += f"commitments, which are of entries before {one.proven.rest} of {one.proven.end}"
    if one.left_out:
        return f"{known}; left out: {', '.join(map(str, one.left_out[:20]))}"
    if one.proven.blind:
        return f"{known}; not known for {', '.join(one.proven.blind)}, whose keys are destroyed"
    return f"{known}; nothing of these was left out"


def _print(asked: Asked, *, all_of_it: bool) -> None:
    for found in asked.found:
        entry = told(found.hit)
        parties = f"{entry.get('client', '?')} → {entry.get('service', '?')}"
        if entry.get("kind") == Kind.SYSTEM:
            parties = str(entry.get("event", "–"))
        result = [str(entry[name]) for name in ("status", "problem", "id") if name in entry]
        begin = f"{entry.get('at')}  {found.server} {found.hit.index}"
        begin += f"  {entry.get('side')} {entry.get('kind')}  {parties}"
        click.echo(plain("  ".join([begin, *result])))
    if not asked.found:
        click.echo("No entry fits. Try fewer conditions, or a longer time.")
    for one in asked.evidence:
        got = one.path or f"of {one.server} {one.index} not got: {one.problem}"
        click.echo(plain(f"evidence: {got}"))
    print_asked(asked.told, all_of_it=all_of_it)
    for proof in asked.complete:
        click.echo(plain(_completeness(proof)))
    for debt in asked.left_out:
        exchange, shown = debt.exchange, debt.shown_by
        click.echo(
            plain(
                f"Not shown by {debt.by}: {exchange.client} → {exchange.service} {exchange.id}, "
                f"which {shown.server} {shown.hit.index} proves that it signed."
            )
        )
