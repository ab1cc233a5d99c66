"""`saphan adapter`: scan a legacy source, wrap it as a service, check it, try it, serve it."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import click
import orjson

from console.cli.adding import add, next_add
from console.cli.changes import changes
from console.cli.ledger import ledger
from console.cli.options import JSON
from console.cli.printing import Count, plain, print_json
from console.cli.scanning import COMMANDS
from exchange.problems import Code, Problem

MAPPING = click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def adapter() -> None:
    """Wrap a legacy source (database or spreadsheets) as a service.

    A mapping file says what the source shows to others: docs/mapping.md is its reference. Let
    `saphan adapter scan` propose one, check it, try it, and add it to the member's description and
    the server's settings; each command says the next.
    """


@adapter.command()
@MAPPING
@click.option("--rows", "each_row", is_flag=True, help="Read and judge every row, too.")
@click.option(
    "--with",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value for a parameter that has no example in the mapping.",
)
@JSON
def check(mapping: Path, each_row: bool, given: tuple[str, ...], as_json: bool) -> None:
    """Check MAPPING against the shared schemas and its source.

    Every query is run, plain and with each filter. With --rows every row is read and judged by
    the contract that the mediator will enforce; what breaks it is reported with the row's key, the
    place, the type of the value and the rule, but not the value. Each record is searched by its own
    name, and each predicate asked about it.

    An account that could write, and a query that reads a large table whole, are warnings.

    Exit codes: 0 nothing is wrong, warnings or not; 1 something is; 2 wrong usage.
    """
    _only_errors()
    values = dict(_pair(text) for text in given)
    progress = Count("rows read", hidden=as_json or not each_row)
    try:
        findings = asyncio.run(_check(mapping, each_row, values, progress))
    finally:
        progress.end()
    wrong = [one for one in findings if not one.warning]
    if as_json:
        print_json(
            {
                "mapping": str(mapping),
                "rows_read": progress.count,
                "findings": [one.as_dict() for one in findings],
            }
        )
    else:
        for one in findings:
            _print_finding(one)
        if wrong:
            click.echo(f"{len(wrong)} finding(s).")
        elif each_row:
            click.echo(f"{progress.count:,} rows read, all of each endpoint; nothing is wrong.")
        else:
            click.echo("Every query runs.")
    _say_next(_after_check(mapping, is_well=not wrong, each_row=each_row))
    if wrong:
        sys.exit(1)


def _after_check(mapping: Path, *, is_well: bool, each_row: bool) -> str:
    if not is_well:
        return "correct the mapping or the records, and check again"
    if not each_row:
        return f"saphan adapter check {shlex.quote(str(mapping))} --rows"
    return next_add(mapping)


def _say_next(words: str) -> None:
    click.echo(f"Next: {words}", err=True)


async def _check(
    path: Path, each: bool, given: dict[str, str], progress: Callable[[int], None]
) -> list[Any]:
    import schemas
    from adapters import kinds

    how = kinds.Checking(schemas.load_all(), each, given, progress)
    return await kinds.read(path).check(os.environ, path.parent, how)


@adapter.command()
@MAPPING
@click.argument("service", required=False)
def openapi(mapping: Path, service: str | None) -> None:
    """Print the OpenAPI document of SERVICE of MAPPING.

    SERVICE may be left out when the mapping has only one. The source is not needed.
    """
    import schemas
    from adapters import kinds
    from adapters.mapping.head import choose_service

    wrapping = kinds.read(mapping)
    code = choose_service(wrapping.services, service, wrapping.head.file).id.service_code
    click.echo(wrapping.document(code, schemas.load_all()).decode())
    _say_next(next_add(mapping))


@adapter.command(name="try")
@MAPPING
@click.argument("target")
@click.option("--service", help="The service, when the mapping has several.")
@click.option("--method", help="The method: GET, or with --body POST, unless given.")
@click.option(
    "--body",
    type=click.File("rb"),
    help="A file with the JSON to send (- for standard input): this writes to the source.",
)
@click.option("--id", "message", help="The X-Road-Id of a request that writes, for a repeat.")
@click.option("--if-match", help="The ETag of the record that is to be changed.")
@click.option("--client", help="Ask as this application: LA/GOV/MOF/budget.")
@click.option("--purpose", help="Ask for this purpose.")
@click.option("--agreement", help="Ask under the agreement of this id.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds to wait.")
@JSON
def try_(
    mapping: Path,
    target: str,
    service: str | None,
    method: str | None,
    body: BinaryIO | None,
    message: str | None,
    if_match: str | None,
    client: str | None,
    purpose: str | None,
    agreement: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Ask the service once, without a server: GET TARGET (a path and a query).

    \b
    saphan adapter try oda-mis.yaml --service projects '/projects?sector=health'
    saphan adapter try library.yaml /books/7 --method PATCH --body change.json

    What a mapping shows to some callers only (docs/mapping.md, "who sees what") is shown to who
    --client, --purpose and --agreement say.

    Exit codes: 0 answered with 200, 201 or 204; 1 anything else; 2 wrong usage.
    """
    _only_errors()
    sent = body.read() if body is not None else b""
    method = method.upper() if method else "POST" if body is not None else "GET"
    caller = {"x-road-client": client, "exchange-purpose": purpose, "exchange-agreement": agreement}
    headers = (
        *_headers(method, sent, message, if_match),
        *((name, value) for name, value in caller.items() if value is not None),
    )
    response = asyncio.run(_ask(mapping, service, target, method, headers, sent, timeout_s))
    shown = _shown(response)
    if as_json:
        print_json({"status": response.status, "headers": dict(response.headers), "body": shown})
    else:
        click.echo(f"{response.status}", err=True)
        for name, value in response.headers:
            click.echo(f"{name}: {value}", err=True)
        if not isinstance(shown, str):
            shown = orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
        click.echo(shown, nl=bool(shown))
    if response.status not in (200, 201, 204):
        _say_next(f"saphan adapter check {shlex.quote(str(mapping))} --rows")
        sys.exit(1)
    _say_next(next_add(mapping))


