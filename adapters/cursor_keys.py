"""What the cursors of a mapping are sealed with, so that they hold in every process that has it.

The ``cursor_key`` of the source, or else a secret in a file beside the mapping, made when it is not
there. Where neither can be had the process's own stands in: pages go on as long as it runs, which
is told. Whoever has the secret can read and make cursors; he gets no row by it that its caller
would not get.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from adapters.answers.cursors import SECRET_BYTES, SECRET_OF_THIS_PROCESS
from adapters.findings import Finding
from adapters.mapping.model import Mapping as Map
from adapters.sources.variables import resolve_key
from exchange.problems import Problem
from serving.secret_files import secret

_log = structlog.get_logger("saphan.adapters")


def key_path(folder: Path, mapping: str) -> Path:
    """Where the secret for a mapping file is: beside it, under its name."""
    return folder / f"{Path(mapping).stem}.cursor-key"


def cursor_secret(mapping: Map, environ: Mapping[str, str], folder: Path) -> bytes:
    """The secret of ``mapping``, whose file is in ``folder``; blocks.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}``, or a key that is too short.
    """
    settings = mapping.source
    if settings.cursor_key:
        return resolve_key(settings.cursor_key, environ, settings.where)
    if not _has_pages(mapping):
        return SECRET_OF_THIS_PROCESS
    path = key_path(folder, mapping.file)
    found, why = _read(path)
    if why:
        step = "let it be read and written there, or name a cursor_key: until then pages"
        step += " that were begun end with this process"
        _log.warning("cursor_key_not_kept", path=str(path), why=why, next=step)
        return SECRET_OF_THIS_PROCESS
    return found


def findings(mapping: Map, environ: Mapping[str, str], folder: Path) -> Iterator[Finding]:
    """What a check tells of it: nothing is made.

    Raises:
        Problem: as :func:`cursor_secret`.
    """
    if mapping.source.cursor_key:
        cursor_secret(mapping, environ, folder)
        return
    path, why = key_path(folder, mapping.file), ""
    if path.exists():
        _, why = _read(path)
    elif not os.access(folder, os.W_OK):
        why = f"{path} cannot be made"
    if why and _has_pages(mapping):
        told = f"{why}: cursors end with the process (cursor_key)"
        yield Finding(mapping.source.where, told, warning=True)


def _read(path: Path) -> tuple[bytes, str]:
    """The secret in a file, which is made when it is not there; or why there is none."""
    try:
        found = secret(path, SECRET_BYTES)
    except (OSError, Problem) as error:
        return b"", str(error)
    if len(found) != SECRET_BYTES:
        return b"", f"{path} has not {SECRET_BYTES} bytes"
    return found, ""


def _has_pages(mapping: Map) -> bool:
    return any(
        endpoint.order and endpoint.search is None
        for service in mapping.services.values()
        for endpoint in service.endpoints
    )
