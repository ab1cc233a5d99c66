"""Rules of certs.stamper."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from asn1crypto import cms, tsp
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.issue import Issued
from certs.stamper import POLICY, StamperKey, respond, stamper_handler
from exchange.evidence.timestamps import check_token, format_request, open_response
from exchange.problems import Code
from tests.certs.pki import AT, development_authority, openssl, refusal, unix, write_pem
from tests.world.clock import ShiftedClock

OURS = development_authority()
TSA: Issued = OURS.issue_tsa(at=AT)
KEY: StamperKey = TSA.private_key  # type: ignore[assignment]
CHAIN = [OURS.issuer.certificate]
DATA = b"checkpoint"
DIGEST = sha256(DATA).digest()
REQUEST = format_request(DIGEST, 99)


def answer(request: bytes) -> bytes:
    return respond(request, KEY, TSA.certificate, CHAIN, AT, 1)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "rsa-pss-sha512"])
def test_openssl_accepts_our_answer_to_its_request(tmp_path: Path, algorithm: str) -> None:
    """`openssl ts -verify` accepts our answer to `openssl ts -query`, and not for other data."""
    issued = OURS.issue_tsa(at=AT, algorithm=algorithm)
    key: StamperKey = issued.private_key  # type: ignore[assignment]
    data, other, query, response = (tmp_path / name for name in ("d", "o", "q.tsq", "r.tsr"))
    data.write_bytes(DATA)
    other.write_bytes(b"other")
    made = openssl("ts", "-query", "-data", data, "-sha256", "-cert", "-out", query)
    assert made.returncode == 0, made.stderr
    response.write_bytes(respond(query.read_bytes(), key, issued.certificate, CHAIN, AT, 2**127))
    root = write_pem(tmp_path / "root.pem", OURS.root)
    issuing = write_pem(tmp_path / "issuing.pem", *CHAIN)
    trust = ("-CAfile", root, "-untrusted", issuing, "-attime", unix(AT))
    verified = openssl("ts", "-verify", "-queryfile", query, "-in", response, *trust)
    assert verified.returncode == 0, verified.stderr
    assert b"Verification: OK" in verified.stdout
    wrong = openssl("ts", "-verify", "-data", other, "-in", response, *trust)
    assert wrong.returncode != 0
    assert b"message imprint mismatch" in wrong.stderr


@pytest.mark.parametrize("kind", ["-sha384", "-sha512"])
def test_longer_imprints_are_stamped(tmp_path: Path, kind: str) -> None:
    """SHA-384 and SHA-512 imprints are stamped, without a nonce and certificate too."""
    data = tmp_path / "data"
    data.write_bytes(DATA)
    query = openssl("ts", "-query", "-data", data, kind, "-no_nonce").stdout
    content = cms.ContentInfo.load(open_response(answer(query)))
    info = tsp.TSTInfo.load(bytes(content["content"]["encap_content_info"]["content"]))
    assert info["nonce"].native is None
    assert content["content"]["certificates"].native is None


def test_the_certificates_are_sorted_as_der_demands() -> None:
    """X.690 section 11.6: the members of a SET OF are in ascending order."""
    chain = [*CHAIN, OURS.root]
    content = cms.ContentInfo.load(
        open_response(respond(REQUEST, KEY, TSA.certificate, chain, AT, 1))
    )
    ders = [choice.dump() for choice in content["content"]["certificates"]]
    assert len(ders) == 3
    assert ders == sorted(ders)


def request(**changes: object) -> bytes:
    fields = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": DIGEST},
    } | changes
    der: bytes = tsp.TimeStampReq(fields).dump()
    return der


@pytest.mark.parametrize(
    ("query", "failure"),
    [
        (b"", "bad_data_format"),
        (b"\x30\x00", "bad_data_format"),
        (REQUEST + b"\x00", "bad_data_format"),
        (
            request(
                message_imprint={
                    "hash_algorithm": {"algorithm": "sha1"},
                    "hashed_message": bytes(20),
                }
            ),
            "bad_alg",
        ),
        (
            request(
                message_imprint={
                    "hash_algorithm": {"algorithm": "sha256"},
                    "hashed_message": bytes(31),
                }
            ),
            "bad_data_format",
        ),
        (request(req_policy="1.2.3.4"), "unaccepted_policy"),
        (
            request(extensions=[{"extn_id": "1.2.3.4", "extn_value": b"x"}]),
            "unaccepted_extensions",
        ),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(query: bytes, failure: str) -> None:
    """RFC 3161 section 2.4.2: a rejection names the PKIFailureInfo, and has no token."""
    problem = refusal(lambda: open_response(answer(query)))
    assert problem.facts == {"status": "rejection", "failures": [failure]}


def test_our_policy_may_be_asked_for() -> None:
    """A request that names our policy gets it."""
    assert (
        check_token(
            open_response(answer(request(req_policy=POLICY, cert_req=True))),
            DIGEST,
            OURS.authorities,
        ).policy
        == POLICY
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_request_raises(data: st.DataObject) -> None:
    """Whatever comes in, an answer goes out."""
    query = bytearray(REQUEST)
    for place in data.draw(st.lists(st.integers(0, len(query) - 1), max_size=3)):
        query[place] = data.draw(st.integers(0, 255))
    assert answer(bytes(query))


async def test_the_handler_answers_over_http() -> None:
    """RFC 3161 section 3.4: a query posted to the handler comes back as a reply, of now."""
    clock = ShiftedClock()
    clock.offset_s = AT.timestamp() - clock.unix()
    application = web.Application()
    application.router.add_post("/tsa", stamper_handler(KEY, TSA.certificate, CHAIN, clock))
    async with TestServer(application) as server, ClientSession() as session:
        url = server.make_url("/tsa")
        headers = {"Content-Type": "application/timestamp-query"}
        stamps = []
        for _ in range(2):
            async with session.post(url, data=REQUEST, headers=headers) as response:
                assert response.status == 200
                assert response.content_type == "application/timestamp-reply"
                token = open_response(await response.read())
                stamps.append(check_token(token, DIGEST, OURS.authorities, nonce=99))
        assert abs((stamps[0].time - AT).total_seconds()) < 10
        assert stamps[0].serial != stamps[1].serial
        async with session.post(url, data=REQUEST) as response:
            assert response.status == 415
        async with session.post(url, data=bytes(10_000), headers=headers) as response:
            assert response.status == 413


def test_ed25519_is_not_for_time_stamps() -> None:
    """`openssl ts` knows no Ed25519, so no such certificate is issued."""
    problem = refusal(lambda: OURS.issue_tsa(at=AT, algorithm="ed25519"))
    assert problem.code is Code.INVALID_SETTINGS
