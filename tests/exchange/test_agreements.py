"""Rules of exchange.agreements and of its seal, exchange.jws."""

from __future__ import annotations

import copy
import json
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from certs.issue import Issued, private_key_pem
from exchange.agreements import (
    Agreement,
    Contact,
    Keep,
    Limits,
    Party,
    Quota,
    Retention,
    format_agreement,
    open_agreement,
    parse_agreement,
    read_agreement,
    seal_agreement,
)
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.keys import signing_key
from exchange.problems import Code, Problem, Text
from tests.certs.pki import (
    AT,
    BUDGET,
    MOF,
    MPI,
    days,
    development_authority,
    recrafted,
    refusal,
    seal,
)

TRUSTED = development_authority().authorities
PORTAL = ApplicationId("LA", "GOV", "MOIC", "services-portal")
DISBURSEMENTS = ServiceId("LA", "GOV", "MPI", "oda-mis", "disbursements")
PROJECTS = ServiceId("LA", "GOV", "MPI", "oda-mis", "projects")
BASIS = {"en": "Decree 357/2015 on aid", "lo": "ດຳລັດ 357/2015"}
DOCUMENT: dict[str, Any] = {
    "id": "mof-mpi-2026",
    "version": 1,
    "title": {"en": "Aid in the national budget", "lo": "ການຊ່ວຍເຫຼືອໃນງົບປະມານແຫ່ງຊາດ"},
    "provider": "LA/GOV/MPI",
    "consumer": "LA/GOV/MOF/budget",
    "grants": [
        {
            "service": "LA/GOV/MPI/oda-mis/disbursements",
            "endpoints": [
                {"method": "GET", "path": "/disbursements"},
                {"method": "POST", "path": "/disbursements/search"},
            ],
            "fields": ["/items/*/amount_usd", "/next"],
        },
        {
            "service": "LA/GOV/MPI/oda-mis/projects",
            "endpoints": [{"method": "GET", "path": "/projects/{id}"}],
            "fields": ["*"],
        },
    ],
    "purposes": [
        {
            "code": "national-budget",
            "title": {"en": "Budget", "lo": "ງົບປະມານ"},
            "legal_basis": BASIS,
        },
        {"code": "inspection", "title": {"en": "Inspection", "lo": "ກວດກາ"}, "legal_basis": BASIS},
    ],
    "quota": {"per_day": 10000, "per_second": 500},
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_until": "2027-01-01T00:00:00Z",
    "retention": "bodies",
    "contacts": [
        {"party": "provider", "name": "ODA-MIS office", "email": "oda@mpi.gov.la", "phone": None}
    ],
}
WRITTEN = json.dumps(DOCUMENT, ensure_ascii=False, indent=2).encode()
AGREEMENT = parse_agreement(WRITTEN)


def sealed_by(document: bytes, *issued: Issued) -> bytes:
    for each in issued:
        assert each.private_key is not None
        key = signing_key(each.private_key, each.certificate)
        document = seal_agreement(document, key, each.certificate)
    return document


SEALED = sealed_by(WRITTEN, seal(MPI), seal(MOF))


