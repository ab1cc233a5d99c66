"""The reserved application ``auditing``: what a mandate shows of this server's journal.

It stands where a backend would: a question was opened, recorded and allowed before it comes here,
its query was judged by the document (``apis/auditing.*.yaml``), and the answer is sealed and
recorded like any other. So whoever is audited finds in its own journal who asked, and what for.

Invariants:
- nothing is shown that the mandate does not show, by search or by index: an entry beyond it is told
  as one that is not there;
- a search looks at most at :data:`MAX_LOOKED` entries and for :data:`SEARCH_S` seconds, a page has
  a bound, and few questions are answered at a time, in threads: messages are not delayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from exchange.agreements.mandate import CONTENT
from exchange.contracts.contract import Contract
from exchange.identifiers import MemberId, ServiceId
from exchange.journal.auditing import SERVICES, Page, auditing_service, format_page
from exchange.journal.shown_anchor import format_anchor
from exchange.log.proof import format_proof
from exchange.problems import ACTED, Code, Problem
from mediator.auditing.anchors import at_anchor, newest_anchor
from mediator.auditing.api import query_of
from mediator.auditing.completeness import check_may_be_shown, completeness_of
from mediator.auditing.evidence import evidence_of
from mediator.auditing.hidings import Hidings
from mediator.auditing.hits import hit_for, hit_of
from mediator.auditing.scope import Facts, Scope
from mediator.auditing.usage import DelayOf, Uses
from mediator.journal import index
from mediator.journal.index import Cursor, IndexReader, Query
from mediator.journal.reader import JournalReader
from mediator.message.stages import Allowed
from mediator.pages.evidence import Evidence
from serving.backends import BackendResponse, Headers
from serving.bodies import Body
from serving.clock import Clock
from serving.yaml_files import read_own

AT_ONCE: Final = 2
MAX_WAITING: Final = 16
DEFAULT_LIMIT: Final = 100
MAX_LOOKED: Final = 20_000
SEARCH_S: Final = 10.0
MAX_SPAN: Final = timedelta(days=370)
_STEP: Final = 500
_NARROW: Final = frozenset({"id", "request_id", "trace"})
_JSON: Final[Headers] = (("content-type", "application/json"),)
_TEXT: Final[Headers] = (("content-type", "text/plain; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: what the mandate shows, the variables of the path and the query."""

    scope: Scope
    path: dict[str, str]
    query: dict[str, str]
    subject: str

    @property
    def index(self) -> int:
        return int(self.path["index"])

    @property
    def limit(self) -> int:
        return int(self.query.get("limit", DEFAULT_LIMIT))

    @property
    def conditions(self) -> dict[str, str]:
        """What is looked for."""
        return {name: value for name, value in self.query.items() if name not in _OF_THE_PAGE}


_OF_THE_PAGE: Final = frozenset({"limit", "cursor", "fields", "anchor"})
Answer = Callable[[Asked], tuple[Headers, bytes]]


