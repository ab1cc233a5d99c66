"""Groups: agreements of one text with many consumers, which commands take as one thing.

A group is the agreements of a folder that name it (``group`` in their text); of several versions of
one, the highest counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import orjson

from exchange.agreements import Agreement, format_agreement, parse_agreement, read_agreement
from exchange.problems import Code, Problem
from mediator.agreements.pinned_files import MAX_FILES, REVOCATION
from serving.small_files import read_file

AGREEMENT: Final = click.argument(
    "file", type=click.Path(exists=True, path_type=Path), metavar="FILE"
)
GROUP: Final = click.option(
    "--group", "group", help="Where FILE is a folder: the group; needed when it holds several."
)


class Chosen(NamedTuple):
    """An agreement with its file, and the parties' seals on it."""

    path: Path
    document: bytes
    agreement: Agreement
    seals: int


def chosen(path: Path, group: str | None) -> list[Chosen]:
    """The agreement of a file, or those of a group in a folder, by the names of their consumers.

    Raises:
        Problem: ``AgreementInvalid`` for a file that is none; ``InvalidUsage`` for a folder with
            no group, or with several of which none was named.
    """
    if not path.is_dir():
        return [_read(path)]
    found: dict[object, Chosen] = {}
    for file in files_in(path):
        try:
            one = _read(file)
        except Problem as problem:
            click.echo(f"{file}: left out: {problem}", err=True)
            continue
        said = one.agreement
        if said.group is None or group not in (None, said.group):
            continue
        name = (said.id, said.provider, said.consumer)
        if name not in found or found[name].agreement.version < said.version:
            found[name] = one
    names = sorted({str(one.agreement.group) for one in found.values()})
    if len(names) != 1:
        what = f"holds the groups {', '.join(names)}: choose with --group" if names else "no group"
        detail = what if names else f"holds {what}" + (f" {group}" if group else "")
        raise Problem(Code.INVALID_USAGE, where=str(path), detail=detail)
    return sorted(found.values(), key=lambda one: str(one.agreement.consumer))


def files_in(folder: Path) -> list[Path]:
    """The files of a folder that may hold agreements.

    Raises:
        Problem: ``InvalidUsage`` when there are none, or more than a server reads.
    """
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in (".json", ".jws", ".yaml", ".yml") and not file.name.endswith(REVOCATION)
    ]
    if not 0 < len(files) <= MAX_FILES:
        detail = f"holds {len(files)} files of agreements, must be 1 to {MAX_FILES}"
        raise Problem(Code.INVALID_USAGE, where=str(folder), detail=detail)
    return files


def every_file(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files that were named, those of folders among them."""
    return tuple(file for path in paths for file in (files_in(path) if path.is_dir() else [path]))


def text_of(agreement: Agreement) -> dict[str, Any]:
    """What agreements of one group have in common: equal for all that say the same."""
    document = orjson.loads(format_agreement(agreement))
    return {name: said for name, said in document.items() if name not in ("id", "consumer")}


def _read(path: Path) -> Chosen:
    document = read_file(path)
    if b'"signatures"' in document:
        found, seals = read_agreement(document)
        return Chosen(path, document, found, len(seals))
    return Chosen(path, document, parse_agreement(document), 0)
