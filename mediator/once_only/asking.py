"""Asking: all exchanges of an evidence request at the same time, each with its own bound.

Invariants:
- each is an exchange like any other: it enters the gate, takes its places, is signed, recorded
  before it is sent, and its answer is recorded before it is told;
- whatever happens to one (slow, failing, refused, a fault of ours) is a reason for its own elements
  and leaves the others alone; none waits for its source longer than the request's ``wait_s``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from exchange.problems import Code, Problem
from exchange.trust.state import RegistryState
from mediator.administration.metrics import Metrics
from mediator.agreements.terms import CallBounds
from mediator.consumer.path import Consumer
from mediator.message.gate import Gate
from mediator.message.places import Bound, Places
from mediator.message.stages import Call, OpenedAnswer
from mediator.once_only.answers import Schemas, none_of, outcomes_of, refused
from mediator.once_only.asks import Ask, asks_of, call_of, target_of
from mediator.once_only.values import Answered, Given, Outcome, Wanted
from serving import replies
from serving.bodies import Room
from serving.clock import Clock

log = structlog.get_logger("mediator.once_only")


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes the exchanges; built once by mediator/listening.py."""

    consumer: Consumer
    state: Callable[[], RegistryState]
    gate: Gate
    places: Places
    bounds: CallBounds
    metrics: Metrics
    clock: Clock

    async def __call__(self, wanted: Wanted, schemas: Schemas, room: Room) -> Answered:
        """Ask every source; never fails as a whole."""
        deadline = asyncio.get_running_loop().time() + wanted.wait_s
        asks = asks_of(wanted)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(wanted, f"{number}", ask, schemas, room, deadline))
                for number, ask in enumerate(asks, 1)
            ]
        found = {one.element.id: one for task in tasks for one in task.result()}
        outcomes = tuple(found[element.id] for element in wanted.elements)
        for one in outcomes:
            self.metrics.evidence("given" if isinstance(one, Given) else one.reason.value)
        return Answered(wanted, self.clock.now(), outcomes)

    async def _ask(
        self, wanted: Wanted, number: str, ask: Ask, schemas: Schemas, room: Room, deadline: float
    ) -> list[Outcome]:
        """One place; a field that is not released is left out, and the others are asked for."""
        refusals: list[Outcome] = []
        again = 0
        while True:
            outcomes, field = await self._once(wanted, number, ask, schemas, room, deadline)
            rest, out = ask.without(field) if field else (ask, ())
            if not out or not rest.elements:
                return [*refusals, *outcomes]
            refusals += [one for one in outcomes if one.element in out]
            again += 1
            ask, number = rest, f"{number.partition('-')[0]}-{again}"

    async def _once(
        self, wanted: Wanted, number: str, ask: Ask, schemas: Schemas, room: Room, deadline: float
    ) -> tuple[list[Outcome], str]:
        """One exchange: its outcomes, and the field that the provider would not release."""
        call: Call | None = None
        started = self.metrics.start()
        try:
            state = self.state()
            contract = await self.consumer.contracts.get(state, ask.service)
            call = call_of(wanted, number, target_of(ask, contract), room)
            opened = await self._exchange(call, deadline)
            outcomes, refusal = outcomes_of(ask, opened, schemas), refused(opened)
        except Problem as problem:
            self.metrics.refused("consumer", problem, started)
            return none_of(ask, problem, call), ""
        except Exception as error:
            log.exception("ask_failed", service=str(ask.service), exc_info=error)
            return none_of(ask, replies.internal(), call), ""
        self.metrics.done("consumer", opened.answered.head.status, started)
        if refusal is not None and refusal.code is Code.FIELD_NOT_RELEASED:
            return outcomes, str(refusal.facts.get("field", ""))
        return outcomes, ""

    async def _exchange(self, call: Call, deadline: float) -> OpenedAnswer:
        with self.gate, self.places.holder() as held:
            try:
                held.take(Bound(f"application {call.client}", self.bounds.share, "limits.share"))
                held.take(self.bounds.calls_to(call.service))
                left_s = _left(call, deadline)
            except Problem as problem:
                await self.consumer.recorder.refused_call(call, problem)
                raise
            return await self.consumer.opened(call, left_s)


def _left(call: Call, deadline: float) -> float:
    left_s = deadline - asyncio.get_running_loop().time()
    if left_s <= 0:
        raise Problem(
            Code.PEER_TIMEOUT, where=str(call.service), detail="no time is left to ask it"
        )
    return left_s
