"""Applications and services that went from one member to another, by the word of both.

The document of the one says ``moved``, that of the other ``taken``::

    LA/GOV/MPI:  "moved": {"LA/GOV/MPI/oda-mis": "LA/GOV/MOF/oda-mis"}
    LA/GOV/MOF:  "taken": {"LA/GOV/MOF/oda-mis": "LA/GOV/MPI/oda-mis"}

Invariants:
- a move counts when both say it, each in a role that its own key has signed, and the new one is
  registered: nobody can send another's callers away, nor to a member that does not want them;
- services of an application that moved go with it, under the same code;
- a call to the old id is not passed on: its answer names the new one, with whose member a new
  agreement is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Fact, Problem
from exchange.registrations import MemberRecord

Thing: TypeAlias = ApplicationId | ServiceId


def agreed_moves(records: Iterable[MemberRecord]) -> dict[Thing, Thing]:
    """What both members say, by the old identifier."""
    moved: dict[Thing, Thing] = {}
    taken: dict[Thing, Thing] = {}
    for record in records:
        moved.update(record.moved)
        taken.update((new, old) for new, old in record.taken if new in record.things)
    return {old: new for old, new in moved.items() if taken.get(new) == old}


def successor(moves: Mapping[Thing, Thing], asked: object) -> Thing | None:
    """What something became; of a service also by its application."""
    if not moves or not isinstance(asked, ApplicationId | ServiceId):
        return None
    found = moves.get(asked)
    if found is None and isinstance(asked, ServiceId):
        application = moves.get(asked.application)
        if isinstance(application, ApplicationId):
            return ServiceId.parse(f"{application}/{asked.service_code}")
    return found


def moved_problem(asked: Thing, new: Thing) -> Problem:
    """Why a call that concerns ``asked`` is refused, and where to turn."""
    facts: dict[str, Fact] = {
        "id": str(asked),
        "member": str(asked.member),
        "successor": str(new.member),
    }
    kind = "service" if isinstance(new, ServiceId) else "application"
    facts[f"successor_{kind}"] = str(new)
    return Problem(
        Code.MERGED,
        where=str(asked),
        detail=f"{asked} went from {asked.member} to {new.member}: ask {new}",
        facts=facts,
    )
