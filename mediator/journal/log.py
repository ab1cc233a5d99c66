"""The journal as the message path sees it: record, and know it is durable.

Invariants:
- :meth:`Journal.record` returns only when the record is on disk, and the order of indexes is the
  order of acknowledgement; a caller that is cancelled meanwhile does not undo its record;
- opening recovers by itself from any crash, and refuses, with ``JournalForked``, whatever would
  make it sign a tree that does not extend the last one it signed;
- one process at a time (a lock on ``journal.lock``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import MemberId
from exchange.journal import subjects
from exchange.journal.entries import Entry, Sealed, format_sealed, format_time
from exchange.journal.sealed_parts import SealedPart, commitment, format_part, parse_part
from exchange.problems import Code, Problem
from mediator.journal import recovery, segments
from mediator.journal.anchors import AnchorStore
from mediator.journal.index import FILE as INDEX_FILE
from mediator.journal.index import IndexWriter
from mediator.journal.index.feed import IndexFeed
from mediator.journal.index.keeper import IndexKeeper
from mediator.journal.intake import Committed, GroupLimits, Intake, logging_failed, renewed
from mediator.journal.keyring import DEFAULT_DAYS, KeyRing, SealingKey
from mediator.journal.publication import PublicationThread, Publisher
from mediator.journal.reader import JournalReader
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.signed import SignedStore, SqliteSignedStore
from serving.locks import take_lock
from serving.log.files import Files, RealFiles
from serving.log.tiles import TileFolder
from serving.settings import setting

Key = TypeVar("Key", SealingKey, bytes)


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How the journal writes and publishes."""

    segment_max_bytes: int = setting(
        "size at which a new segment file is begun", default=64 * 1024 * 1024, low=4096
    )
    segment_max_s: float = setting(
        "seconds after which a new segment file is begun though there is room; only closed ones "
        "are archived",
        default=21_600.0,
        low=0.01,
    )
    group_max_records: int = setting(
        "records in one commit at most", default=1024, low=1, high=segments.MAX_GROUP_RECORDS
    )
    group_max_bytes: int = setting(
        "bytes in one commit at most (one record may be larger)", default=8 * 1024 * 1024, low=4096
    )
    waiting_max_records: int = setting(
        "records that may wait for a commit; more are refused", default=16_384, low=1
    )
    waiting_max_bytes: int = setting(
        "bytes that may wait for a commit; more are refused", default=128 * 1024 * 1024, low=4096
    )
    publish_interval_s: float = setting(
        "seconds between two publications of tiles and checkpoint", default=0.5, low=0.01
    )
    anchor_s: float = setting(
        "seconds between two checkpoints that witnesses cosign and authorities stamp",
        default=10.0,
        low=0.01,
    )
    gather_s: float = setting(
        "seconds that a commit waits at most for company when many exchanges run",
        default=0.003,
        low=0,
        high=0.1,
    )
    gather_siblings: int = setting(
        "running exchanges from which a commit waits for company", default=5, low=1
    )
    probe_interval_s: float = setting(
        "seconds between two trials of a disk that failed", default=1.0, low=0.01
    )
    passphrase_file: Path | None = setting(
        "file whose first line encrypts the key files; without it their mode alone protects them",
        default=None,
    )
    index: bool = setting("keep the search index up to date", default=True)
    index_database: str | None = setting(
        "postgresql:// URL of a search index that servers of one member share; without it the "
        "server has its own, beside its journal",
        default=None,
    )

    def __post_init__(self) -> None:
        url = self.index_database
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise Problem(
                Code.INVALID_SETTINGS,
                where="journal.index_database",
                detail="is not a postgresql:// URL",
            )


