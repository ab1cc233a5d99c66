"""`saphan adapter`: wrap a legacy source as a service, check it, try it, serve it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.options import JSON
from exchange.problems import Code, Problem

MAPPING = click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def adapter() -> None:
    """Wrap a legacy source (database or spreadsheets) as a service.

    A mapping file says what the source shows to others: docs/adapters.md is its reference. Write
    it, run `saphan adapter check FILE --rows`, try it, and name it in the server's settings.
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
    place, the type of the value and the rule, but not the value.

    Exit codes: 0 nothing is wrong; 1 something is; 2 wrong usage.
    """
    _only_errors()
    values = dict(_pair(text) for text in given)
    progress = _Progress("rows read", hidden=as_json or not each_row)
    try:
        findings = asyncio.run(_check(mapping, each_row, values, progress))
    finally:
        progress.end()
    if as_json:
        _print_json(
            {
                "mapping": str(mapping),
                "rows_read": progress.count,
                "findings": [one.as_dict() for one in findings],
            }
        )
    else:
        for one in findings:
            _print_finding(one)
        if findings:
            click.echo(f"{len(findings)} finding(s). Correct the mapping or the records.")
        elif each_row:
            click.echo(f"{progress.count:,} rows read, all of each endpoint; nothing is wrong.")
            click.echo("Next: saphan adapter openapi, then register the service.")
        else:
            click.echo("Every query runs. Next: read every row too: saphan adapter check … --rows")
    if findings:
        sys.exit(1)


async def _check(
    path: Path, each_row: bool, given: dict[str, str], progress: Callable[[int], None]
) -> list[Any]:
    import schemas
    from adapters import check as checks
    from adapters.mapping_file import load_mapping
    from adapters.service import open_source

    mapping = load_mapping(path)
    shared = schemas.load_all()
    findings = checks.against_schemas(mapping, shared)
    source = checks.checking_source(mapping, lambda changed: open_source(changed, path)).lease()
    try:
        found = await checks.against_source(mapping, source, given)
        # A query that does not run, or a schema that is not there, has no rows to judge.
        if each_row and not found and not findings:
            found = await checks.rows(mapping, source, shared, given, progress)
        return findings + found
    finally:
        await source.close()


@adapter.command()
@MAPPING
@click.argument("service", required=False)
def openapi(mapping: Path, service: str | None) -> None:
    """Print the OpenAPI document of SERVICE of MAPPING.

    SERVICE may be left out when the mapping has only one. The source is not needed.
    """
    import schemas
    from adapters import openapi as documents
    from adapters.mapping_file import load_mapping

    document = documents.document(load_mapping(mapping), service, schemas.load_all())
    click.echo(document.decode())


@adapter.command(name="try")
@MAPPING
@click.argument("target")
@click.option("--service", help="The service, when the mapping has several.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds to wait.")
@JSON
def try_(mapping: Path, target: str, service: str | None, timeout_s: float, as_json: bool) -> None:
    """Ask the service once, without a server: GET TARGET (a path and a query).

    \b
    saphan adapter try oda-mis.yaml --service projects '/projects?sector=health'

    Exit codes: 0 answered with 200; 1 anything else; 2 wrong usage.
    """
    _only_errors()
    response = asyncio.run(_ask(mapping, service, target, timeout_s))
    if as_json:
        _print_json(
            {
                "status": response.status,
                "headers": dict(response.headers),
                "body": orjson.loads(response.body),
            }
        )
    else:
        click.echo(f"{response.status}", err=True)
        for name, value in response.headers:
            click.echo(f"{name}: {value}", err=True)
        body = orjson.loads(response.body)
        click.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
    if response.status != 200:
        sys.exit(1)


async def _ask(path: Path, service: str | None, target: str, timeout_s: float) -> Any:
    from adapters.service import load
    from serving.backends import BackendRequest

    backend = load(path, service=service)
    route, _, query = target.partition("?")
    try:
        request = BackendRequest("GET", route, query, (), b"")
        return await backend.exchange(request, timeout_s=timeout_s)
    finally:
        await backend.close()


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
    the running requests.
    """
    import schemas
    from adapters import http
    from adapters.mapping_file import load_mapping
    from adapters.service import Adapter, open_source
    from serving import logs, runtime

    logs.configure()
    loaded = load_mapping(mapping)

    async def main(stop: asyncio.Event) -> None:
        source = open_source(loaded, mapping)
        adapters = {code: Adapter(loaded, source, code) for code in loaded.services}
        app = http.application(adapters, source, schemas.load_all(), timeout_s=timeout_s)

        def listening(address: str) -> None:
            for code in adapters:
                click.echo(f"{loaded.services[code].id}: {address}/{code}", err=True)

        try:
            await http.serve(app, host, port, stop, listening)
        except OSError as error:
            raise Problem(
                Code.INVALID_USAGE,
                where=f"--host {host} --port {port}",
                detail=f"cannot listen: {os.strerror(error.errno or 0)}",
            ) from error

    runtime.run(main)


def _only_errors() -> None:
    """What a service would log stays out of a person's way: the problem says it."""
    from serving import logs

    logs.configure("error")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--with")
    return name, value


def _print_json(document: Any) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _print_finding(finding: Any) -> None:
    row = f" row {finding.row} ({finding.key})" if finding.row is not None else ""
    place = f" {finding.place}" if finding.place else ""
    kind = f" [{finding.type}]" if finding.type else ""
    click.echo(f"{finding.where}{row}{place}{kind}: {finding.rule}")


class _Progress:
    """Counts; on standard error, too, when a person looks at it."""

    def __init__(self, what: str, *, hidden: bool) -> None:
        self.count = 0
        self._what = what
        self._shown = sys.stderr.isatty() and not hidden

    def __call__(self, more: int) -> None:
        self.count += more
        if self._shown:
            click.echo(f"\r{self.count} {self._what}", nl=False, err=True)

    def end(self) -> None:
        if self._shown and self.count:
            click.echo("", err=True)
