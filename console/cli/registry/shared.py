"""What the commands of the registry share: its client, keys, certificates, ways to show."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from exchange.certificates import parse_certificates
from exchange.problems import Code, Problem
from exchange.registrations import TimestampAuthority
from registry.client import RegistryClient
from serving.listener import split_address


def client_of(url: str, api_key: str) -> RegistryClient:
    if api_key.startswith("@"):
        try:
            api_key = Path(api_key[1:]).read_text().strip()
        except OSError as error:
            raise Problem(
                Code.INVALID_SETTINGS, where="--api-key", detail=f"{api_key}: {error.strerror}"
            ) from error
    return RegistryClient(url, api_key)


def publish(client: RegistryClient, files: dict[str, bytes], keys: tuple[Path, ...]) -> Any:
    from registry.operator import sign_files

    return client.publish_own(sign_files(client.own(), files, signers(keys, "targets"), now()))


def signers(paths: tuple[Path, ...], role: str) -> list[Any]:
    from registry.signers import read_signers

    files: list[Path] = []
    for path in paths:
        files.extend(sorted(path.glob(f"{role}-*.pem")) if path.is_dir() else [path])
    return list(read_signers(files))


def authorities_in(paths: Iterable[Path]) -> tuple[Any, ...]:
    found = [
        certificate
        for path in paths
        for certificate in parse_certificates(path.read_bytes(), str(path))
    ]
    return tuple(dict.fromkeys(found))


def timestamp_authority(text: str) -> TimestampAuthority:
    url, separator, file = text.partition("=")
    if not separator:
        raise click.UsageError(f"--timestamp-authority {text!r} is not URL=PEM")
    certificates = parse_certificates(Path(file).read_bytes(), file)
    return TimestampAuthority(url, certificates[0])


def listen_at(text: str) -> tuple[str, int]:
    try:
        return split_address(text, "--listen")
    except Problem as problem:
        raise click.UsageError(f"--listen {text!r} is not HOST:PORT") from problem


def flat(items: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [item | {key: f"{item[key]['en']} · {item[key]['lo']}"} for item in items]


def tell(value: Any, as_json: bool, *lines: str) -> None:
    if as_json or not lines:
        option = 0 if as_json else orjson.OPT_INDENT_2
        click.echo(orjson.dumps(value, option=option).decode())
    else:
        for line in lines:
            click.echo(line)


def table(
    rows: list[dict[str, Any]],
    as_json: bool,
    columns: tuple[str, ...],
    plain: list[dict[str, Any]] | None = None,
) -> None:
    if as_json:
        click.echo(orjson.dumps(rows if plain is None else plain).decode())
        return
    if not rows:
        click.echo("Nothing here.")
        return
    cells = [[str(row.get(name) or "") for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def now() -> datetime:
    return datetime.now(UTC)
