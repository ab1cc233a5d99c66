"""The content of one document: whole or a part, with digests and conditions.

Store and forward: what leaves is a copy that was checked against the digest while it was made, so
that a document which changes under the hand of who reads it is a problem, never half of each.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

from adapters.answers.faults import bad
from adapters.answers.replies import unchanged
from adapters.documents.catalogue import Catalogue
from adapters.documents.folder import PIECE_BYTES, Changed, Entry, Opened
from adapters.documents.media import MediaType
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers
from serving.bodies import IN_MEMORY_BYTES, Body

_WITHOUT_ROOM_BYTES: Final = 16 << 20
_FLOOR_BYTES_PER_S: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))", re.ASCII)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``first`` to ``last``, both included, of a document of ``size`` bytes."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class _Document:
    """A document that is open, with what is told of it."""

    entry: Entry
    kind: MediaType
    digest: bytes
    file: Opened

    @property
    def size(self) -> int:
        return self.entry.identity.size


class Reader:
    """Reads documents in threads of its own, as many at once as it has.

    Args:
        waiting: how many may wait for those; more are refused.
        most_bytes: the longest document that is served.
    """

    def __init__(self, catalogue: Catalogue, threads: int, waiting: int, most_bytes: int) -> None:
        self._catalogue = catalogue
        self._free = threads + waiting
        self._idle = asyncio.Semaphore(threads)
        self._awaited: dict[Future[bytes], asyncio.Future[bytes]] = {}
        self._most_bytes = most_bytes
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="saphan-documents")

    async def answer(self, id: str, request: BackendRequest, until: float) -> BackendResponse[Body]:
        """The content of the document ``id``, which the caller may see.

        Args:
            until: the loop's time when it must be there; one that is long has as much more as it
                takes at a pace.

        Raises:
            Fault: 404 for one that is not there any more, 416 for a part that it does not have.
            Problem: ``SourceFailed`` when it changes or vanishes while it is read,
                ``BackendTimeout`` when its digest is not known in time, ``ResponseTooLarge``,
                ``ServerOverloaded``.
        """
        if not self._free:
            detail = "as many documents as may be are read or waited for already"
            raise Problem(Code.OVERLOADED, where="source", detail=detail)
        self._free -= 1
        try:
            return await self._answer(id, request, until)
        except TimeoutError as error:
            detail = "the document was not read in time; its digest goes on being computed"
            raise Problem(Code.BACKEND_TIMEOUT, where="source", detail=detail) from error
        except Changed as changed:
            detail = f"the document changed or vanished while it was read: {changed}"
            raise Problem(Code.SOURCE_FAILED, where="source", detail=detail) from changed
        finally:
            self._free += 1

    async def _answer(
        self, id: str, request: BackendRequest, until: float
    ) -> BackendResponse[Body]:
        async with asyncio.timeout_at(until):
            try:
                document = await self._open(id, now=False)
            except Changed:  # since somebody looked last
                document = await self._open(id, now=True)
        headers, tag = _headers(document), _tag(document.digest)
        if unchanged(request.headers, tag):
            kept = tuple(item for item in headers if item[0] != "content-type")
            return BackendResponse(304, kept, b"")
        if request.method == "HEAD":
            return BackendResponse(200, headers, b"")
        part = _part(request.headers, tag, document.size)
        async with asyncio.timeout_at(until + document.size / _FLOOR_BYTES_PER_S):
            body, found = await self._read(document, part, request)
        if part is None and found != document.digest:
            raise Changed("it is not what its digest was computed of")
        told = ("content-digest", f"sha-256=:{base64.b64encode(found).decode()}:")
        if part is None:
            return BackendResponse(200, (*headers, told), body)
        place = ("content-range", f"bytes {part.first}-{part.last}/{part.size}")
        return BackendResponse(206, (*headers, told, place), body)

    async def _open(self, id: str, *, now: bool) -> _Document:
        listing = await self._run(lambda: self._catalogue.look(now=now))
        entry = listing.entries.get(id)
        if entry is None:
            raise _absent()
        kind = await self._run(lambda: self._catalogue.kind_of(entry))
        file = await self._run(lambda: Opened(self._catalogue.folder, entry))
        if kind is None:
            raise _absent()
        return _Document(entry, kind, await self._digest(entry), file)

    async def _digest(self, entry: Entry) -> bytes:
        """The digest, for one of several who may wait for it: who gives up does not stop it for
        others, and leaves nothing behind at it."""
        computed = await self._run(lambda: self._catalogue.digest(entry))
        awaited = self._awaited.get(computed)
        if awaited is None:
            awaited = self._awaited[computed] = asyncio.wrap_future(computed)
            awaited.add_done_callback(lambda done: self._told(computed, done))
        try:
            return await asyncio.shield(awaited)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if awaited.cancelled() and (task is None or not task.cancelling()):
                raise Changed("the adapter is closed") from None
            raise

    def _told(self, computed: Future[bytes], done: asyncio.Future[bytes]) -> None:
        del self._awaited[computed]
        if not done.cancelled():
            done.exception()  # which nobody may have waited for any more

    async def _read(
        self, document: _Document, part: Part | None, request: BackendRequest
    ) -> tuple[Body, bytes]:
        """The bytes and their SHA-256."""
        first, size = (0, document.size) if part is None else (part.first, part.length)
        room, file = request.room, document.file
        most = self._most_bytes if room is not None else _WITHOUT_ROOM_BYTES
        most = min(most, request.answer_max_bytes or most)
        if size > most:
            raise Problem(
                Code.RESPONSE_TOO_LARGE,
                where="source",
                detail=f"the document has {size} bytes",
                facts={"limit_bytes": most},
            )
        if room is None or size <= IN_MEMORY_BYTES:
            if room is not None:
                room.hold(size)
            whole = await self._run(lambda: file.read(first, size))
            await self._run(file.check)
            return whole, hashlib.sha256(whole).digest()
        spool = room.spool(size)
        for offset in range(first, first + size, PIECE_BYTES):
            job = partial(file.read, offset, min(PIECE_BYTES, first + size - offset))
            await spool.write([await self._run(job)])
        await self._run(file.check)
        body = spool.done()
        return body, body.sha256

    async def _run(self, job: Callable[[], T]) -> T:
        """Do ``job`` in a thread that is free: none ever lies in a queue that nobody waits at.

        Who gives up while it runs leaves the thread to it; it is free again when the job has ended.
        """
        await self._idle.acquire()
        try:
            running = self._threads.submit(job)
        except RuntimeError as error:  # no thread begins after close
            self._idle.release()
            raise Problem(
                Code.OVERLOADED, where="source", detail="the adapter is closed"
            ) from error
        loop = asyncio.get_running_loop()

        def free(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended before the job
                loop.call_soon_threadsafe(self._idle.release)

        running.add_done_callback(free)
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """End the threads when they are done; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _absent() -> Problem:
    return bad("path", "the document is not there any more", Code.NOT_FOUND, 404)


