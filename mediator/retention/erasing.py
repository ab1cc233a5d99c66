"""Erasing: by record, message, subject or month on order; by the end of retention by itself.

The order of one erasure: what is named is found; the answers meant are noted
(:mod:`mediator.retention.answers`); an entry that says so is durable for each key; the keys forget;
the exactly-once book forgets the answers. A crash, a disk that fails or a database that is down
between entry and the rest is made good at the next start, and every hour (:meth:`Eraser.watch`).

Ordering needs a legal ground. It stands in the entry in clear, for ever, and must name no person;
who ordered it, and under which reference, is in the entry's sealed part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from exchange.identifiers import MemberId
from exchange.journal.entries import ERASURE, MAX_ERASED, Entry, Erased, Kind, Side, parse_entry
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.journal.subjects import normal_subject
from exchange.problems import Code, Problem
from mediator.journal.erasures import Erasure, Erasures, carry_out
from mediator.journal.index import Query
from mediator.journal.intake import logging_failed
from mediator.journal.keyring import DEFAULT_DAYS, IndexName, KeyName, KeyRing
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.once.book import OnceBook
from mediator.retention.answers import Waiting, WaitingAnswers
from serving.clock import Clock
from serving.randomness import random_bytes

MAX_RECORDS: Final = 100_000
MAX_GROUND: Final = 500
ENDED: Final = "the end of the retention that was set"
_PERIOD_S: Final = 3600.0
_POLL_S: Final = 0.1
_SALT_SIZE: Final = 16
log = structlog.get_logger("mediator.retention.erasing")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be erased (one of record, message, subject, or member with month), and why."""

    ground: str
    by: str
    reference: str = ""
    record: int | None = None
    message: str | None = None
    subject: str | None = None
    member: MemberId | None = None
    month: str | None = None

    def __post_init__(self) -> None:
        texts = {"ground": self.ground, "by": self.by, "reference": self.reference}
        for where, text in texts.items():
            if len(text) > MAX_GROUND or not text.isprintable():
                raise _refuse(where, f"is one line of at most {MAX_GROUND} characters")
        if not self.ground.strip() or not self.by.strip():
            raise _refuse("ground, by", "an erasure needs a legal ground and who orders it")
        named = [self.record, self.message, self.subject, self.month]
        if sum(one is not None for one in named) != 1 or (self.member is None) != (
            self.month is None
        ):
            raise _refuse(
                "order", "name one of record, message and subject, or a member and a month"
            )

    @classmethod
    def parse(cls, document: Any) -> Order:
        """An order as JSON.

        Raises:
            Problem: ``InvalidRequest``, ``InvalidIdentifier``.
        """
        try:
            fields = dict(document)
            if "member" in fields:
                fields["member"] = MemberId.parse(fields["member"], "member")
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise _refuse("order", "is no order to erase") from error


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, where=where, detail=detail)


@dataclass(slots=True)
class _Found:
    """What an order names: leaves by key, whole keys, and answers by their claims."""

    leaves: dict[str, set[int]] = field(default_factory=dict)
    whole: list[KeyName] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    already: int = 0
    bare: int = 0
    """Records that keep nothing sealed."""

    @property
    def count(self) -> int:
        return sum(map(len, self.leaves.values()))


