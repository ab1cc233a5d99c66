"""One question to all servers of all organisations of some mandates, and what each of them said.

Every call goes through the auditor's own security server, which signs and records it. What comes
back is believed only when each entry is proven to be in the log whose key the registry lists for
the server that was asked; whoever did not answer, refused, or could not be proven is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import urlencode

import orjson

from console.auditing.fitting import check_fits
from exchange.agreements import Agreement
from exchange.identifiers import MemberId, ServerId
from exchange.journal.auditing import Hit, Page, auditing_service, open_page, told
from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from exchange.trust.state import RegistryState
from serving.answers import Answer
from serving.client import Pool
from serving.failures import ExchangeFailed

AT_ONCE: Final = 8
TIMEOUT_S: Final = 60.0
MAX_PAGES: Final = 1000
PAGE: Final = 500
_DETAIL: Final = 500
"""Characters of a refusal that are told."""


class Outcome(StrEnum):
    """How a server took a question."""

    PROVEN = "proven"
    """It answered, and all that it showed is in its log."""
    UNPROVEN = "not proven"
    """It answered, and what it showed is not to be believed, or cannot be checked."""
    REFUSED = "refused"
    SILENT = "no answer"


class Found(NamedTuple):
    """An entry, and the server that showed it."""

    server: ServerId
    member: MemberId
    hit: Hit


@dataclass(frozen=True, slots=True)
class Told:
    """What one server said of one mandate; ``more`` when there is more than was asked for."""

    agreement: Agreement
    server: ServerId
    outcome: Outcome
    hits: tuple[Hit, ...] = ()
    more: bool = False
    checkpoint: Checkpoint | None = None
    code: str = ""
    detail: str = ""

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """The entries between those that it showed which it did not show: first and last of each
        run. To whoever asked for all entries, they are other members', hidden, or left out."""
        shown = sorted(hit.index for hit in self.hits)
        return [(before + 1, after - 1) for before, after in pairwise(shown) if after > before + 1]

    @property
    def found(self) -> list[Found]:
        """Its entries; those that are not proven are no evidence, and not among them."""
        if self.outcome is not Outcome.PROVEN:
            return []
        return [Found(self.server, self.agreement.provider, hit) for hit in self.hits]


def merged(said: Iterable[Told]) -> list[Found]:
    """All proven entries, newest first; what several mandates show is there once, whole if one
    of them shows it so."""
    found: dict[tuple[ServerId, int], Found] = {}
    for one in (each for answer in said for each in answer.found):
        place = one.server, one.hit.index
        if place not in found or found[place].hit.entry is None:
            found[place] = one
    return sorted(found.values(), key=lambda one: str(told(one.hit).get("at")), reverse=True)


