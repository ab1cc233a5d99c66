"""An instance from its configuration document: made, changed, replaced, started again, for real."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from certs.authority import create_development_pki
from exchange.identifiers import ServerId
from tests.instance.running import Answer, RunningInstance, ask
from tests.world.backend import GOOD, Backend
from tests.world.small import OPENAPI

BUDGET = "LA/GOV/MOF/budget"
RIGHT = {"member": "Finance", "application": "budget"}


def rights(*allowed: dict[str, str]) -> list[dict[str, Any]]:
    """A document of access rights to MPI's projects."""
    service = {"memberClass": "GOV", "memberCode": "MPI", "applicationId": "oda-mis"}
    return [{**service, "serviceId": "projects", "rights": list(allowed)}]


def member(name: str, code: str, *applications: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "class": "GOV", "code": code, "applications": list(applications)}


def configuration(*members: dict[str, Any]) -> dict[str, Any]:
    return {"domain": "sandbox.example", "instance": "LA", "members": list(members)}


@pytest.fixture
def backend() -> Iterator[Backend]:
    """The service's own server, which is no part of the instance."""
    backend = Backend()
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[RunningInstance]:
    """An instance in a folder of its own, not configured yet."""
    (tmp_path / "projects.json").write_text(json.dumps(OPENAPI))
    running = RunningInstance(tmp_path / "instance", ("--specifications", str(tmp_path)))
    running.start()
    yield running
    running.end()


def planning(instance: RunningInstance, backend: Backend, *allowed: dict[str, str]) -> Any:
    """MPI, which offers its projects."""
    service = {
        "id": "projects",
        "specUrl": (instance.directory.parent / "projects.json").as_uri(),
        "serviceUrl": f"http://127.0.0.1:{backend.port}",
        "rights": list(allowed),
    }
    return member("Planning", "MPI", {"id": "oda-mis", "services": [service]})


FINANCE = member("Finance", "MOF", {"id": "budget", "connection": "http"})


def exchange(instance: RunningInstance) -> Answer:
    """A call of MOF's application through its own server to MPI's service."""
    address = instance.server("LA/GOV/MOF")["addresses"]["http"]
    path = "/r1/LA/GOV/MPI/oda-mis/projects/projects/P-1"
    return ask("GET", address + path, headers={"X-Road-Client": BUDGET})


def test_applications_connect_as_the_document_says(
    instance: RunningInstance, backend: Backend
) -> None:
    """Over TLS with the server's certificate judged: `https` without one of its own, `mtls` with
    the one that the instance made for it, and not without it; nor by the plain address."""
    names = {"desk": "https", "treasury": "mtls"}
    applications = [{"id": name, "connection": mode} for name, mode in names.items()]
    allowed = [{"member": "Finance", "application": name} for name in names]
    finance = member("Finance", "MOF", *applications)
    instance.make(
        "POST", configuration(planning(instance, backend, *allowed), finance), "?init=true"
    )
    addresses = instance.server("LA/GOV/MOF")["addresses"]
    context = ssl.create_default_context(cafile=instance.directory / "pki" / "authorities.pem")

    def call(name: str, address: str) -> tuple[int, Any]:
        path = "/r1/LA/GOV/MPI/oda-mis/projects/projects/P-1"
        fields = {"X-Road-Client": f"LA/GOV/MOF/{name}"}
        answer = ask("GET", address + path, None, fields, context)
        return answer.status, answer.json() if answer.status == 200 else answer.json()["type"]

    assert call("desk", addresses["https"]) == (200, GOOD)
    assert call("desk", addresses["http"]) == (403, "Server.ClientProxy.TlsRequired")
    without = (403, "Server.ClientProxy.ClientCertificateRequired")
    assert call("treasury", addresses["https"]) == without
    own = instance.directory / "members/GOV/MOF/applications"
    context.load_cert_chain(own / "treasury.pem", own / "treasury.key")
    assert call("treasury", addresses["https"]) == (200, GOOD)


def test_the_api_speaks_tls(tmp_path: Path) -> None:
    """Tokens and calls over TLS 1.3 with the operator's certificate; plain HTTP gets nowhere."""
    pki = create_development_pki(tmp_path / "pki", "LA", at=datetime.now(UTC))
    issued = pki.issue_auth(ServerId.parse("LA/GOV/MPI/api"), ["127.0.0.1"], at=datetime.now(UTC))
    certificate, key = tmp_path / "api.pem", tmp_path / "api.key"
    issued.write(certificate, key)
    (tmp_path / "ca.pem").write_bytes(pki.authorities_pem)
    running = RunningInstance(
        tmp_path / "instance",
        ("--certificate", str(certificate), "--key", str(key)),
        context=ssl.create_default_context(cafile=tmp_path / "ca.pem"),
    )
    running.start()
    try:
        assert running.url.startswith("https://127.0.0.1:")
        assert running.status()["state"] == "unconfigured"
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            ask("GET", running.url.replace("https:", "http:") + "/api/v1/status")
        older = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(urllib.error.URLError, match=r"(?i)alert|version|protocol"):
            ask("GET", running.url + "/api/v1/status", context=older)
    finally:
        running.end()


