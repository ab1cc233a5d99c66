"""Rules of exchange.envelope: what is signed, and everything that opening refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_messages import (
    KEYID,
    NONCE,
    NOW,
    REQUEST,
    RESPONSE,
    finder,
    outcome,
    sealed_request,
    sealed_response,
    sign_anything,
    signing_key_of,
)

from exchange.keys import Algorithm
from exchange.messages import envelope, forms, line_by_line
from exchange.messages.covering import MAX_HEADERS
from exchange.messages.digest import content_digest
from exchange.messages.envelope import (
    NOT_COVERED,
    Headers,
    RequestHead,
    ResponseHead,
    open_request,
    open_response,
    seal_request,
    seal_response,
)
from exchange.messages.forms import MAX_VALUE_LENGTH
from exchange.messages.signature import (
    MAX_FIELD_LENGTH,
    parse_signature_base,
    parse_signature_input,
)
from exchange.messages.signed import MAX_AGE_S, MAX_SKEW_S
from exchange.problems import Code, Problem
from tests.exchange.components import base_of, component_value

KEY = signing_key_of(Algorithm.ED25519)
FIND = finder(KEY)
SENT = sealed_request(KEY)
ANSWER = sealed_response(KEY, SENT)

EditRequest = Callable[[RequestHead], RequestHead]


def opened(head: RequestHead, *, now: int = NOW) -> object:
    return outcome(lambda: open_request(head, FIND, now=now))


def opened_response(response: ResponseHead, request: RequestHead = SENT) -> object:
    return outcome(lambda: open_response(request, response, FIND, now=NOW))


def code_of(result: object) -> Code | None:
    return result.code if isinstance(result, Problem) else None


def without(headers: Headers, name: str) -> Headers:
    return tuple(line for line in headers if line[0] != name)


def changed(headers: Headers, name: str, value: str) -> Headers:
    return tuple((n, value if n == name else v) for n, v in headers)


def value_of(headers: Headers, name: str) -> str:
    return dict(headers)[name]


# --- what is signed ---


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_is_sealed_opens(algorithm: Algorithm) -> None:
    """Seal and open are a pair for both kinds of message and every algorithm."""
    key = signing_key_of(algorithm)
    sent = sealed_request(key)
    request = open_request(sent, finder(key), now=NOW)
    assert (request.keyid, request.created, request.expires, request.nonce) == (
        KEYID,
        NOW,
        NOW + 30,
        NONCE,
    )
    response = open_response(sent, sealed_response(key, sent), finder(key), now=NOW)
    assert (response.keyid, response.created, response.nonce) == (KEYID, NOW, "")
    assert response.expires == NOW + MAX_AGE_S


def test_a_request_covers_every_end_to_end_field() -> None:
    """Method, target and every field but those each server writes for itself."""
    lines, _ = parse_signature_base(open_request(SENT, FIND, now=NOW).base)
    names = {component.split('"')[1] for component in lines}
    assert names == {"@method", "@target-uri"} | {
        name for name, _ in REQUEST.headers if name not in {"host", "content-length"}
    }


def test_a_response_covers_its_request() -> None:
    """RFC 9421 section 2.4: method, target, digest, id and signature-input of the request."""
    lines, _ = parse_signature_base(open_response(SENT, ANSWER, FIND, now=NOW).base)
    assert {
        component: value for component, value in lines.items() if component.endswith(";req")
    } == {
        '"@method";req': SENT.method,
        '"@target-uri";req': SENT.target_uri,
        '"content-digest";req': value_of(SENT.headers, "content-digest"),
        '"x-road-id";req': value_of(SENT.headers, "x-road-id"),
        '"signature-input";req': value_of(SENT.headers, "signature-input"),
    }
    assert lines['"@status"'] == "200"
    assert lines['"set-cookie";bs'] == ":YT0x:, :Yj0y:"


def test_repeated_and_non_ascii_fields_are_wrapped() -> None:
    """RFC 9421 section 2.1.3: each line a byte sequence of its own."""
    lines, _ = parse_signature_base(open_request(SENT, FIND, now=NOW).base)
    assert lines['"x-tag";bs'] == ":Zmlyc3Q=:, :c2Vjb25k:"
    assert lines['"x-place";bs'] == ":VuRuZyBWaWVuZw==:"
    assert lines['"x-empty"'] == ""


def test_fields_that_nobody_forwards_may_change_on_the_way() -> None:
    """A hop-by-hop field, Host, Date or Content-Length is not part of what is signed."""
    noise = tuple((name, "changed") for name in sorted(NOT_COVERED) if "signature" not in name)
    head = replace(SENT, headers=noise + without(without(SENT.headers, "host"), "content-length"))
    assert code_of(opened(head)) is None


def test_different_fields_may_change_places() -> None:
    """RFC 9110 section 5.3: only lines of one name have an order."""
    tags = tuple(line for line in SENT.headers if line[0] == "x-tag")
    head = replace(SENT, headers=tags + tuple(reversed(without(SENT.headers, "x-tag"))))
    assert code_of(opened(head)) is None


def test_the_label_means_nothing() -> None:
    """RFC 9421 section 7.2.5: a label is not signed; ours is found by its tag."""
    relabelled = tuple(
        (name, value.replace("saphan=", "other=", 1) if name.startswith("signature") else value)
        for name, value in SENT.headers
    )
    assert code_of(opened(replace(SENT, headers=relabelled))) is None


def test_another_party_may_sign_beside_us() -> None:
    """A signature with another tag is neither needed nor in the way."""
    headers = tuple(
        (name, f"gate={'()' if name.endswith('input') else ':AAAA:'}, {value}")
        if name.startswith("signature")
        else (name, value)
        for name, value in SENT.headers
    )
    assert code_of(opened(replace(SENT, headers=headers))) is None


_NAME = st.from_regex(r"[a-z][a-z0-9\-]{0,12}", fullmatch=True).filter(
    lambda name: name not in NOT_COVERED and name not in {"content-digest", "x-road-id"}
)
_VALUE = st.from_regex(
    r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True
)
_HEADERS = st.lists(st.tuples(_NAME, _VALUE), max_size=12).map(tuple)


@st.composite
def requests(draw: st.DrawFn) -> RequestHead:
    path = draw(st.from_regex(r"[A-Za-z0-9/%.;=&?~:@+\-]{0,30}", fullmatch=True))
    required = (
        ("content-digest", content_digest(draw(st.binary(max_size=8)))),
        ("x-road-id", draw(st.from_regex(r"[!-~]{1,20}", fullmatch=True))),
    )
    method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]))
    return RequestHead(method, f"https://h/{path}", draw(_HEADERS) + required)


@given(requests(), _HEADERS, st.integers(100, 999))
def test_any_head_opens_as_it_was_sealed(
    request: RequestHead, headers: Headers, status: int
) -> None:
    """Round trip over random heads; the base is that of the general resolver."""
    signed = seal_request(request, KEY, created=NOW, expires=NOW + 60, nonce=NONCE)
    sent = request.with_headers(signed.headers_to_add)
    received = open_request(sent, FIND, now=NOW)
    assert (received.base, received.signature) == (signed.base, signed.signature)
    (member,) = parse_signature_input(received.signature_input)
    assert base_of(member, sent) == signed.base

    response = ResponseHead(status, (*headers, ("content-digest", content_digest(b""))))
    sealed = seal_response(sent, response, KEY, created=NOW)
    answer = response.with_headers(sealed.headers_to_add)
    back = open_response(sent, answer, FIND, now=NOW)
    assert (back.base, back.signature) == (sealed.base, sealed.signature)
    (member,) = parse_signature_input(back.signature_input)
    assert base_of(member, answer, sent) == sealed.base


# --- one change, one refusal ---

COVERED = sorted({name for name, _ in REQUEST.headers} - NOT_COVERED)


@pytest.mark.parametrize("name", COVERED)
def test_a_request_that_lost_a_field_is_refused(name: str) -> None:
    """What was signed must be there; without digest or id there is nothing to judge."""
    expected = Code.INVALID_HEADER if name in {"content-digest", "x-road-id"} else None
    found = code_of(opened(replace(SENT, headers=without(SENT.headers, name))))
    assert found is (expected or Code.INVALID_SIGNATURE)


@pytest.mark.parametrize("name", COVERED)
def test_a_request_with_a_changed_field_is_refused(name: str) -> None:
    """Every covered value is under the signature."""
    head = replace(SENT, headers=changed(SENT.headers, name, value_of(SENT.headers, name) + "x"))
    assert code_of(opened(head)) is Code.INVALID_SIGNATURE


@pytest.mark.parametrize("name", COVERED)
def test_a_request_with_a_doubled_field_is_refused(name: str) -> None:
    """A second line of a name is another message, even with the same value."""
    head = replace(SENT, headers=(*SENT.headers, (name, value_of(SENT.headers, name))))
    expected = Code.INVALID_HEADER if name in {"content-digest", "x-road-id"} else None
    assert code_of(opened(head)) is (expected or Code.INVALID_SIGNATURE)


def _swap(a: str, b: str) -> EditRequest:
    def edit(head: RequestHead) -> RequestHead:
        names = {a: b, b: a}
        return replace(head, headers=tuple((names.get(n, n), v) for n, v in head.headers))

    return edit


def _headers(change: Callable[[Headers], Headers]) -> EditRequest:
    return lambda head: replace(head, headers=change(head.headers))


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        pytest.param(lambda h: replace(h, method="PUT"), Code.INVALID_SIGNATURE, id="method"),
        pytest.param(
            lambda h: replace(h, target_uri=h.target_uri + "&x=1"),
            Code.INVALID_SIGNATURE,
            id="query",
        ),
        pytest.param(
            lambda h: replace(h, target_uri=h.target_uri.replace("MPI", "MOF")),
            Code.INVALID_SIGNATURE,
            id="path",
        ),
        pytest.param(
            lambda h: replace(h, target_uri=h.target_uri.replace("ss1", "ss2")),
            Code.INVALID_SIGNATURE,
            id="host of the target",
        ),
        pytest.param(
            lambda h: replace(h, target_uri=h.target_uri.replace("https", "http")),
            Code.INVALID_SIGNATURE,
            id="scheme",
        ),
        pytest.param(
            _headers(lambda h: (("authorization", "Bearer x"), *h)),
            Code.MALFORMED_SIGNATURE,
            id="field added",
        ),
        pytest.param(
            _headers(lambda h: (*h, ("x-forwarded-for", ""))),
            Code.MALFORMED_SIGNATURE,
            id="empty field added",
        ),
        pytest.param(
            _headers(lambda h: (*h, ("x-added", "1"), ("x-added", "2"))),
            Code.MALFORMED_SIGNATURE,
            id="repeated field added",
        ),
        pytest.param(
            _swap("x-road-client", "x-road-service"), Code.INVALID_SIGNATURE, id="values swapped"
        ),
        pytest.param(_swap("x-road-client", "x-other"), Code.INVALID_SIGNATURE, id="field renamed"),
        pytest.param(
            _headers(
                lambda h: tuple((n, {"first": "second", "second": "first"}.get(v, v)) for n, v in h)
            ),
            Code.INVALID_SIGNATURE,
            id="repeated lines reordered",
        ),
        pytest.param(
            _headers(lambda h: (*without(h, "x-tag"), ("x-tag", "first, second"))),
            Code.INVALID_SIGNATURE,
            id="repeated lines merged",
        ),
        pytest.param(
            _headers(
                lambda h: (
                    *without(h, "accept-language"),
                    ("accept-language", "lo"),
                    ("accept-language", "en;q=0.8"),
                )
            ),
            Code.INVALID_SIGNATURE,
            id="one line split",
        ),
        pytest.param(
            _headers(lambda h: changed(h, "content-digest", content_digest(b"{}"))),
            Code.INVALID_SIGNATURE,
            id="digest of another body",
        ),
    ],
)
def test_a_changed_request_is_refused(edit: EditRequest, code: Code) -> None:
    """Whatever else of the head was changed, it does not open."""
    assert code_of(opened(edit(SENT))) is code


@given(st.data())
def test_no_character_of_what_was_signed_can_change(data: st.DataObject) -> None:
    """One other character in any covered value or signature field is refused as a Problem."""
    lines = [
        index
        for index, (name, _) in enumerate(SENT.headers)
        if name not in {"host", "content-length"}
    ]
    index = data.draw(st.sampled_from(lines))
    name, value = SENT.headers[index]
    position = data.draw(st.integers(0, len(value)))
    character = data.draw(st.characters(codec="latin-1") | st.just(""))
    edited = value[:position] + character + value[position + 1 :]
    if edited == value:
        return
    headers = (*SENT.headers[:index], (name, edited), *SENT.headers[index + 1 :])
    assert code_of(opened(replace(SENT, headers=headers))) in {
        Code.INVALID_SIGNATURE,
        Code.MALFORMED_SIGNATURE,
        Code.MISSING_SIGNATURE,
        Code.STALE_SIGNATURE,
        Code.CERTIFICATE_MISMATCH,
        Code.INVALID_HEADER,
    }


# --- responses ---

RESPONSE_COVERED = sorted({name for name, _ in RESPONSE.headers} - NOT_COVERED)


@pytest.mark.parametrize("name", RESPONSE_COVERED)
def test_a_response_that_lost_a_field_is_refused(name: str) -> None:
    """What was signed must be there."""
    answer = replace(ANSWER, headers=without(ANSWER.headers, name))
    expected = Code.INVALID_HEADER if name == "content-digest" else Code.INVALID_SIGNATURE
    assert code_of(opened_response(answer)) is expected


@pytest.mark.parametrize("name", RESPONSE_COVERED)
def test_a_response_with_a_changed_field_is_refused(name: str) -> None:
    """Every covered value is under the signature; another id is another exchange."""
    answer = replace(
        ANSWER, headers=changed(ANSWER.headers, name, value_of(ANSWER.headers, name) + "x")
    )
    expected = Code.INCONSISTENT_RESPONSE if name == "x-road-id" else Code.INVALID_SIGNATURE
    assert code_of(opened_response(answer)) is expected


def test_a_changed_status_is_refused() -> None:
    """@status is under the signature."""
    assert code_of(opened_response(replace(ANSWER, status=404))) is Code.INVALID_SIGNATURE


def test_a_field_added_to_a_response_is_refused() -> None:
    """Nothing unsigned reaches the application."""
    answer = ANSWER.with_headers((("x-road-error", "none"),))
    assert code_of(opened_response(answer)) is Code.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        pytest.param(lambda h: replace(h, method="PUT"), Code.INVALID_SIGNATURE, id="method"),
        pytest.param(
            lambda h: replace(h, target_uri=h.target_uri + "&x=1"),
            Code.INVALID_SIGNATURE,
            id="target",
        ),
        pytest.param(
            _headers(lambda h: changed(h, "content-digest", content_digest(b""))),
            Code.INVALID_SIGNATURE,
            id="digest",
        ),
        pytest.param(
            _headers(
                lambda h: changed(h, "signature-input", value_of(h, "signature-input") + ";x=1")
            ),
            Code.INVALID_SIGNATURE,
            id="signature-input",
        ),
        pytest.param(
            _headers(lambda h: changed(h, "x-road-id", "another")),
            Code.INCONSISTENT_RESPONSE,
            id="message id",
        ),
    ],
)
def test_a_response_answers_one_request_only(edit: EditRequest, code: Code) -> None:
    """RFC 9421 section 2.4: the answer to any other request does not open."""
    assert code_of(opened_response(ANSWER, edit(SENT))) is code


def test_the_same_request_sealed_again_has_another_answer() -> None:
    """A repeated request differs by its nonce, so an old answer cannot be played to it."""
    signed = seal_request(REQUEST, KEY, created=NOW, expires=NOW + 30, nonce=NONCE[::-1])
    again = REQUEST.with_headers(signed.headers_to_add)
    assert code_of(opened_response(ANSWER, again)) is Code.INVALID_SIGNATURE


def test_a_request_cannot_pass_for_a_response() -> None:
    """The tags keep the two kinds of signature apart."""
    mirrored = ResponseHead(200, SENT.headers)
    assert code_of(opened_response(mirrored)) is Code.MISSING_SIGNATURE
    assert code_of(opened(replace(SENT, headers=ANSWER.headers))) is Code.MISSING_SIGNATURE


# --- refusals of the profile: the cryptography is right, the rules are broken ---

REQUEST_PARAMETERS: dict[str, str | int] = {
    "created": NOW,
    "expires": NOW + 30,
    "nonce": NONCE,
    "keyid": KEYID,
    "alg": "ed25519",
    "tag": "saphan-request",
}
RESPONSE_PARAMETERS: dict[str, str | int] = {
    "created": NOW,
    "keyid": KEYID,
    "alg": "ed25519",
    "tag": "saphan-response",
}
REQUEST_VALUES = parse_signature_base(open_request(SENT, FIND, now=NOW).base)[0]
RESPONSE_VALUES = parse_signature_base(open_response(SENT, ANSWER, FIND, now=NOW).base)[0]


def forged(parameters: dict[str, str | int], components: list[str] | None = None) -> RequestHead:
    return REQUEST.with_headers(sign_anything(KEY, REQUEST_VALUES, parameters, components))


def forged_response(
    parameters: dict[str, str | int], components: list[str] | None = None
) -> ResponseHead:
    return RESPONSE.with_headers(sign_anything(KEY, RESPONSE_VALUES, parameters, components))


def test_the_forger_makes_good_signatures() -> None:
    """The control: with the parameters of the profile, in any order, forged heads open."""
    assert code_of(opened(forged(REQUEST_PARAMETERS))) is None
    reordered = dict(reversed(REQUEST_PARAMETERS.items()))
    assert code_of(opened(forged(reordered, sorted(REQUEST_VALUES)))) is None
    assert code_of(opened_response(forged_response(RESPONSE_PARAMETERS))) is None


@pytest.mark.parametrize("name", ["created", "expires", "nonce", "keyid", "alg"])
def test_a_parameter_of_the_profile_must_be_there(name: str) -> None:
    """Without expires a message lives for ever, without nonce it can be replayed, and so on."""
    parameters = {key: value for key, value in REQUEST_PARAMETERS.items() if key != name}
    assert code_of(opened(forged(parameters))) is Code.MALFORMED_SIGNATURE
    if name in RESPONSE_PARAMETERS:
        parameters = {key: value for key, value in RESPONSE_PARAMETERS.items() if key != name}
        assert code_of(opened_response(forged_response(parameters))) is Code.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({"priority": "1"}, Code.MALFORMED_SIGNATURE, id="unknown parameter"),
        pytest.param({"tag": "saphan-response"}, Code.MISSING_SIGNATURE, id="other tag of ours"),
        pytest.param({"tag": "Saphan-Request"}, Code.MISSING_SIGNATURE, id="foreign tag"),
        pytest.param({"tag": 1}, Code.MISSING_SIGNATURE, id="tag not a string"),
        pytest.param({"alg": "ecdsa-p256-sha256"}, Code.INVALID_SIGNATURE, id="other algorithm"),
        pytest.param({"alg": "hmac-sha256"}, Code.INVALID_SIGNATURE, id="symmetric algorithm"),
        pytest.param({"alg": ""}, Code.INVALID_SIGNATURE, id="empty algorithm"),
        pytest.param({"alg": 1}, Code.MALFORMED_SIGNATURE, id="alg not a string"),
        pytest.param({"keyid": "ff" * 32}, Code.CERTIFICATE_MISMATCH, id="unknown key"),
        pytest.param({"keyid": 1}, Code.MALFORMED_SIGNATURE, id="keyid not a string"),
        pytest.param({"nonce": "short"}, Code.MALFORMED_SIGNATURE, id="nonce under 128 bits"),
        pytest.param({"nonce": "x" * 129}, Code.MALFORMED_SIGNATURE, id="nonce too long"),
        pytest.param({"nonce": 7}, Code.MALFORMED_SIGNATURE, id="nonce not a string"),
        pytest.param({"created": str(NOW)}, Code.MALFORMED_SIGNATURE, id="created a string"),
        pytest.param({"expires": str(NOW)}, Code.MALFORMED_SIGNATURE, id="expires a string"),
        pytest.param({"expires": NOW}, Code.STALE_SIGNATURE, id="no life at all"),
        pytest.param({"expires": NOW - 1}, Code.STALE_SIGNATURE, id="expires before created"),
        pytest.param({"expires": NOW + MAX_AGE_S + 1}, Code.STALE_SIGNATURE, id="lives too long"),
        pytest.param(
            {"created": -(10**14), "expires": 10**14}, Code.STALE_SIGNATURE, id="lives for ever"
        ),
    ],
)
def test_a_request_outside_the_profile_is_refused(
    parameters: dict[str, str | int], code: Code
) -> None:
    """A signature that is cryptographically right is not enough."""
    assert code_of(opened(forged({**REQUEST_PARAMETERS, **parameters}))) is code


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({"expires": NOW + 30}, Code.MALFORMED_SIGNATURE, id="expires"),
        pytest.param({"nonce": NONCE}, Code.MALFORMED_SIGNATURE, id="nonce"),
        pytest.param({"created": str(NOW)}, Code.MALFORMED_SIGNATURE, id="created a string"),
        pytest.param({"alg": "rsa-pss-sha512"}, Code.INVALID_SIGNATURE, id="other algorithm"),
        pytest.param({"tag": "saphan-request"}, Code.MISSING_SIGNATURE, id="tag of a request"),
        pytest.param(
            {"created": NOW - MAX_AGE_S - MAX_SKEW_S - 1}, Code.STALE_SIGNATURE, id="too old"
        ),
        pytest.param({"created": NOW + MAX_SKEW_S + 1}, Code.STALE_SIGNATURE, id="from the future"),
    ],
)
def test_a_response_outside_the_profile_is_refused(
    parameters: dict[str, str | int], code: Code
) -> None:
    """The same for a response."""
    head = forged_response({**RESPONSE_PARAMETERS, **parameters})
    assert code_of(opened_response(head)) is code


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (NOW - MAX_SKEW_S - 1, Code.STALE_SIGNATURE),
        (NOW - MAX_SKEW_S, None),
        (NOW, None),
        (NOW + 30 + MAX_SKEW_S, None),
        (NOW + 30 + MAX_SKEW_S + 1, Code.STALE_SIGNATURE),
    ],
)
def test_a_request_opens_while_it_lives(now: int, code: Code | None) -> None:
    """From created to expires, and as far beyond as clocks may differ."""
    assert code_of(opened(SENT, now=now)) is code


@pytest.mark.parametrize("component", sorted(REQUEST_VALUES))
def test_a_component_left_uncovered_is_refused(component: str) -> None:
    """The signature must cover all; the fact names what it does not."""
    components = [other for other in REQUEST_VALUES if other != component]
    result = opened(forged(REQUEST_PARAMETERS, components))
    assert code_of(result) is Code.MALFORMED_SIGNATURE
    assert isinstance(result, Problem)
    assert result.facts["uncovered"] == [component]


@pytest.mark.parametrize("component", sorted(RESPONSE_VALUES))
def test_a_response_component_left_uncovered_is_refused(component: str) -> None:
    """A response that does not bind its request is inconsistent."""
    components = [other for other in RESPONSE_VALUES if other != component]
    bound = component.endswith(";req")
    assert code_of(opened_response(forged_response(RESPONSE_PARAMETERS, components))) is (
        Code.INCONSISTENT_RESPONSE if bound else Code.MALFORMED_SIGNATURE
    )


def test_a_signature_over_nothing_is_refused() -> None:
    """RFC 9421 section 7.2.1: an empty list proves nothing about the message."""
    assert code_of(opened(forged(REQUEST_PARAMETERS, []))) is Code.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    "component",
    ['"@authority"', '"host"', '"x-tag"', '"accept";bs', '"content-digest";req', '"accept";sf'],
)
def test_a_component_outside_the_profile_is_refused(component: str) -> None:
    """There is one way to cover a message; others do not open even if they verify."""
    values = {**REQUEST_VALUES, component: "x"}
    head = REQUEST.with_headers(sign_anything(KEY, values, REQUEST_PARAMETERS))
    assert code_of(opened(head)) in {Code.MALFORMED_SIGNATURE, Code.INVALID_SIGNATURE}


@pytest.mark.parametrize("component", ['"@method"', '"content-digest"', '"x-tag";bs'])
def test_a_component_covered_twice_is_refused(component: str) -> None:
    """RFC 9421 section 2: each component identifier occurs once."""
    for components in (
        [*REQUEST_VALUES, component],
        [component if other == '"accept"' else other for other in REQUEST_VALUES],
    ):
        result = opened(forged(REQUEST_PARAMETERS, components))
        assert code_of(result) is Code.MALFORMED_SIGNATURE


def _edit_field(name: str, edit: Callable[[str], str]) -> RequestHead:
    return replace(SENT, headers=changed(SENT.headers, name, edit(value_of(SENT.headers, name))))


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param(REQUEST, Code.MISSING_SIGNATURE, id="no signature at all"),
        pytest.param(
            replace(SENT, headers=without(SENT.headers, "signature")),
            Code.MISSING_SIGNATURE,
            id="no Signature",
        ),
        pytest.param(
            replace(SENT, headers=without(SENT.headers, "signature-input")),
            Code.MISSING_SIGNATURE,
            id="no Signature-Input",
        ),
        pytest.param(
            _edit_field("signature-input", lambda v: ""), Code.MISSING_SIGNATURE, id="empty input"
        ),
        pytest.param(
            _edit_field("signature-input", lambda v: v.replace("saphan=", "b=")),
            Code.MALFORMED_SIGNATURE,
            id="labels differ",
        ),
        pytest.param(
            _edit_field("signature-input", lambda v: v[:-1]),
            Code.MALFORMED_SIGNATURE,
            id="input cut short",
        ),
        pytest.param(
            _edit_field("signature-input", lambda v: v + "," + "x" * MAX_FIELD_LENGTH),
            Code.MALFORMED_SIGNATURE,
            id="input too long",
        ),
        pytest.param(
            _edit_field("signature-input", lambda v: f"{v}, b={v.removeprefix('saphan=')}"),
            Code.MALFORMED_SIGNATURE,
            id="two signatures with our tag",
        ),
        pytest.param(
            SENT.with_headers((("signature-input", "b=();created=1"),)),
            Code.MALFORMED_SIGNATURE,
            id="Signature-Input twice",
        ),
        pytest.param(
            SENT.with_headers((("signature", "b=:AAAA:"),)),
            Code.MALFORMED_SIGNATURE,
            id="Signature twice",
        ),
        pytest.param(
            _edit_field("signature", lambda v: v[:-4] + ":"),
            Code.MALFORMED_SIGNATURE,
            id="signature not base64 any more",
        ),
        pytest.param(
            _edit_field("signature", lambda v: f"saphan=:{v[8:-5]}:"),
            Code.INVALID_SIGNATURE,
            id="signature truncated",
        ),
        pytest.param(
            _edit_field("signature", lambda v: "saphan=:AAAA:"),
            Code.INVALID_SIGNATURE,
            id="another signature",
        ),
    ],
)
def test_broken_signature_fields_are_refused(head: RequestHead, code: Code) -> None:
    """Missing, malformed, doubled or truncated signature fields."""
    assert code_of(opened(head)) is code


# --- lines that must not be ---


@pytest.mark.parametrize(
    ("line", "where"),
    [
        pytest.param(("x-a", "a\r\nx-b: b"), "x-a", id="CR LF"),
        pytest.param(("x-a", "a\nb"), "x-a", id="LF"),
        pytest.param(("x-a", "a\rb"), "x-a", id="CR"),
        pytest.param(("x-a", "a\0b"), "x-a", id="NUL"),
        pytest.param(("x-a", "a\x7fb"), "x-a", id="DEL"),
        pytest.param(("x-a", "\xe9\n"), "x-a", id="LF beside non-ASCII"),
        pytest.param(("x-a", "\u0e81\u0ebb"), "x-a", id="not Latin-1"),
        pytest.param(("x-a", " a"), "x-a", id="space before"),
        pytest.param(("x-a", "a\t"), "x-a", id="tab after"),
        pytest.param(("x-a", " "), "x-a", id="only space"),
        pytest.param(("x-a", "a" * (MAX_VALUE_LENGTH + 1)), "x-a", id="too long"),
        pytest.param(("X-A", "a"), "X-A", id="upper case name"),
        pytest.param(("", "a"), "", id="empty name"),
        pytest.param(("x a", "a"), "x a", id="space in a name"),
        pytest.param(('x"', "a"), 'x"', id="quote in a name"),
        pytest.param(("@method", "GET"), "@method", id="name of a derived component"),
        pytest.param(("x-\xe9", "a"), "x-\xe9", id="non-ASCII name"),
        pytest.param(("x" * 257, "a"), "x" * 80, id="name too long"),
    ],
)
def test_a_line_that_http_does_not_allow_is_refused(line: tuple[str, str], where: str) -> None:
    """RFC 9110 section 5: refused when sealing and when opening, so no line can forge another."""
    sealing = outcome(lambda: sealed_request(KEY, REQUEST.with_headers((line,))))
    answering = outcome(lambda: sealed_response(KEY, SENT, RESPONSE.with_headers((line,))))
    results = [
        sealing,
        answering,
        opened(SENT.with_headers((line,))),
        opened_response(ANSWER.with_headers((line,))),
    ]
    assert [code_of(result) for result in results] == [Code.INVALID_HEADER] * 4
    assert all(isinstance(result, Problem) and result.where == where for result in results)


def test_too_many_lines_are_refused() -> None:
    """At most 100 header lines, counted before anything else is looked at."""
    many = tuple((f"x-{number}", "1") for number in range(MAX_HEADERS - len(REQUEST.headers)))
    fits = REQUEST.with_headers(many)
    signed = seal_request(fits, KEY, created=NOW, expires=NOW + 30, nonce=NONCE)
    assert signed.headers_to_add
    result = outcome(lambda: sealed_request(KEY, fits.with_headers((("x-more", "1"),))))
    assert code_of(result) is Code.INVALID_HEADER
    crowd = tuple(("connection", "x") for _ in range(MAX_HEADERS))
    assert code_of(opened(SENT.with_headers(crowd))) is Code.INVALID_HEADER


@pytest.mark.parametrize("value", ["a\tb", "a" * MAX_VALUE_LENGTH, '": x', "caf\xe9", "~", "a  b"])
def test_an_allowed_value_passes(value: str) -> None:
    """Tabs inside, the greatest length and Latin-1 bytes are as good as plain text."""
    head = sealed_request(KEY, REQUEST.with_headers((("x-a", value),)))
    assert code_of(opened(head)) is None


@pytest.mark.parametrize("name", ["content-digest", "x-road-id"])
def test_a_request_is_not_sealed_without_what_its_answer_binds(name: str) -> None:
    """Digest and id must be there, once."""
    lacking = replace(REQUEST, headers=without(REQUEST.headers, name))
    doubled = REQUEST.with_headers(((name, "x"),))
    for head in (lacking, doubled):
        result = outcome(lambda head=head: sealed_request(KEY, head))
        assert isinstance(result, Problem)
        assert (result.code, result.where) == (Code.INVALID_HEADER, name)


@pytest.mark.parametrize("name", ["content-digest", "x-road-id", "signature-input"])
def test_no_answer_to_a_request_that_cannot_be_bound(name: str) -> None:
    """What the response must cover of its request has to be there, once, in ASCII."""
    value = value_of(SENT.headers, name)
    for headers in (
        without(SENT.headers, name),
        (*SENT.headers, (name, value)),
        changed(SENT.headers, name, value + "\xe9"),
        changed(SENT.headers, name, value + "\n"),
    ):
        result = outcome(
            lambda headers=headers: sealed_response(KEY, replace(SENT, headers=headers))
        )
        assert isinstance(result, Problem)
        assert (result.code, result.where) == (Code.INVALID_HEADER, name)


@pytest.mark.parametrize("name", ["signature", "signature-input"])
def test_a_signed_head_is_not_signed_again(name: str) -> None:
    """A signature of the application's own would be lost or mistaken: it is refused."""
    line = ((name, "app=:AAAA:"),)
    assert code_of(outcome(lambda: sealed_request(KEY, REQUEST.with_headers(line)))) is (
        Code.INVALID_HEADER
    )
    answering = outcome(lambda: sealed_response(KEY, SENT, RESPONSE.with_headers(line)))
    assert code_of(answering) is Code.INVALID_HEADER


