"""The test harness's face: the suite's forms, filled with what registries say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import ServiceType
from exchange.trust.admission import admit_member
from exchange.trust.state import RegistryState
from mediator.govstack.harness import Harness
from mediator.listening import Doors
from mediator.message.gate import Gate
from mediator.message.handshakes import Handshakes
from mediator.pages.metaservices import Listed
from mediator.settings import (
    ConnectionMode,
    KeyPair,
    ListenSettings,
    MemberSettings,
    RegistrySettings,
    ServerSettings,
)
from mediator.xroad import Entrance, LocalApplication
from serving.bodies import Spools
from serving.listener import Listener
from serving.requests import Request
from tests.registry.documents import HeldDocument
from tests.registry.simulator import MOF, MPI, NOW, instance_record, member_record

ODA_MIS = "LA/GOV/MPI/oda-mis"
BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
VAULT = ApplicationId.parse("LA/GOV/MOF/vault")
PROJECTS = ServiceId.parse(f"{ODA_MIS}/projects")
DOCUMENT = b'{"openapi":"3.1.0","paths":{"/p/{code}":{"get":{},"parameters":[],"delete":{}}}}'
SERVICE = {
    "objectType": {"object_type": "SERVICE"},
    "serviceType": "OPENAPI",
    "GovStackInstance": "LA",
    "memberClass": "GOV",
    "memberCode": "MPI",
    "applicationCode": "oda-mis",
    "serviceCode": "projects",
    "endpointList": {
        "member": [
            {"method": "GET", "path": "/p/{code}"},
            {"method": "DELETE", "path": "/p/{code}"},
        ]
    },
}


@dataclass
class Came:
    """A request as the listener hands it over."""

    target: str
    method: str = "GET"
    remote: str = "127.0.0.1"
    headers: tuple[tuple[str, str], ...] = ()
    transport: None = None


@dataclass
class Provider:
    """The provider's server, as far as allowedMethods goes; keeps who asked whom."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, client: ApplicationId, provider: ApplicationId) -> list[Listed]:
        self.asked.append((str(client), str(provider)))
        return [
            Listed(PROJECTS, ServiceType.OPENAPI, (("GET", "/p/{code}"), ("DELETE", "/p/{code}")))
        ]


def state_of(instance: str, *members: MemberId) -> RegistryState:
    record = replace(instance_record(), instance=instance)
    return RegistryState.build(
        record,
        [admit_member(member_record(member), record, NOW) for member in members],
        openapi={
            ServiceId.parse(f"{member}/oda-mis/projects"): HeldDocument(DOCUMENT)
            for member in members
        },
        schemas={},
        version=1,
        expires=NOW + timedelta(hours=1),
    )


def harness(provider: Provider | None = None, states: Any = None) -> Harness:
    def known() -> Iterable[RegistryState]:
        return (state_of("LA", MPI, MOF),)

    return Harness(
        states=states or known,
        entrance=Entrance(
            {
                BUDGET: LocalApplication(BUDGET, ConnectionMode.HTTP, frozenset()),
                VAULT: LocalApplication(VAULT, ConnectionMode.MTLS, frozenset()),
            },
            (ip_network("10.0.0.0/8"),),
        ),
        allowed=provider or Provider(),
    )


async def ask(target: str, face: Harness | None = None, **changes: Any) -> tuple[int, Any]:
    came = Came(target, **changes)
    reply = await (face or harness()).handle(cast(Request, came))
    assert reply.headers == (("content-type", "application/json; charset=utf-8"),)
    return reply.status, orjson.loads(cast(bytes, reply.body))


