"""What the commands of `saphan agreement` share: files, and how documents are written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from exchange.problems import Code, Problem

MAX_FILE_BYTES = 1 << 20


def tell(document: dict[str, Any]) -> None:
    """Print what was done, as JSON."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def purposes(code: str | None, legal_basis: str | None) -> list[dict[str, Any]]:
    """The purposes of a draft: one, or none."""
    if bool(code) is not bool(legal_basis):
        raise click.UsageError("--purpose and --legal-basis come together, or neither of them")
    if not code:
        return []
    return [
        {
            "code": code,
            "title": {"en": code, "lo": code},
            "legal_basis": {"en": legal_basis, "lo": legal_basis},
        }
    ]


def moment(at: datetime) -> str:
    """A time as documents write it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(path: Path) -> bytes:
    """The bytes of a file that may hold an agreement or keys.

    Raises:
        Problem: ``InvalidSettings``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(path), detail=f"cannot be read: {error.strerror}"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise Problem(Code.INVALID_SETTINGS, where=str(path), detail="longer than 1 MiB")
    return data


def write(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        Problem: ``InvalidSettings``.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(path), detail=f"cannot be written: {error.strerror}"
        ) from error
