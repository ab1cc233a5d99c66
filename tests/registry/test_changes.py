"""What a request changes is computed from what is published and what is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registrations import MemberRecord, ServiceRecord, ServiceType, format_member
from registry.actors.roles import MAY, Caller, Operation, Right
from registry.requests.changes import ChangeKind, Published, compare, digest_of
from tests.registry.simulator import (
    MPI,
    auth_certificate,
    member_files,
    member_record,
    openapi_document,
    seal_certificate,
)

SERVER = ServerId.parse("LA/GOV/MPI/ss1")
APPLICATION = ApplicationId.parse("LA/GOV/MPI/oda-mis")
SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
BUDGET = ServiceId.parse("LA/GOV/MPI/oda-mis/budget")
RECORD = member_record(MPI)
Edit = Callable[[MemberRecord], MemberRecord]


def published(record: MemberRecord) -> Published:
    return Published(record, member_files(record))


def service(identifier: ServiceId) -> ServiceRecord:
    return ServiceRecord(identifier, ServiceType.REST, Text("Budget", "ງົບ"), None)


EDITS: dict[ChangeKind, Edit] = {
    ChangeKind.CHANGE_MEMBER: lambda r: replace(r, name=Text("Other", "ອື່ນ")),
    ChangeKind.ADD_SEAL: lambda r: replace(
        r, seal_certificates=(*r.seal_certificates, seal_certificate(MPI, "more"))
    ),
    ChangeKind.REMOVE_SEAL: lambda r: replace(r, seal_certificates=()),
    ChangeKind.CHANGE_SERVER: lambda r: replace(
        r, servers=tuple(replace(one, address="https://10.0.0.9:5500") for one in r.servers)
    ),
    ChangeKind.ADD_CERTIFICATE: lambda r: replace(
        r,
        servers=tuple(
            replace(
                one,
                auth_certificates=(*one.auth_certificates, auth_certificate(SERVER, "more")),
            )
            for one in r.servers
        ),
    ),
    ChangeKind.REMOVE_CERTIFICATE: lambda r: replace(
        r, servers=tuple(replace(one, auth_certificates=()) for one in r.servers)
    ),
    ChangeKind.DELETE_SERVER: lambda r: replace(r, servers=r.servers[1:]),
    ChangeKind.CHANGE_APPLICATION: lambda r: replace(
        r, applications=tuple(replace(one, servers=()) for one in r.applications)
    ),
    ChangeKind.DELETE_APPLICATION: lambda r: replace(r, applications=r.applications[1:]),
    ChangeKind.REGISTER_SERVICE: lambda r: replace(r, services=(*r.services, service(BUDGET))),
    ChangeKind.CHANGE_SERVICE: lambda r: replace(
        r, services=tuple(replace(one, title=Text("X", "Y")) for one in r.services)
    ),
    ChangeKind.DELETE_SERVICE: lambda r: replace(r, services=r.services[1:]),
}


@pytest.mark.parametrize("kind", EDITS, ids=str)
def test_each_edit_is_told_as_what_it_is(kind: ChangeKind) -> None:
    """One kind of edit, one kind of change, and for what it is of."""
    changes = compare(published(RECORD), published(EDITS[kind](RECORD)))
    assert kind in {change.kind for change in changes}
    assert all(change.subject.startswith("LA/GOV/MPI") for change in changes)


def test_a_first_registration_lists_all_of_it() -> None:
    """The member, its seal, server, certificate, application and service."""
    assert [change.kind for change in compare(None, published(RECORD))] == [
        ChangeKind.ADD_SEAL,
        ChangeKind.ADD_CERTIFICATE,
        ChangeKind.REGISTER_APPLICATION,
        ChangeKind.REGISTER_MEMBER,
        ChangeKind.REGISTER_SERVER,
        ChangeKind.REGISTER_SERVICE,
    ]


def test_another_contract_is_a_change_of_its_service() -> None:
    """Also when the member's document is the same."""
    after = published(RECORD)
    files = {**after.files, "LA/GOV/MPI/openapi.oda-mis.projects.json": openapi_document("/x")}
    (change,) = compare(published(RECORD), Published(RECORD, files))
    assert (change.kind, change.subject) == (ChangeKind.CHANGE_SERVICE, str(SERVICE))


def test_a_file_that_no_service_names_is_told_too() -> None:
    """Such as an agreement: added, changed, removed."""
    plain, more = published(RECORD), dict(member_files(RECORD))
    more["LA/GOV/MPI/agreement.json"] = b"{}"
    with_file = Published(RECORD, more)
    other = Published(RECORD, {**more, "LA/GOV/MPI/agreement.json": b"[]"})
    kinds = [
        compare(before, after)[0].kind
        for before, after in ((plain, with_file), (with_file, other), (other, plain))
    ]
    assert kinds == [ChangeKind.ADD_FILE, ChangeKind.CHANGE_FILE, ChangeKind.REMOVE_FILE]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(EDITS)), max_size=5))
def test_nothing_is_changed_unseen(kinds: list[ChangeKind]) -> None:
    """Whatever is edited: other files give changes that are not “the same again”, and back again
    they give as many."""
    record = RECORD
    for kind in kinds:
        record = EDITS[kind](record)
    changes = compare(published(RECORD), published(record))
    is_same = format_member(record) == format_member(RECORD)
    assert is_same is ([change.kind for change in changes] == [ChangeKind.RENEW])
    back = compare(published(record), published(RECORD))
    assert is_same is ([change.kind for change in back] == [ChangeKind.RENEW])
    assert digest_of(changes) == digest_of(compare(published(RECORD), published(record)))


# -------------------------------------------------------------------------------------- roles


def test_every_operation_is_somebodys_and_an_observer_acts_nowhere() -> None:
    """The table names every operation; who observes does nothing."""
    assert set(MAY) == set(Operation)
    assert all(MAY[operation] for operation in Operation)
    assert not any(Right.OBSERVER in rights for rights in MAY.values())


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("operation", Operation)
def test_a_caller_may_what_the_table_says(right: Right, operation: Operation) -> None:
    """And else is refused with 403."""
    caller = Caller("one", right, MPI if right.is_of_member else None, "")
    if right in MAY[operation]:
        caller.require(operation)
        return
    with pytest.raises(Problem) as caught:
        caller.require(operation)
    assert (caught.value.code, caught.value.status) == (Code.NOT_AUTHORISED, 403)


@pytest.mark.parametrize("scope", [str(APPLICATION), str(BUDGET)])
def test_a_service_owner_changes_its_services_alone(scope: str) -> None:
    """By the application or the service that its key names; not servers, seals or the rest."""
    owner = Caller("one", Right.SERVICE_OWNER, MPI, "", frozenset({scope}))
    own = compare(published(RECORD), published(EDITS[ChangeKind.REGISTER_SERVICE](RECORD)))
    owner.check_changes(own)
    for kind in (ChangeKind.CHANGE_SERVER, ChangeKind.ADD_SEAL, ChangeKind.DELETE_APPLICATION):
        with pytest.raises(Problem) as caught:
            owner.check_changes(compare(published(RECORD), published(EDITS[kind](RECORD))))
        assert caught.value.code is Code.NOT_AUTHORISED
    stranger = replace(owner, scope=frozenset({"LA/GOV/MPI/other"}))
    with pytest.raises(Problem):
        stranger.check_changes(own)
