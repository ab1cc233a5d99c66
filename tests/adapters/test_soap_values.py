"""XML and JSON by the types of a WSDL: judged by libxml2's XML Schema and by jsonschema."""

from __future__ import annotations

import string
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from lxml import etree

from adapters.soap.documents import Documents
from adapters.soap.lexical import Habits, Unfit
from adapters.soap.messages import Version, format_call
from adapters.soap.schemas import components
from adapters.soap.values import read
from adapters.soap.wsdl import Contract, Operation, read_contract
from tests.adapters.every_type import NAMESPACE, SCHEMA, judge, write_wsdl, wsdl

HABITS = Habits()
XML_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12
)
WORD = st.text(string.ascii_letters + "ກຂຄ", min_size=1, max_size=6)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
DECIMALS = st.decimals(-(10**9), 10**9, places=4, allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=7))]),
).map(lambda moment: moment.replace(microsecond=0).isoformat())


@cache
def contract() -> Contract:
    with TemporaryDirectory() as name:
        return read_contract(Documents(write_wsdl(Path(name))))


def _operation() -> Operation:
    return contract().operations["Ask"]


@cache
def schema() -> dict[str, Any]:
    found = _operation()
    assert found.input is not None
    text = orjson.dumps(components([found.input.type], contract().types, HABITS))
    defined = orjson.loads(text.replace(b"#/components/schemas/", b"#/$defs/"))
    return {"$ref": f"#/$defs/{found.input.type}", "$defs": defined}


@cache
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema(), format_checker=FormatChecker())


def _optional(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


AMOUNTS = st.fixed_dictionaries(
    {"value": DECIMALS, "unit": XML_TEXT}, optional={"@value": INTEGERS}
)
NODES = st.recursive(
    st.fixed_dictionaries({"id": INTEGERS, "name": XML_TEXT}, optional={"@name": WORD}),
    lambda inner: st.fixed_dictionaries(
        {"id": INTEGERS, "name": XML_TEXT},
        optional={"@name": WORD, "more": inner, "child": st.lists(inner, min_size=1, max_size=3)},
    ),
    max_leaves=6,
)
CONTACTS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"email": XML_TEXT}),
    st.fixed_dictionaries({"phone": XML_TEXT}, optional={"extension": INTEGERS}),
)
MESSAGES = st.tuples(
    st.fixed_dictionaries(
        {"string": XML_TEXT},
        optional={
            "token": WORD,
            "boolean": st.booleans(),
            "integer": st.integers(-(10**30), 10**30),
            "long": st.integers(-(2**63), 2**63 - 1),
            "big": st.integers(0, 2**64 - 1),
            "byte": st.integers(-128, 127),
            "few": st.integers(1, 9),
            "decimal": DECIMALS,
            "share": st.decimals(0, Decimal("100.5"), places=2),
            "double": st.floats(allow_nan=False, allow_infinity=False),
            "date": st.none() | st.dates(date(1, 1, 1)).map(str),
            "dateTime": MOMENTS,
            "base64": st.binary(max_size=12).map(lambda data: b64encode(data).decode()),
            "hex": st.binary(max_size=6).map(bytes.hex),
            "status": st.sampled_from(["open", "closed ", "ເປີດ"]),
            "narrow": st.just("open"),
            "number": st.from_regex(
                "[A-Z]{2}-[0-9]{1,5}", fullmatch=True, alphabet=string.printable
            ),
            "words": st.lists(WORD, max_size=4),
            "either": st.one_of(st.dates(date(1, 1, 1)).map(str), INTEGERS.map(str)),
            "amount": st.lists(AMOUNTS, min_size=1, max_size=3),
            "node": st.lists(NODES, min_size=1, max_size=2),
            "shared": st.booleans(),
            "inner": st.fixed_dictionaries({"y": INTEGERS}, optional={"x": INTEGERS}),
        },
    ),
    CONTACTS,
).map(lambda both: both[0] | both[1])


def _write(value: Any) -> etree._Element:
    """The element in the body of the envelope, as a server reads it."""
    found = _operation()
    envelope = format_call(Version.SOAP_11, found.input, value, contract().types)
    body: etree._Element = etree.fromstring(envelope)[0]
    assert len(body) == 1
    return body[0]