@pytest.mark.parametrize("nonce", ["", "x" * 21, "x" * 129, 'x"' * 16, "x\\" * 16, "x y" * 16])
def test_sealing_wants_a_good_nonce(nonce: str) -> None:
    """A nonce under 128 bits, or one that breaks the field, is an error of this server."""
    with pytest.raises(ValueError, match="nonce"):
        seal_request(REQUEST, KEY, created=NOW, expires=NOW + 30, nonce=nonce)


@pytest.mark.parametrize("method", ["", "get", "GE T", "GET\n", "G\xc9T", "X" * 21])
def test_an_illegal_method_cannot_exist(method: str) -> None:
    """A request head is checked on construction."""
    assert code_of(outcome(lambda: RequestHead(method, "https://h/", ()))) is Code.INVALID_REQUEST


@pytest.mark.parametrize(
    "target",
    [
        *("", "/", "//h/", "ftp://h/", "https://", "https://h/ ", "https://h/a b", "https://h/\n"),
        *("https://h/\xe9", "https://h/#f", "HTTPS://h/", "https://h/" + "a" * 8192),
    ],
)
def test_an_illegal_target_cannot_exist(target: str) -> None:
    """Absolute http or https URI of visible ASCII without fragment."""
    assert code_of(outcome(lambda: RequestHead("GET", target, ()))) is Code.INVALID_REQUEST


