"""Envelopes from outside: what is no answer is never used, and costs little."""

from __future__ import annotations

import json
import string
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.answers.faults import Fault as CallersFault
from adapters.soap.mapping import Endpoint
from adapters.soap.messages import (
    Fault,
    Heading,
    NotAnAnswer,
    UsernameToken,
    Version,
    format_call,
    parse_answer,
)
from adapters.soap.requests import plan
from adapters.soap.wrapping import Wrapped
from tests.adapters.trade import ENQUIRIES, PROCEDURES, wrapped

S11 = Version.SOAP_11.value
S12 = Version.SOAP_12.value


def _envelope(inside: str, version: str = S11, before: str = "") -> bytes:
    return f"{before}<s:Envelope xmlns:s='{version}'>{inside}</s:Envelope>".encode()


BODY = "<s:Body><a xmlns='urn:a'>1</a></s:Body>"
LAUGHS = (
    "<!DOCTYPE s:Envelope [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY a{index} '{f'&a{index - 1};' * 10}'>" for index in range(1, 20)).replace(
        "&a0;", "&a;"
    )
    + "]>"
)


def _hostile(tmp_path: Path) -> dict[str, bytes]:
    secret = tmp_path / "secret.txt"
    secret.write_text("the-secret")
    external = f"<!DOCTYPE x [<!ENTITY e SYSTEM '{secret.as_uri()}'>]>"
    parameter = f"<!DOCTYPE x [<!ENTITY % p SYSTEM '{secret.as_uri()}'> %p;]>"
    use = "<s:Body><a>&{};</a></s:Body>"
    return {
        "billion laughs": _envelope(use.format("a19"), before=LAUGHS),
        "external entity": _envelope(use.format("e"), before=external),
        "parameter entity": _envelope(BODY, before=parameter),
        "external subset": _envelope(BODY, before=f"<!DOCTYPE x SYSTEM '{secret.as_uri()}'>"),
        "empty document type": _envelope(BODY, before="<!DOCTYPE x>"),
        "truncated": _envelope(BODY)[:-20],
        "nothing": b"",
        "a page": b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
        "a page without a type": b"<html><body><p>Bad gateway</p></body></html>",
        "no XML": b"%PDF-1.7",
        "JSON": b'{"a": 1}',
        "another namespace": _envelope(BODY, "urn:other"),
        "the other version": _envelope(BODY, S12),
        "no body": _envelope("<s:Header/>"),
        "a body of another namespace": _envelope("<Body><a/></Body>"),
        "many elements": _envelope("<s:Body>" + "<a/>" * 600_001 + "</s:Body>"),
        "many attributes": _envelope(
            "<s:Body><a "
            + " ".join(f"b{n}=''" for n in range(500_000))
            + " /></s:Body>"
            + "<a/>" * 500_000
        ),
        "deep": _envelope("<a>" * 5_000 + "</a>" * 5_000),
        "EBCDIC": _envelope(BODY, before="<?xml version='1.0' encoding='IBM037'?>"),
        "UTF-7": _envelope(BODY, before="<?xml version='1.0' encoding='UTF-7'?>"),
        "broken UTF-8": _envelope(BODY).replace(b">1<", b">\xff<"),
        "a control sign": _envelope(BODY).replace(b">1<", b">\x01<"),
    }


