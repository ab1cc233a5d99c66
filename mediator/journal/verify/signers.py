"""Where the certificates of those who signed are found: beside a journal, and where one says.

- the registry's copy beside a journal, as beside a server's own: seals of the members as they are
  registered today, and the instance's authorities. It is checked from its own root on, so it is
  the server's word as far as nobody compared that root;
- ``evidence.sqlite``: certificates about which an authority was asked, also those that were
  replaced since, and what was said of them;
- files that whoever verifies gives.

A certificate is named by its fingerprint, so that it does not matter who keeps it. Whom to trust
is told by the authorities: those that were given, or else those of the registry's copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.reading import fingerprint_of, issued_by
from exchange.evidence.revocation import Kind, check_crl, check_ocsp
from exchange.problems import Problem
from exchange.trust.admission import trusted_authorities
from mediator.journal.evidence import FILE as EVIDENCE
from mediator.journal.evidence import EvidenceReader
from mediator.journal.export.registry import Registered, is_authority, is_copy, read_whole_registry
from mediator.journal.verify.signatures import Signers

REGISTRY: Final = "registry"
_NONE: Final[Mapping[str, x509.Certificate]] = MappingProxyType({})


class Found(NamedTuple):
    """Certificates for a verification, and where they are from, a phrase each."""

    signers: Signers
    sources: tuple[str, ...]


def find_signers(
    journal: Path,
    *,
    registry: Path | None = None,
    certificates: Mapping[str, x509.Certificate] = _NONE,
    authorities: Sequence[x509.Certificate] = (),
) -> Found:
    """What is known of those who signed in a journal; reads files.

    Args:
        registry: a server's copy of the registry; without it the one beside the journal, if any.
        certificates: further ones, by fingerprint.
        authorities: who is trusted; without any, the authorities of the registry's copy.

    Raises:
        Problem: ``InvalidDocument`` or ``UntrustedMetadata`` for a ``registry`` that cannot be
            used; of the one beside the journal that is told among the sources.
    """
    known, sources = _registered(journal, registry)
    kept, revoked = _kept(journal)
    if kept:
        sources.append(EVIDENCE)
    if certificates:
        sources.append("the certificates that were given")
    trusted: tuple[x509.Certificate, ...] = tuple(authorities)
    if not trusted and known is not None and known.instance is not None:
        trusted = trusted_authorities(known.instance)
    found = {**kept, **(known.certificates if known else {}), **certificates}
    links = [*found.values(), *(known.authorities if known else ())]
    signers = Signers(
        {name: _der(one) for name, one in found.items()},
        tuple(map(_der, _linked(trusted, links))),
        revoked,
    )
    return Found(signers, tuple(sources))


def _registered(journal: Path, registry: Path | None) -> tuple[Registered | None, list[str]]:
    if registry is not None:
        return read_whole_registry(registry), [str(registry)]
    beside = journal.absolute().parent / REGISTRY
    if not is_copy(beside):
        return None, []
    try:
        return read_whole_registry(beside), [str(beside)]
    except Problem as problem:
        return None, [f"not {beside}, which cannot be used: {problem.detail}"]


def _kept(journal: Path) -> tuple[dict[str, x509.Certificate], dict[str, float]]:
    """Certificates that a journal keeps, and when some were revoked.

    What is damaged is left out: it is a finding of its own.
    """
    if not (journal / EVIDENCE).exists():
        return {}, {}
    certificates, revoked = dict[str, x509.Certificate](), dict[str, float]()
    with contextlib.suppress(Problem), contextlib.closing(EvidenceReader.open(journal)) as reader:
        for name, der in reader.certificates():
            with contextlib.suppress(ValueError):
                certificate = x509.load_der_x509_certificate(der)
                if fingerprint_of(certificate) == name:
                    certificates[name] = certificate
        for statement in reader.revocations():
            chain = reader.chain(statement.certificate)
            if len(chain) < 2:
                continue
            check = check_ocsp if statement.kind is Kind.OCSP else check_crl
            at = datetime.fromtimestamp(statement.fetched_at, UTC)
            with contextlib.suppress(Problem):
                said = check(statement.der, chain[0], chain[1], at)
                if said.revoked_at is not None:
                    revoked[statement.certificate] = said.revoked_at.timestamp()
    return certificates, revoked


def _linked(
    trusted: Sequence[x509.Certificate], others: Iterable[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Those who are trusted, and the authorities below them."""
    known = list(trusted)
    rest = [one for one in others if one not in known and is_authority(one)]
    while below := [one for one in rest if any(issued_by(one, above) for above in known)]:
        known += below
        rest = [one for one in rest if one not in below]
    yield from known


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
