"""Rules of exchange.timestamps, on tokens of certs.stamper and of openssl."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.issue import Issued, private_key_pem
from certs.stamper import POLICY, StamperKey, respond
from exchange.evidence.timestamps import check_token, format_request, open_response
from exchange.problems import Code, Problem
from tests.certs.pki import (
    AT,
    MPI,
    days,
    development_authority,
    openssl,
    refusal,
    seal,
    write_pem,
)

OURS = development_authority()
TRUSTED = OURS.authorities
DIGEST = sha256(b"checkpoint").digest()
NONCE = 0x1234_5678_9ABC_DEF0


@cache
def stamper(algorithm: str = "ecdsa-p256-sha256") -> Issued:
    return OURS.issue_tsa(at=AT, algorithm=algorithm)


def token_of(
    issued: Issued | None = None, request: bytes | None = None, at: Any = AT, serial: int = 7
) -> bytes:
    issued = issued or stamper()
    key: StamperKey = issued.private_key  # type: ignore[assignment]
    request = request or format_request(DIGEST, NONCE)
    chain = [OURS.issuer.certificate]
    return open_response(respond(request, key, issued.certificate, chain, at, serial))


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "rsa-pss-sha512"])
def test_a_token_tells_its_time(algorithm: str) -> None:
    """A token of our own authority is checked and read back."""
    stamp = check_token(token_of(stamper(algorithm)), DIGEST, TRUSTED, nonce=NONCE)
    assert stamp.time == AT
    assert stamp.accuracy_s == 1
    assert stamp.serial == 7
    assert stamp.policy == POLICY
    assert stamp.certificate == stamper(algorithm).certificate


def test_a_stored_token_is_checked_without_its_nonce() -> None:
    """Who kept only the token can still check it."""
    assert check_token(token_of(), DIGEST, TRUSTED).time == AT


def test_a_token_without_certificates_needs_them_given() -> None:
    """A token asked for without certificates is checked with the listed one."""
    bare = token_of(request=format_request(DIGEST, NONCE, certificate=False))
    assert len(bare) < len(token_of())
    assert refusal(lambda: check_token(bare, DIGEST, TRUSTED)).code is Code.INVALID_TIMESTAMP
    known = [seal().certificate, stamper().certificate]
    assert check_token(bare, DIGEST, TRUSTED, certificates=known).time == AT


def test_a_token_outlives_its_certificate() -> None:
    """The authority is judged at the time that the token states, not today."""
    short = OURS.issue_tsa(at=AT, days=1)
    assert check_token(token_of(short), DIGEST, TRUSTED).time == AT
    late = token_of(short, at=AT + days(2))
    problem = refusal(lambda: check_token(late, DIGEST, TRUSTED))
    assert problem.code is Code.INVALID_TIMESTAMP
    assert problem.facts["reasons"] == ["expired"]


def test_other_data_and_another_nonce_are_refused() -> None:
    """The imprint must be the digest, the nonce that of the request."""
    other = sha256(b"other").digest()
    assert refusal(lambda: check_token(token_of(), other, TRUSTED)).where == "messageImprint"
    assert refusal(lambda: check_token(token_of(), DIGEST, TRUSTED, nonce=5)).where == "nonce"


def test_a_foreign_authority_is_refused() -> None:
    """A time-stamp authority of a foreign PKI stamps nothing for us."""
    foreign = development_authority("foreign").authorities
    problem = refusal(lambda: check_token(token_of(), DIGEST, foreign))
    assert problem.facts["reasons"] == ["untrusted-chain"]


def test_only_a_time_stamp_certificate_stamps() -> None:
    """A member's seal, though trusted, cannot make a token."""
    problem = refusal(lambda: check_token(token_of(seal(MPI)), DIGEST, TRUSTED))
    assert problem.code is Code.INVALID_TIMESTAMP
    assert "extended-key-usage" in problem.facts["reasons"]  # type: ignore[operator]


@dataclass(frozen=True)
class Opened:
    """A token taken apart, to be put together wrongly."""

    content: Any

    @property
    def signed(self) -> Any:
        return self.content["content"]

    @property
    def signer(self) -> Any:
        return self.signed["signer_infos"][0]

    def sign_again(self, attributes: Any) -> None:
        """Replace the signed attributes and sign them with the authority's own key."""
        key = stamper().private_key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.signer["signed_attrs"] = attributes
        self.signer["signature"] = key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))


