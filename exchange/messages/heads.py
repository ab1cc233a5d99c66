"""Heads: the part of an HTTP message that is signed field by field (RFC 9110 section 6.3).

Invariants:
- a header name is lower case; names may repeat, and the order of lines is kept;
- a header value is what stood on the wire, decoded as Latin-1 and stripped of surrounding
  whitespace; :mod:`exchange.messages.envelope` refuses any other;
- method, target and status are of the forms that HTTP allows, checked on construction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from exchange.problems import Code, Problem

Headers: TypeAlias = tuple[tuple[str, str], ...]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1: they ask for nothing to be changed, so they may be repeated freely."""

MAX_TARGET_LENGTH = 8192

_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
# Visible ASCII without "#": a target URI carries no fragment (RFC 9110 section 7.1).
_TARGET = re.compile(r"https?://[!\"$-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, absolute target URI and header lines of a request.

    Raises:
        Problem: ``InvalidRequest`` if the method is not 1 to 20 letters A-Z, or the target is
            not an absolute http or https URI of visible ASCII, at most 8,192 characters.
    """

    method: str
    target_uri: str
    headers: Headers

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise Problem(
                Code.INVALID_REQUEST,
                where="method",
                detail=f"{self.method[:40]!r} is not an HTTP method in capital letters",
            )
        if len(self.target_uri) > MAX_TARGET_LENGTH or not _TARGET.fullmatch(self.target_uri):
            raise Problem(
                Code.INVALID_REQUEST,
                where="target",
                detail="the target is not an absolute http or https URI of at most "
                f"{MAX_TARGET_LENGTH} visible ASCII characters",
            )

    def with_headers(self, added: Headers) -> RequestHead:
        """The same head with more header lines at its end."""
        head = object.__new__(RequestHead)  # method and target are checked already
        object.__setattr__(head, "method", self.method)
        object.__setattr__(head, "target_uri", self.target_uri)
        object.__setattr__(head, "headers", self.headers + added)
        return head


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and header lines of a response.

    Raises:
        Problem: ``InvalidHeader`` if the status has not three digits.
    """

    status: int
    headers: Headers

    def __post_init__(self) -> None:
        if not 100 <= self.status <= 999:
            raise Problem(
                Code.INVALID_HEADER, where="status", detail="the status has not three digits"
            )

    def with_headers(self, added: Headers) -> ResponseHead:
        """The same head with more header lines at its end."""
        return ResponseHead(self.status, self.headers + added)
