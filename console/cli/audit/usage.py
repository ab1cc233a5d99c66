"""`saphan audit usage`: who used a person's records, over all organisations that answer for it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from console.auditing.asking import Found, Told, merged
from console.cli.audit.mandates import (
    Question,
    all_proven,
    asked_rows,
    asking,
    open_auditor,
    print_asked,
    subject_given,
)
from console.cli.printing import plain, print_json
from exchange.identifiers import ApplicationId
from exchange.journal.auditing import USAGE, told
from exchange.problems import Problem, Text
from exchange.trust.state import RegistryState

Names = dict[str, Text]


@click.command()
@asking
@click.option(
    "--subject",
    required=True,
    help="Whom or what it is about: scheme:identifier, or @FILE (others on this machine can see "
    "what stands in a command).",
)
def usage(
    question: Question,
    subject: str,
    as_json: bool,
) -> None:
    """List who used a subject's records, when, which service and for which purpose; never the data.

    Each use is proven against the key of its log in the registry. Exit code 1 when somebody did
    not answer or could not be proven.
    """
    said, names = asyncio.run(_ask(question, subject_given(subject)))
    found = merged(said)
    if as_json:
        print_json({"uses": [_row(one, names) for one in found], "asked": asked_rows(said)})
    else:
        for one in found:
            click.echo(plain(f"{_line(one, names)}  {one.server} {one.hit.index}"))
        if not found:
            click.echo("No use is told.")
        print_asked(said)
    if not all_proven(said):
        sys.exit(1)


async def _ask(question: Question, subject: str) -> tuple[list[Told], Names]:
    async with open_auditor(question.way) as auditor:
        said = await auditor.ask(
            question.mandates, USAGE, "", question.period, subject, question.limit
        )
        found = [each for one in said for each in one.found]
        return said, _names(auditor.state, found)


def _names(state: RegistryState, found: list[Found]) -> Names:
    """The names of the members that used something, as the registry has them."""
    names: Names = {}
    for client in {str(told(one.hit).get("client")) for one in found}:
        try:
            names[client] = state.member(ApplicationId.parse(client).member).name
        except Problem:
            continue  # a member that is not there any more has its identifier alone
    return names


def _row(found: Found, names: Names) -> dict[str, Any]:
    use = dict(told(found.hit))
    name = names.get(str(use.get("client")))
    if name is not None:
        use["client_name"] = name.as_dict()
    return {"server": str(found.server), "index": found.hit.index, **use}


def _line(found: Found, names: Names) -> str:
    use = told(found.hit)
    client = str(use.get("client"))
    who = f"{client} ({names[client].en} · {names[client].lo})" if client in names else client
    parts = [str(use.get("at")), who, str(use.get("service"))]
    parts += [f"for {use['purpose']}"] if use.get("purpose") else []
    parts += [str(use.get("outcome"))]
    parts += [f"hidden by order {use['hidden_by']}"] if "hidden_by" in use else []
    parts += [f"told from {use['told_from']}"] if "told_from" in use else []
    return "  ".join(parts)
