"""The provider's own pinned copy of its agreements: the only thing that opens a door.

A folder of sealed agreements (``*.jws``). Each is verified when it is read; one that does not
verify is reported and opens nothing. The folder is looked at again every second, so that placing
or removing a file takes effect without a restart. Nothing from the registry gets in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import structlog
from cryptography import x509

from exchange.agreements import Agreement, Grant, Retention, open_agreement
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.reach import idle_parts
from serving.clock import Clock

MAX_AGREEMENTS = 10_000
MAX_AGREEMENT_BYTES = 1 << 20
POLL_S = 1.0
log = structlog.get_logger("mediator.pinned")

_Listing: TypeAlias = tuple[tuple[str, int, int], ...]

# The most telling refusal wins when several agreements of the pair refuse for different reasons.
_PRECEDENCE = (
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
        self._listing: _Listing = ()
        self._by_pair: dict[tuple[ApplicationId, ServiceId], tuple[Agreement, ...]] = {}
        self.agreements: tuple[Agreement, ...] = ()
        self.retentions: dict[tuple[ApplicationId, ServiceId], tuple[Retention, ...]] = {}
        """What the agreements of a client and a service want kept, where they say something."""
        self.rejected: dict[str, Problem] = {}

    def load(self, authorities: Sequence[x509.Certificate]) -> None:
        """Read the folder anew; blocking, for a thread or a start."""
        listing = self._list()
        now = self._clock.now()
        agreements: list[Agreement] = []
        rejected: dict[str, Problem] = {}
        for name, size, _ in listing:
            try:
                agreements.append(self._open(name, size, authorities, now))
            except Problem as problem:
                rejected[name] = problem
                log.warning("agreement_rejected", file=name, code=problem.code, why=str(problem))
        by_pair: dict[tuple[ApplicationId, ServiceId], list[Agreement]] = {}
        for agreement in agreements:
            for service in {grant.service for grant in agreement.grants}:
                by_pair.setdefault((agreement.consumer, service), []).append(agreement)
        self._by_pair = {pair: tuple(found) for pair, found in by_pair.items()}
        self.retentions = {
            pair: said
            for pair, found in by_pair.items()
            if (said := tuple({one.retention for one in found} - {Retention()}))
        }
        self.agreements, self.rejected, self._listing = tuple(agreements), rejected, listing

    def changed(self) -> bool:
        """Whether the folder differs from what was read."""
        return self._list() != self._listing

    async def watch(self, authorities: Sequence[x509.Certificate]) -> None:
        """Reload on change until cancelled; a folder that cannot be read leaves all as it was."""
        unreadable = False
        while True:
            await asyncio.sleep(POLL_S)
            try:
                if await asyncio.to_thread(self.changed):
                    await asyncio.to_thread(self.load, authorities)
                    log.info("agreements_loaded", count=len(self.agreements))
                unreadable = False
            except OSError as error:
                if not unreadable:
                    log.error("agreements_unreadable", why=str(error))
                unreadable = True

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
            Problem: ``AccessDenied``, ``AgreementExpired``, ``AgreementNotYetValid``,
                ``PurposeNotAllowed`` or ``SubjectMissing``: the most telling one.
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

    def _list(self) -> _Listing:
        if self._folder is None or not self._folder.is_dir():
            return ()
        files = sorted(self._folder.glob("*.jws"))[:MAX_AGREEMENTS]
        listing = []
        for file in files:
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            listing.append((file.name, stat.st_size, stat.st_mtime_ns))
        return tuple(listing)

    def _open(
        self, name: str, size: int, authorities: Sequence[x509.Certificate], now: datetime
    ) -> Agreement:
        if self._folder is None or size > MAX_AGREEMENT_BYTES:
            raise Problem(Code.AGREEMENT_INVALID, where=name, detail="longer than 1 MiB")
        try:
            document = (self._folder / name).read_bytes()
        except OSError as error:
            raise Problem(
                Code.AGREEMENT_INVALID, where=name, detail=f"cannot be read: {error.strerror}"
            ) from error
        agreement = open_agreement(document, authorities, now)
        if agreement.provider not in self._members:
            raise Problem(
                Code.AGREEMENT_INVALID,
                where=name,
                detail=f"its provider {agreement.provider} is not hosted by this server",
            )
        return agreement
