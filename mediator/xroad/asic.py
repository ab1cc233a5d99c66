"""``/asic``: the evidence of an exchange, for the application that took part in it.

X-Road's parameters, file names and errors (its AsicContainerClientRequestProcessor; errors are
plain text). A container holds one exchange, both directions of it, where X-Road makes one for each
message; with ``requestOnly`` or ``responseOnly`` it holds that direction. It is what ``saphan audit
export`` makes (:mod:`mediator.pages.evidence`), signed by the member of the application.

A record is evidence when it is in a signed checkpoint, which is some tenths of a second after it
was made. The page waits for that, so ``force`` (X-Road: time-stamp now) changes nothing: each
container is stamped when it is made, if an authority answers.
"""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import structlog

from exchange.evidence import asic
from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import Entry, Kind, Side
from exchange.problems import Code, Problem
from mediator.journal.export import Chosen
from mediator.journal.log import Journal
from mediator.message.records import Recorder
from mediator.pages.evidence import Evidence
from mediator.xroad.connections import Connection, Entrance
from serving.replies import Profile
from serving.requests import Reply, Request

MAX_ENTRIES: Final = 64
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of the sealed parts together; in clear, and packed, they are in memory at the same time."""
PUBLISHED_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.05
_FILE_NAME: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)
_TOO_MUCH: Final = (
    "Too many documents for one download. Fetch them by requestOnly and responseOnly, or have them "
    "exported with: saphan audit export"
)
_NOT_UNIQUE: Final = 'Several exchanges have this id. Fetch them without "unique", in one archive.'
_NOT_PUBLISHED: Final = "Message signature has not been timestamped yet!"
_REQUESTS: Final = frozenset({Kind.REQUEST})
_RESPONSES: Final = frozenset({Kind.RESPONSE, Kind.REFUSAL, Kind.FAILURE})
log = structlog.get_logger("mediator.asic")


class _Refused(Exception):
    """An error as X-Road words it; ``literal`` is X-Road's status for it."""

    def __init__(self, status: int, message: str, literal: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.literal = literal or status


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records of which exchange."""

    message_id: str
    client: ApplicationId
    kinds: frozenset[Kind]
    suffix: str
    unique: bool = False

    @classmethod
    def parse(cls, query: str) -> Wanted:
        """Read the parameters of the page.

        Raises:
            _Refused: as X-Road does.
        """
        given = dict(parse_qsl(query, keep_blank_values=True))
        codes = [
            _needed(given, name)
            for name in ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
        ]
        message_id = _needed(given, "queryId")
        requests, responses = "requestOnly" in given, "responseOnly" in given
        if requests and responses:
            raise _Refused(
                400,
                'Parameters "requestOnly" and "responseOnly" cannot be used at the same time.',
            )
        if "unique" in given and not (requests or responses):
            raise _Refused(
                400,
                'Parameter "unique" not applicable without "requestOnly" or "responseOnly".',
            )
        try:
            client = ApplicationId(*codes)
        except Problem as problem:
            raise _Refused(400, problem.detail, literal=500) from problem
        if requests:
            return cls(message_id, client, _REQUESTS, "-request", "unique" in given)
        if responses:
            return cls(message_id, client, _RESPONSES, "-response", "unique" in given)
        return cls(message_id, client, _REQUESTS | _RESPONSES, "")

    def includes(self, entry: Entry) -> bool:
        """Whether the client took part in what an entry records, on this server's side."""
        party = entry.client
        if entry.side is Side.PROVIDER:
            party = entry.service.application if entry.service is not None else None
        return party == self.client and entry.kind in self.kinds

    @property
    def name(self) -> str:
        """The beginning of the names of files."""
        return f"{_FILE_NAME.sub('_', self.message_id)[:226]}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Asic:
    """The page ``/asic``."""

    entrance: Entrance
    journal: Journal
    evidence: Evidence
    recorder: Recorder
    profile: Profile
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, request: Request, connection: Connection) -> Reply:
        """Answer with the evidence, or with a sentence."""
        try:
            wanted = Wanted.parse(request.target.partition("?")[2])
            await self._admit(wanted, connection, request.remote)
            await self._published()
            async with self._one_at_a_time:
                reply = await asyncio.to_thread(self._reply, wanted)
        except _Refused as refused:
            log.info("evidence_refused", status=refused.status, why=str(refused))
            status = refused.literal if self.profile is Profile.X_ROAD else refused.status
            headers = [("content-type", "text/plain;charset=utf-8")]
            if status == 503:
                headers.append(("retry-after", "1"))
            return Reply(status, tuple(headers), str(refused).encode())
        await self.recorder.event(
            "evidence handed out", client=wanted.client, message_id=wanted.message_id
        )
        return reply

    async def _admit(self, wanted: Wanted, connection: Connection, remote: str) -> None:
        try:
            self.entrance.admit(wanted.client, connection, remote)
        except Problem as problem:
            await self.recorder.event("evidence refused", problem, client=wanted.client)
            unknown = problem.code is Code.UNKNOWN_APPLICATION
            status, literal = (404, 500) if unknown else (401, 401)
            raise _Refused(status, problem.detail, literal) from problem

    async def _published(self) -> None:
        """Wait until all that is recorded by now is in a signed checkpoint."""
        size = self.journal.size
        for _ in range(int(PUBLISHED_WITHIN_S / _LOOK_S)):
            if self.journal.published_size >= size:
                return
            await asyncio.sleep(_LOOK_S)
        raise _Refused(503, _NOT_PUBLISHED, literal=500)

    def _reply(self, wanted: Wanted) -> Reply:
        """The containers of the exchanges; reads files, so for a thread."""
        exchanges = self._chosen(wanted)
        if wanted.unique and len(exchanges) > 1:
            raise _Refused(409, _NOT_UNIQUE, literal=500)
        containers = {
            f"{wanted.name}-{chosen[0].index}.asice": self.evidence.container(
                chosen, wanted.client.member
            )
            for chosen in exchanges
        }
        if wanted.unique:
            ((name, container),) = containers.items()
            return _file(name, asic.MIMETYPE, container)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, container in containers.items():
                archive.writestr(zipfile.ZipInfo(name), container)  # stored: it is packed
        return _file(f"{wanted.name}.zip", "application/zip", buffer.getvalue())

    def _chosen(self, wanted: Wanted) -> list[list[Chosen]]:
        """The entries that are asked for, exchange by exchange: of one client and one service."""
        journal = self.journal.reader()
        found: dict[tuple[ApplicationId | None, ServiceId | None], list[Chosen]] = {}
        count = size = 0
        for index, entry in journal.of_message(wanted.message_id):
            if wanted.includes(entry):
                found.setdefault((entry.client, entry.service), []).append(Chosen(journal, index))
                count += 1
                size += entry.sealed.size if entry.sealed is not None else 0
                if count > MAX_ENTRIES or size > MAX_BYTES:
                    raise _Refused(413, _TOO_MUCH, literal=500)  # a part would look like the whole
        if not found:
            raise _Refused(404, "No signed documents found")
        return list(found.values())


def _file(name: str, media_type: str, data: bytes) -> Reply:
    headers = (
        ("content-type", media_type),
        ("content-disposition", f'attachment; filename="{name}"'),
    )
    return Reply(200, headers, data)


def _needed(given: Mapping[str, str], name: str) -> str:
    if name not in given:
        raise _Refused(400, f'Parameter "{name}" must be specified.')
    return given[name]
