"""For whom changes are told, and what of a record these see.

The rules are those of a service (docs/adr/0064): rows that the mapping or the agreement does not
show to a caller are no rows, masked members are told as they are answered. So a row that stops
being visible is told as removed, one that becomes visible as created, and a change of what is not
shown is no event at all. Each audience has a state of its own.

Not here: the fields that an agreement releases, which are the mediator's matter as those of
answers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from adapters.answers.callers import caller_of
from adapters.answers.faults import rows_of
from adapters.answers.layout import Layout, lay_out, profile
from adapters.answers.masking import Profile
from adapters.answers.narrowing import EVERYTHING, Sight
from adapters.answers.statements import Condition
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.model import Record
from exchange.agreements import RowCondition
from serving.backends import Headers


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom changes are told, and the conditions that the agreement sets on rows."""

    caller: Caller = NOBODY
    rows: tuple[RowCondition, ...] = ()

    def __str__(self) -> str:
        caller = self.caller
        said = [str(caller.client or ""), caller.agreement, caller.purpose]
        said += [f"{one.field}={','.join(one.values)}" for one in self.rows]
        return " ".join(said).strip()


EVERYBODY = Audience()


def audience_of(headers: Headers) -> Audience:
    """The audience that the mediator's header fields name, as those of a request.

    Raises:
        Fault: 400 for what cannot be read.
    """
    return Audience(caller_of(headers), rows_of(headers))


@dataclass(frozen=True, slots=True)
class View:
    """What is read of a record, and which rows, with the values of the conditions."""

    layout: Layout
    conditions: tuple[Condition, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    masked: Profile = ()

    @property
    def asked(self) -> tuple[Any, ...]:
        """What tells the view from others, and from itself when a rule or the day has changed."""
        conditions = tuple(map(str, self.conditions))
        masked = tuple((name, str(shown)) for name, shown in self.masked)
        joins = tuple(join.asked for join in self.layout.joins)
        return (conditions, sorted(self.values.items()), masked, joins)


def whole(record: Record) -> View:
    """All rows and members: for who checks a mapping, not for telling."""
    return View(lay_out(record, None, EVERYTHING))


def view(record: Record, audience: Audience, today: date | None) -> View:
    """What ``audience`` sees of ``record``.

    Raises:
        Fault: for a condition of the agreement that this mapping cannot apply.
    """
    caller = audience.caller
    sight = Sight(caller, today, audience.rows)
    conditions, values = sight.of(record)
    layout = lay_out(record, None, sight)
    return View(layout, tuple(conditions), values, profile(record, caller))
