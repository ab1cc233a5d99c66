"""Rules of exchange.revocation, on statements of ours and of openssl."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.issue import Issued, Issuer, private_key_pem
from certs.responder import respond
from certs.revocation import Revoked, make_crl
from exchange.evidence.revocation import (
    MAX_CRL_BYTES,
    MAX_OCSP_BYTES,
    Kind,
    Sources,
    Status,
    check_crl,
    check_ocsp,
    format_ocsp_request,
    issuer_of,
    sources_of,
)
from exchange.problems import Code, Problem
from tests.certs.pki import (
    AT,
    MOF,
    days,
    development_authority,
    openssl,
    recrafted,
    refusal,
    seal,
    write_pem,
)
from tests.certs.pki import issuer_of as as_issuer

OURS, OTHER = development_authority(), development_authority("other")
ISSUER = OURS.issuer.certificate
SEAL = seal().certificate
RESPONDER = as_issuer(OURS.issue_ocsp(at=AT))
REVOKED = Revoked(SEAL.serial_number, AT - days(1), x509.ReasonFlags.key_compromise)
REQUEST = format_ocsp_request(SEAL, ISSUER)
ANSWER = respond(REQUEST, ISSUER, RESPONDER, (), AT)
LIST = make_crl(OURS, [], AT)


def judged(der: bytes, at: datetime = AT) -> Problem:
    problem = refusal(lambda: check_ocsp(der, SEAL, ISSUER, at))
    assert problem.code is Code.INVALID_REVOCATION_STATUS
    return problem


def judged_list(der: bytes, at: datetime = AT) -> Problem:
    problem = refusal(lambda: check_crl(der, SEAL, ISSUER, at))
    assert problem.code is Code.INVALID_REVOCATION_STATUS
    return problem


def test_good_and_revoked_are_told_apart() -> None:
    """An answer and a list tell status, times and reason, and keep their bytes."""
    good = check_ocsp(ANSWER, SEAL, ISSUER, AT)
    assert (good.kind, good.status, good.this_update) == (Kind.OCSP, Status.GOOD, AT)
    assert good.next_update == AT + timedelta(hours=12)
    assert good.der == ANSWER
    for finding in (
        check_ocsp(respond(REQUEST, ISSUER, RESPONDER, [REVOKED], AT), SEAL, ISSUER, AT),
        check_crl(make_crl(OURS, [REVOKED], AT), SEAL, ISSUER, AT),
    ):
        assert finding.status is Status.REVOKED
        assert (finding.revoked_at, finding.reason) == (AT - days(1), "keyCompromise")
    assert check_crl(LIST, SEAL, ISSUER, AT).status is Status.GOOD


def test_the_issuer_itself_may_answer() -> None:
    """RFC 6960 section 2.2: the authority needs no responder."""
    answer = respond(REQUEST, ISSUER, OURS.issuer, (), AT)
    assert check_ocsp(answer, SEAL, ISSUER, AT).status is Status.GOOD


def with_usage(*purposes: x509.ObjectIdentifier) -> Issuer:
    made = OURS.issue_ocsp(at=AT)
    usage = (x509.ExtendedKeyUsage(purposes), False)
    certificate = recrafted(made.certificate, extensions=[usage])
    return as_issuer(Issued(certificate, made.private_key, b""))


@pytest.mark.parametrize(
    "signer",
    [
        as_issuer(OTHER.issue_ocsp(at=AT)),
        OTHER.issuer,
        as_issuer(seal()),
        as_issuer(OURS.issue_tsa(at=AT)),
        with_usage(x509.oid.ExtendedKeyUsageOID.SERVER_AUTH),
    ],
    ids=["foreign responder", "foreign authority", "a seal", "a time-stamp key", "other usage"],
)
def test_only_the_authority_and_its_responders_answer(signer: Issuer) -> None:
    """RFC 6960 section 4.2.2.2: any other signature is worth nothing."""
    assert judged(respond(REQUEST, ISSUER, signer, (), AT)).where == "signature"


def test_a_responder_whose_certificate_ended_is_not_heard() -> None:
    """A key of long ago cannot make an answer of now."""
    late = AT + days(91)
    assert judged(respond(REQUEST, ISSUER, RESPONDER, (), late), late).where == "responder"


def test_an_answer_about_another_certificate_is_none() -> None:
    """Serial number, and name and key of the issuer, must be those of this certificate."""
    other = seal(MOF).certificate
    answer = respond(format_ocsp_request(other, ISSUER), ISSUER, RESPONDER, (), AT)
    assert judged(answer).where == "certID"
    elsewhere = format_ocsp_request(SEAL, OTHER.issuer.certificate)
    answer = respond(elsewhere, OTHER.issuer.certificate, RESPONDER, (), AT)
    assert judged(answer).where == "certID"


def test_what_a_responder_does_not_know_is_not_good() -> None:
    """*unknown* is no answer, and neither is a refusal."""
    answer = respond(REQUEST, OTHER.issuer.certificate, RESPONDER, (), AT)
    assert judged(answer).where == "certStatus"
    assert judged(respond(b"", ISSUER, RESPONDER, (), AT)).where == "responseStatus"


@pytest.mark.parametrize(
    ("shift", "where"),
    [(-timedelta(minutes=5), "thisUpdate"), (timedelta(hours=12, minutes=5), "nextUpdate")],
)
def test_a_statement_counts_in_its_time(shift: timedelta, where: str) -> None:
    """thisUpdate is not to come, nextUpdate is not over; five minutes are forgiven."""
    beyond = timedelta(seconds=1 if shift > timedelta() else -1)
    check_ocsp(ANSWER, SEAL, ISSUER, AT + shift)
    assert judged(ANSWER, AT + shift + beyond).where == where
    assert judged_list(LIST, AT + (shift + beyond) * 2).where == where


def test_an_answer_without_an_end_counts_for_a_day() -> None:
    """RFC 6960 section 2.4: without nextUpdate newer information is always there."""
    answer = respond(REQUEST, ISSUER, RESPONDER, (), AT, validity=None)
    assert check_ocsp(answer, SEAL, ISSUER, AT + days(1)).next_update is None
    assert judged(answer, AT + days(1.1)).where == "thisUpdate"


def crl(*extensions: tuple[x509.ExtensionType, bool], issuer: Issuer = OURS.issuer) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(AT)
        .next_update(AT + days(1))
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(issuer.private_key, hashes.SHA256()).public_bytes(Encoding.DER)


def point(url: str | None = None, **parts: bool) -> x509.IssuingDistributionPoint:
    reasons = frozenset({x509.ReasonFlags.key_compromise}) if parts.pop("reasons", False) else None
    fields = dict.fromkeys(
        (
            "only_contains_user_certs",
            "only_contains_ca_certs",
            "indirect_crl",
            "only_contains_attribute_certs",
        ),
        False,
    )
    return x509.IssuingDistributionPoint(
        full_name=None if url is None else [x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_some_reasons=reasons,
        **(fields | parts),
    )


def test_a_list_must_be_whole() -> None:
    """RFC 5280 section 5.2: deltas, indirect lists and parts of lists say *good* of nothing."""
    assert check_crl(crl((point(only_contains_user_certs=True), True)), SEAL, ISSUER, AT)
    for part in ("indirect_crl", "only_contains_ca_certs", "reasons"):
        assert judged_list(crl((point(**{part: True}), True))).where == "issuingDistributionPoint"
    assert judged_list(crl((x509.DeltaCRLIndicator(1), True))).where == "extensions"


def test_one_of_several_lists_is_the_one_that_the_certificate_names() -> None:
    """RFC 5280 section 6.3.3: the others of its authority lack it, revoked or not."""
    named = issued("http://crl.example/1")
    for url, certificate, taken in (
        ("http://crl.example/1", named, True),
        ("http://crl.example/2", named, False),
        ("http://crl.example/1", SEAL, False),
    ):
        der = crl((point(url=url), True))
        if taken:
            assert check_crl(der, certificate, ISSUER, AT).status is Status.GOOD
        else:
            problem = refusal(lambda: check_crl(der, certificate, ISSUER, AT))  # noqa: B023
            assert problem.where == "issuingDistributionPoint"
    assert check_crl(LIST, named, ISSUER, AT).status is Status.GOOD


def issued(url: str) -> x509.Certificate:
    """A seal whose status is in the list at an address."""
    where = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(SEAL.subject)
        .issuer_name(ISSUER.subject)
        .public_key(SEAL.public_key())
        .serial_number(SEAL.serial_number)
        .not_valid_before(AT)
        .not_valid_after(AT + days(30))
        .add_extension(x509.CRLDistributionPoints([where]), critical=False)
    )
    return builder.sign(OURS.issuer.private_key, hashes.SHA256())


def test_a_list_of_another_authority_is_none() -> None:
    """Name and key of the issuer must both be those of the certificate's issuer."""
    assert judged_list(crl(issuer=OTHER.issuer)).where == "signature"
    named = Issuer(recrafted(ISSUER, OURS.issuer), ec.generate_private_key(ec.SECP256R1()))
    assert judged_list(crl(issuer=named)).where == "signature"


