"""A right of the configuration as an agreement: drafted, sealed by both parties, pinned.

One agreement for each pair of a service and an application, over all operations of the service's
contract and all fields of its answers: GovStack's rights know nothing finer. It has no purposes
and no quota, for the same reason, and lasts a year; it is made anew long before its end, when the
contract changes and when a seal's certificate is renewed, each time with a higher version.

The folder of a provider's server belongs to the configuration: what else is pinned is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509

from certs.files import PUBLIC_MODE, write_file
from exchange.agreements import (
    MAX_ENDPOINTS,
    METHODS,
    Agreement,
    open_agreement,
    parse_agreement,
    read_agreement,
    seal_agreement,
)
from exchange.contracts.contract import Contract
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.keys import SigningKey
from exchange.problems import Problem

VALIDITY: Final = timedelta(days=365)
RENEW: Final = timedelta(days=120)


@dataclass(frozen=True, slots=True)
class Seal:
    """A member's seal key with its certificate."""

    key: SigningKey
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Right:
    """Who may call which service, whose contract has these operations."""

    consumer: ApplicationId
    service: ServiceId
    endpoints: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        """The agreement's id, which its file is named after: readable, and no two are alike."""
        codes = (self.consumer.member_code, self.service.member_code, self.service.service_code)
        words = re.sub("[^a-z0-9]+", "-", "-".join(codes).lower()).strip("-")[:40].strip("-")
        digest = sha256(f"{self.consumer} {self.service}".encode()).hexdigest()[:16]
        return f"{words}-{digest}" if words else digest


def endpoints_of(contract: Contract) -> tuple[tuple[str, str], ...]:
    """The operations of a contract that an agreement can grant."""
    return tuple(one for one in contract.endpoints() if one[0] in METHODS)


def check_grantable(contract: Contract) -> None:
    """Raises: Problem ``AgreementInvalid`` when no agreement can grant these operations."""
    consumer = ApplicationId("X", "X", "X", "X")
    service = ServiceId("X", "X", "X", "X", "X")
    parse_agreement(_draft(Right(consumer, service, endpoints_of(contract)), 1, datetime.now(UTC)))


def pin(
    folder: Path,
    rights: Iterable[Right],
    seals: Mapping[MemberId, Seal],
    authorities: list[x509.Certificate],
) -> frozenset[str]:
    """Make ``folder`` hold agreements for these rights and nothing else; the ids that it holds.

    What is taken away is removed first. Raises what sealing and writing raise; the call that
    follows goes on from there.
    """
    wanted = {right.id: right for right in rights}
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix != ".jws" or path.stem not in wanted:
            path.unlink(missing_ok=True)
    now = datetime.now(UTC)
    for right in wanted.values():
        path = folder / f"{right.id}.jws"
        found = _standing(path, authorities, now)
        if found is None or not _is_good(found, right, now, seals, path):
            version = 1 + _version(path)
            write_file(path, _sealed(_draft(right, version, now), right, seals), mode=PUBLIC_MODE)
    return frozenset(wanted)


def unpin(folder: Path, kept: Iterable[Right]) -> None:
    """Remove what no right stands for any more."""
    names = {right.id for right in kept}
    for path in folder.glob("*.jws"):
        if path.stem not in names:
            path.unlink(missing_ok=True)


def _standing(path: Path, authorities: list[x509.Certificate], now: datetime) -> Agreement | None:
    """What is pinned and obeyed there."""
    try:
        return open_agreement(path.read_bytes(), authorities, now)
    except (OSError, Problem):
        return None


def _version(path: Path) -> int:
    """The version that is there, obeyed or not."""
    try:
        return read_agreement(path.read_bytes())[0].version
    except (OSError, Problem):
        return 0


def _is_good(
    found: Agreement, right: Right, now: datetime, seals: Mapping[MemberId, Seal], path: Path
) -> bool:
    """Whether it is what would be made now, lasts, and is sealed with the certificates of today."""
    if found.valid_until - now < RENEW:
        return False
    fresh = parse_agreement(_draft(right, found.version, now))
    same = replace(fresh, valid_from=found.valid_from, valid_until=found.valid_until)
    _, certificates = read_agreement(path.read_bytes())
    today = {seals[member].certificate for member in _parties(right)}
    return found == same and set(certificates) == today


def _parties(right: Right) -> tuple[MemberId, ...]:
    return tuple(dict.fromkeys((right.service.member, right.consumer.member)))


def _sealed(document: bytes, right: Right, seals: Mapping[MemberId, Seal]) -> bytes:
    for member in _parties(right):
        seal = seals[member]
        document = seal_agreement(document, seal.key, seal.certificate)
    return document


def _draft(right: Right, version: int, now: datetime) -> bytes:
    title = f"{right.consumer} calls {right.service}"
    begins = now.replace(microsecond=0)
    parts = [
        right.endpoints[at : at + MAX_ENDPOINTS]
        for at in range(0, max(1, len(right.endpoints)), MAX_ENDPOINTS)
    ]
    document: dict[str, Any] = {
        "id": right.id,
        "version": version,
        "title": {"en": title, "lo": f"{right.consumer} ເອີ້ນ {right.service}"},
        "provider": str(right.service.member),
        "consumer": str(right.consumer),
        "grants": [
            {
                "service": str(right.service),
                "endpoints": [{"method": method, "path": path} for method, path in part],
                "fields": ["*"],
            }
            for part in parts
        ],
        "valid_from": format_moment(begins),
        "valid_until": format_moment(begins + VALIDITY),
    }
    return orjson.dumps(document)