@pytest.mark.parametrize("status", [-1, 0, 99, 1000])
def test_an_illegal_status_cannot_exist(status: int) -> None:
    """A status has three digits."""
    assert code_of(outcome(lambda: ResponseHead(status, ()))) is Code.INVALID_HEADER


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["signature", "signature-input", "content-digest", "x-road-id", "x-a"])
        | st.text(max_size=5),
        st.text(max_size=30)
        | st.from_regex(r'saphan=\("[@a-z"; -]{0,40}\);[a-z=;0-9"-]{0,60}', fullmatch=True)
        | st.from_regex(r"saphan=:[A-Za-z0-9+/]{0,88}={0,2}:", fullmatch=True),
    ),
    max_size=6,
).map(tuple)


@given(lines=_LINES, beside=st.booleans())
def test_no_head_breaks_the_verifier(lines: Headers, beside: bool) -> None:
    """Whatever the lines, opening returns or raises a Problem: never another exception."""
    base = SENT if beside else REQUEST
    opened(base.with_headers(lines))
    opened_response(ResponseHead(200, (*RESPONSE.headers, *lines)))
    opened_response(ANSWER, base.with_headers(lines))


def test_a_value_never_reads_as_another_line() -> None:
    """A value that looks like a line of the base is one value still."""
    trick = '": x", "@status": 200'
    head = sealed_request(KEY, REQUEST.with_headers((("x-a", trick),)))
    lines, _ = parse_signature_base(open_request(head, FIND, now=NOW).base)
    assert lines['"x-a"'] == trick == component_value('"x-a"', head)
    assert not re.search(r"\n.*\n", trick)


