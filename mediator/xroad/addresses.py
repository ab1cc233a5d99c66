"""Addresses: the service that a request target names, and the client that its header names.

Between servers an identifier has one spelling. Libraries differ in what they percent-encode of a
part (PR-REST 1.0.4 section 4.2); so what an application writes is brought into that spelling first
(:func:`canonical`, :func:`canonical_target`). A part that decodes to no code is refused.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from exchange.identifiers import ApplicationId, ServiceId, check_code
from exchange.problems import Code, Problem
from serving.backends import Headers

CLIENT_HEADERS = ("x-road-client", "x-govstack-client")

# RFC 3986 section 3.3: pchar, with percent-encoding in whole triplets. In a query also brackets,
# which X-Road takes (java.net.URI) and clients of today do not encode (WHATWG URL).
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*", re.ASCII)
_PART = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.ASCII | re.IGNORECASE)


def canonical(text: str, where: str) -> str:
    """An identifier whose parts are percent-encoded in whatever way, in its one spelling.

    Raises:
        Problem: ``InvalidIdentifier`` at ``where`` when a part is not UTF-8 or not a code.
    """
    if "%" not in text:
        return text
    return "/".join([_canonical_code(part, where) for part in text.split("/")])


def canonical_target(target: str) -> str:
    """A request target with its five codes in their one spelling; all behind them as it came.

    Raises:
        Problem: ``InvalidIdentifier``.
    """
    if "%" not in target:
        return target
    path, mark, query = target.partition("?")
    parts = path.split("/", 7)
    if "%" not in "/".join(parts[2:7]):
        return target
    parts[2:7] = [_canonical_code(part, "path") for part in parts[2:7]]
    return f"{'/'.join(parts)}{mark}{query}"


def _canonical_code(part: str, where: str) -> str:
    if "%" not in part:
        return part
    try:
        if not _PART.fullmatch(part):
            raise ValueError("not percent-encoded in whole triplets")
        code = unquote_to_bytes(part).decode()
    except ValueError as error:
        raise Problem(
            Code.INVALID_IDENTIFIER,
            where=where,
            detail=f"{part[:80]!r} is not a percent-encoded text in UTF-8",
        ) from error
    return check_code(code, where).replace("?", "%3F")


def client_of(headers: Headers) -> ApplicationId:
    """The calling application as its header names it.

    Raises:
        Problem: ``InvalidClientIdentifier`` when no header names it, two values differ, or the
            value is not an application identifier.
    """
    values = {value for name, value in headers if name in CLIENT_HEADERS}
    return _client(values)


def client_calling(headers: Headers) -> ApplicationId:
    """The same for a request of an application, whose spelling may be any.

    Raises:
        Problem: as :func:`client_of`.
    """
    values = [value for name, value in headers if name in CLIENT_HEADERS]
    try:
        return _client({canonical(value, "X-Road-Client") for value in values})
    except Problem as problem:
        raise Problem(
            Code.INVALID_CLIENT_IDENTIFIER, where="X-Road-Client", detail=problem.detail
        ) from problem


def _client(values: set[str]) -> ApplicationId:
    if not values:
        raise Problem(
            Code.INVALID_CLIENT_IDENTIFIER,
            where="X-Road-Client",
            detail="the header X-Road-Client is missing",
        )
    if len(values) > 1:
        raise Problem(
            Code.INVALID_CLIENT_IDENTIFIER,
            where="X-Road-Client",
            detail="the header (X-Road-Client or X-GovStack-Client) names two applications",
        )
    try:
        return ApplicationId.parse(values.pop(), "X-Road-Client")
    except Problem as problem:
        raise Problem(
            Code.INVALID_CLIENT_IDENTIFIER, where="X-Road-Client", detail=problem.detail
        ) from problem


def service_of(target: str, max_bytes: int) -> tuple[ServiceId, str, str]:
    """Service, path and query of a request target; ``path`` is empty or begins with ``/``.

    Raises:
        Problem: ``InvalidRequest`` for another protocol version, too few parts, an illegal
            character or a dot segment; ``InvalidIdentifier`` for a code.
    """
    if len(target) > max_bytes:
        raise Problem(
            Code.INVALID_REQUEST,
            where="request target",
            detail=f"{len(target)} bytes, at most {max_bytes} are taken",
            status=414,
        )
    path, _, query = target.partition("?")
    if not path.startswith("/r1/"):
        raise Problem(
            Code.INVALID_REQUEST,
            where="path",
            detail="the path must begin with /r1/",
            status=404,
        )
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise Problem(
            Code.INVALID_REQUEST,
            where="request target",
            detail="a character that RFC 3986 does not allow here; percent-encode it",
        )
    if _DOT_SEGMENT.search(path):
        raise Problem(Code.INVALID_REQUEST, where="path", detail="dot segments are not taken")
    parts = path.split("/", 7)
    if len(parts) < 7 or not all(parts[2:7]):
        raise Problem(
            Code.INVALID_REQUEST,
            where="path",
            detail="five codes are needed after /r1/: "
            "{instance}/{class}/{member}/{application}/{service}",
        )
    service = ServiceId.parse("/".join(parts[2:7]), "path")
    rest = f"/{parts[7]}" if len(parts) == 8 else ""
    return service, rest, query


def client_named(headers: Headers) -> ApplicationId | None:
    """The client that a message names, for its record; None when it names none."""
    try:
        return client_of(headers)
    except Problem:
        return None


def service_named(target: str) -> ServiceId | None:
    """The service that a request target names, for its record; None when it names none."""
    try:
        return service_of(target, len(target))[0]
    except Problem:
        return None
