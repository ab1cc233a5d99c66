"""Envelopes: how a call is written and what an answer is, whatever came.

Source: SOAP 1.1 (W3C Note of 8 May 2000), sections 4 and 6; SOAP 1.2 part 1 (second edition),
section 5. An answer with a document type is refused before anything in it is used (SOAP 1.1,
section 3; SOAP 1.2, 5), no entity is ever replaced and nothing is fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lxml import etree

from adapters.soap.attachments import Scattered, include, is_multipart, split
from adapters.soap.lexical import Unfit
from adapters.soap.references import Unresolved, resolve
from adapters.soap.shapes import Member, Types
from adapters.soap.values import write

MAX_NODES = 600_000
"""Tags and attributes of one document; each takes about 120 bytes while it is read."""

_ENCODING = re.compile(rb"[^<]*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
_KNOWN_ENCODING = re.compile(
    rb"utf-?8|utf-16(le|be)?|us-ascii|iso-8859-[0-9]{1,2}|windows-[0-9]{3,4}"
)
_BEFORE = b"\xef\xbb\xbf \t\r\n"
_BEGINNINGS = (b"<", b"\xff\xfe<", b"\xfe\xff\0<")
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_PASSWORD_TEXT = (
    "http://docs.oasis-open.org/wss/2004/01/"  # noqa: S105 (the name of a profile)
    "oasis-200401-wss-username-token-profile-1.0#PasswordText"
)


class Version(Enum):
    """The versions of SOAP, by the namespace of their envelopes."""

    SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
    SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"


class NotAnAnswer(Exception):
    """What came is no SOAP message that can be read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: the local names that tell its kind, most telling first. Its texts are not kept."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """WS-Security, UsernameToken profile 1.0, password as text: for TLS only."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands in the header of each call: who asks, and elements with their values."""

    token: UsernameToken | None = None
    elements: tuple[tuple[Member, Any], ...] = ()


NO_HEADING = Heading()


def format_call(
    version: Version,
    body: Member | None,
    value: Any,
    types: Types,
    heading: Heading = NO_HEADING,
) -> bytes:
    """The envelope of a call.

    Raises:
        Unfit: when ``value`` is not what the message needs, with the place.
    """
    envelope = etree.Element(f"{{{version.value}}}Envelope", nsmap={"soap": version.value})
    if heading != NO_HEADING:
        header = etree.SubElement(envelope, f"{{{version.value}}}Header")
        if heading.token is not None:
            _add_token(header, version, heading.token)
        for member, inner in heading.elements:
            try:
                write(header, member, inner, types)
            except Unfit as unfit:
                raise unfit.inside(member.name) from None
    content = etree.SubElement(envelope, f"{{{version.value}}}Body")
    if body is not None:
        write(content, body, value, types)
    found: bytes = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
    return found


def _add_token(header: etree._Element, version: Version, token: UsernameToken) -> None:
    security = etree.SubElement(header, f"{{{_WSSE}}}Security", nsmap={"wsse": _WSSE})
    security.set(f"{{{version.value}}}mustUnderstand", "1")
    user = etree.SubElement(security, f"{{{_WSSE}}}UsernameToken")
    etree.SubElement(user, f"{{{_WSSE}}}Username").text = token.username
    password = etree.SubElement(user, f"{{{_WSSE}}}Password", Type=_PASSWORD_TEXT)
    password.text = token.password


def headers(version: Version, action: str) -> tuple[tuple[str, str], ...]:
    """The fields of the HTTP request (SOAP 1.1, 6.1.1; SOAP 1.2 part 2, 7.1.4)."""
    if version is Version.SOAP_11:
        return (("content-type", "text/xml; charset=utf-8"), ("soapaction", f'"{action}"'))
    kind = "application/soap+xml; charset=utf-8"
    return (("content-type", f'{kind}; action="{action}"' if action else kind),)


def parse_xml(data: bytes, max_nodes: int = MAX_NODES) -> etree._Element:
    """The root of an XML document without a document type.

    Raises:
        NotAnAnswer: when it is not one, or has too many nodes. The message tells no content.
    """
    # In these encodings the sign < is its ASCII byte, so that nodes can be counted before reading.
    declared = _ENCODING.match(data[:300])
    encoding = b"utf-8" if declared is None else declared[1].lower()
    if not data.lstrip(_BEFORE).startswith(_BEGINNINGS) or not _KNOWN_ENCODING.fullmatch(encoding):
        raise NotAnAnswer("is not XML in an encoding that is known here")
    if data.count(b"<") + data.count(b"=") > max_nodes:
        raise NotAnAnswer(f"has more than {max_nodes:,} tags and attributes")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise NotAnAnswer(f"is not well-formed XML (line {error.lineno or 1})") from error
    except (ValueError, LookupError) as error:
        raise NotAnAnswer("is not XML that can be read") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise NotAnAnswer("has a document type, which SOAP forbids")
    return root


def parse_answer(data: bytes, version: Version, kind: str = "") -> etree._Element | Fault | None:
    """What the body of the answer holds: an element, a fault, or nothing.

    Args:
        kind: its ``Content-Type``; one in parts is put together.

    Raises:
        NotAnAnswer: when it is no envelope of this version.
    """
    try:
        if is_multipart(kind):
            data, parts = split(data, kind)
            root = parse_xml(data)
            include(root, parts)
        else:
            root = parse_xml(data)
    except Scattered as error:
        raise NotAnAnswer(str(error)) from error
    if root.tag != f"{{{version.value}}}Envelope":
        known = [one for one in Version if root.tag == f"{{{one.value}}}Envelope"]
        told = "is an envelope of the other version of SOAP" if known else "is no SOAP envelope"
        raise NotAnAnswer(told)
    body = root.find(f"{{{version.value}}}Body")
    if body is None:
        raise NotAnAnswer("is a SOAP envelope without a body")
    try:
        resolve(body)
    except Unresolved as error:
        raise NotAnAnswer(str(error)) from error
    first = next(iter(body), None)
    if first is not None and first.tag == f"{{{version.value}}}Fault":
        return _fault_12(first) if version is Version.SOAP_12 else _fault_11(first)
    return first


def _fault_11(fault: etree._Element) -> Fault:
    code = (fault.findtext("faultcode") or "").strip().rpartition(":")[2]
    return Fault(_names(fault.find("detail"), [code]))


def _fault_12(fault: etree._Element) -> Fault:
    space = f"{{{Version.SOAP_12.value}}}"
    values = [(one.text or "").strip().rpartition(":")[2] for one in fault.iter(f"{space}Value")]
    return Fault(_names(fault.find(f"{space}Detail"), values[::-1][:10]))


def _names(detail: etree._Element | None, codes: list[str]) -> tuple[str, ...]:
    children = [] if detail is None else [etree.QName(one).localname for one in detail[:10]]
    return tuple(dict.fromkeys(name[:120] for name in (*children, *codes) if name))
