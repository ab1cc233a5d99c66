"""Time-stamps (RFC 3161) on anchors, away from the traffic.

Invariants:
- a token is checked before it is kept: over this anchor's note text, with our nonce, signed by a
  listed authority whose certificate is good at the token's time;
- the newest anchor is stamped, which covers all before it: after an outage of any length one token
  brings everything up to date;
- each stamp begins with the next authority in turn, and goes on to the others when one fails;
- nothing waits for a stamp. What fails is tried again until it is done; what takes too long is an
  alarm in ``/healthz``, the metrics and the log;
- waits are measured on the monotonic clock: who sets the machine's clock neither stops nor hurries
  them. A token's time that is far from the clock's is kept, since it is the authority's word, but
  the next authority is asked too, and it is an alarm: one of the clocks is wrong.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import structlog
from cryptography import x509

from exchange.evidence.timestamps import (
    MAX_TOKEN_BYTES,
    Timestamp,
    check_token,
    format_request,
    open_response,
)
from exchange.problems import Code, Problem
from exchange.registrations import InstanceRecord
from exchange.trust.admission import trusted_authorities
from mediator.background.asking import Unanswered, ask
from mediator.journal.anchors import Anchor, AnchorStore
from mediator.own_keys import read_certificates
from mediator.settings import StamperSettings, StampingSettings
from serving.clock import Clock

log = structlog.get_logger("mediator.background.stamping")

RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 60.0
DRIFT_S: Final = 60.0
"""How far a token's time may be from this machine's before somebody should look at the clocks."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom to ask: ``trusted`` are authorities that its certificate chains to.

    ``listed`` are its own certificates, where they are known: then none else of ``trusted`` may
    stamp in its place.
    """

    url: str
    trusted: tuple[x509.Certificate, ...]
    listed: tuple[x509.Certificate, ...] = ()


@dataclass(slots=True)
class _Record:
    """What an authority did last."""

    stamps: int = 0
    failures: int = 0
    problem: str | None = None


class Stamping:
    """Keeps the newest anchor stamped; :meth:`run` is its endless task.

    ``authorities`` says whom to ask now, in order; nobody: nothing is stamped.
    """

    def __init__(
        self,
        anchors: AnchorStore,
        authorities: Callable[[], Sequence[Authority]],
        clock: Clock,
        settings: StampingSettings,
    ) -> None:
        self._anchors = anchors
        self._authorities = authorities
        self._clock = clock
        self._settings = settings
        self._grown = asyncio.Event()
        self._records: dict[str, _Record] = {}
        self._turn = 0
        self._waits_since: float | None = None
        self._alarmed = False
        self.stamped_size = 0
        """The size of the last anchor that was stamped; entries below are covered."""
        self.drift_s: float | None = None
        """How far the last token's time was from this machine's; positive: it was ahead."""

    @property
    def waits_s(self) -> float:
        """For how long an anchor has been waiting for a stamp; 0 when none does."""
        since = self._waits_since
        return 0.0 if since is None else max(0.0, self._clock.monotonic() - since)

    def report(self) -> dict[str, Any]:
        """The check of ``/healthz``."""
        drifts = self.drift_s is not None and abs(self.drift_s) > DRIFT_S
        late = self.waits_s > self._settings.alarm_s
        report: dict[str, Any] = {
            "ok": not late and not drifts,
            "stamped": self.stamped_size,
            "waiting_s": round(self.waits_s, 1),
            "authorities": [
                {"url": url, "stamps": record.stamps, "failures": record.failures}
                | ({} if record.problem is None else {"problem": record.problem})
                for url, record in self._records.items()
            ],
        }
        if self.drift_s is not None:
            report["drift_s"] = round(self.drift_s, 1)
        if drifts:
            report["problem"] = "the last token's time is far from this machine's clock"
        if late:
            report["problem"] = "no time-stamp for too long; entries are kept and stamped later"
        return report

    async def run(self) -> None:
        """Stamp whatever is newest, again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        self._anchors.watch(lambda: _set_soon(loop, self._grown))
        failures = 0
        while True:
            self._grown.clear()
            try:
                done = await self.stamp()
            except (Problem, OSError) as error:
                log.warning("time_stamp_not_kept", why=str(error))
                done = False
            self._tell()
            if done:
                failures = 0
                await asyncio.sleep(self._settings.interval_s)
                await self._grown.wait()
            else:
                failures += 1
                pause = min(
                    RETRY_S * 2 ** min(failures - 1, 16), MAX_RETRY_S, self._settings.interval_s
                )
                await asyncio.sleep(pause)

    async def stamp(self) -> bool:
        """Have the newest anchor stamped; whether there is nothing left to stamp.

        Raises:
            Problem: ``JournalCorrupt``; OSError: the store of anchors failed.
        """
        authorities = self._authorities()
        anchor = await asyncio.to_thread(self._anchors.latest)
        closed = anchor is not None and anchor.size <= self._anchors.closed_size
        if not authorities or anchor is None or anchor.tokens or closed:
            self.stamped_size = anchor.size if anchor is not None and anchor.tokens else 0
            self._waits_since = None
            return True
        if self._waits_since is None:
            self._waits_since = await self._since()
        first, self._turn = self._turn % len(authorities), self._turn + 1
        for authority in (*authorities[first:], *authorities[:first]):
            drift_s = await self._try(anchor, authority)
            if drift_s is None:
                continue
            self.drift_s, self.stamped_size, self._waits_since = drift_s, anchor.size, None
            if abs(drift_s) <= DRIFT_S:
                break
        return self._waits_since is None

    async def _since(self) -> float:
        """Since when there is something to stamp, on the monotonic clock."""
        at = await asyncio.to_thread(self._anchors.waiting_since, stamped=True)
        waited_s = 0.0 if at is None else max(0.0, self._clock.unix() - at)
        return self._clock.monotonic() - waited_s

    async def _try(self, anchor: Anchor, authority: Authority) -> float | None:
        """Ask one authority; its drift when its token is kept, else None.

        Raises:
            OSError: the store of anchors failed.
        """
        record = self._records.setdefault(authority.url, _Record())
        try:
            token, stamp = await self._ask(anchor, authority)
        except (Unanswered, Problem) as error:
            record.failures += 1
            if record.problem is None:
                log.warning("time_stamp_failed", authority=authority.url, why=str(error))
            record.problem = str(error)
            return None
        await asyncio.to_thread(self._anchors.add_token, anchor.size, authority.url, token)
        record.stamps += 1
        record.problem = None
        return (stamp.time - self._clock.now()).total_seconds()

    async def _ask(self, anchor: Anchor, authority: Authority) -> tuple[bytes, Timestamp]:
        """A token over the anchor's note text, checked.

        Raises:
            Unanswered: no answer in time.
            Problem: ``InvalidTimestamp``: an answer that is no good token.
        """
        digest = sha256(anchor.text).digest()
        return await token_over(digest, authority, self._settings.timeout_s)

    def _tell(self) -> None:
        """Log when the alarm begins and when it ends."""
        late = self.waits_s > self._settings.alarm_s
        if late and not self._alarmed:
            log.error("time_stamps_missing", for_s=round(self.waits_s))
        elif self._alarmed and not late:
            log.info("time_stamps_again", size=self.stamped_size)
        self._alarmed = late