async def test_members_and_applications_are_listed_in_the_suites_schema() -> None:
    """Real members and applications of the registry; the schema has no place for their names."""
    status, found = await ask("/listClients")
    assert status == 200
    member = {"GovStackInstance": "LA", "memberClass": "GOV"}
    assert found["member"] == [
        {"objectType": {"object_type": "MEMBER"}, **member, "memberCode": "MOF"},
        {
            "objectType": {"object_type": "SUBSYSTEM"},
            **member,
            "memberCode": "MOF",
            "applicationCode": "oda-mis",
        },
        {"objectType": {"object_type": "MEMBER"}, **member, "memberCode": "MPI"},
        {
            "objectType": {"object_type": "SUBSYSTEM"},
            **member,
            "memberCode": "MPI",
            "applicationCode": "oda-mis",
        },
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/listClients?serviceId=serviceId1&instanceId=instanceId1",
        "/listClients?serviceId=serviceId1?serviceId=serviceId1&instanceId=x",
        "/identifier/identifier/alp4aNum3r1c/alp4aNum3r1c/listMethods?serviceId=serviceId1",
        "/identifier/identifier/a/b/listMethods?serviceId=serviceId?serviceId=serviceId",
        "/identifier/identifier/alp4aNum3r1c/alp4aNum3r1c/allowedMethods?serviceId1=serviceId1",
        "/%22identifier%22/%22identifier%22/%22a%22/%22b%22/allowedMethods?%22s%22=%22s%22",
        "/%7BGovStackInstance%7D/%7BmemberClass%7D/%7BmemberCode%7D/%7Bx%7D/allowedMethods",
    ],
)
async def test_what_nobody_has_registered_has_an_empty_list(target: str) -> None:
    """An unknown instance or provider, and a name that breaks the grammar: 200, and nothing."""
    assert await ask(target) == (200, {"member": []})


async def test_services_are_listed_with_their_endpoints() -> None:
    """What the registered document declares, in its order."""
    assert await ask(f"/{ODA_MIS}/listMethods") == (200, {"member": [SERVICE]})


@pytest.mark.parametrize(("wanted", "count"), [("projects", 1), (str(PROJECTS), 1), ("x", 0)])
async def test_a_service_id_chooses_among_the_services(wanted: str, count: int) -> None:
    """By the service's code, or its whole identifier."""
    _, found = await ask(f"/{ODA_MIS}/listMethods?serviceId={wanted}")
    assert len(found["member"]) == count


async def test_a_document_is_one_string() -> None:
    """The suite's schema for getOpenAPI is a string; it holds the registered document."""
    assert await ask(f"/{ODA_MIS}/getOpenAPI?serviceCode=projects") == (200, DOCUMENT.decode())


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/1nval1d/GOV/MPI/oda-mis/getOpenAPI?serviceCode=projects", Code.INVALID_IDENTIFIER),
        ("/LA/1nval1d/MPI/oda-mis/getOpenAPI?serviceCode=projects", Code.INVALID_IDENTIFIER),
        ("/LA/GOV/_invalid/oda-mis/getOpenAPI?serviceCode=projects", Code.INVALID_IDENTIFIER),
        ("/LA/GOV/MPI/_invalid/getOpenAPI?serviceCode=projects", Code.INVALID_IDENTIFIER),
        (f"/{ODA_MIS}/getOpenAPI?serviceCode=_invalid", Code.INVALID_IDENTIFIER),
        (f"/{ODA_MIS}/getOpenAPI?serviceCode=", Code.INVALID_REQUEST),
        (f"/{ODA_MIS}/getOpenAPI", Code.INVALID_REQUEST),
        (f"/{ODA_MIS}/getOpenAPI?serviceCode=unknown", Code.UNKNOWN_SERVICE),
        ("/LA/GOV/12as12/m3mb3rc0d3/getOpenAPI?serviceCode=projects", Code.UNKNOWN_SERVICE),
    ],
)
async def test_no_document_is_an_error_of_the_request_said_in_a_string(
    target: str, code: Code
) -> None:
    """400 and never 404; a code may begin with a digit, that of an instance or a class may not."""
    status, sentence = await ask(target)
    assert status == 400
    assert sentence.startswith(f"{code}: ")


async def test_further_registries_are_answered_from() -> None:
    """The providers of the suite are in four instances, each with a registry of its own."""

    def states() -> Iterable[RegistryState]:
        return (state_of("LA", MPI), state_of("a11a11a11a", MemberId("a11a11a11a", "c", "12as12")))

    face = harness(states=states)
    path = "/a11a11a11a/c/12as12/oda-mis"
    assert (await ask(f"{path}/getOpenAPI?serviceCode=projects", face))[0] == 200
    _, found = await ask(f"{path}/listMethods", face)
    assert [item["GovStackInstance"] for item in found["member"]] == ["a11a11a11a"]
    _, clients = await ask("/listClients?instanceId=a11a11a11a", face)
    assert {item["GovStackInstance"] for item in clients["member"]} == {"a11a11a11a"}
    _, own = await ask("/listClients", face)
    assert {item["GovStackInstance"] for item in own["member"]} == {"LA"}


