"""Rules of certs.revocation, certs.responder and certs.services, with openssl as the judge."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags, ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued, Issuer
from certs.responder import respond
from certs.revocation import FILE, make_crl, revoke, revoked_by
from certs.services import Services
from exchange.evidence.revocation import (
    Sources,
    Status,
    check_crl,
    check_ocsp,
    format_ocsp_request,
    sources_of,
)
from exchange.problems import Code
from tests.certs.pki import (
    AT,
    MPI,
    SS1,
    development_authority,
    issuer_of,
    openssl,
    refusal,
    seal,
    unix,
    write_pem,
)
from tests.world.clock import ShiftedClock

URL = "http://127.0.0.1:8088"
OURS = development_authority()
ISSUER = OURS.issuer.certificate
RESPONDER: Issuer = issuer_of(OURS.issue_ocsp(at=AT))
SEAL = seal().certificate
REQUEST = format_ocsp_request(SEAL, ISSUER)


@pytest.fixture
def pki(tmp_path: Path) -> DevelopmentAuthority:
    return create_development_pki(tmp_path / "pki", "LA", at=AT, services_url=URL)


def test_certificates_say_where_their_status_is_asked(pki: DevelopmentAuthority) -> None:
    """AIA and distribution point name the services; the responder's own certificate none."""
    reopened = DevelopmentAuthority.open(pki.directory)
    for issued in (reopened.issue_seal(MPI, at=AT), reopened.issue_auth(SS1, ["h"], at=AT)):
        assert sources_of(issued.certificate) == Sources((f"{URL}/ocsp",), (f"{URL}/crl",))
    for certificate in (reopened.issue_ocsp(at=AT).certificate, SEAL):
        assert sources_of(certificate) == Sources((), ())


def test_openssl_reads_the_same_answers_as_we(tmp_path: Path, pki: DevelopmentAuthority) -> None:
    """`openssl ocsp` and `openssl verify -crl_check` say good, and after a revocation revoked."""
    member = pki.issue_seal(MPI, at=AT).certificate
    signer = issuer_of(pki.issue_ocsp(at=AT))
    issuing = write_pem(tmp_path / "issuing.pem", pki.issuer.certificate)
    root = write_pem(tmp_path / "root.pem", pki.root)
    cert = write_pem(tmp_path / "cert.pem", member)
    query, answer, crl = tmp_path / "q", tmp_path / "a", tmp_path / "crl.pem"
    made = openssl("ocsp", "-issuer", issuing, "-cert", cert, "-no_nonce", "-reqout", query)
    assert made.returncode == 0, made.stderr
    assert query.read_bytes() == format_ocsp_request(member, pki.issuer.certificate)
    for expected in (Status.GOOD, Status.REVOKED):
        at = AT + timedelta(hours=1)
        revoked = revoked_by(pki.directory)
        der = respond(query.read_bytes(), pki.issuer.certificate, signer, revoked, at)
        answer.write_bytes(der)
        judged = openssl(
            "ocsp", "-issuer", issuing, "-cert", cert, "-no_nonce", "-respin", answer,
            "-CAfile", root, "-verify_other", issuing, "-attime", unix(at),
            "-validity_period", str(10**9),
        )  # fmt: skip
        assert b"Response verify OK" in judged.stderr, judged.stderr
        assert f"cert.pem: {expected}".encode() in judged.stdout, judged.stdout
        assert check_ocsp(der, member, pki.issuer.certificate, at).status is expected
        der = make_crl(pki, revoked, at)
        pem = base64.encodebytes(der).decode()
        crl.write_text(f"-----BEGIN X509 CRL-----\n{pem}-----END X509 CRL-----\n")
        verified = openssl(
            "verify", "-crl_check", "-CRLfile", crl, "-CAfile", root, "-untrusted", issuing,
            "-attime", unix(at), cert,
        )  # fmt: skip
        assert (verified.returncode == 0) is (expected is Status.GOOD), verified.stderr
        assert (b"certificate revoked" in verified.stderr) is (expected is Status.REVOKED)
        finding = check_crl(der, member, pki.issuer.certificate, at)
        assert finding.status is expected
        if expected is Status.GOOD:
            revoke(pki, member, "keyCompromise", AT)
    assert (finding.revoked_at, finding.reason) == (AT, "keyCompromise")


