"""Services in the style rpc, literal and encoded, as PHP's of twenty years ago are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from lxml import etree

from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.answers import answer
from adapters.soap.requests import plan
from adapters.soap.source import Source
from adapters.soap.wrapping import Wrapped
from exchange.problems import Problem

WSDL = """\
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:tns="urn:gazette"
  xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:enc="http://schemas.xmlsoap.org/soap/encoding/"
  xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:gazette">
<types><xsd:schema targetNamespace="urn:gazette">
  <xsd:import namespace="http://schemas.xmlsoap.org/soap/encoding/"/>
  <xsd:complexType name="Law"><xsd:all>
    <xsd:element name="number" type="xsd:int"/><xsd:element name="title" type="xsd:string"/>
    <xsd:element name="words" type="tns:Words" minOccurs="0"/>
  </xsd:all></xsd:complexType>
  <xsd:complexType name="Laws"><xsd:complexContent><xsd:restriction base="enc:Array">
    <xsd:attribute ref="enc:arrayType" wsdl:arrayType="tns:Law[]"/>
  </xsd:restriction></xsd:complexContent></xsd:complexType>
  <xsd:complexType name="Words"><xsd:complexContent><xsd:restriction base="enc:Array">
    <xsd:attribute ref="enc:arrayType" wsdl:arrayType="xsd:string[]"/>
  </xsd:restriction></xsd:complexContent></xsd:complexType>
</xsd:schema></types>
<message name="findRequest"><part name="year" type="xsd:int"/><part name="word" type="xsd:string"/>
</message>
<message name="findResponse"><part name="return" type="tns:Laws"/></message>
<portType name="Port"><operation name="find"><input message="tns:findRequest"/>
  <output message="tns:findResponse"/></operation></portType>
<binding name="Binding" type="tns:Port">
  <soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
  <operation name="find"><soap:operation soapAction="urn:gazette#find" style="rpc"/>
    <input><soap:body use="{use}" namespace="urn:gazette"{style}/></input>
    <output><soap:body use="{use}" namespace="urn:gazette"{style}/></output></operation>
</binding>
<service name="Gazette"><port name="Port" binding="tns:Binding">
  <soap:address location="http://10.1.2.3/gazette.php"/></port></service>
</definitions>
"""
STYLE = ' encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"'
MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOJ/gazette
title: {en: Gazette, lo: ຈົດໝາຍເຫດ}
source: {kind: soap, wsdl: gazette.wsdl}
services:
  laws:
    title: {en: Laws, lo: ກົດໝາຍ}
    endpoints:
      /laws:
        operation: list
        call: find
        title: {en: Laws, lo: ກົດໝາຍ}
        parameters: {year: year, word: word}
        answer: return.item
"""
ANSWER = """\
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:ns1="urn:gazette" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/"
 SOAP-ENV:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><SOAP-ENV:Body>
<ns1:findResponse><return xsi:type="SOAP-ENC:Array" SOAP-ENC:arrayType="ns1:Law[2]">
<item xsi:type="ns1:Law"><number xsi:type="xsd:int">7</number>
 <title xsi:type="xsd:string">ກົດໝາຍ</title>
 <words xsi:type="SOAP-ENC:Array" SOAP-ENC:arrayType="xsd:string[2]"><item>a</item><w>b</w></words>
</item>
<Law xsi:type="ns1:Law"><number xsi:type="xsd:int">8</number>
 <title xsi:type="xsd:string"/></Law>
</return></ns1:findResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>
"""


HEADED = """\
  <xsd:complexType name="Access"><xsd:sequence><xsd:element name="key" type="xsd:string"/>
    <xsd:element name="version" type="xsd:int" minOccurs="0"/></xsd:sequence></xsd:complexType>
  <xsd:element name="Access" type="tns:Access"/>
</xsd:schema></types>
<message name="access"><part name="access" element="tns:Access"/></message>
"""


