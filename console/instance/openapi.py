"""The OpenAPI 3.0 document of this API, in its own words; paths, parameters, bodies and scopes are
those of GovStack's Configuration Management API (IM 1.1.1), with every answer written out."""

from __future__ import annotations

from typing import Any, Final

from console.instance.clients import SCOPES
from console.instance.openapi_schemas import CODE, api_responses, api_schemas, content, reference
from console.instance.rights import MAX_PAGE

_JSON: Final = "application/json"
_BOTH: Final = (_JSON, "text/yaml", "application/yaml", "application/x-yaml")


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
            "schemas": api_schemas(),
            "responses": api_responses(),
            "securitySchemes": {"auth": _security(issuer, embedded=embedded)},
        },
    }


def _security(issuer: str, *, embedded: bool) -> dict[str, Any]:
    if not embedded:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        return {"type": "openIdConnect", "openIdConnectUrl": url}
    flow = {"tokenUrl": f"{issuer}/oauth/token", "scopes": dict(SCOPES)}
    return {"type": "oauth2", "flows": {"clientCredentials": flow}}


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
        "responses": answers
        | {status: reference("responses", _PROBLEMS[status]) for status in told},
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
        "content": content(reference("schemas", "IMconf"), *_BOTH),
    }
    made = {
        "201": {
            "description": "It is valid and saved, and being made",
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "Location": {"schema": {"type": "string"}},
                "Preference-Applied": {"schema": {"type": "string"}},
            },
            "content": content(reference("schemas", "IMconfResponse"), _JSON),
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
            "content": content(reference("schemas", "IMconf"), *_BOTH),
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
    status = {"content": content(reference("schemas", "Status"), _JSON)}
    call = _call(
        "conf",
        "checkIMconf",
        "Whether the instance is configured, up and running",
        "read:conf",
        {"200": {"description": "All is made and well", **status}},
    )
    either = {"oneOf": [reference("schemas", "Status"), reference("schemas", "Problem")]}
    call["responses"]["500"] = {
        "description": "Not configured, being made, or failing",
        "content": content(either, _JSON),
    }
    return {"get": call}


def _get_rights() -> dict[str, Any]:
    def parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "in": "query", "description": text, "schema": schema}

    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100}
    handle = {"type": "string", "maxLength": 2000, "pattern": "^[A-Za-z0-9_-]+$"}
    found = {
        "200": {
            "description": "A page of what the servers obey",
            "content": content(reference("schemas", "AllowList"), _JSON),
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
            parameter("memberClass", "only services of this class of members", CODE),
            parameter("memberCode", "only services of members with this code", CODE),
            parameter("applicationId", "only services of applications with this id", CODE),
            parameter("serviceId", "only services with this id", CODE),
            parameter("pageSize", "pairs of service and application on a page", size),
            parameter("nextPageToken", "the handle that came with the page before", handle),
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
            "content": content(reference("schemas", "ServiceAccessRights"), *_BOTH),
        },
    )


def _open(name: str, summary: str, media: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": summary, "content": content(schema, media)}
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
    refused = {"content": content(error, _JSON)}
    post = {
        "tags": ["service"],
        "summary": "A token for client credentials (RFC 6749 section 4.4)",
        "operationId": "token",
        "security": [],
        "requestBody": {
            "required": True,
            "content": content(form, "application/x-www-form-urlencoded"),
        },
        "responses": {
            "200": {"description": "The token", "content": content(token, _JSON)},
            "400": {"description": "An error of RFC 6749 section 5.2", **refused},
            "401": {"description": "Not a client", **refused},
            "408": reference("responses", "RequestTimeout"),
            "413": reference("responses", "TooLarge"),
        },
    }
    return {
        "/.well-known/oauth-authorization-server": _open(
            "oauthMetadata", "The issuer (RFC 8414)", _JSON, {"type": "object"}
        ),
        "/oauth/jwks.json": _open("oauthKeys", "Its keys (RFC 7517)", _JSON, {"type": "object"}),
        "/oauth/token": {"post": post},
    }
