"""The acts of the registry over HTTP: requests, approvals, notices, API keys.

What each takes and gives stands in ``openapi.yaml``; who may do it in :mod:`registry.actors.roles`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from exchange.documents import MAX_IDENTIFIER, Node
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from registry.actors.notices import ASKED
from registry.actors.people import MAX_PERSON
from registry.actors.roles import Caller, Operation, Right
from registry.actors.sign_in import API_KEY_PREFIX, SignIn
from registry.http.replying import (
    bad_query,
    json_answer,
    number_of,
    read_body,
    search_of,
    whole_number,
)
from registry.publication.publish import OWN_ROLE
from registry.registrar import Registrar
from registry.requests.lifecycle import State
from registry.requests.submissions import decode, encode
from registry.store import NoticeRow, RequestRow, Store
from serving.clock import Clock

T = TypeVar("T")


class Acts:
    """The handlers of acts; acts come one at a time, in a thread."""

    def __init__(
        self, registrar: Registrar, store: Store, clock: Clock, sign_in: SignIn | None
    ) -> None:
        self._registrar = registrar
        self._store = store
        self._clock = clock
        self._sign_in = sign_in
        self._acting = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """The addresses of the acts."""
        one = "/api/v1/submissions/{number}"
        return [
            web.post("/api/v1/submissions", self.submit),
            web.post("/api/v1/orders", self.order),
            web.post("/api/v1/proposals", self.propose),
            web.get("/api/v1/submissions", self.requests),
            web.get(one, self.request),
            web.get(f"{one}/body", self.request_body),
            web.post(f"{one}/approve", self.approve),
            web.post(f"{one}/decline", self.decline),
            web.post(f"{one}/withdraw", self.withdraw),
            web.post(f"{one}/consents", self.consent),
            web.get("/api/v1/notices", self.notices),
            web.get("/api/v1/own", self.own),
            web.post("/api/v1/own", self.publish_own),
            web.post("/api/v1/root", self.publish_root),
            web.get("/api/v1/acts", self.acts),
            web.get("/api/v1/keys", self.keys),
            web.post("/api/v1/keys", self.add_key),
            web.delete("/api/v1/keys/{id}", self.revoke_key),
            web.post("/api/v1/keys/{id}/confirm", self.confirm_key),
        ]

    async def act(self, work: Callable[[], T]) -> T:
        """Run one act in a thread; acts never overlap."""
        async with self._acting:
            return await asyncio.to_thread(work)

    async def submit(self, request: web.Request) -> web.Response:
        """Take in a role that a member signed."""
        caller = await self._caller(request)
        body = await request.read()
        replaces, asks = _optional_number(request, "replaces"), _asks(request)
        row = await self.act(
            lambda: self._registrar.submit(body, caller, self._clock.now(), replaces, asks=asks)
        )
        return await self._answer(row, 201)

    async def order(self, request: web.Request) -> web.Response:
        """Take in an order to disable, enable, delete or merge."""
        caller = await self._caller(request)
        body = await request.read()
        row = await self.act(lambda: self._registrar.order(body, caller, self._clock.now()))
        return await self._answer(row, 201)

    async def propose(self, request: web.Request) -> web.Response:
        """Take in a proposal for the registry's own role."""
        caller = await self._caller(request)
        body = await request.read()
        asks = _asks(request)
        row = await self.act(
            lambda: self._registrar.propose(body, caller, self._clock.now(), asks=asks)
        )
        return await self._answer(row, 201)

    async def consent(self, request: web.Request) -> web.Response:
        """Take in consents of a consumer to what an open request breaks."""
        row = await self._row(request)
        caller = await self._caller(request)
        fields = (await read_body(request, "consents")).members(frozenset({"consents"}))
        given = [decode(node) for node in fields["consents"].items(64, 1)]
        done = await self.act(
            lambda: self._registrar.consent(row.id, given, caller, self._clock.now())
        )
        return await self._answer(done)

    async def requests(self, request: web.Request) -> web.Response:
        """A page of requests."""
        caller = await self._caller(request)
        caller.require(Operation.READ_REQUESTS)
        _, after, limit = search_of(request)
        state = request.query.get("state")
        if state is not None and state not in list(State):
            raise bad_query("state", f"must be one of {', '.join(State)}")
        rows = await asyncio.to_thread(
            lambda: self._store.requests(
                state=State(state) if state else None,
                member=_member_asked(request, caller),
                after=whole_number(after, "after") if after else 0,
                limit=limit + 1,
            )
        )
        page = [_row(row) for row in rows[:limit]]
        more = str(rows[limit - 1].id) if rows[limit:] else None
        return json_answer({"items": page, "next": more})

    async def request(self, request: web.Request) -> web.Response:
        """One request: what it changes now, and how many must still approve it."""
        return await self._answer(await self._row(request))

    async def request_body(self, request: web.Request) -> web.Response:
        """What was sent, so that whoever approves can see and sign it."""
        row = await self._row(request)
        return web.Response(body=row.body, content_type="application/json")

    async def approve(self, request: web.Request) -> web.Response:
        """Approve a request."""
        caller = await self._caller(request)
        number = number_of(request)
        fields = (await read_body(request, "approval")).members(
            frozenset(), frozenset({"targets", "files"})
        )
        targets, files = fields.get("targets"), fields.get("files")
        expected = request.headers.get("If-Match")
        row = await self.act(
            lambda: self._registrar.approve(
                number,
                None if targets is None else decode(targets),
                {} if files is None else {key: decode(node) for key, node in files.entries(16)},
                caller,
                self._clock.now(),
                None if expected is None else expected.strip().strip('"'),
            )
        )
        return await self._answer(row)

    async def decline(self, request: web.Request) -> web.Response:
        """Decline a request."""
        return await self._end(request, self._registrar.decline)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Take a request back."""
        return await self._end(request, self._registrar.withdraw)

    async def _end(self, request: web.Request, act: Any) -> web.Response:
        caller = await self._caller(request)
        number = number_of(request)
        fields = (await read_body(request, "decision")).members(frozenset({"reason"}))
        reason = fields["reason"].text(2000)
        row = await self.act(lambda: act(number, reason, caller, self._clock.now()))
        return await self._answer(row)

    async def notices(self, request: web.Request) -> web.Response:
        """A page of notices."""
        caller = await self._caller(request)
        caller.require(Operation.READ_NOTICES)
        _, after, limit = search_of(request)
        rows = await asyncio.to_thread(
            lambda: self._store.notices(
                member=_member_asked(request, caller),
                after=whole_number(after, "after") if after else 0,
                limit=limit + 1,
            )
        )
        page = [_notice(row) for row in rows[:limit]]
        more = str(rows[limit - 1].number) if rows[limit:] else None
        return json_answer({"items": page, "next": more})

    async def own(self, request: web.Request) -> web.Response:
        """The registry's own role as it is published, for whoever signs its next version."""
        (await self._caller(request)).require(Operation.APPROVE)
        root, targets, files = await self.act(
            lambda: (
                self._registrar.root_bytes(),
                self._registrar.targets_bytes(),
                self._store.files(OWN_ROLE),
            )
        )
        record = self._registrar.directory.instance
        return json_answer(
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
        fields = (await read_body(request, "publication")).members(frozenset({"targets", "files"}))
        targets = decode(fields["targets"])
        files = {path: decode(node) for path, node in fields["files"].entries(1000)}
        version = await self.act(
            lambda: self._registrar.publish_own(targets, files, caller, self._clock.now())
        )
        return json_answer({"version": version}, 201)

    async def publish_root(self, request: web.Request) -> web.Response:
        """Publish the next root, and the targets under its keys."""
        caller = await self._caller(request)
        fields = (await read_body(request, "publication")).members(
            frozenset({"root"}), frozenset({"targets"})
        )
        root, targets = decode(fields["root"]), fields.get("targets")
        signed = None if targets is None else decode(targets)
        version = await self.act(
            lambda: self._registrar.publish_root(root, signed, caller, self._clock.now())
        )
        return json_answer({"version": version}, 201)

    async def acts(self, request: web.Request) -> web.Response:
        """A page of recorded acts."""
        (await self._caller(request)).require(Operation.READ_ACTS)
        _, after, limit = search_of(request)
        start = whole_number(after, "after") if after else 0
        rows = await asyncio.to_thread(lambda: self._store.acts(after=start, limit=limit + 1))
        page = [dataclasses.asdict(row) for row in rows[:limit]]
        return json_answer(
            {"items": page, "next": str(rows[limit - 1].number) if rows[limit:] else None}
        )

    async def keys(self, request: web.Request) -> web.Response:
        """All API keys, without their secrets."""
        (await self._caller(request)).require(Operation.MANAGE_KEYS)
        return json_answer({"items": await asyncio.to_thread(self._store.api_keys), "next": None})

    async def add_key(self, request: web.Request) -> web.Response:
        """Make an API key; it is shown this once."""
        caller = await self._caller(request)
        caller.require(Operation.MANAGE_KEYS)
        fields = (await read_body(request, "key")).members(
            frozenset({"right", "label"}), frozenset({"member", "scope", "person"})
        )
        right = fields["right"].text(20)
        if right not in list(Right):
            raise fields["right"].refuse(f"must be one of {', '.join(Right)}")
        named = fields.get("member")
        member = None if named is None else MemberId.parse(named.text(2048), "key#/member")
        label = fields["label"].text(200, 0)
        listed = fields.get("scope")
        scope = [] if listed is None else [_scoped(node) for node in listed.items(64)]
        whose = fields.get("person")
        person = "" if whose is None else whose.text(MAX_PERSON, 0)
        key, waits = await self.act(
            lambda: self._registrar.add_key(
                Right(right), member, label, caller, self._clock.now(), scope=scope, person=person
            )
        )
        return json_answer({"key": key, "waits": waits}, 201)

    async def confirm_key(self, request: web.Request) -> web.Response:
        """Confirm an API key that waits."""
        caller = await self._caller(request)
        identifier = request.match_info["id"]
        await self.act(lambda: self._registrar.confirm_key(identifier, caller, self._clock.now()))
        return json_answer({"confirmed": identifier})

    async def revoke_key(self, request: web.Request) -> web.Response:
        """Revoke an API key."""
        caller = await self._caller(request)
        identifier = request.match_info["id"]
        await self.act(lambda: self._registrar.revoke_key(identifier, caller, self._clock.now()))
        return json_answer({"revoked": identifier})

    async def _caller(self, request: web.Request) -> Caller:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Problem(
                Code.NOT_AUTHORISED,
                where="Authorization",
                detail="send an API key, or a token, as Authorization: Bearer …",
            )
        key = key.strip()
        if self._sign_in is not None and not key.startswith(API_KEY_PREFIX):
            return await self._sign_in.caller(key)
        return await asyncio.to_thread(self._store.caller, key)

    async def _row(self, request: web.Request) -> RequestRow:
        caller = await self._caller(request)
        caller.require(Operation.READ_REQUESTS)
        number = number_of(request)
        row = await asyncio.to_thread(self._store.request, number)
        if not caller.concerns(row.member) and not await asyncio.to_thread(
            self._store.was_told, number, caller.member, ASKED
        ):
            # As if it were not there: a member learns nothing of others' requests but those that it
            # is asked to consent to.
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="there is no such request"
            )
        return row

    async def _answer(self, row: RequestRow, status: int = 200) -> web.Response:
        """A request as it stands, with an entity tag that names what it changes now."""
        now = self._clock.now()
        fresh = await self.act(lambda: self._registrar.look(row.id, now))
        answer = json_answer(_row(row) | fresh, status)
        answer.headers["ETag"] = f'"{fresh["seen"]}"'
        return answer


