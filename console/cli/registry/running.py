"""Open a registry, run it, explain its settings."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.options import JSON, LOG_LEVEL
from console.cli.registry.group import DRY, FILE, PATH, PROTOCOL, registry
from console.cli.registry.shared import (
    authorities_in,
    keep_protocol,
    listen_at,
    now,
    table,
    tell,
    timestamp_authority,
)
from exchange.problems import Text
from exchange.registrations import Environment, InstanceRecord
from schemas import targets
from serving.logs import LogLevel

if TYPE_CHECKING:
    from registry.settings import RegistrySettings


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
@click.option(
    "--root-key",
    "root_public",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A root key's public half, made by its keeper on a machine of its own (saphan registry "
    "ceremony key); may be given again.",
)
@click.option(
    "--targets-key",
    "targets_public",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="The same for a targets key.",
)
@click.option(
    "--root-keys", default=3, show_default=True, help="Number of root keys, without --root-key."
)
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
@DRY
@PROTOCOL
@JSON
def init(
    directory: Path,
    instance: str,
    environment: str,
    name_en: str,
    name_lo: str,
    authorities: tuple[Path, ...],
    tsas: tuple[str, ...],
    root_public: tuple[Path, ...],
    targets_public: tuple[Path, ...],
    root_keys: int,
    root_threshold: int,
    targets_keys: int,
    targets_threshold: int,
    schemas: bool,
    timestamp_validity_s: int,
    approvals: tuple[str, ...],
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Make a new registry in DIRECTORY.

    With the public halves of the keys that keepers made elsewhere: its online keys, and drafts of
    the first root and targets, which the keepers sign (ceremony sign) before `open`. Without: all
    keys here, and at once, which is for demonstrations.
    """
    from registry.settings import RegistrySettings

    record = InstanceRecord(
        instance,
        Environment(environment),
        Text(name_en or instance, name_lo or name_en or instance),
        authorities_in(authorities),
        tuple(timestamp_authority(text) for text in tsas),
    )
    settings = RegistrySettings(
        timestamp_validity_s=timestamp_validity_s, approval=_approvals(approvals)
    )
    shared = targets() if schemas else {}
    if bool(root_public) != bool(targets_public):
        raise click.UsageError("give both --root-key and --targets-key, or none of them")
    if root_public:
        public = (root_public, root_threshold), (targets_public, targets_threshold)
        lines = _draft(directory, record, public, shared, settings, dry_run)
        keep_protocol(protocol, lines)
        result = {"directory": str(directory), "dry": dry_run, "protocol": lines}
        done = (
            "Nothing was written (dry run).",
        ) if dry_run else (
            f"Next, each keeper of a root key:    saphan registry ceremony sign {directory}/"
            "draft/1.root.json --key FILE",
            f"Next, each keeper of a targets key: saphan registry ceremony sign {directory}/"
            f"draft/1.targets.draft --root {directory}/draft/1.root.json --key FILE",
            f"Then: saphan registry open {directory}",
        )  # fmt: skip
        tell(result, as_json, *lines, *done)
        return
    quorums = (root_keys, root_threshold), (targets_keys, targets_threshold)
    _all_here(directory, record, quorums, shared, settings, dry_run, protocol, as_json)


def _draft(
    directory: Path,
    record: InstanceRecord,
    public: tuple[tuple[tuple[Path, ...], int], ...],
    shared: dict[str, bytes],
    settings: RegistrySettings,
    dry_run: bool,
) -> list[str]:
    from registry.publication.ceremony import check_empty, draft_registry, write_drafted
    from registry.publication.signers import key_set_of, read_public

    check_empty(directory)
    root, own = (key_set_of(map(read_public, paths), needed) for paths, needed in public)
    drafted = draft_registry(record, now(), root, own, shared)
    if not dry_run:
        write_drafted(directory, drafted, settings)
    return drafted.protocol()


def _all_here(
    directory: Path,
    record: InstanceRecord,
    quorums: tuple[tuple[int, int], ...],
    shared: dict[str, bytes],
    settings: RegistrySettings,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    from registry.publication.ceremony import Quorum, check_empty, open_registry

    root, own = (Quorum(keys, threshold) for keys, threshold in quorums)
    lines = [
        f"All keys of the registry of {record.instance} are made on this one machine: "
        f"{root.keys} root keys ({root.threshold} sign), {own.keys} targets keys "
        f"({own.threshold} sign).",
        "  Whoever has this machine now, or a copy of its disk, has the registry for ever: good "
        "for a demonstration.",
        "  For more, each keeper makes a key elsewhere: --root-key and --targets-key.",
    ]
    keep_protocol(protocol, lines)
    if dry_run:
        check_empty(directory)
        tell({"dry": True, "protocol": lines}, as_json, *lines, "Nothing was written (dry run).")
        return
    opened = open_registry(
        directory, record, now(), root=root, targets=own, schemas=shared, settings=settings
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
        *lines,
        *_opened(directory, record.instance),
        f"  Root keys, take them away:    {directory}/offline/root-*.pem",
        f"  Targets keys, take them away: {directory}/offline/targets-*.pem",
        f"Next: saphan registry serve {directory} --listen 127.0.0.1:8800",
    )


def _opened(directory: Path, instance: str) -> tuple[str, ...]:
    return (
        f"The registry of {instance} is ready in {directory}.",
        f"  Anchor for every member:      {directory}/root.json",
        f"  Operator's API key:           {directory}/offline/operator-api-key",
    )


@registry.command("open")
@click.argument("directory", type=PATH)
@JSON
def open_signed(directory: Path, as_json: bool) -> None:
    """Open the registry in DIRECTORY, whose first root and targets the keepers have signed."""
    from registry.publication.ceremony import open_drafted

    opened = open_drafted(directory, now())
    result = {"anchor": str(opened.anchor), "operator_api_key": opened.operator_api_key}
    tell(
        result,
        as_json,
        *_opened(directory, opened.instance),
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
def serve(directory: Path, listen: str, log_level: LogLevel, as_json: bool) -> None:
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
    from registry.requests.lifecycle import parse_policy

    pairs = dict(text.partition("=")[::2] for text in texts)
    parse_policy(pairs, "--approval")
    return pairs
