"""A server's own keys and certificates, read from their files and judged before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from exchange.certificates.judging import judge_auth, judge_seal
from exchange.certificates.reading import parse_certificates, refuse_development
from exchange.identifiers import MemberId, ServerId
from exchange.keys import SigningKey, signing_key
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey
from exchange.problems import Code, Problem
from exchange.trust.admission import trusted_authorities
from exchange.trust.state import RegistryState
from mediator.journal.keyring import KeyRing
from mediator.journal.log import JournalSettings
from mediator.journal.passphrase import FILE as STORE_FILE
from mediator.journal.passphrase import PassphraseKeys, read_passphrase
from mediator.settings import KeyPair, ServerSettings
from serving.secret_files import create
from serving.small_files import read_file

JOURNAL_KEY = "journal.key"
WITNESS_KEY = "witness.key"


def own_keys(
    settings: ServerSettings, state: RegistryState, now: datetime
) -> tuple[Mapping[MemberId, SigningKey], list[tuple[str, x509.Certificate]]]:
    """The seal keys of the hosted members, each judged; and what health watches."""
    authorities = trusted_authorities(state.instance)
    auth = read_certificates(settings.auth.certificate, "auth.certificate")
    refuse_development(auth, state.instance.environment)
    server = judge_auth(auth[0], authorities, now)
    if server != settings.server:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="auth.certificate",
            detail=f"names {server}, this server is {settings.server}",
        )
    watched = [(f"auth {settings.server}", auth[0])]
    keys: dict[MemberId, SigningKey] = {}
    for member in settings.members:
        certificate = read_certificates(member.seal.certificate, f"seal of {member.id}")[0]
        refuse_development((certificate,), state.instance.environment)
        named = judge_seal(certificate, authorities, now)
        if named != member.id:
            raise Problem(
                Code.INVALID_SETTINGS,
                where=f"seal of {member.id}",
                detail=f"the certificate names {named}",
            )
        try:
            keys[member.id] = signing_key(_private_key(member.seal), certificate)
        except Problem as problem:
            raise Problem(
                Code.INVALID_SETTINGS,
                where=f"seal of {member.id}",
                detail=f"{member.seal.key}: {problem.detail}",
            ) from problem
        watched.append((f"seal {member.id}", certificate))
    return keys, watched


def log_key(path: Path) -> Ed25519PrivateKey:
    """A key that signs this log's checkpoints, or cosigns others': durable before its first use,
    never replaced."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        create(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS,
            where=str(path),
            detail="holds no PEM private key; put back the one from your copy",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem(Code.INVALID_SETTINGS, where=str(path), detail="is not an Ed25519 key")
    return key


def origin_of(server: ServerId) -> str:
    """The name of a server's log (C2SP tlog-checkpoint: a name without spaces and plus signs)."""
    return f"{server}/journal".replace("+", "%2B")


def witness_of(server: ServerId) -> str:
    """The name under which a server cosigns others' logs.

    A key that the registry lists for a server counts only under that server's own names: nobody
    can speak for another's log.
    """
    return f"{server}/witness".replace("+", "%2B")


def log_keys(directory: Path, server: ServerId) -> tuple[VerifierKey, VerifierKey]:
    """The verifier keys that the registry must list for a server: of its log, and as a witness.

    The private keys are made in ``directory`` when they are not there yet.
    """
    journal = log_key(directory / JOURNAL_KEY).public_key()
    witness = log_key(directory / WITNESS_KEY).public_key()
    return (
        VerifierKey.of(origin_of(server), journal),
        VerifierKey.of(witness_of(server), witness, COSIGNATURE_ED25519),
    )


def open_keys(directory: Path, settings: JournalSettings) -> KeyRing:
    """The keys that seal what a server records; blocks.

    Raises:
        Problem: ``InvalidSettings`` when the passphrase is not theirs; ``SealedPartUnreadable``.
        OSError: when they cannot be written.
    """
    folder, encryption = directory / "journal" / "keys", None
    if settings.passphrase_file is not None:
        passphrase = read_passphrase(settings.passphrase_file)
        encryption = PassphraseKeys.open(folder, passphrase)
    elif (folder / STORE_FILE).exists():
        raise Problem(
            Code.INVALID_SETTINGS,
            where="journal.passphrase_file",
            detail=f"{folder} holds keys under a passphrase, and none is given",
        )
    keyring = KeyRing(folder, encryption)
    keyring.encrypt_plain()
    return keyring


def _private_key(pair: KeyPair) -> Any:
    try:
        return load_pem_private_key(read_file(pair.key), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(pair.key), detail="is not a PEM private key"
        ) from error


def read_certificates(path: Path, where: str) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one.

    Raises:
        Problem: ``InvalidSettings`` at ``where``, the setting that names the file.
    """
    data = read_file(path, where=where)
    try:
        found = list(parse_certificates(data))
    except Problem as problem:
        detail = f"{path}: {problem.detail}"
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=detail) from problem
    if not found:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=f"{path} holds no PEM certificate")
    return found
