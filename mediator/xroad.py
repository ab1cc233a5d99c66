"""X-Road's REST message protocol: how a request names service and client (PR-REST 1.0.4).

``/r1/{instance}/{class}/{member}/{application}/{service}/{path}?{query}`` with ``X-Road-Client``;
GovStack names the header ``X-GovStack-Client``. Pure: from method, target and header fields to a
:class:`mediator.stages.Call`; and whether a connection is good enough for its application's mode.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from exchange.certificates import fingerprint
from exchange.envelope import HOP_BY_HOP
from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.problems import Code, Problem
from mediator.settings import ConnectionMode
from mediator.stages import Call
from serving.backends import Headers
from serving.bodies import Body, Room
from serving.randomness import random_uuid

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
CLIENT_HEADERS = ("x-road-client", "x-govstack-client")
MAX_MESSAGE_ID = 255
# Fewer than a message between servers may have: this server adds its own.
MAX_FIELDS = 85
# The names of heads of at most so many fields are judged once and remembered.
_PLAIN_FIELDS = 48

# RFC 3986 section 3.3: pchar, with percent-encoding in whole triplets.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*", re.ASCII)
_MESSAGE_ID = re.compile(r"[!-~]{0,255}", re.ASCII)
_USUAL_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_UNUSUAL = re.compile(r"[^a-z0-9-]", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.ASCII | re.IGNORECASE)

# Fields that this server sets itself, or that belong to the connection; what an application
# sends in them is not passed on.
_OWN = frozenset(
    {
        "content-digest",
        "exchange-agreement",
        "exchange-purpose",
        "traceparent",
        "x-road-id",
        "x-road-request-id",
        "x-road-security-server",
    }
)
# How their values are written: they stand in the journal's entries in clear, so they are names and
# numbers and cannot become sentences about a person. An empty value says nothing.
_CODE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?", re.ASCII)
_GRAMMAR = {
    "exchange-agreement": (_CODE, "must be 1 to 63 of a-z 0-9 and inner hyphens"),
    "exchange-purpose": (_CODE, "must be 1 to 63 of a-z 0-9 and inner hyphens"),
    "x-road-id": (_MESSAGE_ID, f"must be 1 to {MAX_MESSAGE_ID} visible ASCII characters"),
    "x-road-request-id": (_MESSAGE_ID, f"must be 1 to {MAX_MESSAGE_ID} visible ASCII characters"),
}
# W3C Trace Context section 3.2.2; what is written otherwise is ignored (section 4.3).
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
# Fields by which frameworks take a request for another one than its request line says.
_OVERRIDES = frozenset(
    {
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)
# Where the user's browser is, is nobody's business at the provider; and a backend could believe it.
OF_PROXIES = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)
_NOT_FORWARDED = frozenset(
    {
        *CLIENT_HEADERS,
        *OF_PROXIES,
        "host",
        "content-length",
        "user-agent",
        "server",
        "date",
        "expect",
        "signature",
        "signature-input",
        "content-digest",
        "x-road-id",
        "x-road-request-id",
        "x-road-request-hash",
        "x-road-service",
        "x-road-error",
        "x-road-security-server",
    }
)


@dataclass(frozen=True, slots=True)
class LocalApplication:
    """An application that may call through this server."""

    id: ApplicationId
    mode: ConnectionMode
    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of the connection a request came on."""

    tls: bool
    certificate: bytes | None

    @classmethod
    def of(cls, transport: object) -> Connection:
        """Read it off an asyncio transport."""
        get = getattr(transport, "get_extra_info", None)
        tls = get("ssl_object") if get else None
        if not isinstance(tls, ssl.SSLObject):
            return cls(tls=False, certificate=None)
        return cls(tls=True, certificate=tls.getpeercert(binary_form=True))


def new_request_id() -> str:
    """X-Road-Request-Id: a UUID that finds both sides' records."""
    return random_uuid()


def client_of(headers: Headers) -> ApplicationId:
    """The calling application as its header names it.

    Raises:
        Problem: ``InvalidClientIdentifier`` when no header names it, two values differ, or the
            value is not an application identifier.
    """
    values = {value for name, value in headers if name in CLIENT_HEADERS}
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
            detail="X-Road-Client and X-GovStack-Client name different applications",
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


def id_named(headers: Headers, wanted: str) -> str:
    """The message or request id that a message names, for its record; empty when it names none
    that is written as one: entries and logs hold no sentences."""
    value = _first(headers, wanted)
    return value if _MESSAGE_ID.fullmatch(value) else ""


def service_named(target: str) -> ServiceId | None:
    """The service that a request target names, for its record; None when it names none."""
    try:
        return service_of(target, len(target))[0]
    except Problem:
        return None


def authenticate(
    client: ApplicationId,
    connection: Connection,
    applications: Mapping[ApplicationId, LocalApplication],
) -> LocalApplication:
    """The local application behind a call, if its connection is good enough for its mode.

    Raises:
        Problem: ``UnknownApplication`` when it may not call through this server; ``TlsRequired``,
            ``ClientCertificateRequired`` or ``SslAuthenticationFailed`` as its mode demands.
    """
    application = applications.get(client)
    if application is None:
        raise Problem(
            Code.UNKNOWN_APPLICATION,
            where="X-Road-Client",
            detail=f"{client} is not an application of this security server",
        )
    if application.mode is ConnectionMode.HTTP:
        return application
    if not connection.tls:
        raise Problem(
            Code.TLS_REQUIRED, where="connection", detail=f"{client} must connect over HTTPS"
        )
    if application.mode is ConnectionMode.MTLS:
        if connection.certificate is None:
            raise Problem(
                Code.CLIENT_CERTIFICATE_REQUIRED,
                where="connection",
                detail=f"{client} must show its client certificate",
            )
        if fingerprint(connection.certificate) not in application.fingerprints:
            raise Problem(
                Code.CLIENT_CERTIFICATE_REJECTED,
                where="connection",
                detail=f"the client certificate is not one that is pinned for {client}",
            )
    return application


