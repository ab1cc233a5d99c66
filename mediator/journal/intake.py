"""Intake: group commit. One thread; what arrived while a commit ran is the next group.

When many exchanges run at once, a group waits a moment for company (PostgreSQL's ``commit_delay``
with ``commit_siblings``): a commit costs a few hundred microseconds of processor whatever it holds.
A lone exchange never waits.

Invariants:
- a record is acknowledged only after one ``write`` and one ``fdatasync`` of its whole group;
- a group succeeds or fails whole. When it fails, the segment is cut back to the last durable byte
  and nothing is accepted until a probe (at most one per ``probe_interval_s``) could be written,
  synced and taken back;
- the thread speaks to the event loop once per group.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import TypeAlias

from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.files import Files
from mediator.journal.segments import Position

_PROBE = bytes(4096)

Pending: TypeAlias = "tuple[bytes, asyncio.Future[int]]"


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """How large a segment and a group may become, and how often a sick disk is tried."""

    segment_bytes: int
    group_records: int
    group_bytes: int
    probe_interval_s: float
    gather_s: float = 0.0
    gather_siblings: int = 5


class Intake:
    """Takes records from the event loop and makes them durable in their order."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        start: Position,
        limits: GroupLimits,
        loop: asyncio.AbstractEventLoop,
        siblings: Callable[[], int] = lambda: 0,
    ) -> None:
        self.durable = start
        self.problem: Problem | None = None
        self.pending_bytes = 0
        self._directory = directory
        self._files = files
        self._limits = limits
        self._loop = loop
        self._siblings = siblings
        self._waiting: deque[Pending] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._wake_scheduled = False
        self._closing = False
        self._descriptor: int | None = None
        self._open_segment = -1
        self._dirty = False  # a failed group may still stand behind the last durable byte
        self._next_probe = 0.0
        self._thread = threading.Thread(target=self._run, name="journal-intake", daemon=True)
        self._thread.start()

    # On the event loop

    def submit(self, record: bytes) -> asyncio.Future[int]:
        """Queue a record; the future gives its index once it is durable."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((record, future))
        self.pending_bytes += len(record)
        if not self._wake_scheduled:
            # At the end of this turn of the loop: what the turn brings goes into one group.
            self._wake_scheduled = True
            self._loop.call_soon(self._wake_up)
        return future

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def _wake_up(self) -> None:
        self._wake_scheduled = False
        self._wake.put(None)

    def _acknowledge(self, group: list[Pending], first: int) -> None:
        taken = 0
        for record, future in group:
            taken += len(record)
            if not future.done():  # the one who waited may have been cancelled
                future.set_result(first)
            first += 1
        self.pending_bytes -= taken

    def _refuse(self, group: list[Pending], problem: Problem) -> None:
        for record, future in group:
            self.pending_bytes -= len(record)
            if not future.done():
                future.set_exception(renewed(problem))

    def close(self) -> None:
        """Write what waits, then end the thread. Blocks; submit nothing afterwards."""
        self._closing = True
        self._wake.put(None)
        self._thread.join()

    # In the thread

    def _run(self) -> None:
        try:
            while True:
                timeout = None if self.problem is None else self._limits.probe_interval_s
                with contextlib.suppress(Empty):
                    self._wake.get(timeout=timeout)
                while self._waiting:
                    self._gather()
                    self._commit(self._take_group())
                if self._closing:
                    break
                if self.problem is not None and monotonic() >= self._next_probe:
                    self._probe()
        except Exception as error:
            # Not a disk that failed but a fault of ours: accept nothing any more.
            self.problem = Problem(
                Code.LOGGING_FAILED, where="journal", detail=f"the intake stopped: {error!r}"
            )
            self._tell(self._refuse, list(self._waiting), self.problem)
            raise
        finally:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _gather(self) -> None:
        """Wait for company where company is likely."""
        limits = self._limits
        if limits.gather_s and not self._closing and self._siblings() >= limits.gather_siblings:
            sleep(limits.gather_s)

    def _take_group(self) -> list[Pending]:
        waiting, limits = self._waiting, self._limits
        count = min(len(waiting), limits.group_records)
        group = [waiting.popleft()]
        size = len(group[0][0])
        while len(group) < count and size + len(waiting[0][0]) <= limits.group_bytes:
            group.append(waiting.popleft())
            size += len(group[-1][0])
        return group

    def _commit(self, group: list[Pending]) -> None:
        if self.problem is not None:
            self._tell(self._refuse, group, self.problem)
            return
        first = self.durable.index
        try:
            end = self._write(first, [record for record, _ in group])
        except OSError as error:
            self.problem = logging_failed(error, self._directory)
            self._next_probe = monotonic() + self._limits.probe_interval_s
            self._cut_back()
            self._tell(self._refuse, group, self.problem)
            return
        self.durable = end
        self._tell(self._acknowledge, group, first)

    def _write(self, first: int, records: list[bytes]) -> Position:
        segment, offset = self.durable.segment, self.durable.offset
        if offset >= self._limits.segment_bytes:
            segment, offset = first, 0
        descriptor = self._open(segment)
        head = segments.HEADER if offset == 0 else b""
        data = b"".join((head, segments.format_mark(first, len(records)), *records))
        if self._dirty:
            self._files.truncate(descriptor, offset)
            self._dirty = False
        self._files.write(descriptor, data, offset)
        self._files.sync(descriptor)
        return Position(first + len(records), segment, offset + len(data))

    def _open(self, segment: int) -> int:
        if self._descriptor is not None and self._open_segment == segment:
            return self._descriptor
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        path = segments.path_of(self._directory, segment)
        descriptor = self._files.open(path)
        self._descriptor, self._open_segment = descriptor, segment
        self._files.sync_directory(self._directory)  # the name must last as long as the content
        return descriptor

    def _cut_back(self) -> None:
        """Undo what a failed group may have left behind the last durable byte."""
        if self._descriptor is None:
            return
        keep = self.durable.offset if self._open_segment == self.durable.segment else 0
        self._dirty = True
        with contextlib.suppress(OSError):
            self._files.truncate(self._descriptor, keep)
            self._dirty = False

    def _probe(self) -> None:
        """See whether the disk takes data again, and leave no trace of the trial."""
        self._next_probe = monotonic() + self._limits.probe_interval_s
        try:
            segment, offset = self.durable.segment, self.durable.offset
            descriptor = self._open(segment)
            self._files.truncate(descriptor, offset)
            self._files.write(descriptor, _PROBE, offset)
            self._files.sync(descriptor)
            self._files.truncate(descriptor, offset)
        except OSError as error:
            self.problem = logging_failed(error, self._directory)
            self._cut_back()
            return
        self.problem = None

    def _tell(self, function: object, *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            # The loop went away without close(): nobody is left who could be told.


def logging_failed(error: OSError, directory: Path) -> Problem:
    """What a failed write means for whoever wanted something recorded."""
    name = errno.errorcode.get(error.errno or 0, "?")
    return Problem(
        Code.LOGGING_FAILED,
        where=str(directory),
        detail=f"the journal cannot be written: {error.strerror or error} ({name})",
        facts={"errno": name},
    )


def renewed(problem: Problem) -> Problem:
    """The same problem as a fresh exception, so that tracebacks do not pile up on one."""
    return Problem(problem.code, where=problem.where, detail=problem.detail, facts=problem.facts)
