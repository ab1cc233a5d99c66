"""Data elements: entered in the dictionary by whoever has the targets keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE, TARGETS_KEYS, registry
from console.cli.registry.shared import client_of, publish, tell_published
from exchange.documents import format_document
from exchange.once_only.elements import format_elements, parse_elements
from exchange.problems import Code, Problem
from exchange.registrations import ELEMENTS_TARGET
from serving.small_files import read_file
from serving.yaml_files import read_yaml

_MAX_FILE_BYTES = 2 << 20


@registry.command("element-publish")
@click.argument("files", type=FILE, nargs=-1)
@click.option("--withdraw", multiple=True, metavar="ID", help="Take an element out.")
@click.option(
    "--replace",
    "replaces",
    is_flag=True,
    help="Elements of the same id follow those that are published; without it they are refused.",
)
@TARGETS_KEYS
@CLIENT
@JSON
def element_publish(
    files: tuple[Path, ...],
    withdraw: tuple[str, ...],
    replaces: bool,
    keys: tuple[Path, ...],
    draft: Path | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Enter data elements in the dictionary; FILES (YAML or JSON) hold elements."""
    if not files and not withdraw:
        raise click.UsageError("name files, or give --withdraw")
    client = client_of(url, api_key)
    published = client.own().files.get(ELEMENTS_TARGET)
    known: list[Any] = _elements(published or b'{"elements": []}', ELEMENTS_TARGET)
    added = [
        one for file in files for one in _elements(read_file(file, _MAX_FILE_BYTES), str(file))
    ]
    gone = _withdrawn(known, withdraw)
    if replaces:
        places = {one.get("id"): place for place, one in enumerate(known)}
        named = [one for one in added if isinstance(one.get("id"), str)]
        for one in [one for one in named if one["id"] in places]:
            known[places[one["id"]]] = one
            added.remove(one)
    dictionary = parse_elements(
        format_document({"elements": [*(one for one in known if one["id"] not in gone), *added]})
    )
    result = publish(client, {ELEMENTS_TARGET: format_elements(dictionary)}, keys, draft)
    count = len(dictionary.elements)
    tell_published(
        {**result, "elements": count},
        as_json,
        f"The dictionary has {count} elements in version {result.get('version')}.",
        "Next: saphan registry list elements",
    )


def _elements(data: bytes, where: str) -> list[Any]:
    try:
        found = read_yaml(data)
        format_document(found)  # what YAML can say and JSON cannot
    except (yaml.YAMLError, TypeError) as error:
        detail = f"not YAML that JSON can hold: {error}"
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail=detail) from error
    listed = found.get("elements") if isinstance(found, dict) else found
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=where,
            detail="must be a list of elements, or hold one",
        )
    return listed


def _withdrawn(known: list[Any], withdraw: tuple[str, ...]) -> frozenset[str]:
    ids = {one["id"] for one in known}
    for identifier in withdraw:
        if identifier not in ids:
            raise Problem(
                Code.UNKNOWN_ELEMENT,
                where="--withdraw",
                detail=f"the dictionary has no element {identifier[:80]!r}",
            )
    return frozenset(withdraw)
