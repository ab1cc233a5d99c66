"""The key ring: of each member, month and retention class a key that can forget single records.

A key is a root of a puncturable tree (:mod:`exchange.journal.puncturable`): each record has a leaf
of its own. The file of a key holds what the key still derives, and the next *block* of 2²⁴ leaves
that nobody has used.

Invariants:
- whoever seals takes a block first, durably: no leaf is used twice, whatever crashes; blocks also
  go with the time, so that a key file that was put back does not lead to used ones;
- punctures and new blocks are written by one process, the one that has the journal open; others
  read. A file is looked at again when it was replaced;
- erasing only takes away: it may be done again at any time, and is at each start for what the
  journal says was erased (:mod:`mediator.journal.erasures`);
- no proof depends on a key.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from exchange.identifiers import MemberId
from exchange.journal import sealed_parts, subjects
from exchange.journal.entries import Sealed
from exchange.journal.puncturable import LEAVES, SEED_SIZE, Cover
from exchange.problems import Code, Problem
from mediator.journal.key_files import SUFFIX, KeyEncryption, KeyFiles, unreadable
from serving.log.files import Files
from serving.randomness import random_bytes

BLOCK: Final = 1 << 24
MAX_DAYS: Final = 36_500
DEFAULT_DAYS: Final = 3650
_BLOCKS: Final = LEAVES // BLOCK
_HEIGHT: Final = 8
"""Of the leaves that are derived at once: a hash and a seventh each, where all are wanted."""
_STRETCH: Final = 1 << _HEIGHT
_INDEX_SUFFIX = ".index"
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_NAME = re.compile(rf"(.+) ({_MONTH.pattern}) d([1-9][0-9]{{0,4}})", re.ASCII)
_FILE = re.compile(rf"({_MONTH.pattern})\.d([1-9][0-9]{{0,4}})\.key", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """The name of a member's key of a month and class, such as ``LA/GOV/MPI 2026-11 d365``.

    ``days`` is for how long after the month's end its records are kept.
    """

    member: MemberId
    month: str
    days: int

    def __str__(self) -> str:
        return f"{self.member} {self.month} d{self.days}"

    @classmethod
    def of(cls, member: MemberId, at: datetime, days: int) -> KeyName:
        """The key for a record of a time."""
        return cls(member, f"{at.year:04d}-{at.month:02d}", days)

    @classmethod
    def parse(cls, text: str) -> KeyName:
        """Parse a key's name.

        Raises:
            Problem: ``InvalidIdentifier`` when it is not a member, a month and a number of days.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise Problem(
                Code.INVALID_IDENTIFIER, where="key", detail=f"{text[:100]!r} names no key"
            )
        return cls(MemberId.parse(found[1], "key"), found[2], int(found[3]))

    def ends(self) -> date:
        """The first day on which nothing of it is kept any more."""
        year, month = int(self.month[:4]), int(self.month[5:])
        following = date(year + month // 12, month % 12 + 1, 1)
        return following + timedelta(days=self.days)


@dataclass(frozen=True, slots=True, order=True)
class IndexName:
    """The name of a member's key of subjects' tags of a month: ``LA/GOV/MPI 2026-11 index``."""

    member: MemberId
    month: str

    def __str__(self) -> str:
        return f"{self.member} {self.month} index"


@dataclass(frozen=True, slots=True)
class KeyState:
    """What a key's file holds: which block is free next, and what is still derived."""

    next_block: int
    cover: Cover

    @property
    def spent(self) -> bool:
        """Whether every leaf that was ever used is gone."""
        nodes = self.cover.nodes
        return not nodes or nodes[0].first >= self.next_block * BLOCK

    def __bytes__(self) -> bytes:
        return self.next_block.to_bytes(4, "big") + bytes(self.cover)

    @classmethod
    def parse(cls, data: bytes, name: str) -> KeyState:
        """Read a key file's content.

        Raises:
            Problem: ``SealedPartUnreadable`` when it is no key.
        """
        try:
            return cls(int.from_bytes(data[:4], "big"), Cover.parse(data[4:]))
        except Problem as problem:
            raise unreadable(name, f"no key: {problem.detail}") from problem


class MemberKey:
    """A member's key of one month and class, ready to open."""

    def __init__(self, name: str, cover: Cover) -> None:
        self.name = name
        self.cover = cover
        self._stretch: tuple[int, list[bytes | None]] = (-1, [])

    def open(self, sealed: Sealed, ciphertext: bytes) -> bytes:
        """The plaintext of a sealed part.

        Raises:
            Problem: ``SealedPartErased``, ``SealedPartUnreadable``.
        """
        return sealed_parts.decrypt(ciphertext, self.record_key(sealed), self.name)

    def record_key(self, sealed: Sealed) -> bytes:
        """The key of one record alone: what is handed out with an export.

        Raises:
            Problem: ``SealedPartErased`` when this key forgot it.
        """
        first = sealed.leaf - sealed.leaf % _STRETCH
        at, keys = self._stretch
        if at != first:  # records are mostly opened in the order in which they were sealed
            keys = self.cover.stretch(first, _HEIGHT) if sealed.leaf < LEAVES else []
            self._stretch = first, keys
        key = keys[sealed.leaf - first] if keys else None
        if key is None:
            raise Problem(
                Code.SEALED_PART_ERASED,
                where=f"key {self.name}",
                detail=f"the key of its record (leaf {sealed.leaf}) was destroyed",
            )
        return key


class SealingKey(MemberKey):
    """A member's key with a block of leaves that this process alone uses."""

    def __init__(self, name: str, cover: Cover, block: int) -> None:
        super().__init__(name, cover)
        self.next = block * BLOCK
        self.end = self.next + BLOCK
        self._ready: list[bytes | None] = []

    def seal(self, plaintext: bytes) -> tuple[Sealed, bytes]:
        """Encrypt under a key of its own; what the entry says of it, and the ciphertext."""
        ready, leaf = self._ready, self.next
        if not ready:
            ready = self._ready = self.cover.stretch(leaf, _HEIGHT)[::-1]
        self.next = leaf + 1
        record_key = ready.pop()
        if record_key is None:  # nobody punctures a leaf before it was used
            raise unreadable(self.name, f"leaf {leaf} was punctured before it was used")
        nonce = random_bytes(sealed_parts.NONCE_SIZE)
        ciphertext = sealed_parts.encrypt(plaintext, record_key, self.name, nonce)
        digest = sealed_parts.digest(ciphertext)
        return Sealed(digest, len(ciphertext), self.name, leaf), ciphertext


def _second_of_month(at: datetime) -> int:
    return ((at.day * 24 + at.hour) * 60 + at.minute) * 60 + at.second


class KeyRing:
    """The keys in one folder: ``{instance}/{class}/{member}/{month}.d{days}.key``."""

    def __init__(
        self,
        directory: Path,
        encryption: KeyEncryption | None = None,
        files: Files | None = None,
    ) -> None:
        self.directory = directory
        self._files = KeyFiles(directory, encryption, files)
        self._lock = threading.Lock()
        self._current: dict[tuple[MemberId, int, int, int], SealingKey] = {}
        self._named: dict[str, tuple[tuple[int, int], MemberKey]] = {}
        self._paths: dict[str, str] = {}
        self._index: dict[tuple[MemberId, int, int], bytes] = {}

    def current(self, member: MemberId, at: datetime, days: int) -> SealingKey | None:
        """The key for a record, if :meth:`make` was called for it before. Never blocks."""
        key = self._current.get((member, at.year, at.month, days))
        return key if key is None or key.next < key.end else None

    def make(self, member: MemberId, at: datetime, days: int) -> SealingKey:
        """Take a fresh block of a key's leaves, durably; the key is made if need be. Blocks.

        Raises:
            OSError: when it can be neither read nor written.
            Problem: ``SealedPartUnreadable`` when its file is there but is no key.
        """
        name = KeyName.of(member, at, days)
        with self._lock:
            state = self._state(name) or KeyState(0, Cover.whole(os.urandom(SEED_SIZE)))
            # Not less than the seconds since the month began: a key file of a backup, put back by
            # mistake, does not lead to leaves that were used since.
            block = max(state.next_block, _second_of_month(at))
            if block >= _BLOCKS:
                raise unreadable(str(name), "all its leaves are used")
            self._write(name, KeyState(block + 1, state.cover))
            key = SealingKey(str(name), state.cover, block)
            self._current[member, at.year, at.month, days] = key
        return key

    def find(self, name: str) -> MemberKey | None:
        """The key of this name, or None when it is not in this folder. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable`` when the file is there but is no key, or needs a
                passphrase.
        """
        try:
            path = self._paths.get(name) or str(self.path_of(KeyName.parse(name)))
            stat = os.stat(path)
        except FileNotFoundError:
            return None
        except (OSError, Problem) as error:
            raise unreadable(name, f"{error}") from error
        self._paths[name] = path
        version = stat.st_ino, stat.st_mtime_ns
        known = self._named.get(name)
        if known is None or known[0] != version:
            data = self._files.read(Path(path), name)
            if data is None:
                return None
            known = version, MemberKey(name, KeyState.parse(data, name).cover)
            self._named[name] = known
        return known[1]

    def names(self) -> Iterator[KeyName]:
        """The keys in this folder, in order."""
        found = []
        for path in self.directory.glob(f"*/*/*/*{SUFFIX}"):
            parts = _FILE.fullmatch(path.name)
            if parts is not None:  # else a stranger's file
                found.append(KeyName(self._member_of(path), parts[1], int(parts[2])))
        yield from sorted(found)

    def state(self, name: KeyName) -> KeyState | None:
        """What the file of a key holds now; None when there is none. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable``.
        """
        with self._lock:
            return self._state(name)

    def retire(self, name: KeyName) -> int:
        """Let no further record take a leaf of those in use; return the first that is free.

        Records that are sealed from now on take leaves behind it. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable``; ``NotFound`` when there is no such key.
        """
        with self._lock:
            state = self._state(name)
            if state is None:
                raise Problem(Code.NOT_FOUND, where=f"key {name}", detail="there is no such key")
            self._drop(name)
            return state.next_block * BLOCK

    def puncture(self, name: KeyName, leaves: Iterable[int] = (), before: int = 0) -> bool:
        """Forget these leaves, and all before one, durably; whether any was still known. Blocks.

        Raises:
            OSError: nothing is forgotten, or all is; do it again.
            Problem: ``SealedPartUnreadable``.
        """
        with self._lock:
            state = self._state(name)
            if state is None:
                return False
            cover = state.cover.since(before).puncture(leaves)
            if cover.nodes == state.cover.nodes:
                return False
            self._write(name, KeyState(state.next_block, cover))
            for key in self._current.values():
                if key.name == str(name):
                    key.cover = cover
            return True

    def encrypt_plain(self) -> int:
        """Rewrite the files from before a passphrase was set; how many there were. Blocks.

        Raises:
            OSError, Problem: some may be as they were.
        """
        plain = [name for name in self.names() if self._files.is_plain(self.path_of(name))]
        for name in plain:
            with self._lock:
                state = self._state(name)
                if state is not None:
                    self._write(name, state)
        return len(plain)

    def index_key(self, member: MemberId, at: datetime) -> bytes | None:
        """The key of subjects' tags for a time, once :meth:`make_index_key` was called for its
        month. Never blocks."""
        return self._index.get((member, at.year, at.month))

    def make_index_key(self, member: MemberId, at: datetime) -> bytes:
        """Read the key of subjects' tags for a time, or make it durable first. Blocks.

        It is a key of its own: destroying what seals a month's records does not blind search.

        Raises:
            OSError: when it can be neither read nor written.
            Problem: ``SealedPartUnreadable`` when its file is there but is no key.
        """
        name = IndexName(member, f"{at.year:04d}-{at.month:02d}")
        with self._lock:
            key = self._index_key(name)
            if key is None:
                key = os.urandom(subjects.KEY_SIZE)
                self._files.write(self._index_path(name), str(name), key)
            return self._index.setdefault((member, at.year, at.month), key)

    def index_keys(
        self, since: str = "", until: str = "9999-99"
    ) -> Iterator[tuple[IndexName, bytes]]:
        """The keys of subjects' tags that are here, of the months from ``since`` to ``until``, both
        included. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable`` when one cannot be read.
        """
        for name in self.index_names():
            if since <= name.month <= until:
                key = self._index_key(name)
                if key is not None:
                    yield name, key

    def index_names(self) -> Iterator[IndexName]:
        """Which keys of subjects' tags are in this folder, in order."""
        for path in sorted(self.directory.glob(f"*/*/*/*{_INDEX_SUFFIX}")):
            if _MONTH.fullmatch(path.stem):
                yield IndexName(self._member_of(path), path.stem)

    def check(self, name: KeyName | IndexName) -> None:
        """Read the file of a key, as if to use it. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable`` when it is there but is no key, or needs a passphrase.
        """
        if isinstance(name, KeyName):
            self._state(name)
        else:
            self._index_key(name)

    def destroy_index_key(self, name: IndexName) -> bool:
        """Destroy a key of subjects' tags, durably; whether it was there. Blocks.

        Raises:
            OSError: it may still be there.
        """
        with self._lock:
            path = self._index_path(name)
            there = path.exists()
            self._files.remove(path)
            self._index.pop((name.member, int(name.month[:4]), int(name.month[5:])), None)
        return there

    def _index_key(self, name: IndexName) -> bytes | None:
        key = self._files.read(self._index_path(name), str(name))
        if key is not None and len(key) != subjects.KEY_SIZE:
            raise unreadable(str(name), f"{len(key)} bytes instead of {subjects.KEY_SIZE}")
        return key

    def _index_path(self, name: IndexName) -> Path:
        return self._folder_of(name.member) / f"{name.month}{_INDEX_SUFFIX}"

    def path_of(self, name: KeyName) -> Path:
        """Where a key's file is."""
        return self._folder_of(name.member) / f"{name.month}.d{name.days}{SUFFIX}"

    def _folder_of(self, member: MemberId) -> Path:
        return self.directory / member.instance / member.member_class / member.member_code

    def _member_of(self, path: Path) -> MemberId:
        return MemberId(*path.relative_to(self.directory).parts[:3])

    def _state(self, name: KeyName) -> KeyState | None:
        data = self._files.read(self.path_of(name), str(name))
        return None if data is None else KeyState.parse(data, str(name))

    def _write(self, name: KeyName, state: KeyState) -> None:
        self._files.write(self.path_of(name), str(name), bytes(state))
        self._named.pop(str(name), None)

    def _drop(self, name: KeyName) -> None:
        for place, key in list(self._current.items()):
            if key.name == str(name):
                del self._current[place]
