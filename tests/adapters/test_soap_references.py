"""Encoded answers whose values stand elsewhere in the message, as Axis 1 and PHP write them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import zeep

from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.answers import answer
from adapters.soap.documents import Documents
from adapters.soap.messages import NotAnAnswer, Version, parse_answer
from adapters.soap.references import MAX_COPIED
from adapters.soap.requests import plan
from adapters.soap.wrapping import Wrapped
from exchange.problems import Code, Problem
from tests.adapters.test_soap_attachments import giving
from tests.adapters.test_soap_encoded import MAPPING, STYLE, WSDL

S11 = Version.SOAP_11.value
ENC = "http://schemas.xmlsoap.org/soap/encoding/"
AXIS = f"""<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="{S11}" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
<ns1:findResponse soapenv:encodingStyle="{ENC}" xmlns:ns1="urn:gazette">
<return soapenc:arrayType="ns1:Law[2]" xsi:type="soapenc:Array" xmlns:soapenc="{ENC}">
<return href="#id0"/><return href="#id1"/></return></ns1:findResponse>
<multiRef id="id1" soapenc:root="0" soapenv:encodingStyle="{ENC}" xsi:type="ns2:Law"
 xmlns:soapenc="{ENC}" xmlns:ns2="urn:gazette"><number href="#id3"/>
<title xsi:type="soapenc:string">ດຳລັດ</title><words href="#id2"/></multiRef>
<multiRef id="id0" soapenc:root="0" soapenv:encodingStyle="{ENC}" xsi:type="ns3:Law"
 xmlns:soapenc="{ENC}" xmlns:ns3="urn:gazette"><number href="#id4"/>
<title xsi:type="xsd:string">ກົດໝາຍ</title></multiRef>
<multiRef id="id3" soapenc:root="0" soapenv:encodingStyle="{ENC}" xsi:type="xsd:int"
 xmlns:soapenc="{ENC}">8</multiRef>
<multiRef id="id4" soapenc:root="0" soapenv:encodingStyle="{ENC}" xsi:type="xsd:int"
 xmlns:soapenc="{ENC}">7</multiRef>
<multiRef id="id2" soapenc:root="0" soapenv:encodingStyle="{ENC}" xsi:type="soapenc:Array"
 soapenc:arrayType="xsd:string[2]" xmlns:soapenc="{ENC}"><item>a</item><item>b</item></multiRef>
</soapenv:Body></soapenv:Envelope>"""
PHP = f"""<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="{S11}" xmlns:ns1="urn:gazette"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:SOAP-ENC="{ENC}"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" SOAP-ENV:encodingStyle="{ENC}">
<SOAP-ENV:Body><ns1:findResponse><return SOAP-ENC:arrayType="ns1:Law[3]" xsi:type="ns1:Laws">
<item id="ref1" xsi:type="ns1:Law"><number xsi:type="xsd:int">7</number><title
 xsi:type="xsd:string">ກົດໝາຍ</title></item><item xsi:type="ns1:Law"><number
 xsi:type="xsd:int">8</number><title xsi:type="xsd:string">ດຳລັດ</title></item>
<item href="#ref1"/></return></ns1:findResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>"""
FIRST = {"number": 7, "title": "ກົດໝາຍ"}


@pytest.fixture
def gazette(tmp_path: Path) -> Wrapped:
    (tmp_path / "gazette.wsdl").write_text(WSDL.format(use="encoded", style=STYLE), "utf-8")
    found = kinds.read_node(parse(MAPPING.encode(), "gazette.yaml", tmp_path))
    assert isinstance(found, Wrapped)
    return found


def items(gazette: Wrapped, text: str) -> Any:
    mapping = gazette.mapping
    (endpoint,) = mapping.services["laws"].endpoints
    asked = plan(endpoint, mapping.types, {}, "year=2012&word=a", b"")
    habits, limits = mapping.source.habits, mapping.source.limits
    body = answer(
        text.encode(), "text/xml", asked=asked, types=mapping.types, habits=habits, limits=limits
    )
    return orjson.loads(body)["items"]


def test_objects_beside_the_answer_stand_where_they_are_referred_to(gazette: Wrapped) -> None:
    """As Axis 1.4 writes: every object, number and array is a multiRef, in any order."""
    second = {"number": 8, "title": "ດຳລັດ", "words": {"item": ["a", "b"]}}
    assert items(gazette, AXIS) == [FIRST, second]


def test_an_object_that_comes_twice_is_given_twice(gazette: Wrapped) -> None:
    """As PHP's SoapServer writes: in its place, then by its name."""
    assert items(gazette, PHP) == [FIRST, {"number": 8, "title": "ດຳລັດ"}, FIRST]


