"""The key ring: one key per member and month, which wraps the keys of the records.

Invariants:
- a key file (32 random bytes, mode 0600) is durable before the first record that needs it;
- no nonce repeats under a key: it is 8 random bytes drawn at each opening and a 32-bit counter
  (NIST SP 800-38D section 8.2.1, the deterministic construction);
- destroying the file erases everything that the member sealed in that month; no proof breaks.

Keys are files here; an HSM or a key service can take their place behind the same methods.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchange import sealed_parts, subjects
from exchange.entries import Sealed
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from serving.randomness import random_bytes

_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_SUFFIX = ".key"
_INDEX_SUFFIX = ".index"


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """The name of a member's key of a month, such as ``LA/GOV/MPI 2026-11``."""

    member: MemberId
    month: str

    def __str__(self) -> str:
        return f"{self.member} {self.month}"

    @classmethod
    def parse(cls, text: str) -> KeyName:
        """Parse a key's name.

        Raises:
            Problem: ``InvalidIdentifier`` when it is not a member and a month.
        """
        member, _, month = text.rpartition(" ")
        if not _MONTH.fullmatch(month):
            raise Problem(
                Code.INVALID_IDENTIFIER, where="key", detail=f"{text[:100]!r} names no month"
            )
        return cls(MemberId.parse(member, "key"), month)


class MemberKey:
    """A member's key of one month, ready to seal and to open."""

    def __init__(self, name: str, key: bytes) -> None:
        self.name = name
        self._key = AESGCM(key)
        self._prefix = os.urandom(8)
        self._used = 0

    def seal(self, plaintext: bytes) -> tuple[Sealed, bytes]:
        """Encrypt under a key of its own; what the entry says of it, and the ciphertext."""
        record_key = random_bytes(sealed_parts.KEY_SIZE)
        ciphertext = sealed_parts.encrypt(plaintext, record_key, self.name)
        if self._used >> 32:
            self._prefix, self._used = os.urandom(8), 0
        nonce = self._prefix + self._used.to_bytes(4, "big")
        self._used += 1
        wrapped = sealed_parts.wrap_key(record_key, self._key, self.name, nonce)
        digest = sealed_parts.digest(ciphertext)
        return Sealed(digest, len(ciphertext), self.name, wrapped), ciphertext

    def open(self, sealed: Sealed, ciphertext: bytes) -> bytes:
        """The plaintext of a sealed part.

        Raises:
            Problem: ``SealedPartUnreadable``.
        """
        return sealed_parts.decrypt(ciphertext, self.record_key(sealed), self.name)

    def record_key(self, sealed: Sealed) -> bytes:
        """The key of one record alone: what is handed out with an export.

        Raises:
            Problem: ``SealedPartUnreadable`` when this key did not wrap it.
        """
        return sealed_parts.unwrap_key(sealed.wrapped, self._key, self.name)


class KeyRing:
    """The keys in one folder: ``{instance}/{class}/{member}/{month}.key``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._current: dict[tuple[MemberId, int, int], MemberKey] = {}
        self._named: dict[str, MemberKey | None] = {}
        self._index: dict[tuple[MemberId, int, int], bytes] = {}

    def current(self, member: MemberId, at: datetime) -> MemberKey | None:
        """The key for a time, if :meth:`make` was called for its month before. Never blocks."""
        return self._current.get((member, at.year, at.month))

    def make(self, member: MemberId, at: datetime) -> MemberKey:
        """Read the key for a time, or make it durable first. Blocks.

        Raises:
            OSError: when it can be neither read nor written.
        """
        name = KeyName(member, f"{at.year:04d}-{at.month:02d}")
        path = self.path_of(name)
        if not path.exists():
            _create(path, os.urandom(sealed_parts.KEY_SIZE))
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink(missing_ok=True)  # of a crash: destroying the key must leave no copy
        key = MemberKey(str(name), _read(path))
        self._named[key.name] = key
        return self._current.setdefault((member, at.year, at.month), key)

    def find(self, name: str) -> MemberKey | None:
        """The key of this name, or None when it was destroyed or never was here. Blocks.

        Raises:
            Problem: ``SealedPartUnreadable`` when the file is there but is no key.
        """
        if name not in self._named:
            try:
                path = self.path_of(KeyName.parse(name))
                self._named[name] = MemberKey(name, _read(path)) if path.exists() else None
            except (OSError, ValueError, Problem) as error:
                raise Problem(
                    Code.SEALED_PART_UNREADABLE, where=f"key {name}", detail=f"{error}"
                ) from error
        return self._named[name]

    def index_key(self, member: MemberId, at: datetime) -> bytes | None:
        """The key of subjects' tags for a time, once :meth:`make_index_key` was called for its
        month. Never blocks."""
        return self._index.get((member, at.year, at.month))

    def make_index_key(self, member: MemberId, at: datetime) -> bytes:
        """Read the key of subjects' tags for a time, or make it durable first. Blocks.

        It is a key of its own: destroying what seals a month's records does not blind search.

        Raises:
            OSError: when it can be neither read nor written.
        """
        name = KeyName(member, f"{at.year:04d}-{at.month:02d}")
        path = self.path_of(name).with_suffix(_INDEX_SUFFIX)
        if not path.exists():
            _create(path, os.urandom(subjects.KEY_SIZE))
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink(missing_ok=True)
        return self._index.setdefault((member, at.year, at.month), _read(path))

    def index_keys(
        self, since: str = "", until: str = "9999-99"
    ) -> Iterator[tuple[KeyName, bytes]]:
        """The keys of subjects' tags that are here, of the months from ``since`` to ``until``, both
        included. Blocks.

        Raises:
            OSError: when one cannot be read.
        """
        for path in sorted(self.directory.glob(f"*/*/*/*{_INDEX_SUFFIX}")):
            member, month = path.parent.relative_to(self.directory), path.stem
            if _MONTH.fullmatch(month) and since <= month <= until:
                yield KeyName(MemberId.parse(str(member)), month), _read(path)

    def path_of(self, name: KeyName) -> Path:
        member = name.member
        folder = self.directory / member.instance / member.member_class / member.member_code
        return folder / f"{name.month}{_SUFFIX}"


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if len(data) != sealed_parts.KEY_SIZE:
        raise OSError(f"{path} holds {len(data)} bytes instead of {sealed_parts.KEY_SIZE}")
    return data


def _create(path: Path, key: bytes) -> None:
    """Make a key file that is whole and durable, or not there; another's is left in place."""
    new_folders = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
    for folder in [path.parent, *(folder.parent for folder in new_folders)]:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
