"""A request for a SOAP service as the adapter understands it: endpoint, message, fields.

Everything that a caller can get wrong is found here, before the service is asked, and is a
:class:`adapters.answers.requests.Fault` with its own status and place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.answers.faults import bad, checked, parse_query
from adapters.answers.masking import Profile, profile_of
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.visibility import Extent
from adapters.soap.lexical import Unfit, of_parameter, write_text
from adapters.soap.mapping import Endpoint, Method, Parameter
from adapters.soap.messages import NO_HEADING, Heading, format_call
from adapters.soap.rules import NO_MASKS, Condition, Masks, Path, compared
from adapters.soap.shapes import TYPE, Types, known_members
from exchange.agreements import ROWS_HEADER, RowCondition
from exchange.problems import Code
from serving.bodies import Body


@dataclass(frozen=True, slots=True)
class Asked:
    """What to send, and what of the answer to show.

    ``rows`` are conditions that every record meets: None is none of them.
    ``profile`` are the members that the caller does not see whole.
    """

    endpoint: Endpoint
    envelope: bytes
    members: frozenset[str] | None
    rows: tuple[Condition, ...] | None
    profile: Profile = ()


def plan(
    endpoint: Endpoint,
    types: Types,
    variables: Map[str, str],
    query: str,
    body: Body,
    rows: Sequence[RowCondition] = (),
    heading: Heading = NO_HEADING,
    caller: Caller = NOBODY,
    masks: Masks = NO_MASKS,
) -> Asked:
    """Read the parameters and the body of a request for ``endpoint``.

    Raises:
        Fault: 400 with the place for what is unknown, missing or malformed; 503 for a condition on
            rows that cannot be applied here, so that no record leaves unjudged.
    """
    if rows and endpoint.method is Method.POST:
        # They could be judged by the answer alone, when what they forbid has been done.
        detail = "conditions on records cannot be applied before something is changed"
        raise bad(f"header.{ROWS_HEADER}", detail, Code.SERVICE_DISABLED, 503)
    given = parse_query(query)
    known = {*endpoint.parameters} - set(endpoint.variables)
    known |= {"fields"} if endpoint.method is Method.GET else set()
    for name in given:
        if name not in known:
            detail = f"unknown parameter; known here: {', '.join(sorted(known)) or 'none'}"
            raise bad(f"query.{name[:80]}", detail)
    message: dict[str, Any] = {}
    for path in endpoint.needed:
        _object(message, path)
    for path, value in endpoint.fixed:
        place(message, path, value.of(caller))
    for name, parameter in endpoint.parameters.items():
        _add_parameter(message, parameter, name, variables, given)
    whole: Any = message
    if endpoint.body is not None:
        content = _parse_body(body)
        if endpoint.body:
            place(message, endpoint.body, content)
        else:
            whole = content
    elif body:
        raise bad("body", "this request carries no body")
    call = endpoint.call
    try:
        envelope = format_call(call.version, call.input, whole, types, heading)
    except Unfit as unfit:
        raise bad(_where(endpoint, unfit.place), unfit.rule) from unfit
    return Asked(
        endpoint,
        envelope,
        _members(endpoint, types, given.get("fields")),
        _rows(endpoint, types, rows, caller),
        profile_of(masks.masks, caller),
    )


def _add_parameter(
    message: dict[str, Any],
    parameter: Parameter,
    name: str,
    variables: Map[str, str],
    given: Map[str, str],
) -> None:
    where = f"path.{name}" if name in variables else f"query.{name}"
    text = variables.get(name, given.get(name))
    if text is None:
        if parameter.required:
            raise bad(where, "is needed here")
        value = parameter.default
        if value is None:
            return
    else:
        try:
            value = of_parameter(parameter.simple, checked(text, where))
            write_text(parameter.simple, value)
        except Unfit as unfit:
            raise bad(where, unfit.rule) from unfit
    place(message, parameter.path, [value] if parameter.listed else value)


def _object(message: dict[str, Any], path: Path) -> dict[str, Any]:
    for name in path:
        message = message.setdefault(name, {})
    return message


def place(message: dict[str, Any], path: Path, value: Any) -> None:
    """Put ``value`` into ``message`` at ``path``, with the objects around it."""
    _object(message, path[:-1])[path[-1]] = value


def _where(endpoint: Endpoint, found: str) -> str:
    """The place of a fault in the message, as the caller knows it."""
    steps = tuple(found.split("/")[1:])
    for name, parameter in endpoint.parameters.items():
        if steps[: len(parameter.path)] == parameter.path:
            return f"path.{name}" if name in endpoint.variables else f"query.{name}"
    if endpoint.body is not None and steps[: len(endpoint.body)] == endpoint.body:
        inside = steps[len(endpoint.body) :]
        return "/".join(("body", *inside))
    return "query"


def _parse_body(body: Body) -> Any:
    if not isinstance(body, bytes):
        raise bad("body", "is longer than 1 MiB", Code.PAYLOAD_TOO_LARGE, 413)
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,  # digits as they were written
            parse_constant=_no_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        raise bad("body", "is not JSON", Code.INVALID_JSON) from error


def _no_constant(word: str) -> None:
    raise ValueError(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _members(endpoint: Endpoint, types: Types, text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    shape = types[str(endpoint.record.type)]
    known = [*known_members(shape, types), *([TYPE] if shape.derived else ())]
    names = text.split(",")
    for name in names:
        if name not in known:
            detail = f"there is no field {name[:80]!r}; known: {', '.join(known)}"
            raise bad("query.fields", detail)
    if len(set(names)) != len(names):
        raise bad("query.fields", "names a field twice")
    return frozenset(names)


def _rows(
    endpoint: Endpoint, types: Types, told: Sequence[RowCondition], caller: Caller
) -> tuple[Condition, ...] | None:
    """What the mapping shows to the caller, and of it what the agreement opens."""
    shown = endpoint.visible.of(caller)
    if shown is Extent.NOTHING:
        return None
    conditions = () if isinstance(shown, Extent) else shown
    return (*conditions, *(_condition(endpoint, types, one) for one in told))


def _condition(endpoint: Endpoint, types: Types, condition: RowCondition) -> Condition:
    path = compared(endpoint.record, types, condition.field)
    if path is None:
        detail = f"the record has no field {condition.field!r} to compare"
        where = f"header.{ROWS_HEADER}.{condition.field}"
        raise bad(where, detail, Code.SERVICE_DISABLED, 503)
    return path, frozenset(condition.values)
