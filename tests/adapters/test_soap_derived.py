"""Types that come in the place of others: `xsi:type`, abstract types, substitution groups.

libxml2's XML Schema judges what is written, jsonschema what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from lxml import etree

from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.documents import Documents
from adapters.soap.lexical import Habits, Unfit
from adapters.soap.messages import Version, format_call
from adapters.soap.requests import plan
from adapters.soap.schemas import components
from adapters.soap.values import read
from adapters.soap.wrapping import Wrapped
from adapters.soap.wsdl import Contract, read_contract
from exchange.contracts.contract import Contract as Published
from exchange.problems import Problem
from tests.adapters.every_type import NAMESPACE, write_wsdl, wsdl

SCHEMA = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="{NAMESPACE}"
           targetNamespace="{NAMESPACE}" elementFormDefault="qualified">
  <xs:complexType name="Holder" abstract="true"><xs:sequence>
    <xs:element name="tin" type="xs:string"/></xs:sequence></xs:complexType>
  <xs:complexType name="Person"><xs:complexContent><xs:extension base="e:Holder"><xs:sequence>
    <xs:element name="birth" type="xs:date"/></xs:sequence></xs:extension></xs:complexContent>
  </xs:complexType>
  <xs:complexType name="Company"><xs:complexContent><xs:extension base="e:Holder"><xs:sequence>
    <xs:element name="owner" type="e:Holder" minOccurs="0"/></xs:sequence>
    <xs:attribute name="listed" type="xs:boolean"/></xs:extension></xs:complexContent>
  </xs:complexType>
  <xs:complexType name="Bank"><xs:complexContent><xs:extension base="e:Company"><xs:sequence>
    <xs:element name="licence" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent>
  </xs:complexType>
  <xs:complexType name="Price"><xs:simpleContent><xs:extension base="xs:decimal">
    <xs:attribute name="currency" type="xs:string"/></xs:extension></xs:simpleContent>
  </xs:complexType>
  <xs:element name="asset" type="xs:string" abstract="true"/>
  <xs:element name="car" type="xs:string" substitutionGroup="e:asset"/>
  <xs:element name="land" substitutionGroup="e:asset"><xs:simpleType>
    <xs:restriction base="xs:string"><xs:maxLength value="9"/></xs:restriction></xs:simpleType>
  </xs:element>
  <xs:element name="paddy" substitutionGroup="e:land"/>
  <xs:element name="Ask"><xs:complexType><xs:sequence>
    <xs:element name="first" type="e:Holder"/>
    <xs:element name="more" type="e:Company" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="fee" type="xs:decimal" minOccurs="0"/>
    <xs:element ref="e:asset" minOccurs="0"/>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>
"""
PERSON = {"xsi:type": "Person", "tin": "1", "birth": "1980-02-01"}
BANK = {"xsi:type": "Bank", "listed": True, "tin": "3", "owner": PERSON, "licence": 7}
TEXT = """\
saphan_mapping: 1
application: LA/GOV/A/b
title: {en: A, lo: A}
source: {kind: soap, wsdl: every.wsdl}
services:
  a:
    title: {en: A, lo: A}
    endpoints:
      /a: {operation: one, method: POST, call: Ask, title: {en: A, lo: A}, body: .}
      /b/{tin}:
        {operation: one, call: Ask, title: {en: A, lo: A}, parameters: {tin: first.tin}}
"""


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    folder = tmp_path_factory.mktemp("wsdl")
    return read_contract(Documents(write_wsdl(folder, wsdl(SCHEMA))))


def _write(contract: Contract, value: Any) -> etree._Element:
    asked = contract.operations["Ask"].input
    envelope = format_call(Version.SOAP_11, asked, value, contract.types)
    element: etree._Element = etree.fromstring(envelope)[0][0]
    return element


def _read(contract: Contract, element: etree._Element) -> Any:
    output = contract.operations["Ask"].output
    assert output is not None
    return orjson.loads(orjson.dumps(read(element, output, contract.types, Habits())))


def _judge(contract: Contract) -> Draft202012Validator:
    schemas = components(["Ask"], contract.types, Habits())
    text = orjson.dumps(schemas).replace(b"#/components/schemas/", b"#/$defs/")
    return Draft202012Validator({"$ref": "#/$defs/Ask", "$defs": orjson.loads(text)})