def _headers(
    method: str, body: bytes, message: str | None, if_match: str | None
) -> tuple[tuple[str, str], ...]:
    """The header fields of a request that is tried; one that writes is told with its id."""
    found: list[tuple[str, str]] = []
    if method not in ("GET", "HEAD"):
        message = message or f"try-{uuid4()}"
        click.echo(f"X-Road-Id: {message}", err=True)
        found.append(("x-road-id", message))
    if body:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        found.append(("content-type", kind))
    if if_match is not None:
        found.append(("if-match", if_match))
    return tuple(found)


def _shown(response: Any) -> Any:
    """The body: the value of JSON, and of anything else no more than what it is."""
    if not response.body:
        return ""
    if _is_json(response.headers):
        return orjson.loads(response.body)
    kind = dict(response.headers).get("content-type", "no type")
    return f"{len(response.body)} bytes of {kind}"


def _is_json(headers: Any) -> bool:
    kind = dict(headers).get("content-type", "").partition(";")[0]
    return bool(kind == "application/json" or kind.endswith("+json"))


async def _ask(
    path: Path,
    service: str | None,
    target: str,
    method: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    timeout_s: float,
) -> Any:
    from adapters.kinds import Embedder
    from serving.backends import BackendRequest, BackendResponse
    from serving.bodies import Spooled, Spools

    backend, _ = Embedder()(path, service)
    spools = Spools(Path(tempfile.gettempdir()))
    route, _, query = target.partition("?")
    try:
        request = BackendRequest(method, route, query, headers, body, spools.room())
        response = await backend.exchange(request, timeout_s=timeout_s)
        if isinstance(response.body, Spooled) and _is_json(response.headers):
            return BackendResponse(response.status, response.headers, await response.body.load())
        return response
    finally:
        await backend.close()
        spools.close()


@adapter.command()
@MAPPING
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds a request.")
def serve(mapping: Path, host: str, port: int, timeout_s: float) -> None:
    """Serve all services of MAPPING over HTTP, each below its code.

    There is no authentication here: listen on loopback, or where only your security server can
    reach it. An adapter also runs inside the server: see docs/adapters.md. SIGTERM stops it after
    the running requests. While the WSDL of a URL cannot be fetched for the first time, requests
    are answered with SourceFailed, and it is tried again.
    """
    from adapters import http, kinds
    from adapters.awaiting import Awaiting
    from serving import logs, runtime
    from serving.bodies import Spools

    logs.configure()
    awaiting = Awaiting(mapping)

    async def main(stop: asyncio.Event) -> None:
        at_once = awaiting.begin()
        spools = Spools(Path(tempfile.gettempdir()))
        app = http.application(awaiting, awaiting.documents, timeout_s=timeout_s, spools=spools)

        def tell(wrapping: kinds.Wrapping, address: str) -> None:
            for code, service in wrapping.services.items():
                click.echo(f"{service.id}: {address}/{code}", err=True)
            _say_next("give each address to the server as `url` of its service")

        async def wait(address: str) -> None:
            tell(await awaiting.run(), address)

        waiting: list[asyncio.Task[None]] = []

        def listening(address: str) -> None:
            if at_once is not None:
                tell(at_once, address)
                return
            click.echo(f"{address}: the WSDL of {mapping} is not at hand yet", err=True)
            waiting.append(asyncio.create_task(wait(address)))

        try:
            await http.serve(app, host, port, stop, listening)
        except OSError as error:
            raise Problem(
                Code.INVALID_USAGE,
                where=f"--host {host} --port {port}",
                detail=f"cannot listen: {os.strerror(error.errno or 0)}",
            ) from error
        finally:
            for task in waiting:
                task.cancel()

    runtime.run(main)


for command in (*COMMANDS, changes, add, ledger):
    adapter.add_command(command)


def _only_errors() -> None:
    """What a service would log stays out of a person's way: the problem says it."""
    from serving import logs

    logs.configure(logs.LogLevel.ERROR)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--with")
    return name, value


def _print_finding(finding: Any) -> None:
    row = f" row {finding.row} ({finding.key})" if finding.row is not None else ""
    place = f" {finding.place}" if finding.place else ""
    kind = f" [{finding.type}]" if finding.type else ""
    level = "warning: " if finding.warning else ""
    click.echo(plain(f"{level}{finding.where}{row}{place}{kind}: {finding.rule}"))
