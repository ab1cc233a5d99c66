"""``/asic``: the evidence of an exchange, for the application that took part in it.

X-Road's parameters, file names and errors (its AsicContainerClientRequestProcessor; errors are
plain text). What is served is not ASiC-E yet but what ``saphan audit export`` makes, under its own
name and type: a zip with each entry, its proof, what was signed, and the certificates
(:mod:`mediator.journal.export`); ``saphan audit verify`` checks it.

A record is evidence when it is in a signed checkpoint, which is some tenths of a second after it
was made. The page waits for that, so ``force`` (X-Road: time-stamp now) changes nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import structlog
from cryptography import x509

from exchange import asic
from exchange.certificates import fingerprint_of
from exchange.entries import Entry, Kind, Side
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from exchange.trust import RegistryState
from mediator.journal.export import Chosen, Surroundings, make_export, unsigned
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.records import Recorder
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
            return cls(message_id, client, _REQUESTS, "-request")
        if responses:
            return cls(message_id, client, _RESPONSES, "-response")
        return cls(message_id, client, _REQUESTS | _RESPONSES, "")

    def includes(self, entry: Entry) -> bool:
        """Whether the client took part in what an entry records, on this server's side."""
        party = entry.client
        if entry.side is Side.PROVIDER:
            party = entry.service.application if entry.service is not None else None
        return party == self.client and entry.kind in self.kinds

    @property
    def file_name(self) -> str:
        return f"{_FILE_NAME.sub('_', self.message_id)[:226]}{self.suffix}.zip"


@dataclass(frozen=True, slots=True)
class Asic:
    """The page ``/asic``."""

    entrance: Entrance
    journal: Journal
    state: Callable[[], RegistryState]
    recorder: Recorder
    profile: Profile
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, request: Request, connection: Connection) -> Reply:
        """Answer with the evidence, or with a sentence."""
        try:
            wanted = Wanted.parse(request.target.partition("?")[2])
            await self._admit(wanted, connection, request.remote)
            await self._published()
            certificates = _certificates(self.state())
            async with self._one_at_a_time:
                archive = await asyncio.to_thread(self._archive, wanted, certificates)
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
        headers = [
            ("content-type", "application/zip"),
            ("content-disposition", f'attachment; filename="{wanted.file_name}"'),
        ]
        return Reply(200, tuple(headers), archive)

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

    def _archive(self, wanted: Wanted, certificates: Mapping[str, x509.Certificate]) -> bytes:
        """The export of the exchange, as a zip; reads files, so for a thread."""
        journal = JournalReader(self.journal.directory)
        chosen, size = [], 0
        for index, entry in journal.of_message(wanted.message_id):
            if wanted.includes(entry):
                chosen.append(Chosen(journal, index))
                size += entry.sealed.size if entry.sealed is not None else 0
                if len(chosen) > MAX_ENTRIES or size > MAX_BYTES:
                    raise _Refused(413, _TOO_MUCH, literal=500)  # a part would look like the whole
        if not chosen:
            raise _Refused(404, "No signed documents found")
        return asic.pack(unsigned(make_export(chosen, Surroundings(certificates))))


def _needed(given: Mapping[str, str], name: str) -> str:
    if name not in given:
        raise _Refused(400, f'Parameter "{name}" must be specified.')
    return given[name]


def _certificates(state: RegistryState) -> dict[str, x509.Certificate]:
    return {
        fingerprint_of(certificate): certificate
        for record in state.members.values()
        for certificate in record.seal_certificates
    }
