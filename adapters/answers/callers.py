"""The caller of a request, as the mediator tells it in the request's header fields.

``X-Road-Client`` is the application that signed, ``Exchange-Agreement`` the agreement that the
mediator found to open the call (whatever the caller named), ``Exchange-Purpose`` a purpose that
the agreement lists. An adapter believes all three: nobody but the mediator may reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from adapters.answers.faults import bad
from adapters.mapping.callers import Caller
from adapters.mapping.model import Endpoint
from exchange.identifiers import ApplicationId
from exchange.journal.subjects import HEADER as SUBJECT
from exchange.journal.subjects import normal_subject
from exchange.problems import Problem
from serving.backends import Headers

CLIENT: Final = "x-road-client"
AGREEMENT: Final = "exchange-agreement"
PURPOSE: Final = "exchange-purpose"
VARY: Final = f"{CLIENT}, {AGREEMENT}, {PURPOSE}"


def caller_of(headers: Headers) -> Caller:
    """Who asks.

    Raises:
        Fault: 400 for a field that comes with two values, or a client that is no identifier:
            nobody is guessed.
    """
    client = _single(headers, CLIENT)
    try:
        known = ApplicationId.parse(client, CLIENT) if client else None
    except Problem as problem:
        raise bad(f"header.{CLIENT}", problem.detail) from problem
    return Caller(known, _single(headers, AGREEMENT), _single(headers, PURPOSE))


def check_subject(endpoint: Endpoint, variables: Mapping[str, str], headers: Headers) -> None:
    """Refuse a call that says it is about one subject and asks for another.

    The journals of both sides find the call by ``Exchange-Subject``.

    Raises:
        Fault: 400 when the key in the path is an identifier of that scheme, and another one.
    """
    for name, key in endpoint.keys.items():
        marks = endpoint.record.marks.get(key.field.name)
        said = _single(headers, SUBJECT) if marks is not None and marks.subject else ""
        if marks is None or not said.startswith(f"{marks.subject}:"):
            continue
        asked = f"{marks.subject}:{quote(variables[name], safe='')}"
        try:
            same = normal_subject(said) == normal_subject(asked)
        except Problem as problem:
            raise bad(f"header.{SUBJECT}", problem.detail) from problem
        if not same:
            raise bad(f"header.{SUBJECT}", f"is another than path.{name}")


def _single(headers: Headers, name: str) -> str:
    values = {value for key, value in headers if key == name}
    if len(values) > 1:
        raise bad(f"header.{name}", "comes with two values")
    return values.pop() if values else ""
