"""`saphan audit reconcile`: hold two organisations' journals against each other."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from console.auditing.shown_log import ShownLog, shown_logs
from console.cli.audit.journals import open_journals
from console.cli.audit.mandates import Way, open_auditor, reached, read_mandates
from console.cli.audit.options import AS_JSON, Period
from console.cli.printing import Progress, plain, print_json
from exchange.agreements import Agreement
from exchange.log.proof import check_proof, format_proof
from mediator.journal.reconcile import Asked, Found, Log, Report
from mediator.journal.reconcile import reconcile as hold_together
from mediator.journal.whole_log import WholeLog, whole_log

_SOURCE = click.Path(exists=True, path_type=Path)
_SIDES = "AB"


@click.command()
@click.argument("first", metavar="A", type=_SOURCE)
@click.argument("second", metavar="B", type=_SOURCE)
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
@reached(required=False)
@AS_JSON
def reconcile(
    first: Path,
    second: Path,
    period: tuple[datetime, datetime] | None,
    margin: int,
    clock_limit: int,
    content: bool,
    way: Way | None,
    as_json: bool,
) -> None:
    """Hold the journals of A and B against each other: what one has and the other lacks.

    A and B are journals, copies of journals, or folders above several of one side; or a sealed
    mandate (a file): then that organisation's servers are asked, by --via, --registry and --root.
    Every entry that is read is proven to be in its log; what is found is shown with its proof
    (--json).

    Exit codes: 0 they agree; 1 they do not, or could not be read; 2 wrong usage.
    """
    since, until = period or (None, None)
    asked = Asked(since, until, timedelta(minutes=margin), clock_limit, content)
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="saphan-shown-") as folder:
        sides = _sides(first, second, way, asked, Path(folder))
        report = hold_together(*sides, asked, progress)
        progress.end()
        if as_json:
            print_json(_document(report, asked))
        else:
            for line in _lines(report):
                click.echo(plain(line))
    if not report.good:
        sys.exit(1)


def _sides(
    first: Path, second: Path, way: Way | None, asked: Asked, folder: Path
) -> tuple[list[Log], list[Log]]:
    """The logs of both sides, from here or asked for."""
    mandates = [None if path.is_dir() else _mandate(path) for path in (first, second)]
    if not any(mandates):
        return _whole(first, asked), _whole(second, asked)
    if way is None:
        raise click.UsageError("A mandate takes --via, --registry and --root.")
    return asyncio.run(_ask(way, (first, second), mandates, asked, folder))


async def _ask(
    way: Way,
    paths: tuple[Path, Path],
    mandates: list[Agreement | None],
    asked: Asked,
    folder: Path,
) -> tuple[list[Log], list[Log]]:
    sides: list[list[Log]] = []
    async with open_auditor(way) as auditor:
        for path, mandate, other in zip(paths, mandates, reversed(mandates), strict=True):
            if mandate is None:
                sides.append(_whole(path, asked))
            else:
                party = None if other is None else other.provider
                sides.append([*await shown_logs(auditor, mandate, party, asked, folder)])
    return sides[0], sides[1]


def _whole(path: Path, asked: Asked) -> list[Log]:
    return [whole_log(journal, asked) for journal in open_journals([path])]


def _mandate(path: Path) -> Agreement:
    (mandate,) = read_mandates([path])
    return mandate


def _document(report: Report, asked: Asked) -> dict[str, Any]:
    clock = report.clock
    return {
        "good": report.good,
        "period": None
        if asked.since is None or asked.until is None
        else {"from": _iso(asked.since), "until": _iso(asked.until)},
        "sides": {
            _SIDES[side]: [_log(log) for log in logs] for side, logs in enumerate(report.sides)
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


def _log(log: Log) -> dict[str, Any]:
    document: dict[str, Any] = {
        "journal": log.place,
        "server": str(log.server),
        "vkey": str(log.key),
        "size": log.checkpoint.size,
        "root": log.checkpoint.root.hex(),
        "read": log.count,
    }
    if isinstance(log, WholeLog):
        return document | {"entries": [log.start, log.end]}
    if isinstance(log, ShownLog):
        document |= {
            "mandate": log.mandate.reference,
            "hidden": log.covered.hidden if log.covered is not None else True,
            "anchor": log.anchor.checkpoint.decode(),
            "tokens": {name: b64encode(token).decode() for name, token in log.anchor.tokens},
        }
    return document


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
    log, data, proof = report.show(side, told)
    check_proof(proof, data, log.key)
    return {
        "side": _SIDES[side],
        "journal": log.place,
        "index": told.entry,
        "entry": data.decode(),
        "proof": format_proof(proof).decode(),
    }


def _lines(report: Report) -> Iterator[str]:
    for side, logs in enumerate(report.sides):
        for log in logs:
            yield f"{_SIDES[side]}  {log.server}  {log.place}: {log.describe()}"
            if log.covered is not None and not log.covered.hidden:
                yield "   what orders hide is not shown to this mandate, and lacks here"
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
        f"{_SIDES[side]} {report.sides[side][told.journal].place} {told.entry}"
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
