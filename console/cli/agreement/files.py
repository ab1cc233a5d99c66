"""What the commands of `saphan agreement` share: files, and how documents are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchange.certificates.reading import parse_certificates
from exchange.problems import Code, Problem
from serving.small_files import read_file

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
FILES = click.argument(
    "files",
    type=click.Path(exists=True, path_type=Path),
    nargs=-1,
    required=True,
    metavar="FILE...",
)


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


def private_key(path: Path) -> Any:
    """The private key of a file (PEM).

    Raises:
        Problem: ``InvalidSettings``.
    """
    try:
        return load_pem_private_key(read_file(path), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS, where="--key", detail=f"{path} holds no PEM private key"
        ) from error


def authorities(path: Path) -> list[x509.Certificate]:
    """The authorities that seals must chain to.

    Raises:
        Problem: ``InvalidSettings``.
    """
    return certificates(path, "--ca")


def certificates(path: Path, where: str) -> list[x509.Certificate]:
    """The certificates of a file (PEM), at least one.

    Raises:
        Problem: ``InvalidSettings``, or ``InvalidDocument`` for what is no PEM.
    """
    found = list(parse_certificates(read_file(path)))
    if not found:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=f"{path} holds no PEM certificate")
    return found