# --- two ways to one base ---

PLAIN = RequestHead(
    REQUEST.method,
    REQUEST.target_uri,
    tuple(
        line
        for line in REQUEST.headers
        if line[0] not in {"x-tag", "x-place"} and line[0] not in NOT_COVERED
    ),
)
PLAIN_SENT = sealed_request(KEY, PLAIN)
PLAIN_RESPONSE = ResponseHead(200, without(RESPONSE.headers, "set-cookie"))
PLAIN_ANSWER = sealed_response(KEY, PLAIN_SENT, PLAIN_RESPONSE)


def told(result: object) -> object:
    """All that a problem says, or what was opened."""
    if isinstance(result, Problem):
        return result.code, result.where, result.detail, result.facts
    return result


def test_plain_heads_are_opened_by_their_form() -> None:
    """What sealing writes over a plain head does not need the general parser."""
    assert envelope._own_writing(PLAIN_SENT.headers, of_request=True)
    assert envelope._own_writing(PLAIN_ANSWER.headers, of_request=False)
    assert not envelope._own_writing(SENT.headers, of_request=True)


@given(requests(), _HEADERS, st.integers(100, 999))
def test_both_ways_seal_the_same(request: RequestHead, headers: Headers, status: int) -> None:
    """By the form of a head or line by line: the same fields over the same base."""
    signed = seal_request(request, KEY, created=NOW, expires=NOW + 60, nonce=NONCE)
    tail = signed.signature_input[signed.signature_input.index(");created") + 1 :]
    assert signed == line_by_line.seal_request_lines(request, KEY, tail)
    sent = request.with_headers(signed.headers_to_add)
    response = ResponseHead(status, (*headers, ("content-digest", content_digest(b""))))
    sealed = seal_response(sent, response, KEY, created=NOW)
    tail = sealed.signature_input[sealed.signature_input.index(");created") + 1 :]
    assert sealed == line_by_line.seal_response_lines(sent, response, KEY, tail)