def _headed(folder: Path, source: str) -> Wrapped:
    text = WSDL.format(use="literal", style="").replace("</xsd:schema></types>\n", HEADED)
    wanted = '<soap:header message="tns:access" part="access" use="literal"/></input>'
    (folder / "gazette.wsdl").write_text(
        text.replace("</input>\n    <output><soap", f"{wanted}\n<output><soap"), "utf-8"
    )
    mapping = MAPPING.replace("wsdl: gazette.wsdl", f"wsdl: gazette.wsdl, soap_header: {source}")
    found = kinds.read_node(parse(mapping.encode(), "gazette.yaml", folder))
    assert isinstance(found, Wrapped)
    return found


async def test_a_header_that_the_wsdl_declares_is_told_with_every_call(tmp_path: Path) -> None:
    """Its values are the mapping's and the environment's, never a caller's."""
    mapping = _headed(tmp_path, "{Access.key: '${KEY}', Access.version: 2}").mapping
    (endpoint,) = mapping.services["laws"].endpoints
    source = Source(mapping, {"KEY": "a<b"})
    heading = source.headings["find"]
    asked = plan(endpoint, mapping.types, {}, "year=1&word=a", b"", (), heading)
    header = etree.fromstring(asked.envelope)[0]
    assert [one.tag for one in header] == ["{urn:gazette}Access"]
    assert [(one.tag, one.text) for one in header[0]] == [("key", "a<b"), ("version", "2")]
    await source.close()


async def test_a_header_that_is_not_given_is_told_by_the_check(tmp_path: Path) -> None:
    """The service may need it; a warning, since many declare what they do not need."""
    found = _headed(tmp_path, "{}")
    how = kinds.Checking({}, True, {}, lambda count: None)
    findings = await found.check({}, tmp_path, how)
    assert ("find", True) in {(one.where, one.warning) for one in findings}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{Access.other: a}", "declares Access.other"),
        ("{Access: a}", "declares Access"),
        ("{Access.version: 2}", "Access.key is missing"),
        ("{Access.key: a, Access.version: x}", "whole number"),
        ("{Access.key: '${NONE}'}", "NONE"),
    ],
)
def test_a_header_that_the_wsdl_does_not_allow_is_refused(
    tmp_path: Path, source: str, words: str
) -> None:
    """When the mapping is read or its source is opened, not with the first caller."""
    with pytest.raises(Problem, match=words):
        _headed(tmp_path, source).open({}, tmp_path)


@pytest.fixture(params=["encoded", "literal"])
def gazette(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapped:
    style = STYLE if request.param == "encoded" else ""
    text = WSDL.format(use=request.param, style=style)
    (tmp_path / "gazette.wsdl").write_text(text, "utf-8")
    found = kinds.read_node(parse(MAPPING.encode(), "gazette.yaml", tmp_path))
    assert isinstance(found, Wrapped)
    return found


def _asked(gazette: Wrapped) -> Any:
    (endpoint,) = gazette.mapping.services["laws"].endpoints
    return plan(endpoint, gazette.mapping.types, {}, "year=2012&word=a%3Cb", b"")


def test_parameters_stand_in_an_element_of_the_operations_name(gazette: Wrapped) -> None:
    """Parts have no namespace, their wrapper that of the binding (WS-I BP 1.1, R2735)."""
    body = etree.fromstring(_asked(gazette).envelope)[0]
    assert body[0].tag == "{urn:gazette}find"
    assert [(one.tag, one.text) for one in body[0]] == [("year", "2012"), ("word", "a<b")]


def test_encoded_arrays_are_lists(gazette: Wrapped) -> None:
    """Their items may have any name; what the schema says of them holds."""
    mapping = gazette.mapping
    limits, habits = mapping.source.limits, mapping.source.habits
    asked = _asked(gazette)
    body = answer(
        ANSWER.encode(),
        "text/xml",
        asked=asked,
        types=mapping.types,
        habits=habits,
        limits=limits,
    )
    found = orjson.loads(body)
    assert found["items"] == [
        {"number": 7, "title": "ກົດໝາຍ", "words": {"item": ["a", "b"]}},
        {"number": 8, "title": ""},
    ]
    document = orjson.loads(gazette.document("laws", {}))
    schema = document["components"]["schemas"]["Law"] | {"components": document["components"]}
    for record in found["items"]:
        Draft202012Validator(schema).validate(record)