def _attributes(opened: Opened, leave_out: str = "", twice: str = "") -> Any:
    kept = []
    for attribute in opened.signer["signed_attrs"]:
        name = attribute["type"].native
        if name != leave_out:
            kept.append(attribute)
        if name == twice:
            kept.append(attribute)
    return cms.CMSAttributes(kept)


def _stamp_other_time(opened: Opened) -> None:
    info = tsp.TSTInfo.load(bytes(opened.signed["encap_content_info"]["content"]))
    info["gen_time"] = AT - days(1)
    opened.signed["encap_content_info"]["content"] = cms.ParsableOctetString(info.dump())


def _swap_certificate(opened: Opened) -> None:
    """Name another trusted certificate in ESSCertID than the one that signs."""
    attributes = _attributes(opened)
    for attribute in attributes:
        if attribute["type"].native == "signing_certificate_v2":
            attribute["values"][0]["certs"][0]["cert_hash"] = bytes(32)
    opened.sign_again(cms.CMSAttributes(list(attributes)))


TAMPERED: dict[str, Callable[[Opened], object]] = {
    "another time": _stamp_other_time,
    "no contentType": lambda o: o.sign_again(_attributes(o, leave_out="content_type")),
    "no messageDigest": lambda o: o.sign_again(_attributes(o, leave_out="message_digest")),
    "no signingCertificate": lambda o: o.sign_again(
        _attributes(o, leave_out="signing_certificate_v2")
    ),
    "messageDigest twice": lambda o: o.sign_again(_attributes(o, twice="message_digest")),
    "another signingCertificate": _swap_certificate,
    "no signer": lambda o: o.signed.__setitem__("signer_infos", []),
    "two signers": lambda o: o.signed.__setitem__("signer_infos", [o.signer, o.signer.copy()]),
    "SHA-1": lambda o: o.signer.__setitem__("digest_algorithm", {"algorithm": "sha1"}),
    "a SHA-1 signature": lambda o: o.signer.__setitem__(
        "signature_algorithm", {"algorithm": "sha1_ecdsa"}
    ),
    "an RSA signature by an EC key": lambda o: o.signer.__setitem__(
        "signature_algorithm", {"algorithm": "sha256_rsa"}
    ),
    "an empty signature": lambda o: o.signer.__setitem__("signature", b""),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_token_is_refused(name: str) -> None:
    """Whatever is taken out, doubled or changed: INVALID_TIMESTAMP."""
    opened = Opened(cms.ContentInfo.load(token_of()))
    TAMPERED[name](opened)
    token = opened.content.dump(force=True)
    problem = refusal(lambda: check_token(token, DIGEST, TRUSTED))
    assert problem.code is Code.INVALID_TIMESTAMP


def test_an_untampered_token_survives_being_taken_apart() -> None:
    """The control of the test above."""
    opened = Opened(cms.ContentInfo.load(token_of()))
    opened.sign_again(_attributes(opened))
    assert check_token(opened.content.dump(force=True), DIGEST, TRUSTED).time == AT


TOKEN = token_of()


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_byte_changes_the_time(data: st.DataObject) -> None:
    """A token with changed bytes is refused as a problem, or says the same."""
    token = bytearray(TOKEN)
    for place in data.draw(st.lists(st.integers(0, len(token) - 1), min_size=1, max_size=3)):
        token[place] = data.draw(st.integers(0, 255))
    code = None
    try:
        stamp = check_token(bytes(token), DIGEST, TRUSTED, nonce=NONCE)
    except Problem as problem:
        code = problem.code
    else:
        assert (stamp.time, stamp.serial) == (AT, 7)
    assert code in {None, Code.INVALID_TIMESTAMP}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    """Arbitrary bytes are no response and no token, and raise nothing but the problem."""
    for read in (open_response, lambda text: check_token(text, DIGEST, TRUSTED)):
        assert refusal(lambda read=read: read(text)).code is Code.INVALID_TIMESTAMP


def test_what_is_too_long_is_not_read() -> None:
    """Length is capped before anything is parsed."""
    long = token_of() + bytes(70_000)
    assert refusal(lambda: open_response(long)).code is Code.INVALID_TIMESTAMP
    assert refusal(lambda: check_token(long, DIGEST, TRUSTED)).code is Code.INVALID_TIMESTAMP


@pytest.mark.parametrize(
    ("digest", "nonce"), [(b"short", 1), (DIGEST, 0), (DIGEST, -1), (DIGEST, 2**128)]
)
def test_a_request_needs_a_sha_256_and_a_nonce(digest: bytes, nonce: int) -> None:
    """Other digests and nonces are the caller's bug."""
    with pytest.raises(ValueError, match=r"digest|nonce"):
        format_request(digest, nonce)


# --------------------------------------------------------------------------------- a foreign judge

CONFIGURATION = """
[ tsa ]
default_tsa = ours
[ ours ]
serial = {folder}/serial
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500
ess_cert_id_alg = {ess}
ess_cert_id_chain = yes
"""


# openssl stamps with the clock of the machine, so this authority is of today.
TODAY = datetime.now(UTC)
OPENSSL_PKI = development_authority("today", TODAY)


@cache
def openssl_stamper(algorithm: str) -> Issued:
    return OPENSSL_PKI.issue_tsa(at=TODAY, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "rsa-pss-sha512"])
