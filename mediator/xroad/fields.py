"""Header fields: which go on to the provider, which mean something here, which are refused."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import lru_cache

from exchange.journal import subjects
from exchange.messages.envelope import HOP_BY_HOP
from exchange.once_only import evidence_requests
from exchange.problems import Code, Problem
from mediator.xroad.addresses import CLIENT_HEADERS
from serving.backends import Headers

MAX_MESSAGE_ID = 255
# Fewer than a message between servers may have: this server adds its own.
MAX_FIELDS = 85
# And longer: each server adds fields to the longest head of an application or a backend.
MAX_LINK_HEAD_BYTES = 80 * 1024
# The names of heads of at most so many fields are judged once and remembered.
_PLAIN_FIELDS = 48

REPEAT = "exchange-repeat"
"""Between servers only: this message was sent before, and what became of it is not known."""

_MESSAGE_ID = re.compile(r"[!-~]{0,255}", re.ASCII)
_PARTY = re.compile(
    r"(?:(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+/)?"
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)?",
    re.ASCII,
)
_USUAL_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_UNUSUAL = re.compile(r"[^a-z0-9-]", re.ASCII)

# Fields that this server sets itself, or that belong to the connection; what an application
# sends in them is not passed on.
_OWN = frozenset(
    {
        "content-digest",
        "exchange-agreement",
        "exchange-purpose",
        evidence_requests.HEADER,
        subjects.HEADER,
        REPEAT,
        "traceparent",
        "x-road-id",
        "x-road-represented-party",
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
    "x-road-represented-party": (_PARTY, "must be a code or class/code, each percent-encoded"),
}
# W3C Trace Context section 3.2.2, and the known part of later versions (section 3.2.4); an id of
# zeros is none. What is written otherwise is ignored (section 4.3).
_TRACE = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)
_TRACE_LENGTH = 55
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
# ``Via`` is of the same kind; why none is made is said in docs/adr/0036.
OF_PROXIES = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)
_OF_TRACES = frozenset({"traceparent", "tracestate"})
_NOT_FORWARDED = frozenset(
    {
        *CLIENT_HEADERS,
        *OF_PROXIES,
        "host",
        "content-length",
        "http2-settings",
        "proxy-authentication-info",
        "user-agent",
        "server",
        "date",
        "expect",
        "signature",
        "signature-input",
        "content-digest",
        REPEAT,
        "x-road-id",
        "x-road-request-id",
        "x-road-request-hash",
        "x-road-service",
        "x-road-error",
    }
)


def id_named(headers: Headers, wanted: str) -> str:
    """The message or request id that a message names, for its record; empty when it names none
    that is written as one: entries and logs hold no sentences."""
    value = first(headers, wanted)
    return value if _MESSAGE_ID.fullmatch(value) else ""


def subject_of(own: Mapping[str, str]) -> str:
    """The subject that the fields of an exchange name, in normal form; empty without one."""
    value = own.get(subjects.HEADER, "")
    return subjects.normal_subject(value) if value else ""


def subject_named(headers: Headers) -> str:
    """:func:`subject_of` of a message that was refused: also empty when it is written wrongly."""
    with contextlib.suppress(Problem):
        return subject_of({subjects.HEADER: first(headers, subjects.HEADER)})
    return ""


def forwarded(headers: Headers, *, traced: bool = False) -> Headers:
    """The end-to-end fields that go on to the provider.

    Args:
        traced: whether a valid ``traceparent`` came; without one neither it nor ``tracestate``
            goes on (W3C Trace Context section 4.3).
    """
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
            and (traced or field[0] not in _OF_TRACES)
        ]
    )


def first(headers: Headers, wanted: str) -> str:
    """The first value of a field; empty when it is not there."""
    for name, value in headers:
        if name == wanted:
            return value
    return ""


def own_fields(headers: Headers) -> dict[str, str]:
    """The fields that mean something to the exchange itself, each of which may stand once only.

    Raises:
        Problem: ``InvalidHeader`` when one is repeated with another value, longer than 1,024
            characters, not printable ASCII or not written as it must be; for a field that would
            make a backend see another caller or another request than was judged here; and (501)
            for the handshake of WebSocket. A trace that is none is no problem: it is empty.
    """
    found = _own_of_plain(headers)
    if found is None:
        found = {}
        for name, value in headers:
            if name == "traceparent":
                found[name] = "" if name in found else value  # two of them are none
                continue
            if name not in _OWN:
                if name == "upgrade":
                    _refuse_upgrade(value)
                elif name in _OVERRIDES or not _USUAL_NAME.fullmatch(name):
                    _refuse_misleading(name)
                continue
            if found.setdefault(name, value) != value:
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail="the field is repeated with other values",
                )
            _check_grammar(name, value)
            if len(value) > 1024 or not value.isascii() or not value.isprintable():
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail="at most 1,024 printable ASCII characters",
                )
    if "traceparent" in found:
        found["traceparent"] = _known_trace(found["traceparent"])
    return found


def _known_trace(value: str) -> str:
    """What is understood of a trace; empty when it is none, so that no text gets into entries."""
    known, more = value[:_TRACE_LENGTH], value[_TRACE_LENGTH:]
    if not _TRACE.fullmatch(known) or (more and (known[:2] == "00" or more[0] != "-")):
        return ""
    return known


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
        name in _OVERRIDES or name == "upgrade" or not _USUAL_NAME.fullmatch(name) for name in names
    ):
        return None
    return tuple((name, place) for place, name in enumerate(names) if name in _OWN)


def _check_grammar(name: str, value: str) -> None:
    if name == subjects.HEADER:
        if value:
            subjects.normal_subject(value)
        return
    if name == evidence_requests.HEADER:
        if value:
            evidence_requests.parse_basis(value)
        return
    rule = _GRAMMAR.get(name)
    if rule is not None and not rule[0].fullmatch(value):
        raise Problem(Code.INVALID_HEADER, where=name, detail=rule[1])


def _refuse_upgrade(value: str) -> None:
    """Others than WebSocket may be ignored (RFC 9110 section 7.8); a client of that would wait for
    a protocol that no signature and no journal covers."""
    protocols = [protocol.strip().partition("/")[0].lower() for protocol in value.split(",")]
    if "websocket" in protocols:
        raise Problem(
            Code.INVALID_HEADER,
            where="upgrade",
            detail="WebSocket is not carried: every message is signed and recorded as a whole",
            status=501,
        )


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