async def token_over(
    digest: bytes, authority: Authority, timeout_s: float
) -> tuple[bytes, Timestamp]:
    """Ask an authority for a token over a SHA-256 digest; the token, checked.

    Raises:
        Unanswered: no answer in time.
        Problem: ``InvalidTimestamp``: an answer that is no good token.
    """
    nonce = secrets.randbits(127) | 1 << 127
    answer = await ask(
        authority.url,
        format_request(digest, nonce),
        "application/timestamp-query",
        timeout_s=timeout_s,
        max_bytes=MAX_TOKEN_BYTES,
    )
    return await asyncio.to_thread(_check, answer, digest, nonce, authority)


async def first_token(digest: bytes, authorities: Sequence[Authority], timeout_s: float) -> bytes:
    """A token of the first authority that gives a good one.

    Raises:
        Problem: ``InvalidTimestamp``: none does.
    """
    reasons = []
    for authority in authorities:
        try:
            token, _ = await token_over(digest, authority, timeout_s)
        except (Unanswered, Problem) as error:
            reasons.append(f"{authority.url}: {error}")
        else:
            return token
    raise Problem(
        Code.INVALID_TIMESTAMP, where="authorities", detail="; ".join(reasons) or "none is listed"
    )


def chosen_authority(settings: StamperSettings) -> Authority:
    """An authority of the settings; reads its file.

    Raises:
        Problem: ``InvalidSettings``.
    """
    trusted = read_certificates(settings.certificates, "stamping.authorities")
    return Authority(settings.url, tuple(trusted))


def authorities_of(
    settings: StampingSettings, configured: Sequence[Authority], instance: InstanceRecord
) -> Sequence[Authority]:
    """Whom to ask: those of the settings, else those that the registry lists for the instance."""
    if not settings.enabled:
        return ()
    if configured:
        return configured
    trusted = trusted_authorities(instance)
    listed: dict[str, list[x509.Certificate]] = {}
    for authority in instance.timestamp_authorities:
        listed.setdefault(authority.url, []).append(authority.certificate)
    return [Authority(url, trusted, tuple(found)) for url, found in listed.items()]


def _check(
    answer: bytes, digest: bytes, nonce: int, authority: Authority
) -> tuple[bytes, Timestamp]:
    token = open_response(answer)
    stamp = check_token(
        token, digest, authority.trusted, nonce=nonce, certificates=authority.listed
    )
    if authority.listed and stamp.certificate not in authority.listed:
        raise Problem(
            Code.INVALID_TIMESTAMP,
            where="signerInfo",
            detail="the token is signed by another certificate than is listed for this address",
        )
    return token, stamp


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """From another thread; at the very end the loop may be closed already."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)