def call_of(
    method: str,
    target: str,
    named: tuple[ServiceId, str, str],
    headers: Headers,
    body: Body,
    client: ApplicationId,
    request_id: str,
    room: Room | None = None,
) -> Call:
    """The call behind a request that was authenticated as ``client``.

    Args:
        named: what :func:`service_of` found in ``target``.

    Raises:
        Problem: ``InvalidRequest`` for an unknown method; ``InvalidHeader`` for a message id
            or a context header that is repeated or malformed.
    """
    if method not in METHODS:
        raise Problem(
            Code.INVALID_REQUEST, where="method", detail=f"{method[:20]!r} is not taken", status=501
        )
    service, path, query = named
    if len(headers) > MAX_FIELDS:
        raise Problem(
            Code.INVALID_HEADER,
            where="header block",
            detail=f"{len(headers)} fields, at most {MAX_FIELDS} are taken",
            status=431,
        )
    own = own_fields(headers)
    wanted = own.get("x-road-security-server", "")
    identifier = own.get("x-road-id") or f"{service.instance}-{random_uuid()}"
    return Call(
        client=client,
        service=service,
        method=method,
        target=target,
        path=path,
        query=query,
        headers=forwarded(headers),
        body=body,
        message_id=identifier,
        request_id=request_id,
        trace=own.get("traceparent", ""),
        purpose=own.get("exchange-purpose", ""),
        agreement=own.get("exchange-agreement", ""),
        wanted_server=ServerId.parse(wanted, "X-Road-Security-Server") if wanted else None,
        accept=_first(headers, "accept"),
        room=room,
    )


def forwarded(headers: Headers) -> Headers:
    """The end-to-end fields that go on to the provider."""
    listed: set[str] = set()
    for name, value in headers:
        if name == "connection":
            listed.update(token.strip().lower() for token in value.split(","))
    return tuple(
        [
            field
            for field in headers
            if field[0] not in _NOT_FORWARDED
            and field[0] not in HOP_BY_HOP
            # What the exchange itself goes by is recorded, so it goes on whatever is listed.
            and (field[0] not in listed or field[0] in _OWN)
        ]
    )


def _first(headers: Headers, wanted: str) -> str:
    for name, value in headers:
        if name == wanted:
            return value
    return ""


def own_fields(headers: Headers) -> dict[str, str]:
    """The fields that mean something to the exchange itself, each of which may stand once only.

    Raises:
        Problem: ``InvalidHeader`` when one is repeated with another value, longer than 1,024
            characters, not printable ASCII or not written as it must be; and for a field that
            would make a backend see another caller or another request than was judged here.
    """
    found = _own_of_plain(headers)
    if found is None:
        found = {}
        for name, value in headers:
            if name not in _OWN:
                if name in _OVERRIDES or not _USUAL_NAME.fullmatch(name):
                    _refuse_misleading(name)
                continue
            if found.setdefault(name, value) != value:
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail="the field is repeated with other values",
                )
            if len(value) > 1024 or not value.isascii() or not value.isprintable():
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail="at most 1,024 printable ASCII characters",
                )
            _check_grammar(name, value)
    if "traceparent" in found and not _TRACE.fullmatch(found["traceparent"]):
        del found["traceparent"]
    return found


def _own_of_plain(headers: Headers) -> dict[str, str] | None:
    """The own fields of a head whose names and values need no closer look; None for another."""
    if not headers or len(headers) > _PLAIN_FIELDS:
        return None
    names, values = zip(*headers, strict=True)
    places = _places(names)
    if places is None:
        return None
    found = {name: values[place] for name, place in places}
    text = "".join(found.values())
    if len(text) > 1024 or not text.isascii() or not text.isprintable():
        return None
    for name, value in found.items():
        _check_grammar(name, value)
    return found


@lru_cache(maxsize=256)
def _places(names: tuple[str, ...]) -> tuple[tuple[str, int], ...] | None:
    """Where the own fields stand; None when a name repeats or could mislead a backend."""
    if len(set(names)) < len(names) or any(
        name in _OVERRIDES or not _USUAL_NAME.fullmatch(name) for name in names
    ):
        return None
    return tuple((name, place) for place, name in enumerate(names) if name in _OWN)


def _check_grammar(name: str, value: str) -> None:
    rule = _GRAMMAR.get(name)
    if rule is not None and not rule[0].fullmatch(value):
        raise Problem(Code.INVALID_HEADER, where=name, detail=rule[1])


def _refuse_misleading(name: str) -> None:
    """CGI, WSGI and PHP read ``x_road_client`` and ``x-road-client`` as one (RFC 3875 4.1.18).

    Some servers before them make an underscore of every character that is no letter or digit.
    """
    plain = _UNUSUAL.sub("-", name)
    if plain in _OVERRIDES:
        raise Problem(
            Code.INVALID_HEADER,
            where=name[:80],
            detail="it could make the backend take this for another request",
        )
    ours = (
        plain in _OWN
        or plain in _NOT_FORWARDED
        or plain in HOP_BY_HOP
        or plain.startswith(("x-road-", "exchange-"))
    )
    if plain != name and ours:
        raise Problem(
            Code.INVALID_HEADER, where=name[:80], detail=f"the backend could take it for {plain}"
        )
