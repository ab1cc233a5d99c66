"""The same table in different databases, behind different servers: the same answers.

Each provider is a member with a server of its own. All read the same mapping over the same rows:
one in SQLite, one in MariaDB, one in PostgreSQL, as far as those are installed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import schemas
from adapters import openapi
from adapters.mapping.file import parse_mapping
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from tests.adapters import legacy
from tests.world import small
from tests.world.backend import Backend
from tests.world.small import SmallWorld

CONSUMER = ServerId.parse("LA/GOV/MOF/ss1")
MEMBERS = {
    "sqlite": MemberId.parse("LA/GOV/MPI"),
    "mariadb": MemberId.parse("LA/GOV/MOIC"),
    "postgresql": MemberId.parse("LA/GOV/MOHA"),
}
MAPPED_APPLICATION = "LA/GOV/MPI/legacy"
FIELDS = ("id", "code", "title", "amount", "rate", "start", "signed_on", "changed_at", "active")
TITLE = Text("Legacy items", "ລາຍການເກົ່າ")


@dataclass(frozen=True, slots=True)
class Providers:
    """The world, and the server and service for each kind of database."""

    world: SmallWorld
    servers: dict[str, RunningServer]
    services: dict[str, ServiceId]
    missing: dict[str, str]
    urls: dict[str, str]

    def call(self, kind: str, path: str, method: str = "GET") -> small.Answer:
        """Call the service over this kind of database."""
        if kind in self.missing:
            pytest.skip(self.missing[kind])
        return self.world.call(path, service=self.services[kind], method=method)

    def walk(self, kind: str, path: str) -> list[Any]:
        """All pages of a list, each by the cursor of the one before."""
        pages: list[Any] = []
        cursor = ""
        while True:
            sign = "&" if "?" in path else "?"
            answer = self.call(kind, path + (f"{sign}cursor={quote(cursor)}" if cursor else ""))
            assert answer.status == 200, answer.body
            pages.append(answer.json["items"])
            cursor = answer.json["next"]
            if cursor is None:
                return pages


def plan_of(kind: str, url: str, folder: Path) -> tuple[ServerPlan, ServiceId]:
    """A provider's server over the database at ``url``; of the mapping only names differ."""
    member = MEMBERS[kind]
    application = ApplicationId.parse(f"{member}/legacy")
    text = legacy.MAPPING.format(limits="max_connections: 4")
    mapping = folder / f"{kind}.yaml"
    text = text.replace(MAPPED_APPLICATION, str(application)).replace("${LEGACY_URL}", url)
    mapping.write_text(text, "utf-8")
    document = folder / f"{kind}.openapi.json"
    parsed = parse_mapping(mapping.read_bytes())
    document.write_bytes(openapi.document(parsed, "items", schemas.load_all()))
    service = ServiceId.parse(f"{application}/items")
    plan = ServerPlan(
        ServerId.parse(f"{member}/ss1"),
        (
            MemberPlan(
                member,
                TITLE,
                (ApplicationPlan(application, TITLE, "http"),),
                (ServicePlan(service, TITLE, document, {"adapter": str(mapping)}),),
            ),
        ),
    )
    return plan, service


def agreement(kind: str, service: ServiceId) -> dict[str, Any]:
    """Everything but the notes, for the budget application."""
    paths = ("/items", "/items/by-date", "/items/{code}", "/totals")
    pointers = [f"{start}/{name}" for start in ("", "/items/*") for name in FIELDS]
    released = [*pointers, "/next", "/items/*/status", "/items/*/sector", "/items/*/number"]
    return small.agreement(
        f"mof-{kind}",
        provider=str(service.member),
        grants=[
            {
                "service": str(service),
                "endpoints": [{"method": "GET", "path": path} for path in paths],
                "fields": released,
            }
        ],
    )


@pytest.fixture(scope="module")
def providers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Providers]:
    """A world of one consumer and a provider for every kind of database that is here."""
    urls = {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('legacy')}/legacy.db"}
    missing: dict[str, str] = {}
    for kind in ("mariadb", "postgresql"):
        try:
            server = request.getfixturevalue(f"{kind}_server")
        except pytest.skip.Exception as skipped:
            missing[kind] = str(skipped)
        else:
            urls[kind] = server.new_database("journey")
    for url in urls.values():
        legacy.fill(url)
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            budget = ApplicationPlan(small.BUDGET, Text("Budget", "ງົບປະມານ"), "http")
            finance = MemberPlan(small.MOF, Text("Finance", "ການເງິນ"), (budget,))
            world.add_server(ServerPlan(CONSUMER, (finance,)))
            servers, services = {}, {}
            for kind, url in urls.items():
                plan, services[kind] = plan_of(kind, url, folder)
                servers[kind] = world.add_server(plan)
                world.agree(agreement(kind, services[kind]))
            world.start()
            yield Providers(SmallWorld(world, Backend()), servers, services, missing, urls)
        finally:
            world.close()


