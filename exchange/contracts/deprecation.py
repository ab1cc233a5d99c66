"""Deprecation: what is to go, since when, until when, and what comes after it.

An operation, the ``info`` of an OpenAPI document (for all its operations) or a shared schema::

    x-saphan-deprecated:
      since: "2026-07-01"
      until: "2027-06-30"           # optional: from this day on it may be gone
      successor: LA/GOV/MPI/oda-mis/projects-2      # optional
      reason: {en: …, lo: …}

Days begin at 00:00 UTC. Callers get it as the fields ``Deprecation`` (RFC 9745 section 2.1, a Date
of RFC 9651) and ``Sunset`` (RFC 8594 section 3, an HTTP-date of RFC 9110 section 5.6.7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from exchange.contracts.formats import is_date
from exchange.documents import Node
from exchange.problems import Text
from exchange.schema_sets.places import parse_document

MARK: Final = "x-saphan-deprecated"
METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


@dataclass(frozen=True, slots=True)
class Deprecation:
    """What was said of an operation, a service or a schema."""

    since: datetime
    until: datetime | None
    successor: str
    reason: Text

    def fields(self) -> tuple[tuple[str, str], ...]:
        """The header fields of an answer to a caller, with lower-case names."""
        found = [("deprecation", f"@{int(self.since.timestamp())}")]
        if self.until is not None:
            found.append(("sunset", format_datetime(self.until, usegmt=True)))
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """How the directory shows it."""
        return {
            "since": self.since.date().isoformat(),
            "until": None if self.until is None else self.until.date().isoformat(),
            "successor": self.successor or None,
            "reason": self.reason.as_dict(),
        }


def parse_deprecation(value: Any, noun: str, pointer: str) -> Deprecation:
    """Read what the mark holds.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at the place.
    """
    node = Node(value, noun, pointer)
    members = node.members(frozenset({"since", "reason"}), frozenset({"until", "successor"}))
    until, successor = members.get("until"), members.get("successor")
    found = Deprecation(
        _day(members["since"]),
        None if until is None else _day(until),
        "" if successor is None else successor.text(2048),
        members["reason"].bilingual(),
    )
    if found.until is not None and found.until <= found.since:
        raise node.refuse("until must be after since")
    return found


def deprecation_of(node: Mapping[str, Any], noun: str, pointer: str) -> Deprecation | None:
    """What a schema or an operation says of itself.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at the place.
    """
    if MARK not in node:
        return None
    return parse_deprecation(node[MARK], noun, f"{pointer}/{MARK}")


def read_deprecations(document: bytes) -> dict[tuple[str, str], Deprecation]:
    """What an OpenAPI document says of its operations, by method and template.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when a mark or the document is malformed.
    """
    return dict(_operations(parse_document(document)))


def service_deprecation(document: Any) -> Deprecation | None:
    """What an OpenAPI document says of all its operations, in ``info``.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at the place.
    """
    info = document.get("info")
    return deprecation_of(info, "", "/info") if isinstance(info, dict) else None


def _operations(document: Any) -> Iterator[tuple[tuple[str, str], Deprecation]]:
    whole = service_deprecation(document)
    paths = document.get("paths")
    for template, item in paths.items() if isinstance(paths, dict) else ():
        for method in METHODS & item.keys() if isinstance(item, dict) else ():
            operation = item[method]
            own = None
            if isinstance(operation, dict):
                own = deprecation_of(operation, "", f"/paths/{template}/{method}")
            if (found := own or whole) is not None:
                yield (method.upper(), template), found


def _day(node: Node) -> datetime:
    text = node.text(10)
    if not is_date(text) or text < "0001":
        raise node.refuse("must be a date such as 2027-06-30")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
