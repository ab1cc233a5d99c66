"""`saphan mediator hiding`: orders by which uses are not told to the persons concerned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.administration import ask_server, on_a_server
from console.cli.call import plain


@click.group()
def hiding() -> None:
    """Hide uses of records from the persons concerned, by order and until a day.

    Each order, its lifting and its end are entries of the journal. SETTINGS is the server's YAML
    file; its `listen.admin` says where the running server is asked.
    """


@hiding.command("order")
@on_a_server
@click.option("--ground", required=True, help="The law and the order's reference; name no person.")
@click.option(
    "--until",
    required=True,
    metavar="TIME",
    help="When it ends, in UTC, such as 2026-12-31T00:00:00Z; within 366 days.",
)
@click.option("--client", help="Uses of this application: LA/GOV/MPS/cases.")
@click.option("--service", help="Uses of this service.")
@click.option("--purpose", help="Uses for this purpose.")
@click.option("--agreement", help="Uses under this agreement: mps-moha-2026/1.")
@click.option("--id", "message_id", help="The use with this message id (X-Road-Id).")
def order_command(
    settings: Path | None,
    admin: str | None,
    as_json: bool,
    ground: str,
    until: str,
    client: str | None,
    service: str | None,
    purpose: str | None,
    agreement: str | None,
    message_id: str | None,
) -> None:
    """Hide the uses that fit all that is named, from now until a day."""
    named = {
        "client": client,
        "service": service,
        "purpose": purpose,
        "agreement": agreement,
        "id": message_id,
    }
    order = {"ground": ground, "until": until}
    order |= {name: value for name, value in named.items() if value is not None}
    answer = ask_server(settings, admin, "PUT", "/hidings", order)
    if as_json:
        click.echo(orjson.dumps(answer).decode())
        return
    click.echo(_line(answer))
    click.echo(f"Next, to end it before its day: saphan mediator hiding lift {answer['number']}")


@hiding.command("lift")
@click.argument("number", type=click.IntRange(0))
@on_a_server
def lift_command(settings: Path | None, admin: str | None, as_json: bool, number: int) -> None:
    """End order NUMBER before its day."""
    answer = ask_server(settings, admin, "DELETE", f"/hidings/{number}")
    click.echo(orjson.dumps(answer).decode() if as_json else _line(answer))


@hiding.command("list")
@on_a_server
def list_command(settings: Path | None, admin: str | None, as_json: bool) -> None:
    """List all orders, ended ones too."""
    answer = ask_server(settings, admin, "GET", "/hidings")
    if as_json:
        click.echo(orjson.dumps(answer).decode())
        return
    for order in answer["hidings"]:
        click.echo(_line(order))
    if not answer["hidings"]:
        click.echo("Nothing is hidden.")


def _line(order: dict[str, Any]) -> str:
    names = ("client", "service", "purpose", "agreement", "id")
    named = ", ".join(f"{name} {order[name]}" for name in names if name in order)
    end = f"ended {order['ended']}" if "ended" in order else f"until {order['until']}"
    return plain(f"{order['number']}  {end}  {named}  {order['ground']}")