def test_a_revocation_is_for_good(pki: DevelopmentAuthority) -> None:
    """It is kept with its time and reason, once; a foreign certificate cannot be revoked."""
    certificate = pki.issue_seal(MPI, at=AT).certificate
    revoke(pki, certificate, "superseded", AT)
    (row,) = revoked_by(pki.directory)
    assert (row.serial, row.at) == (certificate.serial_number, AT)
    assert row.reason is ReasonFlags.superseded
    assert refusal(lambda: revoke(pki, certificate, "superseded", AT)).code is Code.CONFLICT
    assert refusal(lambda: revoke(pki, SEAL, "superseded", AT)).code is Code.CONFLICT
    other = pki.issue_seal(MPI, at=AT).certificate
    assert refusal(lambda: revoke(pki, other, "hold", AT)).code is Code.INVALID_SETTINGS
    assert revoked_by(pki.directory) == (row,)


@pytest.mark.parametrize("data", [b"", b"{}", b'[{"serial":"x"}]', b'[{"serial":"1","at":"now"}]'])
def test_a_damaged_list_is_not_an_empty_one(pki: DevelopmentAuthority, data: bytes) -> None:
    """Nobody is told *good* because a file cannot be read."""
    (pki.directory / FILE).write_bytes(data)
    assert refusal(lambda: revoked_by(pki.directory)).code is Code.INVALID_DOCUMENT


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_certificate_of_another_authority_is_unknown(algorithm: hashes.HashAlgorithm) -> None:
    """RFC 6960 section 2.2: the responder does not say *good* of what it does not know."""
    other = development_authority("other")
    for issuer, status in (
        (ISSUER, ocsp.OCSPCertStatus.GOOD),
        (other.issuer.certificate, ocsp.OCSPCertStatus.UNKNOWN),
    ):
        builder = ocsp.OCSPRequestBuilder().add_certificate(SEAL, issuer, algorithm)
        query = builder.build().public_bytes(Encoding.DER)
        answer = ocsp.load_der_ocsp_response(respond(query, ISSUER, RESPONDER, (), AT))
        assert answer.certificate_status is status


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_request_raises(data: st.DataObject) -> None:
    """Whatever comes in, an answer goes out."""
    query = bytearray(REQUEST)
    for place in data.draw(st.lists(st.integers(0, len(query) - 1), max_size=3)):
        query[place] = data.draw(st.integers(0, 255))
    ocsp.load_der_ocsp_response(respond(bytes(query), ISSUER, RESPONDER, (), AT))


async def test_the_services_answer_over_http(pki: DevelopmentAuthority) -> None:
    """OCSP by POST and GET, and the list; a revocation counts with the next answer."""
    certificate, issuer = pki.issue_seal(MPI, at=AT).certificate, pki.issuer.certificate
    clock = ShiftedClock(AT.timestamp() - datetime.now(UTC).timestamp())
    tsa: Issued = pki.issue_tsa(at=AT)
    application = Services(pki, tsa, pki.issue_ocsp(at=AT), clock).application()
    query = format_ocsp_request(certificate, issuer)
    headers = {"Content-Type": "application/ocsp-request"}
    async with TestServer(application) as server, ClientSession() as session:
        for expected in (Status.GOOD, Status.REVOKED):
            path = "/ocsp/" + base64.b64encode(query).decode().replace("/", "%2F")
            for answering in (
                session.post(server.make_url("/ocsp"), data=query, headers=headers),
                session.get(server.make_url(path)),
            ):
                async with answering as response:
                    assert response.content_type == "application/ocsp-response"
                    body = await response.read()
                assert check_ocsp(body, certificate, issuer, clock.now()).status is expected
            async with session.get(server.make_url("/crl")) as response:
                assert response.content_type == "application/pkix-crl"
                body = await response.read()
            assert check_crl(body, certificate, issuer, clock.now()).status is expected
            if expected is Status.GOOD:
                revoke(pki, certificate, "unspecified", AT)
        async with session.post(server.make_url("/ocsp"), data=query) as response:
            assert response.status == 415
        async with session.get(server.make_url("/ocsp/!")) as response:
            refused = ocsp.load_der_ocsp_response(await response.read())
        assert refused.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
        async with session.post(
            server.make_url("/ocsp"), data=bytes(10_000), headers=headers
        ) as response:
            assert response.status == 413
