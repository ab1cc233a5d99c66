"""The HTTP face: GovStack's configuration management (IM 1.1.1 section 8.6), and OAuth 2.0.

GovStack's calls, each with the scope that the published file gives it::

    GET    /api/v1/config            read:conf     the configuration, JSON or YAML
    POST   /api/v1/config?init=      write:conf    the first one; init=true makes the centre
    PATCH  /api/v1/config            write:conf    merge
    PUT    /api/v1/config            create:conf   replace
    GET    /api/v1/status            read:conf     200 when all is made and well, otherwise 500
    GET    /api/v1/rights/allow      read:rights   what the servers really obey, in pages
    PATCH  /api/v1/rights/allow      write:rights
    PATCH  /api/v1/rights/deny       write:rights

Ours, for everybody: ``/healthz``, ``/openapi.json``, ``/openapi.yaml`` and, with the embedded
issuer, ``/.well-known/oauth-authorization-server``, ``/oauth/jwks.json``, ``POST /oauth/token``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
import structlog
from aiohttp import web

from console.instance.changes import Changes, etag_of
from console.instance.drafts import MAX_DOCUMENT_BYTES, read
from console.instance.issuers import OAuthError, OwnIssuer
from console.instance.openapi import api_document
from console.instance.pages import Pages
from console.instance.reading import NOUN, Reader
from console.instance.replying import decode, document, json, problems, read_body
from console.instance.rights import MAX_PAGE, Filter, page, read_rights, write_rights
from console.instance.status import Status
from console.instance.writing import write
from exchange.problems import Code, Problem
from serving.tokens import Caller, Refused, Verifier

MAX_WAIT_S: Final = 300
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,4})(?:$|[,;\s])")
_FILTERS: Final = ("memberClass", "memberCode", "applicationId", "serviceId")

log = structlog.get_logger("console.instance.api")


class Api:
    """The handlers."""

    def __init__(
        self,
        directory: Path,
        changes: Changes,
        status: Status,
        verifier: Verifier,
        issuer: OwnIssuer | None,
    ) -> None:
        self._acts = directory / "acts.jsonl"
        self._changes = changes
        self._status = status
        self._verifier = verifier
        self._issuer = issuer
        self._pages = Pages(directory)
        self._document = api_document(verifier.issuer, embedded=issuer is not None)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[problems], client_max_size=MAX_DOCUMENT_BYTES)
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/openapi.json", self.openapi),
                web.get("/openapi.yaml", self.openapi),
                web.get("/api/v1/config", self.get_config),
                web.post("/api/v1/config", self.post_config),
                web.patch("/api/v1/config", self.patch_config),
                web.put("/api/v1/config", self.put_config),
                web.get("/api/v1/status", self.get_status),
                web.get("/api/v1/rights/allow", self.get_rights),
                web.patch("/api/v1/rights/allow", self.allow),
                web.patch("/api/v1/rights/deny", self.deny),
            ]
        )
        if self._issuer is not None:
            app.add_routes(
                [
                    web.get("/.well-known/oauth-authorization-server", self.metadata),
                    web.get("/oauth/jwks.json", self.jwks),
                    web.post("/oauth/token", self.token),
                ]
            )
        return app

    # --- configuration ------------------------------------------------------------------------

    async def get_config(self, request: web.Request) -> web.Response:
        """The configuration."""
        await self._caller(request, "read:conf")
        configuration = self._changes.configuration()
        return document(request, write(configuration), ETag=etag_of(self._changes.desired))

    async def post_config(self, request: web.Request) -> web.Response:
        """The first configuration."""
        caller = await self._caller(request, "write:conf", "init")
        init = _boolean(request, "init")
        return await self._change(
            request, caller, lambda draft: self._changes.create(draft, init=init)
        )

    async def patch_config(self, request: web.Request) -> web.Response:
        """Merge."""
        caller = await self._caller(request, "write:conf")
        etag = request.headers.get("If-Match")
        return await self._change(request, caller, lambda draft: self._changes.merge(draft, etag))

    async def put_config(self, request: web.Request) -> web.Response:
        """Replace."""
        caller = await self._caller(request, "create:conf")
        etag = request.headers.get("If-Match")
        return await self._change(request, caller, lambda draft: self._changes.replace(draft, etag))

    async def _change(
        self,
        request: web.Request,
        caller: Caller,
        make: Callable[[Any], Coroutine[Any, Any, Any]],
    ) -> web.Response:
        try:
            data = await read_body(request)
            draft = await asyncio.to_thread(lambda: read(decode(request, data, NOUN)))
            desired = await make(draft)
        except Problem as problem:
            await self._record(request, caller, problem.code.value)
            raise
        await self._record(request, caller, f"change {desired.generation}")
        headers = {"ETag": etag_of(desired), "Location": "/api/v1/config"}
        told = (
            f"Change {desired.generation} of the instance {desired.configuration.instance} is being"
            " made; GET /api/v1/status tells when it is"
        )
        wait = _wait(request)
        if wait:  # RFC 7240 section 4.3
            headers["Preference-Applied"] = f"wait={wait}"
            outcome = await self._changes.convergence.settled(desired.generation, wait)
            if outcome is not None and not outcome.failures:
                told = f"Change {desired.generation} is made"
        return json(told, 201, **headers)

    async def get_status(self, request: web.Request) -> web.Response:
        """Whether all is made and well."""
        await self._caller(request, "read:conf")
        is_ready, report = await asyncio.to_thread(self._status.report)
        return json(report, 200 if is_ready else 500)

    # --- rights -------------------------------------------------------------------------------

    async def get_rights(self, request: web.Request) -> web.Response:
        """A page of what is allowed."""
        await self._caller(request, "read:rights", *_FILTERS, "pageSize", "nextPageToken")
        known = self._changes.configuration()
        given = [_code(request, name) for name in _FILTERS]
        wanted = Filter(*given)
        size = _page_size(request.query.get("pageSize", "100"))
        after = self._pages.open(request.query.get("nextPageToken"), wanted)
        pairs = await asyncio.to_thread(self._status.granted)
        fitting = (pair for pair in pairs if wanted.fits(pair.service))
        found, is_more = page(fitting, after, size)
        body: dict[str, Any] = {"allowList": write_rights(found, known)}
        if is_more:
            body["nextPageToken"] = self._pages.seal(found[-1], wanted)
        return json(body)

    async def allow(self, request: web.Request) -> web.Response:
        """Allow."""
        return await self._change_rights(request, allowed=True)

    async def deny(self, request: web.Request) -> web.Response:
        """Deny."""
        return await self._change_rights(request, allowed=False)

    async def _change_rights(self, request: web.Request, *, allowed: bool) -> web.Response:
        caller = await self._caller(request, "write:rights")
        try:
            data = await read_body(request)
            value = await asyncio.to_thread(decode, request, data, "rights") if data else []
            desired = await self._changes.change_rights(
                lambda known: read_rights(value, known), allowed=allowed
            )
        except Problem as problem:
            await self._record(request, caller, problem.code.value)
            raise
        await self._record(request, caller, f"change {desired.generation}")
        return web.Response(headers={"ETag": etag_of(desired)})

    # --- for everybody ------------------------------------------------------------------------

    async def health(self, _: web.Request) -> web.Response:
        """Whether this process answers; how the instance is says ``status``."""
        return json({"status": "ok"})

    async def openapi(self, request: web.Request) -> web.Response:
        """The document of this API."""
        if request.path.endswith(".yaml"):
            request = request.clone(headers={"Accept": "application/yaml"})
        else:
            request = request.clone(headers={"Accept": "application/json"})
        return document(request, self._document)

    async def metadata(self, _: web.Request) -> web.Response:
        """RFC 8414."""
        return json(_made(self._issuer).metadata())

    async def jwks(self, _: web.Request) -> web.Response:
        """RFC 7517."""
        return json(_made(self._issuer).jwks())

    async def token(self, request: web.Request) -> web.Response:
        """RFC 6749 section 4.4."""
        media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        data = await read_body(request)
        headers = {"Pragma": "no-cache"}
        try:
            if media != "application/x-www-form-urlencoded" or len(data) > 8192:
                raise OAuthError("invalid_request", "a form of 8 KiB at most is needed")
            try:
                form = parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=20)
            except (ValueError, UnicodeDecodeError) as error:
                raise OAuthError("invalid_request", "it is not a form") from error
            authorization = request.headers.get("Authorization", "")
            return json(_made(self._issuer).issue(form, authorization), 200, **headers)
        except OAuthError as error:
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="saphan-instance"'
            body = {"error": error.error, "error_description": error.description}
            return json(body, error.status, **headers)

    # --- in detail ----------------------------------------------------------------------------

    async def _caller(self, request: web.Request, scope: str, *parameters: str) -> Caller:
        """The caller, when it may; a query that this call does not know is refused."""
        authorization = request.headers.getall("Authorization", [])
        try:
            caller = await self._verifier.require(authorization, scope)
        except Refused as refused:
            if refused.caller is not None and request.method not in ("GET", "HEAD"):
                await self._record(request, refused.caller, refused.code.value)
            raise
        for name in request.query:
            if name not in parameters or len(request.query.getall(name)) > 1:
                known = ", ".join(parameters) or "none"
                raise _bad_query(name[:80], f"is repeated or not known; known here: {known}")
        return caller

    async def _record(self, request: web.Request, caller: Caller, outcome: str) -> None:
        """Who asked for what, and what came of it: one line of ``DIR/acts.jsonl``."""
        line = orjson.dumps(
            {
                "at": datetime.now(UTC).isoformat(),
                "client": caller.client,
                "subject": caller.subject,
                "act": f"{request.method} {request.path}",
                "outcome": outcome,
            }
        )
        await asyncio.to_thread(_append, self._acts, line)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")


def _made(issuer: OwnIssuer | None) -> OwnIssuer:
    if issuer is None:
        raise Problem(Code.NOT_FOUND, where="path")
    return issuer


def _boolean(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise _bad_query(name, "must be true or false")
    return text == "true"


def _code(request: web.Request, name: str) -> str | None:
    text = request.query.get(name)
    if text is not None:
        reader = Reader()
        reader.root(text).code()
        reader.close(f"query.{name}")
    return text


def _wait(request: web.Request) -> int:
    found = _WAIT.search(request.headers.get("Prefer", "")[:200])
    return 0 if found is None else min(int(found[1]), MAX_WAIT_S)


def _page_size(text: str) -> int:
    # Only what prints back the same: int() takes "4_2", " 42 " and Lao digits.
    if len(text) > 5 or not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise _bad_query("pageSize", f"must be a whole number from 1 to {MAX_PAGE}")
    if not 1 <= int(text) <= MAX_PAGE:
        raise _bad_query("pageSize", f"must be from 1 to {MAX_PAGE}")
    return int(text)


def _bad_query(name: str, detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, where=f"query.{name}", detail=detail, status=400)
