"""Elements of XML as JSON values and back, by their shapes.

Reading is strict: what the WSDL does not have is refused, so that no member leaves which the
published schema does not name. Writing makes elements through the tree alone, never through text:
no value can change the structure of a message.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from adapters.soap.lexical import Habits, Unfit, read_text, write_text
from adapters.soap.shapes import TYPE, Complex, Member, Simple, Types, in_place

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NIL = f"{{{XSI}}}nil"
_TYPE = f"{{{XSI}}}type"
_PLAIN_SPACES = (
    "http://www.w3.org/2001/XMLSchema",
    "http://schemas.xmlsoap.org/soap/encoding/",
    "http://www.w3.org/2003/05/soap-encoding",
)
MAX_DEPTH = 64


def read(element: etree._Element, member: Member, types: Types, habits: Habits) -> Any:
    """The JSON value of an element that is one occurrence of ``member``.

    Raises:
        Unfit: with the place inside the element, when it is not of its type.
    """
    return _read(element, member, types, habits, MAX_DEPTH)


def _read(element: etree._Element, member: Member, types: Types, habits: Habits, depth: int) -> Any:
    if depth == 0:
        raise Unfit(f"lies deeper than {MAX_DEPTH} levels")
    nil = element.get(_NIL)
    if nil is not None and nil.strip() in ("true", "1"):
        if not member.nillable:
            raise Unfit("must not be nil")
        return None
    if isinstance(member.type, Simple):
        if len(element):
            raise Unfit("must be a text, not elements")
        if len(element.attrib) > 1 and _TYPE in element.attrib and _is_more(element):
            raise Unfit("is of a type that replaces the one in the WSDL (xsi:type)")
        return read_text(member.type, element.text or "", habits)
    shape = types[member.type]
    given = element.get(_TYPE)
    told = shape if given is None else _told(element, given.strip(), shape, types)
    if told.abstract:
        raise Unfit("must tell its type (xsi:type): the one in the WSDL is abstract")
    found = _read_object(element, told, types, habits, depth)
    return found if told is shape else {TYPE: told.name, **found}


def _is_more(element: etree._Element) -> bool:
    """Whether a text tells another type than one of XML Schema, and has attributes of it."""
    prefix = element.get(_TYPE, "").strip().rpartition(":")[0]
    space = element.nsmap.get(prefix or None)
    plain = any("}" not in str(name) for name in element.attrib)
    return plain and space not in _PLAIN_SPACES


def _told(element: etree._Element, given: str, shape: Complex, types: Types) -> Complex:
    """The type that an element tells, which is the WSDL's or one that may come in its place."""
    prefix, _, local = given.rpartition(":")
    space = element.nsmap.get(prefix or None)
    tag = f"{{{space}}}{local}" if space else local
    for one in (shape, *(types[name] for name in shape.derived)):
        if one.tag == tag:
            return one
    if _is_named(shape, local):
        return shape
    raise Unfit("is of a type that replaces the one in the WSDL (xsi:type)")


def _is_named(shape: Complex, name: str) -> bool:
    """Whether this is what the schema calls the type; a second one of a name has a number here."""
    return name == shape.name or shape.name.startswith(f"{name}.") or shape.item is not None


