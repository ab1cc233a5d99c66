"""Which fields of a message its backend sees: what the answer can be checked and cut as a whole.

A contract is kept, and fields are withheld, on whole documents only. So what would bring a part of
one, or bind the answer to a document that is not released, does not reach the backend:

- ``Range`` and ``If-Range``, where a success may be JSON that is checked, or fields are
  restricted: a server may always answer with the whole (RFC 9110 section 14.2);
- ``Accept-Encoding``, where anything in the answer is read here;
- ``Exchange-Agreement``, by which a caller may choose one: the backend is told the agreement that
  did open the call;
- ``Exchange-Rows``, which is this server's own word: it tells the backend which records the
  agreement opens;
- entity tags, where fields are restricted: a tag tells what the whole record says, so that a guess
  of it must not be confirmed. ``If-None-Match`` of GET and HEAD is left out (the answer is then
  whole); where leaving it out would act against the caller's will, the message is refused.
"""

from __future__ import annotations

from functools import lru_cache

from exchange.agreements import ROWS_HEADER, Agreement, rows_header
from exchange.contracts.operations import Operation
from exchange.messages.heads import SAFE_METHODS
from exchange.problems import Code, Problem
from mediator.message.stages import Allowed
from mediator.provider.offers import OfferedService
from mediator.settings import Validation
from mediator.xroad import OF_PROXIES, REPEAT
from serving.backends import BackendRequest, Headers

AGREEMENT_HEADER = "exchange-agreement"
_SIGNED = frozenset({"content-digest", "signature", "signature-input"})
_ALWAYS = OF_PROXIES | _SIGNED | {AGREEMENT_HEADER, REPEAT, ROWS_HEADER, "x-road-service"}
_PARTS = frozenset({"range", "if-range"})
_CODINGS = frozenset({"accept-encoding"})
_TAGS = frozenset({"if-none-match"})
_READING = ("GET", "HEAD")


def backend_request(allowed: Allowed, offered: OfferedService, restricted: bool) -> BackendRequest:
    """A message as its backend gets it.

    Args:
        restricted: whether the agreement releases some fields only.
    """
    call, head = allowed.recorded.call, allowed.recorded.call.received.head
    checked = offered.validation is not Validation.OFF
    kept_back = withheld(allowed.match.operation, checked, restricted)
    headers = tuple([item for item in head.headers if item[0] not in kept_back])
    headers = (*headers, (AGREEMENT_HEADER, allowed.agreement.id))
    if allowed.grant.rows:
        headers = (*headers, (ROWS_HEADER, rows_header(allowed.grant.rows)))
    return BackendRequest(
        head.method,
        call.path or "/",
        call.query,
        headers,
        call.received.body,
        call.received.room,
        once=head.method not in SAFE_METHODS,
        answer_max_bytes=allowed.terms.answer_max_bytes,
    )


@lru_cache(maxsize=4096)
def withheld(operation: Operation, checked: bool, restricted: bool) -> frozenset[str]:
    """The names of fields that do not reach the backend of this operation.

    Args:
        checked: whether the contract is kept (or its breaches are reported).
        restricted: whether the agreement releases some fields only.
    """
    names = _ALWAYS
    if restricted or (checked and operation.may_succeed_with_json):
        names |= _PARTS
    if restricted or (checked and operation.may_answer_json):
        names |= _CODINGS
    if restricted:
        names |= _TAGS
    return names


def check_tags(method: str, headers: Headers) -> None:
    """Refuse conditions on a whole record of which only some fields are released.

    Raises:
        Problem: ``FieldNotReleased``. ``*`` names no tag and is the backend's to judge.
    """
    for name, value in headers:
        conditional = name == "if-match" or (name == "if-none-match" and method not in _READING)
        if conditional and value != "*":
            raise Problem(
                Code.FIELD_NOT_RELEASED,
                where=f"header.{name}",
                detail="entity tags are of the whole record, of which some fields are released",
                facts={"field": name},
            )


def not_narrowed(agreement: Agreement) -> Problem:
    """The agreement opens some records, and nobody vouches that the backend knows of it."""
    return Problem(
        Code.SERVICE_DISABLED,
        where=agreement.reference,
        detail="the agreement opens some records only, and the service is not set up to tell them "
        "apart (setting services[].narrows_rows of the provider's server)",
        facts={"agreement": agreement.reference},
    )


def check_part(status: int, headers: Headers) -> None:
    """Refuse a part of a document that nobody asked for.

    Args:
        headers: those that the backend got.

    Raises:
        Problem: ``BackendProtocolError`` (RFC 9110 section 15.3.7).
    """
    if status == 206 and not any(name == "range" for name, _ in headers):
        raise Problem(
            Code.BACKEND_NONSENSE,
            where="backend answer, status",
            detail="a part of a document came (206), and no part was asked for",
        )
