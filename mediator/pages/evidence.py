"""Evidence that this server hands out: containers of exchanges, signed by the member concerned.

Used by the page ``/asic`` and by the service for auditors. It reads files and waits for a
time-stamp authority, so it runs in a thread; what it needs of the loop it asks for there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.evidence import asic
from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.problems import Code, Problem
from mediator.background.stamping import Authority, first_token
from mediator.journal.export import Chosen, Signer, make_export, signed, surroundings
from serving.clock import Clock

STAMP_S: Final = 5.0
"""For the time-stamp of one container; without one it is evidence all the same."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Makes containers from a server's journal.

    ``registry`` is this server's copy of the registry; ``seals`` are the keys of the hosted members
    with their certificates; ``stampers`` says whom to ask for the time, in order; ``loop`` is the
    server's.
    """

    registry: Path
    seals: Mapping[MemberId, tuple[SigningKey, x509.Certificate]]
    stampers: Callable[[], Sequence[Authority]]
    clock: Clock
    loop: asyncio.AbstractEventLoop

    def container(self, chosen: Sequence[Chosen], member: MemberId) -> bytes:
        """An ASiC-E container of some entries, signed by a hosted member. Blocks.

        Raises:
            Problem: ``JournalCorrupt``; ``InvalidDocument`` or ``UntrustedMetadata`` for a copy of
                the registry that does not fit together; ``UnknownMember`` for one not hosted here.
        """
        if member not in self.seals:
            raise Problem(Code.UNKNOWN_MEMBER, where=str(member), detail="is not hosted here")
        key, certificate = self.seals[member]
        around = surroundings(chosen, self.registry)
        signer = Signer(key, certificate, around.authorities, self._stamp)
        return asic.pack(signed(make_export(chosen, around), signer, self.clock.now()))

    def _stamp(self, digest: bytes) -> bytes:
        asked = asyncio.run_coroutine_threadsafe(
            first_token(digest, self.stampers(), STAMP_S), self.loop
        )
        try:
            return asked.result(STAMP_S)
        except TimeoutError as error:
            asked.cancel()
            raise Problem(
                Code.INVALID_TIMESTAMP,
                where="authorities",
                detail=f"no time-stamp within {STAMP_S:g} seconds",
            ) from error


def seals_of(
    keys: Mapping[MemberId, SigningKey], certificates: Sequence[x509.Certificate]
) -> dict[MemberId, tuple[SigningKey, x509.Certificate]]:
    """The seal keys with their certificates."""
    known = {fingerprint_of(certificate): certificate for certificate in certificates}
    return {member: (key, known[key.keyid]) for member, key in keys.items()}
