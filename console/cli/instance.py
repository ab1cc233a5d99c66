"""`saphan instance`: serve an instance from GovStack's configuration document, name its clients."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from console.cli.options import JSON, LOG_LEVEL
from exchange.problems import Code, Problem
from serving.logs import LogLevel

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIRECTORY = click.option(
    "--dir", "directory", type=FOLDER, required=True, help="Folder of the instance."
)


@click.group()
def instance() -> None:
    """Serve an instance from GovStack's configuration document (docs/govstack-configuration.md).

    For sandboxes and pilots: all keys of the instance are in one folder.
    """


@instance.command()
@DIRECTORY
@click.option(
    "--listen",
    default="127.0.0.1:8700",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the configuration API listens; port 0 takes a free one.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="Address by which clients know the API, behind a proxy; tokens are for it.",
)
@click.option(
    "--certificate", type=FILE, help="TLS certificate (PEM) of the API; needed beyond loopback."
)
@click.option("--key", type=FILE, help="Its private key (PEM).")
@click.option(
    "--issuer",
    default="",
    metavar="URL",
    help="OpenID Connect issuer whose tokens are taken; without it one is embedded.",
)
@click.option(
    "--audience", default="", help="What that issuer's tokens must be for; else the API's address."
)
@click.option(
    "--specifications",
    "folders",
    type=FOLDER,
    multiple=True,
    help="Folder from which file: specifications may be read; may be given again.",
)
@click.option(
    "--specifications-from",
    "networks",
    multiple=True,
    metavar="NETWORK",
    help="Inner network, such as 10.0.0.0/8, from which specifications may be fetched; may be "
    "given again. Without it, global addresses only.",
)
@click.option(
    "--servers-host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where security servers listen for applications over TLS.",
)
@click.option(
    "--most-members",
    default=16,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Members at most; each is a process.",
)
@LOG_LEVEL
@JSON
def serve(
    directory: Path,
    listen: str,
    public_url: str,
    certificate: Path | None,
    key: Path | None,
    issuer: str,
    audience: str,
    folders: tuple[Path, ...],
    networks: tuple[str, ...],
    servers_host: str,
    most_members: int,
    log_level: LogLevel,
    as_json: bool,
) -> None:
    """Serve the instance in --dir, and its configuration API, until SIGTERM or SIGINT.

    What was configured before is brought up again. The address is printed on standard output once
    the API answers.
    """
    from console.instance import service
    from serving import logs, runtime

    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together")
    if audience and not issuer:
        raise click.UsageError("--audience goes with --issuer")
    host, port = _listen(listen)
    options = service.Options(
        host=host,
        port=port,
        public_url=public_url,
        tls=None if certificate is None or key is None else (certificate, key),
        issuer=issuer,
        audience=audience,
        servers_host=servers_host,
        folders=folders,
        networks=tuple(map(_network, networks)),
        most_members=most_members,
    )
    logs.configure(log_level)

    def on_ready(url: str) -> None:
        _tell({"url": url}, as_json, f"The configuration API answers at {url}")
        sys.stdout.flush()

    async def main(stop: asyncio.Event) -> None:
        await service.serve(directory, options, stop, on_ready)

    runtime.run(main)


@instance.group()
def client() -> None:
    """Clients of the embedded issuer: who may ask for tokens, with which scopes."""


@client.command("add")
@click.argument("name")
@DIRECTORY
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["read:conf", "create:conf", "write:conf", "read:rights", "write:rights"]),
    help="What it may ask for; may be given again.",
)
@JSON
def add(name: str, directory: Path, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make the client NAME; its secret is shown this once."""
    secret = _clients(directory).add(name, scopes)
    _tell(
        {"client_id": name, "client_secret": secret, "scope": " ".join(scopes)},
        as_json,
        f"client_id:     {name}",
        f"client_secret: {secret}",
        "Keep the secret; only its digest is stored. Next: POST /oauth/token with "
        "grant_type=client_credentials",
    )


@client.command("remove")
@click.argument("name")
@DIRECTORY
@JSON
def remove(name: str, directory: Path, as_json: bool) -> None:
    """Remove the client NAME; its tokens are refused from now on."""
    _clients(directory).remove(name)
    _tell({"removed": name}, as_json, f"{name} is removed; its tokens are refused.")


@client.command("list")
@DIRECTORY
@JSON
def list_clients(directory: Path, as_json: bool) -> None:
    """List clients with their scopes."""
    found = _clients(directory).all()
    _tell(
        {
            "clients": [
                {"client_id": one.id, "scope": " ".join(one.scopes), "created": one.created}
                for one in found.values()
            ]
        },
        as_json,
        *(f"{one.id}  {' '.join(one.scopes)}  since {one.created}" for one in found.values()),
        *([] if found else ["No clients. Next: saphan instance client add NAME --scope …"]),
    )


def _clients(directory: Path) -> Any:
    from console.instance.clients import Clients

    return Clients(directory)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Problem(
            Code.INVALID_USAGE, where="--specifications-from", detail=str(error)
        ) from error


def _listen(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise click.UsageError(f"--listen {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _tell(value: dict[str, Any], as_json: bool, *lines: str) -> None:
    for line in [orjson.dumps(value).decode()] if as_json else lines:
        click.echo(line)
