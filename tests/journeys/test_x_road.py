"""X-Road's REST protocol from end to end, as its clients and tools speak it (PR-REST, PR-MREST).

docs/x-road.md names for each rule the test that holds it; most of them are here.
"""

from __future__ import annotations

import io
import json
import re
import ssl
import subprocess
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import yaml

from mediator.journal.export import SCRIPT, ExportVerdict, verify_export
from tests.world import x_road
from tests.world.echo import GZIPPED
from tests.world.small import exchange
from tests.world.x_road import BUDGET, CLOSED, ECHO, METHODS, MOF, MOIC, MPI, TRADE, XRoadWorld

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def world() -> Iterator[XRoadWorld]:
    """One world for all tests of this module."""
    with x_road.x_road_world() as built:
        yield built


# --- methods, paths, bodies ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_the_provider_with_its_body(world: XRoadWorld, method: str) -> None:
    """All eight methods of PR-REST pass; so do bodies on GET, HEAD, DELETE, OPTIONS and TRACE."""
    sent = f"body of {method}".encode()
    got = world.call(method, body=sent, fields=(("Content-Type", "text/plain"),))
    assert got.status == 200, got.body
    assert got.body == (b"" if method == "HEAD" else sent)
    came = world.backend.came[-1]
    assert came.line == f"{method} /echo/x HTTP/1.1"
    assert (came.body, came.values("content-length")) == (sent, [str(len(sent))])


def test_an_unknown_method_is_refused(world: XRoadWorld) -> None:
    """Honestly 501 or 400; X-Road's own answer, 500 InternalError, by profile."""
    seen = len(world.backend.came)
    assert world.call("PROPFIND").status in (400, 501)
    got = world.call("PROPFIND", client=str(TRADE))
    assert (got.status, got.value("x-road-error")) == (500, "server.clientproxy.internal_error")
    assert len(world.backend.came) == seen


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE"])
def test_a_method_that_the_description_lacks_is_no_endpoint(world: XRoadWorld, method: str) -> None:
    """OPTIONS and TRACE are operations like others: what is not described is not offered."""
    got = world.call(method, "/read-only")
    assert (got.status, got.value("x-road-error")) == (404, "Server.ClientProxy.UnknownEndpoint")


def test_path_and_query_arrive_as_they_were_written(world: XRoadWorld) -> None:
    """What is behind the service code goes on as it came: the path encoded, the query raw."""
    world.call(path="/echo/a%3Bb%C3%A9?x=%2F&y[a]=1&z&q=a+b")
    assert world.backend.came[-1].line == "GET /echo/a%3Bb%C3%A9?x=%2F&y[a]=1&z&q=a+b HTTP/1.1"


def test_an_empty_path_asks_for_the_base_url(world: XRoadWorld) -> None:
    """Nothing behind the service code means the service's own URL."""
    assert world.call(path="").status == 200
    assert world.backend.came[-1].line == "GET / HTTP/1.1"


def test_identifiers_may_be_percent_encoded(world: XRoadWorld) -> None:
    """Clients encode each part as their library does; it is the same service and client."""
    target = "/r1/LA/GOV/MPI/oda%2Dmis/%65cho/echo/x"
    got = world.get(target, fields=(("X-Road-Client", "LA/GOV/MOF/%62udget"),))
    assert got.status == 200
    assert got.value("x-road-client") == str(BUDGET)
    assert got.value("x-road-service") == str(ECHO)
    assert world.backend.came[-1].values("x-road-client") == [str(BUDGET)]


@pytest.mark.parametrize("target", ["/r2/LA/GOV/MPI/oda-mis/echo/echo/x", "/r1", "/", "/r1x/LA"])
def test_another_version_is_refused(world: XRoadWorld, target: str) -> None:
    """No SOAP fault with status 200: 404 InvalidRequest, and InternalError (500) by profile."""
    named = (("X-Road-Client", str(BUDGET)),)
    got = world.get(target, fields=named)
    assert (got.status, got.value("x-road-error")) == (404, "Server.ClientProxy.InvalidRequest")
    got = world.get(target, at=MOIC, fields=named)
    assert (got.status, got.value("x-road-error")) == (500, "server.clientproxy.internal_error")


