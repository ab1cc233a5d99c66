"""Stores: where an archive lies; a folder here, an S3-compatible one in :mod:`mediator.archive.s3`.

Invariants of every store:
- an object is there whole or not at all, and is durable when :meth:`Store.put` returns;
- what a foreign library or a disk raises leaves a store as ``ArchiveFailed``; an object that is not
  there is ``NotFound``. Nothing waits without a bound;
- objects are read in chunks of at most :data:`CHUNK` bytes: memory does not grow with their size.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from exchange.problems import Code, Problem
from mediator.archive.settings import S3, ArchiveSettings
from serving.log.files import Files, RealFiles

CHUNK = 1 << 20
Content = Path | bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """The name, size and digest (hex SHA-256) of an object."""

    name: str
    size: int
    digest: str


class Store(Protocol):
    """Where an archive lies. Its methods block and may be called by several threads."""

    url: str

    def put(self, stored: Stored, content: Content) -> None:
        """Put an object in its place, durably; one of this name is replaced.

        Raises:
            Problem: ``ArchiveFailed``.
        """
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """The content of an object in chunks, as the store has it.

        Raises:
            Problem: ``NotFound``; ``ArchiveFailed``.
        """
        ...


class FolderStore:
    """An archive in a folder, such as on a disk of its own or a mounted share."""

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder.absolute()
        self.url = self.folder.as_uri()
        self._files = files or RealFiles()

    def put(self, stored: Stored, content: Content) -> None:
        target = self.folder / stored.name
        draft = target.with_name(f"{target.name}.draft")
        try:
            self._make(target.parent)
            self._write(draft, content)
            self._files.rename(draft, target)
            self._files.sync_directory(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise failed(self.url, stored.name, error.strerror or str(error)) from error

    def _make(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        missing = [each for each in missing if not each.exists()]
        if missing:
            self._files.make_directory(folder)
            for each in missing:
                self._files.sync_directory(each.parent)

    def _write(self, draft: Path, content: Content) -> None:
        if isinstance(content, bytes):
            self._files.write_file(draft, content)
            return
        draft.unlink(missing_ok=True)
        descriptor = self._files.open(draft)
        try:
            at = 0
            for chunk in chunks_of(content):
                self._files.write(descriptor, chunk, at)
                at += len(chunk)
            self._files.sync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, name: str) -> Iterator[bytes]:
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(self.url, name) from error
        except OSError as error:
            raise failed(self.url, name, error.strerror or str(error)) from error
        try:
            # What was just written is to be read from the disk, not from memory.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := os.read(descriptor, CHUNK):
                yield chunk
        except OSError as error:
            raise failed(self.url, name, error.strerror or str(error)) from error
        finally:
            os.close(descriptor)


def open_store(settings: ArchiveSettings) -> Store:
    """The store of the settings, which name one.

    Raises:
        Problem: ``InvalidSettings`` when botocore is wanted and missing, or will not have them.
    """
    if settings.folder is not None:
        return FolderStore(settings.folder)
    from mediator.archive.s3 import S3Store  # botocore is heavy, and an extra

    return S3Store(settings)


def store_at(place: str, settings: ArchiveSettings | None = None) -> Store:
    """The store that a person names: a folder, ``file://`` or ``s3://bucket/prefix``.

    Raises:
        Problem: as :func:`open_store`.
    """
    if not place.startswith(S3):
        return FolderStore(Path(place.removeprefix("file://")))
    from mediator.archive.s3 import S3Store

    return S3Store(settings or ArchiveSettings(bucket=place))


def describe(name: str, content: Content) -> Stored:
    """Size and digest of what is to be put."""
    size, digest = 0, sha256()
    for chunk in (content,) if isinstance(content, bytes) else chunks_of(content):
        size += len(chunk)
        digest.update(chunk)
    return Stored(name, size, digest.hexdigest())


def check(store: Store, stored: Stored) -> None:
    """Read an object back and compare it.

    Raises:
        Problem: ``NotFound``; ``ArchiveFailed`` when it is another, or cannot be read.
    """
    for _ in checked(store, stored):
        pass


def checked(store: Store, stored: Stored) -> Iterator[bytes]:
    """The chunks of an object; the last comes only when the whole was right.

    Raises:
        Problem: as :func:`check`.
    """
    size, digest, waiting = 0, sha256(), b""
    for chunk in store.read(stored.name):
        size += len(chunk)
        if size > stored.size:
            break
        digest.update(chunk)
        if waiting:
            yield waiting
        waiting = chunk
    if size != stored.size or digest.hexdigest() != stored.digest:
        raise failed(store.url, stored.name, "the store does not hold what was put there")
    if waiting:
        yield waiting


def put_checked(store: Store, stored: Stored, content: Content) -> None:
    """Put an object and read it back; what the store damaged on the way is put once more.

    Raises:
        Problem: ``ArchiveFailed``.
    """
    for again in (True, False):
        store.put(stored, content)
        try:
            check(store, stored)
            return
        except Problem:
            if not again:
                raise


def fetch(store: Store, name: str, most: int) -> bytes:
    """A small object whole.

    Raises:
        Problem: ``NotFound``; ``ArchiveFailed``, also when it is longer than ``most`` bytes.
    """
    data = b""
    for chunk in store.read(name):
        data += chunk
        if len(data) > most:
            raise failed(store.url, name, f"is longer than {most} bytes")
    return data


def chunks_of(path: Path) -> Iterator[bytes]:
    """A file in chunks."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def not_found(url: str, name: str) -> Problem:
    """``NotFound`` for an object of an archive."""
    return Problem(Code.NOT_FOUND, where=f"{url}/{name}", detail="the archive has no such object")


def failed(url: str, name: str, detail: str) -> Problem:
    """What to say of a store that failed."""
    return Problem(
        Code.ARCHIVE_FAILED,
        where=f"{url}/{name}" if name else url,
        detail=detail,
        facts={"archive": url, "object": name},
    )
