"""The audit API: search of this server's journal, entries and proofs, beside the message path.

It reads what is published, as an auditor with the files would (:mod:`mediator.journal.reader`),
in threads and few at a time, so that it answers while the server is busy and never delays a
message. What entries seal stays sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from typing import Any, TypeVar

from exchange.journal import subjects
from exchange.journal.entries import format_time
from exchange.log.proof import format_proof
from exchange.problems import Code, Problem
from mediator.journal.index import Cursor, Hit, Query, open_others, search
from mediator.journal.reader import JournalReader
from serving.api import Api, ApiRequest, json_reply, text_reply
from serving.backends import Headers
from serving.requests import Reply

AT_ONCE = 4
MAX_WAITING = 32
DEFAULT_LIMIT = 100
SEARCH_S = 10.0
"""For one search: whoever asks for what nobody has makes it look at every entry."""
_MOMENTS = ("since", "until")
_OF_THE_PAGE = ("limit", "cursor")
T = TypeVar("T")


class AuditApi:
    """Answers from one journal; ``open_reader`` opens what is published by now."""

    def __init__(
        self, open_reader: Callable[[], JournalReader], database: str | None = None
    ) -> None:
        self._open = open_reader
        self._database = database
        self._places = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    def api(self) -> Api:
        """The API below ``/audit``."""
        document = files("mediator").joinpath("apis/audit.yaml").read_bytes()
        operations = {
            "checkpoint": self._checkpoint,
            "entries": self._entries,
            "entry": self._entry,
            "proof": self._proof,
        }
        return Api(document, operations, base="/audit")

    async def _checkpoint(self, request: ApiRequest) -> Reply:
        reader = await self._read(lambda: self._open())
        if not reader.checkpoint_note:
            raise Problem(Code.NOT_FOUND, where="checkpoint", detail="none is published yet")
        return text_reply(reader.checkpoint_note)

    async def _entries(self, request: ApiRequest) -> Reply:
        query = query_of(request.query)
        limit = int(request.query.get("limit", DEFAULT_LIMIT))
        after = request.query.get("cursor")
        subject = _subject(request.headers)
        cursor = Cursor.parse(after) if after is not None else None
        return json_reply(200, await self._read(lambda: self._page(query, subject, limit, cursor)))

    async def _entry(self, request: ApiRequest) -> Reply:
        index = int(request.path["index"])
        return json_reply(200, await self._read(lambda: self._open().entry(index)))

    async def _proof(self, request: ApiRequest) -> Reply:
        index = int(request.path["index"])

        def prove() -> bytes:
            reader = self._open()
            reader.entry(index)  # which tells when there is none
            return format_proof(reader.prove(index))

        return text_reply(await self._read(prove))

    def _page(
        self, query: Query, subject: str, limit: int, cursor: Cursor | None
    ) -> dict[str, Any]:
        reader = self._open()
        if subject:
            query = replace(query, subject=reader.tags(subject, query.since, query.until))
        size = reader.checkpoint.size
        page: dict[str, Any] = {"origin": reader.origin, "size": size, "entries": [], "next": None}
        if not size:
            return page
        with ExitStack() as stack:
            indexes = [reader.kept_index(self._database, SEARCH_S)]
            stack.callback(indexes[0].close)
            if self._database is not None:
                for other in open_others(self._database, reader.origin):
                    stack.callback(other.close)
                    other.give_up_after(SEARCH_S)
                    indexes.append(other)
            found = search(indexes, query, limit, cursor)
        page["entries"] = [_described(hit) for hit in found.hits]
        page["next"] = str(found.next) if found.next is not None else None
        return page

    async def _read(self, work: Callable[[], T]) -> T:
        if self._inside >= MAX_WAITING:
            raise Problem(
                Code.OVERLOADED, where="audit", detail=f"{MAX_WAITING} requests are under way"
            )
        self._inside += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work)
        finally:
            self._inside -= 1


def query_of(conditions: Mapping[str, str]) -> Query:
    """The conditions of a search, from a query that was judged by the document.

    Raises:
        Problem: ``InvalidRequest`` for a moment that the calendar does not have.
    """
    wanted: dict[str, Any] = {}
    for name, text in conditions.items():
        if name in _MOMENTS:
            try:
                wanted[name] = datetime.fromisoformat(text)
            except ValueError as error:
                raise Problem(
                    Code.INVALID_REQUEST, where=f"query.{name}", detail="no time of the calendar"
                ) from error
        elif name == "status":
            wanted[name] = int(text)
        elif name not in _OF_THE_PAGE:
            wanted[name] = text
    return Query(**wanted)


def _subject(headers: Headers) -> str:
    """Whom or what is asked about, in normal form; empty when that is not said.

    Raises:
        Problem: ``InvalidHeader``, which does not repeat it.
    """
    values = [value for name, value in headers if name == subjects.HEADER]
    if len(values) > 1:
        raise Problem(Code.INVALID_HEADER, where=subjects.HEADER, detail="the field is repeated")
    return subjects.normal_subject(values[0]) if values else ""


def _described(hit: Hit) -> dict[str, Any]:
    return {
        "origin": hit.origin,
        "index": hit.index,
        "at": format_time(hit.at),
        "kind": hit.kind,
        "side": hit.side,
        "status": hit.status,
        "id": hit.id,
        "request_id": hit.request_id,
        "trace": hit.trace,
        "client": hit.client,
        "service": hit.service,
        "peer": hit.peer,
        "method": hit.method,
        "endpoint": hit.endpoint,
        "problem": hit.problem,
        "agreement": hit.agreement,
        "purpose": hit.purpose,
        "event": hit.event,
        "subject": hit.subject,
    }