def changed(change: Callable[[dict[str, Any]], object], document: Any = DOCUMENT) -> bytes:
    value = copy.deepcopy(document)
    change(value)
    return json.dumps(value).encode()


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], object]:
    """A change that sets the place ``path`` to ``value``."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


# ------------------------------------------------------------------------------------ the document


def test_a_document_says_what_it_says() -> None:
    """Every member of the document arrives as a typed value."""
    assert AGREEMENT.provider == MPI
    assert AGREEMENT.consumer == BUDGET
    assert AGREEMENT.reference == "mof-mpi-2026/1"
    assert AGREEMENT.grants[0].service == DISBURSEMENTS
    assert AGREEMENT.grants[0].fields == ("/items/*/amount_usd", "/next")
    assert AGREEMENT.purposes[0].legal_basis == Text(**BASIS)
    assert AGREEMENT.quota == Quota(per_day=10000, per_second=500)
    assert AGREEMENT.valid_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert AGREEMENT.retention == Retention(Keep.BODIES)
    assert AGREEMENT.contacts == (Contact(Party.PROVIDER, "ODA-MIS office", "oda@mpi.gov.la"),)


def test_optional_members_have_defaults() -> None:
    """Without purposes, quota, retention and contacts: none asked, no limit, bodies, nobody."""
    short = {k: v for k, v in DOCUMENT.items() if k not in {"purposes", "quota", "contacts"}}
    del short["retention"]
    agreement = parse_agreement(json.dumps(short).encode())
    assert (agreement.purposes, agreement.quota, agreement.contacts) == ((), Quota(), ())
    assert agreement.retention == Retention()
    assert parse_agreement(format_agreement(agreement)) == agreement


def test_limits_are_written_only_where_there_are_any() -> None:
    """An agreement sealed before there were limits keeps its bytes; limits are read back alike."""
    assert AGREEMENT.limits == Limits()
    assert b"limits" not in format_agreement(AGREEMENT)
    limits = {"answer_max_bytes": 2**20, "concurrent": 8, "exchange_s": 20}
    limited = parse_agreement(changed(put("limits", value=limits)))
    assert limited.limits == Limits(concurrent=8, exchange_s=20, answer_max_bytes=2**20)
    canonical = format_agreement(limited)
    assert b'"limits":{"answer_max_bytes":1048576,"concurrent":8,"exchange_s":20}' in canonical
    assert parse_agreement(canonical) == limited


@pytest.mark.parametrize("written", [{}, {"concurrent": None}], ids=["empty", "null"])
def test_limits_that_say_nothing_are_not_written(written: dict[str, None]) -> None:
    """An agreement without limits has one canonical form, however that was written."""
    spoken = parse_agreement(changed(put("limits", value=written)))
    assert format_agreement(spoken) == format_agreement(AGREEMENT)


def test_the_canonical_form_is_one() -> None:
    """However a document is written, its canonical form is the same, and is read back alike."""
    canonical = format_agreement(AGREEMENT)
    shuffled = json.dumps(dict(reversed(DOCUMENT.items()))).encode()
    assert format_agreement(parse_agreement(shuffled)) == canonical
    assert parse_agreement(canonical) == AGREEMENT
    assert (
        canonical
        == json.dumps(DOCUMENT, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    )


FAULTS = {
    "an unknown key": (put("note", value="x"), ""),
    "a missing key": (lambda d: d.pop("grants"), ""),
    "a bad id": (put("id", value="MOF 2026"), "/id"),
    "an id that leaves its folder": (put("id", value="../x"), "/id"),
    "version zero": (put("version", value=0), "/version"),
    "version true": (put("version", value=True), "/version"),
    "version 1.0": (put("version", value=1.0), "/version"),
    "a title in one language": (put("title", value={"en": "x"}), "/title"),
    "a provider that is an application": (put("provider", value="LA/GOV/MPI/x"), "/provider"),
    "a consumer that is a member": (put("consumer", value="LA/GOV/MOF"), "/consumer"),
    "another spelling": (put("consumer", value="LA/GOV/%4DOF/budget"), "/consumer"),
    "no grant": (put("grants", value=[]), "/grants"),
    "too many grants": (put("grants", value=DOCUMENT["grants"] * 33), "/grants"),
    "a service of another member": (
        put("grants", 0, "service", value="LA/GOV/MOF/x/y"),
        "/grants/0/service",
    ),
    "no endpoint": (put("grants", 0, "endpoints", value=[]), "/grants/0/endpoints"),
    "a method in lower case": (
        put("grants", 0, "endpoints", 0, "method", value="get"),
        "/grants/0/endpoints/0/method",
    ),
    "a path without slash": (
        put("grants", 0, "endpoints", 0, "path", value="x"),
        "/grants/0/endpoints/0/path",
    ),
    "a path with a query": (
        put("grants", 0, "endpoints", 0, "path", value="/x?y"),
        "/grants/0/endpoints/0/path",
    ),
    "an endpoint granted twice": (
        lambda d: d["grants"].append(d["grants"][0]),
        "/grants/2/endpoints/0",
    ),
    "a bad field": (put("grants", 0, "fields", 1, value="next"), "/grants/0/fields/1"),
    "no field": (put("grants", 0, "fields", value=[]), "/grants/0/fields"),
    "a purpose twice": (lambda d: d["purposes"].append(d["purposes"][0]), "/purposes"),
    "a purpose without legal basis": (
        lambda d: d["purposes"][0].pop("legal_basis"),
        "/purposes/0",
    ),
    "a quota of zero": (put("quota", "per_day", value=0), "/quota/per_day"),
    "a quota by the hour": (put("quota", value={"per_hour": 5}), "/quota"),
    "a limit of zero": (put("limits", value={"concurrent": 0}), "/limits/concurrent"),
    "a limit in fractions": (put("limits", value={"exchange_s": 0.5}), "/limits/exchange_s"),
    "an unknown limit": (put("limits", value={"per_hour": 5}), "/limits"),
    "a local time": (put("valid_from", value="2026-01-01T00:00:00+07:00"), "/valid_from"),
    "a time without zone": (put("valid_from", value="2026-01-01T00:00:00"), "/valid_from"),
    "Lao digits": (put("valid_from", value="໒໐໒໖-01-01T00:00:00Z"), "/valid_from"),
    "no such day": (put("valid_from", value="2026-02-30T00:00:00Z"), "/valid_from"),
    "an end before its begin": (put("valid_until", value="2026-01-01T00:00:00Z"), "/valid_until"),
    "an unknown retention": (put("retention", value="forever"), "/retention"),
    "a retention of no days": (
        put("retention", value={"days": 0, "keep": "bodies"}),
        "/retention/days",
    ),
    "a retention without days": (put("retention", value={"keep": "bodies"}), "/retention"),
    "a retention of unknown parts": (
        put("retention", value={"days": 1, "keep": "x"}),
        "/retention/keep",
    ),
    "a third party": (put("contacts", 0, "party", value="auditor"), "/contacts/0/party"),
    "no e-mail address": (put("contacts", 0, "email", value="x"), "/contacts/0/email"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_document_is_refused_at_its_fault(name: str) -> None:
    """Every fault is AGREEMENT_INVALID with the JSON pointer of the place."""
    change, pointer = FAULTS[name]
    problem = refusal(lambda: parse_agreement(changed(change)))
    assert problem.code is Code.AGREEMENT_INVALID
    assert problem.where == f"agreement#{pointer}"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        WRITTEN.replace(b'"version": 1,', b'"version": 1, "version": 1,'),
        WRITTEN.replace(b'"version": 1,', b'"version": NaN,'),
        b"[" * 100_000,
        WRITTEN + b" " * 300_000,
    ],
    ids=["empty", "null", "array", "cut", "not UTF-8", "duplicate", "NaN", "deep", "long"],
)
def test_what_is_no_document_is_refused(text: bytes) -> None:
    """Text that is no JSON object in one reading is AGREEMENT_INVALID, whoever reads it."""
    for read in (parse_agreement, read_agreement):
        assert refusal(lambda read=read: read(text)).code is Code.AGREEMENT_INVALID


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        below: list[tuple[str | int, Any]] = list(value.items())
    else:
        below = list(enumerate(value)) if isinstance(value, list) else []
    found: list[tuple[str | int, ...]] = []
    for step, inner in below:
        found += [(*path, step), *places(inner, (*path, step))]
    return found


@settings(max_examples=200)
@given(st.sampled_from(places(DOCUMENT)), JSON)
def test_any_value_anywhere_is_read_or_refused(path: tuple[str | int, ...], value: Any) -> None:
    """Whatever stands anywhere in the document: it is read and written back, or refused."""
    text = changed(put(*path, value=value))
    code = None
    try:
        agreement = parse_agreement(text)
    except Problem as problem:
        code = problem.code
    else:
        assert parse_agreement(format_agreement(agreement)) == agreement
    assert code in {None, Code.AGREEMENT_INVALID}


# --------------------------------------------------------------------------------- what is allowed

NOON = AT


def allow(**changes: Any) -> Any:
    call: dict[str, Any] = {
        "client": BUDGET,
        "service": DISBURSEMENTS,
        "method": "GET",
        "template": "/disbursements",
        "purpose": "national-budget",
        "at": NOON,
    } | changes
    return AGREEMENT.allow(**call)


def test_what_is_written_is_allowed() -> None:
    """The grant that lists the endpoint is returned, with its fields."""
    assert allow() is AGREEMENT.grants[0]
    assert allow(purpose="inspection") is AGREEMENT.grants[0]
    assert allow(method="POST", template="/disbursements/search") is AGREEMENT.grants[0]
    assert allow(service=PROJECTS, template="/projects/{id}") is AGREEMENT.grants[1]


def test_head_is_allowed_where_get_is() -> None:
    """HEAD says less than GET; nothing else follows from GET, and HEAD not from POST."""
    assert allow(method="HEAD") is AGREEMENT.grants[0]
    refused = refusal(lambda: allow(method="HEAD", template="/disbursements/search"))
    assert refused.code is Code.ACCESS_DENIED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client": PORTAL}, Code.ACCESS_DENIED),
        ({"client": ApplicationId("LA", "GOV", "MOF", "customs")}, Code.ACCESS_DENIED),
        ({"service": PROJECTS}, Code.ACCESS_DENIED),
        ({"method": "DELETE"}, Code.ACCESS_DENIED),
        ({"method": "get"}, Code.ACCESS_DENIED),
        ({"template": "/disbursements/"}, Code.ACCESS_DENIED),
        ({"template": "/disbursements/search"}, Code.ACCESS_DENIED),
        ({"at": datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)}, Code.AGREEMENT_NOT_YET_VALID),
        ({"at": datetime(2027, 1, 1, tzinfo=UTC)}, Code.AGREEMENT_EXPIRED),
        ({"purpose": None}, Code.PURPOSE_NOT_ALLOWED),
        ({"purpose": ""}, Code.PURPOSE_NOT_ALLOWED),
        ({"purpose": "curiosity"}, Code.PURPOSE_NOT_ALLOWED),
        ({"client": PORTAL, "purpose": None}, Code.ACCESS_DENIED),
    ],
)
def test_what_is_not_written_is_refused(changes: dict[str, Any], code: Code) -> None:
    """Another client, service, method, path, time or purpose is refused with its own code."""
    problem = refusal(lambda: allow(**changes))
    assert problem.code is code
    assert problem.facts["agreement"] == "mof-mpi-2026/1"


def test_an_agreement_holds_from_its_first_to_before_its_last_moment() -> None:
    """valid_from is inside, valid_until is outside."""
    assert allow(at=AGREEMENT.valid_from)
    assert allow(at=AGREEMENT.valid_until - timedelta(microseconds=1))


def test_an_agreement_without_purposes_takes_none() -> None:
    """Where no purpose is listed none is needed, and one that is given is not of the agreement."""
    plain = parse_agreement(changed(put("purposes", value=[])))
    grant = plain.allow(BUDGET, DISBURSEMENTS, "GET", "/disbursements", None, NOON)
    assert grant.service == DISBURSEMENTS
    problem = refusal(
        lambda: plain.allow(BUDGET, DISBURSEMENTS, "GET", "/disbursements", "x", NOON)
    )
    assert problem.code is Code.PURPOSE_NOT_ALLOWED


def test_an_agreement_may_demand_a_subject() -> None:
    """It is written only where it is demanded, and then a call without one is refused."""
    assert b'"subject"' not in format_agreement(AGREEMENT)
    strict = parse_agreement(changed(put("subject", value="required")))
    assert parse_agreement(format_agreement(strict)) == strict
    call = (BUDGET, DISBURSEMENTS, "GET", "/disbursements", "national-budget", NOON)
    assert strict.allow(*call, has_subject=True)
    assert refusal(lambda: strict.allow(*call)).code is Code.SUBJECT_MISSING
    assert AGREEMENT.allow(*call)


EXPLICIT, STATUTORY = 'explicit;at=@1763800000;ref="a/1"', 'statutory;law=%"Law 12"'


def demanding(grant: list[str] | None, purpose: list[str] | None) -> bytes:
    """The document with these demands of its first grant and purpose."""

    def change(document: Any) -> None:
        for name, kinds in (("grants", grant), ("purposes", purpose)):
            if kinds is not None:
                document[name][0]["request_basis"] = kinds

    return changed(change)


@pytest.mark.parametrize(
    ("grant", "purpose", "taken"),
    [
        (None, None, {"", "nonsense", EXPLICIT, STATUTORY}),
        (["explicit"], None, {EXPLICIT}),
        (None, ["statutory"], {STATUTORY}),
        (["statutory", "explicit"], None, {EXPLICIT, STATUTORY}),
        (["explicit", "statutory"], ["explicit"], {EXPLICIT}),
    ],
)
def test_an_agreement_may_demand_why_it_is_asked(
    grant: list[str] | None, purpose: list[str] | None, taken: set[str]
) -> None:
    """Of a grant's endpoints, or for a purpose: a basis that is missing, not readable or of
    another kind is refused, and what is demanded is said; both demands hold together."""
    strict = parse_agreement(demanding(grant, purpose))
    assert parse_agreement(format_agreement(strict)) == strict
    call = (BUDGET, DISBURSEMENTS, "GET", "/disbursements", "national-budget", NOON)
    for basis in ("", "nonsense", EXPLICIT, STATUTORY):
        if basis in taken:
            assert strict.allow(*call, basis=basis)
            continue
        problem = refusal(lambda basis=basis: strict.allow(*call, basis=basis))
        assert problem.code is Code.REQUEST_BASIS_MISSING
        assert problem.facts["request_basis"] == sorted(strict.demanded(strict.grants[0], call[4]))


def test_demands_that_no_basis_meets_are_refused() -> None:
    """An agreement that opens nothing for a purpose it lists is a mistake, and no kind is twice."""
    for grant, purpose in ((["explicit"], ["statutory"]), (["explicit"] * 2, None), ([], None)):
        problem = refusal(lambda said=(grant, purpose): parse_agreement(demanding(*said)))
        assert "/grants/0/request_basis" in problem.where


# --------------------------------------------------------------------------------------- the seal


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512"])
def test_both_parties_seal_with_any_algorithm(algorithm: str) -> None:
    """Sealed by both, in either order and with each algorithm, the agreement opens."""
    mpi, mof = seal(MPI, algorithm), seal(MOF)
    assert open_agreement(sealed_by(WRITTEN, mpi, mof), TRUSTED, AT) == AGREEMENT
    assert open_agreement(sealed_by(WRITTEN, mof, mpi), TRUSTED, AT) == AGREEMENT


def test_one_seal_is_not_enough() -> None:
    """An agreement with one party's seal can be read and countersigned, not opened."""
    for issued, missing in ((seal(MPI), MOF), (seal(MOF), MPI)):
        half = sealed_by(WRITTEN, issued)
        assert read_agreement(half) == (AGREEMENT, (issued.certificate,))
        problem = refusal(lambda half=half: open_agreement(half, TRUSTED, AT))
        assert problem.code is Code.AGREEMENT_INVALID
        assert str(missing) in problem.detail


