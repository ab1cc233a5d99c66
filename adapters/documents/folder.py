"""A folder and the documents in it, reached only from its own descriptor.

Invariants:

- every step into the folder is an ``openat`` that follows no symbolic link, so that nothing
  outside of it is ever read, whatever is put into it or changed while it is read;
- only regular files count; hidden ones, links, pipes and devices are passed over or told;
- a document is known by its name in one form (:func:`name_of`), whatever form the disk has it in;
- a document that is not the same file after it was read is not served as if it were.

All of this blocks.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from adapters.sources.sheets import refuse
from exchange import lao

MAX_DEPTH: Final = 16
MAX_NAME: Final = 400
PIECE_BYTES: Final = 1 << 20
_UNSEEN: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


class Identity(NamedTuple):
    """What tells a file, as it is now, from every other and from itself before a change."""

    device: int
    number: int
    size: int
    written_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its parts as the disk has them, and its name as callers have it."""

    parts: tuple[str, ...]
    name: str
    identity: Identity

    @property
    def id(self) -> str:
        """What names it in a path: it tells nothing, and stays as long as the name does."""
        digest = hashlib.sha256(self.name.encode()).digest()[:15]
        return base64.b32encode(digest).decode().lower()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the folder that is not served, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a walk found: documents by id, faults, when anything last changed, and a mark of it all
    that is another one for other documents."""

    entries: dict[str, Entry]
    faults: tuple[Fault, ...]
    changed_ns: int
    mark: int


def name_of(text: str) -> str:
    """A name in the one form in which names of documents are told and compared.

    In Unicode's form NFC, with the marks of Lao consonants in their order and without the signs
    that nobody sees, such as the zero-width spaces between Lao words: two writings that look alike
    are one name.
    """
    if text.isascii():
        return text
    return lao.ordered(unicodedata.normalize("NFC", text.translate(_UNSEEN)))


class Changed(Exception):
    """The file is not what it was when it was listed."""


def walk(folder: Path, most: int) -> Listing:
    """List the folder.

    Raises:
        Problem: ``SourceFailed`` when it cannot be read or holds more than ``most`` files.
    """
    entries: dict[str, Entry] = {}
    faults: list[Fault] = []
    changed = 0
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            changed = os.fstat(root).st_ctime_ns
            for found in _walk(root, (), MAX_DEPTH):
                if isinstance(found, int):
                    changed = max(changed, found)
                elif isinstance(found, Fault):
                    faults.append(found)
                elif found.id in entries:
                    faults.append(Fault(found.name, "there is another file of this name"))
                else:
                    changed = max(changed, found.identity.changed_ns)
                    entries[found.id] = found
                if len(entries) + len(faults) > most:
                    raise refuse("folder", f"there are more than {most} files (max_documents)")
        finally:
            os.close(root)
    except OSError as error:
        raise refuse("folder", f"cannot be read: {error.strerror}") from error
    mark = hash(frozenset((id, entry.identity) for id, entry in entries.items()))
    return Listing(entries, tuple(faults), changed, mark)


def _walk(folder: int, parts: tuple[str, ...], depth: int) -> Iterator[Entry | Fault | int]:
    """Entries, faults, and the times at which folders in the folder changed."""
    with os.scandir(folder) as found:
        # In one order, so that of two names that are one the same is served each time.
        names = sorted(entry.name for entry in found if not entry.name.startswith("."))
    for name in names:
        try:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue  # it was taken away since the folder was read
        here = (*parts, name)
        shown = "/".join(here).encode("utf-8", "backslashreplace").decode()
        if stat.S_ISDIR(state.st_mode):
            yield state.st_ctime_ns
            yield from _inner(folder, here, shown, depth)
        elif not stat.S_ISREG(state.st_mode):
            yield Fault(shown, "is a link, a pipe or a device")
        elif not _can_be_told(told := name_of(shown)):
            yield Fault(shown[:MAX_NAME], "has a name that cannot be told")
        else:
            yield Entry(here, told, _identity(state))


def _can_be_told(name: str) -> bool:
    """Whether nobody takes a name for another path: without unseen signs it may look like one."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and len(name) <= MAX_NAME
    return plain and not any(part.startswith(".") or not part for part in parts)


def _inner(
    folder: int, here: tuple[str, ...], shown: str, depth: int
) -> Iterator[Entry | Fault | int]:
    if not depth:
        yield Fault(shown, f"is deeper than {MAX_DEPTH} folders")
        return
    try:
        inner = os.open(
            here[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError as error:
        yield Fault(shown, f"cannot be read: {error.strerror}")
        return
    try:
        yield from _walk(inner, here, depth - 1)
    finally:
        os.close(inner)


def _identity(state: os.stat_result) -> Identity:
    return Identity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


class Opened:
    """A document that is open until it is forgotten: the file that was listed, and no other.

    Raises:
        Changed: it is gone, or another one, or not a file any more.
    """

    def __init__(self, folder: Path, entry: Entry) -> None:
        self._entry = entry
        self._file = -1
        at = -1
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for part in entry.parts[:-1]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                inner = os.open(part, flags, dir_fd=at)
                os.close(at)
                at = inner
            # A pipe in the place of the file would keep us waiting without O_NONBLOCK.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._file = os.open(entry.parts[-1], flags, dir_fd=at)
        except OSError as error:
            raise Changed(error.strerror) from error
        finally:
            if at >= 0:
                os.close(at)
        self.check()

    def check(self) -> None:
        """Raise :class:`Changed` when it is no longer what was listed."""
        try:
            state = os.fstat(self._file)
        except OSError as error:  # of a network's file system
            raise Changed(error.strerror) from error
        if not stat.S_ISREG(state.st_mode) or _identity(state) != self._entry.identity:
            raise Changed("the file is another one now")

    def read(self, offset: int, size: int) -> bytes:
        """A piece, whole.

        Raises:
            Changed: the file is shorter now, or cannot be read any more.
        """
        try:
            piece = os.pread(self._file, size, offset)
        except OSError as error:
            raise Changed(error.strerror) from error
        if len(piece) != size:
            raise Changed("the file is shorter now")
        return piece

    def pieces(self) -> Iterator[bytes]:
        """All of it, in order.

        Raises:
            Changed: as :meth:`read`, and when it is another file at the end.
        """
        size = self._entry.identity.size
        for offset in range(0, size, PIECE_BYTES):
            yield self.read(offset, min(PIECE_BYTES, size - offset))
        self.check()

    def __del__(self) -> None:
        # With its last user, who may be a thread that nobody waits for any more.
        if self._file >= 0:
            os.close(self._file)