def test_a_configuration_is_made_changed_and_replaced(
    instance: RunningInstance, backend: Backend
) -> None:
    """POST brings up members, a service and a right, over which a call is answered; deny ends the
    right at once, PATCH adds a member, PUT removes it; what is gone is not served."""
    whole = configuration(planning(instance, backend, RIGHT), FINANCE)
    assert instance.call("GET", "/api/v1/status").status == 500
    assert instance.status()["state"] == "unconfigured"
    refused = instance.call("POST", "/api/v1/config", whole)
    assert (refused.status, refused.json()["type"]) == (409, "Conflict")
    instance.make("POST", whole, "?init=true")
    status = instance.call("GET", "/api/v1/status")
    assert (status.status, status.json()["state"]) == (200, "ready")
    assert "Not for production" in status.json()["fitFor"]
    assert exchange(instance).json() == GOOD
    # The same document again is the same act; another one is not.
    assert instance.call("POST", "/api/v1/config", whole).status == 201
    assert instance.call("POST", "/api/v1/config", configuration(FINANCE)).status == 409

    granted = instance.call("GET", "/api/v1/rights/allow").json()["allowList"]
    codes = {"memberClass": "GOV", "memberCode": "MOF", "applicationId": "budget"}
    assert granted == rights({**RIGHT, **codes})
    assert instance.call("PATCH", "/api/v1/rights/deny", rights(codes)).status == 200
    denied = exchange(instance)
    assert (denied.status, denied.json()["type"]) == (403, "Server.ServerProxy.AccessDenied")
    assert instance.call("GET", "/api/v1/rights/allow").json() == {"allowList": []}
    assert instance.call("PATCH", "/api/v1/rights/allow", rights(RIGHT)).status == 200
    assert exchange(instance).status == 200

    health = member("Health", "MOH", {"id": "clinics"}, {"id": "beds", "connection": "mtls"})
    patch = yaml.safe_dump(configuration(health)).encode()
    answer = instance.call(
        "PATCH", "/api/v1/config", patch, Content_Type="text/yaml", Prefer="wait=90"
    )
    assert (answer.status, answer.headers["preference-applied"]) == (201, "wait=90")
    also = [{"member": "Health", "application": name} for name in ("clinics", "beds")]
    assert instance.call("PATCH", "/api/v1/rights/allow", rights(*also)).status == 200
    _check_pages(instance)

    instance.make("PUT", configuration(planning(instance, backend, RIGHT), FINANCE))
    names = [one["member"] for one in instance.status()["servers"]]
    assert names == ["LA/GOV/MPI", "LA/GOV/MOF"]
    shown = instance.call("GET", "/api/v1/config", Accept="application/yaml")
    assert [one["name"] for one in yaml.safe_load(shown.body)["members"]] == ["Planning", "Finance"]
    left = ask("GET", f"{instance.status()['registry']}/api/v1/members/LA/GOV/MOH").json()
    assert left["document"]["servers"] == left["document"]["applications"] == []
    assert left["document"]["seal_certificates"] == []
    assert not list((instance.directory / "members/GOV/MPI/server/agreements").glob("*moh*"))


def _check_pages(instance: RunningInstance) -> None:
    """Pages of two pairs hold all three once, and a handle is of its list alone."""
    seen = []
    query = "pageSize=2"
    for count, is_last in ((2, False), (1, True)):
        body = instance.call("GET", f"/api/v1/rights/allow?{query}").json()
        found = [one["application"] for each in body["allowList"] for one in each["rights"]]
        assert len(found) == count
        assert ("nextPageToken" not in body) is is_last
        seen += found
        query = f"pageSize=2&nextPageToken={body.get('nextPageToken')}"
        if not is_last:
            other = instance.call("GET", f"/api/v1/rights/allow?memberCode=MPI&{query}")
            assert (other.status, other.json()["where"]) == (400, "query.nextPageToken")
    assert sorted(seen) == ["beds", "budget", "clinics"]
    nothing = instance.call("GET", "/api/v1/rights/allow?memberCode=MOF").json()
    assert nothing == {"allowList": []}


def test_what_fails_is_told_and_converges(instance: RunningInstance, backend: Backend) -> None:
    """A member that cannot be made is told and does not hold up the others; when what was in its
    way is gone the next call makes it; a killed instance starts again with all it was promised."""
    # Killed right after the answer: what was promised is made at the next start.
    assert instance.call("POST", "/api/v1/config?init=true", configuration()).status == 201
    instance.end(signal.SIGKILL)
    instance.start()
    obstacle = instance.directory / "members/GOV/MOH"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("in the way")
    whole = configuration(
        planning(instance, backend, RIGHT), FINANCE, member("Health", "MOH", {"id": "clinics"})
    )
    answer = instance.call("POST", "/api/v1/config", whole, Prefer="wait=90")
    assert answer.status == 201
    status = instance.call("GET", "/api/v1/status")
    assert (status.status, status.json()["state"]) == (500, "failing")
    assert {one["member"] for one in status.json()["failures"]} == {"LA/GOV/MOH"}
    assert exchange(instance).json() == GOOD

    obstacle.unlink()
    instance.make("PATCH", configuration())
    assert instance.status()["state"] == "ready"

    entries = _entries(instance)
    addresses = instance.server("LA/GOV/MOF")["addresses"]
    assert instance.end(signal.SIGKILL) == -signal.SIGKILL
    instance.start()
    instance.make("PATCH", configuration())
    assert exchange(instance).json() == GOOD
    assert instance.call("GET", "/api/v1/config").json()["members"][2]["name"] == "Health"
    assert instance.server("LA/GOV/MOF")["addresses"] == addresses
    assert _entries(instance) > entries
    assert instance.end() == 0


def _entries(instance: RunningInstance) -> int:
    """How many entries MOF's journal has, as its server says."""
    settings = yaml.safe_load(
        (instance.directory / "members/GOV/MOF/server/server.yaml").read_text()
    )
    health = ask("GET", f"http://{settings['listen']['admin']}/healthz").json()
    return int(health["checks"]["journal"]["entries"])
