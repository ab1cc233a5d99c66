"""The key ``compute`` of a field: an operation on other fields of the record, checked when read."""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any, Final

from adapters.fields import Computation, Field, Kind, Mismatch, Rounding, parse_plain
from adapters.fields.computing import ARITHMETIC, HOLE, Operation, takes
from adapters.mapping.reader import Node

MOST_INPUTS: Final = 20
_OPTIONS: Final = {Operation.CONCAT: "separator", Operation.EQUALS: "to"}
_KEYS: Final = frozenset(
    {"type", "compute", "null", "title", "mask", "scale", "emit", "rounding", "table"}
    | {"otherwise", "zone", "hidden", "element", "subject", "statistics"}
)
"""What a computed field may say; all else is about a column."""


def read_compute(node: Node, field: Field, fields: Map[str, Field], *, said: set[str]) -> Any:
    """The computation of ``field``, whose keys are ``said``, from others of the same record.

    Raises:
        Problem: ``InvalidMapping`` for an unknown operation or input, or types that do not fit.
    """
    for key in sorted(said - _KEYS):
        node.refuse(f"a computed field has no column: the key {key!r} has no meaning")
    found = node.members((), (*Operation, *_OPTIONS.values()))
    operations = [one for one in Operation if one in found]
    if len(operations) != 1:
        node.refuse(f"needs one operation: {', '.join(Operation)}")
    operation = operations[0]
    for key in _OPTIONS.values():
        if key in found and _OPTIONS.get(operation) != key:
            found[key].refuse(f"has no meaning for {operation}")
    inputs = _inputs(operation, found[operation], field, fields)
    text = _text(operation, found, field, inputs)
    rounding = field.rounding if operation is Operation.DIVIDE else Rounding.REFUSE
    return Computation(operation, inputs, text, rounding)


def _inputs(
    operation: Operation, node: Node, field: Field, fields: Map[str, Field]
) -> tuple[Field, ...]:
    if operation is Operation.CONSTANT:
        return ()
    if operation is Operation.TEMPLATE:
        names = [(name, node) for name in dict.fromkeys(HOLE.findall(node.text(longest=1_000)))]
    elif operation in (Operation.YEAR, Operation.LOOKUP, Operation.EQUALS):
        names = [(node.text(longest=200), node)]
    else:
        names = [(one.text(longest=200), one) for one in node.items()]
    least = 1 if operation in (Operation.YEAR, Operation.LOOKUP, Operation.EQUALS) else 2
    most = 2 if operation in (Operation.SUBTRACT, Operation.DIVIDE) else MOST_INPUTS
    if operation is Operation.TEMPLATE:
        least = 1
    if not least <= len(names) <= most:
        node.refuse(f"{operation} needs {least} to {most} fields, not {len(names)}")
    return tuple(_input(operation, name, place, field, fields) for name, place in names)


def _input(
    operation: Operation, name: str, place: Node, field: Field, fields: Map[str, Field]
) -> Field:
    one = fields.get(name)
    if one is None or one.name == field.name:
        known = ", ".join(sorted(fields))
        place.refuse(f"there is no other field {name!r} that has a column; known: {known}")
    if one.separator is not None or not takes(operation, field.kind, one.kind):
        shape = "a list" if one.separator is not None else one.kind
        place.refuse(f"{operation} cannot make {field.kind} from {name}, which is {shape}")
    return one


def _text(
    operation: Operation, found: Map[str, Node], field: Field, inputs: tuple[Field, ...]
) -> str:
    match operation:
        case Operation.CONCAT:
            return found["separator"].text(longest=20) if "separator" in found else ""
        case Operation.TEMPLATE:
            return found[operation].text(longest=1_000)
        case Operation.CONSTANT:
            if field.kind in (Kind.DATETIME, Kind.ENUMERATION):
                found[operation].refuse(f"there is no constant of the type {field.kind}")
            text = _value(found[operation], field.kind)
            return {"true": "1", "false": "0"}[text] if field.kind is Kind.BOOLEAN else text
        case Operation.EQUALS:
            if "to" not in found:
                found[operation].refuse("needs the key 'to': the word to compare with")
            return _compared(found["to"], inputs[0])
        case Operation.LOOKUP if field.table is None:
            found[operation].refuse("a lookup needs the key 'table'")
        case Operation.DIVIDE if field.kind is not Kind.DECIMAL or field.scale is None:
            found[operation].refuse("what is divided is a decimal with the key 'scale'")
        case _ if operation not in ARITHMETIC and field.rounding is not Rounding.REFUSE:
            found[operation].refuse("is no arithmetic: nothing is rounded")
    return ""


def _value(node: Node, kind: Kind) -> str:
    text = node.text(longest=1_000)
    try:
        parse_plain(kind, text)
    except Mismatch as mismatch:
        node.refuse(mismatch.rule)
    return text


def _compared(node: Node, one: Field) -> str:
    if one.table is not None:
        words = set(one.table.values())
        text = node.text(longest=200)
        if text not in words:
            node.refuse(f"{one.name} is never {text!r}; it is one of: {', '.join(sorted(words))}")
        return text
    return _value(node, one.kind)