def test_redirects_are_handed_back(world: XRoadWorld) -> None:
    """3xx with its Location is the answer; nobody follows it."""
    got = world.call(path="/echo/moved")
    assert (got.status, got.value("location")) == (302, "http://127.0.0.1:1/elsewhere")


def test_a_status_of_the_provider_is_no_error_of_ours(world: XRoadWorld) -> None:
    """Without X-Road-Error the status is the provider's own, whatever it is."""
    got = world.call(path="/echo/teapot")
    assert (got.status, got.body, got.value("x-own")) == (418, b"short and stout", "kept")
    assert not got.values("x-road-error")


# --- header fields -------------------------------------------------------------------------------


def test_an_answer_tells_whose_it_is(world: XRoadWorld) -> None:
    """X-Road-Client, X-Road-Service, X-Road-Id, X-Road-Request-Id and -Hash, each once."""
    got = world.call(fields=(("X-Road-Id", "mine-1"),))
    assert got.value("x-road-client") == str(BUDGET)
    assert got.value("x-road-service") == str(ECHO)
    assert got.value("x-road-id") == "mine-1"
    assert re.fullmatch(UUID, got.value("x-road-request-id"))
    assert len(b64decode(got.value("x-road-request-hash"), validate=True)) == 64
    assert len(got.values("date")) == 1


def test_a_message_id_is_made_when_there_is_none(world: XRoadWorld) -> None:
    """{instance}-{UUID}, the same at the provider and in the answer."""
    got = world.call()
    assert re.fullmatch(f"LA-{UUID}", got.value("x-road-id"))
    assert world.backend.came[-1].values("x-road-id") == [got.value("x-road-id")]


def test_the_applications_request_id_and_hash_are_dropped(world: XRoadWorld) -> None:
    """Both are the server's to make; the provider sees the id, and no hash."""
    fields = (("X-Road-Request-Id", "my own"), ("X-Road-Request-Hash", "my own"))
    got = world.call(fields=fields)
    assert re.fullmatch(UUID, got.value("x-road-request-id"))
    came = world.backend.came[-1]
    assert came.values("x-road-request-id") == [got.value("x-road-request-id")]
    assert came.values("x-road-request-hash") == []


