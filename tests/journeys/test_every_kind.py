"""Every kind of source through two servers: a record crosses, one that breaks the contract does
not."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

import schemas
from adapters import kinds as known
from adapters.mapping.model import FileFormat
from adapters.mapping.tables import SUFFIXES
from adapters.sources.guard import DIALECTS
from adapters.text.codec import register
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Text
from tests.world.kinds import APPLICATION, KINDS, LONG, Made, document_id
from tests.world.small import BUDGET, MOF, MOF_SERVER, MPI, MPI_SERVER, Answer, SmallWorld, exchange

PURPOSE = "statistics"
NEEDS_A_SERVER_OF_ANOTHER_MAKER = {"oracle", "mssql"}
"""Databases that cannot be had here: they are tested at the level of the SQL that they are sent."""
WRITTEN_AS_ANOTHER = {".tsv": ".csv", ".txt": ".csv", ".xlsm": ".xlsx", ".xlsb": ".xlsx"}
"""Endings of a format that is tested under another one."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The running world, the kinds that are in it, and why others are not."""

    world: World
    made: dict[str, Made]
    missing: dict[str, str]

    def call(
        self,
        kind: str,
        path: str,
        identifier: str,
        body: dict[str, str] | None = None,
        method: str = "",
        **more: str,
    ) -> Answer:
        headers = {
            "X-Road-Client": str(BUDGET), "Exchange-Purpose": PURPOSE, "X-Road-Id": identifier
        }  # fmt: skip
        url = self.world.servers[MOF_SERVER].url("http")
        target = f"/r1/{APPLICATION}/{kind}{path}"
        if body is None:
            return exchange(url, method or "GET", target, headers | more)
        more |= {"Content-Type": "application/json"}
        return exchange(url, method or "POST", target, headers | more, orjson.dumps(body))


def _services(made: dict[str, Made], folder: Path) -> Iterator[ServicePlan]:
    for kind, one in made.items():
        mapping = folder / kind / "mapping.yaml"
        mapping.write_text(one.mapping, "utf-8")
        contract = orjson.loads(known.read(mapping).document(kind, schemas.load_all()))
        one.narrow(contract)
        openapi = folder / kind / "openapi.json"
        openapi.write_text(json.dumps(contract), "utf-8")
        settings = {"adapter": str(mapping), "openapi": str(openapi)}
        identifier = ServiceId.parse(f"{APPLICATION}/{kind}")
        yield ServicePlan(identifier, Text(kind, "ຫ້ອງການ"), openapi, settings)


def _application(identifier: ApplicationId) -> ApplicationPlan:
    return ApplicationPlan(identifier, Text(identifier.application_code, "ລະບົບ"), "http")


@pytest.fixture(scope="module")
def kinds(request: pytest.FixtureRequest) -> Iterator[Kinds]:
    """A provider with a service over each kind of source, and a consumer."""
    register()
    made: dict[str, Made] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        for kind, make in KINDS.items():
            (folder / kind).mkdir()
            try:
                made[kind] = make(folder / kind, kind, request)
            except pytest.skip.Exception as error:
                missing[kind] = str(error)
        services = tuple(_services(made, folder))
        planning = MemberPlan(
            MPI, Text("Ministry of Planning", "ກະຊວງແຜນການ"),
            (_application(ApplicationId.parse(APPLICATION)),), services,
        )  # fmt: skip
        finance = MemberPlan(
            MOF, Text("Ministry of Finance", "ກະຊວງການເງິນ"), (_application(BUDGET),)
        )
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            world.add_server(ServerPlan(MOF_SERVER, (finance,)))
            world.add_server(ServerPlan(MPI_SERVER, (planning,)))
            world.agree(_agreement(made))
            world.start()
            yield Kinds(world, made, missing)
        finally:
            world.close()


