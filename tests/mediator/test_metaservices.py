"""Metaservices: listMethods, allowedMethods and getOpenAPI (X-Road PR-MREST)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import yaml

from exchange.contracts.contract import Contract
from exchange.identifiers import ServiceId
from exchange.problems import ACTED, Code, Problem
from exchange.registrations import ServiceType
from mediator.pages import metaservices

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "ໂຄງການ", "version": "1"},
    "servers": [
        {"url": "http://10.1.2.3:8080/internal/v1?x=1"},
        {"url": "https://{host}/v1", "variables": {"host": {"default": "x"}}},
        {"url": "/already"},
    ],
    "paths": {
        "/projects/{id}": {
            "servers": [{"url": "http://10.1.2.4/p"}],
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "get": {
                "servers": [{"url": "http://10.1.2.5/o"}],
                "responses": {"200": {"description": "one"}},
            },
            "delete": {"responses": {"204": {"description": "gone"}}},
        }
    },
}


@dataclass(frozen=True)
class Offer:
    """A service as a server offers it."""

    id: ServiceId
    contract: Contract
    document: bytes

    def described(self) -> bytes:
        return self.document


def _offer(service: str) -> Offer:
    document = orjson.dumps(DOCUMENT)
    return Offer(ServiceId.parse(service), Contract.compile(document, {}), document)


OFFERS = [
    _offer("LA/GOV/MPI/oda-mis/zones"),
    _offer("LA/GOV/MPI/oda-mis/projects"),
    _offer("LA/GOV/MPI/other/elsewhere"),
]


def _type_of(service: ServiceId) -> ServiceType:
    return ServiceType.REST if service.service_code == "zones" else ServiceType.OPENAPI


async def _ask(code: str, query: str = "", accept: str = "") -> metaservices.Answer:
    asked = ServiceId.parse(f"LA/GOV/MPI/oda-mis/{code}")
    return await metaservices.answer(
        asked,
        query,
        accept,
        OFFERS,
        _type_of,
        lambda service, method, _: service.service_code == "projects" and method == "GET",
        metaservices.Shown(),
    )


async def test_list_methods_is_x_roads_list() -> None:
    """PR-MREST: snake case, one object a service, with its endpoints; of this application alone."""
    answer = await _ask("listMethods")
    assert answer.headers == (("content-type", "application/json"),)
    first, second = orjson.loads(answer.body)["service"]
    assert first == {
        "member_class": "GOV",
        "member_code": "MPI",
        "object_type": "SERVICE",
        "service_code": "projects",
        "service_type": "OPENAPI",
        "subsystem_code": "oda-mis",
        "xroad_instance": "LA",
        "endpoint_list": [
            {"method": "GET", "path": "/projects/{id}"},
            {"method": "DELETE", "path": "/projects/{id}"},
        ],
    }
    assert (second["service_code"], second["service_type"]) == ("zones", "REST")


async def test_allowed_methods_keeps_what_is_open_to_the_client() -> None:
    """Endpoints that no agreement opens are left out, and so is a service without any."""
    (only,) = orjson.loads((await _ask("allowedMethods")).body)["service"]
    assert only["service_code"] == "projects"
    assert only["endpoint_list"] == [{"method": "GET", "path": "/projects/{id}"}]


async def test_the_description_tells_no_internal_address() -> None:
    """Each URL of a server becomes its path, unless it has variables: of paths, too."""
    answer = await _ask("getOpenAPI", "serviceCode=projects")
    document: Any = orjson.loads(answer.body)
    assert [server["url"] for server in document["servers"]] == [
        "/internal/v1",
        "https://{host}/v1",
        "/already",
    ]
    assert b"10.1.2" not in answer.body
    assert document["paths"]["/projects/{id}"]["get"]["servers"] == [{"url": "/o"}]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*, application/yaml", "application/json"),
        ("application/yaml, application/json", "application/yaml"),
        ("application/x-yaml;q=0.9", "application/x-yaml"),
    ],
)
async def test_the_description_is_json_or_yaml(accept: str, kind: str) -> None:
    """JSON, or YAML for a client that asks for it first; the same document in both."""
    answer = await _ask("getOpenAPI", "serviceCode=projects", accept)
    assert dict(answer.headers)["content-type"] == kind
    plain = await _ask("getOpenAPI", "serviceCode=projects")
    assert yaml.safe_load(answer.body) == orjson.loads(plain.body)


async def test_the_parameter_is_read_in_any_case() -> None:
    """X-Road reads the parameter's name without regard to case."""
    assert (await _ask("getOpenAPI", "servicecode=projects")).body


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("", Code.INVALID_REQUEST, "Missing serviceCode in message body"),
        ("serviceCode=", Code.INVALID_REQUEST, "Missing serviceCode in message body"),
        (
            "serviceCode=none",
            Code.UNKNOWN_SERVICE,
            "Service not found: SERVICE:LA/GOV/MPI/oda-mis/none",
        ),
        (
            "serviceCode=elsewhere",
            Code.UNKNOWN_SERVICE,
            "Service not found: SERVICE:LA/GOV/MPI/oda-mis/elsewhere",
        ),
        ("serviceCode=zones", Code.INVALID_REQUEST, "Invalid service type: REST"),
    ],
)
async def test_messages_that_clients_compare(query: str, code: Code, message: str) -> None:
    """getOpenAPI fails with X-Road's own sentences, which catalogues compare as texts."""
    with pytest.raises(Problem) as caught:
        await _ask("getOpenAPI", query)
    assert (caught.value.code, caught.value.detail) == (code, message)


async def test_a_document_is_made_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when many ask at one moment: no agreement stands before getOpenAPI."""
    made: list[bool] = []
    make = metaservices.published

    def counted(document: bytes, *, in_yaml: bool = False) -> bytes:
        made.append(in_yaml)
        return make(document, in_yaml=in_yaml)

    monkeypatch.setattr(metaservices, "published", counted)
    shown, document = metaservices.Shown(), orjson.dumps(DOCUMENT)
    for in_yaml in (True, False):
        asked = [shown.get(document, in_yaml=in_yaml) for _ in range(8)]
        assert set(await asyncio.gather(*asked)) == {make(document, in_yaml=in_yaml)}
    assert made == [True, False]


async def test_only_a_few_wait_for_documents_and_what_is_kept_is_bounded() -> None:
    """More are refused with nothing done; a document beyond the bound is made anew each time."""
    shown = metaservices.Shown(max_bytes=10, max_waiting=2)
    documents = [orjson.dumps(DOCUMENT | {"x-number": number}) for number in range(3)]
    asked = [shown.get(document, in_yaml=True) for document in documents]
    *good, refused = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, bytes) for one in good)
    assert isinstance(refused, Problem)
    assert refused.code is Code.OVERLOADED
    assert refused.facts[ACTED] is False
    assert (shown._size, len(shown._made)) == (0, 0)
    assert await shown.get(documents[2], in_yaml=False) == metaservices.published(documents[2])
