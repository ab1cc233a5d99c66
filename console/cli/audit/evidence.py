"""What `saphan audit export` and `verify` read besides journals: certificates, keys, registry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from console.cli.main import ProblemShown
from exchange.certificates.reading import fingerprint_of, parse_certificates
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from mediator.background.stamping import Authority, first_token
from mediator.journal.export import Chosen, Signer, Surroundings, surroundings
from mediator.journal.export.registry import is_authority

_SUFFIXES = {".pem", ".crt", ".cer"}
_MAX_FILE_BYTES = 1 << 20
_STAMP_S = 20.0


def surroundings_of(
    chosen: Sequence[Chosen], certificates: Path | None, registry: Path | None
) -> Surroundings:
    """What is known around some entries.

    Args:
        certificates: a folder with certificates of signers and authorities.
        registry: a server's copy of the registry; without it the one beside the first journal
            that has one.

    Raises:
        Problem: ``InvalidDocument`` or ``UntrustedMetadata`` for a copy that cannot be used.
    """
    found = certificates_in(certificates)
    authorities = [each for each in found.values() if is_authority(each)]
    return surroundings(chosen, registry, found, authorities)


def certificates_in(folder: Path | None) -> dict[str, x509.Certificate]:
    """The certificates (PEM) in and below a folder, by fingerprint."""
    found: dict[str, x509.Certificate] = {}
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix not in _SUFFIXES or not path.is_file():
            continue
        if path.stat().st_size <= _MAX_FILE_BYTES:
            with contextlib.suppress(ValueError):  # a key or something else in PEM
                for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
                    found[fingerprint_of(certificate)] = certificate
    return found


def read_authorities(path: Path | None) -> tuple[x509.Certificate, ...]:
    """Certificates of trusted authorities from a PEM file.

    Raises:
        Problem: ``InvalidDocument``.
    """
    if path is None:
        return ()
    return tuple(parse_certificates(path.read_bytes()))


def signer(
    key: Path | None,
    certificate: Path | None,
    authorities: Sequence[x509.Certificate],
    stamper: str | None,
    stamper_authorities: Path | None,
) -> Signer | None:
    """Who signs an export; nobody when neither file is given.

    Args:
        stamper: address of the time-stamp authority (RFC 3161) that stamps the signature.
        stamper_authorities: who vouches for it, in PEM; else ``authorities``.

    Raises:
        Problem: ``InvalidSettings`` for a file that does not hold what it should.
        UsageError: only one of the two is given, or a time-stamp is wanted without them.
    """
    if key is None and certificate is None:
        if stamper is not None:
            raise click.UsageError("--tsa stamps a signature: give --seal-key, too.")
        return None
    if key is None or certificate is None:
        raise click.UsageError("--seal-key and --seal-certificate go together.")
    try:
        private = load_pem_private_key(key.read_bytes(), None)
        first, *links = x509.load_pem_x509_certificates(certificate.read_bytes())
        sealing = signing_key(private, first)  # type: ignore[arg-type]  # it says what it refuses
    except (ValueError, TypeError, OSError) as error:
        raise Problem(
            Code.INVALID_SETTINGS,
            where=f"{key}, {certificate}",
            detail="not a private key and a certificate in PEM",
        ) from error
    above = (*authorities, *(each for each in links if each not in authorities))
    if stamper is None:
        return Signer(sealing, first, above)
    asked = Authority(stamper, read_authorities(stamper_authorities) or above)

    def stamp(digest: bytes) -> bytes:
        try:
            return asyncio.run(first_token(digest, [asked], _STAMP_S))
        except Problem as problem:  # what was asked for is not left out
            raise ProblemShown(problem) from problem

    vouching = (*above, *(each for each in asked.trusted if each not in above))
    return Signer(sealing, first, vouching, stamp)
