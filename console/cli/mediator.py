"""`saphan mediator`: run and check a security server."""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from pathlib import Path

import click
import orjson

from console.cli.administration import maintenance, peers, witnesses
from console.cli.erasing import erase
from console.cli.hidings import hiding
from console.cli.options import JSON
from exchange.problems import Code, Problem
from mediator.agreements.terms import doubtful_waits
from mediator.journal.passphrase import FILE as STORE
from mediator.journal.passphrase import change_passphrase, read_passphrase
from mediator.own_keys import log_keys
from mediator.provider.offers import AdapterFactory
from mediator.server import open_server, serve
from mediator.settings import ServerSettings
from serving import logs, runtime
from serving.clock import SystemClock
from serving.settings import read, table

SETTINGS = click.argument("settings", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def mediator() -> None:
    """Run a security server: one process that signs, records and forwards."""


mediator.add_command(maintenance)
mediator.add_command(peers)
mediator.add_command(erase)
mediator.add_command(witnesses)
mediator.add_command(hiding)


@mediator.command("serve")
@SETTINGS
def serve_command(settings: Path) -> None:
    """Serve until SIGTERM or SIGINT; SETTINGS is the server's YAML file (docs/settings.md).

    Logs go to standard error, one JSON object a line; "ready" comes with the addresses.
    """
    loaded = read(ServerSettings, settings)
    logs.configure(loaded.log_level)
    runtime.run(lambda stop: serve(loaded, adapter_factory(), stop))


@mediator.command("seed")
@SETTINGS
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JSON
def seed_command(settings: Path, bundle: Path, as_json: bool) -> None:
    """Take the registry's state out of BUNDLE (saphan registry bundle), without a network.

    Everything is verified as if it had been downloaded. The server must not run.
    """
    from mediator.registry_copy.seeding import seed

    loaded = read(ServerSettings, settings)
    state = seed(loaded, bundle, SystemClock().now())
    found = {
        "version": state.version,
        "members": len(state.members),
        "expires": state.expires.isoformat(),
        "complaints": [str(problem) for problem in state.complaints],
    }
    if as_json:
        click.echo(orjson.dumps(found).decode())
        return
    click.echo(f"State {state.version} of the registry, {len(state.members)} members.")
    click.echo(f"Good until {state.expires:%FT%TZ}, and the grace time.")
    for problem in state.complaints:
        click.echo(f"  ! {problem}")
    click.echo(f"Next: saphan mediator serve {settings}")


@mediator.command("check")
@SETTINGS
@JSON
def check_command(settings: Path, as_json: bool) -> None:
    """Start with SETTINGS, say what would be served, and stop.

    It warns of pinned agreements that were rejected or that grant what no service offers: an
    endpoint or a field that matches nothing in the contract; and of waits that do not go together.

    It listens and writes its journal as the server does, so the server must not be running. When
    the registry cannot be reached, the last good copy is used; /healthz of the running server
    tells. An adapter's source is not asked: saphan adapter check does that.
    """
    loaded = read(ServerSettings, settings)
    logs.configure(logs.LogLevel.ERROR)

    async def check() -> dict[str, object]:
        async with open_server(loaded, adapter_factory()) as server:
            offered = server.provider.services
            absent = {one.id: one.absent for one in offered.values() if one.absent is not None}
            doubts = [f"{service}: cannot be asked yet: {why}" for service, why in absent.items()]
            doubts += server.provider.agreements.doubts(
                {one.id: one.document for one in offered.values() if one.id not in absent},
                server.provider.state().schemas,
            )
            return {
                "server": str(loaded.server),
                "members": [str(member.id) for member in loaded.members],
                "applications": [str(item.id) for item in loaded.applications],
                "services": [str(item.id) for item in loaded.services],
                "agreements": [
                    item.reference for item in server.provider.agreements.own.agreements
                ],
                "journal_entries": server.journal.size,
                "warnings": doubts + doubtful_waits(loaded),
            }

    report = asyncio.run(check())
    if as_json:
        click.echo(orjson.dumps(report).decode())
    else:
        warnings = report.pop("warnings")
        for name, value in report.items():
            text = ", ".join(value) or "none" if isinstance(value, list) else value
            click.echo(f"{name}: {text}")
        for warning in warnings if isinstance(warnings, list) else ():
            click.echo(f"warning: {warning}", err=True)
        if warnings:
            click.echo(
                "It would run. Next: mend what is warned of (saphan agreement draft, seal, pin), "
                f"or saphan mediator serve {settings}"
            )
            return
        click.echo(f"Good. Next: saphan mediator serve {settings}")


@mediator.command("keys")
@SETTINGS
@JSON
def keys_command(settings: Path, as_json: bool) -> None:
    """Print the verifier keys that the member's description must list for the server of SETTINGS.

    They are those of its journal and of its cosignatures; both are made when they are not there
    yet, so this may come before the first start.
    """
    loaded = read(ServerSettings, settings)
    loaded.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal, witness = log_keys(loaded.directory, loaded.server)
    if as_json:
        click.echo(orjson.dumps({"journal": str(journal), "witness": str(witness)}).decode())
        return
    click.echo(f"journal: {journal}\nwitness: {witness}")
    click.echo(
        f"Next: put both lines beside the id of {loaded.server} in the member's description, and "
        "saphan registry submit it.",
        err=True,
    )


@mediator.command("passphrase")
@SETTINGS
@click.option(
    "--new",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A file whose first line is the new passphrase.",
)
def passphrase_command(settings: Path, file: Path) -> None:
    """Put the key files of the server of SETTINGS under another passphrase; it may run meanwhile.

    The present one is read from journal.passphrase_file. Copies of keys/store.key from before stay
    under the old one, and open the key files of today with it: destroy them.
    """
    loaded = read(ServerSettings, settings)
    present = loaded.journal.passphrase_file
    if present is None:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="journal.passphrase_file",
            detail="no passphrase is set; the next start puts the keys under the first one",
        )
    keys = loaded.directory / "journal" / "keys"
    change_passphrase(keys, read_passphrase(present), read_passphrase(file))
    click.echo(
        f"The passphrase was changed. Next: let {present} (journal.passphrase_file) have the first "
        f"line of {file}, before the next start. Copies of {keys / STORE} from before open with "
        "the old passphrase: destroy them, and back up the new one."
    )


@mediator.command("settings")
@JSON
def settings_command(as_json: bool) -> None:
    """List every setting with its default and meaning."""
    rows = table(ServerSettings)
    if as_json:
        names = ("name", "default", "help")
        click.echo(orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]).decode())
        return
    for name, default, sentence in rows:
        sys.stdout.write(f"{name}  [{default}]\n    {sentence}\n")


def adapter_factory() -> AdapterFactory:
    """What composes adapters into the server's process; imported only where one is used."""

    @cache
    def embedder() -> AdapterFactory:
        from adapters.kinds import Embedder

        return Embedder()

    return lambda mapping, service, *, waits: embedder()(mapping, service, waits=waits)
