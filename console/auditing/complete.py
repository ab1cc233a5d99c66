"""Whether a server's answers about a subject leave something out that its log committed to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from console.auditing.asking import Auditor, NotAnswered, Told, log_key
from exchange.identifiers import ServerId
from exchange.journal.auditing import JOURNAL, open_page, told
from exchange.journal.completeness import Proven, describe, open_completeness
from exchange.problems import Problem
from exchange.registrations import ServerRecord

MAX_LOOKED: Final = 200


@dataclass(frozen=True, slots=True)
class Complete:
    """What one server proved; ``left_out`` are entries that its answers lack."""

    server: ServerId
    proven: Proven | None = None
    left_out: tuple[int, ...] = ()
    problem: str = ""

    @property
    def good(self) -> bool:
        return self.proven is not None and not self.left_out and not self.proven.blind

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "server": str(self.server),
            "complete": self.good,
            "left_out": list(self.left_out),
            "problem": self.problem or None,
            **(describe(self.proven) if self.proven is not None else {}),
        }


async def prove_complete(
    auditor: Auditor, said: Told, query: Mapping[str, str], subject: str
) -> Complete:
    """Have a server prove that what it said of a subject, in a period, leaves nothing out.

    Args:
        query: the conditions of the period, and no others.
    """
    records = {record.id: record for record in auditor.servers(said.agreement.provider)}
    server = records[said.server]
    if said.more:
        return Complete(said.server, problem="it has more than the limit")
    try:
        target = "/completeness" + (f"?{urlencode(query)}" if query else "")
        data = await auditor.get(said.agreement, server, JOURNAL, target, subject)
        proven = await asyncio.to_thread(
            open_completeness, data, log_key(server), *_months(said, query)
        )
        lacking = sorted(proven.indexes - {hit.index for hit in said.hits})
        left_out = [
            index
            for index in lacking[:MAX_LOOKED]
            if await _belongs(auditor, said, server, index, query)
        ]
    except NotAnswered as refusal:
        return Complete(said.server, problem=f"{refusal.code} {refusal.detail}")
    except Problem as problem:
        return Complete(said.server, problem=str(problem))
    return Complete(said.server, proven, (*left_out, *lacking[MAX_LOOKED:]))


def _months(said: Told, query: Mapping[str, str]) -> tuple[str, str]:
    """The months that a period, or without one the mandate's, touches."""
    mandate = said.agreement.mandate
    since = query["since"][:7] if "since" in query else ""
    until = query["until"][:7] if "until" in query else "9999-99"
    if mandate is not None:
        since = since or f"{mandate.since:%Y-%m}"
        if mandate.until is not None:
            until = min(until, f"{mandate.until:%Y-%m}")
    return since, until


async def _belongs(
    auditor: Auditor, said: Told, server: ServerRecord, index: int, query: Mapping[str, str]
) -> bool:
    """Whether an entry that was not shown is of the period: commitments are of whole months.

    One that the server does not show even now is taken to be.
    """
    try:
        data = await auditor.get(said.agreement, server, JOURNAL, f"/entries/{index}")
        page, _ = open_page(data, log_key(server))
        (hit,) = page.hits
        if hit.index != index:
            return True
        at = datetime.fromisoformat(told(hit)["at"])
    except (NotAnswered, Problem, KeyError, ValueError):
        return True
    since, until = query.get("since"), query.get("until")
    return (since is None or at >= datetime.fromisoformat(since)) and (
        until is None or at < datetime.fromisoformat(until)
    )
