"""Previews: values that a person sees before they are passed on, kept for a while.

They lie encrypted in a database (:mod:`mediator.once_only.preview_store`): a restart does not lose
them, and servers of a member that share the exactly-once book share its previews.

Invariants: at most :data:`MAX_KEPT` of all applications and :data:`MAX_EACH` of one, with
:data:`MAX_BYTES` together (requests at the same moment may exceed that by themselves), for
:data:`KEPT_S`; then they are deleted. Only the application that asked finds its own. A decision
stands: it is durable before it is recorded, and recorded before it is answered; the same one again
gets the same answer, another one is refused, by whichever server. One that comes to two servers at
the same moment may be recorded by both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
import structlog

from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.once.vault import ASKER_SIZE, Answer, Vault
from mediator.once_only.preview_store import PreviewStore, StoreFailed
from serving.clock import Clock

KEPT_S: Final = 900.0
CLEAN_S: Final = 60.0
WAIT_S: Final = 10.0
MAX_KEPT: Final = 2000
MAX_EACH: Final = 1000
MAX_BYTES: Final = 32 << 20
_SHOWN, _DECISION = b"preview", b"decision"
T = TypeVar("T")
log = structlog.get_logger("mediator.once_only")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a person decides upon; ``declined`` is None until that was decided, ``recorded`` until
    it stands in a journal. ``until`` is in seconds since the epoch."""

    key: bytes
    document: dict[str, Any]
    until: float
    declined: frozenset[str] | None = None
    recorded: bool = False


class Previews:
    """All previews of this server, and of those that share its database."""

    def __init__(self, store: PreviewStore, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._turn = asyncio.Lock()

    async def check_room(self, client: ApplicationId, size: int = 0) -> None:
        """Raises: Problem ``ServerOverloaded`` or ``QuotaExceeded`` when one more is too many."""
        asker, now = self._vault.asker(str(client)), self._clock.unix()
        kept, bytes_kept, of_client = await self._ask(lambda: self._store.totals(asker, now))
        if of_client >= MAX_EACH:
            raise Problem(
                Code.QUOTA_EXCEEDED,
                where="preview",
                detail=f"{client} has {MAX_EACH} previews that wait for a decision",
                facts={"retry_after_s": 60},
            )
        if kept >= MAX_KEPT or bytes_kept + size > MAX_BYTES:
            raise Problem(
                Code.OVERLOADED,
                where="preview",
                detail=f"{kept} previews of {bytes_kept} bytes wait for a decision",
                facts={"retry_after_s": 60},
            )

    async def put(self, identifier: str, client: ApplicationId, document: dict[str, Any]) -> None:
        """Keep what waits for a decision; durable when this returns.

        Raises:
            Problem: as :meth:`check_room`.
        """
        key = self._key(identifier, client)
        shown = self._seal(key, _SHOWN, document)
        await self.check_room(client, len(shown))
        until = self._clock.unix() + KEPT_S
        await self._ask(lambda: self._store.put(key, key[:ASKER_SIZE], until, shown))

    async def find(self, identifier: str, client: ApplicationId) -> Preview:
        """The preview of this id, if the application has it.

        Raises:
            Problem: ``NotFound``; ``ServerOverloaded`` when the database cannot be used.
        """
        key, now = self._key(identifier, client), self._clock.unix()
        row = await self._ask(lambda: self._store.find(key, now))
        if row is None:
            raise Problem(
                Code.NOT_FOUND,
                where="path.id",
                detail=f"no preview of this id waits here; it does for {int(KEPT_S)} seconds",
            )
        declined = None
        if row.decision is not None:
            declined = frozenset(self._open(key, _DECISION, row.decision))
        return Preview(
            key, self._open(key, _SHOWN, row.shown), row.until, declined, recorded=row.recorded
        )

    async def decide(
        self, identifier: str, client: ApplicationId, declined: frozenset[str]
    ) -> Preview:
        """Have a decision stand, unless another one does; the preview with the one that does."""
        key = self._key(identifier, client)
        decision = self._seal(key, _DECISION, sorted(declined))
        await self._ask(lambda: self._store.decide(key, decision))
        return await self.find(identifier, client)

    async def recorded(self, preview: Preview) -> None:
        """Its decision stands in a journal."""
        await self._ask(lambda: self._store.recorded(preview.key))

    async def run(self) -> None:
        """Delete what is over, until cancelled."""
        while True:
            # A failure is told; what is over is not found any more, and deleted later.
            with contextlib.suppress(Problem):
                await self._ask(lambda: self._store.forget(self._clock.unix()))
            await asyncio.sleep(CLEAN_S)

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.to_thread(self._store.close)

    def _key(self, identifier: str, client: ApplicationId) -> bytes:
        return self._vault.key(client, client.member, f"preview {identifier}")

    def _seal(self, key: bytes, what: bytes, document: object) -> bytes:
        return self._vault.seal(key, what, Answer(200, (), orjson.dumps(document), ""))

    def _open(self, key: bytes, what: bytes, data: bytes) -> Any:
        return orjson.loads(self._vault.open(key, what, data).body or b"")

    async def _ask(self, work: Callable[[], T]) -> T:
        """Ask the database; one thread of all does, so that others have theirs when it is slow."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
            try:
                return await asyncio.to_thread(work)
            finally:
                self._turn.release()
        except (StoreFailed, TimeoutError) as failure:
            log.error("previews_unavailable", why=str(failure) or "it is slow")
            raise Problem(
                Code.OVERLOADED,
                where="preview",
                detail="previews cannot be kept now; the server's log says why",
                facts={"retry_after_s": 5},
            ) from failure
