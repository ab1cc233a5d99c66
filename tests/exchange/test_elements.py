"""The dictionary of data elements: one source for a fact, and what a schema says it asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.identifiers import ServiceId
from exchange.once_only.asked import asked_elements, asks_again
from exchange.once_only.elements import (
    check_succession,
    compile_schemas,
    format_duration,
    format_elements,
    identifier_of,
    parse_duration,
    parse_elements,
    records_at,
)
from exchange.problems import Code, Problem

PERSONS = "LA/GOV/MOHA/civil-register/persons"
SCHOOL = ServiceId.parse("LA/GOV/MOES/schools/enrolments")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def text(english: str) -> dict[str, str]:
    return {"en": english, "lo": "ຂໍ້ມູນ"}


def element(identifier: str = "person.birth-date", **changes: Any) -> dict[str, Any]:
    """An element as it stands in a document; ``changes`` replace members."""
    return {
        "id": identifier,
        "version": 1,
        "name": text("Date of birth"),
        "definition": text("The day of birth as the civil register has it"),
        "schema": {"type": "string", "format": "date"},
        "subject": "la-nid",
        "source": {
            "service": PERSONS,
            "path": "/persons/{subject}",
            "pointer": f"/{identifier.rpartition('.')[2]}",
        },
        "legal_basis": text("Law on family registration"),
        "validity": "P30D",
        **changes,
    }


def document(*elements: dict[str, Any]) -> bytes:
    return orjson.dumps({"elements": elements})


PREDICATE = element("person.is-adult", schema={"type": "boolean"}, predicate_of="person.birth-date")
EXCEPTION = {"service": str(SCHOOL), "ground": text("Decree 12"), "until": "2027-01-01"}


def test_a_dictionary_is_written_as_it_was_read() -> None:
    """parse and format are inverse, with predicates, exceptions and a source that moved."""
    moved = element("person.name", exceptions=[EXCEPTION])
    moved["source"] = moved["source"] | {"follows": "LA/GOV/MPS/old/persons"}
    dictionary = parse_elements(document(element(), PREDICATE, moved))
    assert parse_elements(format_elements(dictionary)) == dictionary


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"id": "birthdate"}, "/id"),
        ({"id": "Person.name"}, "/id"),
        ({"version": 0}, "/version"),
        ({"schema": True}, "/schema"),
        ({"subject": "LA NID"}, "/subject"),
        ({"validity": "30 days"}, "/validity"),
        ({"validity": "PT24H"}, "/validity"),
        ({"validity": "P99999D"}, "/validity"),
        ({"name": {"en": "only"}}, "/name"),
        ({"predicate_of": "person.absent"}, "/predicate_of"),
        ({"exceptions": [EXCEPTION | {"until": "20270101"}]}, "/exceptions/0/until"),
        ({"source": {"service": "LA/x", "path": "/{subject}", "pointer": "/a"}}, "/source/service"),
        ({"source": {"service": PERSONS, "path": "/persons", "pointer": "/a"}}, "/source/path"),
        (
            {"source": {"service": PERSONS, "path": "/{subject}/{subject}", "pointer": "/a"}},
            "/source/path",
        ),
        ({"source": {"service": PERSONS, "path": "/{subject}", "pointer": "a"}}, "/source/pointer"),
    ],
)
def test_a_malformed_element_is_refused_with_its_place(changes: dict[str, Any], place: str) -> None:
    """Each wrong member is named by its JSON pointer."""
    with pytest.raises(Problem) as caught:
        parse_elements(document(element(**changes)))
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"elements.json#/elements/0{place}"


def test_a_predicate_is_true_or_false_about_an_element_of_the_same_subjects() -> None:
    """Neither another type, nor other subjects, nor a predicate of a predicate."""
    for wrong in ({"schema": {"type": "string"}}, {"subject": "la-enterprise"}):
        with pytest.raises(Problem) as caught:
            parse_elements(document(element(), PREDICATE | wrong))
        assert caught.value.code is Code.INVALID_DOCUMENT
    again = element("person.is-old", schema={"type": "boolean"}, predicate_of="person.is-adult")
    with pytest.raises(Problem):
        parse_elements(document(element(), PREDICATE, again))


def test_a_second_registration_is_refused_with_a_pointer_to_the_first() -> None:
    """Neither an id nor a place in a source's answers is registered twice."""
    other = element(source={"service": str(SCHOOL), "path": "/{subject}", "pointer": "/born"})
    same_place = element("person.born")
    same_place["source"] = element()["source"]
    for second in (other, same_place):
        with pytest.raises(Problem) as caught:
            parse_elements(document(element("person.name"), element(), second))
        assert caught.value.code is Code.ELEMENT_HAS_SOURCE
        assert caught.value.facts["first"] == "elements.json#/elements/1"
        assert "elements.json#/elements/1" in caught.value.detail


