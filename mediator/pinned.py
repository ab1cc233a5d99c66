"""The provider's own pinned copy of its agreements: the only thing that opens a door.

A folder of sealed agreements, and of what revokes them (:mod:`mediator.pinned_files`). The folder
is looked at again every second, so that placing or removing a file takes effect without a restart;
a revocation that comes by the administration takes effect before it is answered. Nothing from the
registry gets in here.

Of several versions of one agreement the highest that has begun counts. One that was revoked opens
nothing as long as the revocation lies here, also when the agreement is placed anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from cryptography import x509

from exchange.agreements import (
    Agreement,
    AgreementRevocation,
    Grant,
    Retention,
    in_force,
    open_revocation,
    revoked_by,
)
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.reach import idle_parts
from mediator.endings import Endings
from mediator.pinned_files import (
    Listing,
    PinnedFiles,
    list_files,
    place_revocation,
    read_files,
)
from serving.clock import Clock

POLL_S = 1.0
WARN_EVERY = timedelta(hours=1)
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")
log = structlog.get_logger("mediator.pinned")

# The most telling refusal wins when several agreements of the pair refuse for different reasons.
_PRECEDENCE = (
    Code.AGREEMENT_REVOKED,
    Code.SUBJECT_MISSING,
    Code.PURPOSE_NOT_ALLOWED,
    Code.AGREEMENT_EXPIRED,
    Code.AGREEMENT_NOT_YET_VALID,
    Code.ACCESS_DENIED,
)


class PinnedAgreements:
    """Agreements by consumer and service, read from one folder."""

    def __init__(self, folder: Path | None, members: Sequence[MemberId], clock: Clock) -> None:
        self._folder = folder
        self._members = frozenset(members)
        self._clock = clock
        self._listing: Listing = ()
        self._by_pair: dict[tuple[ApplicationId, ServiceId], tuple[Agreement, ...]] = {}
        self._revoked: dict[
            tuple[ApplicationId, ServiceId], tuple[tuple[Agreement, AgreementRevocation], ...]
        ] = {}
        self._until: dict[tuple[str, MemberId, ApplicationId], datetime] = {}
        self._revoked_keys: frozenset[tuple[str, MemberId, ApplicationId]] = frozenset()
        self.agreements: tuple[Agreement, ...] = ()
        """All that verify, whatever has become of them."""
        self.in_force: tuple[Agreement, ...] = ()
        """Without those that were revoked; each ends where a higher version of it begins."""
        self.revoked: tuple[tuple[Agreement, AgreementRevocation], ...] = ()
        self.revocations: dict[str, AgreementRevocation] = {}
        """By the hex SHA-256 of their files."""
        self.retentions: dict[tuple[ApplicationId, ServiceId], tuple[Retention, ...]] = {}
        """What the agreements of a client and a service want kept, where they say something."""
        self.rejected: dict[str, Problem] = {}
        self.endings = Endings()
        self._warn_at = _AT_ONCE

    def load(self, authorities: Sequence[x509.Certificate]) -> None:
        """Read the folder anew; blocking, for a thread or a start."""
        listing = list_files(self._folder)
        self._take(self._read(listing, authorities), listing)

    def changed(self) -> bool:
        """Whether the folder differs from what was read."""
        return list_files(self._folder) != self._listing

    async def watch(
        self,
        authorities: Sequence[x509.Certificate],
        tell: Callable[[str], Awaitable[object]],
    ) -> None:
        """Reload on change until cancelled; a folder that cannot be read leaves all as it was.

        Args:
            tell: is told the hex SHA-256 of each revocation that comes, to be recorded.
        """
        unreadable = False
        self._warn()
        while True:
            await asyncio.sleep(POLL_S)
            self._warn()
            try:
                if await asyncio.to_thread(self.changed):
                    await self._reload(authorities, tell)
                unreadable = False
            except OSError as error:
                if not unreadable:
                    log.error("agreements_unreadable", why=str(error))
                unreadable = True

    def _warn(self) -> None:
        now = self._clock.now()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            self.endings.warn(self.in_force, now)

    async def revoke(
        self,
        jws: bytes,
        authorities: Sequence[x509.Certificate],
        tell: Callable[[str], Awaitable[object]],
    ) -> AgreementRevocation:
        """Take over a revocation: durable, recorded and in force when this returns.

        Raises:
            Problem: ``AgreementInvalid`` when it is not sealed by a party or not of a provider
                that is hosted here; ``InternalError`` when it cannot be kept.
        """
        revocation, _ = open_revocation(jws)
        if revocation.provider not in self._members or self._folder is None:
            raise Problem(
                Code.AGREEMENT_INVALID,
                where="agreement#/provider",
                detail=f"{revocation.provider} has no agreements at this server",
            )
        try:
            await asyncio.to_thread(place_revocation, self._folder, jws)
            await self._reload(authorities, tell)
        except OSError as error:
            raise Problem(
                Code.INTERNAL_ERROR, where="agreements", detail=f"cannot be kept: {error.strerror}"
            ) from error
        return revocation

    async def _reload(
        self,
        authorities: Sequence[x509.Certificate],
        tell: Callable[[str], Awaitable[object]],
    ) -> None:
        known = self.revocations.keys()
        await asyncio.to_thread(self.load, authorities)
        log.info("agreements_loaded", count=len(self.agreements))
        for digest in self.revocations.keys() - known:
            await tell(digest)

    def _read(self, listing: Listing, authorities: Sequence[x509.Certificate]) -> PinnedFiles:
        if self._folder is None:
            return PinnedFiles()
        return read_files(self._folder, listing, self._members, authorities, self._clock.now())

    def _take(self, files: PinnedFiles, listing: Listing) -> None:
        revocations = dict(files.revocations)
        revoked, standing = [], []
        for agreement in files.agreements:
            revocation = revoked_by(agreement, revocations.values())
            if revocation is None:
                standing.append(agreement)
            else:
                revoked.append((agreement, revocation))
        standing = list(in_force(standing))
        self._by_pair = _by_pair([(agreement, agreement) for agreement in standing])
        self._until = {_key(agreement): agreement.valid_until for agreement in standing}
        self._revoked_keys = frozenset(_key(agreement) for agreement, _ in revoked)
        self.revoked = tuple(revoked)
        self._revoked = _by_pair([(pair[0], pair) for pair in revoked])
        self.retentions = {
            pair: said
            for pair, found in _by_pair([(one, one) for one in files.agreements]).items()
            if (said := tuple({one.retention for one in found} - {Retention()}))
        }
        self.agreements, self.in_force = files.agreements, tuple(standing)
        self.revocations, self.rejected = revocations, dict(files.rejected)
        self._listing, self._warn_at = listing, _AT_ONCE

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
    ) -> tuple[Agreement, Grant]:
        """The first agreement that allows the call; ``named`` restricts to one agreement's id.

        Raises:
            Problem: ``AccessDenied``, ``AgreementRevoked``, ``AgreementExpired``,
                ``AgreementNotYetValid``, ``PurposeNotAllowed`` or ``SubjectMissing``: the most
                telling one.
        """
        refusals: list[Problem] = []
        for agreement in self._by_pair.get((client, service), ()):
            if named and agreement.id != named:
                continue
            try:
                grant = agreement.allow(
                    client, service, method, template, purpose, at, has_subject=has_subject
                )
                return agreement, grant
            except Problem as problem:
                refusals.append(problem)
        for agreement, revocation in self._revoked.get((client, service), ()):
            if named and agreement.id != named:
                continue
            try:
                agreement.allow(
                    client, service, method, template, purpose, at, has_subject=has_subject
                )
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

    def is_of(self, member: MemberId) -> bool:
        """Whether what binds this member as a provider is pinned here."""
        return member in self._members

    def opens(
        self, client: ApplicationId, service: ServiceId, method: str, template: str, at: datetime
    ) -> bool:
        """Whether some agreement opens the endpoint to the client, whatever purpose and subject."""
        try:
            self.allow(client, service, method, template, None, "", at)
        except Problem as problem:
            # told only where the rest fits
            return problem.code in {Code.PURPOSE_NOT_ALLOWED, Code.SUBJECT_MISSING}
        return True

    def state_of(self, agreement: Agreement, at: datetime) -> str:
        """What has become of an agreement that is pinned here, in one word."""
        key = _key(agreement)
        if key in self._revoked_keys:
            return "revoked"
        until = self._until.get(key)
        if until is None or until <= at < agreement.valid_until:
            return "replaced"
        if at < agreement.valid_from:
            return "not yet in force"
        return "in force" if at < agreement.valid_until else "ended"

    def disclosure_delay_days(self, reference: str | None) -> int:
        """For how many days a use under an agreement is not told; the most that any version of it
        says which is pinned here."""
        name = (reference or "").rpartition("/")[0]
        return max(
            (one.disclosure_delay_days for one in self.agreements if one.id == name), default=0
        )

    def doubts(
        self, documents: Mapping[ServiceId, bytes], schemas: Mapping[str, bytes]
    ) -> list[str]:
        """What was rejected, and what grants nothing: a service that is not offered here, an
        endpoint or a field that its contract does not know.

        Args:
            documents: the OpenAPI documents of the services that are offered here.
            schemas: the shared schemas.
        """
        found = [f"{name}: {problem}" for name, problem in self.rejected.items()]
        for agreement in self.agreements:
            for grant in agreement.grants:
                document = documents.get(grant.service)
                if document is None:
                    idle = ["the service is not offered by this server"]
                else:
                    idle = idle_parts(grant, document, schemas)
                found += [f"agreement {agreement.id}, {grant.service}: {part}" for part in idle]
        return found


def _key(agreement: Agreement) -> tuple[str, MemberId, ApplicationId]:
    return agreement.reference, agreement.provider, agreement.consumer


def _by_pair(
    agreements: Iterable[tuple[Agreement, T]],
) -> dict[tuple[ApplicationId, ServiceId], tuple[T, ...]]:
    found: dict[tuple[ApplicationId, ServiceId], list[T]] = {}
    for agreement, value in agreements:
        for service in {grant.service for grant in agreement.grants}:
            found.setdefault((agreement.consumer, service), []).append(value)
    return {pair: tuple(values) for pair, values in found.items()}
