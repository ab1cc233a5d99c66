"""Problems as HTTP: the one place that turns a :class:`Problem` into a reply.

The shape is X-Road's (PR-REST 1.0.4 section 4.6): ``type``, ``message``, ``detail`` (the trace id),
in JSON or, when Accept names it, XML; ``X-Road-Error`` carries the type. Members of our own
follow: ``where``, ``facts``, ``cause`` and ``remedy`` in English and Lao, ``retryable``.

Between servers a problem always has the plain :class:`Form`. The form that an application gets is
its own server's choice; so what the other server refused is written anew (:func:`restate`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from xml.sax.saxutils import escape

import orjson

from exchange.messages.error_types import (
    ErrorTypes,
    camel,
    is_error_type,
    known_code,
    name_of_x_road,
    spell,
)
from exchange.problems import CATALOGUE, Code, Entry, Problem, Side
from serving.backends import Headers

RETRY_AFTER_S = 5
_XML_TYPES = ("application/xml", "text/xml", "text/*")
_LANGUAGES = ("en", "lo")
# Their messages say what is wrong, and only ``where`` says with what. Other messages stay as they
# are: clients of X-Road compare some of them.
_NEED_THEIR_PLACE = frozenset(
    {Code.INVALID_HEADER, Code.SCHEMA_VIOLATION, Code.RESPONSE_SCHEMA_VIOLATION}
)
# XML 1.0 section 2.2: what no character of a document may be.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OF_THE_BODY = frozenset(
    {"content-type", "content-length", "content-encoding", "content-language", "x-road-error"}
)


class Profile(StrEnum):
    """Whose habits an error follows."""

    SAPHAN = "saphan"
    X_ROAD = "x-road"


@dataclass(frozen=True, slots=True)
class Form:
    """How applications read errors.

    ``saphan`` has honest statuses and members of our own; ``x-road`` has X-Road's literal statuses
    (500 for a type of a server, 400 for others), its three members and no others, and its names.
    """

    profile: Profile = Profile.SAPHAN
    error_types: ErrorTypes = ErrorTypes.CAMEL


PLAIN = Form()


def error_type(problem: Problem, side: Side) -> str:
    """X-Road's error type, such as ``Server.ServerProxy.AccessDenied``."""
    return f"{side}.{problem.code}"


def describe(problem: Problem, side: Side, trace: str) -> dict[str, Any]:
    """The problem as the members of an error body."""
    entry: Entry = CATALOGUE[problem.code]
    return {
        "type": error_type(problem, side),
        "message": problem.detail or entry.cause.en,
        "detail": trace,
        "where": problem.where,
        "facts": problem.facts,
        "cause": entry.cause.as_dict(),
        "remedy": entry.remedy.as_dict(),
        "retryable": problem.retryable,
    }


def render(
    members: Mapping[str, Any], status: int, accept: str = "", form: Form = PLAIN
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error reply, in the form that ``accept`` names."""
    error_type = str(members["type"])
    come_again = []
    if status in (429, 503):  # whatever the form makes of the status
        facts = members.get("facts") or {}
        come_again = [("retry-after", str(facts.get("retry_after_s", RETRY_AFTER_S)))]
    if form.profile is Profile.X_ROAD:
        message = _with_place(members, known_code(error_type))
        error_type = name_of_x_road(error_type)
        status = 500 if error_type.startswith("Server.") else 400
        members = {"type": error_type, "message": message, "detail": members["detail"]}
    error_type = spell(error_type, form.error_types)
    members = {**members, "type": error_type}
    headers: list[tuple[str, str]] = [("x-road-error", error_type), *come_again]
    xml_type = _named_xml(accept)
    if xml_type:
        headers.append(("content-type", f"{xml_type};charset=utf-8"))
        return status, tuple(headers), _xml(members)
    headers.append(("content-type", "application/json"))
    return status, tuple(headers), orjson.dumps(members)


def _with_place(members: Mapping[str, Any], code: Code | None) -> str:
    """The message for a form that has no ``where``; a few would say nothing without the place."""
    message, where = str(members["message"]), str(members.get("where") or "")
    return f"{where}: {message}" if where and code in _NEED_THEIR_PLACE else message


def reply(
    problem: Problem, side: Side, trace: str, accept: str = "", form: Form = PLAIN
) -> tuple[int, Headers, bytes]:
    """Status, headers and body for ``problem``."""
    return render(describe(problem, side, trace), problem.status, accept, form)


def restate(
    status: int, headers: Headers, body: bytes, trace: str, accept: str, form: Form
) -> tuple[int, Headers, bytes]:
    """What another server refused, in the form that the application reads.

    Args:
        status, headers: as they came, with ``x-road-error``, in either spelling of its value.
        body: its JSON; whatever else it may be is passed over.
    """
    error_type = dict(headers)["x-road-error"]
    if not is_error_type(error_type):
        error_type = f"{Side.PROVIDER}.{Code.INTERNAL_ERROR}"
    code = known_code(error_type)
    members: dict[str, Any] = {
        **_told(body, code),
        "type": camel(error_type),
        "detail": trace,
    }
    members = {name: members.pop(name) for name in ("type", "message", "detail")} | members
    status, ours, body = render(members, status, accept, form)
    theirs = [item for item in headers if item[0] not in _OF_THE_BODY]
    if any(name == "retry-after" for name, _ in theirs):
        ours = tuple(item for item in ours if item[0] != "retry-after")
    return status, (*theirs, *ours), body


def _told(body: bytes, code: Code | None) -> dict[str, Any]:
    """The members that another server's error has; what has not our shape is left out."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    members = found if isinstance(found, dict) else {}
    message = members.get("message")
    if not isinstance(message, str):
        message = CATALOGUE[code].cause.en if code else ""
    kept: dict[str, Any] = {"message": message}
    for name, kind in (("where", str), ("facts", dict)):
        if isinstance(members.get(name), kind):
            kept[name] = members[name]
    for name in ("cause", "remedy"):
        texts = members.get(name)
        if isinstance(texts, dict) and all(isinstance(texts.get(x), str) for x in _LANGUAGES):
            kept[name] = {language: texts[language] for language in _LANGUAGES}
    if isinstance(members.get("retryable"), bool):
        kept["retryable"] = members["retryable"]
    return kept


def internal(detail: str = "") -> Problem:
    """The problem that stands for an error of our own; its particulars go to the log only."""
    return Problem(Code.INTERNAL_ERROR, detail=detail)


def accept_of(headers: Headers) -> str:
    """All that the Accept fields say."""
    return ",".join([value for name, value in headers if name == "accept"])


def _named_xml(accept: str) -> str:
    # X-Road takes the first XML type that Accept names at all, and ignores q and what else it
    # names (its ClientRestMessageHandler); text/* is text/xml.
    for part in accept.split(","):
        media = part.split(";", 1)[0].strip().lower()
        if media in _XML_TYPES:
            return media if media == "application/xml" else "text/xml"
    return ""


def _xml(members: Mapping[str, Any]) -> bytes:
    parts = ['<?xml version="1.0" encoding="UTF-8"?><error>']
    for name in ("type", "message", "detail", "where"):
        if name in members and (members[name] or name != "where"):
            parts.append(f"<{name}>{_text(members[name])}</{name}>")
    for language, text in (members.get("remedy") or {}).items():
        parts.append(f'<remedy xml:lang="{language}">{_text(text)}</remedy>')
    parts.append("</error>")
    return "".join(parts).encode()


def _text(value: object) -> str:
    return escape(_NO_XML.sub("\ufffd", str(value)))