def _openssl(data: bytes) -> bytes:
    command = ["openssl", "dgst", "-sha512", "-binary"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("body", [None, b'{"a": 1}', bytes(3_000_000)])
def test_an_application_can_compute_the_request_hash(world: XRoadWorld, body: bytes | None) -> None:
    """The hash is X-Road's, over what the application sent and the two ids of the answer."""
    fields = (
        ("Accept", "*/*"),
        ("content-TYPE", "text/plain"),
        ("user-agent", "not in the hash"),
        ("X-ROAD-issue", "case 7"),
        ("X-Forwarded-For", "10.1.1.1"),
    )
    got = world.call("POST", "/echo/h?x=%20&y", fields=fields, body=body)
    assert got.status == 200
    head = (
        f"POST\r\n/r1/{ECHO}/echo/h?x=%20&y\r\n"
        f"X-Road-Client:{BUDGET}\r\nAccept:*/*\r\ncontent-TYPE:text/plain\r\n"
        "X-ROAD-issue:case 7\r\n"
        "X-Forwarded-For:10.1.1.1\r\n"
        f"x-road-request-id:{got.value('x-road-request-id')}\r\n"
        f"x-road-id:{got.value('x-road-id')}\r\n"
    ).encode()
    digest = _openssl(head)
    if body:
        digest = _openssl(digest + _openssl(body))
    assert got.value("x-road-request-hash") == b64encode(digest).decode()


def test_two_like_requests_have_different_hashes(world: XRoadWorld) -> None:
    """The request id is part of it."""
    fields = (("X-Road-Id", "twice"),)
    first, second = world.call(fields=fields), world.call(fields=fields)
    assert first.status == second.status == 200
    assert first.value("x-road-request-hash") != second.value("x-road-request-hash")


def test_what_the_provider_says_of_the_exchange_is_replaced(world: XRoadWorld) -> None:
    """A backend's X-Road fields are dropped: each stands once, and it is the servers' own."""
    got = world.call(path="/echo/forged")
    assert got.status == 200
    assert got.value("x-road-service") == str(ECHO)
    assert got.value("x-road-client") == str(BUDGET)
    for name in ("x-road-id", "x-road-request-id", "x-road-request-hash"):
        assert got.value(name) not in ("", "forged")
    assert not got.values("x-road-error")


def test_fields_of_the_connection_go_nowhere(world: XRoadWorld) -> None:
    """The hop-by-hop fields, User-Agent, Host and Server are stripped both ways."""
    fields = (
        ("User-Agent", "curl/8"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("X-Own", "kept"),
    )
    got = world.call(path="/echo/hop", fields=fields)
    came = world.backend.came[-1]
    for name in ("user-agent", "te", "keep-alive", "proxy-authorization", "expect"):
        assert came.values(name) == [], name
    assert came.values("x-own") == ["kept"]
    assert came.values("host") == [f"127.0.0.1:{world.backend.port}"]
    for name in ("keep-alive", "proxy-authenticate", "server", "x-private"):
        assert got.values(name) == [], name
    assert got.values("x-own") == ["kept"]


def test_fields_of_the_user_pass_unchanged(world: XRoadWorld) -> None:
    """Content-Type, Accept, Authorization, Cookie and all of the user's own, repeats too."""
    fields = (
        ("Content-Type", "application/vnd.x+json; v=1"),
        ("Accept", "text/plain;q=0.5, */*"),
        ("Authorization", "Bearer a.b.c"),
        ("Cookie", "a=1"),
        ("Cache-Control", "no-cache"),
        ("X-Road-UserId", "LA123"),
        ("X-Road-Issue", "case 7"),
        ("X-Road-Represented-Party", "COM/1234"),
        ("X-Road-Security-Server", f"{MPI}/ss1"),
        ("X-Twice", "a"),
        ("X-Twice", "b"),
    )
    assert world.call("POST", fields=fields, body=b"{}").status == 200
    came = world.backend.came[-1]
    for name in {name for name, _ in fields}:
        assert came.values(name) == [value for key, value in fields if key == name], name


def test_a_missing_accept_stays_missing(world: XRoadWorld) -> None:
    """Nothing is made up: the provider sees that there was none."""
    world.call()
    assert world.backend.came[-1].values("accept") == []


@pytest.mark.parametrize(
    ("field", "status", "error"),
    [
        (("X-Road-Security-Server", "LA/GOV/MOF/ss1"), 404, "InvalidSecurityServer"),
        (("X-Road-Security-Server", "LA/GOV/MPI"), 400, "InvalidIdentifier"),
        (("X-Road-Represented-Party", "LA/COM/1"), 400, "InvalidHeader"),
        (("X-Road-Client", "LA/GOV/MOF/vault"), 400, "InvalidClientIdentifier"),
    ],
)
def test_a_wrong_field_is_named(
    world: XRoadWorld, field: tuple[str, str], status: int, error: str
) -> None:
    """Targeting, represented party, and a second client with another value."""
    got = world.call(fields=(field,))
    assert (got.status, got.value("x-road-error")) == (status, f"Server.ClientProxy.{error}")


# --- their faults are not ours -------------------------------------------------------------------


def test_a_compressed_answer_stays_compressed(world: XRoadWorld) -> None:
    """The bytes arrive as the provider coded them, with their Content-Encoding."""
    got = world.call(path="/echo/gzip", fields=(("Accept-Encoding", "gzip"),))
    assert (got.value("content-encoding"), got.body) == ("gzip", GZIPPED)
    assert got.value("vary") == "Accept-Encoding"


def test_no_cookie_is_remembered(world: XRoadWorld) -> None:
    """Set-Cookie goes to who asked; the next call, of whomever, brings no cookie."""
    got = world.call(path="/echo/cookies")
    assert got.values("set-cookie") == ["session=1; Path=/", "other=2"]
    world.call()
    assert world.backend.came[-1].values("cookie") == []
    world.call(client=str(TRADE))
    assert world.backend.came[-1].values("cookie") == []


def test_repeated_fields_survive_in_their_order(world: XRoadWorld) -> None:
    """What the provider says twice is heard twice."""
    assert world.call(path="/echo/cookies").values("link") == ["<a>", "<b>"]


def test_cache_fields_pass(world: XRoadWorld) -> None:
    """Nothing is cached here, and what caches go by passes; there is one Date."""
    got = world.call(path="/echo/date")
    assert got.value("cache-control") == "max-age=60"
    assert got.value("expires")
    assert len(got.values("date")) == 1
    seen = len(world.backend.came)
    world.call(path="/echo/date")
    assert len(world.backend.came) == seen + 1


def test_connections_to_the_provider_are_reused(world: XRoadWorld) -> None:
    """Ten calls one after the other need no ten connections to the backend."""
    world.call()
    before = world.backend.connections
    for _ in range(10):
        assert world.call().status == 200
    assert world.backend.connections - before <= 1


# --- errors --------------------------------------------------------------------------------------


def test_errors_are_json_or_xml_by_accept(world: XRoadWorld) -> None:
    """type, message, detail; the first XML type that Accept names decides; on both sides."""
    for service, side in ((CLOSED, "ServerProxy"), (None, "ClientProxy")):
        for accept, kind in (
            ("", "application/json"),
            ("application/json", "application/json"),
            ("application/xml", "application/xml;charset=utf-8"),
            ("text/*", "text/xml;charset=utf-8"),
            ("application/json, text/xml;q=0.1", "text/xml;charset=utf-8"),
        ):
            fields = (("Accept", accept),) if accept else ()
            got = (
                world.call(service=service, fields=fields)
                if service
                else world.call(path="/nowhere", fields=fields)
            )
            assert got.value("content-type") == kind
            if "xml" in kind:
                root = ElementTree.fromstring(got.body)  # noqa: S314 - our own output
                found = {element.tag: element.text for element in root}
                assert root.tag == "error"
            else:
                found = got.json
            assert found["type"] == got.value("x-road-error")
            assert found["type"].startswith(f"Server.{side}.")
            assert found["message"]
            assert found["detail"] == got.value("x-road-request-id")


def test_a_notice_reaches_the_caller(world: XRoadWorld) -> None:
    """ServiceDisabled carries the notice; the honest status is kept in the default profile."""
    got = world.call(service=CLOSED)
    assert (got.status, got.value("x-road-error")) == (503, "Server.ServerProxy.ServiceDisabled")
    assert "stocktaking" in got.json["message"]


def test_the_profile_x_road_answers_literally(world: XRoadWorld) -> None:
    """500 and three members, types of 7.8 by setting: for refusals of either side."""
    for got, error in (
        (world.call(service=CLOSED, client=str(TRADE)), "server.serverproxy.service_disabled"),
        (world.call(path="/nowhere", client=str(TRADE)), "server.serverproxy.access_denied"),
        (world.call(path="/secret", client=str(TRADE)), "server.serverproxy.access_denied"),
        (world.get(f"/r1/{ECHO}", at=MOIC), "server.clientproxy.invalid_client_identifier"),
    ):
        assert (got.status, got.value("x-road-error")) == (500, error)
        assert list(got.json) == ["type", "message", "detail"]
        assert got.json["type"] == error
        assert re.fullmatch(UUID, got.json["detail"])


# --- metaservices --------------------------------------------------------------------------------


def test_list_clients_is_json_or_xml(world: XRoadWorld) -> None:
    """JSON if Accept names it, else XML; neither header nor agreement is needed."""
    got = world.get("/listClients", fields=(("Accept", "application/json"),))
    assert (got.status, got.value("content-type")) == (200, "application/json;charset=utf-8")
    members = got.json["member"]
    assert {
        "id": {
            "member_class": "GOV",
            "member_code": "MOF",
            "object_type": "MEMBER",
            "xroad_instance": "LA",
        },
        "name": "Ministry of Finance",
    } in members
    assert {
        "id": {
            "member_class": "GOV",
            "member_code": "MOF",
            "object_type": "SUBSYSTEM",
            "subsystem_code": "budget",
            "xroad_instance": "LA",
        },
        "name": "Ministry of Finance",
        "subsystem_name": "budget",
    } in members
    got = world.get("/listClients?xRoadInstance=LA", fields=(("Accept", "text/html"),))
    assert got.value("content-type") == "text/xml;charset=utf-8"
    root = ElementTree.fromstring(got.body)  # noqa: S314 - our own output
    spaces = {"x": "http://x-road.eu/xsd/xroad.xsd", "i": "http://x-road.eu/xsd/identifiers"}
    assert root.tag == f"{{{spaces['x']}}}clientList"
    found = root.findall("x:member", spaces)
    assert len(found) == len(members)
    kinds = [one.find("x:id", spaces).get(f"{{{spaces['i']}}}objectType") for one in found]  # type: ignore[union-attr]
    assert kinds.count("MEMBER") == 3
    assert "budget" in {one.findtext("x:id/i:subsystemCode", None, spaces) for one in found}
    got = world.get("/listClients?xRoadInstance=XX")
    assert (got.status, got.value("x-road-error")) == (404, "Server.ClientProxy.NotFound")


def test_list_clients_speaks_lao(world: XRoadWorld) -> None:
    """Who asks for Lao first gets the Lao names."""
    fields = (("Accept", "application/json"), ("Accept-Language", "lo, en;q=0.5"))
    names = {one["name"] for one in world.get("/listClients", fields=fields).json["member"]}
    assert "ກະຊວງການເງິນ" in names


def _ask(world: XRoadWorld, code: str, client: str = str(BUDGET)) -> x_road.Got:
    target = f"/r1/LA/GOV/MPI/oda-mis/{code}"
    at = MOIC if client.startswith(str(MOIC)) else MOF
    return world.get(target, at=at, fields=(("X-Road-Client", client),))


def test_list_methods_is_an_exchange_with_the_provider(world: XRoadWorld) -> None:
    """Every service with its endpoints, signed and recorded on both sides, without an agreement."""
    got = _ask(world, "listMethods")
    assert (got.status, got.value("content-type")) == (200, "application/json")
    services = {one["service_code"]: one for one in got.json["service"]}
    assert set(services) == {"echo", "closed"}
    assert services["echo"]["service_type"] == "OPENAPI"
    assert services["echo"]["object_type"] == "SERVICE"
    assert {"method": "GET", "path": "/secret"} in services["echo"]["endpoint_list"]
    assert got.value("x-road-service") == "LA/GOV/MPI/oda-mis/listMethods"
    assert got.value("x-road-request-hash")
    for member in (MOF, MPI):
        found = world.hits(member, request_id=got.value("x-road-request-id"))
        assert [hit.kind for hit in found] == ["request", "response"]


def test_allowed_methods_lists_what_the_agreement_opens(world: XRoadWorld) -> None:
    """Only endpoints that are open to who asks; the one without a grant is not there."""
    services = _ask(world, "allowedMethods").json["service"]
    (echo,) = [one for one in services if one["service_code"] == "echo"]
    paths = {(one["method"], one["path"]) for one in echo["endpoint_list"]}
    every = {(method, "/echo/{code}") for method in METHODS}
    assert paths == every | {("GET", "/read-only"), ("GET", "/")}


def test_metaservices_are_asked_with_get(world: XRoadWorld) -> None:
    """Another method is a call of a service, and none has such a name."""
    got = world.get(
        "/r1/LA/GOV/MPI/oda-mis/listMethods",
        method="POST",
        fields=(("X-Road-Client", str(BUDGET)),),
        body=b"{}",
    )
    assert (got.status, got.value("x-road-error")) == (404, "Server.ClientProxy.UnknownService")


def test_a_metaservice_echoes_no_field_of_the_request(world: XRoadWorld) -> None:
    """What the application sends is not sent back to it as if it were an answer's."""
    named = (("X-Road-Client", str(BUDGET)), ("Authorization", "Bearer x"), ("X-Own", "1"))
    got = world.get("/r1/LA/GOV/MPI/oda-mis/listMethods", fields=named)
    assert got.status == 200
    assert got.values("authorization") == got.values("x-own") == []


def test_the_description_is_fetched_over_the_road(world: XRoadWorld) -> None:
    """getOpenAPI: the provider's document, addresses of its network made paths, JSON or YAML."""
    target = "/r1/LA/GOV/MPI/oda-mis/getOpenAPI?serviceCode=echo"
    named = (("X-Road-Client", str(BUDGET)),)
    got = world.get(target, fields=named)
    assert (got.status, got.value("content-type")) == (200, "application/json")
    assert got.json == {**x_road.OPENAPI, "servers": [{"url": "/internal/v1"}]}
    as_yaml = world.get(target, fields=(*named, ("Accept", "application/yaml")))
    assert as_yaml.value("content-type") == "application/yaml"
    assert yaml.safe_load(as_yaml.body) == got.json


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "Missing serviceCode in message body"),
        ("?serviceCode=none", 404, "Service not found: SERVICE:LA/GOV/MPI/oda-mis/none"),
    ],
)
def test_the_descriptions_errors_have_x_roads_words(
    world: XRoadWorld, query: str, status: int, message: str
) -> None:
    """Catalogues compare the message; it is the same in both profiles."""
    for client, expected in ((str(BUDGET), status), (str(TRADE), 500)):
        got = _ask(world, f"getOpenAPI{query}", client)
        assert (got.status, got.json["message"]) == (expected, message)


