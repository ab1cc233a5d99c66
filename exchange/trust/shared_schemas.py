"""Shared schemas: those among the registry's own files, and those that its code lists make."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from exchange.code_lists import parse_code_list
from exchange.documents import parse_document
from exchange.registrations import MAX_SCHEMA_BYTES, is_code_list_target, is_schema_target
from schemas import code_list_schema


def schema_id(data: bytes, path: str) -> str:
    """The ``$id`` of a shared schema.

    Raises:
        Problem: ``InvalidDocument`` when the file is not JSON or has no ``$id`` of its own.
    """
    node = parse_document(data, MAX_SCHEMA_BYTES, path)
    if not isinstance(node.value, dict) or not isinstance(node.value.get("$id"), str):
        raise node.refuse("a shared schema needs an $id")
    return str(node.value["$id"])


def shared_schemas(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The shared schemas among the registry's own files, and those of its code lists, by ``$id``.

    Raises:
        Problem: ``InvalidDocument`` for a file that is none.
    """
    found = {
        schema_id(data, path): data
        for path, data in sorted(files.items())
        if is_schema_target(path)
    }
    for path, data in sorted(files.items()):
        if is_code_list_target(path):
            parse_code_list(data, path)
            identifier, schema = code_list_schema(orjson.loads(data))
            found[identifier] = schema
    return found
