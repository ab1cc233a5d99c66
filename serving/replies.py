"""Problems as HTTP: the one place that turns a :class:`Problem` into a reply.

The shape is X-Road's (PR-REST 1.0.4 section 5): ``type``, ``message``, ``detail`` (the trace id),
in JSON or, when Accept prefers it, XML; ``X-Road-Error`` carries the type. Members of our own
follow: ``where``, ``facts``, ``cause`` and ``remedy`` in English and Lao, ``retryable``.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import orjson

from exchange.problems import CATALOGUE, Code, Entry, Problem, Side

RETRY_AFTER_S = 5
_XML_TYPES = ("application/xml", "text/xml", "text/*")


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
        "cause": {"en": entry.cause.en, "lo": entry.cause.lo},
        "remedy": {"en": entry.remedy.en, "lo": entry.remedy.lo},
        "retryable": problem.retryable,
    }


def render(
    members: dict[str, Any], status: int, accept: str = ""
) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Status, headers and body of an error reply, in the form that ``accept`` prefers."""
    headers: list[tuple[str, str]] = [("x-road-error", str(members["type"]))]
    if status in (429, 503):
        facts = members.get("facts") or {}
        headers.append(("retry-after", str(facts.get("retry_after_s", RETRY_AFTER_S))))
    xml_type = _preferred_xml(accept)
    if xml_type:
        headers.append(("content-type", f"{xml_type};charset=utf-8"))
        return status, tuple(headers), _xml(members)
    headers.append(("content-type", "application/json"))
    return status, tuple(headers), orjson.dumps(members)


def reply(
    problem: Problem, side: Side, trace: str, accept: str = ""
) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Status, headers and body for ``problem``."""
    return render(describe(problem, side, trace), problem.status, accept)


def internal(detail: str = "") -> Problem:
    """The problem that stands for an error of our own; its particulars go to the log only."""
    return Problem(Code.INTERNAL_ERROR, detail=detail)


def _preferred_xml(accept: str) -> str:
    # X-Road takes the first match in the order of the header and ignores q (ClientProxy source).
    for part in accept.split(","):
        media = part.split(";", 1)[0].strip().lower()
        if media in _XML_TYPES:
            return "text/xml" if media != "application/xml" else media
        if media in ("application/json", "application/*", "*/*"):
            return ""
    return ""


def _xml(members: dict[str, Any]) -> bytes:
    remedy = members.get("remedy") or {}
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?><error>',
        f"<type>{escape(str(members['type']))}</type>",
        f"<message>{escape(str(members['message']))}</message>",
        f"<detail>{escape(str(members['detail']))}</detail>",
    ]
    if members.get("where"):
        parts.append(f"<where>{escape(str(members['where']))}</where>")
    for language, text in remedy.items():
        parts.append(f'<remedy xml:lang="{language}">{escape(str(text))}</remedy>')
    parts.append("</error>")
    return "".join(parts).encode()
