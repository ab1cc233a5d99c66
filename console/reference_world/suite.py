"""The providers of GovStack's test data, registered for real: what its test suite asks about.

Each instance that the data names gets authorities, a registry of its own and the members,
applications and services in it, through the same steps as anybody. One security server, of the
first instance, runs the harness's listener and follows all the registries::

    DIR/{instance}/       a world (console/reference_world/world.py) for each instance
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.documents import Node, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem, Text

MAX_TEST_DATA_BYTES = 1 << 20
MAX_PROVIDERS = 50
_CODES = ("GovStackInstance", "memberClass", "memberCode", "applicationCode")
# Names of the suite's own; a service of the specification has a code only.
_IDLE = frozenset({"serviceId", "instanceId"})


@dataclass(frozen=True, slots=True)
class Suite:
    """The running world of the test data."""

    worlds: tuple[World, ...]
    server: RunningServer
    services: tuple[ServiceId, ...]


def read_test_data(path: Path) -> tuple[ServiceId, ...]:
    """The services that ``test-data.json`` of the suite names, each once, in its order.

    Raises:
        Problem: ``InvalidDocument`` or ``InvalidIdentifier`` at what is not as it must be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Problem(Code.INVALID_USAGE, where=str(path), detail=error.strerror or "") from error
    found = dict.fromkeys(_services(parse_document(data, MAX_TEST_DATA_BYTES, path.name)))
    if not found:
        raise Problem(Code.INVALID_DOCUMENT, where=path.name, detail="names no service")
    return tuple(found)


@contextmanager
def running(services: tuple[ServiceId, ...], directory: Path, listen: str) -> Iterator[Suite]:
    """Build the instances, start registries and server, and end them when the context is left."""
    worlds: list[World] = []
    try:
        for instance in dict.fromkeys(service.instance for service in services):
            world = World(directory / instance, instance)
            worlds.append(world)
            world.open_instance(Text(f"Instance {instance}", f"ລະບົບ {instance}"))
        for world in worlds[1:]:
            world.add_server(_plan(world, services))
        first = worlds[0]
        server = first.add_server(_plan(first, services, listen, worlds[1:]))
        first.start()
        yield Suite(tuple(worlds), server, services)
    finally:
        for world in worlds:
            world.close()


def _services(document: Node) -> Iterator[ServiceId]:
    for provider in document.members(frozenset({"data"}))["data"].items(MAX_PROVIDERS):
        members = provider.members(frozenset({*_CODES, "service"}))
        instance, member_class, member_code, application = (
            members[name].text(255) for name in _CODES
        )
        for item in members["service"].items(MAX_PROVIDERS):
            service = item.members(frozenset({"serviceCode"}), _IDLE)
            code = service["serviceCode"].text(255)
            yield ServiceId(instance, member_class, member_code, application, code)


def _plan(
    world: World,
    services: tuple[ServiceId, ...],
    listen: str | None = None,
    further: list[World] | None = None,
) -> ServerPlan:
    """One server that hosts every member of an instance."""
    here = [service for service in services if service.instance == world.instance]
    members = tuple(
        _member(world, member, [service for service in here if service.member == member])
        for member in dict.fromkeys(service.member for service in here)
    )
    owner = members[0].id
    return ServerPlan(
        ServerId(owner.instance, owner.member_class, owner.member_code, "ss1"),
        members,
        settings={
            "harness_registries": [
                {"url": other.registry_url, "root": str(other.anchor)} for other in further or ()
            ]
        },
        listen={} if listen is None else {"govstack_harness": listen},
    )


def _member(world: World, member: MemberId, services: list[ServiceId]) -> MemberPlan:
    return MemberPlan(
        member,
        _both(member.member_code),
        tuple(
            ApplicationPlan(application, _both(application.application_code))
            for application in _applications(services)
        ),
        tuple(_service(world, service) for service in services),
    )


def _applications(services: list[ServiceId]) -> list[ApplicationId]:
    return list(dict.fromkeys(service.application for service in services))


def _service(world: World, service: ServiceId) -> ServicePlan:
    document = (
        world.directory / f"{service.application.application_code}-{service.service_code}.json"
    )
    document.write_bytes(
        orjson.dumps(
            {
                "openapi": "3.1.0",
                "info": {"title": service.service_code, "version": "1.0.0"},
                "paths": {
                    "/records/{id}": {
                        "get": {
                            "operationId": "record",
                            "parameters": [
                                {
                                    "name": "id",
                                    "in": "path",
                                    "required": True,
                                    "schema": {"type": "string", "maxLength": 36},
                                }
                            ],
                            "responses": {"200": {"description": "the record"}},
                        }
                    }
                },
            }
        )
    )
    # Nothing in the suite calls the service: there is no backend behind this address.
    settings = {"url": "http://127.0.0.1:9", "openapi": str(document)}
    return ServicePlan(service, _both(service.service_code), document, settings)


def _both(code: str) -> Text:
    """A code that has no name of its own in either language."""
    return Text(code, code)
