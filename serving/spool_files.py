"""The files of long bodies: what threads do with them (:mod:`serving.bodies`).

Invariants:
- a file has no name in the file system from the moment it exists (``O_TMPFILE``): it ends with its
  descriptor, whatever happens to the process;
- what is written is encrypted (AES-256-CTR) under a key of this file alone, which is nowhere but in
  memory: after the process, however it ended, nobody reads what the disk's blocks still hold. Who
  could write to the file could change a body unseen; its digest is checked where it is signed;
- a descriptor is closed when the last thread that uses it is done, never under it.

All of this blocks, and raises :class:`OSError` as the disk does.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

PIECE_BYTES: Final = 256 * 1024
_BLOCK: Final = 16


class SpoolFile:
    """A descriptor that is closed with its last user, who may be a thread."""

    __slots__ = ("_key", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._key = algorithms.AES256(os.urandom(32))

    def at(self, offset: int) -> CipherContext:
        """Encrypts, and decrypts, from this byte on. Each byte is written once."""
        block, rest = divmod(offset, _BLOCK)
        context = Cipher(self._key, modes.CTR(block.to_bytes(_BLOCK, "big"))).encryptor()
        context.update(bytes(rest))
        return context

    def __del__(self) -> None:
        os.close(self.descriptor)


def nameless(directory: Path) -> SpoolFile:
    """A new file without a name, for its owner alone."""
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    return SpoolFile(os.open(directory, flags, stat.S_IRUSR | stat.S_IWUSR))


def create(directory: Path | None, size: int, reserve_bytes: int) -> SpoolFile:
    """A new file for ``size`` bytes, when the disk has room for them beside what is reserved."""
    if directory is None:
        raise OSError(errno.ENOENT, "no folder is set")
    _check_free(os.statvfs(directory), size + reserve_bytes)
    return nameless(directory)


def _check_free(disk: os.statvfs_result, size: int) -> None:
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def append(
    file: SpoolFile, digest: Any, offset: int, pieces: Sequence[bytes], reserve_bytes: int
) -> SpoolFile:
    """Write pieces at ``offset`` and hash them on the way, when the disk has room for them."""
    # Others write to this disk too, and bodies that were begun when it had room for each of them.
    _check_free(os.fstatvfs(file.descriptor), sum(map(len, pieces)) + reserve_bytes)
    cipher = file.at(offset)
    for piece in pieces:
        digest.update(piece)
        view = memoryview(cipher.update(piece))
        while view:
            written = os.pwrite(file.descriptor, view, offset)
            offset += written
            view = view[written:]
    return file


def read(file: SpoolFile, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    pieces: list[bytes] = []
    cipher = file.at(offset)
    while size > 0:
        piece = os.pread(file.descriptor, size, offset)
        if not piece:
            raise OSError(errno.EIO, "the file is shorter than what was written")
        pieces.append(cipher.update(piece))
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def digest(file: SpoolFile, size: int, algorithm: str) -> bytes:
    """The digest of the first ``size`` bytes with an algorithm of :mod:`hashlib`."""
    found = hashlib.new(algorithm)
    for offset in range(0, size, PIECE_BYTES):
        found.update(read(file, offset, min(PIECE_BYTES, size - offset)))
    return found.digest()
