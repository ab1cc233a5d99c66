"""Handles of pages: what a page ends with, sealed, so that callers can only hand it back.

AES-256-GCM with a key of the instance's folder; the filters are bound to it, so that a handle does
not continue another list.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certs.files import PRIVATE_MODE, write_file
from console.instance.configuration import Consumer
from console.instance.rights import Filter, Pair, ServiceKey
from exchange.problems import Code, Problem

MAX_HANDLE: Final = 2000
_NONCE: Final = 12


class Pages:
    """Seals and opens handles with the key in ``directory``."""

    def __init__(self, directory: Path) -> None:
        path = directory / "oauth" / "pages.key"
        if not path.exists():
            write_file(path, AESGCM.generate_key(256), mode=PRIVATE_MODE)
        self._cipher = AESGCM(path.read_bytes())

    def seal(self, last: Pair, wanted: Filter) -> str:
        """The handle of the page after ``last``."""
        service, consumer = last.service, last.consumer
        value = [
            [service.member_class, service.member_code, service.application, service.service],
            [consumer.member_class, consumer.member_code, consumer.application],
        ]
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(value), _bound(wanted))
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, handle: str | None, wanted: Filter) -> Pair | None:
        """What the page before ended with; None for the first page.

        Raises:
            Problem: ``InvalidRequest`` for what is not a handle of this list.
        """
        if handle is None:
            return None
        try:
            if len(handle) > MAX_HANDLE:
                raise ValueError("too long")
            data = base64.b64decode(handle + "=" * (-len(handle) % 4), b"-_", validate=True)
            value = orjson.loads(self._cipher.decrypt(data[:_NONCE], data[_NONCE:], _bound(wanted)))
        except (ValueError, binascii.Error, InvalidTag) as error:
            raise Problem(
                Code.INVALID_REQUEST,
                where="query.nextPageToken",
                detail="is not the handle of a page of this list; begin at its first page",
                status=400,
            ) from error
        return Pair(ServiceKey(*value[0]), Consumer(*value[1]))


def _bound(wanted: Filter) -> bytes:
    return orjson.dumps(
        [wanted.member_class, wanted.member_code, wanted.application, wanted.service]
    )
