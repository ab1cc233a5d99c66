"""The JSON Schema that a scan proposes: what the records are, with all that the samples tell.

It says more than the contract of the mapping, which must let every row pass: lengths, and code
lists of the words that were seen. It is a draft for a person, who publishes it as a shared schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from adapters.fields import Kind
from adapters.scan.inferring import DoubtCode
from adapters.scan.planning import Plan, Shown

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LENGTH: Final = re.compile(r"CHAR(?:ACTER)?(?: VARYING)?\((\d+)\)", re.IGNORECASE)


def draft(plans: Sequence[Plan], document: bytes) -> dict[str, Any]:
    """The schema of the records of ``plans``, each in ``$defs``.

    Args:
        plans: as the mapping shows them.
        document: the OpenAPI document of the mapping, whose schemas this one narrows.
    """
    records: dict[str, Any] = orjson.loads(document)["components"]["schemas"]
    return {
        "$schema": DIALECT,
        "$comment": "proposed by a scan from samples: read it before it is published",
        "anyOf": [{"$ref": f"#/$defs/{plan.name}"} for plan in plans],
        "$defs": {plan.name: _narrowed(plan, records[plan.name]) for plan in plans},
    }


def _narrowed(plan: Plan, record: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(record["properties"])
    for column in plan.columns:
        properties[column.alias] = properties[column.alias] | _more(column)
    return {**record, "properties": properties}


def _more(column: Shown) -> dict[str, Any]:
    """What the column and its samples say beyond the type."""
    found: dict[str, Any] = {}
    if column.found.comment:
        found["description"] = column.found.comment[:500]
    comments = [doubt.words for doubt in column.proposal.doubts]
    if comments:
        found["$comment"] = "; ".join(comments)
    if column.proposal.kind is not Kind.STRING:
        return found
    words = code_list(column)
    if words:
        return found | {"enum": words}
    length = _LENGTH.search(column.found.type)
    # In an old encoding, a Lao letter may be written with fewer or more signs than it has.
    if length is not None and int(length[1]) and "decode" not in column.proposal.keys:
        found["maxLength"] = int(length[1])
    return found


def code_list(column: Shown) -> list[str]:
    """The words that were seen in a column that is likely a code list; none where they are private,
    in an old encoding, or rows of another table."""
    codes = {doubt.code for doubt in column.proposal.doubts}
    if DoubtCode.CODE_LIST not in codes or column.secret or column.refers:
        return []
    words = sorted(set(column.texts))
    return words if len(words) > 1 and "decode" not in column.proposal.keys else []
