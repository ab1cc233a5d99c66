"""What an agreement opens of changes: that of one list of the service, as its answers are cut.

Under an agreement changes are told to whoever may read all records at once anyway: a grant counts
that opens a list over the query of the changes, without a key in its path; who may only ask for
one record by its key is told of none. The rules of the list, the grant's conditions on rows and its
released fields hold for events as they do for answers; so do the agreement's time and purposes.

Not judged: the seals of the agreement, and whether it was revoked. Whoever tells changes has it
from the server that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from adapters.fields import Rounding
from adapters.mapping.callers import Caller
from adapters.mapping.changes import Changes
from adapters.mapping.model import Endpoint, Mapping, Operation, Record
from exchange.agreements import Agreement, Grant, Projection
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem

_OPTION = "--agreement"


@dataclass(frozen=True, slots=True)
class Granted:
    """A list that an agreement opens to its consumer, and what of each record is released.

    ``members`` are the members to read, as paths with dots; None for all.
    """

    agreement: Agreement
    service: ServiceId
    endpoint: Endpoint
    grant: Grant
    projection: Projection
    members: frozenset[str] | None

    def check(self, caller: Caller, at: datetime) -> None:
        """Judge the caller as the server judges each call of the list.

        Raises:
            Problem: as :meth:`Agreement.allow`: another client, outside of the agreement's time, a
                purpose that it does not list, or a call that would have to say more than a stream
                can: a subject, a basis.
        """
        if caller.client is None:
            raise _usage("--client", "an agreement has a consumer")
        self.agreement.allow(
            caller.client, self.service, "GET", self.endpoint.path, caller.purpose or None, at
        )


def granted(
    mapping: Mapping, changes: Changes, agreement: Agreement, path: str | None = None
) -> Granted:
    """What ``agreement`` opens of ``changes``.

    Args:
        path: the list that is meant, where grants of several open others.

    Raises:
        Problem: ``AccessDenied`` when it opens no list of them; ``InvalidUsage`` when several
            grants do, and differ, and ``path`` names none of them; ``FieldNotReleased`` when it
            releases nothing of the record, or not the key, which every event names.
    """
    found = list(_lists(mapping, changes, agreement))
    if not found:
        detail = f"it opens no list of {changes.query.name} whose changes could be told"
        facts = {"agreement": agreement.reference}
        raise Problem(Code.ACCESS_DENIED, where=agreement.reference, detail=detail, facts=facts)
    chosen = [one for one in found if path in (None, one[1].path)]
    if not chosen or any(_differ(one, chosen[0]) for one in chosen):
        told = ", ".join(dict.fromkeys(one[1].path for one in found))
        raise _usage("--list", f"say which of the lists that the agreement opens is meant: {told}")
    service, endpoint, grant = chosen[0]
    record = changes.query.record
    released = grant.projection.within("items", "*")
    members = frozenset[str]() if released is None else frozenset(reached(record, released))
    if released is None or not members:
        raise _withheld(agreement, record.name, f"nothing of a {record.name}")
    _check_key(changes, agreement, released)
    everything = released.everything
    return Granted(agreement, service, endpoint, grant, released, None if everything else members)


def caller_of(agreement: Agreement, client: ApplicationId | None, purpose: str) -> Caller:
    """The caller under ``agreement``: its consumer, unless another was said."""
    return Caller(client or agreement.consumer, agreement.id, purpose)


def reached(record: Record, released: Projection) -> Iterator[str]:
    """The members of ``record`` that hold something released, as paths with dots."""
    for field in record.fields:
        if released.within(*field.path) is not None:
            yield field.name
    for nested in record.nested:
        place = (nested.name, "*") if nested.many else (nested.name,)
        inner = released.within(*place)
        if inner is not None and inner.everything:
            yield nested.name
        elif inner is not None:
            yield from (f"{nested.name}.{one}" for one in reached(nested.query.record, inner))


_List = tuple[ServiceId, Endpoint, Grant]


def _lists(mapping: Mapping, changes: Changes, agreement: Agreement) -> Iterator[_List]:
    for service in mapping.services.values():
        for endpoint in service.endpoints:
            whole = endpoint.operation is Operation.LIST and not endpoint.variables
            if not whole or endpoint.query is not changes.query:
                continue
            grant = agreement.grant(agreement.consumer, service.id, "GET", endpoint.path)
            if grant is not None:
                yield service.id, endpoint, grant


def _differ(one: _List, other: _List) -> bool:
    """Whether two lists show other rows or fields."""
    return (one[1].visible, one[2].rows, one[2].fields) != (
        other[1].visible,
        other[2].rows,
        other[2].fields,
    )


def _check_key(changes: Changes, agreement: Agreement, released: Projection) -> None:
    if released.everything:
        return
    told = {
        field.column.lower()
        for field in changes.query.record.fields
        if field.compute is None and field.rounding is Rounding.REFUSE
        for inner in [released.within(*field.path)]
        if inner is not None and inner.everything
    }
    for column in changes.key:
        if column.lower() not in told:
            raise _withheld(agreement, column, f"the key {column}, which every event names")


def _withheld(agreement: Agreement, field: str, what: str) -> Problem:
    facts = {"agreement": agreement.reference, "field": field}
    detail = f"it does not release {what}"
    return Problem(Code.FIELD_NOT_RELEASED, where=agreement.reference, detail=detail, facts=facts)


def _usage(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_USAGE, where=where, detail=detail)


def not_at_hand(agreement: str) -> Problem:
    """Nobody has said what the agreement releases: nothing is told."""
    detail = f"the agreement {agreement} is not at hand; give the path of its sealed file, which"
    return _usage(_OPTION, f"{detail} says what may be told")
