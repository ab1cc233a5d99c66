"""Places in documents of schemas, and documents of bounded size and depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from exchange import i_json
from exchange.problems import Code, Problem

MAX_DOCUMENT_BYTES: Final = 2 * 1024 * 1024
MAX_DOCUMENT_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the document (``base`` empty) or in a shared schema (its ``$id``)."""

    base: str
    pointer: str

    def __str__(self) -> str:
        return f"{self.base}#{self.pointer}"

    def __truediv__(self, token: str | int) -> Place:
        return Place(self.base, f"{self.pointer}/{escape(str(token))}")


def escape(token: str) -> str:
    """Escape one token of a JSON pointer (RFC 6901 section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def refuse(place: Place | str, detail: str) -> Problem:
    """A document that is not accepted, at a JSON pointer."""
    return Problem(Code.INVALID_DOCUMENT, where=str(place), detail=detail)


def parse_document(document: bytes, where: str = "#") -> Any:
    """Read a document of bounded size and depth.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when it is too large, too deep or not I-JSON.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise refuse(where, f"document larger than {MAX_DOCUMENT_BYTES} bytes")
    value = i_json.parse(document, where, Code.INVALID_DOCUMENT)
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DOCUMENT_DEPTH:
            raise refuse(where, f"document nested deeper than {MAX_DOCUMENT_DEPTH} levels")
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return value
