"""An application goes from one member to another: by the word of both, in an order that is safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import MemberRecord, ServiceType
from mediator.registry_copy import RegistryCopy
from tests.registry.simulator import MOF, MPI, NOW, URL, SimulatedRegistry, member_record
from tests.registry.test_evolution import BREAKING, OLD, agreement, consent
from tests.registry.test_registrar import code_of
from tests.registry.test_users_told import Offices

OLD_APPLICATION, NEW_APPLICATION = (ApplicationId.parse(f"{one}/oda-mis") for one in (MPI, MOF))
SERVICE, SUCCESSOR = (ServiceId.parse(f"{one}/oda-mis/projects") for one in (MPI, MOF))
TAKEN = replace(member_record(MOF), taken=((NEW_APPLICATION, OLD_APPLICATION),))
MOVED = replace(
    member_record(MPI), applications=(), services=(), moved=((OLD_APPLICATION, NEW_APPLICATION),)
)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Offices]:
    """MPI has the application; a third party, here MOF, uses its service."""
    office = Offices(tmp_path)
    office.agree(office.put(MPI, agreement_mof_json=agreement()))
    yield office
    office.store.close()


def refused(office: Offices, record: MemberRecord) -> Problem:
    with pytest.raises(Problem) as caught:
        office.put(record.member, record)
    return caught.value


def test_first_one_takes_over_and_then_the_other_hands_over(office: Offices) -> None:
    """Each in its own signed role; both changes are shown; who uses it is told of the successor."""
    early = refused(office, MOVED)
    assert (early.code, early.where) == (Code.CONFLICT, "LA/GOV/MPI/member.json#/moved")
    assert "LA/GOV/MOF must take" in early.detail
    number = office.put(MOF, TAKEN)
    taken = [str(change) for change in office.store.request(number).changes]
    assert f"take over {NEW_APPLICATION}: from {OLD_APPLICATION}" in taken
    office.agree(number)
    number = office.put(MPI, MOVED)
    moved = [str(change) for change in office.store.request(number).changes]
    assert f"hand over {OLD_APPLICATION}: to {NEW_APPLICATION}" in moved
    office.agree(number)
    act, english, lao = office.told(MOF)[-1]
    assert act == "moved"
    assert f"{SERVICE} is {SUCCESSOR} now" in english
    assert str(SUCCESSOR) in lao


def test_nobody_takes_what_is_not_there(office: Offices) -> None:
    """The thing is registered, or was handed over to the taker."""
    gone = ApplicationId.parse(f"{MPI}/none")
    record = replace(member_record(MOF), taken=((NEW_APPLICATION, gone),))
    assert refused(office, record).where == "LA/GOV/MOF/member.json#/taken"


def test_a_move_that_breaks_users_needs_their_consent(office: Offices) -> None:
    """What is called there must take what was sent here."""
    office.agree(office.put(MOF, TAKEN, openapi=BREAKING))
    assert refused(office, MOVED).code is Code.BREAKING_CHANGE
    office.agree(office.put(MPI, MOVED, consent_mof_json=consent(BREAKING, OLD)))


def test_a_move_is_not_forgotten(office: Offices) -> None:
    """While both have it, neither stops telling callers; when the new one is gone, both may."""
    office.agree(office.put(MOF, TAKEN))
    office.agree(office.put(MPI, MOVED))
    for record in (replace(MOVED, moved=()), member_record(MOF)):
        assert refused(office, record).code is Code.CONFLICT
    office.agree(office.put(MOF, replace(TAKEN, applications=(), services=(), taken=())))
    assert office.put(MPI, replace(MOVED, moved=())) > 0


def test_servers_answer_old_names_with_the_new(tmp_path: Path) -> None:
    """For the service, and for the application as a caller; the new ones are found."""
    registry = SimulatedRegistry()
    registry.register(MPI)
    registry.register(MOF)
    registry.members[MPI].record = MOVED
    registry.members[MOF].record = TAKEN
    registry.publish()
    copy = RegistryCopy(tmp_path, URL, registry.root_bytes, registry.fetcher, timedelta(days=1))
    copy.load(NOW)
    copy.synchronise(NOW)
    state = copy.state
    assert state is not None
    assert state.service(SUCCESSOR).type is ServiceType.OPENAPI
    assert code_of(lambda: state.service(SERVICE)) is Code.MERGED
    with pytest.raises(Problem) as caught:
        state.servers_of(SERVICE.application)
    assert caught.value.facts["successor_application"] == str(NEW_APPLICATION)
