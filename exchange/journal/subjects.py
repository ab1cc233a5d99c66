"""Subjects: whom or what an exchange is about, and the tags by which a journal finds them again.

Invariants:
- ``Exchange-Subject`` is ``scheme:identifier``: a scheme of ``a-z 0-9`` and inner hyphens, then
  visible ASCII, at most :data:`MAX_SUBJECT` characters in all; other letters are UTF-8,
  percent-encoded with upper-case digits (RFC 3986 section 2.1);
- a subject's normal form is that with the identifier decoded and in Unicode's NFKC, case-folded:
  ``passport:p%20123`` and ``passport:P 123`` written otherwise are one. What else a scheme takes
  for the same (hyphens, leading zeros) is for its callers to write in one way;
- in a journal stands a tag only: the first 16 bytes of HMAC-SHA-256 of the normal form under an
  index key of one member and one month, in hex. Identifiers are few enough to be tried one by one,
  so a hash without a key would be clear text; other members' tags, and other months', differ.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from exchange.problems import Code, Problem

HEADER: Final = "exchange-subject"
MAX_SUBJECT: Final = 200
KEY_SIZE: Final = 32
TAG_SIZE: Final = 16
GRAMMAR: Final = (
    f"must be scheme:identifier of visible ASCII characters, at most {MAX_SUBJECT}; the scheme is "
    "of a-z 0-9 and inner hyphens, other letters are percent-encoded UTF-8"
)
_SUBJECT = re.compile(
    r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):((?:[!-$&-~]|%[0-9A-F]{2})+)", re.ASCII
)


def normal_subject(text: str, where: str = HEADER) -> str:
    """The normal form of a subject as it stands in the header.

    Raises:
        Problem: ``InvalidHeader`` when it is not written as it must be. The problem does not
            repeat it: problems are recorded, logged and shown.
    """
    match = _SUBJECT.fullmatch(text) if len(text) <= MAX_SUBJECT else None
    if match is None:
        raise Problem(Code.INVALID_HEADER, where=where, detail=GRAMMAR)
    scheme, identifier = match.groups()
    if not identifier.isalnum():
        try:
            identifier = unquote_to_bytes(identifier).decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise Problem(Code.INVALID_HEADER, where=where, detail=GRAMMAR) from None
        folded = unicodedata.normalize("NFKC", identifier).casefold()
        identifier = unicodedata.normalize("NFKC", folded)
        if not identifier.isprintable():
            raise Problem(Code.INVALID_HEADER, where=where, detail=GRAMMAR)
        return f"{scheme}:{identifier}"
    return f"{scheme}:{identifier.lower()}"


def tag(key: bytes, subject: str) -> str:
    """The tag of a subject in normal form under the index key of a member and month."""
    return hmac.digest(key, subject.encode(), "sha256")[:TAG_SIZE].hex()
