"""Shared JSON Schemas (2020-12) and their loader.

Each ``NAME.schema.json`` beside this module is one schema; its ``$id`` is
``https://schemas.saphan.la/NAME/MAJOR``. A change that an old instance or an old reader would
notice gets a new major version in a file of its own. docs/schemas.md lists them all.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Final

BASE: Final = "https://schemas.saphan.la/"
_SUFFIX: Final = ".schema.json"


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    found: dict[str, tuple[str, bytes]] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda one: one.name):
        if file.name.endswith(_SUFFIX):
            content = file.read_bytes()
            found[file.name.removesuffix(_SUFFIX)] = (json.loads(content)["$id"], content)
    return found


def load_all() -> dict[str, bytes]:
    """Every shared schema, as it stands in its file, by its ``$id``."""
    return dict(_files().values())


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
