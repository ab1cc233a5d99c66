"""Shared JSON Schemas (2020-12) and code lists, and their loader.

Each ``NAME.schema.json`` beside this module is one schema; its ``$id`` is
``https://schemas.saphan.la/NAME/MAJOR``. A change that an old instance or an old reader would
notice gets a new major version in a file of its own. Each ``code-lists/NAME.json`` is a code list
(:mod:`exchange.code_lists`), to which schemas refer as ``https://schemas.saphan.la/code-lists/NAME``.
docs/schemas.md lists them all.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

BASE: Final = "https://schemas.saphan.la/"
CODE_LIST: Final = "x-saphan-code-list"
"""What marks the schema of a code list."""
_SUFFIX: Final = ".schema.json"


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    found: dict[str, tuple[str, bytes]] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda one: one.name):
        if file.name.endswith(_SUFFIX):
            content = file.read_bytes()
            found[file.name.removesuffix(_SUFFIX)] = (json.loads(content)["$id"], content)
    return found


@cache
def _code_lists() -> dict[str, bytes]:
    folder = resources.files(__name__) / "code-lists"
    found = sorted(folder.iterdir(), key=lambda one: one.name)
    return {file.name.removesuffix(".json"): file.read_bytes() for file in found}


def load_all() -> dict[str, bytes]:
    """Every shared schema, as it stands in its file, and that of every code list, by ``$id``."""
    lists = (code_list_schema(json.loads(content)) for content in _code_lists().values())
    return dict(_files().values()) | dict(lists)


def targets() -> dict[str, bytes]:
    """Every file as the registry publishes it, by its target path."""
    found = {}
    for short, (identifier, content) in _files().items():
        found[f"schemas/{short}.{identifier.rpartition('/')[2]}.json"] = content
    return found | {f"code-lists/{name}.json": content for name, content in _code_lists().items()}


def load_code_list(name: str) -> bytes:
    """A code list by its short name, such as ``province``.

    Raises:
        KeyError: when there is no such list.
    """
    return _code_lists()[name]


def code_list_schema(document: dict[str, Any]) -> tuple[str, bytes]:
    """The ``$id`` of a code list, and the schema that a reference to it finds."""
    titles = {one["code"]: one["name"] for one in document["codes"]}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": document["$id"],
        CODE_LIST: document["$id"].rpartition("/")[2],
        "x-saphan-version": document["version"],
        "title": document["title"]["en"],
        "x-title-lo": document["title"]["lo"],
        "type": "string",
        "enum": list(titles),
        "x-enum-titles": titles,
    }
    return document["$id"], json.dumps(schema, ensure_ascii=False).encode()


def load(name: str) -> bytes:
    """One shared schema by its ``$id`` or its short name, such as ``disbursement``.

    Raises:
        KeyError: when there is no such schema.
    """
    short = name.removeprefix(BASE).partition("/")[0] if name.startswith(BASE) else name
    identifier, content = _files()[short]
    if name not in (short, identifier):
        raise KeyError(name)
    return content


def identifier(name: str) -> str:
    """The ``$id`` of a short name.

    Raises:
        KeyError: when there is no such schema.
    """
    return _files()[name][0]
