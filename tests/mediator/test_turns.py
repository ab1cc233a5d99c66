"""Turns: a few messages a turn of the loop, first come, first served."""

from __future__ import annotations

import asyncio

from mediator.message.turns import Turns


async def turn_of_each(turns: Turns, count: int) -> list[int]:
    """In which turn of the loop each of ``count`` messages that come at once goes on."""
    loop = asyncio.get_running_loop()
    turn, going = 0, True
    found: dict[int, int] = {}

    def tick() -> None:
        nonlocal turn
        turn += 1
        if going:
            loop.call_soon(tick)

    async def message(number: int) -> None:
        await turns.next()
        found[number] = turn

    loop.call_soon(tick)
    await asyncio.gather(*(message(number) for number in range(count)))
    going = False
    return [found[number] for number in range(count)]


async def test_a_lone_message_goes_on_at_once() -> None:
    """Where fewer come than a turn has places, nobody gives way to the loop."""
    turns = Turns(2)
    for _ in range(2):
        step = turns.next()
        try:
            step.send(None)
        except StopIteration:
            continue
        raise AssertionError("it waited")


async def test_a_burst_is_spread_over_turns_in_its_order() -> None:
    """Ten at once, three a turn: 3, 3, 3, 1, in the order in which they came."""
    found = await turn_of_each(Turns(3), 10)
    assert found == sorted(found)
    sizes = [found.count(turn) for turn in sorted(set(found))]
    assert sizes == [3, 3, 3, 1]


async def test_who_comes_later_does_not_overtake() -> None:
    """While some wait, a newcomer waits behind them, also when a turn has just begun."""
    turns, order = Turns(1), list[str]()

    async def message(name: str) -> None:
        await turns.next()
        order.append(name)

    tasks = [asyncio.create_task(message(name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(message("d")))
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c", "d"]


async def test_a_cancelled_waiter_takes_no_place() -> None:
    """The places of those who gave up go to who waits behind them."""
    turns, order = Turns(1), list[int]()

    async def message(number: int) -> None:
        await turns.next()
        order.append(number)

    tasks = [asyncio.create_task(message(number)) for number in range(6)]
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 4, 5]
    await asyncio.wait_for(turns.next(), 1)
