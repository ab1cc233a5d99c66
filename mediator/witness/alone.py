"""A witness that runs alone: for an auditor, who need not be a member of an instance.

It serves the same face as a security server's, below ``/witness/``, and ``/healthz``. Anybody who
can reach it may ask: what is cosigned rests on the logs' own signatures, and the work that a
stranger can cause is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey
from exchange.log.witness import MAX_SUBMISSION_BYTES, Logs
from exchange.problems import Code, Problem, Side
from mediator.own_keys import WITNESS_KEY, log_key
from mediator.witness.known import logs_of, read_policy
from mediator.witness.misbehaviour import FOLDER, Misbehaviours
from mediator.witness.service import MAX_CONNECTIONS, PREFIX, Witness
from mediator.witness.settings import LoneWitnessSettings
from mediator.witness.state import FILE, WitnessState
from serving import tls
from serving.api import json_reply, problem_reply
from serving.clock import Clock, SystemClock
from serving.listener import Listener, listen
from serving.requests import Reply, Request

_DRAIN_S: Final = 2.0
log = structlog.get_logger("mediator.witness")


@dataclass(frozen=True, slots=True)
class LoneWitness:
    """A running witness."""

    listener: Listener
    witness: Witness


def verifier_key(settings: LoneWitnessSettings) -> VerifierKey:
    """The key under which it cosigns, made when there is none yet.

    Raises:
        Problem: ``InvalidNote`` for a name that no key can have, ``InvalidSettings``.
    """
    settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = log_key(settings.directory / WITNESS_KEY).public_key()
    return VerifierKey.of(settings.name, public, COSIGNATURE_ED25519)


def witnessed_logs(settings: LoneWitnessSettings) -> Logs:
    """The logs of its settings.

    Raises:
        Problem: ``InvalidSettings`` when there is none, or what is named is none.
    """
    keys = list(settings.logs)
    if settings.policy is not None:
        keys += [str(party.key) for party in read_policy(settings.policy, "policy").logs]
    if not keys:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="logs",
            detail="no log is named: give `logs`, or a policy with log lines",
        )
    return logs_of(dict.fromkeys(keys), "logs")


@asynccontextmanager
async def open_lone(
    settings: LoneWitnessSettings, clock: Clock | None = None
) -> AsyncIterator[LoneWitness]:
    """Start it; leaving the context stops it.

    Raises:
        Problem: ``InvalidSettings`` or what its key or memory says: nothing is left running.
    """
    async with AsyncExitStack() as stack:
        name = verifier_key(settings).name
        logs = witnessed_logs(settings)
        directory = settings.directory
        state = await asyncio.to_thread(WitnessState, directory / FILE)
        stack.callback(state.close)
        witness = Witness(
            name,
            log_key(directory / WITNESS_KEY),
            state,
            lambda: logs,
            Misbehaviours(directory / FOLDER),
            clock or SystemClock(),
        )
        context = None
        if settings.tls is not None:
            context = tls.application_context(
                settings.tls.certificate, settings.tls.key, (), (), lambda error: None
            )

        async def handle(request: Request) -> Reply:
            if request.target.startswith(PREFIX):
                return await witness.handle(request)
            if request.target == "/healthz" and request.method in ("GET", "HEAD"):
                return json_reply(200, _health(witness, logs))
            return problem_reply(
                Problem(Code.NOT_FOUND, where="path", detail=f"see {PREFIX} and /healthz")
            )

        listener = await listen(
            handle,
            settings.listen,
            where="listen",
            side=Side.PROVIDER,
            context=context,
            drain_s=_DRAIN_S,
            max_head_bytes=16 * 1024,
            max_connections=MAX_CONNECTIONS,
        )
        stack.push_async_callback(listener.stop)
        yield LoneWitness(listener, witness)


async def serve_lone(settings: LoneWitnessSettings, stop: asyncio.Event) -> None:
    """Run a witness until ``stop`` is set."""
    async with open_lone(settings) as running:
        log.info(
            "ready",
            witness=str(running.witness.key),
            submission_prefix=running.listener.url + PREFIX.rstrip("/"),
            max_bytes=MAX_SUBMISSION_BYTES,
        )
        await stop.wait()
        log.info("stopping", witness=settings.name)


def _health(witness: Witness, logs: Logs) -> dict[str, object]:
    return {
        "status": "ok",
        "witness": str(witness.key),
        "logs": len(logs),
        "cosigned": witness.cosigned,
        "refused": witness.refused,
        "misbehaviour": witness.kept.count,
    }
