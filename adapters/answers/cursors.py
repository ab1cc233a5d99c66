"""The opaque cursor of a list: the key of the last row of a page, sealed.

Invariants:
- a cursor tells nothing of the values in it, which may be of members that an agreement does not
  release: it is sealed with AES-SIV (RFC 5297), and its length tells only in steps of 192 bytes
  how long they are;
- it is given back or refused, before the source is asked: nobody who lacks the key can make one or
  change one;
- it fits the service, the list, the filters, the order and the rights of the page that gave it
  (:func:`bind`) and no other;
- the same page has the same cursor in every process that has the key, so that an answer's entity
  tag stays and a walk goes on after a restart.

What is not hidden: whether the last row of a page is the same as the last time.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.answers.masking import Profile
from adapters.answers.row_keys import BadKey, UnusableKey, pack, unpack
from adapters.mapping.callers import Caller
from adapters.mapping.model import Endpoint
from adapters.mapping.visibility import Extent, Rows
from exchange.agreements import RowCondition

MAX_CURSOR_LENGTH: Final = 6000  # of the 8,000 characters that a query may have
SECRET_BYTES: Final = 32
_STEP: Final = 192  # bytes: 256 characters of base64 without padding
_TAG: Final = 16
_FORM: Final = re.compile(rf"(?:[A-Za-z0-9_-]{{256}}){{1,{MAX_CURSOR_LENGTH // 256}}}", re.ASCII)
_MOST: Final = MAX_CURSOR_LENGTH // 256 * _STEP - _TAG

SECRET_OF_THIS_PROCESS: Final = os.urandom(SECRET_BYTES)
"""What cursors are sealed with where no secret can be kept: they end with the process."""


class BadCursor(ValueError):
    """The text is not a cursor of this list."""


class Cursors:
    """Seals and opens the cursors of ``service`` under a key that is made of ``secret``."""

    def __init__(self, secret: bytes, service: str) -> None:
        derived = HKDF(SHA512(), 64, salt=None, info=f"saphan cursors {service}".encode())
        self._siv = AESSIV(derived.derive(secret))

    def format(self, binding: bytes, key: Sequence[Any], nullable: Collection[int] = ()) -> str:
        """The cursor of the page that ends with ``key``; its parts ``nullable`` may be null.

        Raises:
            UnusableKey: as :func:`~adapters.answers.row_keys.pack`, or when it is too long.
        """
        data = pack(key, nullable)
        if len(data) > _MOST:
            raise UnusableKey(f"its cursor is longer than {MAX_CURSOR_LENGTH} characters")
        padded = data + b" " * (-(len(data) + _TAG) % _STEP)
        return urlsafe_b64encode(self._siv.encrypt(padded, [binding])).decode("ascii")

    def parse(self, text: str, binding: bytes) -> tuple[Any, ...]:
        """The key inside a cursor.

        Raises:
            BadCursor: when it was not given by :meth:`format` for this ``binding``.
        """
        if not _FORM.fullmatch(text):
            raise BadCursor
        try:
            padded = self._siv.decrypt(urlsafe_b64decode(text), [binding])
            return unpack(padded.rstrip(b" "))
        except (InvalidTag, BadKey) as error:
            raise BadCursor from error


OWN: Final = Cursors(SECRET_OF_THIS_PROCESS, "")
"""For who asks for no second page."""


def bind(
    endpoint: Endpoint,
    asked: Mapping[str, str],
    caller: Caller,
    masked: Profile,
    rows: Sequence[RowCondition],
) -> bytes:
    """What a cursor belongs to: a digest that is the same wherever the mapping says the same.

    Args:
        endpoint: the list, in the order that was asked for.
        asked: the texts of its path and its filters.
        caller: who sees the rows that the mapping shows to him; ``today`` is a word in it, so that
            a walk goes on after midnight.
        masked: the members that he does not see whole.
        rows: the conditions of the agreement.
    """
    told = (
        endpoint.path,
        sorted(asked.items()),
        [(key.column, key.descending, key.nulls) for key in endpoint.order],
        [_words(visible.of(caller)) for visible in endpoint.rights],
        [(name, str(shown)) for name, shown in masked],
        sorted((one.field, sorted(one.values)) for one in rows),
    )
    return sha256(orjson.dumps(told)).digest()


def _words(rows: Rows) -> Any:
    if isinstance(rows, Extent):
        return rows
    return [(term.field.name, term.comparison, term.texts, term.or_null) for term in rows]
