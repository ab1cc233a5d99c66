"""The gate in front of the exchanges."""

from __future__ import annotations

import asyncio

import pytest

from exchange.problems import Code, Problem
from mediator.message.gate import Gate


async def test_more_than_the_limit_is_an_honest_503() -> None:
    """Above the limit there is no queue but a refusal that says when to come again."""
    gate = Gate(1)
    with gate, pytest.raises(Problem) as caught, gate:
        pass
    assert caught.value.code is Code.OVERLOADED
    assert caught.value.facts["retry_after_s"] == 1
    with gate:
        assert gate.inside == 1


async def test_a_closed_gate_drains_what_is_inside() -> None:
    """After closing nothing enters; draining waits for what runs, and no longer than allowed."""
    gate = Gate(10)
    leave = asyncio.Event()

    async def exchange() -> None:
        with gate:
            await leave.wait()

    task = asyncio.create_task(exchange())
    await asyncio.sleep(0)
    gate.close()
    with pytest.raises(Problem) as caught, gate:
        pass
    assert caught.value.code is Code.SHUTTING_DOWN
    assert not await gate.drained(0.01)
    leave.set()
    assert await gate.drained(5)
    await task
