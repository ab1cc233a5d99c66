"""What goes from one member to another: judged when either says so
(:mod:`exchange.registry.moves`).

The new owner takes over first, while the old one still has it; the old one hands over then. So
callers never find nothing: they find the old, and from then on the name of the new.
"""

from __future__ import annotations

from collections.abc import Mapping

from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import MemberRecord, member_target
from exchange.registry.moves import Thing, successor

Records = Mapping[MemberId, MemberRecord]


def judge_moves(record: MemberRecord, published: MemberRecord | None, others: Records) -> None:
    """Decide whether a member may say what it says of moves.

    Args:
        published: what it says now.
        others: the published records of all members.

    Raises:
        Problem: ``Conflict`` at the pair that the other member does not say, or when a move would
            be forgotten that both have said.
    """
    known_moved = () if published is None else published.moved
    known_taken = () if published is None else published.taken
    for old, new in set(record.moved) - set(known_moved):
        if (new, old) not in _taken(others.get(new.member)):
            raise _refuse(
                record,
                "moved",
                f"{new.member} must take {old} over first: taken: {{{new}: {old}}} in its own "
                "description",
            )
    for new, old in set(record.taken) - set(known_taken):
        other = others.get(old.member)
        if other is None or (old not in other.things and (old, new) not in other.moved):
            raise _refuse(record, "taken", f"the registry has no {old}")
    for old, new in set(known_moved) - set(record.moved):
        if old not in record.things and (new, old) in _taken(others.get(new.member)):
            raise _refuse(record, "moved", f"{old} became {new}: callers are told so")
    for new, old in set(known_taken) - set(record.taken):
        other = others.get(old.member)
        if new in record.things and other is not None and (old, new) in other.moved:
            raise _refuse(record, "taken", f"{old} became {new}: callers are told so")


def successor_of(service: ServiceId, record: MemberRecord) -> ServiceId | None:
    """What a service becomes by what its member says."""
    found = successor(dict(record.moved), service)
    return found if isinstance(found, ServiceId) else None


def _taken(record: MemberRecord | None) -> set[tuple[Thing, Thing]]:
    if record is None:
        return set()
    return {pair for pair in record.taken if pair[0] in record.things}


def _refuse(record: MemberRecord, name: str, detail: str) -> Problem:
    return Problem(Code.CONFLICT, where=f"{member_target(record.member)}#/{name}", detail=detail)