# --- shared parameters and evidence --------------------------------------------------------------


def test_shared_parameters_are_read_as_x_roads_tools_read_them(world: XRoadWorld) -> None:
    """verificationconf: instance, members, subsystems, servers with their clients, authorities."""
    got = world.get("/verificationconf")
    assert (got.status, got.value("content-type")) == (200, "application/zip")
    assert got.value("content-disposition") == 'filename="verificationconf.zip"'
    with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
        instance = archive.read("verificationconf/instance-identifier").decode()
        folder = f"verificationconf/{instance}/shared-params.xml"
        text = archive.read(folder)
        metadata = json.loads(archive.read(f"{folder}.metadata"))
    assert instance == "LA"
    assert metadata["configurationVersion"] == "6"
    root = ElementTree.fromstring(text)  # noqa: S314 - our own output
    assert root.tag == "{http://x-road.eu/xsd/xroad.xsd}conf"
    assert root.findtext("./instanceIdentifier") == "LA"
    (budget,) = [
        subsystem
        for member in root.findall("./member")
        if member.findtext("./memberClass/code") == "GOV"
        if member.findtext("./memberCode") == "MOF"
        for subsystem in member.findall("./subsystem")
        if subsystem.findtext("./subsystemCode") == "budget"
    ]
    (server,) = root.findall(f"./securityServer[client='{budget.attrib['id']}']")
    owner = root.find(f"./member[@id='{server.findtext('./owner')}']")
    assert owner is not None
    assert owner.findtext("./memberCode") == "MOF"
    assert (server.findtext("./serverCode"), server.findtext("./address")) == ("ss1", "127.0.0.1")
    shown = _certificate_of(world.server(MOF).url("peer"))
    assert server.findtext("./authCertHash") == b64encode(sha256(shown).digest()).decode()
    assert b64decode(root.findtext("./approvedCA/topCA/cert") or "")
    _hold_to_schema(root)