NAMES = [
    "billion laughs", "external entity", "parameter entity", "external subset",
    "empty document type", "truncated", "nothing", "a page", "a page without a type", "no XML",
    "JSON", "another namespace", "the other version", "no body", "a body of another namespace",
    "many elements", "many attributes", "deep", "EBCDIC", "UTF-7", "broken UTF-8", "a control sign",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return _hostile(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_answer_is_refused(hostile: dict[str, bytes], name: str) -> None:
    """Whatever it is, the same refusal; nothing of the content is told, no entity is replaced."""
    with pytest.raises(NotAnAnswer) as caught:
        parse_answer(hostile[name], Version.SOAP_11)
    assert "the-secret" not in str(caught.value)


def test_every_hostile_answer_is_in_the_table(hostile: dict[str, bytes]) -> None:
    """None is forgotten."""
    assert [*hostile] == NAMES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_encodings_of_old_services_are_read(encoding: str) -> None:
    """UTF-16 and Latin-1 as they declare themselves."""
    declared = "" if "sig" in encoding else f"<?xml version='1.0' encoding='{encoding}'?>"
    text = _envelope("<s:Body><a>é</a></s:Body>", before=declared).decode()
    found = parse_answer(text.encode(encoding), Version.SOAP_11)
    assert isinstance(found, etree._Element)
    assert found.text == "é"


def test_a_fault_of_soap_1_1_tells_its_kind() -> None:
    """The element in its detail says more than its code; its texts are not kept."""
    fault = (
        "<s:Body><s:Fault><faultcode>s:Client.NotThere</faultcode><faultstring>Mr X</faultstring>"
        "<detail><n:Unknown xmlns:n='urn:n'>Mr X</n:Unknown></detail></s:Fault></s:Body>"
    )
    found = parse_answer(_envelope(fault), Version.SOAP_11)
    assert found == Fault(("Unknown", "Client.NotThere"))
    assert "Mr X" not in repr(found)


def test_a_fault_of_soap_1_2_tells_its_kind() -> None:
    """Subcodes from the innermost out, the code last."""
    fault = (
        "<s:Body><s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>m:Busy</s:Value>"
        "<s:Subcode><s:Value>m:Night</s:Value></s:Subcode></s:Subcode></s:Code>"
        "<s:Reason><s:Text xml:lang='en'>x</s:Text></s:Reason></s:Fault></s:Body>"
    )
    found = parse_answer(_envelope(fault, S12), Version.SOAP_12)
    assert found == Fault(("Night", "Busy", "Receiver"))


def test_an_empty_fault_is_a_fault() -> None:
    """One that says nothing of itself is still no answer."""
    found = parse_answer(_envelope("<s:Body><s:Fault/></s:Body>"), Version.SOAP_11)
    assert found == Fault(())


def test_a_user_name_goes_into_the_header() -> None:
    """WS-Security: whatever signs are in it, they stay in their element."""
    token = UsernameToken("a<b", "p&]]>w")
    root = etree.fromstring(format_call(Version.SOAP_12, None, None, {}, Heading(token)))
    texts = [one.text for one in root[0].iter() if one.text]
    assert (root[0].tag, texts) == (f"{{{S12}}}Header", ["a<b", "p&]]>w"])


# Hostile parameters.

_TELLING = ("<", ">", "&", '"', "'", "]]>", "<!--", "-->", "<?", "&#0;", "\r", "\u2028")
_SIGNS = st.lists(
    st.one_of(st.characters(exclude_categories=("Cs",)), st.sampled_from(_TELLING)), max_size=12
).map("".join)
_INJECTIONS = st.sampled_from(
    [
        "</t:code><t:code>other</t:code>",
        "</code></GetProcedure></s:Body></s:Envelope>",
        "]]><code>x</code><![CDATA[",
        "<!DOCTYPE a [<!ENTITY b 'c'>]>&b;",
        "&lt;code&gt;",
        "&#60;x&#62;",
        "<xi:include href='file:///etc/passwd'/>",
    ]
)


def _shape(element: etree._Element) -> Any:
    return element.tag, sorted(element.attrib), [_shape(child) for child in element]


def _planned(endpoint: Endpoint, variables: dict[str, str], body: bytes) -> etree._Element | str:
    """The envelope of a request, or the place of what is refused."""
    try:
        asked = plan(endpoint, _wrapping().mapping.types, variables, "", body)
    except CallersFault as fault:
        return fault.where
    return etree.fromstring(asked.envelope)


@given(st.one_of(_SIGNS, _INJECTIONS))
@settings(max_examples=150, deadline=None)
def test_no_value_changes_the_structure_of_a_message(value: str) -> None:
    """It is refused, or it is the text of its element, sign by sign."""
    services = _wrapping().mapping.services
    one = services[PROCEDURES].endpoints[1]
    usual = _planned(one, {"code": "A"}, b"")
    found = _planned(one, {"code": value}, b"")
    if isinstance(found, str):
        assert found == "path.code"
    else:
        assert _shape(found) == _shape(usual)
        assert (found[0][0][0].text or "") == value
    body = {"subject": value, "question": value, "email": value}
    found = _planned(services[ENQUIRIES].endpoints[0], {}, _json(body))
    if isinstance(found, str):
        assert found == "body/subject"
    else:
        assert [each.text or "" for each in found[0][0][0]] == [value, value, value]


@given(st.dictionaries(st.text(string.printable, max_size=20), _SIGNS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_no_name_of_a_body_becomes_an_element(members: dict[str, str]) -> None:
    """Only members that the WSDL has are written."""
    enquiry = _wrapping().mapping.services[ENQUIRIES].endpoints[0]
    assert isinstance(_planned(enquiry, {}, _json(members)), str)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@cache
def _wrapping() -> Wrapped:
    found = wrapped()
    assert isinstance(found, Wrapped)
    return found
