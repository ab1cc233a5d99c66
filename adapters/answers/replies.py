"""What every adapter answers besides its data: problem details, entity tags."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from exchange.problems import Problem
from serving.backends import BackendResponse, Headers

PROBLEM_TYPE = "application/problem+json"
OPENAPI_VERSION = "3.1.1"
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem details (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail", "where"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "where": {"type": "string"},
    },
}
_LONGEST_LIST = 8_000


def entity_tag(body: bytes) -> str:
    """A strong entity tag (RFC 9110, 8.8.3): the same bytes have the same tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def unchanged(headers: Headers, tag: str) -> bool:
    """Whether ``If-None-Match`` names the representation (RFC 9110, 13.1.2: weak comparison)."""
    given = ",".join(value for name, value in headers if name == "if-none-match")
    tags = {word.strip().removeprefix("W/") for word in given[:_LONGEST_LIST].split(",")}
    return tag in tags or "*" in tags


def problem_response(problem: Problem, headers: Headers = ()) -> BackendResponse[bytes]:
    """A problem as RFC 9457 problem details."""
    body: dict[str, Any] = {
        "type": f"urn:saphan:problem:{problem.code}",
        "title": problem.entry.cause.en,
        "status": problem.status,
        "detail": problem.detail,
        "where": problem.where,
    }
    return BackendResponse(
        problem.status, (("content-type", PROBLEM_TYPE), *headers), orjson.dumps(body)
    )
