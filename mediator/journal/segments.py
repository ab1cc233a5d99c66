"""Segments: the append-only files of records, and how they are read back.

A segment is a 16-byte header, then groups. A group is what one commit wrote: a mark (magic, CRC-32,
index of its first record as uint64, number of records as uint32) and that many records. A record is
CRC-32, uint32 length of entry and sealed part, uint16 length of the entry, entry, sealed part; its
CRC covers everything after it. Numbers are big-endian. The file is named by the index of its first
record.

Invariants:
- a group counts whole or not at all: none of its records was acknowledged before all were durable;
- a broken group with a valid mark *after* it is damage, since the next group is written only once
  the one before is durable; a broken group with nothing after it is the torn tail of a crash.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from exchange.problems import Code, Problem

HEADER = b"saphan-segment\x01\n"
MAX_RECORD_SIZE = 1 << 30
MAX_GROUP_RECORDS = 1 << 20
_MAGIC = b"\x00GRP"
_MARK = struct.Struct(">4sIQI")
_MARK_BODY = struct.Struct(">QI")
_RECORD = struct.Struct(">IIH")
_LENGTHS = struct.Struct(">IH")
HEADER_SIZE = _RECORD.size
_CHUNK = 1 << 20
SUFFIX = ".seg"


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two groups."""

    index: int
    """How many records are before it."""
    segment: int
    """The index of the first record of the segment."""
    offset: int
    """The byte in the segment."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was committed."""

    index: int
    entry: bytes
    sealed: bytes
    offset: int
    """Where it begins in the segment."""


@dataclass(frozen=True, slots=True)
class Group:
    """A whole group, record by record in columns, and where it ends."""

    first: int
    entries: list[bytes]
    sealed: list[bytes]
    offsets: list[int]
    end: int

    @property
    def next(self) -> int:
        """The index of the record behind it."""
        return self.first + len(self.entries)

    def record(self, index: int) -> Record:
        at = index - self.first
        return Record(index, self.entries[at], self.sealed[at], self.offsets[at])


@dataclass(frozen=True, slots=True)
class Broken:
    """Where reading stopped before the end: a group that is not whole."""

    index: int
    """The first record that could not be read."""
    group: int
    """The index of the first record of its group."""
    offset: int
    """Where its group begins."""
    reason: str


def path_of(directory: Path, first: int) -> Path:
    """The file of the segment that begins with entry ``first``."""
    return directory / f"{first:020d}{SUFFIX}"


def segments_in(directory: Path) -> list[int]:
    """The first indexes of the segments of a directory, in order; other files are left alone."""
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        name = path.name.removesuffix(SUFFIX)
        if len(name) == 20 and name.isascii() and name.isdigit():
            found.append(int(name))
    return sorted(found)


def format_header(entry: bytes, sealed: bytes) -> bytes:
    """What stands in front of entry and sealed part in a record."""
    size = len(entry)
    lengths = _LENGTHS.pack(size + len(sealed), size)
    return crc32(sealed, crc32(entry, crc32(lengths))).to_bytes(4, "big") + lengths


def format_record(entry: bytes, sealed: bytes) -> bytes:
    """The bytes of one record."""
    return b"".join((format_header(entry, sealed), entry, sealed))


def format_mark(first: int, count: int) -> bytes:
    """The mark in front of a group."""
    return _MARK.pack(_MAGIC, crc32(_MARK_BODY.pack(first, count)), first, count)


def _parse_mark(data: bytes, at: int) -> tuple[int, int] | None:
    magic, crc, first, count = _MARK.unpack_from(data, at)
    if magic != _MAGIC or crc != crc32(data[at + 8 : at + _MARK.size]):
        return None
    return first, count


class _Window:
    """Bytes of a file from an offset on, read in chunks, dropped when they are behind."""

    def __init__(self, descriptor: int, offset: int, end: int) -> None:
        self._descriptor = descriptor
        self._end = end
        self.start = offset
        self.data = b""

    def need(self, offset: int, size: int) -> int | None:
        """Have ``size`` bytes at ``offset``; return where in ``data``, None past the end."""
        at = offset - self.start
        if at + size <= len(self.data):
            return at
        if offset + size > self._end:
            return None
        rest = self.data[at:]
        wanted = min(max(size, _CHUNK), self._end - offset) - len(rest)
        os.posix_fadvise(  # the disk reads the next chunk while this one is looked at
            self._descriptor, offset + len(rest) + wanted, _CHUNK, os.POSIX_FADV_WILLNEED
        )
        parts = [rest]
        place = offset + len(rest)
        while wanted > 0:
            chunk = os.pread(self._descriptor, wanted, place)
            if not chunk:
                return None
            parts.append(chunk)
            place += len(chunk)
            wanted -= len(chunk)
        self.start = offset
        self.data = b"".join(parts)
        return 0


