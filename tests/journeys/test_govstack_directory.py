"""GovStack's directory services over sockets: as their OpenAPI file says, signed and recorded."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.world.small import (
    BUDGET,
    MOF,
    MPI,
    ODA_MIS,
    OPENAPI,
    PROVINCE,
    VAULT,
    Answer,
    SmallWorld,
    exchange,
)

CLIENT = {"X-GovStack-Client": str(BUDGET)}
TEXT = {"type": "string"}
CODES = {"instanceId": TEXT, "memberClass": TEXT, "memberCode": TEXT, "applicationCode": TEXT}
KIND = {"enum": ["MEMBER", "APPLICATION", "SERVICE"]}


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {**_closed(member={"type": "array", "items": item}), "required": ["member"]}


# Directory Services API 1.0, components, closed: nothing beyond what it declares.
CLIENTS = _list(_closed(name=TEXT, id=_closed(objectType=KIND, **CODES)))
SERVICES = _list(
    _closed(
        objectType=KIND,
        serviceType=TEXT,
        **CODES,
        serviceCode=TEXT,
        serviceVersion=TEXT,
        endpointList=_list(_closed(method=TEXT, path=TEXT)),
    )
)
EVERYTHING = [
    {"method": "GET", "path": "/projects/{code}"},
    {"method": "DELETE", "path": "/projects/{code}"},
    {"method": "POST", "path": "/projects"},
]


def ask(
    world: SmallWorld, target: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> Answer:
    return exchange(world.mof.url("http"), method, target, headers or {})


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/govstack/listClients", {}),
        ("/govstack/r1/listClients", {}),
        ("/r1/listClients", {}),
        ("/listClients?instanceId=LA", {}),
        ("/listClients", CLIENT),
    ],
)
def test_clients_are_listed_for_whoever_asks(
    shared_world: SmallWorld, target: str, headers: dict[str, str]
) -> None:
    """GovStack's form by base path, parameter or header; no client need be named."""
    answer = ask(shared_world, target, headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    jsonschema_rs.validate(CLIENTS, answer.json)
    codes = {"instanceId": "LA", "memberClass": "GOV"}
    member = {"objectType": "MEMBER", **codes, "memberCode": "MPI"}
    application = {"objectType": "APPLICATION", **codes, "memberCode": "MPI"}
    listed = answer.json["member"]
    assert {"name": "Ministry of Planning", "id": member} in listed
    assert {
        "name": "oda-mis",
        "id": {**application, "applicationCode": "oda-mis"},
    } in listed
    assert len(listed) == 3 + 5  # members and applications


def test_clients_are_named_in_lao_for_who_asks(shared_world: SmallWorld) -> None:
    """By Accept-Language, as in X-Road's listing."""
    answer = ask(shared_world, "/govstack/listClients", {"Accept-Language": "lo"})
    assert "ກະຊວງແຜນການ" in {item["name"] for item in answer.json["member"]}


def test_an_instance_that_is_not_followed_has_no_clients(shared_world: SmallWorld) -> None:
    """There is no federation: of another instance this server knows no clients."""
    answer = ask(shared_world, "/govstack/listClients?instanceId=ABC")
    assert (answer.status, answer.json) == (200, {"member": []})


def test_what_is_no_instance_is_refused_and_recorded(shared_world: SmallWorld) -> None:
    """400, the one status that the file declares for it."""
    answer = ask(shared_world, "/govstack/listClients?instanceId=a_b")
    assert (answer.status, answer.code) == (400, "InvalidIdentifier")
    hits = shared_world.hits(shared_world.mof, request_id=answer.json["detail"])
    assert [(hit.kind, hit.problem) for hit in hits] == [("refusal", "InvalidIdentifier")]


@pytest.mark.parametrize("base", ["/govstack/r1", "/r1"])
def test_services_are_listed_by_the_provider(shared_world: SmallWorld, base: str) -> None:
    """listMethods: every service and endpoint, one exchange recorded on both sides."""
    answer = ask(shared_world, f"{base}/{ODA_MIS}/listMethods", CLIENT)
    assert answer.status == 200
    jsonschema_rs.validate(SERVICES, answer.json)
    services = {item["serviceCode"]: item for item in answer.json["member"]}
    assert sorted(services) == ["closed", "down", "lenient", "projects"]
    assert services["projects"] == {
        "objectType": "SERVICE",
        "serviceType": "OPENAPI",
        "instanceId": "LA",
        "memberClass": "GOV",
        "memberCode": "MPI",
        "applicationCode": "oda-mis",
        "serviceCode": "projects",
        "endpointList": {"member": EVERYTHING},
    }
    for server in (shared_world.mof, shared_world.mpi):
        hits = shared_world.hits(server, id=answer.headers["x-road-id"])
        assert [hit.kind for hit in hits] == ["request", "response"]


@pytest.mark.parametrize("wanted", ["projects", f"{ODA_MIS}/projects"])
def test_a_service_id_chooses(shared_world: SmallWorld, wanted: str) -> None:
    """serviceId: one service by its code or its whole identifier; of another, nothing."""
    target = f"/govstack/r1/{ODA_MIS}/listMethods?serviceId="
    found = ask(shared_world, target + wanted, CLIENT).json["member"]
    assert [item["serviceCode"] for item in found] == ["projects"]
    assert ask(shared_world, f"{target}other", CLIENT).json == {"member": []}


def test_only_what_an_agreement_opens_is_allowed(shared_world: SmallWorld) -> None:
    """allowedMethods: the endpoints of the client's agreement; for one without, nothing."""
    target = f"/govstack/r1/{ODA_MIS}/allowedMethods"
    answer = ask(shared_world, target, CLIENT)
    jsonschema_rs.validate(SERVICES, answer.json)
    allowed = {item["serviceCode"]: item["endpointList"] for item in answer.json["member"]}
    assert allowed["projects"] == {"member": [EVERYTHING[0], EVERYTHING[2]]}
    stranger = ask(shared_world, target, {"X-GovStack-Client": str(PROVINCE)})
    assert (stranger.status, stranger.json) == (200, {"member": []})


def test_a_document_is_a_json_string(shared_world: SmallWorld) -> None:
    """getOpenAPI: the schema for application/json is a string, so the document is one."""
    target = f"/govstack/r1/{ODA_MIS}/getOpenAPI?serviceCode=projects"
    answer = ask(shared_world, target, CLIENT)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.json) == OPENAPI
    spelled_as_in_the_text = ask(shared_world, target.replace("OpenAPI", "OpenApi"), CLIENT)
    assert spelled_as_in_the_text.json == answer.json


