"""Keys, heads and signed messages that the signature tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from exchange.keys import Algorithm, PrivateKey, SigningKey, VerifyingKey
from exchange.messages.digest import content_digest
from exchange.messages.envelope import RequestHead, ResponseHead, seal_request, seal_response
from exchange.messages.signature import format_signature, format_signature_input, signature_base
from exchange.problems import Code, Problem

NOW = 1_790_000_000
NONCE = "q83vEjRWeJCrze8SNFZ4kA"
KEYID = "5e" * 32

_MAKERS: dict[Algorithm, Callable[[], PrivateKey]] = {
    Algorithm.ECDSA_P256_SHA256: lambda: ec.generate_private_key(ec.SECP256R1()),
    Algorithm.ED25519: ed25519.Ed25519PrivateKey.generate,
    Algorithm.RSA_PSS_SHA512: lambda: rsa.generate_private_key(65537, 2048),
}

REQUEST = RequestHead(
    "POST",
    "https://ss1.mpi.example:5500/r1/LA/GOV/MPI/oda-mis/disbursements/by-province?fiscal_year=2026",
    (
        ("host", "ss1.mpi.example:5500"),
        ("content-type", "application/json"),
        ("content-digest", content_digest(b'{"province":"LA-VT"}')),
        ("content-length", "20"),
        ("x-road-id", "LA-6f1c2a0e-0a52-4a9c-9f6b-444455556666"),
        ("x-road-request-id", "1a1c2a0e-0a52-4a9c-9f6b-444455556666"),
        ("x-road-client", "LA/GOV/MOF/budget"),
        ("x-road-service", "LA/GOV/MPI/oda-mis/disbursements"),
        ("exchange-purpose", "national-budget"),
        ("accept", "application/json"),
        ("x-tag", "first"),
        ("accept-language", "lo, en;q=0.8"),
        ("x-tag", "second"),
        ("x-place", "V\xe4ng Vieng"),
        ("x-empty", ""),
    ),
)
RESPONSE = ResponseHead(
    200,
    (
        ("date", "Tue, 22 Sep 2026 13:33:20 GMT"),
        ("content-type", "application/json"),
        ("content-digest", content_digest(b'{"items":[]}')),
        ("x-road-id", "LA-6f1c2a0e-0a52-4a9c-9f6b-444455556666"),
        ("x-road-request-id", "1a1c2a0e-0a52-4a9c-9f6b-444455556666"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ),
)

_T = TypeVar("_T")


def outcome(act: Callable[[], _T]) -> _T | Problem:
    """What ``act`` returns, or the Problem it raises; any other exception is a failure."""
    try:
        return act()
    except Problem as problem:
        return problem


@cache
def signing_key_of(algorithm: Algorithm) -> SigningKey:
    """One key of each kind, made once."""
    return SigningKey(KEYID, algorithm, _MAKERS[algorithm]())


def verifying(key: SigningKey) -> VerifyingKey:
    return VerifyingKey(key.keyid, key.algorithm, key.private_key.public_key())


def finder(key: SigningKey) -> Callable[[str], VerifyingKey]:
    """A ``find_key`` that knows this key alone."""
    known = verifying(key)

    def find(keyid: str) -> VerifyingKey:
        if keyid != known.keyid:
            raise Problem(Code.CERTIFICATE_MISMATCH, where="keyid", detail="no such key")
        return known

    return find


def sealed_request(key: SigningKey, head: RequestHead = REQUEST) -> RequestHead:
    signed = seal_request(head, key, created=NOW, expires=NOW + 30, nonce=NONCE)
    return head.with_headers(signed.headers_to_add)


def sealed_response(
    key: SigningKey, request: RequestHead, head: ResponseHead = RESPONSE
) -> ResponseHead:
    return head.with_headers(seal_response(request, head, key, created=NOW).headers_to_add)


def sign_anything(
    key: SigningKey,
    values: Mapping[str, str],
    parameters: Mapping[str, str | int],
    components: Iterable[str] | None = None,
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Signature fields that are cryptographically right, over whatever is given.

    A refusal of these is a refusal of the profile, not of the cryptography.
    """
    covered = list(values if components is None else components)
    text = format_signature_input(covered, parameters)
    signature = key.sign(signature_base(covered, values, text))
    return ("signature-input", f"any={text}"), ("signature", format_signature("any", signature))
