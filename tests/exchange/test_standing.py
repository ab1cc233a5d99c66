"""What the registry takes away: it stops calls, says why, and can do nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registry.standing import (
    Disabled,
    Identifier,
    Merger,
    Standing,
    format_mergers,
    format_standing,
    parse_mergers,
    parse_standing,
)
from exchange.trust.admission import admit_member
from exchange.trust.state import RegistryState
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
THINGS: tuple[Identifier, ...] = (MPI, SERVER, APPLICATION, SERVICE)
REASON = Text("A fault", "ມີຂໍ້ຜິດພາດ")
GONE = MemberId("LA", "GOV", "OLD")
MERGER = Merger(
    GONE, MPI, NOW, Text("Decree 5", "ດຳລັດ 5"), {ServiceId.parse("LA/GOV/OLD/a/b"): SERVICE}
)


def state_with(standing: Standing) -> RegistryState:
    """Two members, and what is taken away from them."""
    instance = instance_record()
    return RegistryState.build(
        instance,
        [admit_member(member_record(member), instance, NOW) for member in (MPI, MOF)],
        openapi={},
        schemas={},
        version=1,
        expires=NOW + timedelta(hours=1),
        standing=standing,
    )


def refusal(state: RegistryState, thing: Identifier) -> Problem | None:
    """Why a thing is not found; nothing when it is."""
    look = {
        MemberId: state.member,
        ServerId: state.server,
        ApplicationId: state.application,
        ServiceId: state.service,
    }[type(thing)]
    try:
        look(thing)  # type: ignore[operator]
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize(
    ("disabled", "away"),
    [
        (MPI, {MPI, SERVER, APPLICATION, SERVICE}),
        (SERVER, {SERVER}),
        (APPLICATION, {APPLICATION, SERVICE}),
        (SERVICE, {SERVICE}),
    ],
    ids=["member", "server", "application", "service"],
)
def test_what_is_disabled_goes_with_what_belongs_to_it(
    disabled: Identifier, away: set[Identifier]
) -> None:
    """And is refused with the reason, in both languages; the rest stays."""
    state = state_with(Standing((Disabled(disabled, NOW, REASON),)))
    for thing in THINGS:
        problem = refusal(state, thing)
        assert (problem is not None) is (thing in away), thing
        if problem is not None:
            assert problem.code is Code.DISABLED
            assert (problem.facts["id"], problem.facts["reason_lo"]) == (str(disabled), REASON.lo)
    assert refusal(state, MOF) is None


def test_a_disabled_server_hosts_nothing_and_its_certificate_is_refused() -> None:
    """What comes from it is told why."""
    state = state_with(Standing((Disabled(SERVER, NOW, REASON),)))
    assert state.servers_of(APPLICATION) == ()
    with pytest.raises(Problem) as caught:
        state.auth_server(fingerprint_of(auth_certificate(SERVER)))
    assert caught.value.code is Code.DISABLED


def test_the_seal_of_a_disabled_member_still_proves() -> None:
    """What it sealed before stays verifiable."""
    state = state_with(Standing((Disabled(MPI, NOW, REASON),)))
    assert state.seal_key(fingerprint_of(seal_certificate(MPI)))[0] == MPI


def test_a_call_to_a_merged_member_names_the_successor() -> None:
    """The member, and the service where one is named."""
    state = state_with(Standing((), (MERGER,)))
    problem = refusal(state, ServiceId.parse("LA/GOV/OLD/a/b"))
    assert problem is not None
    assert (problem.code, problem.status) == (Code.MERGED, 410)
    assert problem.facts["successor"] == "LA/GOV/MPI"
    assert problem.facts["successor_service"] == str(SERVICE)
    other = refusal(state, ServiceId.parse("LA/GOV/OLD/a/unnamed"))
    assert other is not None
    assert (other.code, other.facts.get("successor_service")) == (Code.MERGED, None)
    unknown = refusal(state, ServiceId.parse("LA/GOV/NONE/a/b"))
    assert unknown is not None
    assert unknown.code is Code.UNKNOWN_SERVICE


def merged(old: str, into: str, day: int) -> Merger:
    """Service ``a/b`` of the old member becomes the same of the new one."""
    service = {
        ServiceId.parse(f"LA/GOV/{old}/a/b"): ServiceId.parse(f"LA/GOV/{into}/a/b")
    }  # fmt: skip
    parties = MemberId.parse(f"LA/GOV/{old}"), MemberId.parse(f"LA/GOV/{into}")
    return Merger(*parties, datetime(2026, 1, day, tzinfo=UTC), REASON, service)


@pytest.mark.parametrize(
    ("mergers", "successor"),
    [
        ([merged("A", "B", 1), merged("B", "C", 2), merged("C", "D", 3)], "D"),
        ([merged("A", "B", 2), merged("B", "C", 1)], "B"),  # B had come back before
        ([merged("A", "B", 1), merged("B", "A", 2)], "B"),
        ([merged("A", "B", 1), merged("B", "C", 1), merged("C", "B", 1)], "C"),
    ],
)
def test_a_chain_of_mergers_leads_to_the_last(mergers: list[Merger], successor: str) -> None:
    """Nobody is sent to a member that has itself gone; circles end."""
    state = state_with(Standing((), tuple(mergers)))
    problem = refusal(state, ServiceId.parse("LA/GOV/A/a/b"))
    assert problem is not None
    assert problem.facts["successor"] == f"LA/GOV/{successor}"
    assert problem.facts["successor_service"] == f"LA/GOV/{successor}/a/b"


@given(
    st.sets(st.sampled_from(THINGS)),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)
def test_the_documents_read_back(things: set[Identifier], since: datetime) -> None:
    """What is written is what is read, to the second."""
    moment = since.replace(microsecond=0)
    rows = tuple(Disabled(thing, moment, REASON) for thing in things)
    assert set(parse_standing(format_standing(rows))) == set(rows)
    merger = Merger(GONE, MPI, moment, REASON, MERGER.services)
    assert parse_mergers(format_mergers((merger,))) == (merger,)


ROW = b'{"kind":"member","id":"LA/GOV/MPI","since":"2026-11-22T08:00:00Z","reason":{"en":"a","lo":"b"}}'  # noqa: E501
JOINED = b'{"from":"LA/GOV/OLD","into":"LA/GOV/MPI","at":"2026-11-22T08:00:00Z","ground":{"en":"a","lo":"b"},"services":{}}'  # noqa: E501


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"enabled":[]}', ""),
        (b'{"disabled":[%b,%b]}' % (ROW, ROW), "/disabled"),
        (b'{"disabled":[%b]}' % ROW.replace(b"member", b"person"), "/disabled/0/kind"),
        (b'{"disabled":[%b]}' % ROW.replace(b"LA/GOV/MPI", b"LA/GOV"), "/disabled/0/id"),
        (b'{"disabled":[%b]}' % ROW.replace(b"00Z", b"00"), "/disabled/0/since"),
        (b'{"disabled":[%b]}' % ROW.replace(b'"lo":"b"', b'"lo":""'), "/disabled/0/reason/lo"),
        (b'{"disabled":[%b]}' % ROW.replace(b'"kind"', b'"keys":{},"kind"'), "/disabled/0"),
    ],
)
def test_another_form_of_standing_is_refused(data: bytes, place: str) -> None:
    """With the place; there is no way to write anything but what is taken away."""
    with pytest.raises(Problem) as caught:
        parse_standing(data)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"standing.json#{place}"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"mergers":[%b,%b]}' % (JOINED, JOINED), "/mergers"),
        (b'{"mergers":[%b]}' % JOINED.replace(b"OLD", b"MPI"), "/mergers/0/into"),
        (
            b'{"mergers":[%b]}'
            % JOINED.replace(b'"services":{}', b'"services":{"LA/GOV/MOF/a/b":"LA/GOV/MPI/a/b"}'),
            "/mergers/0/services/LA~1GOV~1MOF~1a~1b",
        ),
    ],
)
def test_another_form_of_mergers_is_refused(data: bytes, place: str) -> None:
    """With the place: twice the same member, itself, services of others."""
    with pytest.raises(Problem) as caught:
        parse_mergers(data)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"mergers.json#{place}"
