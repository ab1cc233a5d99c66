"""GovStack's published test suite, without node: its requests and what it expects of each answer.

The scenarios are those of GovStack IM, test/openAPI (28 of them), with the forms of the requests
that the suite's client sends. Here they go over sockets to the command that an assessor starts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from console.reference_world.processes import free_ports
from tests.world.small import Answer, exchange

SCRIPT = Path(__file__).parents[2] / "examples/govstack/test_entrypoint.sh"
TEXT = {"type": "string"}
# The suite's schema of all three lists.
LIST: dict[str, Any] = {
    "type": "object",
    "required": ["member"],
    "additionalProperties": False,
    "properties": {
        "member": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "objectType": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "object_type": {
                                "enum": [
                                    "MEMBER",
                                    "SUBSYSTEM",
                                    "SERVER",
                                    "GLOBALGROUP",
                                    "SECURITYCATEGORY",
                                    "SERVICE",
                                    "CENTRALSERVICE",
                                    "LOCALGROUP",
                                ]
                            }
                        },
                    },
                    "serviceType": TEXT,
                    "GovStackInstance": TEXT,
                    "memberClass": TEXT,
                    "memberCode": TEXT,
                    "applicationCode": TEXT,
                    "serviceCode": TEXT,
                    "serviceVersion": TEXT,
                    "endpointList": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "member": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {"method": TEXT, "path": TEXT},
                                },
                            }
                        },
                    },
                },
            },
        }
    },
}
# The providers of the suite's test data; each offers one service.
PROVIDERS = (
    "identifier/identifier/alp4aNum3r1c/alp4aNum3r1c",
    "a11a11a11a/asd2211a/12as12/m3mb3rc0d3",
    "a552example/zzz321a/m3mb3rc0d3/aa15",
    "valid1dentifi3r/rand0mid3nt/str1ng/azxcv55",
)
SERVICE_IDS = ("serviceId1", "serviceId2", "serviceId3", "serviceId4")
SMOKE = PROVIDERS[0]
CLIENT = {"Information-Mediator-Client": "eGovStack/GOV/90000009/digitalregistries"}
EXACTLY = "application/json; charset=utf-8"


def _test_data() -> dict[str, Any]:
    data = []
    for provider in PROVIDERS:
        instance, member_class, member_code, application = provider.split("/")
        service = {
            "serviceId": "serviceId",
            "instanceId": "instanceId",
            "serviceCode": "alp4aNum3r1c",
        }
        data.append(
            {
                "GovStackInstance": instance,
                "memberClass": member_class,
                "memberCode": member_code,
                "applicationCode": application,
                "service": [service],
            }
        )
    return {"data": data}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Saphan answers, started by the script for assessors, with the test data registered."""
    folder = tmp_path_factory.mktemp("suite")
    data, log = folder / "test-data.json", folder / "log"
    data.write_text(json.dumps(_test_data()))
    (port,) = free_ports(1)
    listen = f"127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    started = subprocess.run(
        [SCRIPT],
        env={**os.environ, "PATH": path, "TEST_DATA": data, "LISTEN": listen, "LOG": log},
        stdout=subprocess.PIPE,
        timeout=150,
        check=True,
    )
    process = int(started.stdout.split()[-1])
    try:
        yield f"http://{listen}"
    finally:
        os.kill(process, signal.SIGTERM)
    _wait_for(log, "Every process has ended")


def _wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def ask(address: str, target: str, headers: dict[str, str] | None = None) -> Answer:
    return exchange(address, "GET", f"/{target}", headers or {})


def is_list(answer: Answer) -> None:
    assert answer.status == 200
    assert "application/json" in answer.headers["content-type"]
    jsonschema_rs.validate(LIST, answer.json)


@pytest.mark.parametrize(
    ("service", "instance"),
    [("serviceId", "instanceId")] + [(f"serviceId{n}", f"instanceId{n}") for n in range(1, 5)],
)
def test_clients_are_listed(address: str, service: str, instance: str) -> None:
    """list_clients.feature: 5 scenarios, no client's header; once as written, once twice over."""
    query = f"serviceId={service}&instanceId={instance}"
    is_list(ask(address, f"listClients?{query}"))
    is_list(ask(address, f"listClients?{query}?{query}"))