EACH_OTHER = pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.needs_mariadb),
        pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
    ],
)


@EACH_OTHER
def test_a_whole_list_is_the_same(providers: Providers, kind: str) -> None:
    """Page by page, in the same order, cut at the same places; no note is released."""
    for path in ("/items", "/items/by-date", "/items?page_size=7"):
        pages = providers.walk(kind, path)
        assert pages == providers.walk("sqlite", path)
        assert sum(map(len, pages)) == legacy.TOTAL
    assert all("note" not in item for page in pages for item in page)


@EACH_OTHER
@pytest.mark.parametrize(
    "path",
    [
        "/items?status=ongoing&page_size=9",
        "/items?active=true&sector=health",
        "/items?signed_from=2024-11-01",
        "/items?changed_until=2025-01-01T06:30:00Z",
        "/items?least=40000.1",
        "/items?code=" + quote(legacy.INJECTION),
        "/items?code=" + quote(legacy.BACKSLASH),
        "/items/P-007",
        "/items/big",
        "/totals",
        "/totals?least=2500&after=3",
    ],
)
def test_an_answer_is_the_same(providers: Providers, kind: str, path: str) -> None:
    """Types, filters, hostile texts, single records and sums."""
    answer, expected = providers.call(kind, path), providers.call("sqlite", path)
    assert (answer.status, expected.status) == (200, 200), answer.body + expected.body
    if path.startswith("/totals"):  # the query has no order
        assert sorted(map(str, answer.json["items"])) == sorted(map(str, expected.json["items"]))
    else:
        left, right = (_without_cursor(one.json) for one in (answer, expected))
        assert left == right
    assert answer.json.get("items", True), "nothing was found"


@EACH_OTHER
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/items/NOBODY", 404, ""),
        ("/items?signed_from=yesterday", 422, "SchemaViolation"),
        ("/items?page_size=0", 422, "SchemaViolation"),
        ("/whole", 403, "AccessDenied"),
        ("/elsewhere", 404, "UnknownEndpoint"),
    ],
)
def test_a_refusal_is_the_same(
    providers: Providers, kind: str, path: str, status: int, code: str
) -> None:
    """A missing record, bad parameters, what no agreement opens, what is not there."""
    answer = providers.call(kind, path)
    assert (answer.status, answer.code) == (status, code), answer.body


@EACH_OTHER
def test_each_provider_has_its_own_evidence(providers: Providers, kind: str) -> None:
    """The exchange is in the journals of the consumer and of this provider, under its service."""
    answer = providers.call(kind, "/items/P-007")
    message = answer.headers["x-road-id"]
    service = str(providers.services[kind])
    for server in (providers.world.mof, providers.servers[kind]):
        hits = providers.world.hits(server, id=message)
        assert [(hit.kind, hit.service) for hit in hits] == [
            ("request", service),
            ("response", service),
        ]


def test_a_long_answer_of_an_adapter_is_spooled_like_any_other(providers: Providers) -> None:
    """It is made in memory, and goes to the disk before it is checked, cut, sealed and sent; it
    arrives whole, and neither server keeps anything of it."""
    title = "ສະພານ" * 100_000  # three bytes a sign: 1.5 MB
    url = providers.urls["sqlite"]
    change = "UPDATE tbl_item SET title_lo = :title WHERE item_code = :code"
    servers = (providers.servers["sqlite"], providers.world.mof)
    before = [_metric(server, "saphan_bodies_spooled_bytes_total") for server in servers]
    known = providers.call("sqlite", "/items/P-007").json
    legacy.execute(url, change, title=title, code="P-007")
    try:
        answer = providers.call("sqlite", "/items/P-007")
    finally:
        legacy.execute(url, change, title=known["title"]["lo"], code="P-007")
    assert (answer.status, answer.json) == (200, known | {"title": {"lo": title}})
    for server, bytes_before in zip(servers, before, strict=True):
        spooled = _metric(server, "saphan_bodies_spooled_bytes_total") - bytes_before
        assert spooled >= len(title.encode())
        assert _metric(server, "saphan_bodies_disk_bytes") == 0


def _metric(server: RunningServer, name: str) -> float:
    text = small.exchange(server.url("admin"), "GET", "/metrics", {}).body.decode()
    (found,) = re.findall(rf"(?m)^{name} (\S+)$", text)
    return float(found)


def _without_cursor(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer, and whether it has a next page: cursors are each service's own."""
    return answer | {"next": bool(answer.get("next"))}
