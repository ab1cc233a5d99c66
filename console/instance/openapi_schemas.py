"""Schemas and answers of the API's OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from console.instance.configuration import Connection
from console.instance.drafts import MAX_APPLICATIONS, MAX_MEMBERS, MAX_SERVICES
from console.instance.drafts import MAX_RIGHTS as MAX_SERVICE_RIGHTS
from console.instance.reading import MAX_CODE, MAX_URL
from console.instance.rights import MAX_ITEMS, MAX_RIGHTS

_JSON: Final = "application/json"
CODE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_CODE,
    "pattern": r"^[A-Za-z0-9'()+,\-.=?]+$",
}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_URL: Final = {"type": "string", "format": "uri", "maxLength": MAX_URL}


def reference(kind: str, name: str) -> dict[str, str]:
    """A component by its kind and name."""
    return {"$ref": f"#/components/{kind}/{name}"}


def content(schema: dict[str, Any], *media: str) -> dict[str, Any]:
    """One schema for these media types."""
    return {name: {"schema": schema} for name in media}


def _array(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": items}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return schema | {"required": list(required)} if required else schema


def _allowed(by_name: bool) -> dict[str, Any]:
    if by_name:
        return _object(("member", "application"), member=_NAME, application=CODE)
    keys = ("memberClass", "memberCode", "applicationId")
    return _object(keys, **dict.fromkeys(keys, CODE))


def api_schemas() -> dict[str, Any]:
    """The components' schemas."""
    text = {"type": "string"}
    both = {**_allowed(by_name=True)["properties"], **_allowed(by_name=False)["properties"]}
    service = _object(
        ("id", "specUrl", "serviceUrl"),
        id=CODE,
        specUrl=_URL | {"description": "where its OpenAPI document is: https, http or file"},
        serviceUrl=_URL | {"description": "where its operations are: https or http"},
        rights=_array(reference("schemas", "AllowedApplication"), MAX_SERVICE_RIGHTS),
    )
    connection = {"type": "string", "enum": [one.value for one in Connection], "default": "https"}
    application = _object(
        ("id",), id=CODE, connection=connection, services=_array(service, MAX_SERVICES)
    )
    members = {
        "name": _NAME,
        "class": CODE,
        "code": CODE,
        "applications": _array(application, MAX_APPLICATIONS),
    }
    rights = _object(
        ("memberClass", "memberCode", "applicationId", "serviceId", "rights"),
        memberClass=CODE,
        memberCode=CODE,
        applicationId=CODE,
        serviceId=CODE,
        rights=_array(reference("schemas", "AllowedApplication"), MAX_RIGHTS),
    )
    bilingual = {"type": "object", "properties": {"en": text, "lo": text}}
    return {
        "IMconf": _object(
            ("domain", "instance"),
            domain={"type": "string", "minLength": 1, "maxLength": 253},
            instance=CODE,
            members=_array(_object(("name", "class", "code"), **members), MAX_MEMBERS),
        ),
        "IMconfResponse": text,
        "ServiceAccessRights": _array(rights, MAX_ITEMS),
        "AllowedApplication": {
            "description": "An application: by its member's name, or by codes. The published file "
            "requires the one and defines the other; both are read, and both are written",
            "anyOf": [
                _allowed(by_name=True),
                _allowed(by_name=False),
                _object(tuple(both), **both),
            ],
        },
        "AllowList": {
            "type": "object",
            "required": ["allowList"],
            "properties": {
                "allowList": {"type": "array", "items": rights},
                "nextPageToken": text,
            },
        },
        "Status": {
            "type": "object",
            "required": ["state", "fitFor"],
            "properties": {
                "state": {
                    "type": "string",
                    "enum": ["unconfigured", "converging", "ready", "failing"],
                },
                "fitFor": text,
                "servers": {"type": "array", "items": {"type": "object"}},
                "failures": {"type": "array", "items": {"type": "object"}},
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "message", "detail", "where", "cause", "remedy", "retryable"],
            "properties": {
                "type": text,
                "message": text,
                "detail": text | {"description": "the trace id, which finds it in the log"},
                "where": text,
                "facts": {"type": "object"},
                "cause": bilingual,
                "remedy": bilingual,
                "retryable": {"type": "boolean"},
                "mistakes": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["pointer", "detail"],
                        "properties": {"pointer": text, "detail": text},
                    },
                },
            },
        },
    }


def api_responses() -> dict[str, Any]:
    """The answers that calls share."""
    told = {
        "BadRequest": "The document, with each mistake at its JSON pointer, or the query is wrong",
        "Unauthorized": "No bearer token that is good enough (RFC 6750)",
        "Forbidden": "The token lacks the scope",
        "NotFound": "There is no instance yet",
        "NotAcceptable": "Neither JSON nor YAML is taken",
        "RequestTimeout": "The body did not come",
        "Conflict": "There is an instance already, or none",
        "PreconditionFailed": "The configuration has changed since",
        "TooLarge": "The body is longer than 1 MiB",
        "UnsupportedMediaType": "The body is neither JSON nor YAML",
        "InternalError": "An error of this service",
        "NotConverged": "It is saved, but could not be made yet",
    }
    body = content(reference("schemas", "Problem"), _JSON)
    found: dict[str, Any] = {
        name: {"description": text, "content": body} for name, text in told.items()
    }
    for name in ("Unauthorized", "Forbidden"):
        found[name]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    found["NotConverged"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return found
