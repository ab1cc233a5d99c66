"""Acts: who did what, in the order in which it was done.

Each act is an entry of the registry's log, in the transaction that records it. The entry commits to
the whole row, which has a random salt in its detail for that (:mod:`exchange.registry.log`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Table, Text, insert, select

from exchange.documents import format_document, parse_document
from exchange.registry.log import act_digest, act_entry
from registry.store.database import METADATA, WHOLE
from registry.store.log import Log

MAX_DETAIL_BYTES = 1 << 20
CONSENT = "consent"
ACTS = Table(
    "acts",
    METADATA,
    Column("number", WHOLE, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)


@dataclass(frozen=True, slots=True)
class ActRow:
    """One recorded act."""

    number: int
    at: str
    actor: str
    act: str
    subject: str
    detail: Mapping[str, Any]


class Acts(Log):
    """The acts of the store."""

    def record(
        self, at: datetime, actor: str, act: str, subject: str, detail: Mapping[str, Any]
    ) -> None:
        """Record an act, in the log, too."""
        salted = {**detail, "salt": secrets.token_hex(16)}
        with self.transaction():
            recorded = self._run(
                insert(ACTS).values(
                    at=at.isoformat(),
                    actor=actor,
                    act=act,
                    subject=subject,
                    detail=format_document(salted).decode(),
                )
            )
            (number,) = recorded.inserted_primary_key or (0,)
            digest = act_digest(at.isoformat(), actor, act, subject, salted)
            self.append_log(act_entry(number, at.isoformat(), act, subject, digest))

    def consents(self, request: int, subject: str) -> list[bytes]:
        """The consents that were given to a request, as they were recorded."""
        rows = self._rows(
            select(ACTS.c.detail)
            .where(ACTS.c.act == CONSENT, ACTS.c.subject == subject)
            .order_by(ACTS.c.number)
        )
        found = [parse_document(row.detail.encode(), MAX_DETAIL_BYTES, "act").value for row in rows]
        return [one["consent"].encode() for one in found if one["submission"] == request]

    def acts(self, *, after: int = 0, limit: int = 100) -> list[ActRow]:
        """Recorded acts in their order, after the number ``after``."""
        rows = self._rows(
            select(ACTS).where(ACTS.c.number > after).order_by(ACTS.c.number).limit(limit)
        )
        return [
            ActRow(
                **row._asdict()
                | {"detail": parse_document(row.detail.encode(), MAX_DETAIL_BYTES, "act").value}
            )
            for row in rows
        ]
