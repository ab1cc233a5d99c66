"""Key files: small secrets, each whole and durable or as it was before, encrypted or not.

A file is ``"saphan-key" || 0x01 || method || body``. The method says how the body is kept from
whoever reads the disk: :class:`PlainKeys` (by the file's mode alone) or what stands behind
:class:`KeyEncryption`: a passphrase (:mod:`mediator.journal.passphrase`), or a token that speaks
PKCS#11, which encrypts and decrypts a few hundred bytes and keeps its own key.

Invariants:
- a file is replaced by a whole one: written beside it, synced, renamed; a crash leaves the old one
  or the new one, and a draft that the next write removes;
- what a replaced or removed file held is overwritten before its blocks are given back. A file
  system or a disk that writes elsewhere (copy on write, flash) may still have it for a while: that
  is what encryption, and keeping the folder out of backups, are for.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from exchange.problems import Code, Problem
from serving.log.files import Files, RealFiles

SUFFIX: Final = ".key"
_MAGIC: Final = b"saphan-key\x01"
_HEADER: Final = len(_MAGIC) + 1
_CHECK_SIZE: Final = 16


class KeyEncryption(Protocol):
    """Encrypts what key files hold; blocking, called from any thread.

    This is the seam for a hardware token: ``method`` is a byte of its own, and the token's key
    never leaves it.
    """

    method: int

    def encrypt(self, name: str, data: bytes) -> bytes:
        """Encrypt, bound to the key's name."""
        ...

    def decrypt(self, name: str, data: bytes) -> bytes:
        """Decrypt.

        Raises:
            Problem: ``SealedPartUnreadable`` when it is not what this encrypted for that name.
        """
        ...


class PlainKeys:
    """No encryption: a check value tells a damaged file from a whole one."""

    method = 0

    def encrypt(self, name: str, data: bytes) -> bytes:
        """See :class:`KeyEncryption`."""
        return data + _check(name, data)

    def decrypt(self, name: str, data: bytes) -> bytes:
        """See :class:`KeyEncryption`."""
        secret, check = data[:-_CHECK_SIZE], data[-_CHECK_SIZE:]
        if check != _check(name, secret):
            raise unreadable(name, "the key file is damaged, or it is another key's")
        return secret


def _check(name: str, data: bytes) -> bytes:
    return sha256(b"saphan key check v1 " + name.encode() + b"\n" + data).digest()[:_CHECK_SIZE]


def unreadable(name: str, detail: str) -> Problem:
    """A key that is there and cannot be used."""
    return Problem(Code.SEALED_PART_UNREADABLE, where=f"key {name}", detail=detail)


class KeyFiles:
    """The files of one folder and those below it; the folder of one key is made when it is."""

    def __init__(
        self, directory: Path, encryption: KeyEncryption | None = None, files: Files | None = None
    ) -> None:
        self.directory = directory
        self._encryption = encryption or PlainKeys()
        self._files = files or RealFiles()

    def read(self, path: Path, name: str) -> bytes | None:
        """What a file holds; None when it is not there.

        Raises:
            Problem: ``SealedPartUnreadable`` when it cannot be read or decrypted.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(name, f"its file cannot be read: {error.strerror}") from error
        if len(data) <= _HEADER or not data.startswith(_MAGIC):
            raise unreadable(name, f"{path.name} is no key file")
        return self._open(data[_HEADER - 1], name, data[_HEADER:])

    def _open(self, method: int, name: str, body: bytes) -> bytes:
        if method == PlainKeys.method:
            return PlainKeys().decrypt(name, body)
        if method != self._encryption.method:
            raise Problem(
                Code.SEALED_PART_UNREADABLE,
                where=f"key {name}",
                detail="the key file is encrypted; the key store's passphrase opens it",
                facts={"encrypted": True},
            )
        return self._encryption.decrypt(name, body)

    def is_plain(self, path: Path) -> bool:
        """Whether a file could be better kept than it is."""
        if self._encryption.method == PlainKeys.method:
            return False
        with contextlib.suppress(OSError), path.open("rb") as file:
            return file.read(_HEADER) == _MAGIC + bytes([PlainKeys.method])
        return False

    def write(self, path: Path, name: str, data: bytes) -> None:
        """Make a file whole and durable; what it held before is overwritten.

        Raises:
            OSError: it is as it was, or replaced already.
        """
        body = self._encryption.encrypt(name, data)
        self._make_folder(path.parent)
        self._remove_drafts(path)
        draft = path.with_name(f".{path.name}.draft")
        self._write(draft, _MAGIC + bytes([self._encryption.method]) + body)
        old = self._files.open(path) if path.exists() else None
        try:
            self._files.rename(draft, path)
            self._files.sync_directory(path.parent)
            if old is not None:
                self._overwrite(old)
        finally:
            if old is not None:
                os.close(old)

    def remove(self, path: Path) -> None:
        """Overwrite and remove a file, durably; one that is not there does not matter.

        Raises:
            OSError: it may still be there.
        """
        self._remove_drafts(path)
        if not path.exists():
            return
        descriptor = self._files.open(path)
        try:
            self._overwrite(descriptor)
        finally:
            os.close(descriptor)
        self._files.remove(path)
        self._files.sync_directory(path.parent)

    def _remove_drafts(self, path: Path) -> None:
        """Of a crash: a draft may hold what must be forgotten."""
        draft = path.with_name(f".{path.name}.draft")
        if draft.exists():
            descriptor = self._files.open(draft)
            try:
                self._overwrite(descriptor)
            finally:
                os.close(descriptor)
            self._files.remove(draft)

    def _write(self, path: Path, data: bytes) -> None:
        descriptor = self._files.open(path)
        try:
            self._files.write_durably(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def _overwrite(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size:
            self._files.write_durably(descriptor, bytes(size), 0)

    def _make_folder(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(exist_ok=True, mode=0o700)
            self._files.sync_directory(one.parent)
