"""The registry's HTTP API, and its published files.

Published files (for servers)::

    GET /metadata/{name}          TUF metadata; timestamp.json must be asked for anew each time
    GET /deltas/{role}/{version}  what changed in a long role since the version before
    GET /bundle.json              pieces of a bundle, GET /bundles/{sha256}: for a server's start
    GET /healthz, GET /metrics    whether all is signed for now, and what ends soon
    GET /log/{path}               the log's head, tiles, entries and proofs of states
    GET /targets/{path}           target files, named after their digest: cached for ever

Directory (for people and machines; no key needed; lists: ?q= words, ?after=, ?limit=)::

    GET /api/v1/instance
    GET /api/v1/members           GET /api/v1/members/{member}
    GET /api/v1/services          GET /api/v1/services/{service}[/openapi]
    GET /api/v1/schemas
    GET /api/v1/elements          GET /api/v1/elements/{id}
    GET /api/v1/questions         registered elements that services ask people for

The acts are in :mod:`registry.http.acts_api`; ``GET /api/v1/openapi.json`` describes it all.

Bytes in JSON are base64. Errors have one shape: :func:`serving.replies.describe`, with the code as
``type``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import structlog
from aiohttp import web

from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registry.endings import End, soon
from registry.actors.sign_in import SignIn
from registry.directory.contents import Directory
from registry.directory.search import Kind
from registry.http.acts_api import Acts
from registry.http.replying import (
    bad_query,
    file_answer,
    json_answer,
    not_http,
    problems,
    search_of,
    whole_number,
)
from registry.publication.ending import METRICS_HEADERS, exposition, next_step
from registry.publication.tree import TIMESTAMP, Tree
from registry.registrar import Registrar
from registry.requests.submissions import MAX_SUBMISSION_BYTES
from registry.store import Store
from serving.clock import Clock
from serving.yaml_files import read_own

T = TypeVar("T")
__all__ = ["Api", "not_http"]
_FOLLOW_S = 3.0
log = structlog.get_logger("registry")
MAX_START = 10_000
_MOST_ENDS = 100
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FOREVER = "public, max-age=31536000, immutable"

DOCUMENT = Path(__file__).with_name("openapi.yaml")


class Api:
    """The handlers over one registrar; acts come one at a time, in a thread."""

    def __init__(
        self,
        registrar: Registrar,
        store: Store,
        tree: Tree,
        clock: Clock,
        sign_in: SignIn | None = None,
    ) -> None:
        self._registrar = registrar
        self._tree = tree
        self._clock = clock
        self._acts = Acts(registrar, store, clock, sign_in)
        self._store = store
        self._following: asyncio.Task[bool] | None = None
        self._is_away = False
        self._document = orjson.dumps(read_own(DOCUMENT.read_bytes()))

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(
            middlewares=[problems], client_max_size=MAX_SUBMISSION_BYTES + (1 << 20)
        )
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/metrics", self.metrics),
                web.get("/metadata/{name:.+}", self.metadata),
                web.get("/targets/{path:.+}", self.target),
                web.get("/deltas/{path:.+}", self.delta),
                web.get("/bundle.json", self.bundle),
                web.get("/bundles/{path:.+}", self.bundle_piece),
                web.get("/log/{path:.+}", self.log_file),
                web.get("/pages/{path:.+}", self.page),
                web.get("/", self.first_page),
                web.get("/api/v1/instance", self.instance),
                web.get("/api/v1/members", self.members),
                web.get("/api/v1/members/{id:.+}", self.member),
                web.get("/api/v1/services", self.services),
                web.get("/api/v1/services/{id:.+}", self.service),
                web.get("/api/v1/schemas", self.schemas),
                web.get("/api/v1/search", self.search),
                web.get("/api/v1/elements", self.elements),
                web.get("/api/v1/elements/{id}", self.element),
                web.get("/api/v1/questions", self.questions),
                web.get("/api/v1/disabled", self.disabled),
                web.get("/api/v1/openapi.json", self.openapi),
                *self._acts.routes(),
            ]
        )
        return app

    async def act(self, work: Callable[[], T]) -> T:
        """Run one act in a thread; acts never overlap."""
        return await self._acts.act(work)

    # ------------------------------------------------------------------------ published files

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """A file of metadata."""
        name = request.rel_url.raw_path.removeprefix("/metadata/")
        path = self._tree.metadata_file(name)
        # Another process may be ahead: a client that was there must not be told an older state
        # here. The next root is not waited for: every poll asks for it, and it is seldom there.
        if name == TIMESTAMP:
            if not await self._follow():
                raise Problem(Code.OVERLOADED, where=name, detail="other acts are under way")
        elif _is_missing(path) and not name.endswith(".root.json"):
            await self._follow()
        return file_answer(path, "no-cache" if name == TIMESTAMP else _FOREVER)

    async def target(self, request: web.Request) -> web.StreamResponse:
        """A target file."""
        path = self._tree.target_file(request.rel_url.raw_path.removeprefix("/targets/"))
        if _is_missing(path):
            await self._follow()
        return file_answer(path, _FOREVER)

    async def delta(self, request: web.Request) -> web.StreamResponse:
        """What changed in a long role."""
        path = self._tree.delta_file(request.rel_url.raw_path.removeprefix("/deltas/"))
        return file_answer(path, _FOREVER)

    async def bundle(self, request: web.Request) -> web.StreamResponse:
        """The list of the bundle's pieces."""
        return file_answer(self._tree.listing, "no-cache")

    async def bundle_piece(self, request: web.Request) -> web.StreamResponse:
        """A piece of a bundle."""
        path = self._tree.bundle_file(request.rel_url.raw_path.removeprefix("/bundles/"))
        answer = file_answer(path, _FOREVER)
        answer.content_type = "application/octet-stream"
        return answer

    async def _follow(self) -> bool:
        """Show what other processes on the database have published until now.

        One question is under way at a time, and who asks waits for one that began after it came.
        Returns whether what is here may be told: it is the newest, or the database cannot be had.
        It may not when no answer came in time: somebody may have been told more already.
        """
        if not self._store.is_shared:
            return True
        earlier, until = self._following, asyncio.get_running_loop().time() + _FOLLOW_S
        if earlier is not None and not earlier.done():  # it may have asked too early
            await asyncio.wait({earlier}, timeout=_FOLLOW_S)
            if not earlier.done():
                return self._is_away
        if self._following is earlier:
            self._following = asyncio.create_task(self._catch_up())
        asked = self._following
        assert asked is not None  # noqa: S101  # made here, or by who waited with us
        left_s = until - asyncio.get_running_loop().time()
        await asyncio.wait({asked}, timeout=max(0.0, left_s))
        return asked.result() if asked.done() else self._is_away

    async def _catch_up(self) -> bool:
        """Ask the database, every time: before this process notices that it is back, another one
        may have published and shown it."""
        try:
            newest = await asyncio.to_thread(self._store.version, "timestamp")
        except Problem:
            self._is_away = True
            return True
        self._is_away = False
        if newest == self._registrar.shown:  # no act is waited for when there is nothing new
            return True
        try:
            await self.act(self._registrar.follow)
        except Exception as error:  # what is here is known to be old
            log.error("registry_cannot_follow", why=str(error))
            return False
        return True

    async def log_file(self, request: web.Request) -> web.StreamResponse:
        """A file of the registry's log."""
        path = request.rel_url.raw_path.removeprefix("/log/")
        cache = _FOREVER if path.startswith("tile/") else "no-cache"
        file = self._tree.log_file(path)
        if _is_missing(file):
            await self._follow()
        return file_answer(file, cache)

    async def first_page(self, request: web.Request) -> web.Response:
        """Lead to the directory's pages."""
        raise web.HTTPFound("/pages/lo/index.html")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A page of the directory for people."""
        path = self._tree.page_file(request.rel_url.raw_path.removeprefix("/pages/"))
        answer = file_answer(path, "no-cache")
        if answer.status == 200:
            answer.content_type, answer.charset = "text/html", "utf-8"
            answer.headers.update(_PAGE_HEADERS)
        return answer

    async def health(self, request: web.Request) -> web.Response:
        """Whether this registry's word is still good, and until when; what ends soon, members'
        roles too, within how many days (in proportion, for what is valid for less than 90)."""
        now = self._clock.now()
        own, ends = await self.act(lambda: (self._registrar.ends(), self._registrar.all_ends()))
        expired = sorted(name for name, end in own.items() if end.at <= now)
        near = soon(ends, now)
        first = sorted(near, key=lambda name: (ends[name].at, name))[:_MOST_ENDS]
        body = {
            "status": "failing" if expired else "ok",
            "expired": expired,
            "ends_soon": {name: _ending(name, near[name], ends[name]) for name in first},
            "expires": {name: end.at.isoformat() for name, end in own.items()},
            **self._directory.counts(),
        }
        return json_answer(body, 503 if expired else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        """When roles end, in Prometheus's text format."""
        now = self._clock.now()
        own, ends = await self.act(lambda: (self._registrar.ends(), self._registrar.all_ends()))
        members = {name: end for name, end in ends.items() if name not in own}
        return web.Response(body=exposition(own, members, now), headers=METRICS_HEADERS)

    # ------------------------------------------------------------------------------ directory

    @property
    def _directory(self) -> Directory:
        return self._registrar.directory

    async def instance(self, request: web.Request) -> web.Response:
        """The instance: its code, environment and name."""
        record = self._directory.instance
        if record is None:
            raise Problem(Code.INTERNAL_ERROR, detail="the directory is not loaded")
        return json_answer(
            {
                "instance": record.instance,
                "environment": record.environment.value,
                "name": record.name.as_dict(),
                **self._directory.counts(),
            }
        )

    async def members(self, request: web.Request) -> web.Response:
        """A page of members."""
        return json_answer(self._directory.members(*search_of(request)))

    async def member(self, request: web.Request) -> web.Response:
        """One member."""
        text = request.rel_url.raw_path.removeprefix("/api/v1/members/")
        return json_answer(self._directory.member(MemberId.parse(text, "path")))

    async def services(self, request: web.Request) -> web.Response:
        """A page of services."""
        return json_answer(self._directory.services(*search_of(request)))

    async def service(self, request: web.Request) -> web.Response:
        """One service, or its OpenAPI document."""
        text = request.rel_url.raw_path.removeprefix("/api/v1/services/")
        if text.count("/") == 5 and text.endswith("/openapi"):
            service = ServiceId.parse(text.removesuffix("/openapi"), "path")
            body = self._directory.openapi(service)
            return web.Response(body=body, content_type="application/json")
        return json_answer(self._directory.service(ServiceId.parse(text, "path")))

    async def schemas(self, request: web.Request) -> web.Response:
        """All shared schemas."""
        return json_answer(self._directory.schema_list())

    async def search(self, request: web.Request) -> web.Response:
        """A page of all that holds the words asked for, the best first."""
        query, after, limit = search_of(request)
        named = request.query.getall("kind", [])
        if unknown := set(named) - set(Kind):
            raise bad_query("kind", f"{min(unknown)[:40]!r} is none of {', '.join(Kind)}")
        start = whole_number(after, "after") if after else 0
        if start > MAX_START:
            raise bad_query("after", f"must be {MAX_START} at most; ask for more words")
        kinds = frozenset(map(Kind, named)) or frozenset(Kind)
        return json_answer(self._directory.search(query, kinds, start, limit))

    async def elements(self, request: web.Request) -> web.Response:
        """A page of data elements."""
        return json_answer(self._directory.element_list(*search_of(request)))

    async def element(self, request: web.Request) -> web.Response:
        """One data element."""
        return json_answer(self._directory.element(request.match_info["id"]))

    async def questions(self, request: web.Request) -> web.Response:
        """The registered elements that services ask people for."""
        now = self._clock.now()
        items = await self.act(lambda: self._registrar.still_asked(now))
        minutes = self._registrar.minutes_per_field
        return json_answer({"items": items, "next": None, "minutes_per_field": minutes})

    async def disabled(self, request: web.Request) -> web.Response:
        """What the registry has switched off, each with its reason."""
        return json_answer({"items": self._directory.disabled(), "next": None})

    async def openapi(self, request: web.Request) -> web.Response:
        """This API's own document."""
        return web.Response(body=self._document, content_type="application/json")


def _ending(name: str, within: int, end: End) -> dict[str, Any]:
    return {"within_days": within, "ends": end.at.isoformat(), "next_step": next_step(name)}


def _is_missing(path: Path | None) -> bool:
    return path is not None and not path.is_file()
