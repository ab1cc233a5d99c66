"""Rules of exchange.identifiers."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sealed_messages import outcome

from exchange.identifiers import (
    MAX_CODE_LENGTH,
    ApplicationId,
    MemberId,
    ServerId,
    ServiceId,
    check_code,
    decode_code,
)
from exchange.problems import Code, Problem

KINDS = [MemberId, ApplicationId, ServiceId, ServerId]
Identifier = MemberId | ApplicationId | ServiceId | ServerId
SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+,-.=?"

codes = st.text(SAFE, min_size=1, max_size=MAX_CODE_LENGTH).filter(lambda c: c not in {".", ".."})
kinds = st.sampled_from(KINDS)

# Each is one code that must not be; every way in refuses it.
BAD_CODES = {
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "a space": "a b",
    "space before": " a",
    "line break at the end": "a\n",
    "NUL": "a\0",
    "slash": "a/b",
    "backslash": "a\\b",
    "colon": "a:b",
    "semicolon": "a;b",
    "percent": "a%b",
    "underscore": "a_b",
    "tilde": "a~b",
    "hash": "a#b",
    "quote": 'a"b',
    "Arabic-Indic digits": "\u0661\u0662",
    "Lao digits": "\u0ed1\u0ed2",
    "full-width letter": "\uff21",
    "Cyrillic look-alike": "\u0410",
    "Kelvin sign": "\u212a",
    "combining accent": "e\u0301",
    "zero-width space": "a\u200bb",
    "byte-order mark": "\ufeffa",
    "256 characters": "a" * 256,
}


def is_refused(result: object) -> bool:
    return isinstance(result, Problem) and result.code is Code.INVALID_IDENTIFIER


@st.composite
def identifiers(draw: st.DrawFn) -> Identifier:
    kind = draw(kinds)
    return kind(*(draw(codes) for _ in kind.FIELDS))


@given(identifiers())
@example(MemberId("LA", "GOV", "a" * 255))
@example(ServiceId(*["?" * 255] * 5))
@example(MemberId("...", "?", "'()+,-.=?"))
def test_parse_and_str_are_a_pair(identifier: Identifier) -> None:
    """There is exactly one spelling of an identifier, and it reads back as the same value."""
    text = str(identifier)
    assert type(identifier).parse(text) == identifier
    assert text.isascii()
    assert "?" not in text


@given(kinds, st.text(max_size=60) | st.text(SAFE + "/%3F2f", max_size=60))
@example(MemberId, "LA/GOV/MPI\n")
@example(MemberId, "LA/GOV/%2e%2e")
@example(MemberId, "LA/GOV/%3f")
@example(MemberId, "LA/GOV/%3F")
@example(MemberId, "LA/GOV//MPI")
def test_what_parses_prints_back(kind: type[Identifier], text: str) -> None:
    """Whatever the text: a value that prints as this very text, or InvalidIdentifier."""
    result = outcome(lambda: kind.parse(text))
    assert is_refused(result) or str(result) == text


@given(identifiers())
def test_another_percent_encoding_agrees(identifier: Identifier) -> None:
    """urllib reads our encoding back; and writes the same, told which characters are safe."""
    segments = str(identifier).split("/")
    values = [getattr(identifier, field) for field in identifier.FIELDS]
    assert [unquote(segment) for segment in segments] == values
    assert [quote(value, safe="'()+,-.=") for value in values] == segments


@pytest.mark.parametrize("bad", BAD_CODES.values(), ids=BAD_CODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_code_makes_no_identifier(kind: type[Identifier], bad: str) -> None:
    """An identifier with a bad code cannot exist, by any way and at any place in it."""
    for place in range(len(kind.FIELDS)):
        parts = ["x"] * len(kind.FIELDS)
        parts[place] = bad
        assert is_refused(outcome(lambda parts=parts: kind(*parts)))
        assert is_refused(outcome(lambda parts=parts: kind.parse("/".join(parts))))
        encoded = [quote(part, safe="") for part in parts]
        assert is_refused(outcome(lambda encoded=encoded: kind.parse("/".join(encoded))))


@pytest.mark.parametrize("bad", BAD_CODES.values(), ids=BAD_CODES)
def test_a_bad_code_is_refused_alone(bad: str) -> None:
    """check_code and decode_code refuse it where they are told it stands."""
    for check in (check_code, decode_code):
        result = outcome(lambda check=check: check(bad, "service code"))
        assert is_refused(result)
        assert isinstance(result, Problem)
        assert result.where == "service code"


@pytest.mark.parametrize(
    "segment",
    [
        "%3f",
        "%41",
        "%2D",
        "%2F",
        "%2f",
        "%5C",
        "%00",
        "%0A",
        "%20",
        "%2E",
        "%2e%2e",
        "%253F",
        "%",
        "%3",
        "%3G",
        "%u003F",
        "%EF%BC%9F",
        "+%3F%",
        "a?b",
    ],
)
def test_a_code_has_one_encoding(segment: str) -> None:
    """Only ? is encoded, as %3F; an encoded slash, dot segment or letter is another spelling."""
    assert is_refused(outcome(lambda: decode_code(segment, "segment")))


def test_lengths_are_counted_in_characters_of_the_code() -> None:
    """255 characters pass, encoded three times as long; one more does not."""
    assert decode_code("%3F" * 255, "code") == "?" * 255
    assert decode_code("a" * 255, "code") == "a" * 255
    for segment in ("%3F" * 256, "a" * 256, "a" * 255 + "%3F"):
        assert is_refused(outcome(lambda segment=segment: decode_code(segment, "code")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("difference", [-1, 1])
def test_the_number_of_codes_is_that_of_the_kind(kind: type[Identifier], difference: int) -> None:
    """A member has three codes, an application and a server four, a service five."""
    parts = ["x"] * (len(kind.FIELDS) + difference)
    result = outcome(lambda: kind.parse("/".join(parts)))
    assert is_refused(result)
    assert isinstance(result, Problem)
    assert result.where == kind.NOUN


@pytest.mark.parametrize("text", ["", "/", "//", "/LA/GOV/MPI", "LA/GOV/MPI/", "LA//MPI"])
def test_empty_segments_are_refused(text: str) -> None:
    """No slash before, after or twice."""
    assert is_refused(outcome(lambda: MemberId.parse(text)))


def test_a_giant_is_refused_before_it_is_looked_at() -> None:
    """The length is capped first, and the refusal does not repeat the text."""
    result = outcome(lambda: ServiceId.parse("a" * 10_000_000))
    assert is_refused(result)
    assert isinstance(result, Problem)
    assert len(str(result)) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_repeats_little_of_the_text(kind: type[Identifier]) -> None:
    """Logs cannot be flooded with what was refused."""
    result = outcome(lambda: kind.parse("/".join(["\u0e81" * 300] * len(kind.FIELDS))))
    assert isinstance(result, Problem)
    assert len(str(result)) < 400


def test_the_place_is_that_of_the_caller() -> None:
    """where names the header or parameter, so that a person finds it."""
    result = outcome(lambda: ApplicationId.parse("LA/GOV", "X-Road-Client"))
    assert isinstance(result, Problem)
    assert result.where == "X-Road-Client"


def test_parts_of_an_identifier_are_identifiers() -> None:
    """A service knows its application and member, a server and an application their member."""
    service = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
    assert service.application == ApplicationId("LA", "GOV", "MPI", "oda-mis")
    assert service.member == service.application.member == MemberId("LA", "GOV", "MPI")
    assert ServerId.parse("LA/GOV/MPI/ss1").member == service.member


def test_kinds_are_not_equal_by_their_text() -> None:
    """A server and an application of the same text are different things, also as keys."""
    server, application = ServerId.parse("LA/GOV/MPI/x"), ApplicationId.parse("LA/GOV/MPI/x")
    assert str(server) == str(application)
    assert len({server: 1, application: 2}) == 2


def test_letters_keep_their_case() -> None:
    """Codes are case-sensitive, as X-Road's are."""
    assert MemberId.parse("LA/GOV/mpi") != MemberId.parse("LA/GOV/MPI")


@given(st.lists(identifiers().filter(lambda i: isinstance(i, MemberId)), max_size=5))
def test_identifiers_sort_by_their_codes(members: list[MemberId]) -> None:
    """The order is that of the codes, place by place, so lists are stable."""
    by_codes = sorted(members, key=lambda m: (m.instance, m.member_class, m.member_code))
    assert sorted(members) == by_codes
