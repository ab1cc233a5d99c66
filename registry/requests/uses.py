"""Who uses what: read from the agreements that members publish beside their documents.

An agreement counts whoever of its parties publishes it, or anybody else: it bears both seals. It
counts while it runs, that is from before it begins (it is agreed already) until it ends, is
followed by a version that grants something else, or is revoked. A revocation counts where the party
publishes it that sealed it, since nobody judges the certificate of its seal. A consumer that was
deleted or went into another member uses nothing: servers admit it no more, and nobody is left who
could consent.

Agreements that nobody publishes are not known here. Takes bytes and values and touches nothing.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography import x509

from exchange.agreements import (
    Agreement,
    AgreementRevocation,
    Endpoint,
    in_force,
    open_agreement,
    open_revocation,
    revoked_by,
)
from exchange.identifiers import MemberId, ServiceId
from exchange.jws import MAX_JWS_BYTES
from exchange.problems import Problem
from exchange.registrations import MEMBER_FILE

File = tuple[str, bytes]
_SEALED: Final = b'"signatures"'


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """That a member may call a service, and until when."""

    consumer: MemberId
    agreement: str
    until: datetime

    def __str__(self) -> str:
        return f"{self.consumer} (agreement {self.agreement}, until {self.until:%Y-%m-%d})"


class Uses:
    """The uses of services at one time.

    Sealed files are looked through once, when somebody first asks; seals are checked of those alone
    that speak of the provider who is asked about.
    """

    def __init__(
        self,
        files: Iterable[File],
        authorities: Sequence[x509.Certificate],
        at: datetime,
        is_gone: Callable[[MemberId], bool] = lambda member: False,
    ) -> None:
        self._files = files
        self._is_gone = is_gone
        self._authorities = authorities
        self._at = at
        self._sealed: dict[str, list[File]] | None = None
        self._running: dict[MemberId, tuple[Agreement, ...]] = {}

    def of(self, service: ServiceId, endpoint: Endpoint | None = None) -> tuple[Use, ...]:
        """The uses of a service, or of one endpoint of it, by other members."""
        found = {
            Use(agreement.consumer.member, agreement.id, agreement.valid_until)
            for agreement in self._agreements(service.member)
            for grant in agreement.grants
            if grant.service == service and (endpoint is None or endpoint in grant.endpoints)
        }
        return tuple(sorted(one for one in found if one.consumer != service.member))

    def consumers(self, service: ServiceId, endpoint: Endpoint | None = None) -> set[MemberId]:
        """The other members who may call a service, or one endpoint of it."""
        return {use.consumer for use in self.of(service, endpoint)}

    def _agreements(self, provider: MemberId) -> tuple[Agreement, ...]:
        if provider not in self._running:
            self._running[provider] = tuple(self._open(provider))
        return self._running[provider]

    def _open(self, provider: MemberId) -> Iterator[Agreement]:
        if self._sealed is None:
            self._sealed = _by_provider(self._files)
        agreements: list[Agreement] = []
        revocations: list[AgreementRevocation] = []
        for path, data in self._sealed.get(str(provider), ()):
            try:
                agreements.append(open_agreement(data, self._authorities, self._at))
            except Problem:  # opens no door either; or it is a revocation
                try:
                    revocation, signer = open_revocation(data)
                except Problem:
                    continue
                if path.startswith(f"{signer}/"):
                    revocations.append(revocation)
        for agreement in in_force(agreements):
            if agreement.valid_until <= self._at or self._is_gone(agreement.consumer.member):
                continue
            if revoked_by(agreement, revocations) is None:
                yield agreement


def _by_provider(files: Iterable[File]) -> dict[str, list[File]]:
    """Sealed files by the provider that they name; nothing is checked yet."""
    found: dict[str, dict[bytes, str]] = {}
    for path, data in files:
        if _SEALED in data and len(data) <= MAX_JWS_BYTES and not path.endswith(f"/{MEMBER_FILE}"):
            provider = _provider_of(data)
            if provider is not None:
                found.setdefault(provider, {}).setdefault(data, path)
    return {
        provider: [(path, data) for data, path in by_data.items()]
        for provider, by_data in found.items()
    }


def _provider_of(data: bytes) -> str | None:
    try:
        payload: Any = orjson.loads(data)["payload"]
        document: Any = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        provider: Any = document["provider"]
    except (binascii.Error, KeyError, TypeError, ValueError):
        return None
    return provider if isinstance(provider, str) else None
