"""Rules of change: what may be published without asking, and what takes everybody's consent."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from console.cli.registry.shared import warning_lines
from exchange.agreements import seal_agreement
from exchange.identifiers import MemberId, ServiceId
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from exchange.registrations import ServiceType, openapi_file
from exchange.registry.consents import open_consent, seal_consent
from registry.offline.operator import sign_files
from registry.requests.submissions import format_submission
from tests.registry.simulator import (
    KEYS,
    MOF,
    MPI,
    NOW,
    authority,
    member_record,
    openapi_document,
    seal_certificate,
)
from tests.registry.test_registrar import OPERATOR, Office
from tests.registry.world import described

SERVICE = "LA/GOV/MPI/oda-mis/projects"
FILE = openapi_file(ServiceId.parse(SERVICE))
PATH = f"{MPI}/{FILE}"
PROVINCE = "https://schemas.saphan.la/province/1"
AGREEMENT = {
    "id": "mof-mpi-2026",
    "version": 1,
    "title": {"en": "Budget", "lo": "ງົບປະມານ"},
    "provider": str(MPI),
    "consumer": "LA/GOV/MOF/budget",
    "grants": [
        {
            "service": SERVICE,
            "endpoints": [{"method": "GET", "path": "/projects"}],
            "fields": ["*"],
        }
    ],
    "purposes": [],
    "quota": {"per_day": None, "per_second": None},
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_until": "2027-01-01T00:00:00Z",
    "retention": "bodies",
    "contacts": [],
}


def signed(member: MemberId) -> tuple[Any, Any]:
    """A member's seal key and certificate."""
    certificate = seal_certificate(member)
    return signing_key(KEYS[certificate], certificate), certificate


def agreement(**changes: Any) -> bytes:
    """An agreement between MPI and MOF over the service, sealed by both."""
    document = orjson.dumps(AGREEMENT | changes)
    return seal_agreement(seal_agreement(document, *signed(MPI)), *signed(MOF))


def consent(after: bytes, before: bytes, of: str = SERVICE, member: MemberId = MOF) -> bytes:
    return seal_consent(of, before, after, *signed(member))


def document(**changes: Any) -> bytes:
    value = json.loads(openapi_document())
    value["paths"]["/projects"]["get"].update(changes)
    return orjson.dumps(value)


OLD = document()
BREAKING = document(
    parameters=[{"name": "year", "in": "query", "required": True, "schema": {"type": "integer"}}]
)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """MPI is registered, its service is used by MOF under an agreement."""
    office = Office(tmp_path)
    office.approve(office.submit(files={FILE: OLD, "agreement.mof.json": agreement()}))
    yield office
    office.store.close()


def submit(office: Office, **files: bytes) -> Problem | None:
    try:
        office.submit(
            files={FILE: BREAKING, "agreement.mof.json": agreement()}
            | {name.replace("_", "."): data for name, data in files.items()}
        )
    except Problem as problem:
        return problem
    return None


def test_a_breaking_change_of_a_service_is_refused(office: Office) -> None:
    """It is refused with every place and reason, and with the consumers who have not consented."""
    problem = submit(office)
    assert problem is not None
    assert problem.code is Code.BREAKING_CHANGE
    assert problem.where == f"{PATH}#/paths/~1projects/get/parameters/0"
    assert problem.facts["missing"] == ["LA/GOV/MOF"]
    assert "a parameter is required (year)" in str(problem.facts["breaks"])
    assert "ຕ້ອງມີພາຣາມິເຕີນີ້ (year)" in str(problem.facts["breaks_lo"])


def test_what_breaks_nobody_who_is_known_is_told_all_the_same(tmp_path: Path) -> None:
    """An agreement that is pinned and not published is not known to the registry: the change can be
    published, and whoever hands it in and approves reads every place and reason."""
    office = Office(tmp_path)
    office.approve(office.submit(files={FILE: OLD}))
    number = office.submit(files={FILE: BREAKING})
    looked = office.registrar.look(number, NOW)
    (breaking,) = looked["breaking"]
    assert (breaking["of"], breaking["users"], breaking["missing"]) == (SERVICE, [], [])
    shown = "\n".join(warning_lines(looked))
    assert f"this breaks {SERVICE}, used by nobody whose agreement is published" in shown
    assert "/paths/~1projects/get/parameters/0: a parameter is required (year)" in shown
    assert "ຕ້ອງມີພາຣາມິເຕີນີ້ (year)" in shown
    assert looked["obstacle"] is None
    office.approve(number)
    assert office.registrar.directory.openapi(ServiceId.parse(SERVICE)) == BREAKING
    office.store.close()


def test_a_compatible_change_is_published(office: Office) -> None:
    """What breaks nobody needs nobody's consent."""
    wider = document(parameters=[{"name": "year", "in": "query", "schema": {"type": "integer"}}])
    office.approve(office.submit(files={FILE: wider, "agreement.mof.json": agreement()}))
    assert office.registrar.directory.openapi(ServiceId.parse(SERVICE)) == wider


