"""A log as its organisation shows it to an auditor, as one side of a reconciliation.

The server is asked for its newest anchor, and then for the entries of a period, page by page;
every entry is proven to be in the anchor's tree. What is shown is kept in a temporary file: memory
does not grow with it. That the organisation shows all of it is not proven: what it did not show
lacks, and its answers, which it signed and both servers recorded, are the evidence of that.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from console.auditing.asking import MAX_PAGES, PAGE, Auditor, NotAnswered, log_key
from exchange.agreements import Agreement
from exchange.identifiers import MemberId, ServerId
from exchange.journal.auditing import JOURNAL
from exchange.journal.entries import format_time
from exchange.journal.shown_anchor import ShownAnchor, open_anchor
from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import LogProof
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from mediator.journal.reconcile import Asked, Covered

MAX_ENTRIES: Final = MAX_PAGES * PAGE


@dataclass(slots=True)
class ShownLog:
    """Implements :class:`mediator.journal.reconcile.Log`."""

    server: ServerId
    key: VerifierKey
    checkpoint: Checkpoint
    anchor: ShownAnchor
    mandate: Agreement
    covered: Covered | None
    _file: Path
    _places: dict[int, int] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.server} by {self.mandate.reference}"

    @property
    def count(self) -> int:
        return len(self._places)

    def entries(self, *, content: bool) -> Iterator[tuple[int, bytes, str | None]]:
        """See :class:`mediator.journal.reconcile.Log`; what is sealed is not at hand."""
        with self._file.open("rb") as file:
            for line in file:
                index, entry, _ = orjson.loads(line)
                yield index, entry.encode(), None

    def show(self, index: int) -> tuple[bytes, LogProof]:
        """See :class:`mediator.journal.reconcile.Log`."""
        with self._file.open("rb") as file:
            file.seek(self._places[index])
            _, entry, path = orjson.loads(file.readline())
        proof = LogProof(index, tuple(b64decode(each) for each in path), self.anchor.checkpoint)
        return entry.encode(), proof

    def describe(self) -> str:
        """See :class:`mediator.journal.reconcile.Log`."""
        lines = self.anchor.checkpoint.rpartition(b"\n\n")[2].count(b"\n")
        return (
            f"{self.count:,} entries shown, all proven in the anchor of {self.checkpoint.size:,} "
            f"entries ({lines - 1} cosignatures, {len(self.anchor.tokens)} time-stamps; whose "
            f"they are is not judged), root {self.checkpoint.root.hex()[:16]}…"
        )


async def shown_logs(
    auditor: Auditor, mandate: Agreement, other: MemberId | None, asked: Asked, folder: Path
) -> list[ShownLog]:
    """Ask all servers of an organisation for what a period's reconciliation needs.

    Args:
        other: the other side's organisation, where that is known.
        folder: for temporary files.

    Raises:
        Problem: ``OutsideMandate`` or ``FieldNotReleased`` when the mandate does not suffice;
            ``SourceFailed`` when a server refuses or does not answer, for nothing can be said then;
            ``QueryTooWide``; ``NotFound`` when the registry has no server or log key;
            what :func:`exchange.journal.auditing.open_page` says of entries that are not proven.
    """
    covered = _covered(mandate, other)
    query = _query(mandate, other, asked)
    servers = auditor.servers(mandate.provider)
    if not servers:
        raise Problem(
            Code.NOT_FOUND,
            where=str(mandate.provider),
            detail="the registry has no server of this organisation",
        )
    logs: list[ShownLog] = []
    for server in servers:
        file = folder / f"{mandate.provider.member_code}-{len(logs)}-{id(mandate)}"
        try:
            logs.append(await _fetch(auditor, mandate, server, query, covered, file))
        except NotAnswered as refusal:
            raise Problem(
                Code.SOURCE_FAILED,
                where=str(server.id),
                detail=f"{refusal.outcome}: {refusal.code} {refusal.detail}",
                facts={"server": str(server.id), "problem": refusal.code},
            ) from refusal
    return logs


def _covered(mandate: Agreement, other: MemberId | None) -> Covered:
    """What the mandate shows of the exchanges of two organisations.

    Raises:
        Problem: ``FieldNotReleased``, ``OutsideMandate``.
    """
    terms = mandate.mandate
    if terms is None or not terms.whole:
        raise Problem(
            Code.FIELD_NOT_RELEASED,
            where=mandate.reference,
            detail="reconciliation takes a mandate that shows entries whole (field '*')",
        )
    if other is not None and terms.organisations and other not in terms.organisations:
        raise Problem(
            Code.OUTSIDE_MANDATE,
            where=mandate.reference,
            detail=f"the mandate does not show exchanges with {other}",
        )
    return Covered(
        str(mandate.provider),
        frozenset(map(str, terms.organisations)),
        frozenset(map(str, terms.services)),
        terms.hidden,
    )


def _query(mandate: Agreement, other: MemberId | None, asked: Asked) -> dict[str, str]:
    """The conditions of the search: the period, which the mandate must hold, with its margin.

    Raises:
        Problem: ``OutsideMandate``.
    """
    terms = mandate.mandate
    if terms is None:
        raise Problem(Code.AGREEMENT_INVALID, where=mandate.reference, detail="it is no mandate")
    since, until = terms.period(asked.since, asked.until)
    conditions = {"since": format_time(max(since - asked.margin, terms.since))}
    if until is not None:
        end = until + asked.margin
        conditions["until"] = format_time(end if terms.until is None else min(end, terms.until))
    if other is not None:
        conditions["member"] = str(other)
    return conditions


async def _fetch(
    auditor: Auditor,
    mandate: Agreement,
    server: ServerRecord,
    query: dict[str, str],
    covered: Covered,
    path: Path,
) -> ShownLog:
    """What one server shows.

    Raises:
        NotAnswered: it does not answer. Problem: as :func:`shown_logs`.
    """
    key = log_key(server)
    anchor, checkpoint = open_anchor(await auditor.get(mandate, server, JOURNAL, "/anchor"), key)
    log = ShownLog(server.id, key, checkpoint, anchor, mandate, covered, path)
    question = query | {"anchor": str(checkpoint.size)}
    following: str | None = None
    with path.open("wb") as file:
        async for page, proven in auditor.pages(
            mandate, server, JOURNAL, "/entries", question, None, MAX_ENTRIES
        ):
            if proven != checkpoint:
                raise Problem(
                    Code.INVALID_PROOF,
                    where=str(server.id),
                    detail="what is shown is not proven in the anchor that was asked for",
                )
            following = page.next
            for hit in page.hits:
                if hit.entry is None or hit.index in log._places:
                    continue
                log._places[hit.index] = file.tell()
                siblings = [b64encode(each).decode() for each in hit.path]
                file.write(orjson.dumps([hit.index, hit.entry.decode(), siblings]) + b"\n")
    if following is not None:
        raise Problem(
            Code.QUERY_TOO_WIDE,
            where=str(server.id),
            detail=f"shows more than {MAX_ENTRIES:,} entries; name a shorter --period",
        )
    return log