class Auditing:
    """Answers for the journal of one server."""

    def __init__(
        self,
        open_reader: Callable[[], JournalReader],
        owner: MemberId,
        hosted: Collection[MemberId],
        hidings: Hidings,
        evidence: Evidence,
        delay: DelayOf,
        clock: Clock,
        database: str | None = None,
    ) -> None:
        self._open = open_reader
        self._database = database
        self._owner = owner
        self._hosted = frozenset(hosted)
        self._evidence_of = evidence
        self._hidings = hidings
        self._delay = delay
        self._clock = clock
        self._places = asyncio.Semaphore(AT_ONCE)
        self._inside = 0
        self._answers: dict[str, Answer] = {
            "checkpoint": self._checkpoint,
            "anchor": self._anchor,
            "entries": self._entries,
            "entry": self._entry,
            "proof": self._proof,
            "evidence": self._evidence,
            "hidings": self._hidden,
            "usage": self._usage,
            "completeness": self._completeness,
        }

    async def answer(self, allowed: Allowed) -> BackendResponse[Body]:
        """Answer a question that an agreement allows.

        Raises:
            Problem: ``OutsideMandate``, ``FieldNotReleased`` or ``QueryTooWide`` for what goes
                beyond the mandate or a search; ``NotFound``; ``ServerOverloaded``.
        """
        call, match, mandate = allowed.recorded.call, allowed.match, allowed.agreement.mandate
        if mandate is None:  # no such agreement grants this application
            raise Problem(Code.ACCESS_DENIED, where="agreement", detail="it is no mandate")
        asked = Asked(
            Scope(
                call.service.member,
                self._owner,
                self._hosted,
                mandate,
                self._hidings,
                self._clock.now(),
            ),
            dict(match.path_parameters),
            dict(parse_qsl(call.query, keep_blank_values=True)),
            call.subject,
        )
        work = self._answers[match.operation.operation_id]
        headers, body = await self._threaded(lambda: work(asked))
        return BackendResponse(200, headers, body)

    async def close(self) -> None:
        """There is nothing to give back."""

    async def _threaded(self, work: Callable[[], tuple[Headers, bytes]]) -> tuple[Headers, bytes]:
        if self._inside >= MAX_WAITING:
            raise Problem(
                Code.OVERLOADED,
                where="auditing",
                detail=f"{MAX_WAITING} questions are being answered",
                facts={"retry_after_s": 2, ACTED: False},
            )
        self._inside += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work)
        finally:
            self._inside -= 1

    # --- the journal: each of these reads files, so for a thread -----------------------------

    def _checkpoint(self, asked: Asked) -> tuple[Headers, bytes]:
        return _TEXT, self._open().checkpoint_note

    def _anchor(self, asked: Asked) -> tuple[Headers, bytes]:
        return _JSON, format_anchor(newest_anchor(self._open(), int(asked.query.get("since", 0))))

    def _entries(self, asked: Asked) -> tuple[Headers, bytes]:
        mandate = asked.scope.mandate
        wanted = frozenset(filter(None, asked.query.get("fields", "").split(",")))
        for name in wanted:
            mandate.check_field(name, "query.fields")
        mandate.check_conditions(asked.conditions)
        if asked.subject:
            mandate.check_subject()
        query = self._query(asked)
        reader = self._open()
        note, before = at_anchor(reader, asked.query.get("anchor"))
        found, after = self._search(reader, asked, query, asked.scope.shows, before)
        hits = tuple(hit_for(reader, index, mandate, wanted, note) for index in found)
        page = Page(reader.origin, note, hits, after)
        return _JSON, format_page(page)

    def _entry(self, asked: Asked) -> tuple[Headers, bytes]:
        reader, _ = self._found(asked)
        hit = hit_for(reader, asked.index, asked.scope.mandate, frozenset())
        page = Page(reader.origin, reader.checkpoint_note, (hit,), None)
        return _JSON, format_page(page)

    def _proof(self, asked: Asked) -> tuple[Headers, bytes]:
        reader, _ = self._found(asked)
        return _TEXT, format_proof(reader.prove(asked.index))

    def _evidence(self, asked: Asked) -> tuple[Headers, bytes]:
        asked.scope.mandate.check_field(CONTENT, "path")
        reader, entry = self._found(asked)
        return evidence_of(
            reader,
            asked.index,
            entry,
            lambda other: _is_shown(asked.scope, other),
            asked.scope.provider,
            self._evidence_of,
        )

    def _hidden(self, asked: Asked) -> tuple[Headers, bytes]:
        if not asked.scope.mandate.hidden:
            raise Problem(
                Code.OUTSIDE_MANDATE,
                where="path",
                detail="the mandate does not show what is hidden",
            )
        own = f"{asked.scope.provider}/"
        orders = [
            order.describe()
            for order in self._hidings.orders
            if order.service is None or order.service.startswith(own)
        ]
        return _JSON, orjson.dumps({"hidings": orders})

    def _completeness(self, asked: Asked) -> tuple[Headers, bytes]:
        check_may_be_shown(asked.scope)
        check_subject_named(asked.subject)
        since, until = asked.scope.mandate.period(*_period(asked))
        reader = self._open()
        return _JSON, completeness_of(reader, asked.subject, since, until, self._database)

    def _usage(self, asked: Asked) -> tuple[Headers, bytes]:
        asked.scope.mandate.check_subject()
        check_subject_named(asked.subject)
        uses = Uses(asked.scope, self._delay)
        reader = self._open()
        found, after = self._search(reader, asked, self._query(asked), uses.tells)
        hits = tuple(
            hit_of(reader, place, uses.describe(orjson.loads(reader.entry(place))))
            for place in found
        )
        page = Page(reader.origin, reader.checkpoint_note, hits, after)
        return _JSON, format_page(page)

    # --- search ------------------------------------------------------------------------------

    def _query(self, asked: Asked) -> Query:
        """The search, within the period of the mandate.

        Raises:
            Problem: ``OutsideMandate`` or ``QueryTooWide``.
        """
        given = query_of(asked.conditions)
        since, until = asked.scope.mandate.period(given.since, given.until)
        end = min(until or asked.scope.now, asked.scope.now)
        narrow = asked.subject or _NARROW & asked.conditions.keys()
        if end - since > MAX_SPAN and not narrow:
            raise _too_wide(
                "query.since",
                f"more than {MAX_SPAN.days} days without a subject or an id",
            )
        return replace(given, since=since, until=until)

    def _search(
        self,
        reader: JournalReader,
        asked: Asked,
        query: Query,
        shows: Callable[[Facts], bool],
        before: int | None = None,
    ) -> tuple[list[int], str | None]:
        """The indexes of a page, of entries ``before`` one, and where the next begins."""
        text = asked.query.get("cursor")
        cursor = Cursor.parse(text) if text is not None else None
        if asked.subject:
            query = replace(query, subject=reader.tags(asked.subject, query.since, query.until))
        found: list[int] = []
        looked = 0
        source = self._index(reader)
        if source is None:
            return [], None
        try:
            while looked < MAX_LOOKED:
                page = index.search([source], query, _STEP, cursor)
                for hit in page.hits:
                    looked += 1
                    cursor = Cursor(*hit.order)
                    if (before is None or hit.index < before) and shows(Facts.of(hit)):
                        found.append(hit.index)
                        if len(found) == asked.limit:
                            return found, str(cursor)
                if page.next is None:
                    return found, None
        except Problem as problem:
            if problem.code is Code.OVERLOADED:
                raise _too_wide("query", problem.detail) from problem
            raise
        finally:
            source.close()
        return found, str(cursor)

    def _index(self, reader: JournalReader) -> IndexReader | None:
        if not reader.checkpoint.size:
            return None
        return reader.kept_index(self._database, SEARCH_S)

    def _found(self, asked: Asked) -> tuple[JournalReader, dict[str, Any]]:
        """An entry by its index.

        Raises:
            Problem: ``NotFound`` when there is none, or the mandate does not show it.
        """
        reader = self._open()
        entry = orjson.loads(reader.entry(asked.index))
        if not _is_shown(asked.scope, entry):
            raise Problem(
                Code.NOT_FOUND,
                where=f"entry {asked.index}",
                detail="the mandate shows no such entry",
            )
        return reader, entry


