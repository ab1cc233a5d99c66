"""Submissions: what members sent, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary, Row, Table, Text, insert, select, update

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.lifecycle import Act, Kind, State, next_state
from registry.store.database import METADATA, WHOLE, Database

SUBMISSIONS = Table(
    "submissions",
    METADATA,
    Column("id", WHOLE, primary_key=True, autoincrement=True),
    Column("member", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", WHOLE, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("submitted_at", Text, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("decided_at", Text),
    Column("decided_by", Text),
    Column("reason", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
Index("submissions_of_member", SUBMISSIONS.c.member, SUBMISSIONS.c.state)
Index(
    "one_open_submission",
    SUBMISSIONS.c.member,
    unique=True,
    sqlite_where=SUBMISSIONS.c.state == "submitted",
    postgresql_where=SUBMISSIONS.c.state == "submitted",
)


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """A submission as it is stored; ``body`` is what the member sent."""

    id: int
    member: MemberId
    kind: Kind
    state: State
    version: int
    body: bytes
    note: str
    submitted_at: str
    submitted_by: str
    decided_at: str | None
    decided_by: str | None
    reason: str


class Submissions(Database):
    """The submissions of the store."""

    def add_submission(
        self,
        member: MemberId,
        kind: Kind,
        version: int,
        body: bytes,
        note: str,
        at: datetime,
        by: str,
    ) -> int:
        """Store a submission; one that the member had open is replaced."""
        for row in self.submissions(state=State.SUBMITTED, member=member):
            self.decide(row.id, Act.REPLACE, at, by, "replaced by a newer submission")
        done = self._run(
            insert(SUBMISSIONS).values(
                member=str(member),
                kind=kind.value,
                state=State.SUBMITTED.value,
                version=version,
                body=body,
                note=note,
                submitted_at=at.isoformat(),
                submitted_by=by,
            )
        )
        key: Any = done.inserted_primary_key
        return int(key[0])

    def submission(self, number: int) -> SubmissionRow:
        """Raises: Problem ``NotFound``."""
        rows = self._rows(select(SUBMISSIONS).where(SUBMISSIONS.c.id == number))
        if not rows:
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="there is no such submission"
            )
        return _submission(rows[0])

    def submissions(
        self,
        *,
        state: State | None = None,
        member: MemberId | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[SubmissionRow]:
        """Submissions in their order, filtered, after the number ``after``."""
        query = select(SUBMISSIONS).where(SUBMISSIONS.c.id > after)
        if state is not None:
            query = query.where(SUBMISSIONS.c.state == state.value)
        if member is not None:
            query = query.where(SUBMISSIONS.c.member == str(member))
        rows = self._rows(query.order_by(SUBMISSIONS.c.id).limit(limit))
        return [_submission(row) for row in rows]

    def decide(self, number: int, act: Act, at: datetime, by: str, reason: str) -> None:
        """Move a submission on; within a transaction.

        Raises:
            Problem: ``NotFound``, or ``Conflict`` when it is not open any more.
        """
        state = next_state(self.submission(number).state, act)
        self._run(
            update(SUBMISSIONS)
            .where(SUBMISSIONS.c.id == number)
            .values(state=state.value, decided_at=at.isoformat(), decided_by=by, reason=reason)
        )


def _submission(row: Row[tuple[object, ...]]) -> SubmissionRow:
    fields = row._asdict()
    return SubmissionRow(
        **fields
        | {
            "member": MemberId.parse(row.member),
            "kind": Kind(row.kind),
            "state": State(row.state),
            "body": bytes(row.body),
        }
    )