# The children of each element in their order, by X-Road's schema (globalconf version 6).
_ORDER = {
    "conf": "instanceIdentifier source approvedCA approvedTSA member securityServer globalSettings",
    "source": "address",
    "approvedCA": "name topCA certificateProfileInfo",
    "topCA": "cert",
    "approvedTSA": "name url cert",
    "member": "memberClass memberCode name subsystem",
    "memberClass": "code description",
    "subsystem": "subsystemCode subsystemName",
    "securityServer": "owner serverCode address authCertHash client",
    "globalSettings": "memberClass ocspFreshnessSeconds",
}
_OPTIONAL = {"approvedTSA", "subsystem", "client", "authCertHash"}


def _hold_to_schema(element: ElementTree.Element) -> None:
    name = element.tag.rpartition("}")[2]
    order = _ORDER.get(name, "").split()
    found = [child.tag for child in element]
    assert found == sorted(found, key=order.index), name
    assert set(order) - set(found) <= _OPTIONAL, name
    for child in element:
        _hold_to_schema(child)


def _certificate_of(url: str) -> bytes:
    host, _, port = url.removeprefix("https://").partition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


def _asic(world: XRoadWorld, message_id: str, more: str = "", **changes: str) -> str:
    named = {
        "queryId": message_id,
        "xRoadInstance": "LA",
        "memberClass": "GOV",
        "memberCode": "MOF",
        "subsystemCode": "budget",
        **changes,
    }
    return f"/asic?{urlencode({k: v for k, v in named.items() if v})}{more}"


