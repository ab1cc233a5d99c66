"""The agreements of the members of this server, in one folder.

Those of a provider that is hosted here are the only thing that opens a door. Those by which a
member calls others (*held*) open nothing: they tell what that member may ask elsewhere, and when
it ends. Beside them lies what revokes them (:mod:`mediator.agreements.pinned_files`). The folder is
looked at again every second, so that placing or removing a file takes effect without a restart; a
revocation that comes by the administration takes effect before it is answered. Nothing from the
registry gets in here. How they stand to each other is :mod:`mediator.agreements.agreed`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from exchange.agreements import AgreementRevocation, Party, Retention, open_revocation
from exchange.contracts.reach import idle_parts
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from mediator.agreements.agreed import Agreed, by_pair
from mediator.agreements.endings import Endings
from mediator.agreements.pinned_files import (
    Listing,
    PinnedFiles,
    Told,
    check_hosted,
    list_files,
    place_revocation,
    read_files,
)
from serving.clock import Clock

POLL_S = 1.0
WARN_EVERY = timedelta(hours=1)
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
log = structlog.get_logger("mediator.agreements.pinned")


class PinnedAgreements:
    """Agreements by consumer and service, read from one folder."""

    def __init__(
        self,
        folder: Path | None,
        members: Sequence[MemberId],
        clock: Clock,
        told: Path | None = None,
    ) -> None:
        """
        Args:
            told: the file that remembers which revocations were recorded.
        """
        self._folder = folder
        self._members = frozenset(members)
        self._clock = clock
        self._told = Told(told)
        self._telling = asyncio.Lock()
        self._listing: Listing = ()
        self.own = Agreed()
        """Of providers that are hosted here: what opens doors."""
        self.held = Agreed()
        """Of consumers that are hosted here, with providers that are not."""
        self.revocations: dict[str, AgreementRevocation] = {}
        """By the hex SHA-256 of their files."""
        self.retentions: dict[tuple[ApplicationId, ServiceId], tuple[Retention, ...]] = {}
        """What the own agreements of a client and a service want kept, where they say something."""
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
        trouble = ""
        while True:
            self._warn()
            try:
                if await asyncio.to_thread(self.changed):
                    await asyncio.to_thread(self._reload, authorities)
                await self._tell(tell)
                trouble = ""
            except (OSError, Problem) as error:
                if not trouble:
                    log.error("agreements_unreadable", why=str(error))
                trouble = str(error)
            await asyncio.sleep(POLL_S)

    def _warn(self) -> None:
        now = self._clock.now()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            self.endings.warn(self.own.in_force, now, Party.PROVIDER)
            self.endings.warn(self.held.in_force, now, Party.CONSUMER)

    async def revoke(
        self,
        jws: bytes,
        authorities: Sequence[x509.Certificate],
        tell: Callable[[str], Awaitable[object]],
    ) -> AgreementRevocation:
        """Take over a revocation: durable, recorded and in force when this returns.

        Raises:
            Problem: ``AgreementInvalid`` when it is not sealed by a party or neither party is
                hosted here; ``InternalError`` when it cannot be kept.
        """
        revocation, _ = open_revocation(jws)
        check_hosted("agreement#/provider", revocation, self._members)
        if self._folder is None:
            raise Problem(
                Code.AGREEMENT_INVALID, where="agreements", detail="this server has no such folder"
            )
        try:
            await asyncio.to_thread(place_revocation, self._folder, jws)
            await asyncio.to_thread(self._reload, authorities)
            await self._tell(tell)
        except OSError as error:
            raise Problem(
                Code.INTERNAL_ERROR, where="agreements", detail=f"cannot be kept: {error.strerror}"
            ) from error
        return revocation

    def _reload(self, authorities: Sequence[x509.Certificate]) -> None:
        self.load(authorities)
        log.info("agreements_loaded", count=len(self.own.agreements))

    async def _tell(self, tell: Callable[[str], Awaitable[object]]) -> None:
        """Have each revocation recorded that was not, also when it came while the server was
        stopped. A crash between the two steps has it recorded twice, never not at all."""
        async with self._telling:
            for digest in sorted(self.revocations.keys() - self._told.digests):
                await tell(digest)
                await asyncio.to_thread(self._told.add, digest)

    def _read(self, listing: Listing, authorities: Sequence[x509.Certificate]) -> PinnedFiles:
        if self._folder is None:
            return PinnedFiles()
        return read_files(self._folder, listing, self._members, authorities, self._clock.now())

    def _take(self, files: PinnedFiles, listing: Listing) -> None:
        revocations = dict(files.revocations)
        self.own = Agreed(
            [one for one in files.agreements if self.is_of(one.provider)], revocations.values()
        )
        self.held = Agreed(
            [one for one in files.agreements if not self.is_of(one.provider)], revocations.values()
        )
        self.retentions = {
            pair: said
            for pair, found in by_pair([(one, one) for one in self.own.agreements]).items()
            if (said := tuple({one.retention for one in found} - {Retention()}))
        }
        self.revocations, self.rejected = revocations, dict(files.rejected)
        self._listing, self._warn_at = listing, _AT_ONCE

    def is_of(self, member: MemberId) -> bool:
        """Whether what binds this member as a provider is pinned here."""
        return member in self._members

    def disclosure_delay_days(self, reference: str | None) -> int:
        """For how many days a use under an agreement is not told; the most that any version of it
        says which is pinned here."""
        name = (reference or "").rpartition("/")[0]
        return max(
            (one.disclosure_delay_days for one in self.own.agreements if one.id == name), default=0
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
        for agreement in self.own.agreements:
            for grant in agreement.grants:
                document = documents.get(grant.service)
                if document is None:
                    idle = ["the service is not offered by this server"]
                else:
                    idle = idle_parts(grant, document, schemas)
                found += [f"agreement {agreement.id}, {grant.service}: {part}" for part in idle]
        return found
