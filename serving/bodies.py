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
- a descriptor is closed when the last thread that uses it is done, never under it.

Everything but the threads' own jobs happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from exchange.problems import Code, Problem

IN_MEMORY_BYTES: Final = 1024 * 1024
"""The longest body that is kept in memory."""
PIECE_BYTES: Final = 256 * 1024
_RETRY_AFTER_S: Final = 2
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_T = TypeVar("_T")
log = structlog.get_logger("serving.bodies")


class Spooled:
    """A long body: its length, its SHA-256, and the way to its bytes.

    Belongs to a :class:`Room`; after the room's end it can no longer be read.
    """

    __slots__ = ("_file", "sha256", "size")

    def __init__(self, file: _File, size: int, digest: bytes) -> None:
        self._file: _File | None = file
        self.size = size
        self.sha256 = digest

    def __len__(self) -> int:
        return self.size

    async def read(self, offset: int, size: int) -> bytes:
        """A piece; shorter only at the end.

        Raises:
            OSError: the disk does not give back what was written to it.
        """
        file = self._opened()
        return await _in_thread(lambda: _read(file, offset, size))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes in order, read as they are asked for."""
        offset = 0
        while offset < self.size:
            piece = await self.read(offset, PIECE_BYTES)
            offset += len(piece)
            yield piece

    async def load(self) -> bytes:
        """All bytes, in memory: for a caller who has bounded ``size`` and room for it."""
        return await self.read(0, self.size)

    async def digest(self, algorithm: str) -> bytes:
        """The digest with another algorithm of :mod:`hashlib`; reads the whole file."""
        file, size = self._opened(), self.size
        return await _in_thread(lambda: _digest(file, size, algorithm))

    def close(self) -> None:
        self._file = None

    def _opened(self) -> _File:
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


@dataclass(slots=True)
class Spools:
    """What all exchanges of one server together keep of bodies, and the bounds of that.

    ``directory`` holds the files of long bodies; without one all bodies stay in memory. At least
    ``reserve_bytes`` of its disk are left to others.
    """

    directory: Path | None = None
    memory_bytes: int = 256 * 1024 * 1024
    spool_bytes: int = 16 * 1024 * 1024 * 1024
    reserve_bytes: int = 0
    in_memory: int = 0
    spooled: int = 0
    bodies_spooled: int = 0
    bytes_spooled: int = 0

    def room(self) -> Room:
        """Room for the bodies of one exchange."""
        return Room(self)


class Room:
    """What one exchange keeps of bodies; everything ends with :meth:`end`."""

    __slots__ = ("_bodies", "_memory", "_spooled", "spools")

    def __init__(self, spools: Spools) -> None:
        self.spools = spools
        self._memory = 0
        self._spooled = 0
        self._bodies: list[Spooled | Spool] | None = None

    def hold(self, size: int) -> None:
        """Count bytes that are kept in memory until the room ends.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        spools = self.spools
        if spools.in_memory + size > spools.memory_bytes:
            raise overloaded(
                "memory", f"bodies in memory would exceed {spools.memory_bytes} bytes together"
            )
        spools.in_memory += size
        self._memory += size

    def release(self, size: int) -> None:
        """Give back bytes in memory before the end."""
        self.spools.in_memory -= size
        self._memory -= size

    def reserve(self, size: int) -> None:
        """Count bytes on disk until the room ends.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        spools = self.spools
        if spools.spooled + size > spools.spool_bytes:
            raise overloaded(
                "spool", f"long bodies would exceed {spools.spool_bytes} bytes together"
            )
        spools.spooled += size
        self._spooled += size

    def spool(self) -> Spool:
        """Begin a long body."""
        if self._bodies is None:
            self._bodies = []
        spool = Spool(self)
        self._bodies.append(spool)
        self.spools.bodies_spooled += 1
        return spool

    def keep(self, spooled: Spooled) -> Spooled:
        """A long body that ends with this room."""
        if self._bodies is None:
            self._bodies = []
        self._bodies.append(spooled)
        return spooled

    def end(self) -> None:
        """Forget everything; idempotent."""
        spools = self.spools
        spools.in_memory -= self._memory
        spools.spooled -= self._spooled
        self._memory = self._spooled = 0
        if self._bodies is not None:
            for body in self._bodies:
                body.close()
            self._bodies = None


class Spool:
    """A long body while it comes: written piece by piece, hashed on the way.

    ``announced`` bytes are reserved at once; more as they come.
    """

    __slots__ = ("_file", "_hash", "_reserved", "_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._file: _File | None = None
        self._hash = sha256()
        self._reserved = 0
        self.size = 0

    def expect(self, size: int) -> None:
        """Reserve room for a body of this length.

        Raises:
            Problem: ``ServerOverloaded``.
        """
        if size > self._reserved:
            self._room.reserve(size - self._reserved)
            self._reserved = size

    async def write(self, pieces: list[bytes]) -> None:
        """Append; returns when the file has it.

        Raises:
            Problem: ``ServerOverloaded`` when the bounds or the disk have no room for it.
        """
        size = sum(map(len, pieces))
        self.expect(self.size + size)
        spools = self._room.spools
        try:
            if self._file is None:
                missing = max(self._reserved, self.size + size)
                self._file = await _in_thread(lambda: _create(spools, missing))
            file, digest, offset = self._file, self._hash, self.size
            await _in_thread(lambda: _append(file, digest, offset, pieces))
        except OSError as error:
            log.error("cannot_spool", why=str(error), directory=str(spools.directory))
            said = "has no room" if error.errno in _FULL else f"does not take it: {error.strerror}"
            raise overloaded("spool", f"the disk of long bodies {said}") from error
        self.size += size
        spools.bytes_spooled += size

    def done(self) -> Spooled:
        """The whole body."""
        file, self._file = self._file, None
        if file is None:
            raise ValueError("nothing was written")
        return self._room.keep(Spooled(file, self.size, self._hash.digest()))

    def close(self) -> None:
        self._file = None


def overloaded(where: str, detail: str) -> Problem:
    """A body that this server has no room for now."""
    return Problem(
        Code.OVERLOADED, where=where, detail=detail, facts={"retry_after_s": _RETRY_AFTER_S}
    )


# --- what the threads do -------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """A descriptor that is closed with its last user, who may be a thread."""

    descriptor: int = field(default=-1)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


async def _in_thread(job: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(None, job)


def _create(spools: Spools, size: int) -> _File:
    directory = spools.directory
    if directory is None:
        raise OSError(errno.ENOENT, "no folder for long bodies is set")
    free = os.statvfs(directory)
    if free.f_bavail * free.f_frsize < size + spools.reserve_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _File(os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _append(file: _File, digest: Any, offset: int, pieces: list[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)
        view = memoryview(piece)
        while view:
            written = os.pwrite(file.descriptor, view, offset)
            offset += written
            view = view[written:]


def _read(file: _File, offset: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0:
        piece = os.pread(file.descriptor, size, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _digest(file: _File, size: int, algorithm: str) -> bytes:
    found = hashlib.new(algorithm)
    offset = 0
    while offset < size:
        piece = _read(file, offset, PIECE_BYTES)
        if not piece:
            raise OSError(errno.EIO, "the file is shorter than what was written")
        found.update(piece)
        offset += len(piece)
    return found.digest()
