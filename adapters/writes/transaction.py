"""One message as one transaction: its row in the ledger, its statements, its answer, the commit.

The order, and what a crash at each step leaves:

=====================  ===========================================================================
step                   when it breaks here
=====================  ===========================================================================
claim in the ledger    nothing: the transaction is rolled back by the database
look at the record     nothing
statements             nothing
read the record back   nothing
answer in the ledger   nothing
commit                 all or nothing; which of the two, the ledger tells the next who asks
answer to the caller   all: a repeat of the message is given the answer that the ledger has
=====================  ===========================================================================

So whatever fails without a word is simply done again, here (a lost connection, a deadlock, a
transaction that the database could not order; a few times, until the caller's deadline) or by the
caller who repeats the message. A refusal leaves no row: the same message is then judged anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Connection, CursorResult, text
from sqlalchemy import exc as sqlalchemy_exc

from adapters.answers.replies import entity_tag
from adapters.answers.requests import Fault, Plan, bad, stored_columns
from adapters.answers.rows import NoRecord, RecordWriter, answer
from adapters.answers.running import fetch
from adapters.fields import Mismatch
from adapters.fields.written import write_json
from adapters.mapping.model import Change, Limits, Write
from adapters.sources.binding import bound
from adapters.sources.failures import problem_of
from adapters.sources.sessions import anew, moved
from adapters.writes import refusals
from adapters.writes.guard import Judged
from adapters.writes.ledger import LONGEST_LOCATION, Kept, Ledger
from adapters.writes.places import columns_of
from adapters.writes.refusals import CONFLICTS, UNABLE, UNFIT, Kind
from adapters.writes.requests import UNFIT_STATUS, Asked
from adapters.writes.values import read_json
from exchange.problems import Code, Problem

ATTEMPTS = 6
_PAUSE_S = 0.02
# After a commit none of these says whether it was done.
_UNKNOWN = frozenset({Kind.GONE, Kind.OTHER, Kind.TIMEOUT, *UNABLE})
_STATUS = {Change.CREATE: 201, Change.UPDATE: 200, Change.DELETE: 204}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A writing endpoint whose statements were judged; made once."""

    write: Write
    judged: tuple[Judged, ...]
    writer: RecordWriter
    ledger: Ledger
    limits: Limits
    location: Callable[[Mapping[str, str]], str]
    """From the key's values to the path that reads the record; empty where there is none."""


@dataclass(slots=True)
class _Failed(Exception):
    """A statement, or the claim, failed in the database."""

    error: sqlalchemy_exc.DBAPIError
    judged: Judged | None
    kind: Kind


class _Moved(Exception):
    """What the transaction found was not what there is: a table was written anew meanwhile."""


