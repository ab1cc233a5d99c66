"""Revocation: what authorities say of the certificates in use, fetched beside the traffic.

Invariants:
- the message path judges from memory, by a look-up and a comparison; it never waits for anybody;
- every seal and server certificate that the registry names is asked about ahead of its use, its
  OCSP responder first, then its revocation list; an answer is asked for anew before it ends;
- an answer that was relied on, or is about an own certificate, is kept as it came
  (:mod:`mediator.journal.evidence`), and an entry of the journal commits to it;
- *revoked* counts at once, whatever comes after it, until a newer answer says otherwise: what is
  older than what was said before is not taken;
- an outage is soft: the last good answer is relied on for ``max_age_s``, with an alarm after
  ``alarm_s``; only then is the certificate refused (mode ``enforce``). A certificate that names
  nobody to ask is never refused: there the registry alone says what counts;
- waits are measured on the monotonic clock: a machine's clock that jumps makes answers look ended
  or early, which is an outage like another, but ends nothing by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from cryptography import x509

from exchange.evidence.revocation import (
    MAX_CRL_BYTES,
    MAX_OCSP_BYTES,
    Finding,
    Kind,
    Sources,
    Status,
    check_crl,
    check_ocsp,
    format_ocsp_request,
    issuer_of,
    sources_of,
)
from exchange.problems import Code, Problem
from exchange.trust.admission import trusted_authorities
from exchange.trust.state import RegistryState
from mediator.background.asking import Unanswered, ask
from mediator.journal.evidence import EvidenceStore
from mediator.message.records import Recorder
from mediator.settings import RevocationMode, RevocationSettings
from serving.clock import Clock

log = structlog.get_logger("mediator.background.revocation")

FOLLOW_S: Final = 10.0
"""How often the registry is looked at for new certificates; one that is used wakes us at once."""
PARALLEL: Final = 4
RETRY_S: Final = 5.0
MIN_REFRESH_S: Final = 30.0
_TOLD: Final = 20


class Statuses(Protocol):
    """What the message path sees of revocation."""

    generation: int
    """Grows when a certificate turns out to be revoked."""

    def check(self, fingerprint: str, where: str) -> None:
        """Refuse a certificate that is revoked, or of which too long nothing was heard.

        Raises:
            Problem: ``CertificateRevoked`` or ``CertificateStatusUnknown`` at ``where``.
        """
        ...


class Unchecked:
    """Nothing is asked and nothing refused."""

    generation = 0

    def check(self, fingerprint: str, where: str) -> None:
        """Let it pass."""


@dataclass(slots=True, eq=False)
class _Standing:
    """What is known of one certificate; ``until`` and ``due`` are of the monotonic clock."""

    name: str
    certificate: x509.Certificate
    issuer: x509.Certificate | None
    sources: Sources
    own: bool
    until: float
    due: float
    finding: Finding | None = None
    fetched_at: float = 0.0
    used: bool = False
    """Since the last finding came, or waiting for the first."""
    noted: bool = False
    failures: int = 0
    waits_since: float | None = None
    problem: str | None = None

    @property
    def revoked(self) -> bool:
        return self.finding is not None and self.finding.status is Status.REVOKED


class Revocations:
    """The statuses of the certificates in use; :meth:`run` is its endless task.

    ``own`` are the fingerprints of this server's own certificates.
    """

    def __init__(
        self,
        state: Callable[[], RegistryState],
        own: Iterable[str],
        store: EvidenceStore,
        recorder: Recorder,
        clock: Clock,
        settings: RevocationSettings,
    ) -> None:
        self._state = state
        self._own = frozenset(own)
        self.store = store
        self._recorder = recorder
        self._clock = clock
        self._settings = settings
        self._enforces = settings.mode is RevocationMode.ENFORCE
        self._standings: dict[str, _Standing] = {}
        self._followed: RegistryState | None = None
        self._lists: dict[str, asyncio.Task[bytes]] = {}
        self._wake = asyncio.Event()
        self._alarmed = False
        self.generation = 0
        self.passed = 0
        """Messages that mode ``report`` let through."""

    # --- the message path ------------------------------------------------------------------------

    def check(self, fingerprint: str, where: str) -> None:
        """See :class:`Statuses`."""
        standing = self._standings.get(fingerprint)
        if standing is None:
            self._wake.set()  # the registry has just named it
            return
        if not standing.used:
            standing.used = True
            self._wake.set()
        if self._clock.monotonic() >= standing.until:
            if self._enforces:
                raise _refusal(standing, where)
            self.passed += 1

    # --- what is told ----------------------------------------------------------------------------

    @property
    def waits_s(self) -> float:
        """For how long the longest wait for an answer has lasted; 0 when none is due."""
        since = [each.waits_since for each in self._standings.values()]
        waiting = [each for each in since if each is not None]
        return max(0.0, self._clock.monotonic() - min(waiting)) if waiting else 0.0

    @property
    def revoked(self) -> int:
        """How many certificates that the registry names are revoked."""
        return sum(each.revoked for each in self._standings.values())

    def report(self) -> dict[str, Any]:
        """The check of ``/healthz``."""
        standings = self._standings
        revoked = [each.name for each in standings.values() if each.revoked]
        own = [each.name for each in standings.values() if each.revoked and each.own]
        waiting = [each for each in standings.values() if each.waits_since is not None]
        late = self.waits_s > self._settings.alarm_s
        report: dict[str, Any] = {
            "ok": not late and not own,
            "mode": self._settings.mode.value,
            "certificates": len(standings),
            "answered": sum(each.finding is not None for each in standings.values()),
            "name_nobody_to_ask": sum(each.due == math.inf for each in standings.values()),
            "revoked": revoked[:_TOLD],
            "waiting_s": round(self.waits_s, 1),
            "waiting": [f"{each.name}: {each.problem}" for each in waiting[:_TOLD]],
        }
        if late:
            report["problem"] = "responders have not answered for too long"
        if own:
            report["problem"] = f"revoked, and in use here: {', '.join(own)}"
        return report

    # --- the endless task ------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the registry, ask, and keep what was relied on, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.follow()
                await self.refresh()
                await self.note()
            except (Problem, OSError) as error:
                log.warning("revocation_not_kept", why=str(error))
            self._tell()
            now = self._clock.monotonic()
            due = min((each.due for each in self._standings.values()), default=math.inf)
            try:
                async with asyncio.timeout(min(max(due - now, 0.05), FOLLOW_S)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def follow(self) -> None:
        """Take up the certificates that the registry names now, with what is kept of them.

        Raises:
            Problem: ``OutdatedGlobalConf``; ``JournalCorrupt`` of the store.
        """
        state = self._state()
        if state is not self._followed:
            self._standings = await asyncio.to_thread(self._standings_in, state)
            self._followed = state

    def _standings_in(self, state: RegistryState) -> dict[str, _Standing]:
        authorities = trusted_authorities(state.instance)
        standings = {}
        for fingerprint, (name, certificate) in state.certificates.items():
            known = self._standings.get(fingerprint)
            own = fingerprint in self._own
            standings[fingerprint] = known or self._new(name, certificate, authorities, own)
            if known is None:
                self._recall(fingerprint, standings[fingerprint])
        return standings

    def _new(
        self,
        name: str,
        certificate: x509.Certificate,
        authorities: tuple[x509.Certificate, ...],
        own: bool,
    ) -> _Standing:
        sources, url = sources_of(certificate), self._settings.ocsp_url
        if url is not None and not sources.ocsp:
            sources = Sources((url,), sources.crl)
        issuer = issuer_of(certificate, authorities)
        asks = issuer is not None and bool(sources.ocsp or sources.crl)
        now = self._clock.monotonic()
        return _Standing(
            name,
            certificate,
            issuer,
            sources,
            own,
            until=now + self._settings.max_age_s if asks else math.inf,
            due=now if asks else math.inf,
        )

    def _recall(self, fingerprint: str, standing: _Standing) -> None:
        """Take up what was kept before a restart; it is judged again, and asked anew when due."""
        kept = self.store.statement(fingerprint, math.inf)
        if kept is None or standing.issuer is None:
            return
        then = datetime.fromtimestamp(kept.fetched_at, UTC)
        check = check_ocsp if kept.kind is Kind.OCSP else check_crl
        try:
            finding = check(kept.der, standing.certificate, standing.issuer, then)
        except Problem as problem:
            log.warning("kept_evidence_is_not_good", certificate=fingerprint, why=str(problem))
            return
        self._take(standing, finding, kept.fetched_at)
        standing.noted = kept.entry is not None

    async def refresh(self) -> None:
        """Ask whatever is due, a few at a time."""
        now, places = self._clock.monotonic(), asyncio.Semaphore(PARALLEL)

        async def one(standing: _Standing) -> None:
            async with places:
                await self._ask(standing)

        try:
            async with asyncio.TaskGroup() as group:
                for standing in self._standings.values():
                    if standing.due <= now:
                        group.create_task(one(standing))
        finally:
            for task in self._lists.values():
                task.cancel()
            self._lists.clear()

    async def _ask(self, standing: _Standing) -> None:
        """Ask about one certificate: its responders, then its lists."""
        assert standing.issuer is not None  # noqa: S101  without one nothing is ever due
        try:
            finding = await self._found(standing, standing.issuer)
            self._take(standing, finding, self._clock.unix())
        except (Problem, Unanswered) as error:
            now = self._clock.monotonic()
            retry_s = RETRY_S * 2.0 ** min(standing.failures, 16)
            standing.due = now + min(retry_s, self._settings.refresh_s)
            standing.failures += 1
            standing.waits_since = now if standing.waits_since is None else standing.waits_since
            standing.problem = str(error)

    async def _found(self, standing: _Standing, issuer: x509.Certificate) -> Finding:
        """The first good answer.

        Raises:
            Problem, Unanswered: what the last source said, when none is good.
        """
        certificate, timeout_s = standing.certificate, self._settings.timeout_s
        error: Exception = Unanswered("there is nobody to ask")
        for url in standing.sources.ocsp:
            try:
                der = await ask(
                    url,
                    format_ocsp_request(certificate, issuer),
                    "application/ocsp-request",
                    timeout_s=timeout_s,
                    max_bytes=MAX_OCSP_BYTES,
                )
                return check_ocsp(der, certificate, issuer, self._clock.now())
            except (Problem, Unanswered) as failure:
                error = failure
        for url in standing.sources.crl:
            try:
                der = await asyncio.shield(self._list(url))
                now = self._clock.now()
                found = await asyncio.to_thread(check_crl, der, certificate, issuer, now)
                return self._shared(found)
            except (Problem, Unanswered) as failure:
                error = failure
        raise error

    def _list(self, url: str) -> asyncio.Task[bytes]:
        """A revocation list, fetched once for all certificates of a round."""
        task = self._lists.get(url)
        if task is None:
            work = ask(url, None, "", timeout_s=self._settings.timeout_s, max_bytes=MAX_CRL_BYTES)
            task = self._lists[url] = asyncio.create_task(work)
        return task

    def _shared(self, finding: Finding) -> Finding:
        """The same finding over bytes that are in memory already: a list speaks of many."""
        for each in self._standings.values():
            if each.finding is not None and each.finding.der == finding.der:
                return replace(finding, der=each.finding.der)
        return finding

    def _take(self, standing: _Standing, finding: Finding, fetched_at: float) -> None:
        """Rely on a finding from now on.

        Raises:
            Problem: ``InvalidRevocationStatus`` when it is older than what was said before.
        """
        before = standing.finding
        if before is not None and finding.this_update < before.this_update:
            raise Problem(
                Code.INVALID_REVOCATION_STATUS,
                where="thisUpdate",
                detail="it is older than what was said before",
            )
        now, unix = self._clock.monotonic(), self._clock.unix()
        refresh_s = self._settings.refresh_s
        if finding.next_update is not None:
            left_s = finding.next_update.timestamp() - unix
            refresh_s = min(refresh_s, max(left_s / 2, MIN_REFRESH_S))
        age_s = max(0.0, unix - fetched_at)
        if before is None or before.der != finding.der:
            standing.noted = False
            standing.used = standing.own or (standing.used and before is None)
            standing.fetched_at = fetched_at
        standing.finding = finding
        standing.due = now + max(refresh_s - age_s, 0.0)
        standing.until = now + self._settings.max_age_s - age_s
        standing.failures, standing.waits_since, standing.problem = 0, None, None
        if finding.status is Status.REVOKED:
            standing.until = -math.inf
            if before is None or before.status is not Status.REVOKED:
                self.generation += 1
                log.error("certificate_revoked", owner=standing.name, reason=finding.reason)

    async def note(self) -> None:
        """Keep the findings that were relied on, and commit to them in the journal.

        Raises:
            OSError: the store failed. Problem: the journal cannot be written. What is not kept
                yet is kept at the next time.
        """
        for standing in list(self._standings.values()):
            finding, issuer = standing.finding, standing.issuer
            if finding is None or issuer is None or standing.noted or not standing.used:
                continue
            await asyncio.to_thread(
                self.store.keep, standing.certificate, issuer, finding, standing.fetched_at
            )
            receipt = await self._recorder.status(finding)
            await asyncio.to_thread(self.store.note, finding, receipt.index)
            standing.noted = standing.finding is finding

    def _tell(self) -> None:
        """Log when the alarm begins and when it ends."""
        late = self.waits_s > self._settings.alarm_s
        if late and not self._alarmed:
            log.error("revocation_status_missing", for_s=round(self.waits_s))
        elif self._alarmed and not late:
            log.info("revocation_status_again")
        self._alarmed = late


def _refusal(standing: _Standing, where: str) -> Problem:
    finding = standing.finding
    if finding is not None and finding.status is Status.REVOKED:
        at = finding.revoked_at
        return Problem(
            Code.CERTIFICATE_REVOKED,
            where=where,
            detail=f"the certificate ({standing.name}) was revoked"
            + (f" at {at:%FT%TZ}" if at is not None else "")
            + (f", reason {finding.reason}" if finding.reason is not None else ""),
            facts={"certificate": finding.certificate},
        )
    return Problem(
        Code.CERTIFICATE_STATUS_UNKNOWN,
        where=where,
        detail=f"nothing has been heard of the certificate ({standing.name}) for too long",
    )
