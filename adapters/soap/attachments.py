"""Messages with attachments: a SOAP message and what it includes, apart.

Source: MTOM (W3C, 25 January 2005) and XOP 1.0: a ``multipart/related`` (RFC 2387) whose root is
the envelope and whose other parts are the contents of ``xop:Include`` elements; or SOAP with
Attachments (W3C Note of 11 December 2000, section 3), where an empty element refers to a part by
``href="cid:…"``. Everything that came must be referred to once: a message with a part that is
merely beside it is refused, never shown without it.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.message import Message
from email.parser import BytesParser
from typing import Final
from urllib.parse import unquote

from lxml import etree

MAX_PARTS: Final = 100
_MAX_HEAD: Final = 8 << 10
_INCLUDE: Final = "{http://www.w3.org/2004/08/xop/include}Include"
_PLAIN: Final = ("", "7bit", "8bit", "binary")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]*")


class Scattered(Exception):
    """A message whose parts cannot be put together; the words say why and tell no content."""


def is_multipart(kind: str) -> bool:
    """Whether a ``Content-Type`` announces several parts."""
    return kind.lstrip().lower().startswith("multipart/")


def split(data: bytes, kind: str) -> tuple[bytes, dict[str, bytes]]:
    """The root part of a ``multipart/related``, and the others by their Content-ID.

    Args:
        kind: the field ``Content-Type``.

    Raises:
        Scattered: when it is not one, or has more than :data:`MAX_PARTS` parts.
    """
    told = Message()
    told["content-type"] = kind
    boundary = told.get_boundary()
    if told.get_content_subtype() != "related" or not boundary or not boundary.isascii():
        raise Scattered("comes in parts that are not multipart/related")
    mark = b"\r\n--" + boundary.encode()
    if data.count(mark) > MAX_PARTS + 1:
        raise Scattered(f"comes in more than {MAX_PARTS} parts")
    pieces = (b"\r\n" + data).split(mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Scattered("comes in parts that do not end")
    parts = [_part(piece) for piece in pieces[1:-1]]
    start = _named(str(told.get_param("start") or ""))
    roots = [index for index, (name, _) in enumerate(parts) if name == start] if start else [0]
    if len(roots) != 1:
        raise Scattered("comes in parts of which none is the message")
    _, root = parts.pop(roots[0])
    others = dict(parts)
    if len(others) < len(parts):
        raise Scattered("comes in parts of which two have one name")
    return root, others


def _part(piece: bytes) -> tuple[str, bytes]:
    """Name and content of a part."""
    head, found, content = piece.partition(b"\r\n\r\n")
    blank, _, fields = head.partition(b"\r\n")
    if not found or blank.strip(b" \t") or len(head) > _MAX_HEAD:
        raise Scattered("comes in parts that cannot be read")
    told = BytesParser().parsebytes(fields + b"\r\n\r\n", headersonly=True)
    coding = str(told.get("content-transfer-encoding", "")).strip().lower()
    if coding == "base64" and _BASE64.fullmatch(content):
        try:
            content = base64.b64decode(b"".join(content.split()), validate=True)
        except binascii.Error as error:
            raise Scattered("comes in parts that cannot be read") from error
    elif coding not in _PLAIN:
        raise Scattered("comes in parts of an encoding that is not known here")
    return _named(str(told.get("content-id", ""))), content


def _named(text: str) -> str:
    return text.strip().removeprefix("<").removesuffix(">")


def include(root: etree._Element, parts: dict[str, bytes]) -> None:
    """Put each part where ``root`` includes it, as base64 (XOP 1.0, 4.2).

    Raises:
        Scattered: for a part that is not there, is named twice, or is not included at all.
    """
    left = dict(parts)
    for element in [*root.iter(_INCLUDE)]:
        parent = element.getparent()
        name = unquote(element.get("href", "").removeprefix("cid:"))
        beside = "" if parent is None else f"{parent.text or ''}{element.tail or ''}".strip()
        if name not in left or parent is None or len(parent) > 1 or beside:
            raise Scattered("includes a part that is not there, or stands elsewhere too")
        parent.remove(element)
        parent.text = base64.b64encode(left.pop(name)).decode()
    for element in root.iter(etree.Element):
        told = element.get("href", "")
        if not told.startswith("cid:") or len(element) or (element.text or "").strip():
            continue
        name = unquote(told.removeprefix("cid:"))
        if name not in left:
            raise Scattered("refers to a part that is not there, or twice to one")
        del element.attrib["href"]
        element.text = base64.b64encode(left.pop(name)).decode()
    if left:
        raise Scattered(f"comes with {len(left)} attachment(s) beside the message, not read here")
