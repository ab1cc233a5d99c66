"""Parameters of an operation, and the values that callers may ask them with: in the file.

A parameter that narrows what the backend answers can hold a right: who may ask with
``province=01`` only gets no other province, because nothing else can be asked. What the backend
makes of its own parameter is the owner's to know; nothing here looks into answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from functools import partial
from typing import Final

from adapters.answers.faults import Fault
from adapters.mapping.callers import read_by_caller, several
from adapters.mapping.model import Parameter
from adapters.mapping.parameters import declared_parameter, parameter_value
from adapters.mapping.reader import Node
from adapters.passing.model import Bound, Extent, Listed, Place, Sent, Visible

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", re.ASCII)
_ROWS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_OWN_KEYS: Final = ("sent_as", "sent_in", "list", "max_items", "rows")
_MOST_ITEMS: Final = 100


def read_parameters(node: Node | None) -> tuple[dict[str, Parameter], dict[str, Sent]]:
    """The key ``parameters`` of an operation."""
    parameters: dict[str, Parameter] = {}
    sent: dict[str, Sent] = {}
    for name, child in ({} if node is None else node.entries()).items():
        if not NAME.fullmatch(name):
            child.refuse(f"{name!r} is not a name of a parameter")
        parameters[name] = declared_parameter(name, child, {}, _OWN_KEYS)
        sent[name] = _sent(name, child.entries())
        if sent[name].listed and parameters[name].default is not None:
            child.refuse("a list has no default")
    for field in (one.rows for one in sent.values() if one.rows):
        if sum(one.rows == field for one in sent.values()) > 1 and node is not None:
            node.refuse(f"two parameters say that they narrow to the field {field!r}")
    return parameters, sent


def _sent(name: str, found: Map[str, Node]) -> Sent:
    place = found["sent_in"].choice(Place) if "sent_in" in found else Place.QUERY
    listed = found["list"].choice(Listed) if "list" in found else None
    if "max_items" in found and listed is None:
        found["max_items"].refuse("only a list has items: add the key 'list'")
    if place is Place.HEADER and listed not in (None, Listed.COMMA):
        found["list"].refuse("a header field holds several values with commas (RFC 9110, 5.6.1)")
    most = _MOST_ITEMS if listed is not None else 1
    return Sent(
        name=found["sent_as"].text(longest=100) if "sent_as" in found else name,
        place=place,
        listed=listed,
        most=found["max_items"].integer(1, _MOST_ITEMS) if "max_items" in found else most,
        rows=found["rows"].text(_ROWS) if "rows" in found else "",
    )


def read_visible(node: Node, parameters: Map[str, Parameter]) -> Visible:
    """The key ``visible`` of an operation."""
    return Visible(*read_by_caller(node, "rows", partial(_rows, parameters=parameters)))


def _rows(node: Node, parameters: Map[str, Parameter]) -> Extent | tuple[Bound, ...]:
    if node.is_scalar:
        return node.choice(Extent)
    bounds = []
    for name, child in node.entries().items():
        if name not in parameters:
            child.refuse(f"there is no parameter {name!r}, and nothing here looks into answers")
        bounds.append(Bound(name, several(child, partial(_value, parameter=parameters[name]))))
    if not bounds:
        node.refuse("say 'all', 'nothing', or the values of a parameter")
    return tuple(bounds)


def _value(node: Node, parameter: Parameter) -> str:
    text = node.text(longest=200)
    try:
        parameter_value(parameter, text, "")
    except Fault as fault:
        node.refuse(fault.detail)
    return text
