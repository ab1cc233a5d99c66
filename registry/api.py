"""The registry's HTTP API, and its published files.

Published files (for servers)::

    GET /metadata/{name}          TUF metadata; timestamp.json must be asked for anew each time
    GET /log/{path}               the log's head, tiles, entries and proofs of states
    GET /targets/{path}           target files, named after their digest: cached for ever

Directory (for people and machines; no key needed; lists: ?q= words, ?after=, ?limit=)::

    GET /api/v1/instance
    GET /api/v1/members           GET /api/v1/members/{member}
    GET /api/v1/services          GET /api/v1/services/{service}[/openapi]
    GET /api/v1/schemas
    GET /api/v1/elements          GET /api/v1/elements/{id}
    GET /api/v1/questions         registered elements that services ask people for

Acts (``Authorization: Bearer`` with an API key of the right named)::

    POST   /api/v1/submissions                 member (its own), operator
    GET    /api/v1/submissions[/{id}[/body]]   operator, approver; member: its own
    POST   /api/v1/submissions/{id}/approve    operator, approver   {"targets": …, "files": {…}}
    POST   /api/v1/submissions/{id}/decline    operator, approver   {"reason": …}
    GET    /api/v1/own                         operator: what its offline keys sign next
    POST   /api/v1/own                         operator             {"targets": …, "files": {…}}
    GET    /api/v1/acts                        operator, approver
    GET, POST /api/v1/keys, DELETE /api/v1/keys/{id}      operator

Bytes in JSON are base64. Errors have one shape: :func:`serving.replies.describe`, with the code as
``type``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import structlog
from aiohttp import web

from exchange.documents import Node, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem, Side
from registry.directory import MAX_PAGE, Directory
from registry.lifecycle import State
from registry.publish import OWN_ROLE
from registry.registrar import Registrar
from registry.roles import Caller, Operation, Right
from registry.store import Store, SubmissionRow
from registry.submissions import MAX_SUBMISSION_BYTES, decode, encode
from registry.tree import TIMESTAMP, Tree
from serving import replies
from serving.clock import Clock

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FOLLOW_S = 3.0
_FOLLOW_AGAIN_S = 5.0
_FOREVER = "public, max-age=31536000, immutable"

log = structlog.get_logger(__name__)


class Api:
    """The handlers over one registrar; acts come one at a time, in a thread."""

    def __init__(self, registrar: Registrar, store: Store, tree: Tree, clock: Clock) -> None:
        self._registrar = registrar
        self._store = store
        self._tree = tree
        self._clock = clock
        self._acting = asyncio.Lock()
        self._following: asyncio.Task[bool] | None = None
        self._follow_again = 0.0

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(
            middlewares=[_problems], client_max_size=MAX_SUBMISSION_BYTES + (1 << 20)
        )
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/metadata/{name:.+}", self.metadata),
                web.get("/targets/{path:.+}", self.target),
                web.get("/log/{path:.+}", self.log_file),
                web.get("/api/v1/instance", self.instance),
                web.get("/api/v1/members", self.members),
                web.get("/api/v1/members/{id:.+}", self.member),
                web.get("/api/v1/services", self.services),
                web.get("/api/v1/services/{id:.+}", self.service),
                web.get("/api/v1/schemas", self.schemas),
                web.get("/api/v1/elements", self.elements),
                web.get("/api/v1/elements/{id}", self.element),
                web.get("/api/v1/questions", self.questions),
                web.post("/api/v1/submissions", self.submit),
                web.get("/api/v1/submissions", self.submissions),
                web.get("/api/v1/submissions/{number}", self.submission),
                web.get("/api/v1/submissions/{number}/body", self.submission_body),
                web.post("/api/v1/submissions/{number}/approve", self.approve),
                web.post("/api/v1/submissions/{number}/decline", self.decline),
                web.get("/api/v1/own", self.own),
                web.post("/api/v1/own", self.publish_own),
                web.get("/api/v1/acts", self.acts),
                web.get("/api/v1/keys", self.keys),
                web.post("/api/v1/keys", self.add_key),
                web.delete("/api/v1/keys/{id}", self.revoke_key),
            ]
        )
        return app

    async def act(self, work: Callable[[], T]) -> T:
        """Run one act in a thread; acts never overlap."""
        async with self._acting:
            return await asyncio.to_thread(work)

    # ------------------------------------------------------------------------ published files

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """A file of metadata."""
        name = request.rel_url.raw_path.removeprefix("/metadata/")
        path = self._tree.metadata_file(name)
        # Another process may be ahead: a client that was there must not be told an older state
        # here. The next root is not waited for: every poll asks for it, and it is seldom there.
        if name == TIMESTAMP or (_is_missing(path) and not name.endswith(".root.json")):
            await self._follow()
        return _file(path, "no-cache" if name == TIMESTAMP else _FOREVER)

    async def target(self, request: web.Request) -> web.StreamResponse:
        """A target file."""
        path = self._tree.target_file(request.rel_url.raw_path.removeprefix("/targets/"))
        if _is_missing(path):
            await self._follow()
        return _file(path, _FOREVER)

    async def _follow(self) -> None:
        """Show what other processes on the database published; if it is away, what is here stays.

        Waits briefly: one question is under way at a time, and after a failure none for a while.
        """
        clock = asyncio.get_running_loop().time
        if not self._store.is_shared or clock() < self._follow_again:
            return
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self.act(self._registrar.follow))
        await asyncio.wait({self._following}, timeout=_FOLLOW_S)
        if self._following.done() and self._following.exception() is None:
            return
        self._follow_again = clock() + _FOLLOW_AGAIN_S

    async def log_file(self, request: web.Request) -> web.StreamResponse:
        """A file of the registry's log."""
        path = request.rel_url.raw_path.removeprefix("/log/")
        cache = _FOREVER if path.startswith("tile/") else "no-cache"
        return _file(self._tree.log_file(path), cache)

    async def health(self, request: web.Request) -> web.Response:
        """Whether this registry's word is still good, and until when."""
        now = self._clock.now()
        expiries = await self.act(self._registrar.expiries)
        expired = sorted(name for name, end in expiries.items() if end <= now)
        body = {
            "status": "failing" if expired else "ok",
            "expired": expired,
            "expires": {name: end.isoformat() for name, end in expiries.items()},
            **self._directory.counts(),
        }
        return _json(body, 503 if expired else 200)

    # ------------------------------------------------------------------------------ directory

    @property
    def _directory(self) -> Directory:
        return self._registrar.directory

    async def instance(self, request: web.Request) -> web.Response:
        """The instance: its code, environment and name."""
        record = self._directory.instance
        if record is None:
            raise Problem(Code.INTERNAL_ERROR, detail="the directory is not loaded")
        return _json(
            {
                "instance": record.instance,
                "environment": record.environment.value,
                "name": {"en": record.name.en, "lo": record.name.lo},
                **self._directory.counts(),
            }
        )

    async def members(self, request: web.Request) -> web.Response:
        """A page of members."""
        return _json(self._directory.members(*_search(request)))

    async def member(self, request: web.Request) -> web.Response:
        """One member."""
        text = request.rel_url.raw_path.removeprefix("/api/v1/members/")
        return _json(self._directory.member(MemberId.parse(text, "path")))

    async def services(self, request: web.Request) -> web.Response:
        """A page of services."""
        return _json(self._directory.services(*_search(request)))

    async def service(self, request: web.Request) -> web.Response:
        """One service, or its OpenAPI document."""
        text = request.rel_url.raw_path.removeprefix("/api/v1/services/")
        if text.count("/") == 5 and text.endswith("/openapi"):
            service = ServiceId.parse(text.removesuffix("/openapi"), "path")
            body = self._directory.openapi(service)
            return web.Response(body=body, content_type="application/json")
        return _json(self._directory.service(ServiceId.parse(text, "path")))

    async def schemas(self, request: web.Request) -> web.Response:
        """All shared schemas."""
        return _json(self._directory.schema_list())

    async def elements(self, request: web.Request) -> web.Response:
        """A page of data elements."""
        return _json(self._directory.element_list(*_search(request)))

    async def element(self, request: web.Request) -> web.Response:
        """One data element."""
        return _json(self._directory.element(request.match_info["id"]))

    async def questions(self, request: web.Request) -> web.Response:
        """The registered elements that services ask people for."""
        now = self._clock.now()
        items = await self.act(lambda: self._registrar.still_asked(now))
        return _json({"items": items, "next": None})

    # ----------------------------------------------------------------------------------- acts

    async def submit(self, request: web.Request) -> web.Response:
        """Take in a submission."""
        caller = await self._caller(request)
        body = await request.read()
        row = await self.act(lambda: self._registrar.submit(body, caller, self._clock.now()))
        return _json(await self._advised(row), 201)

    async def submissions(self, request: web.Request) -> web.Response:
        """A page of submissions."""
        caller = await self._caller(request)
        _, after, limit = _search(request)
        state = request.query.get("state")
        if state is not None and state not in list(State):
            raise _bad_query("state", f"must be one of {', '.join(State)}")
        text = request.query.get("member")
        member = MemberId.parse(text, "query.member") if text else None
        caller.require(Operation.READ_REQUESTS)
        if caller.right.is_of_member:
            member = caller.member
        rows = await asyncio.to_thread(
            lambda: self._store.submissions(
                state=State(state) if state else None,
                member=member,
                after=_whole(after, "after") if after else 0,
                limit=limit + 1,
            )
        )
        page = [_row(row) for row in rows[:limit]]
        return _json({"items": page, "next": str(rows[limit - 1].id) if rows[limit:] else None})

    async def submission(self, request: web.Request) -> web.Response:
        """One submission."""
        return _json(await self._advised(await self._submission(request)))

    async def submission_body(self, request: web.Request) -> web.Response:
        """What the member sent, so that whoever approves can see and sign it."""
        row = await self._submission(request)
        return web.Response(body=row.body, content_type="application/json")

    async def approve(self, request: web.Request) -> web.Response:
        """Approve a submission."""
        caller = await self._caller(request)
        number = _number(request)
        fields = (await _body(request, "approval")).members(
            frozenset(), frozenset({"targets", "files"})
        )
        targets, files = fields.get("targets"), fields.get("files")
        row = await self.act(
            lambda: self._registrar.approve(
                number,
                None if targets is None else decode(targets),
                {} if files is None else {key: decode(node) for key, node in files.entries(16)},
                caller,
                self._clock.now(),
            )
        )
        return _json(_row(row))

    async def decline(self, request: web.Request) -> web.Response:
        """Decline a submission."""
        caller = await self._caller(request)
        number = _number(request)
        fields = (await _body(request, "decision")).members(frozenset({"reason"}))
        reason = fields["reason"].text(2000)
        row = await self.act(
            lambda: self._registrar.decline(number, reason, caller, self._clock.now())
        )
        return _json(_row(row))

    async def own(self, request: web.Request) -> web.Response:
        """The registry's own role as it is published, for whoever signs its next version."""
        (await self._caller(request)).require(Operation.PUBLISH)
        root, targets, files = await self.act(
            lambda: (
                self._registrar.root_bytes(),
                self._registrar.targets_bytes(),
                self._store.files(OWN_ROLE),
            )
        )
        record = self._directory.instance
        return _json(
            {
                "instance": "" if record is None else record.instance,
                "root": encode(root),
                "targets": encode(targets),
                "files": {path: encode(data) for path, data in files.items()},
            }
        )

    async def publish_own(self, request: web.Request) -> web.Response:
        """Publish files of the registry itself."""
        caller = await self._caller(request)
        fields = (await _body(request, "publication")).members(frozenset({"targets", "files"}))
        targets = decode(fields["targets"])
        files = {path: decode(node) for path, node in fields["files"].entries(1000)}
        version = await self.act(
            lambda: self._registrar.publish_own(targets, files, caller, self._clock.now())
        )
        return _json({"version": version}, 201)

    async def acts(self, request: web.Request) -> web.Response:
        """A page of recorded acts."""
        (await self._caller(request)).require(Operation.READ_ACTS)
        _, after, limit = _search(request)
        start = _whole(after, "after") if after else 0
        rows = await asyncio.to_thread(lambda: self._store.acts(after=start, limit=limit + 1))
        page = [dataclasses.asdict(row) for row in rows[:limit]]
        return _json({"items": page, "next": str(rows[limit - 1].number) if rows[limit:] else None})

    async def keys(self, request: web.Request) -> web.Response:
        """All API keys, without their secrets."""
        (await self._caller(request)).require(Operation.MANAGE_KEYS)
        return _json({"items": await asyncio.to_thread(self._store.api_keys), "next": None})

    async def add_key(self, request: web.Request) -> web.Response:
        """Make an API key; it is shown this once."""
        caller = await self._caller(request)
        caller.require(Operation.MANAGE_KEYS)
        fields = (await _body(request, "key")).members(
            frozenset({"right", "label"}), frozenset({"member"})
        )
        right = fields["right"].text(20)
        if right not in list(Right):
            raise fields["right"].refuse(f"must be one of {', '.join(Right)}")
        named = fields.get("member")
        member = None if named is None else MemberId.parse(named.text(2048), "key#/member")
        label = fields["label"].text(200, 0)
        now = self._clock.now()

        def work() -> str:
            with self._store.transaction():
                key = self._store.add_api_key(Right(right), member, label, now)
                self._store.record(
                    now, caller.id, "add key", key.split("-")[1], {"right": right, "label": label}
                )
            return key

        return _json({"key": await self.act(work)}, 201)

    async def revoke_key(self, request: web.Request) -> web.Response:
        """Revoke an API key."""
        caller = await self._caller(request)
        caller.require(Operation.MANAGE_KEYS)
        identifier = request.match_info["id"]
        now = self._clock.now()

        def work() -> None:
            with self._store.transaction():
                self._store.revoke_api_key(identifier, now)
                self._store.record(now, caller.id, "revoke key", identifier, {})

        await self.act(work)
        return _json({"revoked": identifier})

    async def _advised(self, row: SubmissionRow) -> dict[str, Any]:
        """A submission with what its services ask people for again."""
        now = self._clock.now()
        warnings = await self.act(lambda: self._registrar.advice(row.id, now))
        return {**_row(row), "warnings": warnings}

    async def _caller(self, request: web.Request) -> Caller:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Problem(
                Code.NOT_AUTHORISED,
                where="Authorization",
                detail="send an API key as Authorization: Bearer …",
            )
        return await asyncio.to_thread(self._store.caller, key.strip())

    async def _submission(self, request: web.Request) -> SubmissionRow:
        caller = await self._caller(request)
        number = _number(request)
        row = await asyncio.to_thread(self._store.submission, number)
        caller.require(Operation.READ_REQUESTS)
        if not caller.concerns(row.member):
            # As if it were not there: a member learns nothing of others' submissions.
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="there is no such submission"
            )
        return row


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn problems, and what aiohttp refuses, into the one error shape."""
    trace = secrets.token_hex(16)
    try:
        return await handler(request)
    except Problem as problem:
        return _error(request, problem, trace)
    except web.HTTPRequestEntityTooLarge as error:
        return _error(request, Problem(Code.PAYLOAD_TOO_LARGE, detail=str(error)), trace)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = Code.NOT_FOUND if error.status == 404 else Code.INVALID_REQUEST
        refused = Problem(code, where=request.path, detail=error.reason, status=error.status)
        return _error(request, refused, trace)
    except Exception:
        log.exception("registry_failed", trace=trace, path=request.path)
        return _error(request, replies.internal(), trace)


def not_http(problem: Problem) -> web.Response:
    """The answer to what is no request at all."""
    return _json(_members(problem, secrets.token_hex(16)), problem.status)


def _members(problem: Problem, trace: str) -> dict[str, Any]:
    return replies.describe(problem, Side.CLIENT, trace) | {"type": problem.code.value}


def _error(request: web.Request, problem: Problem, trace: str) -> web.Response:
    log.info(
        "registry_refused",
        trace=trace,
        method=request.method,
        path=request.path,
        code=problem.code.value,
        where=problem.where,
    )
    return _json(_members(problem, trace), problem.status)


def _is_missing(path: Path | None) -> bool:
    return path is not None and not path.is_file()


def _file(path: Path | None, cache: str) -> web.StreamResponse:
    if path is None or not path.is_file():
        # The next root is asked for at every poll: "not there" must never be cached.
        return web.Response(status=404, headers={"Cache-Control": "no-store"})
    response = web.FileResponse(path, headers={"Cache-Control": cache})
    response.content_type = "application/json"
    return response


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _row(row: SubmissionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "member": str(row.member),
        "kind": row.kind.value,
        "needs_delegation": row.kind.needs_delegation,
        "state": row.state.value,
        "version": row.version,
        "note": row.note,
        "submitted_at": row.submitted_at,
        "submitted_by": row.submitted_by,
        "decided_at": row.decided_at,
        "decided_by": row.decided_by,
        "reason": row.reason,
    }


async def _body(request: web.Request, noun: str) -> Node:
    return parse_document(await request.read() or b"{}", MAX_SUBMISSION_BYTES, noun)


def _search(request: web.Request) -> tuple[str, str, int]:
    limit = request.query.get("limit", "50")
    count = _whole(limit, "limit")
    if not 1 <= count <= MAX_PAGE:
        raise _bad_query("limit", f"must be from 1 to {MAX_PAGE}")
    query = request.query.get("q", "")
    if len(query) > 200:
        raise _bad_query("q", "must be 200 characters at most")
    return query, request.query.get("after", ""), count


def _number(request: web.Request) -> int:
    return _whole(request.match_info["number"], "path")


def _whole(text: str, where: str) -> int:
    # Only what prints back the same: int() takes "4_2", " 42 " and Lao digits.
    if len(text) > 15 or not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise _bad_query(where, "must be a whole number")
    return int(text)


def _bad_query(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, where=f"query.{where}", detail=detail)
