"""Key files under a passphrase: scrypt opens one key, which encrypts all key files.

``keys/store.key`` holds the store's key, 32 random bytes, encrypted with AES-256-GCM under scrypt
(RFC 7914) of the passphrase: ``log2(N) || salt || nonce || ciphertext``. Key files are encrypted
with AES-256-GCM under the store's key, with a random nonce, bound to the key's name. So another
passphrase needs that one file written anew, and a guess costs 64 MiB and a tenth of a second.

What is not defended: whoever reads the memory of the running server, or the passphrase's file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchange.problems import Code, Problem
from mediator.journal.key_files import KeyFiles, unreadable
from mediator.journal.keyring import KeyRing
from serving.log.files import Files

FILE: Final = "store.key"
_NAME: Final = "key store"
_SALT_SIZE: Final = 16
_NONCE_SIZE: Final = 12
_LOG_N: Final = 16
_MAX_LOG_N: Final = 20
_R, _P = 8, 1
_MAX_PASSPHRASE: Final = 1024
_STORE_CONTEXT: Final = b"saphan key store v1"
_KEY_CONTEXT: Final = b"saphan key file v1 "


class PassphraseKeys:
    """Implements :class:`mediator.journal.key_files.KeyEncryption`."""

    method = 1

    def __init__(self, key: bytes) -> None:
        self._secret = key
        self._key = AESGCM(key)

    def __reduce__(self) -> tuple[type[PassphraseKeys], tuple[bytes]]:
        """Processes that verify side by side are given the opened store."""
        return PassphraseKeys, (self._secret,)

    @classmethod
    def open(cls, directory: Path, passphrase: bytes, files: Files | None = None) -> Self:
        """Open the store in a folder of keys, or make it; blocks for a tenth of a second.

        Raises:
            Problem: ``InvalidSettings`` when it is another passphrase, or none;
                ``SealedPartUnreadable`` when the store's file is damaged.
            OSError: when the store cannot be made.
        """
        _check_length(passphrase)
        store = KeyFiles(directory, files=files)
        content = store.read(directory / FILE, _NAME)
        if content is not None:
            return cls(_unseal(content, passphrase))
        key = os.urandom(32)
        store.write(directory / FILE, _NAME, _seal(key, passphrase))
        return cls(key)

    def encrypt(self, name: str, data: bytes) -> bytes:
        """See :class:`mediator.journal.key_files.KeyEncryption`."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._key.encrypt(nonce, data, _KEY_CONTEXT + name.encode())

    def decrypt(self, name: str, data: bytes) -> bytes:
        """See :class:`mediator.journal.key_files.KeyEncryption`."""
        nonce, rest = data[:_NONCE_SIZE], data[_NONCE_SIZE:]
        try:
            return self._key.decrypt(nonce, rest, _KEY_CONTEXT + name.encode())
        except (InvalidTag, ValueError) as error:
            raise unreadable(name, "the key file is damaged, or of another key store") from error


def change_passphrase(directory: Path, old: bytes, new: bytes, files: Files | None = None) -> None:
    """Put the store in a folder of keys under another passphrase; a server may run meanwhile.

    One file is replaced as a whole: whatever fails, the old passphrase opens the store, or the new
    one does. The store's key stays the same: who has an old copy of the file and the old
    passphrase opens the key files of today, too.

    Raises:
        Problem: ``InvalidSettings`` when there is no store, the old passphrase is another, or the
            new one is none or the same; ``SealedPartUnreadable`` when the file is damaged.
        OSError: it may have been changed or not.
    """
    _check_length(new)
    if new == old:
        raise _refuse("the new passphrase is the old one")
    store = KeyFiles(directory, files=files)
    content = store.read(directory / FILE, _NAME)
    if content is None:
        raise _refuse(f"{directory} holds no keys under a passphrase")
    store.write(directory / FILE, _NAME, _seal(_unseal(content, old), new))


def unlocked(directory: Path, passphrase_file: Path | None) -> KeyRing:
    """The keys of a folder for reading, opened when there is a store and a passphrase for it.

    Raises:
        Problem: ``InvalidSettings`` when it is another passphrase.
    """
    return KeyRing(directory, opened(directory, passphrase_file))


def opened(directory: Path, passphrase_file: Path | None) -> PassphraseKeys | None:
    """The store in a folder of keys; None when there is no store, or no passphrase for it.

    Raises:
        Problem: ``InvalidSettings`` when it is another passphrase; ``SealedPartUnreadable`` when
            the store's file is damaged, with a passphrase or without.
    """
    if passphrase_file is not None and (directory / FILE).exists():
        return PassphraseKeys.open(directory, read_passphrase(passphrase_file))
    return None


def check_store(directory: Path) -> None:
    """Read the store's file as far as that needs no passphrase.

    Raises:
        Problem: ``SealedPartUnreadable`` when it is damaged.
    """
    KeyFiles(directory).read(directory / FILE, _NAME)


def read_passphrase(path: Path) -> bytes:
    """The first line of a file.

    Raises:
        Problem: ``InvalidSettings`` when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.readline(_MAX_PASSPHRASE + 2).rstrip(b"\r\n")
    except OSError as error:
        raise _refuse(f"{path} cannot be read: {error.strerror}") from error


def _check_length(passphrase: bytes) -> None:
    if not passphrase or len(passphrase) > _MAX_PASSPHRASE:
        raise _refuse(f"a passphrase has 1 to {_MAX_PASSPHRASE} bytes")


def _seal(key: bytes, passphrase: bytes) -> bytes:
    """What the store's file holds."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(_NONCE_SIZE)
    sealed = _cipher(passphrase, salt, _LOG_N).encrypt(nonce, key, _STORE_CONTEXT)
    return bytes([_LOG_N]) + salt + nonce + sealed


def _unseal(content: bytes, passphrase: bytes) -> bytes:
    """The store's key out of what its file holds."""
    log_n, rest = content[0], content[1:]
    if not 1 <= log_n <= _MAX_LOG_N:
        raise unreadable(_NAME, "its file asks for more work than is allowed")
    salt, rest = rest[:_SALT_SIZE], rest[_SALT_SIZE:]
    try:
        return _cipher(passphrase, salt, log_n).decrypt(
            rest[:_NONCE_SIZE], rest[_NONCE_SIZE:], _STORE_CONTEXT
        )
    except (InvalidTag, ValueError) as error:
        raise _refuse("the key store was made with another passphrase") from error


def _cipher(passphrase: bytes, salt: bytes, log_n: int) -> AESGCM:
    memory = 2 * 128 * _R * (1 << log_n)
    key = hashlib.scrypt(passphrase, salt=salt, n=1 << log_n, r=_R, p=_P, maxmem=memory, dklen=32)
    return AESGCM(key)


def _refuse(detail: str) -> Problem:
    return Problem(Code.INVALID_SETTINGS, where="journal.passphrase_file", detail=detail)
