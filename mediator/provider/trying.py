"""A dry run: what a given call of another organisation would get here, and why; nothing is sent.

The steps are those of :meth:`mediator.provider.path.Provider.answer` up to the backend, on the same
values: the service, the client, the endpoint, the agreements, the basis of the request, the fields
that the caller selects, the contract, the rates. The signature, the freshness and the places under
way are of a real message and are not judged; nothing is used up and nothing recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from exchange.agreements import Agreement, Grant
from exchange.agreements.rows import format_rows
from exchange.contracts.operations import Match
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem
from exchange.trust.state import RegistryState
from mediator.agreements.pinned import PinnedAgreements
from mediator.agreements.quota import QuotaBook
from mediator.agreements.terms import KnownTerms, Terms
from mediator.provider.delivery import not_narrowed
from mediator.provider.offers import OfferedService
from mediator.provider.release import Releases, check_selected
from mediator.settings import Validation
from serving.backends import Headers
from serving.clock import Clock

T = TypeVar("T")


class TriedCall(NamedTuple):
    """A call as it is described; ``at`` is aware, ``query`` without its ``?``."""

    client: ApplicationId
    service: ServiceId
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes | None
    purpose: str
    agreement: str
    has_subject: bool
    basis: str
    at: datetime


class Step(NamedTuple):
    """One check and what it found: nothing in ``problem`` when it passes."""

    name: str
    problem: Problem | None
    detail: str = ""

    def describe(self) -> dict[str, Any]:
        """As the administration tells it."""
        row: dict[str, Any] = {"step": self.name, "ok": self.problem is None}
        if self.problem is not None:
            entry = self.problem.entry
            row |= {
                "code": self.problem.code.value,
                "where": self.problem.where,
                "detail": self.problem.detail,
                "remedy": entry.remedy.as_dict(),
            }
        elif self.detail:
            row["detail"] = self.detail
        return row


@dataclass(frozen=True, slots=True)
class Trying:
    """What a dry run needs: parts of the provider's side."""

    state: Callable[[], RegistryState]
    services: Mapping[ServiceId, OfferedService]
    agreements: PinnedAgreements
    releases: Releases
    quotas: QuotaBook
    terms: KnownTerms
    clock: Clock

    def run(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Try a call that was described to the administration.

        Raises:
            Problem: ``InvalidRequest`` or ``InvalidIdentifier`` for a description that names no
                call.
        """
        call = _parse(asked, self.clock.now())
        steps: list[Step] = []
        outcome: dict[str, Any] = {}
        try:
            for step in self._steps(call, outcome):
                steps.append(step)
        except _Stopped as stopped:
            steps.append(stopped.step)
        return {
            "allowed": all(step.problem is None for step in steps),
            "at": format_moment(call.at),
            "steps": [step.describe() for step in steps],
            "considered": self._considered(call, outcome.pop("template", None)),
            **outcome,
        }

    def _steps(self, call: TriedCall, outcome: dict[str, Any]) -> Iterator[Step]:
        offered = _held("service", lambda: self._offered(call))
        yield Step("service", None, f"{call.service} is offered here")
        yield self._registered(call)
        match = _held("endpoint", lambda: offered.contract.find(call.method, call.path))
        template = outcome["template"] = match.operation.template
        yield Step("endpoint", None, f"{call.method} {template}")
        try:
            agreement, grant = self._allow(call, template, offered)
        except Problem as problem:
            of_basis = problem.code is Code.REQUEST_BASIS_MISSING
            raise _Stopped("basis" if of_basis else "agreement", problem) from problem
        terms = self.terms.of(agreement, offered.terms)
        outcome |= _granted(agreement, grant, call.purpose or None, terms)
        yield Step("agreement", None, f"{agreement.reference} allows it")
        demanded = sorted(agreement.demanded(grant, call.purpose or None))
        yield Step(
            "basis", None, f"{' or '.join(demanded)} is given" if demanded else "none is demanded"
        )
        yield self._selection(call, match, agreement, grant)
        yield self._contract(call, offered, match)
        yield self._rates(call, terms)

    def _offered(self, call: TriedCall) -> OfferedService:
        offered = self.services.get(call.service)
        if offered is None:
            raise Problem(
                Code.UNKNOWN_SERVICE, where="service", detail=f"{call.service} is not offered here"
            )
        offered.check()
        return offered

    def _registered(self, call: TriedCall) -> Step:
        try:
            servers = self.state().application(call.client).servers
        except Problem as problem:
            return Step("client", problem)
        named = ", ".join(str(server) for server in servers)
        return Step("client", None, f"{call.client} may call from {named or 'no server'}")

    def _allow(
        self, call: TriedCall, template: str, offered: OfferedService
    ) -> tuple[Agreement, Grant]:
        agreement, grant = self.agreements.own.allow(
            call.client,
            call.service,
            call.method,
            template,
            call.purpose or None,
            call.agreement,
            call.at,
            has_subject=call.has_subject,
            basis=call.basis,
        )
        if grant.rows and not offered.narrows:
            raise not_narrowed(agreement)
        return agreement, grant

    def _selection(self, call: TriedCall, match: Match, agreement: Agreement, grant: Grant) -> Step:
        released = self.releases.of_fields(grant.fields)
        try:
            check_selected(match.operation.selects, call.query, agreement.id, released)
        except Problem as problem:
            return Step("selection", problem)
        return Step("selection", None, "it selects nothing that is not released")

    def _contract(self, call: TriedCall, offered: OfferedService, match: Match) -> Step:
        if offered.validation is Validation.OFF:
            return Step("contract", None, "requests of this service are not checked")
        try:
            match.operation.check_request(match, call.query, call.headers, call.body)
        except Problem as problem:
            return Step("contract", problem)
        return Step("contract", None, "the request keeps it")

    def _rates(self, call: TriedCall, terms: Terms) -> Step:
        left = [
            f"{rate.of}: {max(0, rate.per_day - self.quotas.used(rate, self.clock.unix()))}"
            f" of {rate.per_day} calls are left today (UTC)"
            for rate in terms.rates
            if rate.per_day is not None
        ]
        try:
            self.quotas.check(terms.rates, self.clock.unix(), self.clock.monotonic())
        except Problem as problem:
            return Step("rates", problem)
        return Step("rates", None, "; ".join(left) or "no bound of calls a day")

    def _considered(self, call: TriedCall, template: str | None) -> list[dict[str, Any]]:
        """What each agreement between the two says of the call."""
        found = []
        for agreement in self.agreements.own.agreements:
            if agreement.consumer != call.client or agreement.provider != call.service.member:
                continue
            row: dict[str, Any] = {"agreement": agreement.reference}
            problem = self._refusal(agreement, call, template)
            if problem is not None:
                row |= {"code": problem.code.value, "detail": problem.detail}
            found.append(row)
        return found

    def _refusal(
        self, agreement: Agreement, call: TriedCall, template: str | None
    ) -> Problem | None:
        for revoked, revocation in self.agreements.own.revoked:
            if revoked == agreement:
                return revocation.problem(agreement)
        current = next(
            (one for one in self.agreements.own.in_force if one.reference == agreement.reference),
            None,
        )
        if current is None:
            return Problem(Code.AGREEMENT_EXPIRED, detail="a higher version stands in its place")
        if template is None:
            return Problem(Code.UNKNOWN_ENDPOINT, detail="the service has no such endpoint")
        try:
            current.allow(
                call.client,
                call.service,
                call.method,
                template,
                call.purpose or None,
                call.at,
                has_subject=call.has_subject,
                basis=call.basis,
            )
        except Problem as problem:
            return problem
        return None


class _Stopped(Exception):
    """The step after which no other can be judged."""

    def __init__(self, name: str, problem: Problem) -> None:
        super().__init__(name)
        self.step = Step(name, problem)


def _held(name: str, find: Callable[[], T]) -> T:
    try:
        return find()
    except Problem as problem:
        raise _Stopped(name, problem) from problem


def _granted(
    agreement: Agreement, grant: Grant, purpose: str | None, terms: Terms
) -> dict[str, Any]:
    return {
        "agreement": agreement.reference,
        "valid_until": format_moment(agreement.valid_until),
        "fields": list(grant.fields),
        "rows": format_rows(grant.rows),
        "request_basis": sorted(agreement.demanded(grant, purpose)),
        "bounds": {
            "connect_s": terms.connect_s,
            "first_byte_s": terms.first_byte_s,
            "exchange_s": terms.exchange_s,
            "request_max_bytes": terms.request_max_bytes,
            "answer_max_bytes": terms.answer_max_bytes,
        },
        "kept": agreement.retention.keep.value,
    }


def _parse(asked: Mapping[str, Any], now: datetime) -> TriedCall:
    path, _, query = str(asked.get("path", "/")).partition("?")
    body = asked.get("body")
    headers: Headers = (("accept", "application/json"),)
    if body is not None:
        headers = (*headers, ("content-type", str(asked.get("content_type", "application/json"))))
    return TriedCall(
        client=ApplicationId.parse(str(asked["client"]), "client"),
        service=ServiceId.parse(str(asked["service"]), "service"),
        method=str(asked.get("method", "GET")),
        path=path,
        query=query,
        headers=headers,
        body=b"" if body is None else str(body).encode(),
        purpose=str(asked.get("purpose", "")),
        agreement=str(asked.get("agreement", "")),
        has_subject=bool(asked.get("subject", False)),
        basis=str(asked.get("request_basis", "")),
        at=_moment(asked["at"]) if "at" in asked else now,
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Problem(
            Code.INVALID_REQUEST, where="at", detail="is no time of the calendar"
        ) from error
