"""Who uses a service is asked before it breaks, and told what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from exchange.agreements import open_agreement, revocation_of, seal_revocation
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem, Text
from exchange.registrations import MemberRecord, ServiceType
from registry.actors.roles import Caller, Right
from registry.offline.member import MemberFolder
from registry.offline.operator import draft_request
from registry.offline.operator import signed as sign_draft
from registry.requests.lifecycle import Kind, Policy, State
from registry.requests.orders import Order, Proposal, format_order, format_proposal
from registry.requests.submissions import format_submission
from tests.registry.simulator import MOF, MPI, NOW, authority, member_record
from tests.registry.test_evolution import (
    BREAKING,
    FILE,
    OLD,
    PROVINCE,
    SERVICE,
    agreement,
    consent,
    document,
    province,
    publish,
    signed,
)
from tests.registry.test_registrar import OPERATOR, TERMS, Office, code_of
from tests.registry.world import described

CONSUMER = Caller("mof", Right.ADMINISTRATOR, MOF, "")
STRANGER = Caller("mone", Right.ADMINISTRATOR, MemberId.parse("LA/GOV/MONE"), "")
PAPER = "agreement.mof.json"
WHY = Text("By decree 12", "ຕາມດຳລັດ 12")


class Offices(Office):
    """A registrar with the folders of both members."""

    def __init__(self, folder: Path, **named: Any) -> None:
        super().__init__(folder, **named)
        self._folders = {MPI: self.member, MOF: MemberFolder.create(folder / "mof", MOF)}

    def put(
        self, member: MemberId, record: MemberRecord | None = None, *, asks: bool = False,
        **files: bytes,
    ) -> int:  # fmt: skip
        """Submit for a member; names of files with ``_`` for the dot."""
        what = described(record or member_record(member))
        named = {name.replace("__", "/").replace("_", "."): data for name, data in files.items()}
        if FILE in what.files and "openapi" not in files:
            named.setdefault(FILE, OLD)
        if "openapi" in files:
            named[FILE] = named.pop("openapi")
        what = replace(what, files={**what.files, **named})
        submission = self._folders[member].sign(what, 0, NOW)
        body = format_submission(submission)
        return self.registrar.submit(body, OPERATOR, NOW, asks=asks).id

    def agree(self, number: int) -> None:
        """Approve whatever it is, with the targets keys where they are needed."""
        row = self.store.request(number)
        own = None
        if row.kind.needs_delegation:
            draft = draft_request(self.own(), row.kind, row.body, NOW, [], NOW)
            own = sign_draft(self.own(), draft, self.targets_signers)
        self.registrar.approve(
            number, own and own.targets, {} if own is None else own.files, OPERATOR, NOW
        )

    def told(self, member: MemberId) -> list[tuple[str, str, str]]:
        """The notices that a member has of others' acts."""
        own = {"approve", "publish", "decline", "withdraw", "replace", "revoke"}
        rows = self.store.notices(member=member)
        return [(row.act, row.text_en, row.text_lo) for row in rows if row.act not in own]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Offices]:
    """MPI has a service that MOF uses; only MOF, the consumer, publishes the agreement."""
    office = Offices(tmp_path)
    office.agree(office.put(MPI))
    office.agree(office.put(MOF, agreement_mof_json=agreement()))
    yield office
    office.store.close()


def without_services(member: MemberId) -> MemberRecord:
    return replace(member_record(member), services=())


