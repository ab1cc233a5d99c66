"""Bodies of messages: short ones are ``bytes``, longer ones lie in a file without a name.

Store and forward: a body is whole, with its digest, before anything is done with it. Up to
:data:`IN_MEMORY_BYTES` it stays in memory and touches no disk; a longer one is *spooled*: written
and read in pieces, by threads, so that neither memory nor the event loop feels its length.

Invariants:
- a spooled body has no name in the file system from the moment it exists (``O_TMPFILE``): it ends
  with its :class:`Room`, and with the process at the latest, whatever happens;
- every exchange has one :class:`Room`, and every byte that it keeps of bodies is counted there;
  all rooms together keep to the bounds of their :class:`Spools`: what does not fit is refused with
  ``ServerOverloaded`` before it is taken;
- whoever is known by name (:meth:`Room.belongs_to`) has at most ``share`` of either bound, with all
  its exchanges together: nobody fills memory or disk for everybody else;
- everything but the threads' own jobs (:mod:`serving.spool_files`) happens on the event loop's
  thread.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from exchange.problems import Code, Problem
from serving import spool_files
from serving.spool_files import PIECE_BYTES as PIECE_BYTES
from serving.spool_files import SpoolFile

IN_MEMORY_BYTES: Final = 1024 * 1024
"""The longest body that is kept in memory."""
_RETRY_AFTER_S: Final = 2
_THREADS: Final = 4
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_T = TypeVar("_T")
log = structlog.get_logger("serving.bodies")


class Spooled:
    """A long body: its length, its SHA-256, and the way to its bytes.

    Belongs to a :class:`Room`; after the room's end it can no longer be read.
    """

    __slots__ = ("_file", "room", "sha256", "size", "took_s")

    def __init__(
        self, room: Room, file: SpoolFile, size: int, digest: bytes, took_s: float = 0.0
    ) -> None:
        self.room = room
        self.took_s = took_s
        """Seconds from its beginning to its end."""
        self._file: SpoolFile | None = file
        self.size = size
        self.sha256 = digest

    def __len__(self) -> int:
        return self.size

    async def read(self, offset: int, size: int) -> bytes:
        """A piece; shorter only at the end of the body.

        Raises:
            Problem: ``ServerOverloaded`` when the disk does not give back what was written to it.
        """
        file, size = self._opened(), min(size, self.size - offset)
        try:
            return await self.room.spools.in_thread(lambda: spool_files.read(file, offset, size))
        except OSError as error:
            raise self.room.spools.failed(error) from error

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes in order, read as they are asked for.

        Raises:
            Problem: as :meth:`read`.
        """
        offset = 0
        while offset < self.size:
            piece = await self.read(offset, PIECE_BYTES)
            offset += len(piece)
            yield piece

    async def load(self) -> bytes:
        """All bytes: for a caller who has bounded ``size`` and found memory for it.

        Raises:
            Problem: as :meth:`read`.
        """
        return await self.read(0, self.size)

    async def digest(self, algorithm: str) -> bytes:
        """The digest with another algorithm of :mod:`hashlib`; reads the whole file.

        Raises:
            Problem: as :meth:`read`.
        """
        file, size = self._opened(), self.size
        try:
            return await self.room.spools.in_thread(
                lambda: spool_files.digest(file, size, algorithm)
            )
        except OSError as error:
            raise self.room.spools.failed(error) from error

    def close(self) -> None:
        """Let the file go; idempotent."""
        self._file = None

    def _opened(self) -> SpoolFile:
        if self._file is None:
            raise ValueError("the exchange of this body has ended")
        return self._file


Body: TypeAlias = bytes | Spooled


def sha256_of(body: Body) -> bytes:
    """The SHA-256 of a body, computed while it came when it is a long one."""
    return body.sha256 if isinstance(body, Spooled) else sha256(body).digest()


def in_memory(body: Body) -> bytes:
    """A body that is known to be short.

    Raises:
        TypeError: it is not.
    """
    if isinstance(body, Spooled):
        raise TypeError(f"a body of {body.size} bytes is not in memory")
    return body