async def test_what_a_client_may_call_is_asked_of_the_provider() -> None:
    """For an application that may call in plain text from where it stands."""
    provider = Provider()
    headers = (("information-mediator-client", str(BUDGET)),)
    found = await ask(f"/{ODA_MIS}/allowedMethods", harness(provider), headers=headers)
    assert found == (200, {"member": [SERVICE]})
    assert provider.asked == [(str(BUDGET), ODA_MIS)]


@pytest.mark.parametrize(
    "value",
    [
        "eGovStack/GOV/90000009/digitalregistries",
        "X-GovStack-Client",
        str(VAULT),
        "LA/GOV/MOF/other",
        "",
    ],
)
async def test_nobody_learns_what_another_application_may_call(value: str) -> None:
    """A client that is none, is not hosted here or must show a certificate has an empty list."""
    provider = Provider()
    headers = (("x-govstack-client", value),)
    found = await ask(f"/{ODA_MIS}/allowedMethods", harness(provider), headers=headers)
    assert found == (200, {"member": []})
    assert provider.asked == []


@pytest.mark.parametrize(("remote", "status"), [("10.1.2.3", 200), ("192.0.2.7", 403), ("", 403)])
async def test_it_answers_loopback_and_the_networks_that_are_listed(
    remote: str, status: int
) -> None:
    """The face has no login: it is for a machine under assessment."""
    assert (await ask("/listClients", remote=remote))[0] == status


async def test_an_outdated_registry_is_said() -> None:
    """No list is better than an old one that passes for today's."""

    def outdated() -> Iterable[RegistryState]:
        raise Problem(Code.REGISTRY_STATE_EXPIRED, where="registry")

    status, sentence = await ask("/listClients", harness(states=outdated))
    assert status == 503
    assert sentence.startswith(f"{Code.REGISTRY_STATE_EXPIRED}: ")


async def test_a_fault_of_ours_says_nothing_of_its_particulars() -> None:
    """A string again, with the code alone."""

    def broken() -> Iterable[RegistryState]:
        raise RuntimeError("a secret")

    status, sentence = await ask("/listClients", harness(states=broken))
    assert status == 500
    assert "secret" not in sentence


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [("/healthcheck", "GET", 404), ("/", "GET", 404), ("/listClients", "POST", 405)],
)
async def test_there_is_nothing_else(target: str, method: str, status: int) -> None:
    """Another path or method is told from an answer by its status."""
    assert (await ask(target, method=method))[0] == status


async def _listen(**addresses: Any) -> Listener | None:
    pair = KeyPair(Path("a.pem"), Path("a.key"))
    settings = ServerSettings(
        server=ServerId.parse("LA/GOV/MOF/ss1"),
        directory=Path(),
        address="https://127.0.0.1",
        registry=RegistrySettings("http://127.0.0.1", Path()),
        auth=pair,
        listen=ListenSettings(peer="127.0.0.1:0", **addresses),
        members=(MemberSettings(MOF, pair),),
    )
    nothing = cast(Any, None)
    watcher = Handshakes(nothing, nothing, nothing, 1)
    async with AsyncExitStack() as stack:
        doors = Doors(
            settings,
            stack,
            nothing,
            nothing,
            (),
            nothing,
            Gate(1),
            nothing,
            watcher,
            Spools(),
            nothing,
            nothing,
            nothing,
        )
        return await doors.harness(nothing, nothing)


async def test_it_is_off_until_an_address_is_set() -> None:
    """A server in production has no such face."""
    assert await _listen() is None


async def test_beyond_loopback_it_needs_networks() -> None:
    """Plain text to everybody is refused at the start; on loopback it is fine."""
    with pytest.raises(Problem) as caught:
        await _listen(govstack_harness="0.0.0.0:0")
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "listen.govstack_harness"
    assert await _listen(govstack_harness="127.0.0.1:0") is not None
    networks = ("10.0.0.0/8",)
    assert await _listen(govstack_harness="0.0.0.0:0", http_networks=networks) is not None
