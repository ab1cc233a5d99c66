"""CAdES signatures, against stock openssl and whoever changes them (EN 319 122-1)."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding

from certs.issue import Issued
from certs.stamper import respond
from exchange.evidence import cades
from exchange.evidence.timestamps import format_request, open_response
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from tests.certs.pki import AT, MPI, development_authority, seal

ALGORITHMS = ("ecdsa-p256-sha256", "rsa-pss-sha512", "ed25519")
CONTENT = "ສະພານ: the manifest".encode()
OURS = development_authority()
AUTHORITIES = [OURS.root, OURS.issuer.certificate]
TSA = OURS.issue_tsa(at=AT)


def signed(issued: Issued, content: bytes = CONTENT) -> bytes:
    key = signing_key(issued.private_key, issued.certificate)
    return cades.sign(content, key, issued.certificate, [OURS.issuer.certificate], AT)


def stamp(signature: bytes) -> bytes:
    request = format_request(sha256(cades.signature_value(signature)).digest(), 1 << 70)
    answer = respond(request, TSA.private_key, TSA.certificate, [OURS.issuer.certificate], AT, 9)  # type: ignore[arg-type]
    return open_response(answer)


def opens(signature: bytes, content: bytes = CONTENT) -> cades.Cades:
    return cades.open_signature(signature, content, AUTHORITIES)


def refused(signature: bytes, content: bytes = CONTENT) -> Code:
    with pytest.raises(Problem) as caught:
        opens(signature, content)
    return caught.value.code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_says_who_and_when(algorithm: str) -> None:
    """Level B-B with the signer's time; with a token level B-T with the authority's."""
    signature = signed(seal(algorithm=algorithm))
    found = opens(signature)
    assert (found.member, found.signed_at, found.timestamp) == (MPI, AT, None)
    assert found.level == "CAdES-B-B"
    stamped = opens(cades.with_token(signature, stamp(signature)))
    assert stamped.timestamp is not None
    assert (stamped.level, stamped.timestamp.time) == ("CAdES-B-T", AT)


@pytest.mark.parametrize("algorithm", ALGORITHMS[:2])
@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"."])
def test_stock_openssl_agrees(tmp_path: Path, algorithm: str, content: bytes) -> None:
    """`openssl cms -verify -cades` takes the signature, and refuses it over other content."""
    signature = signed(seal(algorithm=algorithm))
    paths = [tmp_path / name for name in ("root.pem", "content", "b", "t")]
    paths[0].write_bytes(OURS.root.public_bytes(Encoding.PEM))
    paths[1].write_bytes(content)
    paths[2].write_bytes(signature)
    paths[3].write_bytes(cades.with_token(signature, stamp(signature)))
    for path in paths[2:]:
        done = subprocess.run(
            ["openssl", "cms", "-verify", "-cades", "-binary", "-purpose", "any", "-inform", "DER",
             "-in", path, "-content", paths[1], "-CAfile", paths[0],
             "-attime", str(int(AT.timestamp())), "-out", "/dev/null"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert (done.returncode == 0) == (content == CONTENT)
        verdict = "successful" if content == CONTENT else "failure"
        assert f"CAdES Verification {verdict}" in done.stderr or content != CONTENT


def test_it_has_the_attributes_of_the_baseline() -> None:
    """EN 319 122-1, table 1: content-type, message-digest, signing-time, signing-certificate-v2."""
    signature = signed(seal())
    content = cms.ContentInfo.load(cades.with_token(signature, stamp(signature)))["content"]
    signer = content["signer_infos"][0]
    assert {each["type"].native for each in signer["signed_attrs"]} == {
        "content_type", "message_digest", "signing_time", "signing_certificate_v2",
    }  # fmt: skip
    assert [each["type"].native for each in signer["unsigned_attrs"]] == [
        "signature_time_stamp_token"
    ]
    assert content["encap_content_info"]["content"].native is None
    assert len(content["certificates"]) == 2


def test_every_changed_byte_is_found() -> None:
    """There is one spelling of a signature: no byte of it can be changed."""
    signature = signed(seal())
    for at in range(0, len(signature), 7):
        changed = signature[:at] + bytes([signature[at] ^ 1 << at % 8]) + signature[at + 1 :]
        refused(changed)
    refused(signature + b"\0")
    refused(signature[:-1])
    refused(b"")


def test_it_is_of_one_content() -> None:
    """Another content is another signature."""
    assert refused(signed(seal()), CONTENT + b" ") is Code.INVALID_SIGNATURE


def test_the_token_is_over_this_signature() -> None:
    """A token of another signature proves nothing of this one."""
    one, other = signed(seal()), signed(seal(), b"other")
    assert refused(cades.with_token(one, stamp(other))) is Code.INVALID_TIMESTAMP


def test_the_signer_is_certified_by_a_trusted_authority() -> None:
    """Neither another authority's seal, nor what is no seal, nor one that had ended."""
    theirs = development_authority("theirs")
    stranger = theirs.issue_seal(MPI, at=AT)
    assert refused(signed(stranger)) is Code.CERTIFICATE_UNTRUSTED
    assert refused(signed(TSA)) is Code.CERTIFICATE_UNTRUSTED
    key = signing_key(seal().private_key, seal().certificate)
    late = cades.sign(CONTENT, key, seal().certificate, [], AT + timedelta(days=400))
    assert refused(late) is Code.CERTIFICATE_EXPIRED
    mixed = cades.sign(CONTENT, key, seal().certificate, [theirs.issuer.certificate], AT)
    assert refused(mixed) is Code.INVALID_DOCUMENT


def test_what_is_too_long_is_not_read() -> None:
    """A bound before any parsing."""
    assert refused(bytes(cades.MAX_SIGNATURE_BYTES + 1)) is Code.INVALID_DOCUMENT
