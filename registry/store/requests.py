"""Requests: what was asked of the registry, who agrees to it, what became of it; and notices."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    Table,
    Text,
    insert,
    select,
    update,
)

from exchange.documents import format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.requests.changes import Change, ChangeKind
from registry.requests.lifecycle import Act, Approval, Deliberation, Kind, Needed, State
from registry.store.database import METADATA, WHOLE, Database

MAX_CHANGES_BYTES = 4 << 20
_SUBMISSIONS = [kind.value for kind in Kind if kind.is_submission]

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", WHOLE, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("member", Text),  # whose it is; of the registry itself when there is none
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", WHOLE, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("changes", Text, nullable=False),
    Column("submitted_at", Text, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("decided_at", Text),
    Column("decided_by", Text),
    Column("reason", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
Index("requests_of_member", REQUESTS.c.member, REQUESTS.c.state)
_OPEN_SUBMISSION = (REQUESTS.c.state == "submitted") & REQUESTS.c.kind.in_(_SUBMISSIONS)
Index(
    "one_open_submission",
    REQUESTS.c.member,
    unique=True,
    sqlite_where=_OPEN_SUBMISSION,
    postgresql_where=_OPEN_SUBMISSION,
)
APPROVALS = Table(
    "approvals",
    METADATA,
    Column("request", WHOLE, ForeignKey("requests.id"), primary_key=True),
    Column("by", Text, primary_key=True),
    Column("seen", Text, primary_key=True),
    Column("at", Text, nullable=False),
    sqlite_strict=True,
)
NOTICES = Table(
    "notices",
    METADATA,
    Column("number", WHOLE, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("member", Text, nullable=False),
    Column("request", WHOLE),
    Column("act", Text, nullable=False),
    Column("text_en", Text, nullable=False),
    Column("text_lo", Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
Index("notices_of_member", NOTICES.c.member, NOTICES.c.number)


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that is handed in; ``body`` is what was sent, ``version`` that of a role."""

    kind: Kind
    member: MemberId | None
    subject: str
    body: bytes
    changes: tuple[Change, ...]
    note: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as it is stored, with those who approved it."""

    id: int
    kind: Kind
    member: MemberId | None
    subject: str
    state: State
    version: int
    body: bytes
    note: str
    changes: tuple[Change, ...]
    submitted_at: str
    submitted_by: str
    decided_at: str | None
    decided_by: str | None
    reason: str
    approvals: tuple[Approval, ...]

    @property
    def deliberation(self) -> Deliberation:
        """Where it stands."""
        return Deliberation(self.submitted_by, self.state, self.approvals)


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """Something that a member should know."""

    number: int
    at: str
    member: str
    request: int | None
    act: str
    text_en: str
    text_lo: str


class Requests(Database):
    """The requests and notices of the store."""

    def add_request(self, request: NewRequest, at: datetime, by: str) -> int:
        """Store a request; a role that the member had handed in and that waits is replaced."""
        if request.kind.is_submission:
            for row in self.requests(state=State.SUBMITTED, member=request.member):
                if row.kind.is_submission:
                    self.decide(row.id, Act.REPLACE, at, by, "replaced by a newer submission")
        done = self._run(
            insert(REQUESTS).values(
                kind=request.kind.value,
                member=None if request.member is None else str(request.member),
                subject=request.subject,
                state=State.SUBMITTED.value,
                version=request.version,
                body=request.body,
                note=request.note,
                changes=_format_changes(request.changes),
                submitted_at=at.isoformat(),
                submitted_by=by,
            )
        )
        key: Any = done.inserted_primary_key
        return int(key[0])

    def request(self, number: int) -> RequestRow:
        """Raises: Problem ``NotFound``."""
        rows = self._rows(select(REQUESTS).where(REQUESTS.c.id == number))
        if not rows:
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="there is no such request"
            )
        return self._complete(rows)[0]

    def requests(
        self,
        *,
        state: State | None = None,
        member: MemberId | None = None,
        kinds: Collection[Kind] = (),
        after: int = 0,
        limit: int = 100,
    ) -> list[RequestRow]:
        """Requests in their order, filtered, after the number ``after``."""
        query = select(REQUESTS).where(REQUESTS.c.id > after)
        if state is not None:
            query = query.where(REQUESTS.c.state == state.value)
        if member is not None:
            query = query.where(REQUESTS.c.member == str(member))
        if kinds:
            query = query.where(REQUESTS.c.kind.in_([kind.value for kind in kinds]))
        return self._complete(self._rows(query.order_by(REQUESTS.c.id).limit(limit)))

    def decide(
        self,
        number: int,
        act: Act,
        at: datetime,
        by: str,
        reason: str = "",
        *,
        needed: Needed = Needed.ONE,
        seen: str = "",
    ) -> Deliberation:
        """Move a request on as :meth:`Deliberation.after` lets it; within a transaction.

        Raises:
            Problem: ``NotFound``, or as :meth:`Deliberation.after`.
        """
        before = self.request(number).deliberation
        after = before.after(act, by=by, needed=needed, seen=seen)
        for approval in after.approvals[len(before.approvals) :]:
            self._run(
                insert(APPROVALS).values(
                    request=number, by=approval.by, seen=approval.seen, at=at.isoformat()
                )
            )
        if act is not Act.APPROVE:
            self._run(
                update(REQUESTS)
                .where(REQUESTS.c.id == number)
                .values(
                    state=after.state.value,
                    decided_at=at.isoformat(),
                    decided_by=by,
                    reason=reason,
                )
            )
        return after

    def _complete(self, rows: Iterable[Row[tuple[object, ...]]]) -> list[RequestRow]:
        found = list(rows)
        agreed: dict[int, list[Approval]] = {row.id: [] for row in found}
        query = select(APPROVALS.c.request, APPROVALS.c.by, APPROVALS.c.seen).where(
            APPROVALS.c.request.in_(agreed)
        )
        for row in self._rows(query.order_by(APPROVALS.c.at, APPROVALS.c.by)) if found else ():
            agreed[row.request].append(Approval(row.by, row.seen))
        return [_request(row, tuple(agreed[row.id])) for row in found]

    # --------------------------------------------------------------------------------- notices

    def notify(
        self, member: MemberId, request: int | None, act: str, en: str, lo: str, at: datetime
    ) -> None:
        """Leave a notice for a member."""
        self._run(
            insert(NOTICES).values(
                at=at.isoformat(),
                member=str(member),
                request=request,
                act=act,
                text_en=en,
                text_lo=lo,
            )
        )

    def was_told(self, request: int, member: MemberId | None, act: str) -> bool:
        """Whether a member was told this of a request."""
        query = select(NOTICES.c.number).where(
            NOTICES.c.member == str(member), NOTICES.c.request == request, NOTICES.c.act == act
        )
        return bool(self._rows(query.limit(1)))

    def notices(
        self, *, member: MemberId | None = None, after: int = 0, limit: int = 100
    ) -> list[NoticeRow]:
        """Notices in their order, of one member or of all."""
        query = select(NOTICES).where(NOTICES.c.number > after)
        if member is not None:
            query = query.where(NOTICES.c.member == str(member))
        rows = self._rows(query.order_by(NOTICES.c.number).limit(limit))
        return [NoticeRow(**row._asdict()) for row in rows]


def _request(row: Row[tuple[object, ...]], approvals: tuple[Approval, ...]) -> RequestRow:
    fields = row._asdict()
    return RequestRow(
        **fields
        | {
            "kind": Kind(row.kind),
            "member": None if row.member is None else MemberId.parse(row.member),
            "state": State(row.state),
            "body": bytes(row.body),
            "changes": _parse_changes(row.changes),
            "approvals": approvals,
        }
    )


def _format_changes(changes: Iterable[Change]) -> str:
    return format_document([change.describe() for change in changes]).decode()


def _parse_changes(text: str) -> tuple[Change, ...]:
    rows = parse_document(text.encode(), MAX_CHANGES_BYTES, "changes").value
    return tuple(Change(ChangeKind(row["kind"]), row["subject"], row["detail"]) for row in rows)
