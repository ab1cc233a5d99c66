"""The OpenAPI 3.0 document of this API, in its own words; paths, parameters, bodies and scopes are
those of GovStack's Configuration Management API (IM 1.1.1), with every answer written out."""

from __future__ import annotations

from typing import Any, Final

from console.instance.clients import SCOPES
from console.instance.document import (
    MAX_APPLICATIONS,
    MAX_MEMBERS,
    MAX_SERVICES,
    Connection,
)
from console.instance.document import MAX_RIGHTS as MAX_SERVICE_RIGHTS
from console.instance.reading import MAX_CODE, MAX_URL
from console.instance.rights import MAX_ITEMS, MAX_PAGE, MAX_RIGHTS

_JSON: Final = "application/json"
_BOTH: Final = (_JSON, "text/yaml", "application/yaml", "application/x-yaml")
_CODE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_CODE,
    "pattern": r"^[A-Za-z0-9'()+,\-.=?]+$",
}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_URL: Final = {"type": "string", "format": "uri", "maxLength": MAX_URL}


def api_document(issuer: str, *, embedded: bool) -> dict[str, Any]:
    """The document; with the embedded issuer its calls are in it."""
    paths = {
        "/api/v1/config": _config(),
        "/api/v1/status": _status(),
        "/api/v1/rights/allow": {
            "get": _get_rights(),
            "patch": _patch_rights("Allow", "setAllowed"),
        },
        "/api/v1/rights/deny": {"patch": _patch_rights("Deny", "setDenied")},
        "/healthz": _open("health", "Whether this process answers", _JSON, {"type": "object"}),
        "/openapi.json": _open("openapiJson", "This document", _JSON, {"type": "object"}),
        "/openapi.yaml": _open(
            "openapiYaml", "This document", "application/yaml", {"type": "object"}
        ),
    }
    if embedded:
        paths |= _oauth()
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Saphan: configuration of an instance",
            "version": "1.0.1",
            "description": "Configuration management of GovStack's Information Mediator. "
            "For sandboxes and pilots: all keys of the instance are in one place.",
        },
        "tags": [
            {"name": "conf", "description": "Configuration"},
            {"name": "rights", "description": "Access rights"},
            {"name": "service", "description": "This service itself"},
        ],
        "security": [{"auth": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": _responses(),
            "securitySchemes": {"auth": _security(issuer, embedded=embedded)},
        },
    }


def _security(issuer: str, *, embedded: bool) -> dict[str, Any]:
    if not embedded:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        return {"type": "openIdConnect", "openIdConnectUrl": url}
    flow = {"tokenUrl": f"{issuer}/oauth/token", "scopes": dict(SCOPES)}
    return {"type": "oauth2", "flows": {"clientCredentials": flow}}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _content(schema: dict[str, Any], *media: str) -> dict[str, Any]:
    return {name: {"schema": schema} for name in media}


def _call(
    tag: str,
    name: str,
    summary: str,
    scope: str,
    answers: dict[str, Any],
    *problems: str,
    **more: Any,
) -> dict[str, Any]:
    told = ("400", "401", "403", "500", *problems)
    return {
        "tags": [tag],
        "summary": summary,
        "operationId": name,
        "security": [{"auth": [scope]}],
        **more,
        "responses": answers | {status: _ref("responses", _PROBLEMS[status]) for status in told},
    }


_PROBLEMS: Final = {
    "400": "BadRequest",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "NotFound",
    "406": "NotAcceptable",
    "408": "RequestTimeout",
    "409": "Conflict",
    "412": "PreconditionFailed",
    "413": "TooLarge",
    "415": "UnsupportedMediaType",
    "500": "InternalError",
    "503": "NotConverged",
}
_WITH_BODY: Final = ("408", "409", "413", "415")