class Eraser:
    """Erases for one server; one order after the other."""

    def __init__(
        self,
        journal: Journal,
        keyring: KeyRing,
        member: MemberId,
        clock: Clock,
        longest_days: int = DEFAULT_DAYS,
        once: OnceBook | None = None,
        database: str | None = None,
    ) -> None:
        """``longest_days`` is the longest retention that the settings name, ``database`` that of
        the search index."""
        self.problem: str | None = None
        """Why what is due is not erased; None when it is."""
        self._journal = journal
        self._keyring = keyring
        self._member = member
        self._clock = clock
        self._longest_days = longest_days
        self._once = once
        self._database = database
        self._waiting = WaitingAnswers(journal.directory)
        self._busy = asyncio.Lock()
        self._pending: list[Erasure] = []  # recorded, and not carried out yet

    async def erase(self, order: Order) -> dict[str, Any]:
        """Carry an order out; it is durable when this returns.

        Returns:
            how many records and keys were erased now, how many records were before, how many have
            nothing sealed, and the indexes of the entries that say so.

        Raises:
            Problem: ``NotFound`` when nothing is named; ``InvalidRequest`` when too much is;
                ``LoggingFailed`` when the disk failed: what has its entry is erased at the next
                start or within the hour.
        """
        async with self._busy:
            found = await asyncio.to_thread(self._find, order)
            waiting = await self._note_answers(found)
            reference = {"by": order.by, "reference": order.reference}
            indexes = await self._record(found, order.ground, reference)
            await self._carry_out()
            answers = await self._forget_answers(waiting)
        return {
            "records": found.count,
            "keys": [str(name) for name in found.whole],
            "already": found.already,
            "without_content": found.bare,
            "entries": indexes,
            "answers": answers,
        }

    # --- what is named -----------------------------------------------------------------------

    def _find(self, order: Order) -> _Found:
        found = _Found()
        if order.month is not None:
            names = [
                name
                for name in self._keyring.names()
                if (name.member, name.month) == (order.member, order.month)
            ]
            if not names:
                raise Problem(
                    Code.NOT_FOUND,
                    where=f"{order.member} {order.month}",
                    detail="there is no key of this member and month",
                )
            found.whole = [name for name in names if not self._is_spent(name)]
            return found
        reader = self._journal.reader()
        for index in self._indexes(order, reader):
            self._add(found, parse_entry(reader.entry(index), f"entry {index}"))
        return found

    def _is_spent(self, name: KeyName) -> bool:
        state = self._keyring.state(name)
        return state is None or state.spent

    def _indexes(self, order: Order, reader: JournalReader) -> Sequence[int]:
        if order.record is not None:
            return [order.record]
        if order.message is not None:
            query = Query(id=order.message)
        else:
            subject = normal_subject(order.subject or "", "subject")
            query = Query(subject=reader.tags(subject))
        hits = reader.index(database=self._database).search(query, MAX_RECORDS + 1)
        if not hits:
            raise Problem(
                Code.NOT_FOUND, where="order", detail="the journal has no published entry of it"
            )
        if len(hits) > MAX_RECORDS:
            raise _refuse("order", f"names more than {MAX_RECORDS:,} records; erase by month")
        return [hit.index for hit in hits]

    def _add(self, found: _Found, entry: Entry) -> None:
        once = self._once
        client, service, message = entry.client, entry.service, entry.id or ""
        if once is not None and entry.side is Side.PROVIDER and client and service:
            found.answers.append(once.vault.key(client, service.member, message))
        sealed = entry.sealed
        if sealed is None:
            found.bare += 1
            return
        key_of = self._keyring.find(sealed.key)
        if key_of is None or key_of.cover.derive(sealed.leaf) is None:
            found.already += 1
            return
        found.leaves.setdefault(sealed.key, set()).add(sealed.leaf)

    # --- entry, keys, answers ----------------------------------------------------------------

    async def _record(self, found: _Found, ground: str, sealed: dict[str, str]) -> list[int]:
        indexes = []
        for key, leaves in sorted(found.leaves.items()):
            ordered = sorted(leaves)
            for at in range(0, len(ordered), MAX_ERASED):
                some = tuple(ordered[at : at + MAX_ERASED])
                indexes.append(await self._entry(Erased(key, ground, some), sealed))
        for name in found.whole:
            before = await asyncio.to_thread(self._keyring.retire, name)
            erased = Erased(str(name), ground, before=before)
            indexes.append(await self._entry(erased, sealed))
        return indexes

    async def _entry(self, erased: Erased, sealed: dict[str, str]) -> int:
        entry = Entry(
            kind=Kind.SYSTEM,
            side=Side.SERVER,
            at=self._clock.now(),
            event=ERASURE,
            erased=erased,
        )
        body = orjson.dumps(sealed, option=orjson.OPT_SORT_KEYS)
        part = SealedPart(b"", b"", Head(), body, random_bytes(_SALT_SIZE))
        receipt = await self._journal.record(entry, self._member, part, days=self._longest_days)
        self._pending.append(Erasure(receipt.index, entry.at, erased))
        return receipt.index

    async def _carry_out(self) -> None:
        """Have the keys forget what has its entry."""
        pending = self._pending
        try:
            await asyncio.to_thread(carry_out, self._keyring, tuple(pending))
        except OSError as error:
            raise logging_failed(error, self._keyring.directory) from error
        pending.clear()

    async def _note_answers(self, found: _Found) -> list[Waiting]:
        if self._once is None or not (found.answers or found.whole):
            return []
        claims = None if found.whole else found.answers
        try:
            return [await asyncio.to_thread(self._waiting.add, self._journal.size, claims)]
        except OSError as error:
            raise logging_failed(error, self._journal.directory) from error

    async def _forget_answers(self, waiting: Sequence[Waiting]) -> str:
        """Have the book forget what waits; what it cannot now, it does as soon as it can, or the
        next round of :meth:`watch` does."""
        once = self._once
        if once is None or not waiting:
            return "none"
        for one in waiting:
            if not await once.erase(one.keys):
                return "waiting for the exactly-once book's database"
            await asyncio.to_thread(self._waiting.remove, [one])
        return "erased"

    # --- at the start, and every hour --------------------------------------------------------

    async def watch(self) -> None:
        """Finish what a crash left, forget again what came back, erase what is due; for ever."""
        size = self._journal.size
        while self._journal.published_size < size:  # noqa: ASYNC110  # of a thread
            await asyncio.sleep(_POLL_S)
        while True:
            await self.tend()
            await asyncio.sleep(_PERIOD_S)

    def report(self) -> dict[str, Any]:
        """What ``/healthz`` says of it."""
        return {"ok": True} if self.problem is None else {"ok": False, "problem": self.problem}

    async def tend(self) -> None:
        """One round of :meth:`watch`; what fails is said in :attr:`problem` and tried again."""
        try:
            async with self._busy:
                erased = await self._finish()
                await self._finish_answers(erased)
                await self._end_retentions()
            self.problem = None
        except (OSError, Problem) as failure:
            self.problem = f"{failure}"
            log.error("not_erased", why=self.problem)

    async def _finish_answers(self, erased: int) -> None:
        """Erase the answers that waited; ``erased`` is the newest entry of an erasure."""
        waiting = await asyncio.to_thread(self._waiting.read)
        told = [one for one in waiting if one.size <= erased]
        if len(told) < len(waiting):  # no entry tells of these
            dropped = [one for one in waiting if one not in told]
            await asyncio.to_thread(self._waiting.remove, dropped)
        await self._forget_answers(told)

    async def _finish(self) -> int:
        """Carry out what the log tells; the index of the newest erasure, -1 when there is none."""
        journal, size = self._journal, self._journal.published_size
        known = await asyncio.to_thread(Erasures.read, journal.directory)
        scanned = known.scanned
        await asyncio.to_thread(known.look_through, journal.directory, size)
        again = await asyncio.to_thread(carry_out, self._keyring, tuple(known))
        self._pending.clear()
        for key in sorted({one.erased.key for one in again if one.index < scanned}):
            log.warning("erased_key_was_back", key=key, remedy="an old copy of a key file was here")
            await self._say_returned(key)
        await asyncio.to_thread(known.write, journal.directory)
        return max(known.entries, default=-1)

    async def _say_returned(self, key: str) -> None:
        await self._journal.record(
            Entry(
                kind=Kind.SYSTEM,
                side=Side.SERVER,
                at=self._clock.now(),
                event="erased key was back",
                where=key,
            ),
            self._member,
        )

    async def _end_retentions(self) -> None:
        today = self._clock.now().date()
        names = await asyncio.to_thread(lambda: [*self._keyring.names()])
        due = [
            name
            for name in names
            if name.ends() <= today and not await asyncio.to_thread(self._is_spent, name)
        ]
        index_keys = [
            name
            for name in await asyncio.to_thread(lambda: [*self._keyring.index_names()])
            if KeyName(name.member, name.month, self._longest(name, names)).ends() <= today
        ]
        if not due and not index_keys:
            return
        found = _Found(whole=due)
        waiting = await self._note_answers(found)
        said = {"by": "this server"}
        indexes = await self._record(found, ENDED, said)
        for name in index_keys:
            indexes.append(await self._entry(Erased(str(name), ENDED, before=0), said))
        await self._carry_out()
        await self._forget_answers(waiting)
        log.info("retention_ended", keys=len(due) + len(index_keys), entries=indexes)

    def _longest(self, index_key: IndexName, names: Iterable[KeyName]) -> int:
        """For how many days a month's search goes on: as long as anything of it is kept."""
        same = (index_key.member, index_key.month)
        days = [name.days for name in names if (name.member, name.month) == same]
        return max([self._longest_days, *days])
