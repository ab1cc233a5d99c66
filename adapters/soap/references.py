"""Values that stand elsewhere in an encoded message, put where they are referred to.

Source: SOAP 1.1, sections 4.1.1, 5.1 and 5.4.1 (``href`` and ``id``); SOAP 1.2 part 2, 3.1.5.1
(``enc:ref`` and ``enc:id``). Servers of Axis 1 give each object as a ``multiRef`` beside the
answer; PHP's give one that comes twice in its place, and refer to it the second time.

Invariants: only what an encoding applies to (``encodingStyle``) is looked at, so that a link of a
literal service stays a link; what refers in a circle, to nothing, or to more than
:data:`MAX_COPIED` tags together is refused; nothing outside of the message is read.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final

from lxml import etree

MAX_COPIED: Final = 200_000
"""Tags that references may put into a message: a few may refer to the same again and again."""
MAX_DEPTH: Final = 200
_ENCODINGS: Final = (
    "http://schemas.xmlsoap.org/soap/encoding/",
    "http://www.w3.org/2003/05/soap-encoding",
)
_TWELVE: Final = "{http://www.w3.org/2003/05/soap-encoding}"
_ROOT: Final = "{http://schemas.xmlsoap.org/soap/encoding/}root"
_ANY: Final = etree.XPath("boolean(.//@href | .//@enc:ref)", namespaces={"enc": _ENCODINGS[1]})


class Unresolved(Exception):
    """References that lead to no value; the words say why and tell no content."""


def resolve(body: etree._Element) -> None:
    """Put the values in the places of the elements that refer to them.

    What stands beside the answer, to be referred to, is taken away.

    Raises:
        Unresolved: for a reference to nothing, in a circle, or to too much.
    """
    if not _ANY(body):
        return
    named: dict[str, etree._Element] = {}
    for element in body.iter(etree.Element):
        name = element.get("id") or element.get(f"{_TWELVE}id")
        if name and _is_encoded(element):
            if name in named:
                raise Unresolved("gives two values one name")
            named[name] = element
    roots = [one for one in body if one.get(_ROOT) != "0" and one.get("id") not in named]
    waiting = [(one, _inside(one)) for one in (roots or list(body))[:1]]
    room = MAX_COPIED
    while waiting:
        element, inside = waiting.pop()
        if len(inside) > MAX_DEPTH:
            raise Unresolved("refers too deep")
        for child in list(element):
            name = _refers(child)
            if not name:
                waiting.append((child, inside | _inside(child)))
                continue
            if name not in named or name in inside:
                raise Unresolved("refers to a value that is not there, or in a circle")
            room -= sum(1 for _ in named[name].iter())
            if room < 0:
                raise Unresolved(f"refers to more than {MAX_COPIED:,} tags")
            value = _copy(named[name], child)
            element.replace(child, value)
            waiting.append((value, inside | {name}))
    for element in list(body)[1:]:
        body.remove(element)


def _refers(element: etree._Element) -> str:
    """The name to which an empty element refers; empty for any other."""
    told = element.get("href") or element.get(f"{_TWELVE}ref") or ""
    is_there = len(element) or (element.text or "").strip()
    if is_there or not (told.startswith("#") or element.get(f"{_TWELVE}ref")):
        return ""
    return told.removeprefix("#") if _is_encoded(element) else ""


def _is_encoded(element: etree._Element) -> bool:
    """Whether the nearest ``encodingStyle`` around is that of SOAP's own encoding."""
    for one in (element, *element.iterancestors()):
        for name, value in one.items():
            if name.endswith("}encodingStyle"):
                return any(style in _ENCODINGS for style in value.split())
    return False


def _inside(element: etree._Element) -> frozenset[str]:
    name = element.get("id") or element.get(f"{_TWELVE}id")
    return frozenset([name]) if name else frozenset()


def _copy(value: etree._Element, place: etree._Element) -> etree._Element:
    """``value`` as the element that referred to it."""
    found = deepcopy(value)
    found.tag, found.tail = place.tag, place.tail
    for name in ("id", f"{_TWELVE}id", _ROOT):
        found.attrib.pop(name, None)
    for name in [one for one in found.attrib if one.endswith("}encodingStyle")]:
        del found.attrib[name]
    return found