def _read_object(
    element: etree._Element, shape: Complex, types: Types, habits: Habits, depth: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not len(element) and element.get("href", "").startswith("#"):
        raise Unfit("refers elsewhere (multiRef), in a message that does not say it is encoded")
    for attribute in shape.attributes:
        text = element.get(attribute.tag)
        if text is not None:
            found[attribute.name] = _placed(attribute, text, habits)
    if shape.text is not None:
        if len(element):
            raise Unfit("must be a text, not elements")
        found[shape.text.name] = _placed(shape.text, element.text or "", habits)
    for child in element:
        member = shape.element(child.tag)
        if member is None:
            if shape.open:
                continue
            name = etree.QName(child).localname
            raise Unfit("is an element that the WSDL does not have").inside(name[:80])
        try:
            value = _read(child, member, types, habits, depth - 1)
        except Unfit as unfit:
            index = f"/{len(found.get(member.name, ()))}" if member.repeated else ""
            raise unfit.inside(f"{member.name}{index}") from None
        if member.repeated:
            found.setdefault(member.name, []).append(value)
        elif member.name in found:
            raise Unfit("comes more than once").inside(member.name)
        else:
            found[member.name] = value
    _check_whole(found, shape)
    return found


def _placed(member: Member, text: str, habits: Habits) -> Any:
    assert isinstance(member.type, Simple)  # noqa: S101 (attributes and text are)
    try:
        return read_text(member.type, text, habits)
    except Unfit as unfit:
        raise unfit.inside(member.name) from None


def _check_whole(found: dict[str, Any], shape: Complex) -> None:
    present = found.keys()
    if not present >= shape.required:
        missing = next(one.name for one in shape.members if one.minimum and one.name not in found)
        raise Unfit("is missing").inside(missing)
    for member in shape.counted:
        number = len(found.get(member.name, ()))
        if member.name in found and number < member.minimum:
            raise Unfit(f"must come at least {member.minimum} times").inside(member.name)
        if member.maximum is not None and number > member.maximum:
            raise Unfit(f"must come at most {member.maximum} times").inside(member.name)
    for choice in shape.choices:
        if not choice.holds(present):
            raise Unfit(f"must have one of: {', '.join(sorted(choice.names))}")


def write(
    parent: etree._Element, member: Member, value: Any, types: Types, depth: int = MAX_DEPTH
) -> None:
    """Add ``value`` to ``parent`` as one occurrence of ``member``.

    Raises:
        Unfit: with the place inside the value, when the member's schema does not allow it.
    """
    if depth == 0:
        raise Unfit(f"lies deeper than {MAX_DEPTH} levels")
    if isinstance(member.type, str) and value is not None:
        _write_object(parent, member, value, types, depth)
        return
    element = etree.SubElement(parent, member.tag)
    if value is None:
        if not member.nillable:
            raise Unfit("must not be null")
        if isinstance(member.type, str) and any(
            one.minimum for one in types[member.type].attributes
        ):
            raise Unfit("has members that are needed even with null, which JSON cannot say")
        element.set(_NIL, "true")
    elif isinstance(member.type, Simple):
        _set_text(element, write_text(member.type, value))


def _write_object(
    parent: etree._Element, member: Member, value: Any, types: Types, depth: int
) -> None:
    if not isinstance(value, dict):
        raise Unfit("must be an object")
    declared = types[str(member.type)]
    shape = _chosen(declared, value, types)
    if shape is declared:
        _write_members(etree.SubElement(parent, member.tag), shape, value, types, depth)
        return
    space, _, local = shape.tag.rpartition("}")
    element = etree.SubElement(parent, member.tag, nsmap={"t": space[1:]} if space else None)
    element.set(_TYPE, f"t:{local}" if space else local)
    members = {name: inner for name, inner in value.items() if name != TYPE}
    _write_members(element, shape, members, types, depth)


def _chosen(declared: Complex, value: dict[str, Any], types: Types) -> Complex:
    """The type that the value tells, or the declared one."""
    if TYPE not in value and not declared.abstract:
        return declared
    known = {one.name: one for one in in_place(declared, types) if one is not declared}
    name = value.get(TYPE)
    if not isinstance(name, str) or name not in known:
        words = f"must be one of: {', '.join(known)}" if known else "has no meaning here"
        raise Unfit(words).inside(TYPE)
    return known[name]


def _write_members(
    element: etree._Element, shape: Complex, value: dict[str, Any], types: Types, depth: int
) -> None:
    names = {member.name for member in shape.members}
    for name in value:
        if name not in names:
            raise Unfit("is a member that the WSDL does not have").inside(str(name)[:80])
    _check_lists(value, shape)
    _check_whole(value, shape)
    if value and not shape.ordered:
        raise Unfit("is of a type whose elements repeat in groups, which cannot be written")
    for member in shape.members:
        if member.name not in value:
            continue
        given = value[member.name]
        try:
            if member in shape.attributes:
                assert isinstance(member.type, Simple)  # noqa: S101 (attributes are)
                _set_attribute(element, member.tag, write_text(member.type, given))
            elif member is shape.text:
                assert isinstance(member.type, Simple)  # noqa: S101 (text is)
                _set_text(element, write_text(member.type, given))
            elif member.repeated:
                for index, item in enumerate(given):
                    _write_item(element, member, item, index, types, depth)
            else:
                write(element, member, given, types, depth - 1)
        except Unfit as unfit:
            raise unfit.inside(member.name) from None


def _write_item(
    element: etree._Element, member: Member, item: Any, index: int, types: Types, depth: int
) -> None:
    try:
        write(element, member, item, types, depth - 1)
    except Unfit as unfit:
        raise unfit.inside(str(index)) from None


def _check_lists(value: dict[str, Any], shape: Complex) -> None:
    for member in shape.elements:
        if member.repeated and member.name in value and not isinstance(value[member.name], list):
            raise Unfit("must be a list").inside(member.name)


def _set_text(element: etree._Element, text: str) -> None:
    try:
        element.text = text
    except ValueError as error:  # control signs, lone surrogates: XML 1.0 has no way to say them
        raise Unfit("holds a sign that XML does not allow") from error


def _set_attribute(element: etree._Element, tag: str, text: str) -> None:
    try:
        element.set(tag, text)
    except ValueError as error:
        raise Unfit("holds a sign that XML does not allow") from error
