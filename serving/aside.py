"""Work that blocks and that nobody waits for at the end: in a thread that the process leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, from a daemon thread of its own.

    Unlike with :func:`asyncio.to_thread`, a stop does not wait for it: only for work that may be
    left undone, such as asking a host that hangs.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # what work returned

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # told to who waits
            error = raised
        with suppress(RuntimeError):  # of a loop that is closed, where nobody waits
            loop.call_soon_threadsafe(tell, result, error)

    Thread(target=run, name="saphan-aside", daemon=True).start()
    return await answer
