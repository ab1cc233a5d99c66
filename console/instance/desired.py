"""What was asked for: the configuration and its specifications, durable before anything is done.

``DIR/desired.json`` holds the configuration as GovStack's document, a number that grows with every
change, and the digest of each service's specification; ``DIR/specifications/`` holds those by
digest. A start needs nothing from the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from certs.files import PRIVATE_MODE, write_file
from console.instance.configuration import Configuration
from console.instance.drafts import MAX_DOCUMENT_BYTES, read
from console.instance.merging import settle
from console.instance.rights import ServiceKey
from console.instance.writing import write
from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem

FORMAT: Final = 1
FILE: Final = "desired.json"
FOLDER: Final = "specifications"


@dataclass(frozen=True, slots=True)
class Desired:
    """A configuration, which of its changes it is, and the digests of its specifications."""

    configuration: Configuration
    generation: int
    specifications: Mapping[ServiceKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredFile:
    """The desired state in ``directory``."""

    directory: Path

    def read(self) -> Desired | None:
        """What was written last; None when nothing was.

        Raises:
            Problem: ``InvalidDocument`` when the file is damaged.
        """
        path = self.directory / FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value: Any = parse_document(data, 8 * MAX_DOCUMENT_BYTES, FILE).value
            if value["format"] != FORMAT:
                raise Problem(
                    Code.INVALID_DOCUMENT,
                    where=str(path),
                    detail=f"format {value['format']!r} is of another release of Saphan",
                )
            digests = {
                ServiceKey(*text.split("/")): str(digest)
                for text, digest in value["specifications"].items()
            }
            return Desired(settle(read(value["configuration"])), int(value["generation"]), digests)
        except (KeyError, TypeError, ValueError) as error:
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=str(path),
                detail="is damaged; put back the one of your copy",
            ) from error

    def write(self, desired: Desired, new: Mapping[str, bytes]) -> None:
        """Make ``desired`` durable, its new specifications (by digest) first."""
        for digest, data in new.items():
            path = self._path(digest)
            if not path.exists():
                write_file(path, data, mode=PRIVATE_MODE)
        document = {
            "format": FORMAT,
            "generation": desired.generation,
            "configuration": write(desired.configuration),
            "specifications": {
                "/".join((key.member_class, key.member_code, key.application, key.service)): digest
                for key, digest in sorted(desired.specifications.items())
            },
        }
        write_file(self.directory / FILE, format_document(document), mode=PRIVATE_MODE)
        self._sweep(frozenset(desired.specifications.values()))

    def specification(self, digest: str) -> bytes:
        """A specification.

        Raises:
            Problem: ``InvalidDocument`` when it is gone or damaged.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._lost(path) from error
        if sha256(data).hexdigest() != digest:
            raise self._lost(path)
        return data

    def _lost(self, path: Path) -> Problem:
        return Problem(
            Code.INVALID_DOCUMENT,
            where=str(path),
            detail="is gone or damaged; send the service's part of the configuration again (PATCH)",
        )

    def _path(self, digest: str) -> Path:
        return self.directory / FOLDER / f"{digest}.json"

    def _sweep(self, kept: frozenset[str]) -> None:
        for path in (self.directory / FOLDER).glob("*.json"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
