"""`saphan mediator erase`: the content of records, for ever, on a legal ground."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.administration import ask_server, on_a_server
from console.cli.call import plain
from exchange.problems import Code, Problem
from mediator.settings import ServerSettings
from serving.settings import read


@click.command("erase")
@on_a_server
@click.option("--offline", is_flag=True, help="The server of SETTINGS is stopped.")
@click.option("--record", type=click.IntRange(0), help="The index of one entry.")
@click.option("--id", "message", help="An X-Road-Id: all entries of the message.")
@click.option("--subject", help="All entries about whom or what Exchange-Subject named; - asks.")
@click.option("--member", help="A member, with --month.")
@click.option("--month", metavar="YYYY-MM", help="All that the member's records of a month hold.")
@click.option(
    "--ground", required=True, help="The law. It is public for ever: name no person in it."
)
@click.option("--reference", help="Of the order; it is sealed.")
@click.option("--by", help="Who orders it; it is sealed. The user of this command if not given.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
def erase(
    settings: Path | None,
    admin: str | None,
    as_json: bool,
    offline: bool,
    yes: bool,
    subject: str | None,
    by: str | None,
    **named: Any,
) -> None:
    """Erase the content of records of the server of SETTINGS, and answers kept for repeats.

    The entries stay, every proof holds, and an entry says what was erased and on which ground. What
    is erased here is still in old copies of the folder `keys` and at the other organisation.
    """
    if subject == "-":  # not in the shell's history, nor in the list of processes
        subject = click.prompt("Subject", hide_input=True, err=True)
    order = {name: value for name, value in named.items() if value is not None}
    order |= {"by": by or getpass.getuser()} | ({} if subject is None else {"subject": subject})
    if not yes:
        click.confirm("What is named is erased for ever. Go on?", abort=True, err=True)
    if offline:
        answer = _offline(settings, order)
    else:
        answer = ask_server(settings, admin, "POST", "/erasures", order)
    if as_json:
        click.echo(orjson.dumps(answer).decode())
    else:
        _tell(answer)


def _offline(settings: Path | None, order: dict[str, Any]) -> dict[str, Any]:
    from mediator.retention.erasing import Order
    from mediator.retention.offline import erase_offline

    if settings is None:
        raise Problem(
            Code.INVALID_USAGE, where="--offline", detail="needs SETTINGS, which name the journal"
        )
    return asyncio.run(erase_offline(read(ServerSettings, settings), Order.parse(order)))


def _tell(answer: dict[str, Any]) -> None:
    click.echo(
        f"Erased: {answer['records']:,} records; {answer['already']:,} were erased before, and "
        f"{answer['without_content']:,} entries keep nothing."
    )
    for key in answer["keys"]:
        click.echo(plain(f"Emptied: key {key}"))
    if answer["entries"]:
        click.echo(f"Recorded: entries {', '.join(map(str, answer['entries']))}")
    click.echo(f"Recorded answers for repeats: {answer['answers']}")
    click.echo(
        "Next: destroy older copies of the folder keys; ask the other organisation to erase its "
        "records of the message."
    )
