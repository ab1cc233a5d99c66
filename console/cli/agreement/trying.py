"""`saphan agreement try`: what a given call would get at the provider's server, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.administration import ask_server, on_a_server
from console.cli.call import plain
from exchange.documents import format_moment
from exchange.problems import Code, Problem
from serving.small_files import read_file


@click.command("try")
@on_a_server
@click.option("--client", help="Calling application: LA/GOV/MOF/budget.")
@click.option("--group", help="Each consumer of this group of agreements instead of --client.")
@click.option("--service", required=True, help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option("--method", default="GET", show_default=True, help="HTTP method.")
@click.option("--path", default="/", show_default=True, help="Below the service, with its query.")
@click.option("--purpose", help="As in Exchange-Purpose.")
@click.option("--agreement", "named", help="As in Exchange-Agreement.")
@click.option("--subject", is_flag=True, help="The call names a subject.")
@click.option("--request-basis", help="As in Exchange-Request-Basis.")
@click.option("--body", help="Body, or @FILE.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="As if then.")
def try_(
    settings: Path | None,
    admin: str | None,
    as_json: bool,
    client: str | None,
    group: str | None,
    service: str,
    method: str,
    path: str,
    purpose: str | None,
    named: str | None,
    subject: bool,
    request_basis: str | None,
    body: str | None,
    at: datetime | None,
) -> None:
    """Say what a call would get at the provider's server of SETTINGS, and why; nothing is sent.

    Exit codes: 0 it would be allowed (of a group: to each); 1 it would not.
    """
    if (client is None) is (group is None):
        raise click.UsageError("say who calls: --client or --group")
    asked: dict[str, Any] = {"service": service, "method": method, "path": path}
    given = {
        "purpose": purpose,
        "agreement": named,
        "request_basis": request_basis,
        "body": _text(body),
    }
    asked |= {name: value for name, value in given.items() if value is not None}
    if subject:
        asked["subject"] = True
    if at is not None:
        asked["at"] = format_moment(at.replace(tzinfo=UTC))
    if group is not None:
        answers = _each(settings, admin, group, asked)
        answer: dict[str, Any] = {
            "allowed": all(one["allowed"] for one in answers),
            "members": answers,
        }
    else:
        answer = ask_server(settings, admin, "POST", "/agreements/try", asked | {"client": client})
    if as_json:
        click.echo(orjson.dumps(answer).decode())
    else:
        for line in _lines(answer) if group is None else _members(answer["members"]):
            click.echo(plain(line))
    if not answer["allowed"]:
        sys.exit(1)


def _each(
    settings: Path | None, admin: str | None, group: str, asked: dict[str, Any]
) -> list[dict[str, Any]]:
    """The same for each consumer of a group, under its own agreement."""
    pinned = ask_server(settings, admin, "GET", "/agreements")["agreements"]
    members = sorted({(one["consumer"], one["id"]) for one in pinned if one.get("group") == group})
    if not members:
        detail = f"no agreement of the group {group} is pinned there"
        raise Problem(Code.INVALID_USAGE, where="--group", detail=detail)
    found = []
    for consumer, identifier in members:
        one = asked | {"client": consumer, "agreement": identifier}
        answer = ask_server(settings, admin, "POST", "/agreements/try", one)
        found.append({"client": consumer, **answer})
    return found


def _members(answers: list[dict[str, Any]]) -> Iterator[str]:
    for one in answers:
        if one["allowed"]:
            yield f"  ok  {one['client']}: {one['agreement']}, until {one['valid_until']}"
        else:
            step = next(step for step in one["steps"] if not step["ok"])
            yield f"  NO  {one['client']}: {step['step']}: {step['code']}: {step['detail']}"


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    for step in answer["steps"]:
        if step["ok"]:
            yield f"  ok  {step['step']}: {step.get('detail', '')}"
        else:
            yield f"  NO  {step['step']}: {step['code']} at {step['where']}: {step['detail']}"
            yield f"      {step['remedy']['en']} / {step['remedy']['lo']}"
    for one in answer["considered"]:
        if "code" in one:
            yield f"      {one['agreement']} does not allow it: {one['code']}: {one['detail']}"
    if not answer["allowed"]:
        yield "Such a call would be refused."
        return
    allowed, until = answer["agreement"], answer["valid_until"]
    yield f"Such a call would be allowed under {allowed}, until {until}."
    yield f"Released fields: {', '.join(answer['fields'])}"
    for field, values in answer.get("rows", {}).items():
        yield f"Released rows: those whose {field} is {' or '.join(values)}"


def _text(body: str | None) -> str | None:
    if body is None or not body.startswith("@"):
        return body
    return read_file(Path(body[1:])).decode("utf-8", "replace")