class _AtHand(zeep.Transport):  # type: ignore[misc]  # zeep has no types
    """The schema of SOAP's encoding, without the web that zeep would ask for it."""

    def load(self, url: str) -> bytes:
        return Documents(url).load(url)


async def test_another_client_reads_the_same(gazette: Wrapped, tmp_path: Path) -> None:
    """zeep's own, over the same WSDL; what stands in its place first, as PHP has it, it leaves."""
    async with giving(AXIS.encode(), "text/xml") as url:
        client = zeep.Client(str(tmp_path / "gazette.wsdl"), transport=_AtHand())
        service = client.create_service("{urn:gazette}Binding", url)
        found = await asyncio.to_thread(service.find, 2012, "a")
    ours = items(gazette, AXIS)
    assert [(one.number, one.title) for one in found] == [
        (one["number"], one["title"]) for one in ours
    ]


def test_what_is_referred_to_is_judged_like_all_else(gazette: Wrapped) -> None:
    """A text where a number must be has a place in the answer."""
    with pytest.raises(Problem) as caught:
        items(gazette, AXIS.replace(">7</multiRef>", ">seven</multiRef>"))
    assert caught.value.code is Code.RESPONSE_SCHEMA_VIOLATION


def envelope(content: str, style: str = f'e:encodingStyle="{ENC}"') -> bytes:
    return f'<e:Envelope xmlns:e="{S11}"><e:Body {style}>{content}</e:Body></e:Envelope>'.encode()


def bomb(levels: int) -> str:
    """Each value refers to the next ten times."""
    each = "".join(
        f'<m id="i{n}">{f"<x href={chr(34)}#i{n + 1}{chr(34)}/>" * 10}</m>' for n in range(levels)
    )
    return f'<a><b href="#i0"/></a>{each}<m id="i{levels}">1</m>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('<a><b href="#x"/></a>', "not there"),
        ('<a><b href="#x"/></a><m id="x"><c href="#x"/></m>', "circle"),
        ('<a><b href="#x"/></a><m id="x"><c href="#y"/></m><m id="y"><d href="#x"/></m>', "circle"),
        ('<a><b id="x"><c href="#x"/></b></a>', "circle"),
        ('<a><b href="#x"/></a><m id="x">1</m><m id="x">2</m>', "two values one name"),
        (bomb(12), f"more than {MAX_COPIED:,} tags"),
    ],
)
def test_references_that_lead_nowhere_are_refused(content: str, words: str) -> None:
    """To nothing, in a circle, to one of two, to more than was sent."""
    with pytest.raises(NotAnAnswer, match=words):
        parse_answer(envelope(content), Version.SOAP_11)


@pytest.mark.parametrize(
    ("content", "style"),
    [
        ('<a><b href="#x"/><c id="x">1</c></a>', ""),
        ('<a><b href="#x"/><c id="x">1</c></a>', 'e:encodingStyle="urn:other"'),
        ('<a><b href="#x">link</b></a>', f'e:encodingStyle="{ENC}"'),
        ('<a><b href="http://10.1.2.3/secret"/></a>', f'e:encodingStyle="{ENC}"'),
        ('<a><b href="file:///etc/passwd"/></a>', f'e:encodingStyle="{ENC}"'),
    ],
)
def test_a_link_is_a_link(content: str, style: str) -> None:
    """Where no encoding applies, where it has a text, where it leads out of the message."""
    found = parse_answer(envelope(content, style), Version.SOAP_11)
    assert found is not None
    assert not isinstance(found, tuple)
    assert str(found[0].get("href")) in content  # type: ignore[index]


def test_references_of_soap_12() -> None:
    """By enc:ref and enc:id, with or without the sign #."""
    enc = "http://www.w3.org/2003/05/soap-encoding"
    for sign in ("", "#"):
        text = (
            f'<e:Envelope xmlns:e="{Version.SOAP_12.value}" xmlns:n="{enc}"><e:Body><a'
            f' e:encodingStyle="{enc}"><b n:id="r1">7</b><c n:ref="{sign}r1"/></a></e:Body>'
            "</e:Envelope>"
        )
        found = parse_answer(text.encode(), Version.SOAP_12)
        assert [one.text for one in found] == ["7", "7"]  # type: ignore[union-attr]