class Receipt(NamedTuple):
    """A record is durable: its index in the log, and the entry's bytes (the leaf)."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody needs here
    entry: bytes


class Journal:
    """An open journal; made by :meth:`open`."""

    def __init__(
        self,
        directory: Path,
        settings: JournalSettings,
        keyring: KeyRing,
        intake: Intake,
        publication: PublicationThread,
        anchors: AnchorStore,
        index: IndexKeeper | IndexFeed | None,
        closing: contextlib.ExitStack,
    ) -> None:
        self.directory = directory
        self.anchors = anchors
        self._settings = settings
        self._keyring = keyring
        self._intake = intake
        self._publication = publication
        self._index = index
        self._closing = closing
        self._closed = False
        self._making_key = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        origin: str,
        signing_key: Ed25519PrivateKey,
        keyring: KeyRing,
        settings: JournalSettings | None = None,
        files: Files | None = None,
        store: SignedStore | None = None,
        siblings: Callable[[], int] = lambda: 0,
        held: bool = False,
    ) -> Journal:
        """Open or create the journal in ``directory``, and recover it.

        Args:
            directory: of this journal alone.
            origin: the log's name, a schema-less URL such as ``journal.gov.la/LA/GOV/MPI/ss1/0``.
            signing_key: signs checkpoints; the same for the journal's whole life.
            keyring: seals; usually ``KeyRing(directory / "keys")``.
            settings: sizes and intervals.
            files: the disk; tests give one that fails.
            siblings: how many exchanges run now; many make a commit wait for company.
            held: publish and sign nothing before :meth:`release`; recording goes on.
            store: the last signed checkpoint; by default a file in ``directory``.

        Raises:
            Problem: ``JournalForked`` when signing would fork the log, ``JournalCorrupt`` when
                records that were durable cannot be read, ``Conflict`` when another process has
                the journal open, ``LoggingFailed`` when the disk cannot be used.
        """
        settings = settings or JournalSettings()
        files = files or RealFiles()
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            try:
                for name in ("", "log", "segments", "staging"):
                    (directory / name).mkdir(parents=True, exist_ok=True)
                opened = "another process has this journal open"
                stack.callback(os.close, take_lock(directory / recovery.LOCK, opened))
                last_signed = store or SqliteSignedStore(directory / SIGNED_FILE)
                stack.callback(last_signed.close)
                found = await asyncio.to_thread(
                    recovery.recover, directory, origin, signing_key, last_signed, files
                )
                anchors = AnchorStore.create(directory)
                stack.callback(anchors.close)
                await asyncio.to_thread(recovery.check_anchor, directory, anchors, found.edge)
            except OSError as error:
                raise logging_failed(error, directory) from error
            index = _index(directory, origin, settings)
            if index is not None:
                stack.callback(index.close)
            committed: deque[Committed] = deque()
            publisher = Publisher(
                directory,
                files,
                last_signed,
                origin,
                signing_key,
                found.edge,
                found.published,
                found.signed,
                index,
                committed,
            )
            limits = GroupLimits(
                settings.segment_max_bytes,
                settings.group_max_records,
                settings.group_max_bytes,
                settings.probe_interval_s,
                settings.gather_s,
                settings.gather_siblings,
                settings.segment_max_s,
            )
            intake = Intake(
                directory / "segments", files, found.durable, limits, loop, siblings, committed
            )
            publication = PublicationThread(
                publisher,
                intake,
                anchors,
                settings.publish_interval_s,
                settings.anchor_s,
                held=held,
            )
            return cls(
                directory,
                settings,
                keyring,
                intake,
                publication,
                anchors,
                index,
                stack.pop_all(),
            )

    async def record(
        self,
        entry: Entry,
        member: MemberId,
        part: SealedPart | None = None,
        subject: str = "",
        days: int = DEFAULT_DAYS,
    ) -> Receipt:
        """Make an entry, and its sealed part, durable.

        Args:
            entry: without ``subject``, ``sealed`` and ``commitment``, which are filled in here.
            member: whose key of the month (of ``entry.at``) seals the part.
            part: what is kept encrypted.
            subject: whom or what it is about, in normal form; the entry holds its tag alone.
            days: for how long after the month's end it is kept.

        Raises:
            Problem: ``LoggingFailed`` when the disk fails or failed; ``ServerOverloaded`` when too
                much waits; ``ShuttingDown`` after :meth:`close`; ``InvalidDocument`` when the
                entry or the part is too large to be written.
        """
        self._check_open()
        at, tag = entry.at, None
        if subject:
            index_key = self._keyring.index_key(member, at)
            tag = subjects.tag(index_key or await self._make_index_key(member, at), subject)
        if part is None:
            data, record = format_sealed(entry, None, None, tag), b""
        else:
            key = self._keyring.current(member, at, days) or await self._make_key(member, at, days)
            sealed, record = key.seal(format_part(part))
            data = format_sealed(entry, sealed, commitment(part), tag)
        return Receipt(await self._intake.submit(data, record), data)

    def _check_open(self) -> None:
        intake, settings = self._intake, self._settings
        if self._closed:
            raise Problem(Code.SHUTTING_DOWN, where="journal", detail="the journal is closed")
        if intake.problem is not None:
            raise renewed(intake.problem)
        if (
            intake.pending >= settings.waiting_max_records
            or intake.pending_bytes >= settings.waiting_max_bytes
        ):
            raise Problem(
                Code.OVERLOADED,
                where="journal",
                detail="too many records wait for the disk",
                facts={"retry_after_s": 1, "recorded": False},
            )

    async def _make_key(self, member: MemberId, at: datetime, days: int) -> SealingKey:
        ring = self._keyring
        return await self._made(
            lambda: ring.current(member, at, days), lambda: ring.make(member, at, days)
        )

    async def _make_index_key(self, member: MemberId, at: datetime) -> bytes:
        ring = self._keyring
        return await self._made(
            lambda: ring.index_key(member, at), lambda: ring.make_index_key(member, at)
        )

    async def _made(self, find: Callable[[], Key | None], make: Callable[[], Key]) -> Key:
        """The key that is there, or a new one.

        Raises:
            Problem: ``LoggingFailed`` when none can be made.
        """
        async with self._making_key:  # a new month finds many waiting: one makes the key
            key = find()
            if key is None:
                try:
                    key = await asyncio.to_thread(make)
                except OSError as error:
                    raise logging_failed(error, self._keyring.directory) from error
                except Problem as problem:
                    raise Problem(
                        Code.LOGGING_FAILED,
                        where=problem.where,
                        detail=f"nothing can be sealed: {problem.detail}",
                        facts={"recorded": False},
                    ) from problem
        self._check_open()
        return key

    @property
    def healthy(self) -> Problem | None:
        """What is wrong with the journal: not writable, or not published; None when all is well."""
        return self._intake.problem or self._publication.problem

    def index_report(self) -> dict[str, Any]:
        """How the search index is, for the server's health: it is derived, and may be behind."""
        if not isinstance(self._index, IndexFeed):
            return {"ok": True}
        report: dict[str, Any] = {"ok": self._index.trouble is None, "entries": self._index.indexed}
        if self._index.first:
            report["first"] = self._index.first
        if self._index.trouble is not None:
            report["problem"] = self._index.trouble
        return report

    @property
    def size(self) -> int:
        """How many records are durable."""
        return self._intake.durable.index

    @property
    def published_size(self) -> int:
        """The size of the last signed checkpoint."""
        return self._publication.published_size

    def reader(self) -> JournalReader:
        """What is published by now, with the keys that this journal has open; reads files, blocks.

        Raises:
            Problem: ``JournalCorrupt`` or ``InvalidNote``.
        """
        return JournalReader(self.directory, self._keyring, may_begin=self.published_size == 0)

    def release(self) -> None:
        """Publish and sign from now on, where that was held at the opening."""
        self._publication.release()

    def stop_signing(self, problem: Problem) -> None:
        """Never sign again: somebody showed that this log signed what it does not continue.

        Recording goes on; :attr:`healthy` tells the problem.
        """
        self._publication.never_sign_again(problem)

    def recent(self, since: datetime) -> Iterator[dict[str, Any]]:
        """The durable entries from ``since`` on, oldest first; reads the segments, blocks.

        They come as decoded JSON, a tenth of the work of parsing them: the records are this
        server's own and are read back with their checksums. Entries are taken to be roughly in
        the order of time: reading begins with the last segment that begins before ``since``.

        Raises:
            Problem: ``JournalCorrupt`` when a segment cannot be read.
        """
        return recovery.recent(
            self.directory / "segments", self._intake.durable, format_time(since)
        )

    def outcomes(
        self, nonces: Collection[str], since: datetime
    ) -> Iterator[tuple[dict[str, Any], SealedPart | None]]:
        """The durable entries from ``since`` on that say what came of claimed requests; blocks.

        Such an entry carries the nonce of the request that it answers. Its sealed part is None
        when the member's key is gone.

        Raises:
            Problem: ``JournalCorrupt`` when a segment cannot be read.
        """
        keyring = self._keyring
        for entry, ciphertext in recovery.outcomes(
            self.directory / "segments", self._intake.durable, format_time(since), nonces
        ):
            part = None
            with contextlib.suppress(Problem):
                sealed = Sealed(**entry["sealed"])
                key = keyring.find(sealed.key)
                part = parse_part(key.open(sealed, ciphertext)) if key is not None else None
            yield entry, part

    async def close(self) -> None:
        """Write what waits, publish everything, give the journal back; idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._intake.close()
        await asyncio.to_thread(self._publication.close)
        if self._index is not None:
            await asyncio.to_thread(self._index.close)
        self._closing.close()


def _index(
    directory: Path, origin: str, settings: JournalSettings
) -> IndexKeeper | IndexFeed | None:
    if not settings.index:
        return None
    if settings.index_database is None:
        return IndexKeeper(directory / INDEX_FILE)
    # Imported where it is wanted: it takes 0.2 s and 10 MB of every start.
    from mediator.journal.index.postgresql import PostgreSqlPlace

    writer = IndexWriter(PostgreSqlPlace(settings.index_database, origin))
    return IndexFeed(writer, TileFolder(directory / "log"))
