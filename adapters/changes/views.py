"""For whom changes are told, and what of a record these see.

The rules are those of a service (docs/adr/0064): rows that the mapping or the agreement does not
show to a caller are no rows, masked members are told as they are answered. So a row that stops
being visible is told as removed, one that becomes visible as created, and a change of what is not
shown is no event at all. Each audience has a state of its own.

Under an agreement a record is what the answers of the service hold after the server has cut them
(docs/adr/0076, :mod:`adapters.changes.grants`): members that are not released are not even read.
Where the agreement itself is not at hand, nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from adapters.answers.layout import Layout, lay_out, profile
from adapters.answers.masking import Profile
from adapters.answers.narrowing import EVERYTHING, Draft, Sight
from adapters.answers.statements import Condition
from adapters.changes.grants import Granted, not_at_hand
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.model import Record
from exchange.agreements import Projection


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom changes are told, and what an agreement opens to it.

    Two versions of an agreement are of one audience: what the new one opens or closes is told.
    """

    caller: Caller = NOBODY
    granted: Granted | None = None

    def __str__(self) -> str:
        caller = self.caller
        said = [str(caller.client or ""), caller.agreement, caller.purpose]
        return " ".join(said).strip()


EVERYBODY = Audience()


@dataclass(frozen=True, slots=True)
class View:
    """What is read of a record, and which rows, with the values of the conditions."""

    layout: Layout
    conditions: tuple[Condition, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    masked: Profile = ()
    released: Projection | None = None
    """What is left of a record; None where all of it is."""

    @property
    def hides(self) -> bool:
        """Whether something of the rows that are read is not told."""
        return bool(self.masked) or self.released is not None

    @property
    def asked(self) -> tuple[Any, ...]:
        """What tells the view from others, and from itself when a rule or the day has changed."""
        conditions = tuple(map(repr, self.conditions))
        masked = tuple((name, str(shown)) for name, shown in self.masked)
        joins = tuple(join.asked for join in self.layout.joins)
        asked = (conditions, sorted(self.values.items()), masked, joins)
        return asked if self.released is None else (*asked, sorted(self.released.fields))


def whole(record: Record) -> View:
    """All rows and members: for who checks a mapping, not for telling."""
    return View(lay_out(record, None, EVERYTHING))


def view(record: Record, audience: Audience, today: date | None) -> View:
    """What ``audience`` sees of ``record``.

    Raises:
        Problem: ``InvalidUsage`` for an agreement that is not at hand.
        Fault: for a condition of the agreement that this mapping cannot apply.
    """
    caller, granted = audience.caller, audience.granted
    if caller.agreement and granted is None:
        raise not_at_hand(caller.agreement)
    rows = () if granted is None else granted.grant.rows
    rights = [record.visible] if granted is None else granted.endpoint.rights
    sight, draft = Sight(caller, today, rows), Draft()
    for visible in rights:
        if visible is not None:
            draft.show(visible.of(caller), today)
    sight.narrow(draft, record)
    members = None if granted is None else granted.members
    return View(
        lay_out(record, members, sight),
        tuple(draft.conditions),
        draft.values,
        profile(record, caller),
        None if granted is None or granted.projection.everything else granted.projection,
    )