def check_subject_named(subject: str) -> None:
    """Raises: Problem ``InvalidHeader`` when nobody is asked about."""
    if not subject:
        raise Problem(
            Code.INVALID_HEADER,
            where="exchange-subject",
            detail="this is asked for about a subject, which this header names",
        )


def _period(asked: Asked) -> tuple[datetime | None, datetime | None]:
    given = query_of(asked.conditions)
    return given.since, given.until


def documents() -> dict[str, bytes]:
    """The OpenAPI documents of the services, by their codes, in JSON."""
    return {
        code: orjson.dumps(
            read_own(files("mediator").joinpath(f"apis/auditing.{code}.yaml").read_bytes())
        )
        for code in SERVICES
    }


def contracts() -> dict[str, tuple[Contract, bytes]]:
    """The compiled documents, which are those of every member."""
    return {
        code: (Contract.compile(document, {}), document) for code, document in documents().items()
    }


def service_ids(members: Collection[MemberId]) -> list[tuple[ServiceId, str]]:
    """The services of these members, with their codes."""
    return [(auditing_service(member, code), code) for member in members for code in SERVICES]


def _is_shown(scope: Scope, entry: dict[str, Any]) -> bool:
    return scope.shows(Facts.told(entry))


def _too_wide(where: str, detail: str) -> Problem:
    return Problem(Code.QUERY_TOO_WIDE, where=where, detail=detail)
