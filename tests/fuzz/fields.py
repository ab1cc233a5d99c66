"""Header rules and signatures under fields that hypothesis makes."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from exchange.keys import Algorithm, SigningKey
from exchange.messages.envelope import HOP_BY_HOP, Headers, RequestHead, open_request, seal_request
from exchange.messages.signature import parse_signature, parse_signature_input
from exchange.problems import Problem
from mediator import xroad
from tests.exchange.sealed_messages import KEYID, NONCE, NOW, REQUEST, finder

MAX_URL = 2048
_NAMES = [
    "accept", "connection", "content-length", "cookie", "exchange-agreement", "exchange-purpose",
    "expect", "forwarded", "host", "keep-alive", "proxy-authorization", "te", "traceparent",
    "tracestate", "trailer", "transfer-encoding", "upgrade", "via", "x-a", "x-b",
    "x-forwarded-for", "x-govstack-client", "x-http-method-override", "x-road-client", "x-road-id",
    "x-road-request-id", "x-road-security-server", "x.road.id", "x_road_client",
]  # fmt: skip
_VALUES = [
    "", "1", "a b", "close, X-A", "x-b", "Exchange-Purpose,traceparent", "h2c", "websocket",
    "LA/GOV/MOF/budget", "LA/GOV/MPI/ss1", "national-budget", "\xe4", "\x7f", "x" * 1025,
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
]  # fmt: skip
_SEGMENTS = [
    "", ".", "..", "%2e", "%2E%2e", "%252e%252e", "%2f", "%5c", "%00", "%0d%0a", "\\", "a", "..;a",
    "LA", "GOV", "MPI", "oda-mis", "projects", "r1", "a%3Fb", "?", "#", "%zz", "%e0%ba%81", "ກ",
]  # fmt: skip


def headers() -> st.SearchStrategy[Headers]:
    """Fields as an application may send them."""
    value = st.sampled_from(_VALUES) | st.text(st.characters(max_codepoint=255), max_size=60)
    return st.lists(st.tuples(st.sampled_from(_NAMES), value), max_size=8).map(tuple)


def targets() -> st.SearchStrategy[str]:
    """Request targets, most of them almost right."""
    tail = st.lists(st.sampled_from(_SEGMENTS), max_size=5).map("/".join)
    good = ["/r1/LA/GOV/MPI/oda-mis/projects"]
    wrong = ["/r1/LA/GOV/MPI", "/r1", "//r1/LA/GOV/MPI/a/b", "http://x/r1/LA/GOV/MPI/a/b"]
    base = st.sampled_from(good * 4 + wrong)
    return st.tuples(base, tail).map("/".join) | st.text(max_size=60)


def check_target(target: str) -> bool:
    """A target that is taken names its service to every reader; says whether it was taken.

    Whoever decodes first and resolves dot segments then comes to the same five codes.
    """
    try:
        service, path, _ = xroad.service_of(target, MAX_URL)
    except Problem:
        return False
    codes = f"/r1/{unquote(str(service))}"
    plain = target.partition("?")[0]
    assert posixpath.normpath(unquote(plain[: len(plain) - len(path)])) == codes
    assert not {".", ".."} & {unquote(segment) for segment in plain.split("/")}
    assert str(xroad.service_of(f"/r1/{service}{path}", MAX_URL)[0]) == str(service)
    return True


def check_headers(fields: Headers) -> bool:
    """What goes on is a part of what came, in order, and nothing of the connection."""
    try:
        own = xroad.own_fields(fields)
    except Problem:
        return False
    traced = bool(own.get("traceparent"))
    kept = xroad.forwarded(fields, traced=traced)
    rest = iter(fields)
    assert all(field in rest for field in kept), "out of order, or made up"
    names = {name for name, _ in kept}
    listed = {
        token.strip().lower()
        for name, value in fields
        if name == "connection"
        for token in value.split(",")
    }
    assert not names & (HOP_BY_HOP | xroad.OF_PROXIES | set(xroad.CLIENT_HEADERS))
    assert not (names & listed) - set(own)
    assert traced or not names & {"traceparent", "tracestate"}
    assert xroad.forwarded(kept, traced=traced) == kept
    return True


# One key for ever, and an algorithm without randomness: what was found is found again.
_KEY = SigningKey(KEYID, Algorithm.ED25519, Ed25519PrivateKey.from_private_bytes(bytes(32)))
_FIND = finder(_KEY)
_SIGNED = seal_request(REQUEST, _KEY, created=NOW, expires=NOW + 60, nonce=NONCE)
SEALED = REQUEST.with_headers(_SIGNED.headers_to_add)


Sealed = tuple[str, Headers]


@st.composite
def tampered(draw: Any) -> Sealed:
    """A sealed message of which a few characters, or lines, were changed."""
    lines = [list(line) for line in SEALED.headers]
    for _ in range(draw(st.integers(1, 2))):
        line = draw(st.sampled_from(lines))
        part = draw(st.sampled_from([1, 1, 1, 0]))
        text = line[part]
        at = draw(st.integers(0, len(text)))
        more = draw(st.sampled_from(['"', ";", ",", "=", "(", ")", ":", " ", "A", "0", "\xe4", ""]))
        line[part] = text[:at] + more + text[at + draw(st.integers(0, 2)) :]
    if draw(st.booleans()):
        lines.append(list(draw(st.sampled_from(lines))))
    if not draw(st.integers(0, 3)):
        lines.remove(draw(st.sampled_from(lines)))
    method = draw(st.sampled_from([SEALED.method, SEALED.method, "GET"]))
    return method, tuple((name, value) for name, value in lines)


def _covered(head: RequestHead) -> list[tuple[str, str]]:
    """The lines under the signature, in order where they have the same name: the order of others
    means nothing (RFC 9110 section 5.3) and is not covered."""
    outside = {"host", "content-length", "signature", "signature-input"}
    return sorted((f for f in head.headers if f[0] not in outside), key=lambda f: f[0])


def check_seal(given: Sealed) -> bool:
    """What opens says the same as what was sealed; whatever else comes is a problem."""
    head = RequestHead(given[0], SEALED.target_uri, given[1])
    try:
        opened = open_request(head, _FIND, now=NOW)
    except Problem:
        return False
    assert opened.base == _SIGNED.base
    assert _covered(head) == _covered(SEALED)
    return True


def check_signature_fields(text: str) -> bool:
    """Any text is read, or is a problem; what is read prints back."""
    for parse in (parse_signature_input, parse_signature):
        try:
            parse(text)
        except Problem:
            continue
        return True
    return False


def signature_texts() -> st.SearchStrategy[str]:
    """Signature-Input and Signature fields with a few characters changed, and any text."""
    fields = dict(SEALED.headers)
    pieces = ["sig=", "saphan=", "(", ")", '"a"', ";bs", ";req", ":AAAA:", ";created=1", ",", " "]
    near = st.lists(st.sampled_from(pieces), max_size=8).map("".join)
    ours = st.sampled_from([fields["signature"], fields["signature-input"]])
    broken = st.tuples(ours, st.integers(0, 400), near).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :]
    )
    return near | broken | st.text(max_size=40)
