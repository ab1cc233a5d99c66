"""The group `saphan schema`, and what its commands share: documents and shared schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from exchange.documents import format_document, invalid
from exchange.schema_sets.places import parse_document
from serving.yaml_files import read_yaml

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
WITH = click.option(
    "--with",
    "beside",
    type=FILE,
    multiple=True,
    help="A further shared schema that is referred to; may be given again. Those that come with "
    "Saphan are known.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def schema() -> None:
    """Compare versions of schemas and services, find faults, make test data."""


def read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """A schema or an OpenAPI document, JSON or YAML: its bytes as JSON, and its value.

    Raises:
        Problem: ``InvalidDocument``.
    """
    data = path.read_bytes()
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            data = format_document(read_yaml(data))
        except (yaml.YAMLError, TypeError) as error:
            raise invalid(str(path), "", f"not YAML that JSON can hold: {error}") from error
    value = parse_document(data, f"{path}#")
    if not isinstance(value, dict):
        raise invalid(str(path), "", "must be a schema or an OpenAPI document")
    return data, value


def is_openapi(value: dict[str, Any]) -> bool:
    """Whether a document is an OpenAPI document and not a schema."""
    return "openapi" in value


def shared_schemas(beside: tuple[Path, ...]) -> dict[str, bytes]:
    """The shared schemas that come with Saphan, and those of files, by ``$id``."""
    import schemas

    found = schemas.load_all()
    for path in beside:
        data, value = read(path)
        identifier = value.get("$id")
        if not isinstance(identifier, str):
            raise invalid(str(path), "/$id", "a shared schema needs an $id")
        found[identifier] = data
    return found


def under(identifier: str, value: dict[str, Any]) -> bytes:
    """A schema under another ``$id``."""
    return orjson.dumps({**value, "$id": identifier})