@pytest.mark.parametrize(("digest", "ess"), [("sha256", "sha256"), ("sha512", "sha1")])
def test_we_accept_the_tokens_of_openssl(
    tmp_path: Path, algorithm: str, digest: str, ess: str
) -> None:
    """`openssl ts -reply` answers our request, and our check accepts its token."""
    issued = openssl_stamper(algorithm)
    assert issued.private_key is not None
    configuration = tmp_path / "tsa.cnf"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path, digest=digest, ess=ess))
    (tmp_path / "serial").write_text("2A\n")
    (tmp_path / "key.pem").write_bytes(private_key_pem(issued.private_key))
    write_pem(tmp_path / "tsa.pem", issued.certificate)
    write_pem(tmp_path / "chain.pem", OPENSSL_PKI.issuer.certificate)
    nonce = secrets.randbits(64) | 1
    (tmp_path / "request.tsq").write_bytes(format_request(DIGEST, nonce))
    made = openssl(
        *("ts", "-reply", "-config", configuration, "-queryfile", tmp_path / "request.tsq"),
        *("-inkey", tmp_path / "key.pem", "-signer", tmp_path / "tsa.pem"),
        *("-chain", tmp_path / "chain.pem", "-out", tmp_path / "response.tsr"),
    )
    assert made.returncode == 0, made.stderr
    token = open_response((tmp_path / "response.tsr").read_bytes())
    stamp = check_token(token, DIGEST, OPENSSL_PKI.authorities, nonce=nonce)
    assert stamp.serial == 0x2B
    assert stamp.accuracy_s == 1.5
    assert stamp.policy == "1.2.3.4.1"


def test_a_refusal_of_openssl_is_told(tmp_path: Path) -> None:
    """A response without a token is a problem that carries the authority's reasons."""
    test_we_accept_the_tokens_of_openssl(tmp_path, "ecdsa-p256-sha256", "sha256", "sha256")
    request = openssl("ts", "-query", "-digest", "00" * 48, "-sha384").stdout
    (tmp_path / "request.tsq").write_bytes(request)
    made = openssl(
        *("ts", "-reply", "-config", tmp_path / "tsa.cnf"),
        *("-queryfile", tmp_path / "request.tsq", "-inkey", tmp_path / "key.pem"),
        *("-signer", tmp_path / "tsa.pem", "-out", tmp_path / "response.tsr"),
    )
    assert made.returncode == 0, made.stderr
    problem = refusal(lambda: open_response((tmp_path / "response.tsr").read_bytes()))
    assert problem.facts == {"status": "rejection", "failures": ["bad_alg"]}


def test_the_certificate_is_of_the_library() -> None:
    """A checked stamp hands out the certificate that signed, for listing and display."""
    assert isinstance(check_token(token_of(), DIGEST, TRUSTED).certificate, x509.Certificate)