def test_a_document_is_yaml_for_who_prefers_it(shared_world: SmallWorld) -> None:
    """text/yaml is the other form that the file declares."""
    target = f"/govstack/r1/{ODA_MIS}/getOpenAPI?serviceCode=projects"
    answer = ask(shared_world, target, {**CLIENT, "Accept": "text/yaml"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/yaml")
    assert yaml.safe_load(answer.body) == OPENAPI


@pytest.mark.parametrize("service", ["listMethods", "allowedMethods", "getOpenAPI?serviceCode=x"])
def test_a_client_must_be_named(shared_world: SmallWorld, service: str) -> None:
    """X-GovStack-Client is required, and no other header stands for it; recorded."""
    for headers in ({}, {"X-Road-Client": str(BUDGET)}):
        answer = ask(shared_world, f"/govstack/r1/{ODA_MIS}/{service}", headers)
        assert (answer.status, answer.code) == (400, "InvalidClientIdentifier")
        hits = shared_world.hits(shared_world.mof, request_id=answer.json["detail"])
        assert [hit.kind for hit in hits] == ["refusal"]


@pytest.mark.parametrize(
    ("target", "client", "code"),
    [
        (f"/govstack/r1/{ODA_MIS}/getOpenAPI", str(BUDGET), "InvalidRequest"),
        (f"/govstack/r1/{ODA_MIS}/getOpenAPI?serviceCode=none", str(BUDGET), "UnknownService"),
        (f"/govstack/r1/{MPI}/none/listMethods", str(BUDGET), "UnknownApplication"),
        ("/govstack/r1/LA/GOV/NONE/x/listMethods", str(BUDGET), "UnknownMember"),
        (f"/govstack/r1/{ODA_MIS}/listMethods", f"{MOF}/none", "UnknownApplication"),
        (f"/govstack/r1/{ODA_MIS}/listMethods", "nonsense", "InvalidClientIdentifier"),
    ],
)
def test_what_the_caller_must_mend_is_400(
    shared_world: SmallWorld, target: str, client: str, code: str
) -> None:
    """The file declares 400 and 500 only; the type tells more than the status."""
    answer = ask(shared_world, target, {"X-GovStack-Client": client})
    assert (answer.status, answer.code) == (400, code)


def test_x_road_keeps_its_own_form(shared_world: SmallWorld) -> None:
    """The same names on the root, without GovStack's header, are X-Road's."""
    answer = ask(shared_world, f"/r1/{ODA_MIS}/listMethods", {"X-Road-Client": str(BUDGET)})
    assert answer.status == 200
    assert "service" in answer.json


def test_the_base_path_is_the_directorys_alone(shared_world: SmallWorld) -> None:
    """Services are called on the root (IM 1.1.1 section 8.1), and lists are asked for with GET."""
    service = ask(shared_world, f"/govstack/r1/{ODA_MIS}/projects/projects/P-1", CLIENT)
    assert (service.status, service.code) == (404, "InvalidRequest")
    posted = ask(shared_world, "/govstack/listClients", CLIENT, method="POST")
    assert (posted.status, posted.code) == (404, "InvalidRequest")


def test_the_harness_asks_the_provider_what_is_allowed(shared_world: SmallWorld) -> None:
    """The suite's face, the same exchange: for a client in mode http, and for no other."""
    url = f"http://{shared_world.mof.plan.listen['govstack_harness']}"
    target = f"/{ODA_MIS}/allowedMethods"
    answer = exchange(url, "GET", target, {"Information-Mediator-Client": str(BUDGET)})
    allowed = {item["serviceCode"]: item["endpointList"] for item in answer.json["member"]}
    assert allowed["projects"] == {"member": [EVERYTHING[0], EVERYTHING[2]]}
    asked = shared_world.hits(
        shared_world.mpi, service=f"{ODA_MIS}/allowedMethods", client=str(BUDGET)
    )
    assert [hit.kind for hit in asked[-2:]] == ["request", "response"]
    stranger = exchange(url, "GET", target, {"Information-Mediator-Client": str(VAULT)})
    assert stranger.json == {"member": []}
    unknown = exchange(url, "GET", "/LA/GOV/NONE/x/allowedMethods", CLIENT)
    assert (unknown.status, unknown.json) == (200, {"member": []})
