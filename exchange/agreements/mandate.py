"""Mandates: what an auditor may see of an organisation's journal, on which legal basis.

A mandate is the part of an agreement of kind *audit* that says which entries, of which period, and
which of their members. It opens no door by itself: the grants of its agreement do.

Invariants:
- ``at``, ``kind`` and ``side`` of an entry are always shown; the field ``*`` shows the whole entry,
  byte for byte, so that its proof can be checked; only ``content`` shows what it seals;
- who may not see a field may not look for its values either;
- no organisation or service named means all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from exchange.agreements.reading import (
    invalid,
    optional,
)
from exchange.documents import Node, format_moment
from exchange.identifiers import MemberId, ServiceId
from exchange.journal.entries import Entry
from exchange.problems import Code, Problem, Text

EVERYTHING: Final = "*"
CONTENT: Final = "content"
ALWAYS: Final = frozenset({"at", "kind", "side"})
FIELDS: Final = frozenset(Entry._fields) | {EVERYTHING, CONTENT}
MAX_NAMED: Final = 256
# What a condition of a search tells of, where it is not a member of its own name.
_TOLD: Final = {
    "since": ("at",),
    "until": ("at",),
    "member": ("client", "service"),
    "outcome": ("problem", "status"),
}


@dataclass(frozen=True, slots=True)
class Mandate:
    """What of a journal an auditor may see.

    ``since`` and ``until`` bound the time of the entries (``until`` None: no end but that of the
    agreement). ``organisations`` are the other parties of the exchanges, ``services`` those that
    were called. ``subjects`` allows to ask by the person, business or parcel that an exchange was
    about, ``hidden`` to see what an order hides from others.
    """

    legal_basis: Text
    since: datetime
    until: datetime | None
    fields: frozenset[str]
    organisations: frozenset[MemberId] = frozenset()
    services: frozenset[ServiceId] = frozenset()
    subjects: bool = False
    hidden: bool = False

    def __post_init__(self) -> None:
        if self.until is not None and self.since >= self.until:
            raise invalid("/mandate/period/until", "must be after from")

    @property
    def whole(self) -> bool:
        """Whether entries are shown whole."""
        return EVERYTHING in self.fields

    def shows(self, name: str) -> bool:
        """Whether a member of entries is shown."""
        return name in ALWAYS or name in self.fields or (self.whole and name != CONTENT)

    def check_conditions(self, conditions: Iterable[str]) -> None:
        """Refuse a search by what is not shown.

        Args:
            conditions: names of conditions, as the search has them.

        Raises:
            Problem: ``FieldNotReleased`` at the condition.
        """
        for condition in conditions:
            for name in _TOLD.get(condition, (condition,)):
                self.check_field(name, f"query.{condition}")

    def check_field(self, name: str, where: str) -> None:
        """Raises: Problem ``FieldNotReleased`` when the mandate does not show the field."""
        if not self.shows(name):
            raise Problem(
                Code.FIELD_NOT_RELEASED,
                where=where,
                detail=f"the mandate does not show {name!r}",
                facts={"field": name, "shown": sorted(self.fields | ALWAYS)},
            )

    def check_subject(self) -> None:
        """Raises: Problem ``OutsideMandate`` when nobody may be asked about."""
        if not self.subjects:
            raise Problem(
                Code.OUTSIDE_MANDATE,
                where="header.exchange-subject",
                detail="the mandate does not allow to ask about a subject",
            )

    def period(
        self, since: datetime | None, until: datetime | None
    ) -> tuple[datetime, datetime | None]:
        """The period of a search: that of the mandate where none is asked for.

        Raises:
            Problem: ``OutsideMandate`` when what is asked for goes beyond the mandate.
        """
        if since is not None and since < self.since:
            raise _outside("query.since", f"begins at {format_moment(self.since)}")
        if until is not None and self.until is not None and until > self.until:
            raise _outside("query.until", f"ends at {format_moment(self.until)}")
        if since is not None and self.until is not None and since >= self.until:
            raise _outside("query.since", f"ends at {format_moment(self.until)}")
        if until is not None and until <= self.since:
            raise _outside("query.until", f"begins at {format_moment(self.since)}")
        return since or self.since, until or self.until


def parse_mandate(node: Node) -> Mandate:
    """Read the member ``mandate`` of an agreement.

    Raises:
        Problem: ``INVALID_DOCUMENT`` or ``AGREEMENT_INVALID`` at the place.
    """
    members = node.members(
        frozenset({"legal_basis", "period", "fields"}),
        frozenset({"organisations", "services", "subjects", "hidden"}),
    )
    period = members["period"].members(frozenset({"from"}), frozenset({"until"}))
    until = period.get("until")
    return Mandate(
        legal_basis=members["legal_basis"].bilingual(),
        since=period["from"].moment(),
        until=None if until is None else until.moment(),
        fields=frozenset(_field(each) for each in members["fields"].items(len(FIELDS), 1)),
        organisations=frozenset(
            each.identifier(MemberId) for each in optional(members, "organisations", MAX_NAMED)
        ),
        services=frozenset(
            each.identifier(ServiceId) for each in optional(members, "services", MAX_NAMED)
        ),
        subjects=_flag(members.get("subjects")),
        hidden=_flag(members.get("hidden")),
    )


def format_mandate(mandate: Mandate) -> dict[str, Any]:
    """The member ``mandate``, with every member present and lists sorted."""
    until = mandate.until
    return {
        "legal_basis": mandate.legal_basis.as_dict(),
        "period": {
            "from": format_moment(mandate.since),
            "until": None if until is None else format_moment(until),
        },
        "fields": sorted(mandate.fields),
        "organisations": sorted(map(str, mandate.organisations)),
        "services": sorted(map(str, mandate.services)),
        "subjects": mandate.subjects,
        "hidden": mandate.hidden,
    }


def _field(node: Node) -> str:
    text = node.text()
    if text not in FIELDS:
        raise node.refuse(f"must be one of {', '.join(sorted(FIELDS))}")
    return text


def _flag(node: Node | None) -> bool:
    if node is None:
        return False
    if not isinstance(node.value, bool):
        raise node.refuse("must be true or false")
    return node.value


def _outside(where: str, what: str) -> Problem:
    return Problem(Code.OUTSIDE_MANDATE, where=where, detail=f"the mandate's period {what}")
