"""Starting and stopping a service process.

:func:`run` gives the main coroutine an event loop (uvloop) and a stop event that SIGTERM and
SIGINT set; a second signal ends the process at once. The coroutine owns the order of closing.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

log = structlog.get_logger("serving.runtime")


def allow_files(wanted: int) -> None:
    """See to it that this process may open so many files, as far as it is allowed to.

    When descriptors run out, it is not only clients that are turned away: the journal cannot
    begin its next file either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "few_files",
            allowed=allowed,
            wanted=wanted,
            remedy="raise the limit of open files (LimitNOFILE), or lower "
            "limits.listener_connections",
        )


def settle() -> None:
    """What lives now lives on: leave it out of garbage collection, and collect less often.

    A message makes hundreds of short-lived objects without cycles; scanning the whole process for
    each few hundred of them costs more than handling the message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``main(stop)`` until it returns; ``stop`` is set by SIGTERM or SIGINT."""

    async def start() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                raise SystemExit(130)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        await main(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(start())