def test_with_every_consumers_consent_it_is_published(office: Office) -> None:
    """A consent to just this step lets the change through."""
    assert submit(office, consent_mof_json=consent(BREAKING, OLD)) is None


@pytest.mark.parametrize(
    "given",
    [
        consent(document(summary="other"), OLD),
        consent(BREAKING, document(summary="other")),
        consent(BREAKING, OLD, of=f"{SERVICE}-2"),
        consent(BREAKING, OLD, member=MPI),
        consent(BREAKING, OLD).replace(b'"signature":"', b'"signature":"AA'),
        b'{"signatures":[]}',
    ],
    ids=["other new", "other old", "other service", "other member", "broken seal", "no consent"],
)
def test_no_other_consent_counts(office: Office, given: bytes) -> None:
    """A consent is good for one step of one document, with the consumer's own seal."""
    problem = submit(office, consent_mof_json=given)
    assert problem is not None
    assert problem.code is Code.BREAKING_CHANGE


def test_who_drops_the_agreement_still_needs_the_consent(office: Office) -> None:
    """Agreements that were published count, so leaving one out frees nobody."""
    with pytest.raises(Problem) as caught:
        office.submit(files={FILE: BREAKING})
    assert caught.value.code is Code.BREAKING_CHANGE


def test_another_name_of_the_file_changes_nothing(office: Office) -> None:
    """A document is compared by its service: under another file name, and when it is gone."""
    record = member_record(MPI)
    (service,) = record.services
    for changed in (
        replace(service, openapi="other.json"),
        replace(service, type=ServiceType.REST, openapi=None),
    ):
        what = described(replace(record, services=(changed,)))
        files = {"member.json": what.files["member.json"], "agreement.mof.json": agreement()}
        if changed.openapi is not None:
            files[changed.openapi] = BREAKING
        submission = office.member.sign(replace(what, files=files), 0, NOW)
        with pytest.raises(Problem) as caught:
            office.registrar.submit(format_submission(submission), OPERATOR, NOW)
        assert caught.value.code is Code.BREAKING_CHANGE


def test_an_agreement_that_has_ended_asks_for_nothing(tmp_path: Path) -> None:
    """Only consumers under agreement are asked."""
    office = Office(tmp_path)
    ended = {"agreement.mof.json": agreement(valid_until="2026-03-01T00:00:00Z")}
    office.approve(office.submit(files={FILE: OLD, **ended}))
    assert office.submit(files={FILE: BREAKING, **ended}) > 0
    office.store.close()


def test_an_announced_end_frees_nobody_whose_agreement_lasts_longer(tmp_path: Path) -> None:
    """Whatever day was announced, an operation is not taken from a consumer whose agreement runs;
    when that has ended too, it may go."""
    for until, refused in (("2027-01-01T00:00:00Z", True), ("2026-03-01T00:00:00Z", False)):
        office = Office(tmp_path / until[:4])
        mark = {
            "since": "2025-01-01",
            "until": "2026-03-01",
            "reason": {"en": "Replaced", "lo": "ຖືກແທນແລ້ວ"},
        }
        old = json.loads(document(**{"x-saphan-deprecated": mark}))
        old["paths"]["/more"] = {"get": {"responses": {"200": {"description": ""}}}}
        new = copy.deepcopy(old)
        del new["paths"]["/projects"]
        files = {"agreement.mof.json": agreement(valid_until=until)}
        office.approve(office.submit(files={FILE: orjson.dumps(old), **files}))
        if refused:
            with pytest.raises(Problem):
                office.submit(files={FILE: orjson.dumps(new), **files})
        else:
            assert office.submit(files={FILE: orjson.dumps(new), **files})
        office.store.close()


# -- shared schemas ------------------------------------------------------------------------------


def province(version: str, **members: Any) -> bytes:
    return orjson.dumps({"$id": PROVINCE, "x-saphan-version": version, **members})


def publish(office: Office, **files: bytes) -> None:
    paths = {
        name.replace("code_lists", "code-lists").replace("__", "/").replace("_", "."): data
        for name, data in files.items()
    }
    signed_own = sign_files(office.own(), paths, office.targets_signers, NOW)
    office.registrar.publish_own(signed_own.targets, signed_own.files, OPERATOR, NOW)


