"""Intake: group commit. The event loop makes the groups; one thread writes them.

While a group is written, the next one fills. When many exchanges run at once, a group waits a
moment for company (PostgreSQL's ``commit_delay`` with ``commit_siblings``), until half of them are
in it: a commit costs a few hundred microseconds of processor whatever it holds. A lone exchange
never waits. A group that is large enough to pay for its commit is handed over at once, so that the
loop works while the disk does: hundreds that wait for the same commit would all come back in the
same turn, and disk and loop would wait for each other in turns.

Invariants:
- a record is acknowledged only after its whole group was written and synced;
- at most one group is being written, so groups are durable in their order;
- a group succeeds or fails whole. When it fails, the segment is cut back to the last durable byte
  and nothing is accepted until a probe (at most one per ``probe_interval_s``) could be written,
  synced and taken back;
- the thread takes the interpreter's lock twice a group: when the group is handed over, and when it
  is durable. Whatever can be done on the loop is done there.

A segment is written ahead with zeros, a stretch at a time, together with the group that needs the
space (as PostgreSQL does with its log). A commit then overwrites blocks that the file has already,
and the disk need not also make a longer file durable: 165 instead of 420 microseconds on ext4.
What is still zero behind the last group is cut off when the journal closes or, after a crash, as a
torn tail.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.segments import Position
from serving.log.files import Files

_PROBE = bytes(4096)
_STRETCH = 1 << 20
_ZEROS = memoryview(bytes(_STRETCH))
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
KEPT_ENTRIES = 16_384
_ENOUGH = 128
"""Records that pay for a commit: no group waits for more of them."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """How large a segment and a group may become, how long a segment is written, and how often a
    sick disk is tried."""

    segment_bytes: int
    group_records: int
    group_bytes: int
    probe_interval_s: float
    gather_s: float = 0.0
    gather_siblings: int = 5
    segment_s: float = math.inf


@dataclass(slots=True)
class _Group:
    """Records that become durable together: their bytes, and who waits for each."""

    size: int = 0
    parts: list[bytes] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    waiters: list[asyncio.Future[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Committed:
    """The entries of a group that is durable, and where it ends."""

    first: int
    entries: list[bytes]
    end: Position


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
        committed: deque[Committed] | None = None,
    ) -> None:
        """``committed`` is given each group that is durable, so that publication need not read it
        back; the oldest are dropped when nobody takes them."""
        self.durable = start
        self._committed = deque[Committed]() if committed is None else committed
        self.problem: Problem | None = None
        self.pending = 0
        """How many records wait for the commit that runs now."""
        self.pending_bytes = 0
        self._directory = directory
        self._files = files
        self._limits = limits
        self._loop = loop
        self._siblings = siblings
        self._filling = _Group()
        self._full: deque[_Group] = deque()
        self._writing: _Group | None = None
        self._scheduled: asyncio.Handle | None = None
        self._wanted = 0  # how many records are company enough
        self._drained: asyncio.Event | None = None
        self._work: SimpleQueue[_Group | None] = SimpleQueue()
        self._descriptor: int | None = None
        self._open_segment = -1
        self._segment_ends = monotonic() + limits.segment_s
        self._dirty = False  # a failed group may still stand behind the last durable byte
        self._zeroed = 0  # up to here the open segment was written ahead
        self._next_probe = 0.0
        self._thread = threading.Thread(target=self._run, name="journal-intake", daemon=True)
        self._thread.start()

    # On the event loop

    def submit(self, entry: bytes, sealed: bytes) -> asyncio.Future[int]:
        """Queue a record; the future gives its index once it is durable."""
        group, limits = self._filling, self._limits
        size = segments.HEADER_SIZE + len(entry) + len(sealed)
        if len(group.waiters) >= limits.group_records or (
            group.size and group.size + size > limits.group_bytes
        ):
            self._full.append(group)
            group = self._filling = _Group()
        waiter: asyncio.Future[int] = self._loop.create_future()
        group.size += size
        group.parts += (segments.format_header(entry, sealed), entry, sealed)
        group.entries.append(entry)
        group.waiters.append(waiter)
        self.pending += 1
        self.pending_bytes += size
        if self._writing is None:
            company = len(group.waiters)
            if company >= _ENOUGH:
                self._hand_over()
            elif self._scheduled is None:
                self._schedule()
            elif company == self._wanted:
                self._scheduled.cancel()
                self._scheduled = self._loop.call_soon(self._hand_over)
        return waiter

    def _schedule(self) -> None:
        """Have a group handed over: at the end of this turn of the loop, or a moment later."""
        limits, loop = self._limits, self._loop
        siblings = self._siblings() if limits.gather_s and self._drained is None else 0
        if siblings < limits.gather_siblings or self._full:
            self._wanted = 0
            self._scheduled = loop.call_soon(self._hand_over)
        else:
            self._wanted = siblings // 2
            self._scheduled = loop.call_later(limits.gather_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._full:
            group = self._full.popleft()
        else:
            group, self._filling = self._filling, _Group()
        self.pending -= len(group.waiters)
        self._writing = group
        self._work.put(group)

    def _acknowledge(self, group: _Group, first: int) -> None:
        for index, waiter in enumerate(group.waiters, first):
            if not waiter.done():  # the one who waited may have been cancelled
                waiter.set_result(index)
        self._written(group)

    def _refuse(self, group: _Group, problem: Problem) -> None:
        for waiter in group.waiters:
            if not waiter.done():
                waiter.set_exception(renewed(problem))
        self._written(group)

    def _written(self, group: _Group) -> None:
        self._writing = None
        self.pending_bytes -= group.size
        if self.pending >= _ENOUGH:
            self._hand_over()
        elif self.pending:
            self._schedule()
        elif self._drained is not None:
            self._drained.set()

    def _give_up(self, problem: Problem) -> None:
        """The thread is gone: refuse everything that waits for it."""
        groups = [self._writing, *self._full, self._filling]
        self._full, self._filling, self.pending = deque(), _Group(), 0
        for group in groups:
            if group is not None and group.waiters:
                self._refuse(group, problem)

    async def close(self) -> None:
        """Write what waits, then end the thread; submit nothing afterwards."""
        self._drained = asyncio.Event()
        if self._writing is None and self.pending:
            self._hand_over()
        if self._writing is not None:
            await self._drained.wait()
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    # In the thread

    def _run(self) -> None:
        try:
            while True:
                timeout = None if self.problem is None else self._limits.probe_interval_s
                with contextlib.suppress(Empty):
                    group = self._work.get(timeout=timeout)
                    if group is None:
                        break
                    self._commit(group)
                if self.problem is not None and monotonic() >= self._next_probe:
                    self._probe()
        except Exception as error:
            # Not a disk that failed but a fault of ours: accept nothing any more.
            self.problem = Problem(
                Code.LOGGING_FAILED, where="journal", detail=f"the intake stopped: {error!r}"
            )
            self._tell(self._give_up, self.problem)
            raise
        finally:
            with contextlib.suppress(OSError):  # what stays behind is cut off at the next start
                self._leave_segment()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _commit(self, group: _Group) -> None:
        if self.problem is not None:
            self._tell(self._refuse, group, self.problem)
            return
        first = self.durable.index
        try:
            end = self._write(first, group)
        except OSError as error:
            self.problem = logging_failed(error, self._directory)
            self._next_probe = monotonic() + self._limits.probe_interval_s
            self._cut_back()
            self._tell(self._refuse, group, self.problem)
            return
        self._committed.append(Committed(first, group.entries, end))
        if end.segment != self.durable.segment:
            self._segment_ends = monotonic() + self._limits.segment_s
        self.durable = end
        self._tell(self._acknowledge, group, first)
        with contextlib.suppress(IndexError):  # publication took them meanwhile
            while end.index - self._committed[0].first > KEPT_ENTRIES:
                self._committed.popleft()

    def _write(self, first: int, group: _Group) -> Position:
        segment, offset = self.durable.segment, self.durable.offset
        if offset >= self._limits.segment_bytes or (offset and monotonic() > self._segment_ends):
            segment, offset = first, 0
        descriptor = self._open(segment)
        head = segments.HEADER if offset == 0 else b""
        count = len(group.waiters)
        data = b"".join((head, segments.format_mark(first, count), *group.parts))
        if self._dirty:
            self._truncate(descriptor, offset)
            self._dirty = False
        end = offset + len(data)
        if end <= self._zeroed:
            self._files.write_durably(descriptor, data, offset)
        else:
            self._zeroed = self._write_ahead(descriptor, data, offset, end)
        return Position(first + count, segment, end)

    def _write_ahead(self, descriptor: int, data: bytes, offset: int, end: int) -> int:
        """Write a group and zeros behind it; return where they end."""
        ahead = min((end // _STRETCH + 1) * _STRETCH, self._limits.segment_bytes)
        if end < ahead:
            try:
                self._files.write_durably(
                    descriptor, b"".join((data, _ZEROS[: ahead - end])), offset
                )
                return ahead
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                # The group itself may fit; it is written anew, whatever became of it just now.
        self._files.write_durably(descriptor, data, offset)
        return end

    def _open(self, segment: int) -> int:
        if self._descriptor is not None and self._open_segment == segment:
            return self._descriptor
        self._leave_segment()
        path = segments.path_of(self._directory, segment)
        descriptor = self._files.open(path)
        self._descriptor, self._open_segment, self._zeroed = descriptor, segment, 0
        self._files.sync_directory(self._directory)  # the name must last as long as the content
        return descriptor

    def _leave_segment(self) -> None:
        """Close the open segment; nothing stays behind its last group.

        Raises:
            OSError: it could not be cut off; the segment is still open.
        """
        descriptor = self._descriptor
        if descriptor is None:
            return
        end = self.durable.offset if self._open_segment == self.durable.segment else 0
        # Whether zeros were written ahead of it or not: when the disk was full, nobody knows how
        # many of them it took.
        self._truncate(descriptor, end)
        self._files.sync(descriptor)
        self._dirty = False
        os.close(descriptor)
        self._descriptor = None

    def _truncate(self, descriptor: int, size: int) -> None:
        self._files.truncate(descriptor, size)
        self._zeroed = size

    def _cut_back(self) -> None:
        """Undo what a failed group may have left behind the last durable byte."""
        if self._descriptor is None:
            return
        keep = self.durable.offset if self._open_segment == self.durable.segment else 0
        self._dirty = True
        with contextlib.suppress(OSError):
            self._truncate(self._descriptor, keep)
            self._dirty = False

    def _probe(self) -> None:
        """See whether the disk takes data again, and leave no trace of the trial."""
        self._next_probe = monotonic() + self._limits.probe_interval_s
        try:
            segment, offset = self.durable.segment, self.durable.offset
            descriptor = self._open(segment)
            self._truncate(descriptor, offset)
            self._files.write_durably(descriptor, _PROBE, offset)
            self._truncate(descriptor, offset)
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
        facts={"errno": name, "recorded": False},
    )


def renewed(problem: Problem) -> Problem:
    """The same problem as a fresh exception, so that tracebacks do not pile up on one."""
    return Problem(problem.code, where=problem.where, detail=problem.detail, facts=problem.facts)
