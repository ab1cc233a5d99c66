"""`saphan once`: how far an instance asks once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson

from console.cli.options import JSON
from console.cli.registry.group import CLIENT
from console.cli.registry.shared import client_of
from exchange.problems import Code
from mediator.once_only.service import COUNTED

_FORMULA: Final = "hours saved = values given x minutes for a form field / 60"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def once() -> None:
    """Ask once: who still asks people for registered facts, and how often facts are reused."""


@dataclass(frozen=True, slots=True)
class Reused:
    """How often an element was given instead of being asked for."""

    element: str
    times: int
    hours: float


@once.command()
@click.option(
    "--journal",
    "journals",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Journals (or archives) of the servers of consumers, which count what was given.",
)
@click.option(
    "--minutes-per-field",
    type=click.FloatRange(0, 60),
    help="How long a person takes to fill in a field and prove it; the registry's setting if not "
    "given.",
)
@CLIENT
@JSON
def meter(
    journals: tuple[Path, ...],
    minutes_per_field: float | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Services that still ask for registered facts, reuse of each element, time saved.

    Reuse is counted about nobody: an element that was given fewer than 5 times for a purpose is not
    told yet. The estimate is of values that were given, each of which nobody had to fill in.
    """
    client = client_of(url, api_key)
    elements = client.pages("elements")
    answer = client.get("questions")
    questions = answer["items"]
    minutes = answer["minutes_per_field"] if minutes_per_field is None else minutes_per_field
    asking = [one for one in questions if one["code"] == Code.ASK_ONCE]
    excepted = [one for one in questions if one["code"] is None]
    unknown = [one for one in questions if one["code"] == Code.UNKNOWN_ELEMENT]
    reused = _reused(journals, minutes)
    if as_json:
        document = {
            "elements": len(elements),
            "sources": len({one["source"]["service"] for one in elements}),
            "asking": asking,
            "excepted": excepted,
            "unknown": unknown,
            "reused": [{"element": one.element, "times": one.times} for one in reused],
            "minutes_per_field": minutes,
            "hours_saved": round(sum(one.hours for one in reused), 2),
            "formula": _FORMULA,
        }
        click.echo(orjson.dumps(document).decode())
        return
    sources = len({one["source"]["service"] for one in elements})
    click.echo(f"{len(elements)} elements of {sources} sources.")
    _tell("Ask people for what another organisation gives", asking)
    _tell("Ask with an exception, or hold the fact themselves", excepted)
    _tell("Ask for an element that nobody registered", unknown)
    click.echo(f"\nReused ({'no --journal' if not journals else 'as journals count'}):")
    for one in reused:
        click.echo(f"  {one.element:40} {one.times:>10,} times   {one.hours:10,.1f} h")
    hours = sum(one.hours for one in reused)
    click.echo(f"About {hours:,.1f} hours saved: {_FORMULA}, with {minutes:g} minutes.")


def _tell(title: str, questions: list[Any]) -> None:
    services = {one["service"] for one in questions}
    click.echo(f"\n{title}: {len(services)} services")
    for one in questions:
        source = f", ask {one['source']}" if one["source"] else ""
        click.echo(f"  {one['service']}: {one['element']} ({one['method']} {one['path']}){source}")


def _reused(journals: tuple[Path, ...], minutes: float) -> list[Reused]:
    if not journals:
        return []
    from console.cli.audit.journals import open_journals
    from mediator.archive.statistics import Question, ask

    answer = ask(open_journals(journals), Question(by=(COUNTED,)))
    at = answer.columns.index(COUNTED)
    found = [
        Reused(str(row[at]), int(row[-1]), int(row[-1]) * minutes / 60)
        for row in answer.rows
        if row[-1] is not None
    ]
    return sorted(found, key=lambda one: (-one.times, one.element))