def refusal(office: Office, **files: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        publish(office, **files)
    return caught.value


def test_a_schema_under_the_same_major_stays_compatible(office: Office) -> None:
    """A schema that nobody uses may change; one that a service uses may change compatibly, and
    otherwise with the consent of the provider and of its consumers."""
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": PROVINCE}}}}}
    first = province("1.0.0", maxLength=9)
    publish(office, schemas__province_1_json=first)
    second = province("1.1.0", maxLength=8)
    publish(office, schemas__province_1_json=second)
    office.approve(
        office.submit(
            files={
                FILE: document(responses=answer),
                "agreement.mof.json": agreement(),
                "consent.mof.json": consent(document(responses=answer), OLD),
            }
        )
    )
    third = province("1.2.0", maxLength=7)
    problem = refusal(office, schemas__province_1_json=third)
    assert problem.code is Code.BREAKING_CHANGE
    assert problem.where == "schemas/province.1.json#/maxLength"
    assert problem.facts["missing"] == ["LA/GOV/MOF", "LA/GOV/MPI"]
    publish(
        office,
        schemas__province_1_json=third,
        consents__mof_json=consent(third, second, PROVINCE),
        consents__mpi_json=consent(third, second, PROVINCE, MPI),
    )
    assert office.registrar.directory.schemas[PROVINCE] == third


def test_a_changed_schema_has_a_higher_version(office: Office) -> None:
    """Its content and its version change together, within the major of its file."""
    publish(office, schemas__province_1_json=province("1.0.0"))
    assert refusal(office, schemas__province_1_json=province("1.0.0", title="x")).where == (
        "schemas/province.1.json#/x-saphan-version"
    )
    assert refusal(office, schemas__province_1_json=province("2.0.0")).code is Code.INVALID_DOCUMENT
    publish(office, schemas__province_1_json=province("1.0.1", title="x"))


def test_a_schema_that_is_used_stays(office: Office) -> None:
    """A shared schema is withdrawn only when nothing refers to it."""
    publish(office, schemas__province_1_json=province("1.0.0"))
    other = {"$id": "https://schemas.saphan.la/a/1", "$ref": PROVINCE}
    publish(office, schemas__a_1_json=orjson.dumps(other))
    from tuf.api.metadata import Targets

    from registry.publication.publish import next_targets, read, sign

    current = read(Targets, office.registrar.targets_bytes(), "targets")
    without = next_targets(current, "LA", expires=NOW + timedelta(days=30))
    del without.targets["schemas/province.1.json"]
    with pytest.raises(Problem) as caught:
        office.registrar.publish_own(sign(without, office.targets_signers), {}, OPERATOR, NOW)
    assert caught.value.code is Code.CONFLICT


def test_a_consent_names_its_step() -> None:
    """What was sealed comes back, and only under a trusted seal."""
    found = open_consent(consent(BREAKING, OLD), authority().authorities, NOW)
    assert (found.consumer, found.of) == (MOF, SERVICE)
    with pytest.raises(Problem):
        open_consent(consent(BREAKING, OLD), authority(name="two").authorities, NOW)
    assert member_record(MPI).services


# -- code lists ----------------------------------------------------------------------------------


def code_list(version: str, *codes: str) -> bytes:
    entries = [{"code": code, "name": {"en": code, "lo": "ລະຫັດ"}} for code in codes]
    return orjson.dumps(
        {
            "$id": "https://schemas.saphan.la/code-lists/colour",
            "version": version,
            "title": {"en": "Colour", "lo": "ສີ"},
            "source": "a test",
            "codes": entries,
        }
    )


def test_a_code_list_grows_and_never_shrinks(office: Office) -> None:
    """New codes are published with a higher version; a code that a service uses stays."""
    publish(office, code_lists__colour_json=code_list("1.0.0", "red"))
    assert "/code-lists/colour" in "".join(office.registrar.directory.schemas)
    same = refusal(office, code_lists__colour_json=code_list("1.0.0", "red", "blue"))
    assert same.where == "code-lists/colour.json#/version"
    publish(office, code_lists__colour_json=code_list("1.1.0", "red", "blue"))
    schema = {"$ref": "https://schemas.saphan.la/code-lists/colour"}
    after = document(
        parameters=[{"name": "colour", "in": "query", "schema": schema}],
    )
    office.approve(office.submit(files={FILE: after, "agreement.mof.json": agreement()}))
    problem = refusal(office, code_lists__colour_json=code_list("1.2.0", "blue"))
    assert problem.code is Code.BREAKING_CHANGE
    assert problem.where == "code-lists/colour.json#/enum"
    assert '("red")' in str(problem.facts["breaks"])


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (code_list("1.0.0", "red", "red"), "/codes/1/code"),
        (code_list("1.0.0"), "/codes"),
        (code_list("1", "red"), "/version"),
        (code_list("1.0.0", "r d"), "/codes/0/code"),
        (code_list("1.0.0", "red").replace(b"lists/colour", b"lists/color"), "/$id"),
    ],
)
def test_a_code_list_that_is_none(office: Office, data: bytes, pointer: str) -> None:
    """What is wrong in a code list is told at its place, and nothing is published."""
    assert (
        refusal(office, code_lists__colour_json=data).where == f"code-lists/colour.json#{pointer}"
    )
