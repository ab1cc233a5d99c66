"""Shapes of GovStack's directory (GovStack IM 1.1.1, Directory Services API 1.0). Pure.

``published`` shapes follow the OpenAPI file of the specification; ``harness`` shapes follow the
older schema that the published test suite holds answers against. Both carry the same facts; what
a shape has no member for is left out, and nothing is made up to fill one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import ServiceType
from mediator.pages.metaservices import Listed
from mediator.xroad.clients import ListedClient


def is_named(service: Listed, wanted: str) -> bool:
    """Whether ``serviceId`` means a service: by its code, or by the whole identifier."""
    return wanted in (service.id.service_code, str(service.id))


def services_read(document: object) -> list[Listed]:
    """The services in an X-Road listing (PR-MREST), as another security server answers it.

    Raises:
        Problem: ``PeerProtocolError`` when it is no such listing.
    """
    try:
        rows: Any = document["service"]  # type: ignore[index]  # whatever the other side sent
        return [_service(row) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError, Problem) as error:
        raise Problem(
            Code.PEER_NONSENSE, where="answer", detail="is not an X-Road list of services"
        ) from error


def _service(row: Mapping[str, Any]) -> Listed:
    identifier = ServiceId(
        *(
            row[name]
            for name in (
                "xroad_instance",
                "member_class",
                "member_code",
                "subsystem_code",
                "service_code",
            )
        )
    )
    endpoints = tuple(
        (str(item["method"]), str(item["path"])) for item in row.get("endpoint_list") or ()
    )
    return Listed(identifier, ServiceType(row["service_type"]), endpoints)


# --- the published shapes --------------------------------------------------------------------


def published_clients(clients: Iterable[ListedClient], language: str = "en") -> dict[str, Any]:
    """``restClientDetailsListType``."""
    return {
        "member": [
            {
                "name": getattr(one.application_name or one.name, language),
                "id": _published_id(one.id),
            }
            for one in clients
        ]
    }


def published_services(services: Iterable[Listed]) -> dict[str, Any]:
    """``restServiceDetailsListType``; services of this system have no version of their own."""
    return {
        "member": [
            {
                "objectType": "SERVICE",
                "serviceType": one.type.value,
                **_codes(one.id, "instanceId"),
                "serviceCode": one.id.service_code,
                "endpointList": _endpoints(one),
            }
            for one in services
        ]
    }


def _published_id(identifier: MemberId | ApplicationId) -> dict[str, str]:
    kind = "MEMBER" if isinstance(identifier, MemberId) else "APPLICATION"
    return {"objectType": kind, **_codes(identifier, "instanceId")}


# --- the shapes of the test suite ------------------------------------------------------------


def harness_clients(clients: Iterable[ListedClient]) -> dict[str, Any]:
    """The suite's one schema, for members and applications: it has no place for their names."""
    return {
        "member": [
            {
                "objectType": {
                    "object_type": "MEMBER" if isinstance(one.id, MemberId) else "SUBSYSTEM"
                },
                **_codes(one.id, "GovStackInstance"),
            }
            for one in clients
        ]
    }


def harness_services(services: Iterable[Listed]) -> dict[str, Any]:
    """The suite's one schema, for services."""
    return {
        "member": [
            {
                "objectType": {"object_type": "SERVICE"},
                "serviceType": one.type.value,
                **_codes(one.id, "GovStackInstance"),
                "serviceCode": one.id.service_code,
                "endpointList": _endpoints(one),
            }
            for one in services
        ]
    }


def _codes(identifier: MemberId | ApplicationId | ServiceId, instance: str) -> dict[str, str]:
    codes = {
        instance: identifier.instance,
        "memberClass": identifier.member_class,
        "memberCode": identifier.member_code,
    }
    if not isinstance(identifier, MemberId):
        codes["applicationCode"] = identifier.application_code
    return codes


def _endpoints(service: Listed) -> dict[str, Any]:
    return {"member": [{"method": method, "path": path} for method, path in service.endpoints]}