def _read(element: etree._Element, habits: Habits = HABITS) -> Any:
    found = _operation()
    assert found.output is not None
    return orjson.loads(orjson.dumps(read(element, found.output, contract().types, habits)))


def _plain(value: Any) -> Any:
    """As JSON has it after a round: decimals are numbers."""
    return orjson.loads(orjson.dumps(value, default=float)) if _fits(value) else None


def _fits(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@given(MESSAGES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_keeps_the_schema_of_the_wsdl_and_reads_back(
    message: dict[str, Any],
) -> None:
    """Two foreign judges: libxml2 of the message, jsonschema of what is read from it."""
    element = _write(message)
    judge().assertValid(element)
    answer = _read(element)
    validator().validate(answer)
    if _fits(message):
        assert answer == _plain(message)


# Arbitrary elements in the place of right ones.

_ODD = """INF NaN -0 +1 01 1e5 .5 5. 1_0 true 1 2026-01-01Z 2026-02-30 0000-01-01 10000-01-01
    2026-01-01T24:00:00 2026-01-01T00:00:00.123456789012Z 2026-01-01T00:00:00
    2026-01-01T00:00:00+14:00 ==== QQ== QQ=Q 0A 0 open AA-1 1,5 ໑"""
_MEMBERS = """string token boolean integer long big byte few decimal share double date dateTime
    base64 hex status narrow number words either amount node shared email phone extension other
    name child more x y"""
_TEXTS = st.one_of(XML_TEXT, st.sampled_from(_ODD.split()))
_NAMES = st.sampled_from(
    [*(f"{{{NAMESPACE}}}{name}" for name in _MEMBERS.split()), "inner", "string"]
)


@st.composite
def _elements(draw: st.DrawFn, depth: int = 2) -> etree._Element:
    element = etree.Element(draw(_NAMES))
    for name in draw(st.lists(st.sampled_from(["id", "unit", "value", "name", "z"]), max_size=2)):
        element.set(name, draw(_TEXTS))
    if draw(st.integers(0, 9)) == 0:
        element.set(
            "{http://www.w3.org/2001/XMLSchema-instance}nil", draw(st.sampled_from(["true", "0"]))
        )
    if depth and draw(st.booleans()):
        element.extend(draw(st.lists(_elements(depth=depth - 1), max_size=2)))
    else:
        element.text = draw(_TEXTS)
    return element


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 30), _elements()), max_size=3))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_comes_is_refused_or_keeps_the_published_schema(
    message: dict[str, Any], changes: list[tuple[int, etree._Element]]
) -> None:
    """No member leaves that the schema does not name, none with another type."""
    element = _write(message)
    for place, change in changes:
        old = [one for one in element if one.tag == change.tag]
        if old:
            element.replace(old[0], change)
        else:
            element.insert(place, change)
    try:
        answer = _read(element)
    except Unfit:
        return
    validator().validate(answer)


