"""The vault: what the exactly-once book may show to whoever reads its database is nothing.

Keys and fingerprints are HMACs, since ids and paths can be guessed; answers are encrypted with
AES-256-GCM, each claim under a key of its own, bound to the claim.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchange.identifiers import ApplicationId, MemberId
from exchange.journal.sealed_parts import hmac_sha256
from exchange.messages.heads import Headers
from exchange.problems import Code, Problem

KEY_SIZE = 32
ASKER_SIZE = 8
"""Of a key's 32 bytes; the others still tell 2**96 messages of one application apart."""
_NONCE_SIZE = 12
_LENGTH = struct.Struct(">I")


class Answer(NamedTuple):
    """An outcome as it is given again: the answer before it is sealed for one request.

    ``agreement`` is the one whose fields it was cut down to; ``problem`` the code of a recorded
    failure and ``where`` its place, both empty for an answer of the backend. ``body`` is None when
    it was too large to be kept.
    """

    status: int
    headers: Headers
    body: bytes | None
    agreement: str
    problem: str = ""
    where: str = ""


class Vault:
    """Made from the book's key; servers that share a book have the same."""

    def __init__(self, master: bytes) -> None:
        if len(master) != KEY_SIZE:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="once.key",
                detail=f"holds {len(master)} bytes instead of {KEY_SIZE}",
            )
        self._naming = hmac_sha256(master, b"saphan once names v1")
        self._sealing = hmac_sha256(master, b"saphan once answers v1")
        self.proof = hmac_sha256(master, b"saphan once proof v1")
        """Tells two keys apart, and tells nothing else."""

    def key(self, client: ApplicationId, provider: MemberId, message_id: str) -> bytes:
        """What a message is found by; it begins with :meth:`asker`."""
        asker = str(client)
        name = self._name((asker, str(provider), message_id))
        return self.asker(asker) + name[ASKER_SIZE:]

    def asker(self, client: str) -> bytes:
        """What tells the keys of two applications apart."""
        return self._name((client,))[:ASKER_SIZE]

    def fingerprint(self, *parts: str) -> bytes:
        """What tells two requests of the same id apart."""
        return self._name(parts)

    def _name(self, parts: Iterable[str]) -> bytes:
        # JSON keeps the parts apart, whatever is in them.
        return hmac_sha256(self._naming, orjson.dumps(list(parts)))

    def seal(self, key: bytes, fingerprint: bytes, answer: Answer) -> bytes:
        """Encrypt an answer, whose body is there."""
        head = orjson.dumps(
            {
                "agreement": answer.agreement,
                "headers": answer.headers,
                "problem": answer.problem,
                "status": answer.status,
                "where": answer.where,
            }
        )
        plain = b"".join((_LENGTH.pack(len(head)), head, answer.body or b""))
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._cipher(key).encrypt(nonce, plain, key + fingerprint)

    def open(self, key: bytes, fingerprint: bytes, data: bytes) -> Answer:
        """Decrypt an answer.

        Raises:
            Problem: ``AnswerNotKept`` when this key did not seal it for this claim.
        """
        try:
            plain = self._cipher(key).decrypt(
                data[:_NONCE_SIZE], data[_NONCE_SIZE:], key + fingerprint
            )
        except (InvalidTag, ValueError) as error:
            raise Problem(
                Code.ANSWER_NOT_KEPT, where="exactly-once book", detail="it cannot be decrypted"
            ) from error
        (size,) = _LENGTH.unpack_from(plain)
        head = orjson.loads(plain[4 : 4 + size])
        return Answer(
            head["status"],
            tuple((name, value) for name, value in head["headers"]),
            plain[4 + size :],
            head["agreement"],
            head["problem"],
            head["where"],
        )

    def _cipher(self, key: bytes) -> AESGCM:
        return AESGCM(sha256(self._sealing + key).digest())