def test_only_parties_can_seal() -> None:
    """A member that is neither provider nor consumer's member cannot seal."""
    problem = refusal(lambda: sealed_by(WRITTEN, seal(MemberId("LA", "GOV", "MOIC"))))
    assert problem.code is Code.AGREEMENT_INVALID


def test_a_key_seals_only_with_its_own_certificate() -> None:
    """The signing key must be that of the certificate."""
    mpi = seal(MPI)
    assert mpi.private_key is not None
    key = signing_key(mpi.private_key, mpi.certificate)
    problem = refusal(lambda: seal_agreement(WRITTEN, key, seal(MOF).certificate))
    assert problem.code is Code.CERTIFICATE_MISMATCH


def test_sealing_again_replaces_the_own_seal() -> None:
    """After a renewal a party seals again; the file keeps one seal per party."""
    renewed = development_authority().issue_seal(MPI, at=AT)
    again = sealed_by(SEALED, renewed)
    _, certificates = read_agreement(again)
    assert set(certificates) == {renewed.certificate, seal(MOF).certificate}
    assert open_agreement(again, TRUSTED, AT) == AGREEMENT


def test_a_member_that_agrees_with_itself_seals_once() -> None:
    """Provider and consumer of one member: one seal is both parties'."""
    own = changed(put("consumer", value="LA/GOV/MPI/inspection"))
    sealed = sealed_by(own, seal(MPI), seal(MPI))
    assert len(json.loads(sealed)["signatures"]) == 1
    assert open_agreement(sealed, TRUSTED, AT).consumer.member == MPI