@pytest.mark.parametrize(
    ("inside", "place", "rule"),
    [
        ("<e:string/><e:byte>128</e:byte>", "/byte", "at most 127"),
        ("<e:string/><e:few>10</e:few>", "/few", "at most 9"),
        ("<e:string/><e:double>INF</e:double>", "/double", "finite"),
        ("<e:string/><e:status>shut</e:status>", "/status", "enumeration"),
        ("<e:string/><e:narrow>ເປີດ</e:narrow>", "/narrow", "enumeration"),
        ("<e:string/><e:number>AB</e:number>", "/number", "form"),
        ("<e:string/><e:number>AB-123456</e:number>", "/number", "at most 8"),
        ("<e:string/><e:date>31.1.2026</e:date>", "/date", "date"),
        ("<e:string/><e:dateTime>2026-01-01T00:00:00</e:dateTime>", "/dateTime", "zone"),
        ("<e:string/><e:base64>====</e:base64>", "/base64", "base64"),
        ("<e:string><e:b/></e:string>", "/string", "text"),
        ("<e:string/><e:other/>", "/other", "does not have"),
        ("<x:string xmlns:x='urn:x'/>", "/string", "does not have"),
        ("<e:string/><e:node href='#id1'/>", "/node/0", "multiRef"),
        ("<e:string/><e:string/>", "/string", "more than once"),
        ("<e:boolean>true</e:boolean>", "/string", "missing"),
        ("<e:string/><e:email/><e:phone/>", "", "one of"),
        ("<e:string/><e:extension>1</e:extension>", "", "one of"),
        ("<e:string/>" + "<e:node id='1'><e:name/></e:node>" * 3, "/node", "at most 2"),
        ("<e:string/><e:node id='1'><e:name/><e:child id='x'><e:name/></e:child></e:node>",
         "/node/0/child/0/id", "whole number"),
        ("<e:string i:nil='true'/>", "/string", "nil"),
        ("<e:string/><e:node id='1' i:type='e:Other'><e:name/></e:node>", "/node/0", "xsi:type"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_with_its_place(
    inside: str, place: str, rule: str
) -> None:
    """The place is that in the JSON; the rule tells no value."""
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    element = etree.fromstring(f"<e:Ask xmlns:e='{NAMESPACE}' xmlns:i='{xsi}'>{inside}</e:Ask>")
    with pytest.raises(Unfit) as caught:
        _read(element)
    assert caught.value.place.startswith(place)
    assert rule in caught.value.rule


def test_names_are_known_where_a_service_mistakes_whether_they_are_qualified() -> None:
    """PHP's and others' do; where both sides have a namespace, it counts."""
    inside = f"<string>a</string><e:inner xmlns:e='{NAMESPACE}'><y>1</y></e:inner>"
    element = etree.fromstring(f"<q:Ask xmlns:q='{NAMESPACE}'>{inside}</q:Ask>")
    assert _read(element) == {"string": "a", "inner": {"y": 1}}


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"node": [{"id": 1, "name": "", "child": [{"id": 1, "name": ""}] * 4}]}, "/node/0/child"),
        ({"node": {"id": 1, "name": ""}}, "/node"),
        ({"node": [{"id": 1, "name": "", "@name": " a"}]}, "/node/0/@name"),
        ({"few": True}, "/few"),
        ({"few": Decimal("1.5")}, "/few"),
        ({"decimal": Decimal("1e999999999")}, "/decimal"),
        ({"integer": Decimal("1e999999999")}, "/integer"),
        ({"double": Decimal("1e999")}, "/double"),
        ({"words": ["a b"]}, "/words"),
        ({"amount": [None]}, "/amount/0"),
        ({"extension": 1}, ""),
    ],
)
def test_what_the_schema_of_a_message_does_not_allow_is_not_written(
    more: dict[str, Any], place: str
) -> None:
    """With the place in the JSON; numbers of absurd size cost nothing."""
    with pytest.raises(Unfit) as caught:
        _write({"string": "", **more})
    assert caught.value.place == place


def test_decimals_are_texts_where_the_mapping_wants_it() -> None:
    """For consumers whose JSON reader makes binary fractions of all numbers; the schema says so."""
    element = _write({"string": "", "decimal": Decimal("10.10"), "share": Decimal(5)})
    answer = _read(element, Habits(decimals_as_text=True))
    assert (answer["decimal"], answer["share"]) == ("10.10", "5")
    told = components([_operation().input.type], contract().types, Habits(decimals_as_text=True))  # type: ignore[union-attr]
    assert told["Ask"]["properties"]["decimal"]["type"] == "string"


def test_a_recursive_type_that_extends_another_keeps_what_it_extends() -> None:
    """A child is of the same type as its parent, with the members of the base."""
    node = schema()["$defs"]["Node"]
    assert {*node["properties"]} == {"id", "@name", "name", "more", "child"}
    assert node["properties"]["child"]["items"] == {"$ref": "#/$defs/Node"}
    assert node["required"] == ["id", "name"]


def test_a_type_that_cannot_be_shown_makes_its_operation_unusable(tmp_path: Path) -> None:
    """The others of the WSDL can be asked all the same; it is told why."""
    for text, why in (
        (wsdl(action="a&#10;b"), "action"),
        (
            wsdl(SCHEMA.replace('name="token" type="xs:token"', 'name="string" type="xs:int"')),
            "string",
        ),
    ):
        found = read_contract(Documents(write_wsdl(tmp_path, text))).operations["Ask"]
        assert found.unusable is not None
        assert why in found.unusable
