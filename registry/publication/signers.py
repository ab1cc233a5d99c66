"""Keys that sign registry metadata: Ed25519, one PKCS #8 PEM file each, mode 0600.

Root and targets keys belong on paper, tokens or machines without network; only the snapshot and
timestamp keys lie beside the running registry. A hardware token is another ``Signer`` of
securesystemslib and fits wherever a :class:`~securesystemslib.signer.Signer` is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from exchange.problems import Code, Problem
from exchange.registry.key_sets import KeySet


def new_signer() -> CryptoSigner:
    """A new Ed25519 key."""
    return CryptoSigner.generate_ed25519()


def write_signer(path: Path, signer: CryptoSigner) -> None:
    """Write a private key to a new file that only its owner can read.

    Raises:
        Problem: ``Conflict`` when the file is there already: a key is never overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Problem(
            Code.CONFLICT, where=str(path), detail="a key is there already; it is not overwritten"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(signer.private_bytes)
        file.flush()
        os.fsync(file.fileno())


def read_signer(path: Path) -> CryptoSigner:
    """Read a private key.

    Raises:
        Problem: ``NotFound`` when there is no such file, ``InvalidDocument`` when it is not an
            Ed25519 key in PEM without password.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Problem(
            Code.NOT_FOUND, where=str(path), detail=f"the key cannot be read: {error.strerror}"
        ) from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail="not a PEM key without password"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="not an Ed25519 key")
    return CryptoSigner(key)


def public_pem(signer: CryptoSigner) -> bytes:
    """The public half (SubjectPublicKeyInfo, PEM)."""
    key = log_key_of(signer).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_public(path: Path) -> SSlibKey:
    """Read a public key for TUF. Raises: Problem as :func:`read_log_key`."""
    return SSlibKey.from_crypto(read_log_key(path))


def read_log_key(path: Path) -> Ed25519PublicKey:
    """Read a public key, as :func:`public_pem` writes it.

    Raises:
        Problem: ``NotFound`` when there is no such file, ``InvalidDocument`` when it is no Ed25519
            key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise Problem(
            Code.NOT_FOUND, where=str(path), detail=f"the key cannot be read: {error.strerror}"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail="not a public key in PEM"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="not an Ed25519 key")
    return key


def log_key_of(signer: CryptoSigner) -> Ed25519PrivateKey:
    """The key itself: checkpoints are signed notes, no TUF metadata."""
    key = load_pem_private_key(signer.private_bytes, None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101  # both makers of signers see to it
    return key


def read_signers(paths: Iterable[Path]) -> list[CryptoSigner]:
    """Read several private keys, in the order given."""
    return [read_signer(path) for path in paths]


def key_set(signers: Iterable[Signer], threshold: int) -> KeySet:
    """The public keys of ``signers`` as a set of which ``threshold`` must sign."""
    return key_set_of((signer.public_key for signer in signers), threshold)


def key_set_of(keys: Iterable[Key], threshold: int) -> KeySet:
    """Public keys as a set of which ``threshold`` must sign."""
    return KeySet(tuple(sorted(keys, key=lambda key: str(key.keyid))), threshold)
