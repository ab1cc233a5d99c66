"""What a caller may ask with, by the owner's rules and the agreement's conditions. Pure.

Invariants:

- a parameter with a right is asked with values of that right or not at all; a caller who names no
  value asks with what may be asked, and never for everything;
- the mapping's rules and every condition of the agreement hold together;
- a condition that no parameter of the operation keeps opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from typing import TypeAlias

from adapters.answers.callers import caller_of
from adapters.answers.faults import Fault, bad, rows_of
from adapters.findings import Finding
from adapters.mapping.parameters import parameter_value
from adapters.passing.model import ApiService, Extent, Operation
from exchange.agreements import ROWS_HEADER, RowCondition
from exchange.problems import Code
from serving.backends import Headers

Rights: TypeAlias = Map[str, tuple[str, ...]]
"""The values that each parameter with a right may be asked with, as callers write them."""


def rights_of(operation: Operation, headers: Headers) -> Rights:
    """The rights of the caller whom the header fields name.

    Raises:
        Fault: 403 where nothing may be asked; 503 for a condition that no parameter keeps; 400
            for fields that say nothing definite.
    """
    rights: dict[str, tuple[str, ...]] = {}
    if operation.visible is not None:
        rows = operation.visible.of(caller_of(headers))
        if rows is Extent.NOTHING:
            raise bad("caller", "may ask nothing here", Code.ACCESS_DENIED, 403)
        if not isinstance(rows, Extent):
            rights = {bound.parameter: bound.values for bound in rows}
    for condition in rows_of(headers):
        name = _keeper(operation, condition)
        values = tuple(text for text in condition.values if _asks(operation, name, text))
        held = rights.get(name)
        rights[name] = values if held is None else tuple(one for one in held if one in values)
        if not rights[name]:
            where = f"header.{ROWS_HEADER}.{condition.field}"
            raise bad(where, "leaves nothing that may be asked", Code.ACCESS_DENIED, 403)
    return rights


def _keeper(operation: Operation, condition: RowCondition) -> str:
    """The parameter that narrows the answer to the condition's values."""
    for name, sent in operation.sent.items():
        if sent.rows == condition.field:
            return name
    where = f"header.{ROWS_HEADER}.{condition.field}"
    detail = "no parameter of this operation keeps this condition on records"
    raise bad(where, detail, Code.SERVICE_DISABLED, 503)


def unkept(service: ApiService) -> Iterator[Finding]:
    """The operations that refuse what others of the service keep: conditions on a field of records.

    An agreement is of a whole service: one with such a condition opens only those that keep it.
    """
    fields = {sent.rows for one in service.operations for sent in one.sent.values() if sent.rows}
    for one in service.operations:
        for field in sorted(fields - {sent.rows for sent in one.sent.values()}):
            rule = (
                f"is refused (503) under an agreement with a condition on {field!r}: no parameter"
            )
            rule += f" has 'rows: {field}', as one of another operation does"
            where = f"{service.id.service_code} {one.method} {one.path}"
            yield Finding(where, rule, warning=True)


def _asks(operation: Operation, name: str, text: str) -> bool:
    """Whether the parameter can have such a value at all."""
    try:
        parameter_value(operation.parameters[name], text, "")
    except Fault:
        return False
    return True


def asked_with(
    given: Sequence[str] | None, right: tuple[str, ...] | None, place: str, *, several: bool
) -> Sequence[str] | None:
    """The values to ask with; None where there is neither one given nor a right.

    Raises:
        Fault: 403 for a value beyond the right, 400 where one of several must be named.
    """
    if right is None:
        return given
    if given is None:
        if len(right) > 1 and not several:
            raise bad(place, f"say which: {', '.join(right)}")
        return right
    if any(text not in right for text in given):
        raise bad(place, f"may be asked with: {', '.join(right)}", Code.ACCESS_DENIED, 403)
    return given