def test_a_source_changes_only_where_it_is_said_which_it_follows() -> None:
    """Another service for a published element is refused, unless it names the one before."""
    published = parse_elements(document(element("person.name"), element()))
    source = {"service": str(SCHOOL), "path": "/{subject}", "pointer": "/born"}
    taken = parse_elements(document(element("person.name"), element(version=2, source=source)))
    with pytest.raises(Problem) as caught:
        check_succession(taken, published)
    assert caught.value.code is Code.ELEMENT_HAS_SOURCE
    assert caught.value.facts["source"] == PERSONS
    assert caught.value.facts["first"] == "elements.json#/elements/1"
    moved = element(version=2, source=source | {"follows": PERSONS})
    check_succession(parse_elements(document(moved)), published)


def test_a_change_needs_a_higher_version_and_an_exception_does_not() -> None:
    """What an element means is fixed by its version; who may ask all the same is not."""
    published = parse_elements(document(element(version=2)))
    for changes in ({"version": 2, "validity": "P1D"}, {"version": 1}):
        with pytest.raises(Problem) as caught:
            check_succession(parse_elements(document(element(**changes))), published)
        assert caught.value.code is Code.CONFLICT
    check_succession(parse_elements(document(element(version=3, validity="P1D"))), published)
    check_succession(
        parse_elements(document(element(version=2, exceptions=[EXCEPTION]))), published
    )


def test_values_are_judged_by_the_schema_of_their_element() -> None:
    """Formats count, and what no engine takes is refused with its place."""
    schemas = compile_schemas(parse_elements(document(element(), PREDICATE)), {})
    assert schemas["person.birth-date"].is_valid("1999-02-28")
    assert not schemas["person.birth-date"].is_valid("1999-02-30")
    assert not schemas["person.is-adult"].is_valid("true")
    with pytest.raises(Problem) as caught:
        compile_schemas(parse_elements(document(element(schema={"type": "text"}))), {})
    assert caught.value.where.startswith("elements.json#/elements/0/schema")


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=9999)))
def test_durations_have_one_spelling(duration: timedelta) -> None:
    """What is written is read again; only what prints back identically is read."""
    whole = timedelta(minutes=duration // timedelta(minutes=1))
    assert parse_duration(format_duration(whole)) == whole


@pytest.mark.parametrize("text", ["", "P", "PT", "P0D", "P01D", "P1W", "P1M", "PT60M", "PT24H"])
def test_other_spellings_of_durations_are_none(text: str) -> None:
    """A duration that could be written otherwise is not one."""
    assert parse_duration(text) is None


def test_a_path_names_its_subject_encoded_and_as_it_was_written() -> None:
    """Whatever an identifier holds, it stays one segment or one value of a query."""
    (found,) = parse_elements(document(element())).elements
    scheme, identifier = identifier_of("la-nid:A%2F1%3Fb", "subject")
    assert (scheme, identifier) == ("la-nid", "A/1?b")
    assert found.source.path_of(identifier) == "/persons/A%2F1%3Fb"


@pytest.mark.parametrize(
    ("value", "tokens", "records"),
    [
        ({"a": 1}, ("a",), [1]),
        ({"a": None}, ("a",), [None]),
        ({}, ("a",), [None]),
        ([], ("a",), [None]),
        ({"items": []}, ("items", "*", "a"), []),
        ({"items": [{"a": 1}]}, ("items", "*", "a"), [1]),
        ({"items": [{"a": 1}, {}]}, ("items", "*", "a"), [1, None]),
        ({"items": None}, ("items", "*", "a"), []),
    ],
)
def test_records_are_counted_even_without_a_value(
    value: object, tokens: tuple[str, ...], records: list[object]
) -> None:
    """Two records are two, also when one of them lacks the value."""
    assert [*records_at(value, tokens)] == records


# --- what requests ask for -------------------------------------------------------------------

_BORN = {"type": "string", "x-saphan-element": "person.birth-date"}


def openapi(schema: dict[str, Any], *, media: str = "application/json", **more: Any) -> bytes:
    """A service with one request body."""
    operation = {
        "requestBody": {"content": {media: {"schema": schema}}},
        "responses": {"201": {"description": "made"}},
        **more,
    }
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "t", "version": "1"},
            "paths": {"/enrolments": {"post": operation}},
            "components": {"schemas": {"born": _BORN}},
        }
    )


