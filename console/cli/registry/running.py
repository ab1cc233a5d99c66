"""Open a registry, run it, explain its settings."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from console.cli.options import JSON, LOG_LEVEL
from console.cli.registry.group import FILE, PATH, registry
from console.cli.registry.shared import (
    authorities_in,
    listen_at,
    now,
    table,
    tell,
    timestamp_authority,
)
from exchange.problems import Text
from exchange.registrations import Environment, InstanceRecord
from schemas import targets


@registry.command()
@click.argument("directory", type=PATH)
@click.option("--instance", required=True, help="Code of the instance, such as LA.")
@click.option(
    "--environment",
    type=click.Choice([str(item) for item in Environment]),
    required=True,
    help="Development certificates are refused by production.",
)
@click.option("--name-en", default="", help="Name of the instance in English.")
@click.option("--name-lo", default="", help="Name of the instance in Lao.")
@click.option(
    "--authority",
    "authorities",
    type=FILE,
    multiple=True,
    required=True,
    help="PEM file of certification authorities; may be given again.",
)
@click.option(
    "--timestamp-authority",
    "tsas",
    multiple=True,
    metavar="URL=PEM",
    help="An RFC 3161 authority and its certificate; may be given again.",
)
@click.option("--root-keys", default=3, show_default=True, help="Number of root keys.")
@click.option("--root-threshold", default=2, show_default=True, help="How many of them must sign.")
@click.option("--targets-keys", default=3, show_default=True, help="Number of targets keys.")
@click.option(
    "--targets-threshold", default=2, show_default=True, help="How many of them must sign."
)
@click.option(
    "--schemas/--no-schemas",
    default=True,
    show_default=True,
    help="Publish the shared schemas that come with Saphan.",
)
@click.option(
    "--timestamp-validity",
    "timestamp_validity_s",
    default=3600,
    show_default=True,
    help="Seconds for which servers may believe that nothing is newer.",
)
@click.option(
    "--approval",
    "approvals",
    multiple=True,
    metavar="CHANGE=NUMBER",
    help="How many must approve which kind of change: default=one, 'change server=two', "
    "default=none; may be given again.",
)
@JSON
def init(
    directory: Path,
    instance: str,
    environment: str,
    name_en: str,
    name_lo: str,
    authorities: tuple[Path, ...],
    tsas: tuple[str, ...],
    root_keys: int,
    root_threshold: int,
    targets_keys: int,
    targets_threshold: int,
    schemas: bool,
    timestamp_validity_s: int,
    approvals: tuple[str, ...],
    as_json: bool,
) -> None:
    """Open a new registry in DIRECTORY: keys, first metadata, database."""
    from registry.ceremony import Quorum, open_registry
    from registry.settings import RegistrySettings

    record = InstanceRecord(
        instance,
        Environment(environment),
        Text(name_en or instance, name_lo or name_en or instance),
        authorities_in(authorities),
        tuple(timestamp_authority(text) for text in tsas),
    )
    opened = open_registry(
        directory,
        record,
        now(),
        root=Quorum(root_keys, root_threshold),
        targets=Quorum(targets_keys, targets_threshold),
        schemas=targets() if schemas else {},
        settings=RegistrySettings(
            timestamp_validity_s=timestamp_validity_s, approval=_approvals(approvals)
        ),
    )
    result = {
        "anchor": str(opened.anchor),
        "operator_api_key": opened.operator_api_key,
        "root_keys": [str(path) for path in opened.root_keys],
        "targets_keys": [str(path) for path in opened.targets_keys],
    }
    tell(
        result,
        as_json,
        f"The registry of {instance} is ready in {directory}.",
        f"  Anchor for every member:      {opened.anchor}",
        f"  Root keys, take them away:    {directory}/offline/root-*.pem",
        f"  Targets keys, take them away: {directory}/offline/targets-*.pem",
        f"  Operator's API key:           {directory}/offline/operator-api-key",
        f"Next: saphan registry serve {directory} --listen 127.0.0.1:8800",
    )


@registry.command()
@click.argument("directory", type=PATH)
@click.option(
    "--listen",
    default="127.0.0.1:8800",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
@LOG_LEVEL
@JSON
def serve(directory: Path, listen: str, log_level: str, as_json: bool) -> None:
    """Run the registry in DIRECTORY until SIGTERM or SIGINT.

    The address is printed on standard output once it answers.
    """
    from registry import service
    from serving import logs, runtime

    host, port = listen_at(listen)
    logs.configure(log_level)

    def on_ready(url: str) -> None:
        tell({"url": url}, as_json, f"The registry answers at {url}")
        sys.stdout.flush()

    async def main(stop: asyncio.Event) -> None:
        await service.serve(directory, stop, host=host, port=port, on_ready=on_ready)

    runtime.run(main)


@registry.command("settings")
@JSON
def show_settings(as_json: bool) -> None:
    """Explain the settings of DIR/registry.yaml."""
    from registry.settings import RegistrySettings
    from serving.settings import table as settings_table

    rows = [
        {"name": name, "default": default, "help": text}
        for name, default, text in settings_table(RegistrySettings)
    ]
    table(rows, as_json, ("name", "default", "help"))


def _approvals(texts: tuple[str, ...]) -> dict[str, str]:
    from registry.lifecycle import parse_policy

    pairs = dict(text.partition("=")[::2] for text in texts)
    parse_policy(pairs, "--approval")
    return pairs