def test_seals_are_judged_at_the_time_asked_about() -> None:
    """A seal certificate that is not valid then, or of a foreign authority, opens nothing."""
    code = refusal(lambda: open_agreement(SEALED, TRUSTED, AT + days(400))).code
    assert code is Code.CERTIFICATE_EXPIRED
    foreign = development_authority("foreign").authorities
    code = refusal(lambda: open_agreement(SEALED, foreign, AT)).code
    assert code is Code.CERTIFICATE_UNTRUSTED


def test_a_server_certificate_seals_nothing() -> None:
    """A certificate of another profile, even with the member's name, is not a seal."""
    mpi = seal(MPI)
    weak = recrafted(mpi.certificate, without=[x509.KeyUsage])
    sealed = sealed_by(WRITTEN, seal(MOF), Issued(weak, mpi.private_key, b""))
    code = refusal(lambda: open_agreement(sealed, TRUSTED, AT)).code
    assert code is Code.CERTIFICATE_UNTRUSTED


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The sealed agreement with its first protected header changed (which breaks the seal too)."""

    def change_file(value: dict[str, Any]) -> None:
        header = json.loads(decode(value["signatures"][0]["protected"]))
        change(header)
        value["signatures"][0]["protected"] = encode(json.dumps(header).encode())

    return changed(change_file, json.loads(SEALED))


def with_file(change: Callable[[dict[str, Any]], object]) -> bytes:
    return changed(change, json.loads(SEALED))


def resigned(payload: bytes) -> bytes:
    """Any payload, sealed by both parties."""
    signatures = []
    for issued in (seal(MPI), seal(MOF)):
        assert issued.private_key is not None
        key = signing_key(issued.private_key, issued.certificate)
        der = issued.certificate.public_bytes(Encoding.DER)
        header: dict[str, Any] = {"alg": "ES256", "typ": "saphan-agreement+jws"}
        header |= {"x5c": [b64encode(der).decode()], "x5t#S256": encode(bytes.fromhex(key.keyid))}
        protected = encode(json.dumps(header).encode())
        signed = key.sign(f"{protected}.{encode(payload)}".encode())
        signatures.append({"protected": protected, "signature": encode(signed)})
    return json.dumps({"payload": encode(payload), "signatures": signatures}).encode()


BROKEN = {
    "another payload": with_file(
        put("payload", value=encode(format_agreement(AGREEMENT)[:-1] + b" }"))
    ),
    "a larger quota": with_file(
        put(
            "payload",
            value=encode(
                format_agreement(parse_agreement(changed(put("quota", "per_day", value=99999))))
            ),
        )
    ),
    "a payload that is not canonical": resigned(WRITTEN),
    "padding": with_file(lambda f: f.update(payload=f["payload"] + "=")),
    "loose bits in base64url": with_file(
        lambda f: f["signatures"][0].update(signature=f["signatures"][0]["signature"][:-1] + "x")
    ),
    "no base64url": with_file(put("payload", value="§")),
    "an unprotected header": with_file(put("signatures", 0, "header", value={})),
    "an unknown member": with_file(put("x", value=1)),
    "no signature": with_file(put("signatures", value=[])),
    "a signature twice": with_file(lambda f: f["signatures"].append(f["signatures"][0])),
    "swapped signatures": with_file(
        lambda f: f["signatures"][0].update(signature=f["signatures"][1]["signature"])
    ),
    "a short signature": with_file(put("signatures", 0, "signature", value="AAAA")),
    "an empty signature": with_file(put("signatures", 0, "signature", value="")),
    "alg none": with_header(put("alg", value="none")),
    "alg HS256": with_header(put("alg", value="HS256")),
    "another alg than the key's": with_header(put("alg", value="EdDSA")),
    "another type": with_header(put("typ", value="JOSE")),
    "a critical header": with_header(put("crit", value=["exp"])),
    "a key to trust": with_header(put("jwk", value={})),
    "another thumbprint": with_header(put("x5t#S256", value=encode(bytes(32)))),
    "no certificate": with_header(put("x5c", value=[])),
    "two certificates": with_header(lambda h: h["x5c"].append(h["x5c"][0])),
    "a broken certificate": with_header(put("x5c", value=["AAAA"])),
    "base64 with line breaks": with_header(lambda h: h["x5c"].insert(0, h["x5c"].pop() + "\n")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_seal_opens_nothing(name: str) -> None:
    """Any deviation from the one form, and any change of what was signed, is AGREEMENT_INVALID."""
    problem = refusal(lambda: open_agreement(BROKEN[name], TRUSTED, AT))
    assert problem.code is Code.AGREEMENT_INVALID
    assert problem.where.startswith("agreement#")


def test_the_resigned_form_itself_is_sound() -> None:
    """The control of the tests above: canonical bytes signed the same way do open."""
    assert open_agreement(resigned(format_agreement(AGREEMENT)), TRUSTED, AT) == AGREEMENT


def test_a_third_seal_is_one_too_many() -> None:
    """A stranger's valid signature beside the parties' makes the file invalid."""
    stranger = sealed_by(
        changed(put("consumer", value="LA/GOV/MOIC/x")), seal(MemberId("LA", "GOV", "MOIC"))
    )
    extra = json.loads(stranger)["signatures"][0]
    forged = with_file(lambda f: f["signatures"].append(extra))
    assert refusal(lambda: open_agreement(forged, TRUSTED, AT)).code is Code.AGREEMENT_INVALID


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_byte_opens_another_agreement(data: st.DataObject) -> None:
    """A sealed file with a changed byte is refused as a problem, or is the same agreement."""
    file = bytearray(SEALED)
    place = data.draw(st.integers(0, len(file) - 1))
    file[place] = data.draw(st.integers(0, 255))
    code = None
    try:
        opened = open_agreement(bytes(file), TRUSTED, AT)
    except Problem as problem:
        code = problem.code
    else:
        assert opened == AGREEMENT
    assert code in {
        None,
        Code.AGREEMENT_INVALID,
        Code.CERTIFICATE_UNTRUSTED,
        Code.CERTIFICATE_EXPIRED,
    }


# --------------------------------------------------------------------------------- a foreign judge

ROOMY = joserfc_jws.JWSRegistry(algorithms=["ES256", "EdDSA", "PS512"])
ROOMY.max_header_length = 8192  # the library's own default of 512 leaves no room for x5c

KINDS: dict[str, tuple[str, type[Key]]] = {
    "ecdsa-p256-sha256": ("ES256", ECKey),
    "ed25519": ("EdDSA", OKPKey),
    "rsa-pss-sha512": ("PS512", RSAKey),
}


def foreign_key(issued: Issued) -> Any:
    assert issued.private_key is not None
    algorithm = signing_key(issued.private_key, issued.certificate).algorithm
    return KINDS[algorithm][1].import_key(private_key_pem(issued.private_key))


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", KINDS)
def test_a_foreign_library_verifies_our_seals(algorithm: str) -> None:
    """joserfc verifies both signatures of a sealed agreement and reads the same payload."""
    mpi, mof = seal(MPI, algorithm), seal(MOF)
    file = json.loads(sealed_by(WRITTEN, mpi, mof))
    for number, issued in enumerate((mpi, mof)):
        one: Any = {"payload": file["payload"], "signatures": [file["signatures"][number]]}
        verified = joserfc_jws.deserialize_json(one, foreign_key(issued), registry=ROOMY)
        assert verified.payload == format_agreement(AGREEMENT)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", KINDS)
def test_we_open_what_a_foreign_library_sealed(algorithm: str) -> None:
    """An agreement sealed by joserfc, with our headers, opens."""
    signers = (seal(MPI, algorithm), seal(MOF, algorithm))
    signatures = []
    for issued in signers:
        der = issued.certificate.public_bytes(Encoding.DER)
        header = {
            "alg": KINDS[algorithm][0],
            "typ": "saphan-agreement+jws",
            "x5c": [b64encode(der).decode()],
            "x5t#S256": encode(bytes.fromhex(issued.fingerprint)),
        }
        made = joserfc_jws.serialize_json(
            [{"protected": header}],
            format_agreement(AGREEMENT),
            foreign_key(issued),
            algorithms=[KINDS[algorithm][0]],
        )
        signatures += made["signatures"]
    payload = encode(format_agreement(AGREEMENT))
    file = json.dumps({"payload": payload, "signatures": signatures}).encode()
    opened = open_agreement(file, TRUSTED, AT)
    assert opened == AGREEMENT
    assert isinstance(opened, Agreement)


def test_the_file_has_the_form_of_rfc_7515() -> None:
    """The General JSON Serialization: payload and signatures, each with its protected header."""
    file = json.loads(SEALED)
    assert file.keys() == {"payload", "signatures"}
    header = json.loads(decode(file["signatures"][0]["protected"]))
    assert header.keys() == {"alg", "typ", "x5c", "x5t#S256"}
    assert header["alg"] == "ES256"
    der = b64decode(header["x5c"][0])
    assert x509.load_der_x509_certificate(der) == seal(MPI).certificate