_ODD = st.sampled_from([*' "=:;,%()\t\n\\A0', "\xe4", "\0", "ທ"])


@st.composite
def edits(draw: st.DrawFn) -> Callable[[Headers], Headers]:
    """One change of some lines: of a character, a line, their order."""
    place, character, odd = draw(st.integers(0, 40)), draw(st.integers(0, 400)), draw(_ODD)
    kind = draw(
        st.sampled_from(["keep", "put", "replace", "drop", "double", "move", "name", "add"])
    )

    def edit(headers: Headers) -> Headers:
        lines = list(headers)
        index = place % len(lines)
        name, value = lines[index]
        at = character % (len(value) + 1)
        match kind:
            case "put":
                lines[index] = (name, value[:at] + odd + value[at:])
            case "replace":
                lines[index] = (name, value[:at] + odd + value[at + 1 :])
            case "drop":
                del lines[index]
            case "double":
                lines.append((name, value))
            case "move":
                lines.append(lines.pop(index))
            case "name":
                lines[index] = (name + odd, value)
            case "add":
                lines.append(("x-more", odd))
        return tuple(lines)

    return edit


@settings(max_examples=400)
@given(edits(), edits(), st.integers(-10, 80))
def test_both_ways_open_and_refuse_the_same(
    of_request: Callable[[Headers], Headers],
    of_response: Callable[[Headers], Headers],
    later: int,
) -> None:
    """Whatever is changed: the same finding, or the same problem in the same words."""
    now = NOW + later
    request = replace(PLAIN_SENT, headers=of_request(PLAIN_SENT.headers))
    response = replace(PLAIN_ANSWER, headers=of_response(PLAIN_ANSWER.headers))
    ages = MAX_SKEW_S, MAX_AGE_S
    assert told(outcome(lambda: open_request(request, FIND, now=now))) == told(
        outcome(lambda: line_by_line.open_request_lines(request, FIND, now, *ages))
    )
    assert told(outcome(lambda: open_response(request, response, FIND, now=now))) == told(
        outcome(lambda: line_by_line.open_response_lines(request, response, FIND, now, *ages))
    )


def test_forms_fill_no_memory() -> None:
    """Heads with names that never come again push each other out."""
    for number in range(1000):
        opened(PLAIN_SENT.with_headers(((f"x-{number}", "v"),)))
    assert forms._form.cache_info().currsize <= 256
    assert forms.form_of(tuple((f"x-{number}", "") for number in range(60))) is None