async def digest_of(body: Body, algorithm: str) -> bytes:
    """The digest of a body with any algorithm of :mod:`hashlib`."""
    if isinstance(body, Spooled):
        return await body.digest(algorithm)
    return hashlib.new(algorithm, body).digest()


class Spools:
    """What all exchanges of one server together keep of bodies, the bounds of that, and its pace.

    Args:
        directory: holds the files of long bodies; without one no long body is taken.
        memory_bytes: for all bodies in memory together, and what is parsed of long ones.
        spool_bytes: for all files together.
        reserve_bytes: of the disk that are left to others.
        stall_s: for how long a transfer of a long body may stand still.
        floor_bytes_per_s: what a long body must reach on average, beyond the time that a short one
            may take.
        share: the part of memory and disk that one caller may have.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        memory_bytes: int = 256 * 1024 * 1024,
        spool_bytes: int = 16 * 1024 * 1024 * 1024,
        reserve_bytes: int = 0,
        stall_s: float = 20.0,
        floor_bytes_per_s: int = 16 * 1024,
        share: float = 1.0,
    ) -> None:
        self.directory = directory
        self.memory_bytes = memory_bytes
        self.spool_bytes = spool_bytes
        self.reserve_bytes = reserve_bytes
        self.stall_s = stall_s
        self.floor_bytes_per_s = floor_bytes_per_s
        self.share = share
        self.callers: dict[str, Caller] = {}
        """Who has exchanges with bodies now."""
        self.in_memory = 0
        """Bytes of bodies in memory now."""
        self.on_disk = 0
        """Bytes on disk now, those included that are reserved for what was announced."""
        self.bodies_spooled = 0
        self.bytes_spooled = 0
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def open(cls, directory: Path, **bounds: Any) -> Spools:
        """Spools in a folder that is made when it is not there.

        Raises:
            Problem: ``InvalidSettings`` when the folder cannot be made or its file system has no
                files without a name (``O_TMPFILE``).
        """
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            spool_files.nameless(directory)
        except OSError as error:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="directory",
                detail=f"long bodies cannot be kept in {directory}: {error.strerror}",
            ) from error
        return cls(directory, **bounds)

    def room(self) -> Room:
        """Room for the bodies of one exchange."""
        return Room(self)

    async def in_thread(self, job: Callable[[], _T]) -> _T:
        """Do what blocks for a disk, or is long to compute, beside the event loop."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bodies")
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    def failed(self, error: OSError) -> Problem:
        """What an exchange says of an error of the disk."""
        log.error("cannot_spool", why=str(error), directory=str(self.directory))
        said = "is full" if error.errno in _FULL else f"fails: {error.strerror}"
        return overloaded("spool", f"the disk for long bodies {said}")

    def close(self) -> None:
        """End the threads when they are done; idempotent."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None


class Caller:
    """What the exchanges of one caller together keep of bodies."""

    __slots__ = ("disk", "memory", "name", "rooms")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rooms = 0
        self.memory = 0
        self.disk = 0


class Room:
    """What one exchange keeps of bodies; everything ends with :meth:`end`."""

    __slots__ = ("_bodies", "_caller", "_disk", "_memory", "spools")

    def __init__(self, spools: Spools) -> None:
        self.spools = spools
        self._caller: Caller | None = None
        self._memory = 0
        self._disk = 0
        self._bodies: list[Spooled | Spool] = _NONE

    def belongs_to(self, name: str) -> None:
        """Say whose exchange this is, before anything is kept of it."""
        callers = self.spools.callers
        caller = callers.get(name)
        if caller is None:
            caller = callers[name] = Caller(name)
        caller.rooms += 1
        self._caller = caller

    def hold(self, size: int) -> None:
        """Count bytes that are kept in memory until the room ends.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        spools = self.spools
        if spools.in_memory + size > spools.memory_bytes:
            raise overloaded(
                "memory", f"bodies in memory may take {spools.memory_bytes} bytes together"
            )
        caller = self._caller
        if caller is not None:
            if caller.memory + size > spools.memory_bytes * spools.share:
                raise _share_taken("memory", caller, int(spools.memory_bytes * spools.share))
            caller.memory += size
        spools.in_memory += size
        self._memory += size

    def release(self, size: int) -> None:
        """Give back bytes in memory before the end."""
        self.spools.in_memory -= size
        self._memory -= size
        if self._caller is not None:
            self._caller.memory -= size

    def reserve(self, size: int) -> None:
        """Count bytes on disk until the room ends.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        spools = self.spools
        if spools.on_disk + size > spools.spool_bytes:
            raise overloaded("spool", f"long bodies may take {spools.spool_bytes} bytes together")
        caller = self._caller
        if caller is not None:
            if caller.disk + size > spools.spool_bytes * spools.share:
                raise _share_taken("spool", caller, int(spools.spool_bytes * spools.share))
            caller.disk += size
        spools.on_disk += size
        self._disk += size

    def spool(self, announced: int = 0) -> Spool:
        """Begin a long body of which ``announced`` bytes are known to come.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        self.reserve(announced)
        spool = Spool(self, announced)
        self.keep(spool)
        self.spools.bodies_spooled += 1
        return spool

    async def take(self, made: bytes) -> Body:
        """A body that this server made: a long one is spooled.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        if len(made) <= IN_MEMORY_BYTES:
            self.hold(len(made))
            return made
        spool = self.spool(len(made))
        await spool.write([made])
        return spool.done()

    def keep(self, body: Spooled | Spool) -> None:
        """Let a body end with this room."""
        if self._bodies is _NONE:
            self._bodies = []
        self._bodies.append(body)

    def end(self) -> None:
        """Forget everything; idempotent."""
        spools, caller = self.spools, self._caller
        if caller is not None:
            self._caller = None
            caller.memory -= self._memory
            caller.disk -= self._disk
            caller.rooms -= 1
            if not caller.rooms:
                del spools.callers[caller.name]
        if self._memory:
            spools.in_memory -= self._memory
            self._memory = 0
        if self._bodies is not _NONE:
            spools.on_disk -= self._disk
            self._disk = 0
            for body in self._bodies:
                body.close()
            self._bodies = _NONE


_NONE: list[Spooled | Spool] = []
"""The bodies of a room without long ones, which is nearly every room."""


class Spool:
    """A long body while it comes: written piece by piece, hashed on the way."""

    __slots__ = ("_announced", "_began", "_file", "_hash", "_room", "size")

    def __init__(self, room: Room, announced: int) -> None:
        self._room = room
        self._announced = announced
        self._file: SpoolFile | None = None
        self._hash = sha256()
        self._began = time.monotonic()
        self.size = 0

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Append; returns when the file has it.

        Raises:
            Problem: ``ServerOverloaded`` when the bounds or the disk have no room for it.
        """
        spools = self._room.spools
        size = sum(map(len, pieces))
        reached = self.size + size
        if reached > self._announced:
            self._room.reserve(reached - self._announced)
            self._announced = reached
        file, digest, offset, to_come = self._file, self._hash, self.size, self._announced
        try:
            self._file = await spools.in_thread(
                lambda: spool_files.append(
                    file or spool_files.create(spools.directory, to_come, spools.reserve_bytes),
                    digest,
                    offset,
                    pieces,
                    spools.reserve_bytes,
                )
            )
        except OSError as error:
            raise spools.failed(error) from error
        self.size = reached
        spools.bytes_spooled += size

    def done(self) -> Spooled:
        """The whole body."""
        if self._file is None:
            raise ValueError("nothing was written")
        spooled = Spooled(
            self._room,
            self._file,
            self.size,
            self._hash.digest(),
            time.monotonic() - self._began,
        )
        self._file = None
        self._room.keep(spooled)
        return spooled

    def close(self) -> None:
        """Let the file go; idempotent."""
        self._file = None


def overloaded(where: str, detail: str) -> Problem:
    """A body that this server has no room for now."""
    return Problem(
        Code.OVERLOADED, where=where, detail=detail, facts={"retry_after_s": _RETRY_AFTER_S}
    )


def _share_taken(where: str, caller: Caller, most: int) -> Problem:
    return overloaded(where, f"bodies of {caller.name} may take {most} bytes together")
