"""Another implementation of RFC 9421 reads what Saphan writes, and the other way round.

The other is PyPI ``http-message-signatures``. It knows the present only from the clock, so these
tests use the present too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    InvalidSignature,
    algorithms,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_messages import (
    KEYID,
    NONCE,
    REQUEST,
    RESPONSE,
    finder,
    signing_key_of,
)

from exchange.keys import Algorithm, SigningKey
from exchange.messages.envelope import (
    Headers,
    RequestHead,
    ResponseHead,
    open_request,
    open_response,
    seal_request,
    seal_response,
)
from exchange.messages.signature import parse_signature_input

FOREIGN = {
    Algorithm.ECDSA_P256_SHA256: algorithms.ECDSA_P256_SHA256,
    Algorithm.ED25519: algorithms.ED25519,
    Algorithm.RSA_PSS_SHA512: algorithms.RSA_PSS_SHA512,
}


class Fields:
    """Header lines as the foreign library wants them."""

    def __init__(self, lines: Headers) -> None:
        self.lines = list(lines)

    def items(self) -> list[tuple[str, str]]:
        return list(self.lines)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self.lines])

    def __contains__(self, name: object) -> bool:
        return any(other == str(name).lower() for other, _ in self.lines)

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for other, value in self.lines if other == name.lower())

    def __setitem__(self, name: str, value: str) -> None:
        if name in self:
            del self[name]
        self.lines.append((name.lower(), value))

    def __delitem__(self, name: str) -> None:
        self.lines = [line for line in self.lines if line[0] != name.lower()]


@dataclass
class ForeignRequest:
    method: str
    url: str
    headers: Fields


@dataclass
class ForeignResponse:
    status_code: int
    headers: Fields
    request: ForeignRequest


class Keys:
    """Resolves the one key of a test."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def resolve_public_key(self, key_id: str) -> object:
        return self.key.private_key.public_key() if key_id == self.key.keyid else None

    def resolve_private_key(self, key_id: str) -> object:
        assert key_id == self.key.keyid
        return self.key.private_key


def foreign(head: RequestHead) -> ForeignRequest:
    return ForeignRequest(head.method, head.target_uri, Fields(head.headers))


def foreign_response(head: ResponseHead, request: RequestHead) -> ForeignResponse:
    return ForeignResponse(head.status, Fields(head.headers), foreign(request))


def verifier(key: SigningKey) -> HTTPMessageVerifier:
    return HTTPMessageVerifier(
        signature_algorithm=FOREIGN[key.algorithm],
        key_resolver=Keys(key),  # type: ignore[arg-type]
    )


def signer(key: SigningKey) -> HTTPMessageSigner:
    return HTTPMessageSigner(
        signature_algorithm=FOREIGN[key.algorithm],
        key_resolver=Keys(key),  # type: ignore[arg-type]
    )


def components_of(signature_input: str) -> list[str]:
    (member,) = parse_signature_input(signature_input)
    return member.component_list()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_foreign_library_verifies_what_we_seal(algorithm: Algorithm) -> None:
    """Request and response, with repeated and non-ASCII fields, verify elsewhere."""
    key, now = signing_key_of(algorithm), int(time.time())
    signed = seal_request(REQUEST, key, created=now, expires=now + 30, nonce=NONCE)
    sent = REQUEST.with_headers(signed.headers_to_add)
    (result,) = verifier(key).verify(foreign(sent), expect_tag="saphan-request")
    assert (result.nonce, result.parameters["keyid"]) == (NONCE, KEYID)
    assert list(result.covered_components)[:-1] == components_of(signed.signature_input)

    sealed = seal_response(sent, RESPONSE, key, created=now)
    answer = RESPONSE.with_headers(sealed.headers_to_add)
    (result,) = verifier(key).verify(
        foreign_response(answer, sent),
        expect_tag="saphan-response",
        require_components=['"@target-uri";req', '"signature-input";req'],
    )
    assert list(result.covered_components)[:-1] == components_of(sealed.signature_input)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_foreign_library_refuses_what_was_changed(algorithm: Algorithm) -> None:
    """The control: it does look."""
    key, now = signing_key_of(algorithm), int(time.time())
    signed = seal_request(REQUEST, key, created=now, expires=now + 30, nonce=NONCE)
    sent = REQUEST.with_headers(signed.headers_to_add)
    with pytest.raises(InvalidSignature):
        verifier(key).verify(foreign(replace(sent, method="PUT")), expect_tag="saphan-request")


def foreign_sealed(key: SigningKey, head: RequestHead, now: int) -> RequestHead:
    """The profile's request signature, made by the foreign library."""
    order = components_of(
        seal_request(head, key, created=now, expires=now + 30, nonce=NONCE).signature_input
    )
    message = foreign(head)
    signer(key).sign(
        message,
        key_id=key.keyid,
        created=datetime.fromtimestamp(now, UTC),
        expires=datetime.fromtimestamp(now + 30, UTC),
        nonce=NONCE,
        label="theirs",
        tag="saphan-request",
        covered_component_ids=order[::-1],
        use_existing_digest=True,
    )
    return replace(head, headers=tuple(message.headers.items()))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_we_open_what_the_foreign_library_signs(algorithm: Algorithm) -> None:
    """Its label, its order of components and of parameters are as good as ours."""
    key, now = signing_key_of(algorithm), int(time.time())
    sent = foreign_sealed(key, REQUEST, now)
    opened = open_request(sent, finder(key), now=now)
    assert (opened.keyid, opened.created, opened.nonce) == (KEYID, now, NONCE)
    assert opened.signature_input.startswith("theirs=")

    order = components_of(seal_response(sent, RESPONSE, key, created=now).signature_input)
    message = foreign_response(RESPONSE, sent)
    signer(key).sign(
        message,
        key_id=key.keyid,
        created=datetime.fromtimestamp(now, UTC),
        label="theirs",
        tag="saphan-response",
        covered_component_ids=order[::-1],
        use_existing_digest=True,
    )
    answer = replace(RESPONSE, headers=tuple(message.headers.items()))
    assert open_response(sent, answer, finder(key), now=now).keyid == KEYID


_NAMES = st.sampled_from(["accept", "x-tag", "cookie", "set-cookie", "link", "x-0"])
_VALUES = st.from_regex(r"(?:[!-~\xa0-\xff](?:[\t -~]{0,15}[!-~\xa0-\xff])?)?", fullmatch=True)
_TARGETS = st.from_regex(
    r"[A-Za-z0-9/._~!$&'()*+,;=:@\-]{0,20}(\?[a-z0-9=&+/?.\-]{0,20})?", fullmatch=True
)


@settings(max_examples=60)
@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8).map(tuple), _TARGETS)
def test_both_agree_on_any_head(lines: Headers, target: str) -> None:
    """Random lines, repeated, empty and non-ASCII, verify in both directions."""
    key, now = signing_key_of(Algorithm.ED25519), int(time.time())
    uri = f"https://host.example:5500/{target}"
    head = RequestHead("GET", uri, REQUEST.headers[1:5] + lines)
    signed = seal_request(head, key, created=now, expires=now + 30, nonce=NONCE)
    sent = head.with_headers(signed.headers_to_add)
    assert verifier(key).verify(foreign(sent), expect_tag="saphan-request")
    assert open_request(foreign_sealed(key, head, now), finder(key), now=now).nonce == NONCE