def read_groups(
    path: Path, first: int, *, offset: int = 0, end: int | None = None, check: bool = True
) -> Iterator[Group | Broken]:
    """Read whole groups of a segment, from ``offset`` (0 or where a group ended) on.

    Args:
        path: the segment.
        first: index of the record expected at ``offset``.
        offset: where to begin; 0 is the beginning of the file.
        end: where to stop; the file's present size when None.
        check: check each record's CRC (not needed for what this process wrote just now).

    Yields:
        the groups, and, if the file does not end with a whole group, a :class:`Broken` at last.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if end is None:
            end = os.fstat(descriptor).st_size
        if end == 0:
            return
        window = _Window(descriptor, 0, end)
        if offset == 0:
            at = window.need(0, len(HEADER))
            if at is None or window.data[: len(HEADER)] != HEADER:
                yield Broken(first, first, 0, "the header of the segment is not whole")
                return
            offset = len(HEADER)
        while offset < end:
            group = _read_group(window, first, offset, check)
            yield group
            if isinstance(group, Broken):
                return
            first = group.next
            offset = group.end
    finally:
        os.close(descriptor)


def _read_group(window: _Window, first: int, start: int, check: bool) -> Group | Broken:
    at = window.need(start, _MARK.size)
    mark = None if at is None else _parse_mark(window.data, at)
    if mark is None:
        return Broken(first, first, start, "the mark of the group is not whole")
    if mark[0] != first or not 1 <= mark[1] <= MAX_GROUP_RECORDS:
        return Broken(first, first, start, f"the group says it begins at record {mark[0]}")
    entries: list[bytes] = []
    sealed: list[bytes] = []
    offsets: list[int] = []
    offset = start + _MARK.size
    header_size, unpack = _RECORD.size, _RECORD.unpack_from
    data, begun, end = window.data, window.start, len(window.data)
    for index in range(first, first + mark[1]):
        at = offset - begun
        if at + header_size > end:
            if window.need(offset, header_size) is None:
                return Broken(index, first, start, "the record is not whole")
            data, begun, end, at = window.data, window.start, len(window.data), 0
        crc, length, entry_length = unpack(data, at)
        size = header_size + length
        if at + size > end or entry_length > length:
            if not entry_length <= length <= MAX_RECORD_SIZE or window.need(offset, size) is None:
                return Broken(index, first, start, "the record is not whole")
            data, begun, end, at = window.data, window.start, len(window.data), 0
        behind = at + size
        if check and crc32(data[at + 4 : behind]) != crc:
            return Broken(index, first, start, "the checksum of the record is wrong")
        body = at + header_size
        middle = body + entry_length
        entries.append(data[body:middle])
        sealed.append(data[middle:behind])
        offsets.append(offset)
        offset += size
    return Group(first, entries, sealed, offsets, offset)


def next_mark(path: Path, after: int, index: int) -> tuple[int, int] | None:
    """Find a valid mark behind byte ``after`` of a group that begins later than record ``index``.

    Returns:
        its offset and the index of its first record, or None.
    """
    data = path.read_bytes()
    at = data.find(_MAGIC, after + 1)
    while at >= 0:
        mark = _parse_mark(data, at) if at + _MARK.size <= len(data) else None
        if mark is not None and mark[0] > index:
            return at, mark[0]
        at = data.find(_MAGIC, at + 1)
    return None


def find_end(directory: Path, first: int) -> tuple[Position, Broken | None]:
    """Where the last whole group of a segment ends, and what is torn behind it.

    Raises:
        Problem: ``JournalCorrupt`` when something whole was written behind what is broken.
    """
    path = path_of(directory, first)
    position = Position(first, first, 0)
    for group in read_groups(path, first):
        if isinstance(group, Broken):
            if next_mark(path, group.offset, group.group) is not None:
                raise Problem(
                    Code.JOURNAL_CORRUPT,
                    where=f"entry {group.index}, segments/{path.name}",
                    detail=f"{group.reason}, yet later records are whole: this is no torn tail",
                    facts={"index": group.index, "file": f"segments/{path.name}"},
                )
            return position, group
        position = Position(group.next, first, group.end)
    return position, None


def read_between(directory: Path, start: Position, end: Position) -> Iterator[Group]:
    """Read the groups that this process committed between two positions.

    Raises:
        Problem: ``JournalCorrupt`` when they cannot be read any more.
    """
    position = start
    while position.index < end.index:
        last = position.segment == end.segment
        path = path_of(directory, position.segment)
        for group in read_groups(
            path,
            position.index,
            offset=position.offset,
            end=end.offset if last else None,
            check=False,
        ):
            if isinstance(group, Broken):
                raise Problem(
                    Code.JOURNAL_CORRUPT,
                    where=f"entry {group.index}, segments/{path.name}",
                    detail=group.reason,
                    facts={"index": group.index, "file": f"segments/{path.name}"},
                )
            yield group
            position = Position(group.next, position.segment, group.end)
        if not last:
            position = Position(position.index, position.index, 0)


def behind(group: Group, position: Position) -> Position:
    """The place behind a group that :func:`read_between` gave for ``position`` or later."""
    segment = position.segment if group.offsets[0] > len(HEADER) + _MARK.size else group.first
    return Position(group.next, segment, group.end)


def find_record(directory: Path, index: int) -> Record | None:
    """Read one record, or None when no segment has it whole."""
    firsts = [first for first in segments_in(directory) if first <= index]
    if not firsts:
        return None
    for group in read_groups(path_of(directory, firsts[-1]), firsts[-1]):
        if isinstance(group, Broken):
            return None
        if group.next > index:
            return group.record(index)
    return None