def _containers(data: bytes, folder: Path) -> dict[str, ExportVerdict]:
    """The containers of an archive, each verified."""
    folder.mkdir()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return {path.name: verify_export(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("more", "suffix", "entries"),
    [("", "", 2), ("&requestOnly", "-request", 1), ("&responseOnly&force", "-response", 1)],
)
def test_an_application_fetches_its_evidence(
    world: XRoadWorld, tmp_path: Path, more: str, suffix: str, entries: int
) -> None:
    """Right after the call, an archive with a signed container that verifies by itself."""
    message_id = f"evidence-{entries}{suffix}-{len(more)}"
    assert world.call(fields=(("X-Road-Id", message_id),)).status == 200
    got = world.get(_asic(world, message_id, more))
    assert (got.status, got.value("content-type")) == (200, "application/zip"), got.body
    assert got.value("content-disposition") == f'attachment; filename="{message_id}{suffix}.zip"'
    ((name, verdict),) = _containers(got.body, tmp_path / "got").items()
    assert re.fullmatch(rf"{message_id}{suffix}-[0-9]+\.asice", name)
    assert verdict.findings == ()
    assert (verdict.entries, verdict.opened, verdict.signatures) == (entries,) * 3
    assert (verdict.signed_by or "").startswith("LA/GOV/MOF, CAdES-B-")


def test_unique_gives_the_one_container(world: XRoadWorld, tmp_path: Path) -> None:
    """With unique, the container itself; stock openssl verifies it with the shell script in it."""
    assert world.call(fields=(("X-Road-Id", "only-one"),)).status == 200
    got = world.get(_asic(world, "only-one", "&responseOnly&unique"))
    assert (got.status, got.value("content-type")) == (200, "application/vnd.etsi.asic-e+zip")
    assert re.search(
        r'filename="only-one-response-[0-9]+\.asice"', got.value("content-disposition")
    )
    file = tmp_path / "ຫຼັກຖານ.asice"
    file.write_bytes(got.body)
    assert verify_export(file, authorities=world.world.pki.authorities).findings == ()
    script = tmp_path / "verify.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        ["sh", script, "-c", world.world.authorities, file], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "BAD" not in done.stdout


def test_unique_is_refused_when_several_exchanges_have_the_id(world: XRoadWorld) -> None:
    """One id for calls of two services: one archive with a container each, and none is unique."""
    for service in (ECHO, CLOSED):
        world.call(fields=(("X-Road-Id", "twice"),), service=service)
    got = world.get(_asic(world, "twice", "&requestOnly"))
    with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
        assert len(archive.namelist()) == 2
    assert world.get(_asic(world, "twice", "&requestOnly&unique")).status == 409


def test_the_providers_application_fetches_its_side(world: XRoadWorld, tmp_path: Path) -> None:
    """The same exchange at the provider's server, asked for by the application that answered."""
    assert world.call(fields=(("X-Road-Id", "two-sides"),)).status == 200
    target = _asic(world, "two-sides", memberCode="MPI", subsystemCode="oda-mis")
    got = world.get(target, at=MPI)
    assert got.status == 200, got.body
    (verdict,) = _containers(got.body, tmp_path / "got").values()
    assert (verdict.entries, verdict.findings) == (2, ())
    assert (verdict.signed_by or "").startswith("LA/GOV/MPI")


@pytest.mark.parametrize(
    ("more", "changes", "status", "message"),
    [
        ("", {"queryId": ""}, 400, 'Parameter "queryId" must be specified.'),
        ("", {"memberClass": ""}, 400, 'Parameter "memberClass" must be specified.'),
        (
            "&requestOnly&responseOnly",
            {},
            400,
            'Parameters "requestOnly" and "responseOnly" cannot be used at the same time.',
        ),
        (
            "&unique",
            {},
            400,
            'Parameter "unique" not applicable without "requestOnly" or "responseOnly".',
        ),
        ("", {"queryId": "never-sent"}, 404, "No signed documents found"),
        ("", {"subsystemCode": "vault"}, 401, "LA/GOV/MOF/vault must connect over HTTPS"),
        (
            "",
            {"subsystemCode": "nobody"},
            404,
            "LA/GOV/MOF/nobody is not an application of this security server",
        ),
    ],
)
def test_evidence_is_refused_in_x_roads_words(
    world: XRoadWorld, more: str, changes: dict[str, str], status: int, message: str
) -> None:
    """Plain text with X-Road's statuses; nobody gets the evidence of another application."""
    got = world.get(_asic(world, "whatever", more, **changes))
    assert (got.status, got.body.decode()) == (status, message)
    assert got.value("content-type") == "text/plain;charset=utf-8"


def test_an_unknown_client_is_500_by_profile(world: XRoadWorld) -> None:
    """X-Road's literal status, where the profile asks for it; a missing parameter stays 400."""
    assert world.get(_asic(world, "any"), at=MOIC).status == 500
    assert world.get(_asic(world, ""), at=MOIC).status == 400


def test_evidence_has_a_bound(world: XRoadWorld) -> None:
    """More records of one message id than fit are refused; each side's alone still fit."""
    for _ in range(33):
        assert world.call(fields=(("X-Road-Id", "many"),)).status == 200
    got = world.get(_asic(world, "many"))
    assert got.status == 413
    assert b"saphan audit export" in got.body
    assert world.get(_asic(world, "many", "&responseOnly")).status == 200


def test_evidence_is_its_applications_alone(world: XRoadWorld) -> None:
    """An exchange of BUDGET is not found for VAULT, which shows its own certificate."""
    assert world.call(fields=(("X-Road-Id", "budgets-own"),)).status == 200
    context = ssl.create_default_context(cafile=str(world.world.authorities))
    context.check_hostname = False
    folder = world.world.directory / "applications"
    context.load_cert_chain(folder / "MOF-vault.pem", folder / "MOF-vault.key")
    target = _asic(world, "budgets-own", subsystemCode="vault")
    answer = exchange(world.server(MOF).url("https"), "GET", target, {}, None, context)
    assert (answer.status, answer.body) == (404, b"No signed documents found")


def test_who_fetched_evidence_is_recorded(world: XRoadWorld) -> None:
    """Handing evidence out is an entry with client and message id; so is a refusal."""
    assert world.call(fields=(("X-Road-Id", "fetched"),)).status == 200
    assert world.get(_asic(world, "fetched")).status == 200
    *_, last = world.hits(MOF, id="fetched")
    assert (last.kind, last.side, last.client) == ("system", "server", str(BUDGET))
    world.get(_asic(world, "fetched", subsystemCode="vault"))
    *_, last = world.hits(MOF, problem="TlsRequired", client=str(x_road.VAULT))
    assert (last.kind, last.side) == ("refusal", "server")


def test_pages_take_get_only(world: XRoadWorld) -> None:
    """Another method is refused; what a client posts to /listClients starts nothing."""
    got = world.get("/listClients", method="POST", body=b"")
    assert (got.status, got.value("x-road-error")) == (405, "Server.ClientProxy.InvalidRequest")


def test_govstacks_form_does_not_depend_on_the_profile(world: XRoadWorld) -> None:
    """X-Road's literal 500 is X-Road's: GovStack's file declares 400 for what the caller mends."""
    headers = {"X-GovStack-Client": str(TRADE)}
    base, address = "/r1/LA/GOV/MPI/oda-mis", world.server(MOIC).url("http")
    there = exchange(address, "GET", f"{base}/getOpenAPI?serviceCode=echo", headers)
    assert (there.status, json.loads(there.json)["servers"]) == (200, [{"url": "/internal/v1"}])
    none = exchange(address, "GET", f"{base}/getOpenAPI?serviceCode=none", headers)
    assert (none.status, none.code) == (400, "UnknownService")
    no_client = exchange(address, "GET", f"/govstack{base}/listMethods", {})
    assert (no_client.status, no_client.code) == (400, "InvalidClientIdentifier")