def refusal(office: Offices, record: MemberRecord | None = None, **files: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        office.put(MPI, record, **files)
    return caught.value


def test_the_consumers_agreement_counts(office: Offices) -> None:
    """Who publishes an agreement that both have sealed does not matter."""
    problem = refusal(office, openapi=BREAKING)
    assert (problem.code, problem.facts["missing"]) == (Code.BREAKING_CHANGE, ["LA/GOV/MOF"])
    assert "LA/GOV/MOF (agreement mof-mpi-2026, until 2027-01-01)" in problem.detail


def test_a_service_that_is_used_does_not_go_unasked(office: Offices) -> None:
    """It is the breaking change that it is; the consumers are named, and consent to just this."""
    problem = refusal(office, without_services(MPI))
    assert problem.code is Code.BREAKING_CHANGE
    assert "LA/GOV/MOF (agreement mof-mpi-2026, until 2027-01-01)" in problem.detail
    assert "ບໍລິການຖືກຖອນ" in str(problem.facts["breaks_lo"])
    office.agree(office.put(MPI, without_services(MPI), consent_mof_json=consent(b"", OLD)))
    assert office.told(MOF)[0][0] == "deleted"
    assert SERVICE in office.told(MOF)[0][1]


def test_a_service_without_a_document_does_not_go_unasked_either(tmp_path: Path) -> None:
    """A service of type REST has consumers, too."""
    office = Offices(tmp_path)
    record = member_record(MPI)
    (service,) = record.services
    rest = replace(service, type=ServiceType.REST, openapi=None)
    office.agree(office.put(MPI, replace(record, services=(rest,)), agreement_mof_json=agreement()))
    assert refusal(office, without_services(MPI)).code is Code.BREAKING_CHANGE
    office.store.close()


@pytest.mark.parametrize("into", [None, MPI], ids=["deleted", "merged"])
def test_a_consumer_that_is_gone_holds_nobody_up(office: Offices, into: MemberId | None) -> None:
    """Its agreement may run for years, with nobody left to consent; servers admit it no more."""
    number = office.put(MPI, asks=True, openapi=BREAKING, agreement_mof_json=agreement())
    assert code_of(lambda: office.agree(number)) is Code.BREAKING_CHANGE
    kind = Kind.DELETE if into is None else Kind.MERGE
    row = office.registrar.order(format_order(Order(kind, MOF, WHY, into)), OPERATOR, NOW)
    office.agree(row.id)
    office.agree(number)
    assert office.store.request(number).state is State.APPROVED


def test_a_revocation_counts_where_its_own_party_publishes_it(office: Offices) -> None:
    """MOF's own ends the agreement; the same file in the role of MPI says nothing."""
    known = open_agreement(agreement(), authority().authorities, NOW)
    revocation = revocation_of(known, NOW - timedelta(hours=1), Text("over", "ໝົດແລ້ວ"))
    ended = seal_revocation(revocation, *signed(MOF))
    assert refusal(office, without_services(MPI), end_json=ended).code is Code.BREAKING_CHANGE
    office.agree(office.put(MOF, agreement_mof_json=agreement(), end_json=ended))
    assert office.put(MPI, without_services(MPI)) > 0


def test_a_breaking_change_waits_for_those_who_are_asked(office: Offices) -> None:
    """Told at once with the place, it is not approved before, and the provider hears of it."""
    number = office.put(MPI, asks=True, openapi=BREAKING)
    ((act, english, lao),) = office.told(MOF)
    assert (act, f"saphan registry consent {number}" in english) == ("asked to consent", True)
    assert "ຕ້ອງມີພາຣາມິເຕີນີ້" in lao
    assert code_of(lambda: office.agree(number)) is Code.BREAKING_CHANGE
    looked = office.registrar.look(number, NOW)
    assert "BreakingChange" in looked["obstacle"]
    assert looked["breaking"][0]["missing"] == ["LA/GOV/MOF"]
    office.registrar.consent(number, [consent(BREAKING, OLD)], CONSUMER, NOW)
    assert office.told(MPI)[-1][0] == "consent"
    assert office.registrar.look(number, NOW)["obstacle"] is None
    office.agree(number)
    assert office.told(MOF)[-1][0] == "breaking change"


def test_what_needs_no_approval_waits_for_consents(tmp_path: Path) -> None:
    """Where nobody needs to approve, a breaking change is still not published before."""
    free = Policy(default=Policy().needed([]))
    office = Offices(tmp_path, terms=replace(TERMS, approval=free))
    office.agree(office.put(MPI, agreement_mof_json=agreement()))
    number = office.put(MPI, asks=True, openapi=BREAKING, agreement_mof_json=agreement())
    assert office.store.request(number).state is State.SUBMITTED
    office.registrar.consent(number, [consent(BREAKING, OLD)], CONSUMER, NOW)
    office.agree(number)
    assert office.store.request(number).state is State.APPROVED
    office.store.close()


@pytest.mark.parametrize(
    ("given", "caller", "code"),
    [
        (consent(BREAKING, OLD), STRANGER, Code.NOT_AUTHORISED),
        (consent(BREAKING, OLD, member=MPI), OPERATOR, Code.CONFLICT),
        (consent(OLD, BREAKING), CONSUMER, Code.CONFLICT),
        (b"{}", CONSUMER, Code.INVALID_DOCUMENT),
    ],
    ids=["somebody else's", "not asked", "another step", "none"],
)
def test_no_other_consent_is_taken_in(
    office: Offices, given: bytes, caller: Caller, code: Code
) -> None:
    """Only one that is asked for, handed in by its member or the operator; nothing is recorded."""
    number = office.put(MPI, asks=True, openapi=BREAKING)
    assert code_of(lambda: office.registrar.consent(number, [given], caller, NOW)) is code
    assert office.registrar.look(number, NOW)["breaking"][0]["missing"] == ["LA/GOV/MOF"]


MARK = {
    "since": "2026-03-01", "until": "2027-06-30", "successor": f"{SERVICE}-2",
    "reason": {"en": "Replaced", "lo": "ຖືກແທນແລ້ວ"},
}  # fmt: skip


def test_an_announced_end_is_told_once(office: Offices) -> None:
    """To whom may call the operation, with the day and what comes after it."""
    marked = document(**{"x-saphan-deprecated": MARK})
    office.agree(office.put(MPI, openapi=marked))
    ((act, english, lao),) = office.told(MOF)
    assert act == "deprecated"
    assert f"{SERVICE}: GET /projects is to go from 2027-06-30 on → {SERVICE}-2" in english
    assert "ຖືກແທນແລ້ວ" in lao
    again = json.loads(marked)
    again["info"]["title"] = "Other"
    office.agree(office.put(MPI, openapi=orjson.dumps(again)))
    assert len(office.told(MOF)) == 1


def test_an_end_of_an_operation_that_is_not_granted_is_not_told(office: Offices) -> None:
    """The notice goes to whom it concerns."""
    more = json.loads(OLD)
    operation = {"responses": {"200": {"description": ""}}, "x-saphan-deprecated": MARK}
    more["paths"]["/more"] = {"get": operation}
    office.agree(office.put(MPI, openapi=orjson.dumps(more)))
    assert office.told(MOF) == []


def test_an_announced_end_of_a_schema_is_told_to_all_who_build_on_it(office: Offices) -> None:
    """The provider whose service refers to it, and its consumer."""
    publish(office, schemas__province_1_json=province("1.0.0"))
    schema = {"$ref": PROVINCE}
    uses = document(parameters=[{"name": "p", "in": "query", "schema": schema}])
    office.agree(office.put(MPI, openapi=uses))
    marked = province("1.0.1", **{"x-saphan-deprecated": MARK})
    publish(office, schemas__province_1_json=marked)
    for member in (MPI, MOF):
        assert [act for act, _, _ in office.told(member)] == ["deprecated"]


def test_who_uses_it_is_told_of_orders(office: Offices) -> None:
    """Switched off, on again, merged: each with the reason, a merger with the successor."""
    for kind in (Kind.DISABLE, Kind.ENABLE):
        order = Order(kind, member_record(MPI).applications[0].id, WHY)
        row = office.registrar.order(format_order(order), OPERATOR, NOW)
        if row.state is State.SUBMITTED:
            office.agree(row.id)
    old, new = (member_record(one).services[0].id for one in (MPI, MOF))
    merger = Order(Kind.MERGE, MPI, WHY, MOF, {old: new})
    office.agree(office.registrar.order(format_order(merger), OPERATOR, NOW).id)
    assert [act for act, _, _ in office.told(MOF)] == ["disabled", "enabled", "merged"]
    assert all("By decree 12" in english for _, english, _ in office.told(MOF))
    assert f"{old} → {new}" in office.told(MOF)[-1][1]


def test_a_schema_is_withdrawn_by_a_request(office: Offices) -> None:
    """Proposed by a member, refused while something refers to it, approved with the targets
    keys, and nothing else is taken out with it."""
    publish(office, schemas__province_1_json=province("1.0.0"))
    gone = format_proposal(Proposal("schemas/province.1.json", None))
    schema = {"$ref": PROVINCE}
    uses = document(parameters=[{"name": "p", "in": "query", "schema": schema}])
    office.agree(office.put(MPI, openapi=uses))
    assert code_of(lambda: office.registrar.propose(gone, CONSUMER, NOW)) is Code.CONFLICT
    office.agree(office.put(MPI, openapi=OLD, consent_mof_json=consent(OLD, uses)))
    row = office.registrar.propose(gone, CONSUMER, NOW)
    assert [change.kind for change in row.changes] == ["withdraw"]
    before = set(office.store.files("targets"))
    office.agree(row.id)
    assert before - set(office.store.files("targets")) == {"schemas/province.1.json"}
    assert PROVINCE not in office.registrar.directory.schemas


@pytest.mark.parametrize("path", ["instance.json", "schemas/none.1.json", "mergers.json"])
def test_what_is_needed_or_not_there_is_not_withdrawn(office: Offices, path: str) -> None:
    """The instance and the dictionary stay."""
    gone = format_proposal(Proposal(path, None))
    assert code_of(lambda: office.registrar.propose(gone, CONSUMER, NOW)) is Code.CONFLICT