@dataclass(slots=True)
class Transaction:
    """The work of one message, for a thread of the source; see the module.

    ``now`` is the time in seconds since 1970; ``deadline`` of the monotonic clock.
    """

    prepared: Prepared
    asked: Asked
    now: int
    deadline: float
    committing: bool = field(default=False, init=False)
    doubtful: bool = field(default=False, init=False)
    """A commit ended without a word, and the ledger has not been asked since what came of it."""

    def __call__(self, connection: Connection) -> Kept:
        """Carry the message out, or find what came of it before.

        Raises:
            Fault: what the caller has to know: no such record, a conflict, a value that the source
                does not take, another request of the same id, an entity tag of yesterday.
            Problem: ``WriteUnconfirmed``, ``MessageInProgress``, ``ServerOverloaded``,
                ``SourceFailed``, ``BackendTimeout``; what a record that does not fit raises.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(connection)
            except _Failed as failed:
                self._judge(connection, failed, attempt)
            except sqlalchemy_exc.DBAPIError as error:
                self._judge(connection, _Failed(error, None, refusals.kind_of(error)), attempt)
            except NoRecord:
                connection.rollback()
                raise _no_record(self.asked.write) from None
            except _Moved:
                connection.rollback()
                if attempt >= ATTEMPTS or time.monotonic() >= self.deadline:
                    raise anew() from None
            pause_s = _PAUSE_S * 2**attempt * random.uniform(0.5, 1.0)
            time.sleep(min(pause_s, max(0.0, self.deadline - time.monotonic())))

    def _attempt(self, connection: Connection) -> Kept:
        self.committing = False
        kept = self._claim(connection)
        if kept is not None:
            return kept
        self.doubtful = False  # the row was not there: what was in doubt has not been done
        try:
            kept = self._carry_out(connection)
        except (NoRecord, Fault):
            if moved(connection):
                raise _Moved from None
            raise
        if moved(connection):
            raise _Moved
        self.prepared.ledger.finish(connection, self.asked.message, kept)
        self.committing = True
        connection.commit()
        return kept

    def _carry_out(self, connection: Connection) -> Kept:
        """All between the claim and the answer in the ledger."""
        values = dict(self.asked.values)
        if self.asked.looks_before:
            values |= self._look(connection)
        returned = self._run(connection, values)
        return self._answer(connection, returned)

    def _claim(self, connection: Connection) -> Kept | None:
        """Write the message's row; the answer of the first when there is one already."""
        ledger, message = self.prepared.ledger, self.asked.message
        try:
            ledger.claim(connection, message, self.now)
        except sqlalchemy_exc.DBAPIError as error:
            kind = refusals.kind_of(error)
            if kind is not Kind.UNIQUE:
                # One row is added: what takes long is waiting for another of the same message.
                kind = Kind.BUSY if kind is Kind.TIMEOUT else kind
                raise _Failed(error, None, kind) from error
            connection.rollback()
            found = ledger.find(connection, message)
            connection.rollback()
            if found is None:  # the first was rolled back meanwhile, or thinned
                raise _Failed(error, None, Kind.AGAIN) from error
            digest, kept = found
            if digest != message.digest:
                detail = "this client used the id before, for another request, agreement or purpose"
                raise bad("header.x-road-id", detail, Code.MESSAGE_ID_REUSED, 409) from error
            return kept
        return None

    def _look(self, connection: Connection) -> dict[str, Any]:
        """The record before: it is there, has the tag that is asked for, and what a PATCH leaves.

        What is left as it is is bound as the source gave it, never through its field.
        """
        plan = self.asked.read()
        body = answer(plan, self.prepared.writer, self.prepared.limits)(connection)
        tags = self.asked.tags
        if tags is not None and not tags & {"*", entity_tag(body)}:
            detail = "the record has changed since it was read with this entity tag"
            raise bad("header.if-match", detail, Code.PRECONDITION_FAILED, 412)
        if not self.asked.absent:
            return {}
        row = fetch(connection, plan, 1)[0]
        fields = plan.endpoint.record.fields
        pairs = zip(stored_columns(plan.endpoint), row, strict=False)
        stored = {fields[index].name: value for (_, index), value in pairs}
        return {
            name: stored[self.asked.write.fields[name].name] for name in sorted(self.asked.absent)
        }

    def _run(self, connection: Connection, values: dict[str, Any]) -> dict[str, Any]:
        """Run the statements in order; the values of JSON that they gave, by field."""
        dialect = connection.dialect.name
        record = self.asked.write.read.record
        returned: dict[str, Any] = {}
        for judged in self.prepared.judged:
            statement = judged.statement
            given = {name: bound(dialect, values[name]) for name in statement.names}
            try:
                result = connection.execute(text(statement.text), given)
            except sqlalchemy_exc.DBAPIError as error:
                raise _Failed(error, judged, refusals.kind_of(error)) from error
            if statement.returns:
                for name, value in zip(statement.returns, result.one(), strict=True):
                    found = record.field(name)
                    if found is None:
                        raise KeyError(name)  # the mapping's reader has seen that it is there
                    values[name.replace(".", "_")] = value
                    returned[name] = _as_json(found.converter(), value, name)
            elif statement.rows is not None:
                self._count(connection, judged, result)
        return returned

    def _count(self, connection: Connection, judged: Judged, result: CursorResult[Any]) -> None:
        if result.rowcount == judged.statement.rows:
            return
        if self.asked.write.change is not Change.CREATE:
            answer(self.asked.read(), self.prepared.writer, self.prepared.limits)(connection)
        detail = (
            f"the change {judged.statement.name} is for {judged.statement.rows} record(s) and would"
            f" touch {max(0, result.rowcount)}: the record is not in the state that it needs"
        )
        raise bad("path" if self.asked.write.variables else "body", detail, Code.CONFLICT, 409)

    def _answer(self, connection: Connection, returned: Mapping[str, Any]) -> Kept:
        write = self.asked.write
        status = _STATUS[write.change]
        if write.change is Change.DELETE:
            return Kept(status, "", "", b"")
        plan = self.asked.read(returned)
        try:
            body = answer(plan, self.prepared.writer, self.prepared.limits)(connection)
        except NoRecord:
            detail = "what would be written is no record that this service shows the caller"
            raise bad("body", detail, Code.CONFLICT, 409) from None
        self._check_times(plan, body)
        texts = {name: str(value) for name, value in {**self.asked.texts, **returned}.items()}
        location = self.prepared.location(texts) if status == 201 else ""
        if len(location) > LONGEST_LOCATION:  # a key of many Lao letters; its record says it, too
            location = ""
        return Kept(status, entity_tag(body), location, body)

    def _check_times(self, plan: Plan, body: bytes) -> None:
        """A column with a zone of its own would take a time without one for another moment."""
        record = plan.endpoint.record
        for name, one in self.asked.write.members.items():
            value = self.asked.values.get(name)
            if one.zone is None or value is None or record.field(one.name) is None:
                continue
            found: Any = orjson.loads(body)
            for step in one.path:
                found = found.get(step) if isinstance(found, dict) else None
            if found is None or found[:16] != one.converter()(value)[:16]:
                detail = f"the source keeps another time in {one.column} than it was given"
                raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=False)

    # What a failure means.

    def _judge(self, connection: Connection, failed: _Failed, attempt: int) -> None:
        """Return to have it done again; the transaction is rolled back, or gone.

        Raises:
            Problem: what is to be told instead.
        """
        unknown = self.committing and failed.kind in _UNKNOWN
        self.doubtful = self.doubtful or unknown
        try:
            connection.rollback()
            if failed.kind is Kind.READ_ONLY:  # another server may be the one to write to by now
                connection.invalidate()
        except sqlalchemy_exc.DBAPIError:
            connection.invalidate()
        again = failed.kind in (Kind.AGAIN, Kind.GONE) or unknown
        left = attempt < ATTEMPTS and time.monotonic() < self.deadline
        if again and left:
            return
        if self.doubtful:
            raise unconfirmed() from failed.error
        raise self._problem(connection, failed) from failed.error

    def _problem(self, connection: Connection, failed: _Failed) -> Problem:
        kind, error = failed.kind, failed.error
        # A condition that is judged at the commit is of no one statement.
        if (failed.judged or self.committing) and (kind in CONFLICTS or kind in UNFIT):
            return self._refusal(connection, failed)
        problem = problem_of(error, connection.dialect.name)
        problem.facts["reached"] = kind is not Kind.GONE
        if kind in UNABLE:
            return Problem(problem.code, where="source", detail=UNABLE[kind], facts=problem.facts)
        if kind is Kind.AGAIN:
            detail = "others write the same records; nothing was written, repeat the request"
            return Problem(Code.OVERLOADED, where="source", detail=detail, facts=_soon(problem))
        if kind is Kind.BUSY:
            code = Code.MESSAGE_IN_PROGRESS if failed.judged is None else Code.OVERLOADED
            detail = "the source is locked by another change; nothing was written"
            return Problem(code, where="source", detail=detail, facts=_soon(problem))
        return problem

    def _refusal(self, connection: Connection, failed: _Failed) -> Fault:
        judged, places = failed.judged, list[str]()
        kind = failed.kind
        if judged is not None:
            said = refusals.said(failed.error, kind, judged.statement.verb)
            kind = said.kind
            columns = said.columns or columns_of(
                connection, failed.error, kind, judged.table, self._bound(connection, judged)
            )
            connection.rollback()
            names = (judged.columns[column] for column in columns if column in judged.columns)
            places = list(dict.fromkeys(map(self._place, names)))
        where = ", ".join(places) or "body"
        if kind in CONFLICTS:
            return bad(where, CONFLICTS[kind], Code.CONFLICT, 409)
        return bad(where, UNFIT[kind], Code.SCHEMA_VIOLATION, UNFIT_STATUS)

    def _bound(self, connection: Connection, judged: Judged) -> dict[str, Any]:
        """What the statement bound, by column."""
        dialect, values = connection.dialect.name, self.asked.values
        return {column: bound(dialect, values.get(name)) for column, name in judged.columns.items()}

    def _place(self, name: str) -> str:
        if name in self.asked.write.variables:
            return f"path.{name}"
        found = self.asked.write.fields.get(name)
        return f"body#{found.pointer}" if found is not None else f"body#/{name}"


def unconfirmed() -> Problem:
    """Nobody can say yet whether it was written; the ledger will."""
    detail = "the source did not say in time whether this was written; a repeat of it is safe"
    return Problem(Code.WRITE_UNCONFIRMED, where="source", detail=detail, facts={"reached": False})


def _soon(problem: Problem) -> dict[str, Any]:
    return {**problem.facts, "retry_after_s": 1}


def _no_record(write: Write) -> Fault:
    where = "path" if write.variables else "body"
    return bad(where, "there is no record of this key", Code.NOT_FOUND, 404)


def _as_json(convert: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        written = convert(value)
    except Mismatch as mismatch:
        detail = f"what the source returned as {name} breaks: {mismatch.rule}"
        raise Problem(Code.RESPONSE_SCHEMA_VIOLATION, where=f"/{name}", detail=detail) from mismatch
    if written is None or isinstance(written, str | int | bool | Decimal):
        return written
    return read_json(write_json(written))