_BODY = "#/paths/~1enrolments/post/requestBody/content/application~1json/schema"


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"properties": {"child": {"properties": {"born": _BORN}}}},
         f"{_BODY}/properties/child/properties/born"),
        ({"items": {"allOf": [_BORN]}}, f"{_BODY}/items/allOf/0"),
        ({"properties": {"a": {"$ref": "#/components/schemas/born"}}}, "#/components/schemas/born"),
        ({"$ref": "https://x.example/born"}, "https://x.example/born#"),
        ({"if": {"properties": {"b": _BORN}}, "then": True}, f"{_BODY}/if/properties/b"),
        ({"additionalProperties": _BORN}, f"{_BODY}/additionalProperties"),
    ],
)  # fmt: skip
def test_marks_are_found_wherever_a_request_has_them(schema: dict[str, Any], place: str) -> None:
    """In what is nested, combined, referred to or shared; told with the place of the mark."""
    shared = {"https://x.example/born": orjson.dumps({"$id": "https://x.example/born", **_BORN})}
    (asked,) = asked_elements(openapi(schema), shared)
    assert asked == ("person.birth-date", "POST", "/enrolments", place)


def test_forms_and_parameters_ask_too() -> None:
    """A form's fields and a parameter are questions like any other."""
    form = "application/x-www-form-urlencoded"
    assert len(asked_elements(openapi({"properties": {"b": _BORN}}, media=form), {})) == 1
    parameter = {"name": "born", "in": "query", "schema": {"type": "string"}}
    for marked in (
        parameter | {"x-saphan-element": "person.birth-date"},
        parameter | {"schema": _BORN},
    ):
        found = asked_elements(openapi({}, parameters=[marked]), {})
        assert [one.element for one in found] == ["person.birth-date"]


def test_what_is_answered_is_not_asked_for() -> None:
    """A mark in an answer says where an element is, and asks nobody."""
    answer = {"201": {"description": "", "content": {"application/json": {"schema": _BORN}}}}
    assert asked_elements(openapi({}, responses=answer), {}) == ()


def test_a_mark_that_names_no_element_is_refused_with_its_place() -> None:
    """A misspelt mark would hide a question."""
    with pytest.raises(Problem) as caught:
        asked_elements(openapi({"x-saphan-element": "Birth date"}), {})
    assert caught.value.where == f"{_BODY}/x-saphan-element"


def test_whoever_asks_again_hears_the_source() -> None:
    """A service of others is told who gives the element, unless an exception holds that day; the
    source's own member may ask; an element that nobody registered is told as unknown."""
    asked = asked_elements(openapi({"properties": {"b": _BORN}}), {})
    dictionary = parse_elements(document(element()))
    (problem,) = asks_again(SCHOOL, asked, dictionary, NOW, "openapi.json")
    assert problem.code is Code.ASK_ONCE
    assert problem.facts == {"element": "person.birth-date", "source": PERSONS}
    assert problem.where == f"openapi.json{_BODY}/properties/b"
    excepted = parse_elements(document(element(exceptions=[EXCEPTION])))
    assert asks_again(SCHOOL, asked, excepted, NOW) == ()
    assert asks_again(SCHOOL, asked, excepted, datetime(2027, 1, 1, tzinfo=UTC))
    assert asks_again(ServiceId.parse(PERSONS), asked, dictionary, NOW) == ()
    (unknown,) = asks_again(SCHOOL, asked, parse_elements(document()), NOW)
    assert unknown.code is Code.UNKNOWN_ELEMENT
