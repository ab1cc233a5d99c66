"""Ordering, lifting and ending of hidings: each is an entry of the journal before it takes effect.

Two orders at one time wait for each other. A crash after the entry and before the file leaves an
order that hides nothing, whose administrator got no answer; one of the end leaves an order whose
end is recorded again, and which hides nothing by then.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

import orjson
import structlog

from exchange.problems import Problem
from mediator.auditing.hidings import ENDED, LIFTED, ORDERED, Hidings, Order, parse_order
from mediator.message.records import Recorder
from serving.clock import Clock

LOOK_S: Final = 60.0
log = structlog.get_logger("mediator.auditing")


class Ordering:
    """What the administration orders, and the ends of orders."""

    def __init__(self, hidings: Hidings, recorder: Recorder, clock: Clock) -> None:
        self._hidings = hidings
        self._recorder = recorder
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    def describe(self) -> dict[str, Any]:
        """All orders that are remembered."""
        return {"hidings": [order.describe() for order in self._hidings.orders]}

    async def order(self, body: bytes) -> Order:
        """Take an order; recorded, durable and in force when this returns.

        Raises:
            Problem: ``InvalidDocument``, ``Conflict``, or what the journal says.
        """
        order = parse_order(body, self._clock.now().replace(microsecond=0))
        async with self._one_at_a_time:
            self._hidings.check_room()
            receipt = await self._record(ORDERED, order)
            order = replace(order, number=receipt)
            await asyncio.to_thread(self._hidings.keep, order)
        return order

    async def lift(self, number: int) -> Order:
        """End an order before its day.

        Raises:
            Problem: ``NotFound``, or what the journal says.
        """
        async with self._one_at_a_time:
            return await self._end(self._hidings.find(number), LIFTED)

    async def run(self) -> None:
        """Record the ends of orders until cancelled; what cannot be recorded now is so later."""
        while True:
            try:
                await self.end_due()
            except (Problem, OSError) as error:
                log.error("hiding_end_not_recorded", why=str(error))
            await asyncio.sleep(LOOK_S)

    async def end_due(self) -> None:
        """Record the ends of orders that ran out."""
        async with self._one_at_a_time:
            for order in self._hidings.due(self._clock.now()):
                await self._end(order, ENDED)

    async def _end(self, order: Order, event: str) -> Order:
        await self._record(event, order)
        at = self._clock.now().replace(microsecond=0)
        return await asyncio.to_thread(self._hidings.end, order, at)

    async def _record(self, event: str, order: Order) -> int:
        """The index of the entry; the order's text is in its sealed part."""
        return await self._recorder.order(event, orjson.dumps(order.describe()))