@pytest.mark.parametrize("bad", [b"", b"\x30\x00", ANSWER[:-1], bytes(MAX_OCSP_BYTES + 1)])
def test_nonsense_is_a_problem(bad: bytes) -> None:
    """What is no statement at all is refused like a wrong one."""
    judged(bad)
    judged_list(bad)


def test_a_list_has_a_bound() -> None:
    """A list that is too long is not parsed."""
    assert judged_list(bytes(MAX_CRL_BYTES + 1)).where == "CRL"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_answer_passes(data: st.DataObject) -> None:
    """Each byte is signed, or part of the signature or of its certificate."""
    for statement, check in ((ANSWER, check_ocsp), (LIST, check_crl)):
        place = data.draw(st.integers(0, len(statement) - 1))
        flip = data.draw(st.integers(1, 255))
        changed = bytearray(statement)
        changed[place] ^= flip
        with pytest.raises(Problem) as caught:
            check(bytes(changed), SEAL, ISSUER, AT)
        assert caught.value.code is Code.INVALID_REVOCATION_STATUS


def test_the_issuer_is_found_among_the_authorities() -> None:
    """By name and signature: an authority of the same name does not do."""
    assert issuer_of(SEAL, OURS.authorities) == ISSUER
    assert issuer_of(SEAL, OTHER.authorities) is None