def _row(row: RequestRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind.value,
        "member": None if row.member is None else str(row.member),
        "subject": row.subject,
        "needs_delegation": row.kind.needs_delegation,
        "state": row.state.value,
        "version": row.version,
        "note": row.note,
        "changes": [change.describe() for change in row.changes],
        "approvals": sorted({approval.by for approval in row.approvals}),
        "submitted_at": row.submitted_at,
        "submitted_by": row.submitted_by,
        "decided_at": row.decided_at,
        "decided_by": row.decided_by,
        "reason": row.reason,
    }


def _notice(row: NoticeRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "at": row.at,
        "member": row.member,
        "request": row.request,
        "act": row.act,
        "text": {"en": row.text_en, "lo": row.text_lo},
    }


def _member_asked(request: web.Request, caller: Caller) -> MemberId | None:
    """Whose rows are wanted; a member sees its own alone."""
    if caller.right.is_of_member:
        return caller.member
    text = request.query.get("member")
    return MemberId.parse(text, "query.member") if text else None


def _asks(request: web.Request) -> bool:
    """Whether users of what breaks shall be asked for their consents."""
    text = request.query.get("ask")
    if text not in {None, "consents"}:
        raise bad_query("ask", "must be consents")
    return text is not None


def _optional_number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    return None if text is None else whole_number(text, name)


def _scoped(node: Node) -> str:
    """An application or a service of a service owner."""
    if node.text(MAX_IDENTIFIER).count("/") == 4:
        return str(node.identifier(ServiceId))
    return str(node.identifier(ApplicationId))