class NotAnswered(Exception):  # a state of things, told and not shown as an error
    """A refusal of the audited in the place of an answer, or none at all."""

    def __init__(self, outcome: Outcome, code: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome, self.code, self.detail = outcome, code, detail


@dataclass(slots=True)
class Auditor:
    """Asks through one security server, for the applications that the mandates name."""

    pool: Pool
    host: str
    state: RegistryState
    purpose: str | None = None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def ask(
        self,
        mandates: Sequence[Agreement],
        service: str,
        path: str,
        query: Mapping[str, str],
        subject: str | None,
        limit: int,
    ) -> list[Told]:
        """Ask every server of every organisation; the newest ``limit`` entries of each."""
        visits = [
            (mandate, server) for mandate in mandates for server in self._servers(mandate.provider)
        ]
        absent = [
            Told(mandate, ServerId.parse(f"{mandate.provider}/-"), Outcome.SILENT,
                 detail="the registry has no server of this organisation")
            for mandate in mandates
            if not self._servers(mandate.provider)
        ]  # fmt: skip
        answered = await asyncio.gather(
            *(
                self.ask_server(mandate, server, service, path, query, subject, limit)
                for mandate, server in visits
            )
        )
        return [*answered, *absent]

    async def ask_server(
        self,
        mandate: Agreement,
        server: ServerRecord,
        service: str,
        path: str,
        query: Mapping[str, str],
        subject: str | None,
        limit: int,
    ) -> Told:
        """Ask one server, page by page, and prove what it shows."""
        hits: list[Hit] = []
        seen: set[int] = set()
        checkpoint: Checkpoint | None = None
        more = False
        try:
            async for page, proven in self.pages(
                mandate, server, service, path, query, subject, limit
            ):
                check_fits(page.hits, seen, service, query)
                hits += page.hits
                checkpoint = proven
                more = page.next is not None
        except NotAnswered as refusal:
            return Told(
                mandate, server.id, refusal.outcome, code=refusal.code, detail=refusal.detail
            )
        except Problem as problem:
            return Told(
                mandate, server.id, Outcome.UNPROVEN, code=problem.code.value, detail=str(problem)
            )
        return Told(mandate, server.id, Outcome.PROVEN, tuple(hits), more, checkpoint)

    async def pages(
        self,
        mandate: Agreement,
        server: ServerRecord,
        service: str,
        path: str,
        query: Mapping[str, str],
        subject: str | None,
        limit: int,
    ) -> AsyncIterator[tuple[Page, Checkpoint | None]]:
        """What one server shows, proven page by page, up to ``limit`` entries; the last page has no
        ``next`` when it has shown all.

        Raises:
            NotAnswered: when it does not answer.
            Problem: when what it shows is not proven; ``NotFound`` as :func:`log_key`.
        """
        key, left = log_key(server), limit
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            asked = {**query, "limit": str(min(PAGE, left))}
            if cursor is not None:
                asked["cursor"] = cursor
            target = f"{path}?{urlencode(asked)}"
            page, checkpoint = open_page(
                await self.get(mandate, server, service, target, subject), key
            )
            page = replace(page, hits=page.hits[:left])
            yield page, checkpoint
            left -= len(page.hits)
            cursor = page.next
            if cursor is None or left <= 0:
                return

    async def get(
        self,
        mandate: Agreement,
        server: ServerRecord,
        service: str,
        target: str,
        subject: str | None = None,
    ) -> bytes:
        """The body of one answer of one server.

        Raises:
            NotAnswered: when there is none.
        """
        address = f"/r1/{auditing_service(mandate.provider, service)}{target}"
        async with self._places:
            try:
                answer = await self.pool.exchange(
                    "GET",
                    address,
                    (("host", self.host), *self._headers(mandate, server.id, subject)),
                    b"",
                    timeout_s=TIMEOUT_S,
                )
            except ExchangeFailed as failure:
                raise NotAnswered(
                    Outcome.SILENT,
                    Code.OWN_SERVER_UNREACHABLE.value,
                    f"your own security server: {failure.detail}",
                ) from failure
        if answer.status == 200:
            return answer.body
        raise _refusal(answer)

    def servers(self, member: MemberId) -> tuple[ServerRecord, ...]:
        """The servers that hold a member's journals; none when the registry does not know it."""
        return self._servers(member)

    def _servers(self, member: MemberId) -> tuple[ServerRecord, ...]:
        try:
            return self.state.servers_for(member)
        except Problem:
            return ()

    def _headers(
        self, mandate: Agreement, server: ServerId, subject: str | None
    ) -> list[tuple[str, str]]:
        codes = [purpose.code for purpose in mandate.purposes]
        purpose = self.purpose or (codes[0] if len(codes) == 1 else None)
        named = {
            "x-road-client": str(mandate.consumer),
            "x-road-security-server": str(server),
            "exchange-agreement": mandate.id,
            "exchange-purpose": purpose,
            "exchange-subject": subject,
        }
        return [(name, value) for name, value in named.items() if value]


def log_key(server: ServerRecord) -> VerifierKey:
    """The key by which a server's log is verified.

    Raises:
        Problem: ``NotFound`` when the registry has none.
    """
    if server.journal is None:
        raise Problem(
            Code.NOT_FOUND,
            where=str(server.id),
            detail="the registry has no verifier key of this server's log",
        )
    return VerifierKey.parse(server.journal, f"log of {server.id}")


def _refusal(answer: Answer[bytes]) -> NotAnswered:
    """What came in the place of an answer: a refusal of the audited, or no answer at all."""
    error = dict(answer.headers).get("x-road-error", "")
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = {}
    if not isinstance(said, dict):  # the audited may answer anything
        said = {}
    detail = str(said.get("message") or said.get("detail") or f"status {answer.status}")[:_DETAIL]
    theirs = ".serverproxy" in error.lower()
    return NotAnswered(
        Outcome.REFUSED if theirs else Outcome.SILENT,
        error.rpartition(".")[2] or str(answer.status),
        detail,
    )
