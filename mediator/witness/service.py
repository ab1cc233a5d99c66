"""The witness's face: add-checkpoint, and the last checkpoint of each log (C2SP tlog-witness v1).

The same on the listener for other servers, where TLS says who asks, and on one for anybody (a
server's ``listen.witness``, ``saphan witness``), where nobody is known: a checkpoint's own
signature is all that is asked for, and strangers may ask only so often
(:mod:`mediator.witness.visitors`).

A log that contradicts itself is not cosigned, whoever shows it, and the proof of it is kept. What
only the log's own server can be blamed for (it could not show growth, it came with less than it had
signed) is kept when TLS says that it was that server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Final, TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import ServerId
from exchange.log.checkpoint import Checkpoint
from exchange.log.cosignature import cosign
from exchange.log.notes import COSIGNATURE_ED25519, Note, VerifierKey
from exchange.log.witness import (
    MAX_SUBMISSION_BYTES,
    SIZE_TYPE,
    Logs,
    Submission,
    format_size,
    open_submission,
    origin_hash,
    parse_submission,
    proves_fork,
)
from exchange.problems import Code, Problem
from mediator.own_keys import origin_of
from mediator.witness.misbehaviour import Misbehaviour, Misbehaviours, Misdeed, moment
from mediator.witness.state import Known, WitnessState
from mediator.witness.visitors import Visitors
from serving import replies
from serving.api import problem_reply, text_reply
from serving.clock import Clock
from serving.requests import Reply, Request

PREFIX: Final = "/witness/"
MAX_WAITING: Final = 64
MAX_CONNECTIONS: Final = 256
"""Of strangers, on a listener for them."""
_READ_S: Final = 10.0
_CHECKPOINT: Final = "/checkpoint"
log = structlog.get_logger("mediator.witness")
T = TypeVar("T")

OnMisbehaviour = Callable[[Misbehaviour], Awaitable[None]]


class Witness:
    """Cosigns what grew, refuses the rest, and keeps the proof of what cannot be."""

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        state: WitnessState,
        logs: Callable[[], Logs],
        kept: Misbehaviours,
        clock: Clock,
        on_misbehaviour: OnMisbehaviour | None = None,
        accepted: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        """Args:
        name: of the key.
        accepted: the head of the registry's log that this server accepted, which it tells of, too.
        logs: the logs that are witnessed now.
        on_misbehaviour: is told of each new proof, once it is kept.
        """
        self.name = name
        self.key = VerifierKey.of(name, key.public_key(), COSIGNATURE_ED25519)
        self.kept = kept
        self.cosigned = 0
        self.refused = 0
        self._signing = key
        self._state = state
        self._logs = logs
        self._clock = clock
        self._on_misbehaviour = on_misbehaviour
        self._accepted = accepted
        self._behind: dict[str, int] = {}
        self._inside = 0
        self.visitors = Visitors()

    async def handle(self, request: Request, peer: ServerId | None = None) -> Reply:
        """Answer one request below :data:`PREFIX`; ``peer`` is the server that TLS shows."""
        try:
            return await self._answer(request, peer)
        except Problem as problem:
            self.refused += 1
            log.info("witness_refused", status=problem.status, why=str(problem), peer=str(peer))
            if problem.status == 409 and "size" in problem.facts:
                size = problem.facts["size"]
                return Reply(409, (("content-type", SIZE_TYPE),), format_size(int(str(size))))
            return problem_reply(problem)
        except Exception:
            log.exception("witness_failed", target=request.target[:200])
            return problem_reply(replies.internal())

    async def _answer(self, request: Request, peer: ServerId | None) -> Reply:
        if request.fault is not None:
            raise request.fault
        if peer is None:
            self.visitors.enter(request.remote, monotonic())
        method, path = request.method, request.target.removeprefix(PREFIX)
        if path == "add-checkpoint":
            if method != "POST":
                raise _method_not_allowed("POST")
            data = await request.read(MAX_SUBMISSION_BYTES, _READ_S)
            return await self._add(parse_submission(data), peer)
        name, separator, rest = path.partition("/")
        if f"{separator}{rest}" == _CHECKPOINT:
            if method not in ("GET", "HEAD"):
                raise _method_not_allowed("GET")
            return await self._show(name)
        raise Problem(
            Code.NOT_FOUND,
            where="path",
            detail=f"{PREFIX}add-checkpoint and {PREFIX}(hex SHA-256 of an origin)/checkpoint",
        )

    async def _add(self, submission: Submission, peer: ServerId | None) -> Reply:
        logs = self._logs()
        checkpoint = open_submission(submission, logs)
        # What is kept of it was verified: a line of another key may be anything, and that key may
        # become the log's one day.
        submission = replace(submission, note=_signed_by(submission.note, logs[checkpoint.origin]))
        at = int(self._clock.unix())
        try:
            judged = await self._in_thread(partial(self._state.judge, submission, checkpoint, at))
        except OSError as error:
            raise _no_memory(error) from error
        if judged.before is not None:
            await self._look(submission, checkpoint, judged.before, judged.refusal, peer)
        if judged.refusal is not None:
            raise judged.refusal
        self.cosigned += 1
        return text_reply(self._cosignature(submission.note, at).encode())

    async def _show(self, hashed: str) -> Reply:
        accepted = self._accepted()
        if accepted is not None and origin_hash(accepted.split(b"\n")[0].decode()) == hashed:
            return text_reply(accepted)  # servers compare what they accepted, cosigned here or not
        for origin in self._logs():
            if origin_hash(origin) == hashed:
                try:
                    known = await self._in_thread(partial(self._state.known, origin))
                except OSError as error:
                    raise _no_memory(error) from error
                if known is not None:
                    return text_reply(self._shown(known))
        raise Problem(
            Code.NOT_FOUND, where="log", detail="no checkpoint of such a log was cosigned here"
        )

    def _shown(self, known: Known) -> bytes:
        """The checkpoint with the log's signatures that were verified and the own cosignature.

        A line of a key that the log has replaced since stays: it was verified when it came, and
        whoever does not know the key passes it over (C2SP signed-note).
        """
        return bytes(known.note) + self._cosignature(known.note, known.at).encode()

    def _cosignature(self, note: Note, at: int) -> str:
        return str(cosign(note.text, self.name, self._signing, at))

    async def _look(
        self,
        submission: Submission,
        shown: Checkpoint,
        before: Known,
        refusal: Problem | None,
        peer: ServerId | None,
    ) -> None:
        """Keep the proof when this is misbehaviour."""
        known = before.checkpoint
        its_own = peer is not None and origin_of(peer) == shown.origin
        misdeed = None
        if proves_fork(known, shown, submission.old_size, submission.proof):
            misdeed = Misdeed.FORK
        elif refusal is not None and refusal.status == 422 and its_own:
            misdeed = Misdeed.INCONSISTENT
        elif shown.size < known.size and its_own:
            # One such request may be a late one that a newer one overtook; a second one is not:
            # the answer to the first told what this log has signed.
            if self._behind.get(shown.origin) == known.size:
                misdeed = Misdeed.ROLLBACK
            self._behind[shown.origin] = known.size
        elif refusal is None:
            self._behind.pop(shown.origin, None)
        if misdeed is not None:
            await self.report(
                Misbehaviour(
                    misdeed,
                    shown.origin,
                    tuple(str(key) for key in self._logs().get(shown.origin, ())),
                    moment(self._clock.now()),
                    self.name,
                    None if peer is None else str(peer),
                    bytes(before.note),
                    bytes(submission.note),
                    submission.old_size,
                    submission.proof,
                )
            )

    async def report(self, found: Misbehaviour) -> None:
        """Keep a proof, and tell of it when it is new."""
        try:
            new = await asyncio.to_thread(self.kept.keep, found)
        except OSError as error:
            log.error("misbehaviour_not_kept", origin=found.origin, why=str(error))
            return
        if new:
            log.error("misbehaviour", **found.problem.facts)
            if self._on_misbehaviour is not None:
                with suppress(Problem):  # the journal may be unable to record now; the file stays
                    await self._on_misbehaviour(found)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._inside >= MAX_WAITING:
            raise Problem(
                Code.OVERLOADED,
                where="witness",
                detail=f"{MAX_WAITING} requests are under way",
                facts={"retry_after_s": 1},
            )
        self._inside += 1
        try:
            return await asyncio.to_thread(work)
        finally:
            self._inside -= 1


def _signed_by(note: Note, keys: Sequence[VerifierKey]) -> Note:
    """A note with the signatures of these keys alone."""
    lines = (line for line in note.signatures if any(line.is_by(key) for key in keys))
    return Note(note.text, tuple(lines))


def _no_memory(error: OSError) -> Problem:
    return Problem(
        Code.LOGGING_FAILED,
        where="witness",
        detail=f"what was cosigned cannot be stored: {error}",
        status=503,
    )


def _method_not_allowed(method: str) -> Problem:
    return Problem(
        Code.INVALID_REQUEST,
        where="method",
        detail=f"takes {method}",
        facts={"methods": [method]},
        status=405,
    )
