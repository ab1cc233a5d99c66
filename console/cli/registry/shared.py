"""What the commands of the registry share: its client, keys, certificates, ways to show."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from tuf.api.metadata import Root

from exchange.certificates.reading import parse_certificates
from exchange.problems import Code, Problem
from exchange.registrations import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    TimestampAuthority,
    is_code_list_target,
    is_consent_file,
    is_schema_target,
)
from registry.http.client import RegistryClient
from registry.offline.operator import OwnRole
from registry.publication.drafts import TargetsDraft
from serving.small_files import read_file

_MAX_KEY_BYTES = 4096
MAX_LINES = 5


def client_of(url: str, api_key: str) -> RegistryClient:
    """A client of the registry at ``url``; ``@FILE`` as the key stands for the content of a file.

    Raises:
        Problem: ``InvalidSettings`` when the file cannot be read or holds no key.
    """
    if api_key.startswith("@"):
        try:
            api_key = read_file(Path(api_key[1:]), _MAX_KEY_BYTES).decode().strip()
        except UnicodeDecodeError as error:
            raise Problem(
                Code.INVALID_SETTINGS, where="--api-key", detail=f"{api_key}: is no API key"
            ) from error
    return RegistryClient(url, api_key)


def publish(
    client: RegistryClient, files: dict[str, bytes], keys: tuple[Path, ...], out: Path | None
) -> dict[str, Any]:
    """Publish files with keys that are all here, or write a draft that others sign, too."""
    from registry.offline.operator import draft_files, signed

    own = client.own()
    draft = draft_files(own, files, now())
    if out is not None:
        return write_draft(own, draft, keys, out)
    return dict(client.publish_own(signed(own, draft, signers(keys, "targets"))))


def write_draft(
    own: OwnRole, draft: TargetsDraft, keys: tuple[Path, ...], out: Path | None
) -> dict[str, Any]:
    """The draft with the signatures of the keys that are here, in a file for the next person."""
    from registry.publication.drafts import format_draft, protocol
    from registry.publication.publish import read

    root = read(Root, own.root, "root")
    if keys:
        draft = draft.signed(root, signers(keys, "targets"))
    if out is not None:
        out.write_bytes(format_draft(draft))
    step = "publish" if draft.is_complete(root) else "sign"
    return {"draft": str(out), "step": step, "protocol": protocol(draft, root)}


def tell_published(result: dict[str, Any], as_json: bool, *lines: str) -> None:
    """What was published, in these words, or what was drafted."""
    if "draft" in result:
        after = f"Next: saphan registry ceremony {result['step']} {result['draft']}"
        lines = (*result["protocol"], after)
    tell(result, as_json, *lines)


def signers(paths: tuple[Path, ...], role: str) -> list[Any]:
    """The signers of the key files that are named, or that lie in the folders that are."""
    from registry.publication.signers import read_signers

    files: list[Path] = []
    for path in paths:
        files.extend(sorted(path.glob(f"{role}-*.pem")) if path.is_dir() else [path])
    return list(read_signers(files))


def authorities_in(paths: Iterable[Path]) -> tuple[Any, ...]:
    """The certificates of files, each once."""
    found = [
        certificate
        for path in paths
        for certificate in parse_certificates(path.read_bytes(), str(path))
    ]
    return tuple(dict.fromkeys(found))


def timestamp_authority(text: str) -> TimestampAuthority:
    """A time-stamp authority from ``URL=PEM``."""
    url, separator, file = text.partition("=")
    if not separator:
        raise click.UsageError(f"--timestamp-authority {text!r} is not URL=PEM")
    certificates = parse_certificates(Path(file).read_bytes(), file)
    return TimestampAuthority(url, certificates[0])


def listen_at(text: str) -> tuple[str, int]:
    """Host and port from ``HOST:PORT``."""
    from serving.listener import split_address  # a client does not listen

    try:
        return split_address(text, "--listen")
    except Problem as problem:
        raise click.UsageError(f"--listen {text!r} is not HOST:PORT") from problem


def warning_lines(row: dict[str, Any]) -> list[str]:
    """What whoever hands in, and whoever approves, should know of a request."""
    lines = [f"Warning: {one['detail']} ({one['place']})" for one in row["warnings"]]
    for one in row["breaking"]:
        who = ", ".join(one["users"]) or "nobody whose agreement is published"
        lines.append(f"Warning: this breaks {one['of']}, used by {who}")
        for each in one["breaks"][:MAX_LINES]:
            lines += [f"  {each['where']}: {each['why']['en']}", f"  {each['why']['lo']}"]
    found = row["findings"]
    for one in found[:MAX_LINES]:
        lines.append(f"Warning: {one['where']} [{one['rule']}]")
        lines += [f"  {one['remedy']['en']}", f"  {one['remedy']['lo']}"]
    if found[MAX_LINES:]:
        many = f"{len(found)}{' and more' if row['more_findings'] else ''}"
        lines.append(f"  {many} findings in all: saphan schema lint FILE")
    return lines


def own_target(name: str) -> str:
    """Where a file of the registry's own is published, by its name.

    Raises:
        Problem: ``InvalidDocument`` when no such file is.
    """
    if name in {ELEMENTS_TARGET, INSTANCE_TARGET}:
        return name
    if is_consent_file(name):
        return f"consents/{name}"
    for path in (f"schemas/{name}", f"code-lists/{name}"):
        if is_schema_target(path) or is_code_list_target(path):
            return path
    raise Problem(
        Code.INVALID_DOCUMENT,
        where=name,
        detail="a schema's file is called NAME.MAJOR.json, such as province.1.json, a code list's "
        "NAME.json, a consent's consent.NAME.json",
    )


def flat(items: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Items whose text ``key`` is one line in both languages."""
    return [item | {key: f"{item[key]['en']} · {item[key]['lo']}"} for item in items]


def tell(value: Any, as_json: bool, *lines: str) -> None:
    """Print the lines; the value instead, as JSON, when that is wanted or there is no line."""
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
    """Print rows in columns; as JSON ``plain`` instead, or the rows when there is none."""
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
    """The time now, in UTC."""
    return datetime.now(UTC)


def keep_protocol(path: Path | None, lines: list[str]) -> None:
    """Add the protocol of a step to a text file, with room for names and signatures."""
    if path is not None:
        with path.open("a") as file:
            file.write("\n".join([f"{now():%FT%TZ}", *lines, "", "Names and signatures:", "", ""]))