@pytest.mark.parametrize("provider", [SMOKE, *PROVIDERS])
def test_methods_are_listed(address: str, provider: str) -> None:
    """list_methods.feature: 5 scenarios; the header's name is its value, the query comes twice."""
    header = {"X-GovStack-Client": "X-GovStack-Client"}
    for query in ("serviceId=serviceId1", "serviceId=serviceId?serviceId=serviceId"):
        is_list(ask(address, f"{provider}/listMethods?{query}", header))


@pytest.mark.parametrize(
    ("provider", "service"), [(SMOKE, "serviceId1"), *zip(PROVIDERS, SERVICE_IDS, strict=True)]
)
def test_allowed_methods_are_listed(address: str, provider: str, service: str) -> None:
    """allowed_methods.feature: 5 scenarios; outlines send quotes in the path and the query."""
    quoted = "/".join(f"%22{code}%22" for code in provider.split("/"))
    is_list(ask(address, f"{provider}/allowedMethods?{service}={service}", CLIENT))
    is_list(ask(address, f"{quoted}/allowedMethods?%22{service}%22=%22{service}%22", CLIENT))


@pytest.mark.parametrize("provider", [SMOKE, *PROVIDERS])
def test_a_document_is_a_string(address: str, provider: str) -> None:
    """get_open_api.feature: 5 scenarios; the exact content type, and a JSON string."""
    assert ask(address, f"{provider}/getOpenAPI").status == 400  # sent before it is complete
    answer = ask(address, f"{provider}/getOpenAPI?serviceCode=alp4aNum3r1c", CLIENT)
    assert answer.status == 200
    assert answer.headers["content-type"] == EXACTLY
    assert isinstance(answer.json, str)
    assert json.loads(answer.json)["openapi"] == "3.1.0"


@pytest.mark.parametrize(
    "target",
    [
        "1nval1d/identifier/alp4aNum3r1c/alp4aNum3r1c/getOpenAPI?serviceCode=alp4aNum3r1c",
        "identifier/1nval1d/alp4aNum3r1c/alp4aNum3r1c/getOpenAPI?serviceCode=alp4aNum3r1c",
        "identifier/identifier/_invalid/alp4aNum3r1c/getOpenAPI?serviceCode=alp4aNum3r1c",
        "identifier/identifier/str1ng/_invalid/getOpenAPI?serviceCode=alp4aNum3r1c",
        "1nval1d/1nval1d/_invalid/_invalid/getOpenAPI?serviceCode=alp4aNum3r1c",
        f"{SMOKE}/getOpenAPI?serviceCode=_invalid",
        f"{SMOKE}/getOpenAPI?serviceCode=",
        f"{SMOKE}/getOpenAPI",
    ],
)
def test_no_document_is_said_in_a_string(address: str, target: str) -> None:
    """get_open_api.feature: 8 scenarios of what is refused, with 400 and a JSON string."""
    answer = ask(address, target, CLIENT)
    assert answer.status == 400
    assert isinstance(answer.json, str)


def test_the_answers_come_from_the_registries(address: str) -> None:
    """Beyond the suite: what was not registered has no document, and lists are not always empty."""
    unknown = ask(address, f"{SMOKE}/getOpenAPI?serviceCode=other")
    assert unknown.status == 400
    for provider in PROVIDERS:
        answer = ask(address, f"{provider}/listMethods")
        is_list(answer)
        (service,) = answer.json["member"]
        assert service["GovStackInstance"] == provider.split("/")[0]
        assert service["endpointList"]["member"] == [{"method": "GET", "path": "/records/{id}"}]
        clients = ask(address, f"listClients?instanceId={provider.split('/')[0]}")
        is_list(clients)
        assert len(clients.json["member"]) == 2
