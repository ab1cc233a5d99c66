"""The state of an instance and its look-ups."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import Environment, MemberRecord
from exchange.trust.admission import AdmittedMember, admit_member
from exchange.trust.shared_schemas import schema_id
from exchange.trust.state import RegistryState
from tests.registry.documents import HeldDocument
from tests.registry.simulator import (
    MOF,
    MPI,
    NOW,
    auth_certificate,
    instance_record,
    member_record,
    seal_certificate,
)

SERVER = ServerId.parse("LA/GOV/MPI/ss1")
APPLICATION = ApplicationId.parse("LA/GOV/MPI/oda-mis")
SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")


def state_of(*records: MemberRecord) -> RegistryState:
    instance = instance_record()
    return RegistryState.build(
        instance,
        [admit_member(record, instance, NOW) for record in records],
        openapi={SERVICE: HeldDocument(b"{}")},
        schemas={},
        version=7,
        expires=NOW + timedelta(hours=1),
    )


def test_everything_is_found_by_its_id() -> None:
    """Members, applications, services, servers, seal keys and TLS certificates."""
    state = state_of(member_record(MPI), member_record(MOF))
    assert state.member(MOF).member == MOF
    assert state.application(APPLICATION).id == APPLICATION
    assert state.service(SERVICE).openapi_target == "LA/GOV/MPI/openapi.oda-mis.projects.json"
    assert state.server(SERVER).address == "https://127.0.0.1:5501"
    assert state.servers_of(APPLICATION) == (state.server(SERVER),)
    certificate = seal_certificate(MPI)
    member, key, found = state.seal_key(fingerprint_of(certificate))
    assert (member, key.keyid, found) == (MPI, fingerprint_of(certificate), certificate)
    assert state.auth_server(fingerprint_of(auth_certificate(SERVER))) == SERVER
    assert state.complaints == ()


def test_a_members_journals_are_at_all_servers_that_speak_for_it() -> None:
    """Its own, and another member's that hosts an application of it; each once."""
    record, other = member_record(MPI), member_record(MOF)
    (hosting,) = other.servers
    applications = tuple(
        replace(one, servers=(*one.servers, hosting.id)) for one in record.applications
    )
    state = state_of(replace(record, applications=applications), other)
    assert [server.id for server in state.servers_for(MPI)] == [SERVER, hosting.id]
    assert [server.id for server in state.servers_for(MOF)] == [hosting.id]
    with pytest.raises(Problem) as caught:
        state.servers_for(MemberId("LA", "GOV", "X"))
    assert caught.value.code is Code.UNKNOWN_MEMBER


Look = Callable[[RegistryState], object]


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (lambda state: state.member(MemberId("LA", "GOV", "X")), Code.UNKNOWN_MEMBER),
        (
            lambda state: state.application(ApplicationId("LA", "GOV", "MPI", "x")),
            Code.UNKNOWN_APPLICATION,
        ),
        (
            lambda state: state.servers_of(ApplicationId("LA", "GOV", "MPI", "x")),
            Code.UNKNOWN_APPLICATION,
        ),
        (
            lambda state: state.service(ServiceId("LA", "GOV", "MPI", "oda-mis", "x")),
            Code.UNKNOWN_SERVICE,
        ),
        (lambda state: state.server(ServerId("LA", "GOV", "MPI", "x")), Code.UNKNOWN_SERVER),
        (lambda state: state.seal_key("00"), Code.CERTIFICATE_MISMATCH),
        (lambda state: state.auth_server("00"), Code.PEER_CERTIFICATE_UNTRUSTED),
    ],
)
def test_what_is_not_there_has_a_code_of_its_own(look: Look, code: Code) -> None:
    """Each look-up fails with its own code."""
    with pytest.raises(Problem) as caught:
        look(state_of(member_record(MPI)))
    assert caught.value.code is code


def seal_of(member: MemberId, name: str = "one") -> Callable[[MemberRecord], MemberRecord]:
    return lambda record: replace(record, seal_certificates=(seal_certificate(member, name),))


def auth_of(server: ServerId, name: str = "one") -> Callable[[MemberRecord], MemberRecord]:
    def change(record: MemberRecord) -> MemberRecord:
        other = replace(record.servers[0], auth_certificates=(auth_certificate(server, name),))
        return replace(record, servers=(other,))

    return change


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (seal_of(MOF), [Code.CERTIFICATE_MISMATCH]),
        (seal_of(MPI, "foreign"), [Code.CERTIFICATE_UNTRUSTED]),
        (auth_of(ServerId.parse("LA/GOV/MPI/ss2")), [Code.CERTIFICATE_MISMATCH]),
        (auth_of(SERVER, "foreign"), [Code.PEER_CERTIFICATE_UNTRUSTED]),
        (
            lambda record: replace(record, seal_certificates=(auth_certificate(SERVER),)),
            [Code.CERTIFICATE_UNTRUSTED],
        ),
    ],
)
def test_a_certificate_that_does_not_qualify_is_left_out_and_told(
    change: Callable[[MemberRecord], MemberRecord], codes: list[Code]
) -> None:
    """Another member's, another server's, of a foreign authority, of another purpose: only that
    certificate is missing."""
    state = state_of(change(member_record(MPI)), member_record(MOF))
    assert [problem.code for problem in state.complaints] == codes
    assert all(str(problem.facts["owner"]).startswith("LA/GOV/MPI") for problem in state.complaints)
    assert len(state.indexes.seals) + len(state.indexes.auths) == 3
    assert set(state.members) == {MPI, MOF}


