"""`saphan audit reconcile`: hold two organisations' journals against each other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from console.cli.audit.journals import open_journals
from console.cli.audit.options import AS_JSON, Moment
from console.cli.audit.printing import Progress, plain, print_json
from exchange.proof import check_proof, format_proof
from mediator.journal.reconcile import Asked, Found, Read, Report
from mediator.journal.reconcile import reconcile as hold_together

_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SIDES = "AB"


class Period(click.ParamType[tuple[datetime, datetime]]):
    """A month, a day, or a time from which and one before which."""

    name = "period"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[datetime, datetime]:
        first, slash, last = value.partition("/")
        moment = Moment()
        if slash:
            since, until = moment.convert(first, param, ctx), moment.convert(last, param, ctx)
        elif (month := _MONTH.fullmatch(value)) and 1 <= int(month[2]) <= 12:
            since = moment.convert(f"{value}-01", param, ctx)
            until = (since + timedelta(days=31)).replace(day=1)
        elif _DAY.fullmatch(value):
            since = moment.convert(value, param, ctx)
            until = since + timedelta(days=1)
        else:
            self.fail(f"{value!r} is not a period such as 2026-11 or 2026-11-01/2026-11-15")
        if since >= until:
            self.fail(f"{value!r} ends before it begins")
        return since, until


@click.command()
@click.argument("first", metavar="A", type=_FOLDER)
@click.argument("second", metavar="B", type=_FOLDER)
@click.option(
    "--period",
    type=Period(),
    help="A month (2026-11), a day, or FROM/TO (before TO; UTC); all by default.",
)
@click.option(
    "--margin",
    type=click.IntRange(0, 1440),
    default=15,
    show_default=True,
    help="Minutes by which clocks may be apart at the ends of the period.",
)
@click.option(
    "--clock-limit",
    type=click.IntRange(1, 86_400_000),
    default=1000,
    show_default=True,
    help="Milliseconds from which on clocks that are apart are a finding.",
)
@click.option(
    "--content",
    is_flag=True,
    help="Open the sealed parts where both sides' keys are here, and compare what was signed.",
)
@AS_JSON
def reconcile(
    first: Path,
    second: Path,
    period: tuple[datetime, datetime] | None,
    margin: int,
    clock_limit: int,
    content: bool,
    as_json: bool,
) -> None:
    """Hold the journals of A and B against each other: what one has and the other lacks.

    A and B are journals, copies of journals, or folders above several of one side. Every entry
    that is read is proven to be in its log; what is found is shown with its proof (--json).

    Exit codes: 0 they agree; 1 they do not, or could not be read; 2 wrong usage.
    """
    since, until = period or (None, None)
    asked = Asked(since, until, timedelta(minutes=margin), clock_limit, content)
    progress = Progress()
    report = hold_together(open_journals([first]), open_journals([second]), asked, progress)
    progress.end()
    if as_json:
        print_json(_document(report, asked))
    else:
        for line in _lines(report):
            click.echo(plain(line))
    if not report.good:
        sys.exit(1)


def _document(report: Report, asked: Asked) -> dict[str, Any]:
    clock = report.clock
    return {
        "good": report.good,
        "period": None
        if asked.since is None or asked.until is None
        else {"from": _iso(asked.since), "until": _iso(asked.until)},
        "sides": {
            _SIDES[side]: [_read(read) for read in reads] for side, reads in enumerate(report.sides)
        },
        "exchanges": report.exchanges,
        "agreeing": report.agreeing,
        "lacks": report.lacks,
        "differs": report.differs,
        "explained": report.explained,
        "unreadable": report.unreadable,
        "clock": {
            "exchanges": clock.pairs,
            "b_ahead_ms": {"median": clock.median(), "largest": clock.largest()},
            "days": clock.medians(),
            "beyond_limit": report.drifting,
        },
        "findings": [_finding(report, found) for found in report.listed],
        "left_off": report.lacks + report.differs + report.explained - len(report.listed),
    }


def _read(read: Read) -> dict[str, Any]:
    checkpoint = read.journal.checkpoint
    return {
        "journal": str(read.journal.directory),
        "server": str(read.server),
        "vkey": str(read.journal.key),
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "entries": [read.start, read.end],
    }


def _finding(report: Report, found: Found) -> dict[str, Any]:
    mismatch, exchange = found.mismatch, found.exchange
    return {
        "fault": mismatch.fault.value,
        "side": None if found.lacking is None else _SIDES[found.lacking],
        "message": mismatch.message,
        "at": _iso(_moment(mismatch.at)),
        "id": exchange.id,
        "client": exchange.client,
        "service": exchange.service,
        "differs": {
            name: {_SIDES[side]: getattr(told, name) for side, told in sorted(found.entries())}
            for name in mismatch.members
        },
        "explanation": mismatch.explanation or None,
        "entries": [_entry(report, side, told) for side, told in sorted(found.entries())],
    }


def _entry(report: Report, side: int, told: Any) -> dict[str, Any]:
    journal, data, proof = report.show(side, told)
    check_proof(proof, data, journal.key)
    return {
        "side": _SIDES[side],
        "journal": str(journal.directory),
        "index": told.entry,
        "entry": data.decode(),
        "proof": format_proof(proof).decode(),
    }


def _lines(report: Report) -> Iterator[str]:
    for side, reads in enumerate(report.sides):
        for read in reads:
            checkpoint = read.journal.checkpoint
            yield (
                f"{_SIDES[side]}  {read.server}  {read.journal.directory}: entries {read.start:,} "
                f"to {read.end:,} of {checkpoint.size:,}, all proven, root "
                f"{checkpoint.root.hex()[:16]}…"
            )
    yield (
        f"{report.exchanges:,} exchanges between them, {report.agreeing:,} told alike; "
        f"{report.lacks:,} messages lack on one side, {report.differs:,} differ, "
        f"{report.explained:,} lack and are explained"
    )
    if report.unreadable:
        yield f"{report.unreadable:,} entries are none and were passed over"
    for found in report.listed:
        yield _line(report, found)
    left = report.lacks + report.differs + report.explained - len(report.listed)
    if left:
        yield f"… and {left:,} more; name a shorter --period"
    yield from _clock_lines(report)
    yield _next(report)


def _line(report: Report, found: Found) -> str:
    mismatch, exchange = found.mismatch, found.exchange
    moment = _moment(mismatch.at).strftime("%Y-%m-%d %H:%M:%SZ")
    if found.lacking is None:
        sides = sorted(found.entries())
        what = f"{mismatch.message} differs in " + ", ".join(
            f"{name} ({' and '.join(str(getattr(told, name)) for _, told in sides)})"
            for name in mismatch.members
        )
    else:
        what = f"{_SIDES[found.lacking]} lacks the {mismatch.message}"
    places = ", ".join(
        f"{_SIDES[side]} {report.sides[side][told.journal].journal.directory} {told.entry}"
        for side, told in sorted(found.entries())
    )
    why = f"; {mismatch.explanation}" if mismatch.explanation else ""
    return f"{moment}  {what}: {exchange.client} → {exchange.service} {exchange.id} ({places}){why}"


def _clock_lines(report: Report) -> Iterator[str]:
    clock = report.clock
    if not clock.pairs:
        return
    yield (
        f"Clocks: B is {clock.median()} ms ahead of A (median of {clock.pairs:,} exchanges; "
        f"farthest {clock.largest()} ms)"
    )
    for day, median in [*report.drifting.items()][:10]:
        yield f"  {day}: {median} ms apart, more than {report.clock_limit_ms} ms"


def _next(report: Report) -> str:
    if report.good:
        return "They agree. Next: saphan audit verify A B shows that nothing was changed since."
    return (
        "They do not agree. Next: saphan audit show DIR INDEX shows an entry; --json prints each "
        "with its proof, to be laid before the other side."
    )


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
