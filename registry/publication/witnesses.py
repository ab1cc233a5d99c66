"""Having the registry's log cosigned: each witness of the policy is asked at its address.

C2SP tlog-witness v1.0.0 over plain or secured HTTP; blocking, all at the same time, each within a
deadline. A witness that does not answer is asked again at the next head, or when the registry signs
again; the registry goes on meanwhile, and servers that demand a quorum wait for it.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog

from exchange.log.checkpoint import parse_text
from exchange.log.notes import Note, NoteSignature
from exchange.log.policy import Party, Policy
from exchange.log.witness import (
    MAX_REPLY_BYTES,
    SIZE_TYPE,
    Submission,
    format_submission,
    read_cosignatures,
    read_size,
)
from exchange.problems import Code, Problem

Prove = Callable[[int], Sequence[bytes]]
"""The consistency proof from an older size."""
_ATTEMPTS: Final = 3
log = structlog.get_logger("registry.publication.witnesses")


@dataclass(frozen=True, slots=True)
class _Said:
    status: int
    type: str
    body: bytes


class Witnesses:
    """The witnesses of ``policy`` that have an address.

    Raises:
        Problem: ``InvalidSettings`` when an address is none.
    """

    def __init__(
        self, policy: Policy, *, timeout_s: float = 10.0, context: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._context = context
        self._asked = {name: party for name, party in policy.witnesses.items() if party.url}
        self._sizes: dict[str, int] = {}
        for name, party in self._asked.items():
            _check_address(name, party)

    def enough(self, note: Note) -> bool:
        """Whether a head carries the quorum."""
        try:
            return self._policy.is_quorum(self._policy.cosigners(note))
        except Problem:
            return False

    def ask(self, note: Note, prove: Prove) -> list[NoteSignature]:
        """The cosignatures of those who have not signed a head yet and do so now."""
        missing = [
            name
            for name, party in self._asked.items()
            if not any(line.is_by(party.key) for line in note.signatures)
        ]
        if not missing:
            return []
        with ThreadPoolExecutor(min(16, len(missing))) as pool:
            answers = pool.map(lambda name: self._try(name, note, prove), missing)
        return [line for lines in answers for line in lines]

    def _try(self, name: str, note: Note, prove: Prove) -> list[NoteSignature]:
        try:
            return self._cosigned(name, note, prove)
        except Problem as problem:
            log.warning("witness_failed", witness=name, why=str(problem))
            return []

    def _cosigned(self, name: str, note: Note, prove: Prove) -> list[NoteSignature]:
        party, where = self._asked[name], f"witness {name}"
        size = parse_text(note.text).size
        for _ in range(_ATTEMPTS):
            old = min(self._sizes.get(name, 0), size)
            body = format_submission(Submission(old, tuple(prove(old)), note))
            said = self._post(party, body, where)
            if said.status == 200:
                found = read_cosignatures(said.body, note, [party.key], where)
                self._sizes[name] = size
                return [line for line, _ in found]
            if said.status == 409 and said.type == SIZE_TYPE:
                known = read_size(said.body, where)
                if known <= size:
                    self._sizes[name] = known
                    continue
                raise Problem(
                    Code.JOURNAL_FORKED,
                    where=where,
                    detail=f"it cosigned {known} entries of this log, which has {size}: was an "
                    "old copy of the database put back?",
                )
            break
        raise Problem(
            Code.PEER_NONSENSE, where=where, detail=f"answered {said.status} to a head of {size}"
        )

    def _post(self, party: Party, body: bytes, where: str) -> _Said:
        parts = urlsplit(party.url or "")
        host = parts.hostname or ""
        connection = (
            http.client.HTTPSConnection(
                host,
                parts.port,
                timeout=self._timeout_s,
                context=self._context or ssl.create_default_context(),
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)
        )
        try:
            connection.request(
                "POST",
                f"{parts.path.rstrip('/')}/add-checkpoint",
                body,
                {"Content-Type": "text/plain; charset=utf-8"},
            )
            answer = connection.getresponse()
            kind = answer.getheader("Content-Type", "").partition(";")[0].strip().lower()
            return _Said(answer.status, kind, answer.read(MAX_REPLY_BYTES + 1))
        except (OSError, http.client.HTTPException) as error:
            detail = f"does not answer: {error or type(error).__name__}"
            raise Problem(Code.PEER_UNREACHABLE, where=where, detail=detail) from error
        finally:
            connection.close()


def _check_address(name: str, party: Party) -> None:
    try:
        parts = urlsplit(party.url or "")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Problem(
            Code.INVALID_SETTINGS,
            where=f"witness {name}",
            detail=f"{party.url!r} is no http or https address",
        )
