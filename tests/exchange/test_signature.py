"""Rules of exchange.signature, and of components in general (RFC 9421)."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sealed_messages import KEYID, NONCE, NOW, REQUEST, RESPONSE, outcome

from exchange.keys import Algorithm, VerifyingKey
from exchange.messages.heads import RequestHead, ResponseHead
from exchange.messages.signature import (
    MAX_FIELD_LENGTH,
    MAX_MEMBERS,
    format_signature,
    format_signature_input,
    parse_signature,
    parse_signature_base,
    parse_signature_input,
    signature_base,
)
from exchange.problems import Code, Problem
from tests.exchange.components import base_of, component_value

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "rfc9421.json").read_text(encoding="utf-8")
)
CASES = [pytest.param(case, id=case["name"]) for case in VECTORS["cases"]]


def head_of(message: dict[str, Any]) -> RequestHead | ResponseHead:
    headers = tuple((name, value) for name, value in message["headers"])
    if "status" in message:
        return ResponseHead(message["status"], headers)
    return RequestHead(message["method"], message["target_uri"], headers)


def check_signature(algorithm: str, keyid: str, signature: bytes, base: bytes) -> bool:
    if algorithm == "hmac-sha256":
        tag = hmac.digest(b64decode(VECTORS["shared_secret"]), base, "sha256")
        return hmac.compare_digest(tag, signature)
    public_key = load_pem_public_key(VECTORS["public_keys"][keyid].encode())
    key = VerifyingKey(keyid, Algorithm(algorithm), public_key)  # type: ignore[arg-type]
    refusal = outcome(lambda: key.verify(signature, base))
    assert refusal is None or refusal.code is Code.INVALID_SIGNATURE
    return refusal is None


@pytest.mark.parametrize("case", CASES)
def test_rfc_9421_appendix_b(case: dict[str, Any]) -> None:
    """Every example of Appendix B gives its signature base byte for byte, and its verdict."""
    (member,) = parse_signature_input(case["signature_input"])
    signature = parse_signature(case["signature"])[member.label]
    base = base_of(member, head_of(case["message"]))
    if case["valid"]:
        assert base == case["base"].encode()
    verdict = check_signature(case["algorithm"], str(member.parameters["keyid"]), signature, base)
    assert verdict is case["valid"]


def test_rfc_9421_b_2_6_is_made_byte_for_byte() -> None:
    """Ed25519 is deterministic: signing B.2.6 again gives the published signature."""
    case = next(case for case in VECTORS["cases"] if case["name"] == "B.2.6")
    seed = urlsafe_b64decode(VECTORS["ed25519_private_key"] + "=")
    made = Ed25519PrivateKey.from_private_bytes(seed).sign(case["base"].encode())
    assert format_signature("sig-b26", made) == case["signature"]


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_base_reads_back(case: dict[str, Any]) -> None:
    """An auditor reads from a base alone what was signed, and with which parameters."""
    (member,) = parse_signature_input(case["signature_input"])
    lines, parameters = parse_signature_base(case["base"].encode())
    assert list(lines) == member.component_list()
    assert parameters.parameters == member.parameters


@pytest.mark.parametrize(
    "base",
    [
        b"",
        b'"@method": GET',
        b'"@signature-params": ',
        b'"@method": GET\n"@signature-params": ();created=1',
        b'"@signature-params": ("@method");created=1',
        b'"@method": GET\n"@method": GET\n"@signature-params": ("@method" "@method");created=1',
        b'"@method": GET\n\n"@signature-params": ("@method");created=1',
        b'"@method" GET\n"@signature-params": ("@method");created=1',
        b'"@method": GET\n"@signature-params": ("@method");created=1\n',
        b'"@signature-params": ();created=1, b=();created=2',
        b'"@method": G\xc3\x89T\n"@signature-params": ("@method");created=1',
    ],
)
def test_a_broken_base_is_refused(base: bytes) -> None:
    """A base whose lines are not the listed components, in order and once, says nothing."""
    with pytest.raises(Problem) as caught:
        parse_signature_base(base)
    assert caught.value.code is Code.MALFORMED_SIGNATURE


GOOD_INPUT = (
    f'saphan=("@method" "content-digest" "x-tag";bs);created={NOW};expires={NOW + 30}'
    f';nonce="{NONCE}";keyid="{KEYID}";alg="ed25519";tag="saphan-request"'
)


def test_a_member_is_read_as_it_stands() -> None:
    """Label, components, parameters and text are those of the field."""
    (member,) = parse_signature_input(GOOD_INPUT)
    assert member.label == "saphan"
    assert member.component_list() == ['"@method"', '"content-digest"', '"x-tag";bs']
    assert list(member.parameters) == ["created", "expires", "nonce", "keyid", "alg", "tag"]
    assert member.parameters["created"] == NOW
    assert f"saphan={member.text}" == GOOD_INPUT
    assert format_signature_input(member.component_list(), member.parameters) == member.text


def test_several_members_are_read() -> None:
    """Signatures of other parties may stand beside ours."""
    members = parse_signature_input('a=();created=1, *b-2.x=("date");tag="t"')
    assert [member.label for member in members] == ["a", "*b-2.x"]
    assert members[0].component_list() == []
    assert parse_signature("a=:AAAA:, *b-2.x=:AQ==:") == {"a": b"\0\0\0", "*b-2.x": b"\1"}


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        "saphan",
        "saphan=",
        "saphan=1",
        "saphan=?1",
        'saphan="text"',
        "saphan=(",
        "saphan=)",
        "saphan=(;created=1",
        "Saphan=();created=1",
        "9=();created=1",
        "=();created=1",
        " a=();created=1",
        "a=();created=1 ",
        "a=();created=1,",
        "a=();created=1, ",
        "a=();created=1,b=();created=1",
        "a=();created=1,  b=();created=1",
        "a=();created=1;b=();created=1",
        "a=();created=1, a=();created=1",
        "a=();created=1;created=1",
        'a=();nonce="1";nonce="2"',
        "a=();created",
        "a=();created=",
        "a=();created=01",
        "a=();created=-0",
        "a=();created=+1",
        "a=();created=1.5",
        "a=();created=1_000",
        "a=();created=1234567890123456",
        "a=();created=\u0661\u0662",
        "a=(); created=1",
        "a=();created =1",
        "a=() ;created=1",
        "a= ();created=1",
        'a=();tag="a\\"b"',
        'a=();tag="a\\\\b"',
        'a=();tag="unfinished',
        'a=();tag="tab\t"',
        'a=();tag="\xe9"',
        "a=();tag=token",
        "a=();tag=:AAAA:",
        "a=();tag=?1",
        'a=();Tag="x"',
        'a=("@method")("@path");created=1',
        'a=("x";key="(");created=1',
        "a=();created=1\n",
        "a=();created=1\x00",
        "a" * (MAX_FIELD_LENGTH + 1),
        ", ".join(f"m{number}=();created=1" for number in range(MAX_MEMBERS + 1)),
    ],
)
def test_only_the_canonical_spelling_of_signature_input_is_read(field: str) -> None:
    """Anything that would not print back identically, duplicates and excess are malformed."""
    with pytest.raises(Problem) as caught:
        parse_signature_input(field)
    assert caught.value.code is Code.MALFORMED_SIGNATURE
    assert caught.value.where == "signature-input"


@pytest.mark.parametrize(
    "field",
    [
        "",
        "saphan",
        "saphan=AAAA",
        "saphan=:AAAA",
        "saphan=::",
        "saphan=:AAA:",
        "saphan=:AAAA=:",
        "saphan=:AA=A:",
        "saphan=:AB==:",
        "saphan=:AAB=:",
        "saphan=:A-_A:",
        "saphan=:AAAA:;a=1",
        "saphan=: AAAA:",
        "saphan=:AAAA: ",
        "saphan=:AAAA:,b=:AAAA:",
        "a=:AAAA:, a=:AAAA:",
        "A=:AAAA:",
        "a=:AAA\xe9:",
        "a=:AAAA:\n",
        "a=:" + "A" * MAX_FIELD_LENGTH + ":",
        ", ".join(f"m{number}=:AAAA:" for number in range(MAX_MEMBERS + 1)),
    ],
)
def test_only_the_canonical_spelling_of_signature_is_read(field: str) -> None:
    """Base64 with wrong padding, unused bits, another alphabet or parameters is malformed."""
    with pytest.raises(Problem) as caught:
        parse_signature(field)
    assert caught.value.code is Code.MALFORMED_SIGNATURE
    assert caught.value.where == "signature"


labels = st.from_regex(r"[a-z*][a-z0-9_.*\-]{0,20}", fullmatch=True)
strings = st.from_regex(r"[ !#-\[\]-~]{0,30}", fullmatch=True)
integers = st.integers(-(10**15) + 1, 10**15 - 1)
components = st.lists(st.from_regex(r'"@?[a-z\-]{1,20}"(?:;bs|;req)?', fullmatch=True), max_size=6)
parameters = st.dictionaries(labels, strings | integers, max_size=8)


@settings(max_examples=30)  # of up to MAX_MEMBERS members each
@given(st.dictionaries(labels, st.tuples(components, parameters), min_size=1, max_size=MAX_MEMBERS))
def test_signature_input_round_trip(
    members: dict[str, tuple[list[str], dict[str, str | int]]],
) -> None:
    """What is written is read back, member by member."""
    texts = {label: format_signature_input(*member) for label, member in members.items()}
    read = parse_signature_input(", ".join(f"{label}={text}" for label, text in texts.items()))
    assert {member.label: member.text for member in read} == texts
    for member in read:
        assert (member.component_list(), member.parameters) == members[member.label]


@given(labels, st.binary(min_size=1, max_size=300))
def test_signature_round_trip(label: str, signature: bytes) -> None:
    """What is written is read back; a post-quantum signature of kilobytes would be too."""
    assert parse_signature(format_signature(label, signature)) == {label: signature}


@st.composite
def spoiled(draw: st.DrawFn, field: str) -> str:
    """A good field with some pieces cut out, doubled or replaced by what a grammar dislikes."""
    text = field
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        piece = draw(
            st.sampled_from(["", '"', "\\", "(", ")", ";", "=", ":", ",", ", ", " ", "0", "\x00"])
            | st.text(max_size=4)
            | st.just(text[start:end] * 2)
        )
        text = text[:start] + piece + text[end:]
    return text


@given(st.text() | st.text(alphabet='ab"()=;:, 019\\-*') | spoiled(GOOD_INPUT))
@example("a=();created=" + "9" * 5000)
@example("a=" + "(" * 8000)
@example("a=()" + ";a=1" * 4000)
@example('a=("' + '" "' * 5000 + '")')
def test_no_signature_input_breaks_the_parser(field: str) -> None:
    """Whatever the text: members that print back identically, or MalformedSignature."""
    members = outcome(lambda: parse_signature_input(field))
    if isinstance(members, Problem):
        assert members.code is Code.MALFORMED_SIGNATURE
    else:
        assert ", ".join(f"{member.label}={member.text}" for member in members) == field
        for member in members:
            assert format_signature_input(member.component_list(), member.parameters) == member.text


@given(st.text() | st.text(alphabet="ab=:, A+/") | spoiled("saphan=:AAECAwQFBgc=:"))
def test_no_signature_breaks_the_parser(field: str) -> None:
    """Whatever the text: values that print back identically, or MalformedSignature."""
    values = outcome(lambda: parse_signature(field))
    if isinstance(values, Problem):
        assert values.code is Code.MALFORMED_SIGNATURE
    else:
        assert ", ".join(format_signature(label, value) for label, value in values.items()) == field


@given(st.binary(max_size=200) | spoiled(VECTORS["cases"][2]["base"]).map(lambda t: t.encode()))
def test_no_base_breaks_its_parser(base: bytes) -> None:
    """Whatever the bytes: lines that build the same base again, or MalformedSignature."""
    read = outcome(lambda: parse_signature_base(base))
    if isinstance(read, Problem):
        assert read.code is Code.MALFORMED_SIGNATURE
    else:
        lines, member = read
        assert signature_base(lines, lines, member.text) == base


URL_HEAD = RequestHead("GET", "https://Example.COM:443/a%2Fb/?q=x+y%20z&n=%C3%A9&q2=&q2=2", ())


@pytest.mark.parametrize(
    ("component", "value"),
    [
        ('"@method"', "GET"),
        ('"@scheme"', "https"),
        ('"@authority"', "example.com"),
        ('"@path"', "/a%2Fb/"),
        ('"@query"', "?q=x+y%20z&n=%C3%A9&q2=&q2=2"),
        ('"@request-target"', "/a%2Fb/?q=x+y%20z&n=%C3%A9&q2=&q2=2"),
        ('"@target-uri"', URL_HEAD.target_uri),
        ('"@query-param";name="q"', "x%20y%20z"),
        ('"@query-param";name="n"', "%C3%A9"),
    ],
)
def test_derived_components_of_a_request(component: str, value: str) -> None:
    """RFC 9421 section 2.2."""
    assert component_value(component, URL_HEAD) == value


def test_a_field_joins_its_lines_or_wraps_them() -> None:
    """RFC 9421 sections 2.1 and 2.1.3; ;req resolves in the request (section 2.4)."""
    assert component_value('"x-tag"', REQUEST) == "first, second"
    assert component_value('"x-tag";bs', REQUEST) == ":Zmlyc3Q=:, :c2Vjb25k:"
    assert component_value('"x-empty"', REQUEST) == ""
    assert component_value('"x-tag";req;bs', RESPONSE, REQUEST) == ":Zmlyc3Q=:, :c2Vjb25k:"
    assert component_value('"@method";req', RESPONSE, REQUEST) == "POST"


@pytest.mark.parametrize(
    "component",
    [
        "",
        "x-tag",
        '"x-absent"',
        '"x-tag";sf',
        '"x-tag";key="a"',
        '"x-tag";tr',
        '"x-tag";bs;bs',
        '"x-place"',
        '"X-Tag"',
        '"@status"',
        '"@unknown"',
        '"@query-param"',
        '"@query-param";name="absent"',
        '"@method";req',
    ],
)
def test_a_component_that_cannot_be_had_is_refused(component: str) -> None:
    """Unknown parameters, absent fields and components of the other kind of message."""
    with pytest.raises(Problem) as caught:
        component_value(component, REQUEST)
    assert caught.value.code is Code.MALFORMED_SIGNATURE


def test_a_query_parameter_must_be_one() -> None:
    """RFC 9421 section 2.2.8: a repeated parameter has no value of its own."""
    with pytest.raises(Problem):
        component_value('"@query-param";name="q2"', URL_HEAD)


def test_a_component_covered_twice_has_no_base() -> None:
    """RFC 9421 section 2.5: each component once."""
    (member,) = parse_signature_input('a=("@method" "@method");created=1')
    with pytest.raises(Problem) as caught:
        base_of(member, REQUEST)
    assert caught.value.code is Code.MALFORMED_SIGNATURE
