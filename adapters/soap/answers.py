"""Answers of a SOAP service as the JSON that the adapter gives: pure, from bytes to bytes."""

from __future__ import annotations

from typing import Any

import orjson
from lxml import etree

from adapters.answers.faults import Fault
from adapters.mapping.model import Limits, Operation
from adapters.soap import messages as soap
from adapters.soap.lexical import Habits, Unfit
from adapters.soap.mapping import Endpoint, FaultKind
from adapters.soap.requests import Asked
from adapters.soap.rules import Hidings, Path, hide, meets
from adapters.soap.shapes import Member, Types
from adapters.soap.values import XSI, read
from exchange.problems import Code, Problem

_NOTHING_HIDDEN: Hidings = {}
NO_RECORDS = b'{"items":[],"next":null}'


class NoRecord(Exception):
    """The service answered that there is none, or none that this caller may see."""


def answer(
    data: bytes,
    kind: str,
    *,
    asked: Asked,
    types: Types,
    habits: Habits,
    limits: Limits,
    hidden: Hidings = _NOTHING_HIDDEN,
) -> bytes:
    """The body for the caller.

    Args:
        kind: the ``Content-Type`` of what the service answered.
        hidden: what the caller does not see whole.

    Raises:
        NotAnAnswer: when ``data`` is no SOAP message.
        NoRecord: when one record was asked for and there is none.
        Problem: for a fault of the service; ``ResponseSchemaViolation`` with the place of a value
            that is not what the WSDL says; ``ResponseTooLarge``.
    """
    endpoint = asked.endpoint
    found = soap.parse_answer(data, endpoint.call.version, kind)
    if isinstance(found, soap.Fault):
        raise _problem_of(found, endpoint)
    output = endpoint.call.output
    assert output is not None  # noqa: S101 (the mapping sees to it)
    if found is None or not _is_message(found, output, endpoint.call.any_wrapper):
        raise _broken("", f"the body of the answer is not the element {output.name}")
    elements, member = _elements(found, output, endpoint.answer, types)
    several = endpoint.operation is Operation.LIST
    if len(elements) > (limits.max_rows if several else 1):
        detail = f"the service gave {len(elements):,} records, {limits.max_rows:,} are allowed"
        raise Problem(Code.RESPONSE_TOO_LARGE, where="body", detail=detail)
    records = []
    for index, element in enumerate(elements):
        place = f"/items/{index}" if several else ""
        record = _record(element, member, types, habits, place)
        if record is not None and meets(record, asked.rows or ()):
            if hidden:
                hide(record, types[str(member.type)], types, hidden)
            records.append(_selected(record, asked.members))
    if several:
        return _dump({"items": records, "next": None})
    if not records:
        raise NoRecord
    return _dump(records[0])


def _is_message(found: etree._Element, output: Member, any_wrapper: bool) -> bool:
    space, _, local = output.tag.rpartition("}")
    given = etree.QName(found)
    same = given.localname == local and (not space or not given.namespace)
    return any_wrapper or found.tag == output.tag or same


def _elements(
    found: etree._Element, output: Member, path: Path, types: Types
) -> tuple[list[etree._Element], Member]:
    """The elements at ``path``, none where a step is missing, and the member that they are."""
    elements, member = [found], output
    for name in path:
        inner = types[str(member.type)].member(name)
        assert inner is not None  # noqa: S101 (the mapping sees to it)
        tags = inner.matching if types[str(member.type)].item is not inner else ("*",)
        elements = [one for outer in elements for one in outer.iterchildren(*tags)]
        member = inner
    return elements, member


def _record(
    element: etree._Element, member: Member, types: Types, habits: Habits, place: str
) -> dict[str, Any] | None:
    if element.get(f"{{{XSI}}}nil", "").strip() in ("true", "1"):
        return None  # nothing is there, whether or not the WSDL allows to say it so
    try:
        record: dict[str, Any] = read(element, member, types, habits)
    except Unfit as unfit:
        raise _broken(f"{place}{unfit.place}", unfit.rule) from unfit
    return record


def _selected(record: dict[str, Any], members: frozenset[str] | None) -> dict[str, Any]:
    if members is None:
        return record
    return {name: value for name, value in record.items() if name in members}


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise _broken("", "the record cannot be written as JSON") from error


def _broken(place: str, rule: str) -> Problem:
    return Problem(Code.RESPONSE_SCHEMA_VIOLATION, where=place or "/", detail=rule)


def _problem_of(fault: soap.Fault, endpoint: Endpoint) -> Problem:
    """What a fault means: what the mapping says of it; else that the service failed."""
    for name in fault.names:
        kind = endpoint.faults.get(name)
        if kind is None:
            continue
        detail = f"the service answered with the fault {name}"
        if kind is FaultKind.BUSY:
            return Problem(kind.code, where="source", detail=detail)
        return Fault(kind.code, where="path" if endpoint.variables else "query", detail=detail)
    named = f" {fault.names[0]}" if fault.names else ""
    detail = f"the service answered with the fault{named}, of which the mapping says nothing"
    return Problem(
        Code.SOURCE_FAILED,
        where=endpoint.call.name,
        detail=detail,
        facts={"fault": ", ".join(fault.names)},
        retryable=False,
    )