def _agreement(made: dict[str, Made]) -> dict[str, object]:
    text = {"en": "Offices", "lo": "ຫ້ອງການ"}
    return {
        "id": "mof-mpi", "version": 1, "title": text, "provider": str(MPI), "consumer": str(BUDGET),
        "grants": [
            {
                "service": f"{APPLICATION}/{kind}",
                "endpoints": [
                    *({"method": "GET", "path": path} for path in one.endpoints),
                    *({"method": "POST", "path": path} for path in one.posts),
                ],
                "fields": ["*"],
            }
            for kind, one in made.items()
        ]
        + [
            {
                "service": f"{APPLICATION}/http",
                "endpoints": [{"method": "GET", "path": "/held"}],
                "fields": ["*"],
                "rows": {"code": ["A-1"]},
            }
        ],
        "purposes": [{"code": PURPOSE, "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z", "valid_until": "2099-01-01T00:00:00Z",
    }  # fmt: skip


def test_every_kind_of_source_is_in_the_table() -> None:
    """What adapters know and what makes the journey is the same."""
    assert {kind.partition("-")[0] for kind in KINDS} == {*known.KINDS}
    databases = {kind.removeprefix("sql-") for kind in KINDS if kind.startswith("sql-")}
    # SQLAlchemy has one dialect for MariaDB and MySQL.
    assert databases == {*DIALECTS} - {"mysql"} - NEEDS_A_SERVER_OF_ANOTHER_MAKER
    endings = {kind.replace("files-", ".") for kind in KINDS if kind.startswith("files-")}
    assert endings == {*SUFFIXES} - {*WRITTEN_AS_ANOTHER}
    assert all(SUFFIXES[one] == SUFFIXES[other] for one, other in WRITTEN_AS_ANOTHER.items())
    assert {SUFFIXES[one] for one in endings} == {*FileFormat}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_crosses(kinds: Kinds, kind: str) -> None:
    """It is answered as the source has it, in both journals, and the contract has judged it."""
    if kind in kinds.missing:
        pytest.skip(kinds.missing[kind])
    answer = kinds.call(kind, kinds.made[kind].good, f"good-{kind}")
    assert answer.status == 200, answer.body
    expected = kinds.made[kind].answer
    assert (answer.body if isinstance(expected, bytes) else answer.json) == expected
    world = SmallWorld(kinds.world, None)  # type: ignore[arg-type]  # no backend: adapters answer
    for server in kinds.world.servers.values():
        hits = world.hits(server, id=f"good-{kind}")
        assert [hit.kind for hit in hits] == ["request", "response"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_breaks_the_contract_does_not(kinds: Kinds, kind: str) -> None:
    """The provider's server stops it, with the place and without the value."""
    if kind in kinds.missing:
        pytest.skip(kinds.missing[kind])
    answer = kinds.call(kind, kinds.made[kind].bad, f"bad-{kind}")
    assert (answer.status, answer.code) == (502, Code.RESPONSE_SCHEMA_VIOLATION), answer.body
    assert kinds.made[kind].place in answer.json["where"]
    # A word of its own: the error's random identifier (detail) may hold the same three digits.
    told = json.dumps(answer.json | {"detail": ""})
    assert not re.search(r"\b641\b", told), told


def test_a_soap_operation_that_writes_is_asked_once(kinds: Kinds) -> None:
    """A repeat gets the recorded answer; what the WSDL's types do not allow does not leave."""
    made = kinds.made["soap"]
    enquiry = {"subject": "ກາເຟ", "question": "</question>?", "email": "a@example.la"}
    for _ in range(2):
        answer = kinds.call("soap", "/enquiries", "enquiry-1", enquiry)
        assert answer.status == 200, answer.body
        assert answer.json["number"] == 7_000_000_001
    assert made.written() == 1
    both = kinds.call("soap", "/enquiries", "enquiry-2", enquiry | {"phone": "1"})
    assert (both.status, both.code) == (422, Code.SCHEMA_VIOLATION), both.body
    assert made.written() == 1


@pytest.mark.parametrize("path", ["/asked", "/held"])
def test_an_api_is_asked_within_rights(kinds: Kinds, path: str) -> None:
    """Those that the owner gives the caller, and those that the agreement leaves: said or not."""
    for query in ("", "?code=A-1"):
        answer = kinds.call("http", f"{path}{query}", f"within{path}{query}")
        assert (answer.status, answer.json["code"]) == (200, "A-1"), answer.body
    beyond = kinds.call("http", f"{path}?code=A-2", f"beyond{path}")
    assert (beyond.status, beyond.json["where"]) == (403, "query.code"), beyond.body


def test_a_document_crosses_whole_and_in_parts(kinds: Kinds) -> None:
    """Its bytes, its type and its digest (RFC 9530); a part of it; nothing when it is the same."""
    path = f"/documents/{document_id('long')}/content"
    whole = kinds.call("documents", path, "document-whole")
    assert (whole.status, whole.body) == (200, LONG), whole.body[:200]
    digest = base64.b64encode(hashlib.sha256(LONG).digest()).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert whole.headers["content-type"] == "application/pdf"
    part = kinds.call("documents", path, "document-part", Range="bytes=9-264")
    assert (part.status, part.body) == (206, bytes(range(256)))
    assert part.headers["content-range"] == f"bytes 9-264/{len(LONG)}"
    tag = whole.headers["etag"]
    same = kinds.call("documents", path, "document-same", **{"If-None-Match": tag})
    assert (same.status, same.body) == (304, b"")
    head = kinds.call("documents", path, "document-head", method="HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", tag)
