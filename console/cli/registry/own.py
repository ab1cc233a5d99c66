"""The registry's own role: shared schemas, authorities of the instance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE, TARGETS_KEYS, registry
from console.cli.registry.shared import (
    authorities_in,
    client_of,
    own_target,
    publish,
    tell_published,
    timestamp_authority,
)
from exchange.log.notes import VerifierKey
from exchange.log.policy import parse_policy
from exchange.registrations import (
    INSTANCE_TARGET,
    format_instance,
    parse_instance,
)
from exchange.registry.log import origin
from registry.requests.orders import MAX_PROPOSAL_BYTES
from schemas import targets
from serving.small_files import read_file


@registry.command("schema-publish")
@click.argument("files", type=FILE, nargs=-1)
@click.option("--packaged", is_flag=True, help="The shared schemas that come with Saphan.")
@TARGETS_KEYS
@CLIENT
@JSON
def schema_publish(
    files: tuple[Path, ...],
    packaged: bool,
    keys: tuple[Path, ...],
    draft: Path | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Publish shared schemas (NAME.MAJOR.json), code lists (NAME.json) and consents to a change
    of a schema (consent.NAME.json)."""
    chosen = targets() if packaged else {}
    chosen |= {own_target(file.name): read_file(file, MAX_PROPOSAL_BYTES) for file in files}
    if not chosen:
        raise click.UsageError("name files, or give --packaged")
    result = publish(client_of(url, api_key), chosen, keys, draft)
    tell_published(
        {**result, "files": sorted(chosen)},
        as_json,
        f"Published {len(chosen)} files in version {result.get('version')}.",
    )


@registry.command("instance-update")
@click.option(
    "--authority",
    "authorities",
    type=FILE,
    multiple=True,
    help="PEM file of all certification authorities from now on; may be given again. Not given: as "
    "they are.",
)
@click.option(
    "--timestamp-authority",
    "tsas",
    multiple=True,
    metavar="URL=PEM",
    help="All RFC 3161 authorities from now on; may be given again. Not given: as they are.",
)
@click.option(
    "--log",
    "logs",
    type=FILE,
    multiple=True,
    help="PEM file of a public key of the registry's log; all of them from now on.",
)
@click.option(
    "--witnesses", type=FILE, help="Trust policy: who must cosign the registry's log from now on."
)
@TARGETS_KEYS
@CLIENT
@JSON
def instance_update(
    authorities: tuple[Path, ...],
    tsas: tuple[str, ...],
    logs: tuple[Path, ...],
    witnesses: Path | None,
    keys: tuple[Path, ...],
    draft: Path | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Publish other authorities of the instance, keys of its log, or witnesses."""
    from registry.publication.signers import read_log_key

    client = client_of(url, api_key)
    known = parse_instance(client.own().files[INSTANCE_TARGET])
    name = origin(known.instance)
    policy = None if witnesses is None else parse_policy(witnesses.read_bytes(), str(witnesses))
    record = replace(
        known,
        authorities=authorities_in(authorities) or known.authorities,
        timestamp_authorities=tuple(timestamp_authority(text) for text in tsas)
        or known.timestamp_authorities,
        log=tuple(VerifierKey.of(name, read_log_key(path)) for path in logs) or known.log,
        witnesses=policy or known.witnesses,
    )
    result = publish(client, {INSTANCE_TARGET: format_instance(record)}, keys, draft)
    tell_published(result, as_json, f"Published in version {result.get('version')}.")
