"""What sealing and opening a message give, the ages that are accepted, and the signature itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from exchange.keys import SigningKey, VerifyingKey
from exchange.messages.forms import LABEL
from exchange.messages.heads import Headers
from exchange.messages.signature import format_signature
from exchange.problems import Code, Problem

REQUEST_TAG = "saphan-request"
RESPONSE_TAG = "saphan-response"
MAX_SKEW_S = 5
MAX_AGE_S = 60
FindKey: TypeAlias = Callable[[str], VerifyingKey]


class Signed(NamedTuple):
    """What sealing makes.

    Attributes:
        headers_to_add: ``signature-input`` and ``signature``, to be sent with the head.
        base: the bytes that were signed.
        signature: the signature over ``base``.
        signature_input: the value of the Signature-Input field.
    """

    headers_to_add: Headers
    base: bytes
    signature: bytes
    signature_input: str


class Opened(NamedTuple):
    """What opening found: this key signed this base.

    Attributes:
        keyid: the fingerprint of the signer's seal certificate.
        created: Unix time that the signer states.
        expires: Unix time after which the message is not accepted any more; of a response, which
            states none, ``created`` and the greatest age.
        nonce: the request's nonce; of a response empty: its request makes it unique.
        base: the bytes that were signed.
        signature: the signature over ``base``.
        signature_input: the value of the Signature-Input field.
    """

    keyid: str
    created: int
    expires: int
    nonce: str
    base: bytes
    signature: bytes
    signature_input: str


def judge_request_times(
    created: int, expires: int, now: int, max_skew_s: int, max_age_s: int
) -> None:
    """Judge the times that a request states.

    Raises:
        Problem: ``StaleSignature``.
    """
    if expires <= created or expires - created > max_age_s:
        raise _stale(
            f"it lives {expires - created} s, at most {max_age_s} s are accepted", now, created
        )
    if now > expires + max_skew_s:
        raise _stale("it has expired", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)


def judge_response_times(created: int, now: int, max_skew_s: int, max_age_s: int) -> None:
    """Judge the time that a response states.

    Raises:
        Problem: ``StaleSignature``.
    """
    if now > created + max_age_s + max_skew_s:
        raise _stale(f"it is older than {max_age_s} s", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)


def sign(base: bytes, params: str, key: SigningKey) -> Signed:
    """Sign a base and write both signature fields."""
    signature = key.sign(base)
    field = f"{LABEL}={params}"
    added = (("signature-input", field), ("signature", format_signature(LABEL, signature)))
    return Signed(added, base, signature, field)


def key_of(keyid: str, algorithm: str, find_key: FindKey) -> VerifyingKey:
    """The key of a signer, whose algorithm must be the one that the message states.

    Raises:
        Problem: ``InvalidSignature``; what ``find_key`` raises.
    """
    key = find_key(keyid)
    if key.algorithm.value != algorithm:
        raise Problem(
            Code.INVALID_SIGNATURE,
            where="signature-input",
            detail=f"alg is {algorithm[:40]!r}, but the key is for {key.algorithm.value}",
            facts={"keyid": keyid, "algorithm": key.algorithm.value},
        )
    return key


def _stale(detail: str, now: int, created: int) -> Problem:
    return Problem(
        Code.STALE_SIGNATURE,
        where="signature-input",
        detail=f"the signature is refused: {detail}",
        facts={"now": now, "created": created},
    )