def test_addresses_are_bounded_and_only_http() -> None:
    """Of what a certificate names, a few http addresses are taken, no lists for some reasons."""
    urls = ["ldap://x/", "http://a/", "https://b/", "http://" + "c" * 300]

    def names(*texts: str) -> list[x509.GeneralName]:
        return [x509.UniformResourceIdentifier(text) for text in texts]

    method = x509.oid.AuthorityInformationAccessOID.OCSP
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(method, name) for name in names(*urls)]
    )
    some = frozenset({x509.ReasonFlags.key_compromise})
    points = x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(names(*urls), None, None, None),
            x509.DistributionPoint(names("http://d/"), None, some, None),
        ]
    )
    certificate = recrafted(SEAL, extensions=[(access, False), (points, False)])
    taken = ("http://a/", "https://b/")
    assert sources_of(certificate) == Sources(taken, taken)


def test_a_foreign_responder_and_list_are_understood(tmp_path: Path) -> None:
    """`openssl ocsp` answers and `openssl ca -gencrl` lists: good, then revoked."""
    now = datetime.now(UTC)
    pki = development_authority("now", now)
    member, responder = pki.issue_seal(MOF, at=now).certificate, pki.issue_ocsp(at=now)
    ca = write_pem(tmp_path / "ca.pem", pki.issuer.certificate)
    ca_key, key, signer = (tmp_path / name for name in ("ca.key", "key.pem", "ocsp.pem"))
    ca_key.write_bytes(private_key_pem(pki.issuer.private_key))
    assert responder.private_key is not None
    key.write_bytes(private_key_pem(responder.private_key))
    write_pem(signer, responder.certificate)
    index, query, answer = (tmp_path / name for name in ("index.txt", "q", "a"))
    query.write_bytes(format_ocsp_request(member, pki.issuer.certificate))
    config = tmp_path / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {index}\ndefault_md = sha256\n"
        "default_crl_days = 1\n"
    )
    serial = f"{member.serial_number:X}"
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    expiry, stamp = f"{member.not_valid_after_utc:%y%m%d%H%M%SZ}", f"{now:%y%m%d%H%M%SZ}"
    for status, row in (
        (Status.GOOD, f"V\t{expiry}\t\t{serial}\tunknown\t/CN=x\n"),
        (Status.REVOKED, f"R\t{expiry}\t{stamp},keyCompromise\t{serial}\tunknown\t/CN=x\n"),
    ):
        index.write_text(row)
        made = openssl(
            "ocsp", "-index", index, "-CA", ca, "-rsigner", signer, "-rkey", key,
            "-reqin", query, "-respout", answer, "-ndays", "1",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        found = check_ocsp(answer.read_bytes(), member, pki.issuer.certificate, now)
        listed = openssl("ca", "-gencrl", "-config", config, "-cert", ca, "-keyfile", ca_key)
        assert listed.returncode == 0, listed.stderr
        der = x509.load_pem_x509_crl(listed.stdout).public_bytes(Encoding.DER)
        in_list = check_crl(der, member, pki.issuer.certificate, now)
        assert found.status is in_list.status is status
        if status is Status.REVOKED:
            assert found.reason == in_list.reason == "keyCompromise"
