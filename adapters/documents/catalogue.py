"""The documents of a folder as a table, and their digests.

Invariants:

- the folder is looked at when somebody asks, at most once a second, and for at most a tenth of
  the time if it is large;
- a file is read for its type and its digest once, and again when it has changed; what was read is
  known by the file's identity, and kept on disk for the next start (:mod:`.keeping`);
- one thread computes digests, one file at a time, in pieces: many or long files take time, not
  memory. A reading of the folder waits for few and short ones only; the others follow, and until
  then the record of such a document has no digest.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from adapters.documents import keeping
from adapters.documents.folder import Changed, Entry, Fault, Identity, Listing, Opened, walk
from adapters.documents.media import SNIFFED_BYTES, MediaType, sniff
from adapters.fields import Kind
from adapters.mapping.model import FileColumn, FileFormat, FileTable
from adapters.sources.sheets import Cell
from adapters.sources.snapshot import Stamp

TABLE: Final = "saphan_documents"
_LOOK_S: Final = 1.0
_SHARE: Final = 10
_AT_ONCE_BYTES: Final = 32 << 20
_TELL_S: Final = 30.0  # while many are computed, records are not made anew for each
_KEEP_S: Final = 60.0  # while many are computed: what a start that comes then reads again
_log = structlog.get_logger("saphan.adapters")

COLUMNS: Final = ("id", "name", "media_type", "size", "digest", "modified")


def documents_table(where: str) -> FileTable:
    """The table that a :class:`Catalogue` fills."""
    columns = tuple(
        FileColumn(
            name=name,
            header=name,
            kind=Kind.INTEGER if name == "size" else Kind.STRING,
            index=name in ("id", "name"),
        )
        for name in COLUMNS
    )
    return FileTable(name=TABLE, file="", format=FileFormat.CSV, columns=columns, where=where)


class Catalogue:
    """What is in a folder; a :class:`adapters.sources.snapshot.MadeTable`.

    Args:
        folder: where the documents are.
        types: the media types that are served.
        most: the most files in it.
        kept: the file that digests are kept in.
    """

    def __init__(
        self, folder: Path, types: Set[MediaType], most: int, kept: Path | None = None
    ) -> None:
        self.folder = folder
        self._types = types
        self._most = most
        self._looking = threading.Lock()
        self._lock = threading.Lock()  # of what is known of documents; never held for long
        self._listing: Listing | None = None
        self._looked = 0.0
        self._look_again_s = 0.0
        self._kinds: dict[Identity, MediaType | None] = {}
        self._digests: dict[Identity, bytes] = {}
        self._kept = kept
        self._unkept = 0  # how many digests the file lacks
        self._kept_at = 0.0
        self._settled: set[Identity] = set()
        self._told = 0  # how many digests the records have
        self._told_at = 0.0
        self._closed = False
        self._under_way: dict[Identity, Future[bytes]] = {}
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="saphan-digests")

    def stamp(self) -> Stamp:
        """What changes when the folder, a document, or what is known of one does.

        Raises:
            Problem: ``SourceFailed``, as :func:`adapters.documents.folder.walk`.
        """
        listing = self.look()
        with self._lock:
            now = time.monotonic()
            if not self._under_way or now - self._told_at >= _TELL_S:
                self._told, self._told_at = len(self._digests), now
        return ((listing.changed_ns, self._told, listing.mark),)

    def look(self, *, now: bool = False) -> Listing:
        """The folder as it was a moment ago, or as it is ``now``.

        Raises:
            Problem: ``SourceFailed``, as :func:`adapters.documents.folder.walk`.
        """
        with self._looking:
            begun = time.monotonic()
            old = self._listing
            if old is not None and not now and begun - self._looked < self._look_again_s:
                return old
            listing = walk(self.folder, self._most)
            self._looked = time.monotonic()
            self._look_again_s = max(_LOOK_S, _SHARE * (self._looked - begun))
            first, self._listing = self._listing is None, listing
        if first and self._kept is not None:
            self._take(keeping.load(self._kept), listing)
        alive = {entry.identity for entry in listing.entries.values()}
        with self._lock:
            for known in (self._kinds, self._digests):
                for identity in known.keys() - alive:
                    del known[identity]
            self._settled &= alive
        return listing

    def _take(self, kept: keeping.Known, listing: Listing) -> None:
        """Know what was read before the start."""
        with self._lock:
            for entry in listing.entries.values():
                found = kept.get(keeping.key_of(entry.identity))
                if found is not None:
                    self._kinds[entry.identity], self._digests[entry.identity] = found
                    self._settled.add(entry.identity)

    def _keep(self) -> None:
        """Write down what is known, if there is more of it than when it was written last."""
        with self._lock:
            if self._kept is None or not self._unkept:
                return
            self._unkept, self._kept_at = 0, time.monotonic()
            known = [
                (identity, kind, self._digests[identity])
                for identity in self._settled & self._digests.keys()
                if (kind := self._kinds.get(identity)) is not None
            ]
        keeping.save(self._kept, known)

    def _keep_soon(self) -> None:
        if self._kept is not None and self._unkept:
            with suppress(RuntimeError):  # nothing begins after close
                self._hasher.submit(self._keep)

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """A row for each document of a type that is served, as :func:`documents_table` says."""
        at_once = _AT_ONCE_BYTES
        for entry in self.look().entries.values():
            kind = self.kind_of(entry)
            if kind not in self._types:
                continue
            identity = entry.identity
            if identity not in self._digests and identity.size <= at_once:
                at_once -= identity.size
                with suppress(Changed):  # which is told to who asks for this one
                    self._compute(entry)
            known = self._digests.get(identity)
            if known is None:
                self.digest(entry)
            yield (
                entry.id,
                entry.name,
                str(kind),
                identity.size,
                None if known is None else f"sha-256:{known.hex()}",
                time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(identity.written_ns // 10**9)),
            )
        self._keep_soon()

    def kind_of(self, entry: Entry) -> MediaType | None:
        """The media type of a document by its content; None for one that cannot be read."""
        try:
            return self._kinds[entry.identity]
        except KeyError:
            try:
                kind = self._sniffed(entry)
            except Changed as changed:
                _log.warning("document_unreadable", why=str(changed))
                return None
            with self._lock:
                self._kinds[entry.identity] = kind
            return kind

    def _sniffed(self, entry: Entry) -> MediaType | None:
        beginning = Opened(self.folder, entry).read(0, min(SNIFFED_BYTES, entry.identity.size))
        return sniff(beginning)

    def digest(self, entry: Entry) -> Future[bytes]:
        """The SHA-256 of a document, which fails with :class:`Changed` when it cannot be had."""
        identity = entry.identity
        with self._lock:
            known = self._digests.get(identity)
            if known is not None:
                done: Future[bytes] = Future()
                done.set_result(known)
                return done
            under_way = self._under_way.get(identity)
            if self._closed:
                closed: Future[bytes] = Future()
                closed.set_exception(Changed("the adapter is closed"))
                return closed
            if under_way is None:
                under_way = self._hasher.submit(self._compute_and_keep, entry)
                self._under_way[identity] = under_way
            return under_way

    def faults(self) -> list[Fault]:
        """Everything in the folder that is not served, and why: reads the whole folder."""
        listing = self.look(now=True)
        found = list(listing.faults)
        for entry in listing.entries.values():
            try:
                kind = self._sniffed(entry)
            except Changed as changed:
                found.append(Fault(entry.name, f"cannot be read: {changed}"))
                continue
            if kind is None:
                found.append(Fault(entry.name, "is none of the kinds of documents that are known"))
            elif kind not in self._types:
                found.append(Fault(entry.name, f"is {kind}, which media_types does not name"))
        return found

    def close(self) -> None:
        """Compute no further digests; idempotent."""
        with self._lock:
            self._closed = True
        self._hasher.shutdown(wait=False, cancel_futures=True)

    def _compute_and_keep(self, entry: Entry) -> bytes:
        try:
            return self._compute(entry)
        finally:
            if not self._under_way or time.monotonic() - self._kept_at >= _KEEP_S:
                self._keep_soon()

    def computed(self, entry: Entry) -> bytes:
        """The SHA-256 of a document as it is now, whatever is known of it; raises ``Changed``."""
        found = hashlib.sha256()
        for piece in Opened(self.folder, entry).pieces():
            found.update(piece)
        return found.digest()

    def _compute(self, entry: Entry) -> bytes:
        settled = keeping.settled(entry.identity)
        try:
            digest = self.computed(entry)
            with self._lock:
                self._digests[entry.identity] = digest
                if settled:
                    self._settled.add(entry.identity)
                    self._unkept += 1
        finally:
            with self._lock:
                self._under_way.pop(entry.identity, None)
        return digest