@pytest.mark.parametrize(
    "value",
    [
        {"first": PERSON},
        {"first": {"xsi:type": "Company", "tin": "2"}, "more": [{"tin": "3"}, BANK, BANK]},
        {"first": BANK, "fee": 2.5, "car": "LA 1"},
        {"first": PERSON, "land": "A 1"},
        {"first": PERSON, "paddy": "B 1"},
    ],
)
def test_a_type_in_the_place_of_another_keeps_its_members(contract: Contract, value: Any) -> None:
    """What came in place tells so by `xsi:type`; what is as the WSDL says it does not."""
    element = _write(contract, value)
    etree.XMLSchema(etree.fromstring(SCHEMA.encode())).assertValid(element)
    assert _read(contract, element) == value
    _judge(contract).validate(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"first": {"tin": "1"}}, "/first/xsi:type"),
        ({"first": {"xsi:type": "Holder", "tin": "1"}}, "/first/xsi:type"),
        ({"first": {"xsi:type": 7, "tin": "1"}}, "/first/xsi:type"),
        ({"first": PERSON, "more": [PERSON]}, "/more/0/xsi:type"),
        ({"first": PERSON | {"licence": 7}}, "/first/licence"),
        ({"first": PERSON, "car": "1", "land": "1"}, ""),
        ({"first": PERSON, "asset": "1"}, "/asset"),
        ({"xsi:type": "Ask", "first": PERSON}, "/xsi:type"),
    ],
)
def test_a_type_that_may_not_come_there_is_not_written(
    contract: Contract, value: Any, place: str
) -> None:
    """The published schema refuses it, too."""
    with pytest.raises(Unfit) as caught:
        _write(contract, value)
    assert caught.value.place == place
    assert not _judge(contract).is_valid(value)


@pytest.mark.parametrize(
    ("inside", "place"),
    [
        ("<e:first><e:tin/></e:first>", "/first"),
        ("<e:first i:type='e:Ask'><e:tin/></e:first>", "/first"),
        ("<e:first i:type='x:Person' xmlns:x='urn:x'><e:tin/></e:first>", "/first"),
        ("<e:first i:type='e:Person'><e:tin/></e:first>", "/first/birth"),
        (
            "<e:first i:type='e:Company'><e:tin/></e:first>"
            "<e:fee i:type='e:Price' currency='LAK'>1</e:fee>",
            "/fee",
        ),
    ],
)
def test_an_answer_of_an_unknown_type_is_refused(
    contract: Contract, inside: str, place: str
) -> None:
    """Nothing that came is left out silently, attributes neither."""
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    element = etree.fromstring(f"<e:Ask xmlns:e='{NAMESPACE}' xmlns:i='{xsi}'>{inside}</e:Ask>")
    with pytest.raises(Unfit) as caught:
        _read(contract, element)
    assert caught.value.place == place


def test_a_member_has_one_name_in_all_types_that_may_stand_in_a_place(tmp_path: Path) -> None:
    """An element that takes the name of an inherited attribute would be masked in its place."""
    owner = '<xs:element name="listed" type="xs:string"/></xs:sequence></xs:extension>'
    schema = SCHEMA.replace(
        '<xs:element name="licence" type="xs:int"/></xs:sequence></xs:extension>', owner
    )
    found = read_contract(Documents(write_wsdl(tmp_path, wsdl(schema)))).types
    assert "@listed" in [one.name for one in found["Bank"].members]
    assert found["Company"].derived == ()
    assert sorted(found["Holder"].derived) == ["Bank", "Company", "Person"]


def _mapping(folder: Path, text: str) -> Wrapped:
    write_wsdl(folder, wsdl(SCHEMA))
    found = kinds.read_node(parse(text.encode(), "a.yaml", folder))
    assert isinstance(found, Wrapped)
    return found


def test_a_parameter_cannot_say_of_which_type_an_abstract_one_is(tmp_path: Path) -> None:
    """The mapping is refused; a body can."""
    with pytest.raises(Problem, match="abstract"):
        _mapping(tmp_path, TEXT)


def test_a_record_of_several_types_can_be_narrowed_to_members_of_each(tmp_path: Path) -> None:
    """The published document is a contract, and its selection knows them all."""
    text = TEXT[: TEXT.index("      /b")].replace(", body: .}", ", body: ., answer: first}")
    get = "      /b: {operation: list, call: Ask, title: {en: A, lo: A}, answer: more}\n"
    with pytest.raises(Problem, match="needs first"):
        _mapping(tmp_path, text + get)
    schema = SCHEMA.replace('name="first" type', 'name="first" minOccurs="0" type')
    write_wsdl(tmp_path, wsdl(schema))
    found = kinds.read_node(parse((text + get).encode(), "a.yaml", tmp_path))
    assert isinstance(found, Wrapped)
    document = found.document("a", {})
    assert Published.compile(document, {})
    selection = orjson.loads(document)["components"]["schemas"]["Company.selection"]
    assert {"xsi:type", "tin", "owner", "licence"} <= {*selection["properties"]}
    endpoint = found.mapping.services["a"].endpoints[1]
    asked = plan(endpoint, found.mapping.types, {}, "fields=tin,licence,xsi:type", b"")
    assert asked.members == frozenset({"tin", "licence", "xsi:type"})