def _tag(digest: bytes) -> str:
    return f'"{digest.hex()[:32]}"'


def _headers(document: _Document) -> Headers:
    entry = document.entry
    name = entry.name.rpartition("/")[2]
    return (
        ("content-type", str(document.kind)),
        ("etag", _tag(document.digest)),
        ("repr-digest", f"sha-256=:{base64.b64encode(document.digest).decode()}:"),  # RFC 9530, 3
        ("last-modified", formatdate(entry.identity.written_ns // 10**9, usegmt=True)),
        ("accept-ranges", "bytes"),
        # RFC 6266, 4.3: a name in Lao needs the form with an asterisk.
        ("content-disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"),
        ("x-content-type-options", "nosniff"),
    )


def _part(headers: Headers, tag: str, size: int) -> Part | None:
    """The one part that is asked for; None for the whole (RFC 9110, 14.2: also when in doubt).

    Raises:
        Fault: 416 for a part that begins behind the end.
    """
    asked = [value for name, value in headers if name == "range"]
    bound = [value for name, value in headers if name == "if-range"]
    match = _RANGE.fullmatch(asked[0].strip()) if len(asked) == 1 else None
    if match is None or (bound and bound != [tag]):
        return None
    if match[3] is not None:
        first, last = max(0, size - int(match[3])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first > last:
        raise bad("header.range", f"the document has {size} bytes", status=416)
    return Part(first, last, size)
