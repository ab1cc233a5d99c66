"""Agreements as they stand: which are in force, which were revoked, and what they allow.

Made once from what lies in a folder (:mod:`mediator.agreements.pinned`), and asked on the message
path. Of several versions of one agreement the highest that has begun counts. One that was revoked
opens nothing as long as its revocation is known, also when the agreement is placed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from exchange.agreements import Agreement, AgreementRevocation, Grant, in_force, revoked_by
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem

T = TypeVar("T")

# The most telling refusal wins when several agreements of the pair refuse for different reasons.
_PRECEDENCE: Final = (
    Code.AGREEMENT_REVOKED,
    Code.REQUEST_BASIS_MISSING,
    Code.SUBJECT_MISSING,
    Code.PURPOSE_NOT_ALLOWED,
    Code.AGREEMENT_EXPIRED,
    Code.AGREEMENT_NOT_YET_VALID,
    Code.ACCESS_DENIED,
)


class Agreed:
    """Agreements by consumer and service."""

    def __init__(
        self,
        agreements: Sequence[Agreement] = (),
        revocations: Collection[AgreementRevocation] = (),
    ) -> None:
        self.agreements = tuple(agreements)
        """All, whatever has become of them."""
        revoked, standing = [], []
        for agreement in agreements:
            revocation = revoked_by(agreement, revocations)
            if revocation is None:
                standing.append(agreement)
            else:
                revoked.append((agreement, revocation))
        self.in_force = tuple(in_force(standing))
        """Without those that were revoked; each ends where a higher version of it begins."""
        self.revoked = tuple(revoked)
        self._by_pair = by_pair([(agreement, agreement) for agreement in self.in_force])
        self._revoked = by_pair([(pair[0], pair) for pair in revoked])
        self._until = {_key(agreement): agreement.valid_until for agreement in self.in_force}
        self._revoked_keys = frozenset(_key(agreement) for agreement, _ in revoked)

    def allow(
        self,
        client: ApplicationId,
        service: ServiceId,
        method: str,
        template: str,
        purpose: str | None,
        named: str,
        at: datetime,
        *,
        has_subject: bool = False,
        basis: str = "",
    ) -> tuple[Agreement, Grant]:
        """The first agreement that allows the call; ``named`` restricts to one agreement's id.

        Raises:
            Problem: ``AccessDenied``, ``AgreementRevoked``, ``AgreementExpired``,
                ``AgreementNotYetValid``, ``PurposeNotAllowed``, ``SubjectMissing`` or
                ``RequestBasisMissing``: the most telling one.
        """

        def granted(agreement: Agreement) -> Grant:
            return agreement.allow(
                client,
                service,
                method,
                template,
                purpose,
                at,
                has_subject=has_subject,
                basis=basis,
            )

        refusals: list[Problem] = []
        for agreement in self._by_pair.get((client, service), ()):
            if named and agreement.id != named:
                continue
            try:
                return agreement, granted(agreement)
            except Problem as problem:
                refusals.append(problem)
        for agreement, revocation in self._revoked.get((client, service), ()):
            if named and agreement.id != named:
                continue
            try:
                granted(agreement)
                refusals.append(revocation.problem(agreement))
            except Problem:
                continue  # it would not have allowed the call anyway
        for code in _PRECEDENCE:
            for refusal in refusals:
                if refusal.code is code:
                    raise refusal
        raise Problem(
            Code.ACCESS_DENIED,
            where="X-Road-Client",
            detail=f"{client} has no agreement for {service}"
            + (f" named {named!r}" if named else ""),
        )

    def knows(self, client: ApplicationId, service: ServiceId) -> bool:
        """Whether there is or was an agreement of the two."""
        return (client, service) in self._by_pair or (client, service) in self._revoked

    def opening(
        self, client: ApplicationId, service: ServiceId, method: str, template: str, at: datetime
    ) -> list[tuple[Agreement, Grant]]:
        """The agreements that open the endpoint to the client, for some purpose and subject."""
        return [
            (agreement, grant)
            for agreement in self._by_pair.get((client, service), ())
            if agreement.valid_from <= at < agreement.valid_until
            and (grant := agreement.grant(client, service, method, template)) is not None
        ]

    def closed(
        self, client: ApplicationId, service: ServiceId, method: str, template: str, at: datetime
    ) -> Problem:
        """Why no agreement opens the endpoint at this time."""
        asked = (client, service, method, template)
        for agreement, revocation in self._revoked.get((client, service), ()):
            if agreement.grant(*asked) is not None:
                return revocation.problem(agreement)
        for agreement in self._by_pair.get((client, service), ()):
            if agreement.grant(*asked) is not None:
                try:
                    agreement.check_time(at)
                except Problem as problem:
                    return problem
        detail = f"no agreement opens {method} {service} {template} to {client}"
        return Problem(Code.ACCESS_DENIED, where="X-Road-Client", detail=detail)

    def state_of(self, agreement: Agreement, at: datetime) -> str:
        """What has become of one of these agreements, in one word."""
        key = _key(agreement)
        if key in self._revoked_keys:
            return "revoked"
        until = self._until.get(key)
        if until is None or until <= at < agreement.valid_until:
            return "replaced"
        if at < agreement.valid_from:
            return "not yet in force"
        return "in force" if at < agreement.valid_until else "ended"


def by_pair(
    agreements: Iterable[tuple[Agreement, T]],
) -> dict[tuple[ApplicationId, ServiceId], tuple[T, ...]]:
    """What belongs to agreements, by consumer and service, in their order."""
    found: dict[tuple[ApplicationId, ServiceId], list[T]] = {}
    for agreement, value in agreements:
        for service in {grant.service for grant in agreement.grants}:
            found.setdefault((agreement.consumer, service), []).append(value)
    return {pair: tuple(values) for pair, values in found.items()}


def _key(agreement: Agreement) -> tuple[str, MemberId, ApplicationId]:
    return agreement.reference, agreement.provider, agreement.consumer
