"""Units of work, spread over processes: what verification hashes does not fit one core.

Results come in the order of the units, whatever process was first, so that a verdict does not
depend on how many there are. Only a few units are ahead at a time: memory stays flat however long
the log is.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from typing import TypeVar

_AHEAD = 2  # units that wait for each process

_Unit = TypeVar("_Unit")
_Result = TypeVar("_Result")


def usable_processes() -> int:
    """How many processes this one may keep busy."""
    return len(os.sched_getaffinity(0))


class Workers(AbstractContextManager["Workers"]):
    """Some processes, begun when there is more than one unit for them; or this process alone."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def run(
        self, function: Callable[[_Unit], _Result], units: Sequence[_Unit]
    ) -> Iterator[_Result]:
        """The results of all units, in order. Function, units and results must be picklable.

        Raises:
            BrokenProcessPool: a process was ended from outside.
        """
        if self._processes < 2 or len(units) < 2:
            yield from map(function, units)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=get_context("spawn"), initializer=_leave_interrupts
            )
        waiting: deque[Future[_Result]] = deque()
        for unit in units:
            waiting.append(self._pool.submit(function, unit))
            if len(waiting) >= self._processes * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _leave_interrupts() -> None:
    """The process that began us is interrupted at the keyboard, and ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
