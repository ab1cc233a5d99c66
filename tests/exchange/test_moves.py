"""Rules of moves: both members say it, and callers of the old name read the new one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import MemberRecord, format_member, parse_member
from exchange.registry.moves import Thing, agreed_moves, moved_problem, successor
from tests.registry.simulator import MOF, MPI, member_record

OLD, NEW = (ApplicationId.parse(f"{member}/oda-mis") for member in (MPI, MOF))
OLD_SERVICE, NEW_SERVICE = (ServiceId.parse(f"{one}/projects") for one in (OLD, NEW))


def giver(*moved: tuple[Thing, Thing]) -> MemberRecord:
    return replace(member_record(MPI), applications=(), services=(), moved=moved)


def taker(*taken: tuple[Thing, Thing]) -> MemberRecord:
    return replace(member_record(MOF), taken=taken)


def test_a_document_with_moves_reads_back() -> None:
    """What is written is what is read, at both members."""
    for record in (giver((OLD, NEW), (OLD_SERVICE, NEW_SERVICE)), taker((NEW, OLD))):
        assert parse_member(format_member(record), record.member) == record


@pytest.mark.parametrize(
    "record",
    [
        replace(member_record(MPI), moved=((OLD, NEW),)),
        replace(taker((NEW, OLD)), applications=(), services=()),
        giver((OLD, ApplicationId.parse(f"{MPI}/other"))),
        giver((OLD, ApplicationId.parse("XX/GOV/MOF/oda-mis"))),
        giver((NEW, OLD)),
    ],
    ids=["still there", "not there", "the same member", "another instance", "somebody else's"],
)
def test_what_cannot_be_a_move_is_refused(record: MemberRecord) -> None:
    """The place is told."""
    with pytest.raises(Problem) as caught:
        parse_member(format_member(record), record.member)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert "/moved" in caught.value.where or "/taken" in caught.value.where


def test_only_what_both_say_counts() -> None:
    """Neither alone sends callers anywhere."""
    assert agreed_moves([giver((OLD, NEW)), taker((NEW, OLD))]) == {OLD: NEW}
    assert agreed_moves([giver((OLD, NEW)), taker()]) == {}
    assert agreed_moves([giver(), taker((NEW, OLD))]) == {}
    third = ApplicationId.parse("LA/GOV/MOES/oda-mis")
    assert agreed_moves([giver((OLD, third)), taker((NEW, OLD))]) == {}
    gone = replace(taker((NEW, OLD)), applications=(), services=())
    assert agreed_moves([giver((OLD, NEW)), gone]) == {}


def test_services_go_with_their_application() -> None:
    """Under the same code, unless the service itself went elsewhere."""
    assert successor({OLD: NEW}, OLD_SERVICE) == NEW_SERVICE
    other = ServiceId.parse(f"{NEW}/other")
    assert successor({OLD: NEW, OLD_SERVICE: other}, OLD_SERVICE) == other
    assert successor({OLD_SERVICE: NEW_SERVICE}, OLD) is None
    assert successor({OLD: NEW}, MemberId.parse("LA/GOV/MPI")) is None


def test_callers_read_whom_to_ask() -> None:
    """The same code and facts as after a merger."""
    problem = moved_problem(OLD_SERVICE, NEW_SERVICE)
    assert (problem.code, problem.status) == (Code.MERGED, 410)
    assert problem.facts["successor"] == str(MOF)
    assert problem.facts["successor_service"] == str(NEW_SERVICE)
