"""Records whose name is like the asked one, the likest first, each with score and explanation.

The source gives candidates (:mod:`adapters.mapping.searching`); here their names are compared. More
candidates than may be compared are refused, not cut: the likest might be among the rest. A record
that several sounds found is one hit. What a caller does not see is no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from adapters.answers.joins import complete
from adapters.answers.requests import Plan
from adapters.answers.rows import RecordWriter, misfit
from adapters.answers.running import Look, fetch
from adapters.fields import Mismatch, Schema
from adapters.fields.written import write_json
from adapters.mapping.model import Endpoint, Limits
from adapters.mapping.searching import Search
from adapters.text.names import Match, match
from exchange.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class _Hit:
    match: Match
    member: str
    row: Sequence[Any]
    key: str


def answer_search(
    plan: Plan, search: Search, writer: RecordWriter, limits: Limits, look: Look | None = None
) -> Callable[[Connection], bytes]:
    """What to do with a connection to get the body of the answer.

    The function raises a Problem: ``QueryTooWide`` where there are too many candidates, and what
    the writing of a record raises.
    """
    readers = [
        (field, plan.layout.columns.index(field.column), field.converter())
        for field in search.names
    ]

    def hits(rows: Sequence[Sequence[Any]]) -> list[_Hit]:
        best: dict[str, _Hit] = {}
        for row in rows:
            key = repr(plan.key_of(row))
            if key in best:
                continue
            for field, index, read in readers:
                try:
                    text = read(row[index])
                except Mismatch as mismatch:
                    raise misfit(mismatch, field.pointer) from mismatch
                found = match(plan.name, text) if text else None
                if found and (key not in best or found.score > best[key].match.score):
                    best[key] = _Hit(found, field.name, row, key)
        good = [hit for hit in best.values() if hit.match.score >= plan.threshold]
        return sorted(good, key=lambda hit: (-hit.match.score, hit.key))

    def ask(connection: Connection) -> bytes:
        rows = fetch(connection, plan, search.max_candidates + 1, look)
        if len(rows) > search.max_candidates:
            detail = f"more than {search.max_candidates:,} records could be meant"
            detail += ": give more of the name, or a filter"
            raise Problem(Code.QUERY_TOO_WIDE, where="query.name", detail=detail)
        found = hits(rows)
        shown = found[: plan.page_size]
        cells = complete(connection, [hit.row for hit in shown], plan.layout, limits, look)
        items = [
            {
                "score": hit.match.score,
                "explanation": list(hit.match.reasons),
                "member": hit.member,
                "record": writer.build(cell, plan.layout.indexes, f"/items/{number}/record"),
            }
            for number, (hit, cell) in enumerate(zip(shown, cells, strict=True))
        ]
        body = write_json({"items": items, "more": len(found) > plan.page_size})
        if len(body) > limits.max_bytes:
            detail = f"the answer is larger than {limits.max_bytes} bytes"
            raise Problem(Code.RESPONSE_TOO_LARGE, where="body", detail=detail)
        return body

    return ask


def search_schema(endpoint: Endpoint, search: Search, record: Schema) -> Schema:
    """The schema of the answer; ``record`` is that of the record."""
    hit: Schema = {
        "type": "object",
        "required": ["score", "explanation", "member", "record"],
        "properties": {
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "explanation": {"type": "array", "items": {"type": "string"}},
            "member": {"type": "string", "enum": [field.name for field in search.names]},
            "record": record,
        },
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": ["items", "more"],
        "properties": {
            "items": {"type": "array", "maxItems": endpoint.page_size, "items": hit},
            "more": {"type": "boolean"},
        },
        "additionalProperties": False,
    }


def search_parameters(search: Search) -> list[dict[str, Any]]:
    """The parameters of a search in the document."""
    return [
        {
            "name": "name",
            "in": "query",
            "required": True,
            "description": "A name in Lao script or Latin letters, in any spelling",
            "x-description-lo": "ຊື່ເປັນອັກສອນລາວ ຫຼື ລາຕິນ, ຂຽນແບບໃດກໍໄດ້",
            "schema": {"type": "string", "minLength": 1, "maxLength": 120},
        },
        {
            "name": "threshold",
            "in": "query",
            "required": False,
            "description": "The least score of a hit",
            "x-description-lo": "ຄະແນນຕໍ່າສຸດ",
            "schema": {
                "type": "number",
                "minimum": 0.5,
                "maximum": 1,
                "default": search.threshold,
            },
        },
    ]