def _config() -> dict[str, Any]:
    body = {
        "required": True,
        "description": "The configuration",
        "content": _content(_ref("schemas", "IMconf"), *_BOTH),
    }
    made = {
        "201": {
            "description": "It is valid and saved, and being made",
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "Location": {"schema": {"type": "string"}},
                "Preference-Applied": {"schema": {"type": "string"}},
            },
            "content": _content(_ref("schemas", "IMconfResponse"), _JSON),
        }
    }
    prefer = {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=SECONDS` (RFC 7240): answer when it is made, 300 seconds at most",
        "schema": {"type": "string", "maxLength": 200},
    }
    match = {
        "name": "If-Match",
        "in": "header",
        "description": "the ETag of the configuration that is to be changed, or `*`",
        "schema": {"type": "string", "maxLength": 200},
    }
    init = {
        "name": "init",
        "in": "query",
        "description": "true makes the authority and the registry of the instance",
        "schema": {"type": "boolean", "default": False},
    }
    found = {
        "200": {
            "description": "The configuration",
            "headers": {"ETag": {"schema": {"type": "string"}}},
            "content": _content(_ref("schemas", "IMconf"), *_BOTH),
        }
    }
    create = _call(
        "conf", "createIMconf", "Create the instance", "write:conf", made, *_WITH_BODY,
        parameters=[init, prefer], requestBody=body,
    )  # fmt: skip
    update = _call(
        "conf", "updateIMconf", "Merge: what is not described stays", "write:conf", made,
        *_WITH_BODY, "412", parameters=[match, prefer], requestBody=body,
    )  # fmt: skip
    replace = _call(
        "conf", "replaceIMconf", "Replace: what is not described goes", "create:conf", made,
        *_WITH_BODY, "412", parameters=[match, prefer], requestBody=body,
    )  # fmt: skip
    return {
        "get": _call("conf", "listIMconf", "The configuration", "read:conf", found, "404", "406"),
        "post": create,
        "patch": update,
        "put": replace,
    }


def _status() -> dict[str, Any]:
    status = {"content": _content(_ref("schemas", "Status"), _JSON)}
    call = _call(
        "conf",
        "checkIMconf",
        "Whether the instance is configured, up and running",
        "read:conf",
        {"200": {"description": "All is made and well", **status}},
    )
    either = {"oneOf": [_ref("schemas", "Status"), _ref("schemas", "Problem")]}
    call["responses"]["500"] = {
        "description": "Not configured, being made, or failing",
        "content": _content(either, _JSON),
    }
    return {"get": call}


def _get_rights() -> dict[str, Any]:
    def parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "in": "query", "description": text, "schema": schema}

    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100}
    text = {"type": "string", "maxLength": 200}
    found = {
        "200": {
            "description": "A page of what the servers obey",
            "content": _content(_ref("schemas", "AllowList"), _JSON),
        }
    }
    return _call(
        "rights",
        "getAllowed",
        "What is allowed",
        "read:rights",
        found,
        "404",
        "503",
        parameters=[
            parameter("memberClass", "only services of this class of members", text),
            parameter("memberCode", "only services of members with this code", text),
            parameter("applicationId", "only services of applications with this id", text),
            parameter("serviceId", "only services with this id", text),
            parameter("pageSize", "pairs of service and application on a page", size),
            parameter(
                "nextPageToken",
                "the handle that came with the page before",
                {"type": "string", "maxLength": 2000},
            ),
        ],
    )


def _patch_rights(verb: str, name: str) -> dict[str, Any]:
    return _call(
        "rights",
        name,
        f"{verb} applications to call services",
        "write:rights",
        {"200": {"description": "The servers obey it"}},
        "404",
        "408",
        "413",
        "415",
        "503",
        requestBody={
            "required": False,
            "content": _content(_ref("schemas", "ServiceAccessRights"), *_BOTH),
        },
    )


def _open(name: str, summary: str, media: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": summary, "content": _content(schema, media)}
    call = {"tags": ["service"], "summary": summary, "operationId": name, "security": []}
    return {"get": {**call, "responses": {"200": answer}}}


def _oauth() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
    }
    token = {
        "type": "object",
        "required": ["access_token", "token_type", "expires_in", "scope"],
        "properties": {
            "access_token": {"type": "string"},
            "token_type": {"type": "string"},
            "expires_in": {"type": "integer"},
            "scope": {"type": "string"},
        },
    }
    form = {
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": {"type": "string"},
            "client_secret": {"type": "string"},
            "scope": {"type": "string"},
        },
    }
    refused = {"content": _content(error, _JSON)}
    post = {
        "tags": ["service"],
        "summary": "A token for client credentials (RFC 6749 section 4.4)",
        "operationId": "token",
        "security": [],
        "requestBody": {
            "required": True,
            "content": _content(form, "application/x-www-form-urlencoded"),
        },
        "responses": {
            "200": {"description": "The token", "content": _content(token, _JSON)},
            "400": {"description": "An error of RFC 6749 section 5.2", **refused},
            "401": {"description": "Not a client", **refused},
            "408": _ref("responses", "RequestTimeout"),
            "413": _ref("responses", "TooLarge"),
        },
    }
    return {
        "/.well-known/oauth-authorization-server": _open(
            "oauthMetadata", "The issuer (RFC 8414)", _JSON, {"type": "object"}
        ),
        "/oauth/jwks.json": _open("oauthKeys", "Its keys (RFC 7517)", _JSON, {"type": "object"}),
        "/oauth/token": {"post": post},
    }


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
        return _object(("member", "application"), member=_NAME, application=_CODE)
    keys = ("memberClass", "memberCode", "applicationId")
    return _object(keys, **dict.fromkeys(keys, _CODE))


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    both = {**_allowed(by_name=True)["properties"], **_allowed(by_name=False)["properties"]}
    service = _object(
        ("id", "specUrl", "serviceUrl"),
        id=_CODE,
        specUrl=_URL | {"description": "where its OpenAPI document is: https, http or file"},
        serviceUrl=_URL | {"description": "where its operations are: https or http"},
        rights=_array(_ref("schemas", "AllowedApplication"), MAX_SERVICE_RIGHTS),
    )
    connection = {"type": "string", "enum": [one.value for one in Connection], "default": "https"}
    application = _object(
        ("id",), id=_CODE, connection=connection, services=_array(service, MAX_SERVICES)
    )
    members = {
        "name": _NAME,
        "class": _CODE,
        "code": _CODE,
        "applications": _array(application, MAX_APPLICATIONS),
    }
    rights = _object(
        ("memberClass", "memberCode", "applicationId", "serviceId", "rights"),
        memberClass=_CODE,
        memberCode=_CODE,
        applicationId=_CODE,
        serviceId=_CODE,
        rights=_array(_ref("schemas", "AllowedApplication"), MAX_RIGHTS),
    )
    bilingual = {"type": "object", "properties": {"en": text, "lo": text}}
    return {
        "IMconf": _object(
            ("domain", "instance"),
            domain={"type": "string", "minLength": 1, "maxLength": 253},
            instance=_CODE,
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


def _responses() -> dict[str, Any]:
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
    content = _content(_ref("schemas", "Problem"), _JSON)
    found: dict[str, Any] = {
        name: {"description": text, "content": content} for name, text in told.items()
    }
    for name in ("Unauthorized", "Forbidden"):
        found[name]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    found["NotConverged"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return found