def test_certificates_out_of_time_are_left_out() -> None:
    """An expired and a not yet valid certificate are told with their own code."""
    instance, record = instance_record(), member_record(MPI)
    for at in (NOW - timedelta(hours=3), NOW + timedelta(days=400)):
        admitted = admit_member(record, instance, at)
        assert admitted.seals == {}
        assert [problem.code for problem in admitted.complaints] == [
            Code.CERTIFICATE_EXPIRED,
            Code.PEER_CERTIFICATE_EXPIRED,
        ]


def test_a_judgement_is_due_again_when_the_first_certificate_ends() -> None:
    """review_at is the end of the auth certificate of 90 days, not of the seal of a year."""
    admitted = admit_member(member_record(MPI), instance_record(), NOW)
    assert admitted.review_at == auth_certificate(SERVER).not_valid_after_utc
    early = admit_member(member_record(MPI), instance_record(), NOW - timedelta(hours=3))
    assert early.review_at == auth_certificate(SERVER).not_valid_before_utc


def test_production_knows_no_development_certificates() -> None:
    """Where the instance says production, none of them is in the state."""
    admitted = admit_member(member_record(MPI), instance_record(Environment.PRODUCTION), NOW)
    assert admitted.seals == {}
    assert {problem.code for problem in admitted.complaints} == {Code.DEVELOPMENT_ONLY}


def test_an_unknown_server_of_an_application_is_passed_over() -> None:
    """An application may name a server that its owner has not registered yet."""
    record = member_record(MPI)
    other = ServerId.parse("LA/GOV/DGC/ss9")
    application = replace(record.applications[0], servers=(other, SERVER))
    state = state_of(replace(record, applications=(application,)))
    assert [server.id for server in state.servers_of(APPLICATION)] == [SERVER]


def test_a_state_does_not_change() -> None:
    """Nobody can put anything into a state that others use."""
    state = state_of(member_record(MPI))
    with pytest.raises(TypeError):
        state.members[MOF] = member_record(MOF)  # type: ignore[index]
    with pytest.raises(AttributeError):
        state.version = 8  # type: ignore[misc]
    longer = state.prolonged(NOW + timedelta(hours=2))
    assert (longer.expires, state.expires) == (NOW + timedelta(hours=2), NOW + timedelta(hours=1))


def test_look_ups_are_cheap() -> None:
    """A look-up of the message path takes microseconds, whatever the number of members."""
    state = state_of(member_record(MPI), member_record(MOF))
    keyid = fingerprint_of(seal_certificate(MPI))
    started = time.thread_time()  # its own work, however busy the machine is
    for _ in range(10_000):
        state.seal_key(keyid)
    assert (time.thread_time() - started) / 10_000 < 20e-6


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"$id":1}', b"nonsense"])
def test_a_schema_needs_an_id(data: bytes) -> None:
    """A shared schema is known by its $id."""
    with pytest.raises(Problem) as caught:
        schema_id(data, "schemas/x.1.json")
    assert caught.value.code is Code.INVALID_DOCUMENT


@given(st.lists(st.tuples(st.sampled_from([MPI, MOF]), st.integers(0, 5)), max_size=8))
def test_a_state_made_of_another_is_the_one_made_anew(steps: list[tuple[MemberId, int]]) -> None:
    """Whatever members change, come and go, one after the other, every index is as of a whole."""
    known: dict[MemberId, AdmittedMember] = {}
    state = changing(known)
    for member, kind in steps:
        record = member_record(member)
        if kind == 0:
            known.pop(member, None)
        else:
            if kind == 2:
                record = replace(record, servers=())
            elif kind == 3:
                record = replace(record, services=())
            elif kind == 4:  # the other's servers speak for its applications
                hosts = tuple(one.id for one in member_record(MOF).servers)
                moved = tuple(replace(one, servers=hosts) for one in record.applications)
                record = replace(record, applications=moved)
            elif kind == 5:
                record = replace(record, seal_certificates=())
            known[member] = admit_member(record, instance_record(), NOW)
        documents = {one.id: HeldDocument(b"{}") for one in record.services if member in known}
        state = state.after(
            {member: known.get(member)},
            openapi=documents,
            schemas={},
            elements=state.elements,
            version=1,
            expires=NOW,
        )
        assert state == changing(known)


def changing(known: dict[MemberId, AdmittedMember]) -> RegistryState:
    """The state of these members, made anew."""
    return RegistryState.build(
        instance_record(),
        known.values(),
        openapi={
            one.id: HeldDocument(b"{}")
            for member in known.values()
            for one in member.record.services
        },
        schemas={},
        version=1,
        expires=NOW,
    )
