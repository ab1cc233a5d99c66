"""The operations that write, for the OpenAPI document of a service.

Invariant: the schema of a body that is made here has the members that statements bind, and no
other; a member that is not required is bound as null where it is absent, or left as it is (PATCH).
"""

from __future__ import annotations

from typing import Any

from adapters.answers.replies import PROBLEM_TYPE
from adapters.fields import Field, Null, Schema
from adapters.mapping.model import Change, Write
from adapters.mapping.parameters import parameter_document
from adapters.writes.requests import MERGE_TYPE

_DONE = {
    Change.CREATE: ("201", "It is written; the record as it is now"),
    Change.UPDATE: ("200", "It is changed; the record as it is now"),
    Change.DELETE: ("204", "It is deleted"),
}
_REFUSED = (
    ("400", "A part of the request is malformed"),
    ("404", "There is no such record"),
    ("409", "What is there does not allow it, or the id was used for another request"),
    ("412", "The record is not what If-Match says"),
    ("422", "A value is not one that the schema, or the source, takes"),
    ("428", "If-Match is needed"),
    ("504", "Nobody can say yet whether it was written: repeat it with the same X-Road-Id"),
)


def operation(write: Write, variables: list[dict[str, Any]]) -> dict[str, Any]:
    """The operation object of ``write``.

    Args:
        variables: the parameter objects of its path.
    """
    found: dict[str, Any] = {
        "operationId": write.operation_id,
        "summary": write.title["en"],
        "x-summary-lo": write.title["lo"],
        "x-saphan-strict-query": True,
        "parameters": variables + _headers(write),
        "responses": {**_answers(write), **_refusals()},
    }
    if write.change is not Change.DELETE:
        schema = {"$ref": write.body} if write.body is not None else body_schema(write)
        types = ("application/json", MERGE_TYPE)[: 2 if write.method == "PATCH" else 1]
        found["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": schema} for kind in types},
        }
    return found


def _headers(write: Write) -> list[dict[str, Any]]:
    if write.change is Change.CREATE:
        return []
    return [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,  # without it the answer is 428, which says more
            "description": "The ETag of the record as it was read"
            + (" (needed)" if write.match_needed else ""),
            "x-description-lo": "ETag ຂອງບັນທຶກຕາມທີ່ອ່ານໄດ້",
            "schema": {"type": "string"},
        }
    ]


def _answers(write: Write) -> dict[str, Any]:
    status, text = _DONE[write.change]
    answer: dict[str, Any] = {"description": text}
    if write.change is not Change.DELETE:
        schema = {"$ref": f"#/components/schemas/{write.read.record.name}"}
        answer["content"] = {"application/json": {"schema": schema}}
    return {status: answer}


def _refusals() -> dict[str, Any]:
    problem = {"$ref": "#/components/schemas/problem"}
    return {
        status: {"description": text, "content": {PROBLEM_TYPE: {"schema": problem}}}
        for status, text in _REFUSED
    }


def body_schema(write: Write) -> Schema:
    """The schema of a body, made of the fields and parameters that statements bind."""
    root = _object()
    partial = write.method == "PATCH"
    for field in write.members.values():
        *outer, last = field.path
        inner = root
        for step in outer:
            inner = inner["properties"].setdefault(step, _object())
        inner["properties"][last] = _writable(field)
        if field.null is Null.REFUSE and not partial and not outer:
            inner.setdefault("required", []).append(last)
    for name, parameter in write.parameters.items():
        if name not in write.variables:
            root["properties"][name] = parameter_document(parameter)["schema"]
            if parameter.required:
                root.setdefault("required", []).append(name)
    for name in write.variables:
        if name not in root["properties"] and (known := write.read.record.field(name)) is not None:
            root["properties"][name] = known.schema()
    return root


def _object() -> Schema:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _writable(field: Field) -> Schema:
    schema = field.schema()
    if field.null is Null.OMIT:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema
