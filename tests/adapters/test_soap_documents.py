"""What a WSDL may fetch, and the copy that is kept of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from adapters import awaiting, http, kinds
from adapters.findings import Finding
from adapters.soap import documents as module
from adapters.soap.documents import Documents
from adapters.soap.wsdl import BadWsdl, read_contract
from console.cli.adapter import adapter
from console.reference_world.trade_portal import FOLDER
from console.reference_world.trade_portal.service import TradePortal
from exchange.problems import Code, Problem
from tests.adapters.every_type import NAMESPACE, SCHEMA, write_wsdl, wsdl
from tests.adapters.trade import MAPPING, Asker


class Host:
    """Serves documents by their paths, and remembers what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.missed = Event()
        self.authorization: list[str | None] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                host.authorization.append(self.headers.get("authorization"))
                status, headers, body = host.pages.get(self.path, (404, {}, b""))
                if status == 404:
                    host.missed.set()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def page(self, path: str, body: str, status: int = 200, **headers: str) -> None:
        self.pages[path] = (status, headers, body.encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    running = Host()
    yield running
    running.close()


@pytest.fixture
def other() -> Iterator[Host]:
    running = Host()
    yield running
    running.close()


def _importing(location: str) -> str:
    schema = (
        "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
        f"<xs:import namespace='{NAMESPACE}' schemaLocation='{location}'/></xs:schema>"
    )
    return wsdl(schema)


def test_imports_of_the_same_host_are_read(host: Host) -> None:
    """Relative to the document that names them."""
    host.page("/a/every.wsdl", _importing("types/every.xsd"))
    host.page("/a/types/every.xsd", SCHEMA)
    contract = read_contract(Documents(f"{host.url}/a/every.wsdl"))
    assert "Node" in contract.types
    assert host.asked == ["/a/every.wsdl", "/a/types/every.xsd"]


def test_nothing_is_fetched_from_a_host_that_was_not_named(host: Host, other: Host) -> None:
    """A WSDL does not decide whom this server asks; a redirect does not either."""
    host.page("/every.wsdl", _importing(f"{other.url}/every.xsd"))
    host.page("/moved.wsdl", _importing("moved.xsd"))
    host.page("/moved.xsd", "", 302, location=f"{other.url}/every.xsd")
    other.page("/every.xsd", SCHEMA)
    for path in ("/every.wsdl", "/moved.wsdl"):
        with pytest.raises(BadWsdl):
            read_contract(Documents(host.url + path))
    assert other.asked == []


def test_a_document_type_fetches_nothing(host: Host, other: Host) -> None:
    """Neither an entity nor an external subset is looked for."""
    for text in (
        f"<!DOCTYPE a SYSTEM '{other.url}/a.dtd'>{wsdl()}",
        f"<!DOCTYPE a [<!ENTITY % p SYSTEM '{other.url}/p'> %p;]>{wsdl()}",
    ):
        host.page("/every.wsdl", text)
        with pytest.raises(BadWsdl, match="document type"):
            read_contract(Documents(f"{host.url}/every.wsdl"))
    assert other.asked == []


@pytest.mark.parametrize(
    "location",
    ["../secret.xsd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x.xsd", "link.xsd"],
)
def test_a_file_imports_only_from_its_folder(tmp_path: Path, location: str) -> None:
    """No path, address or symbolic link leads out of it."""
    (tmp_path / "secret.xsd").write_text(SCHEMA, "utf-8")
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "link.xsd").symlink_to(tmp_path / "secret.xsd")
    with pytest.raises(BadWsdl):
        read_contract(Documents(write_wsdl(folder, _importing(location))))


def test_a_file_imports_from_the_folder_of_its_mapping(tmp_path: Path) -> None:
    """Where the WSDL lies below it, as in `wsdl/` beside `xsd/`; the next step is told else."""
    (tmp_path / "wsdl").mkdir()
    (tmp_path / "xsd").mkdir()
    (tmp_path / "xsd" / "every.xsd").write_text(SCHEMA, "utf-8")
    source = write_wsdl(tmp_path / "wsdl", _importing("../xsd/every.xsd"))
    assert "Node" in read_contract(Documents(source, folder=tmp_path)).types
    for folder in (None, tmp_path / "xsd"):
        with pytest.raises(BadWsdl, match="put the mapping into the folder"):
            read_contract(Documents(source, folder=folder))
    mapping = tmp_path / "every.yaml"
    result = CliRunner().invoke(adapter, ["scan", source, "-o", str(mapping)])
    assert result.exit_code == 0, result.output
    assert kinds.read(mapping).services


def test_a_well_known_schema_is_not_fetched(tmp_path: Path) -> None:
    """That of media types, which services with attachments import by its address."""
    mime = "http://www.w3.org/2005/05/xmlmime"
    schema = (
        f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns:m='{mime}'"
        f" targetNamespace='{NAMESPACE}'><xs:import namespace='{mime}' schemaLocation='{mime}'/>"
        "<xs:element name='Ask'><xs:complexType><xs:sequence>"
        "<xs:element name='scan' type='m:base64Binary'/></xs:sequence></xs:complexType>"
        "</xs:element></xs:schema>"
    )
    types = read_contract(Documents(write_wsdl(tmp_path, wsdl(schema)))).types
    assert [one.name for one in types["base64Binary"].members] == ["contentType", "value"]


def test_documents_are_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In number and in bytes; a chain of imports comes to an end."""
    for index in range(module.MAX_DOCUMENTS + 1):
        chain = (
            f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:{index}'>"
            f"<xs:import namespace='urn:{index + 1}' schemaLocation='{index + 1}.xsd'/></xs:schema>"
        )
        host.page(f"/{index}.xsd", chain)
    host.page("/every.wsdl", _importing("0.xsd").replace(NAMESPACE, "urn:0", 1))
    with pytest.raises(BadWsdl):
        read_contract(Documents(f"{host.url}/every.wsdl"))
    assert len(host.asked) <= module.MAX_DOCUMENTS
    monkeypatch.setattr(module, "MAX_BYTES", 2_000)
    host.page("/large.wsdl", wsdl())
    with pytest.raises(BadWsdl, match="more than 2,000 bytes"):
        read_contract(Documents(f"{host.url}/large.wsdl"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<html/>",
        "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'/>",
        wsdl("<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'><xs:nonsense/></xs:schema>"),
        wsdl(SCHEMA.replace('type="e:Few"', 'type="e:Gone"')),
        wsdl("<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'/>"),
        "<a>" * 300 + "</a>" * 300,
    ],
)
def test_what_is_no_wsdl_is_told(tmp_path: Path, text: str) -> None:
    """One kind of failure, whatever the library stumbles over."""
    with pytest.raises(BadWsdl):
        read_contract(Documents(write_wsdl(tmp_path, text)))


# Kept copies.


def _serve_trade(host: Host) -> None:
    for name in ("trade.wsdl", "trade.xsd"):
        host.page(f"/{name}", (FOLDER / name).read_text("utf-8"))


def _mapping(folder: Path, url: str) -> Path:
    path = folder / "trade.yaml"
    text = MAPPING.read_text("utf-8").replace("../trade_portal/trade.wsdl", url)
    path.write_text(text, "utf-8")
    return path


async def test_a_start_does_not_ask_the_host_of_a_wsdl_that_was_kept(
    host: Host, tmp_path: Path
) -> None:
    """What was fetched is kept beside the mapping, with what it imports; the check tells more."""
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    first = kinds.read(path).document("trade-procedures", {})
    host.pages.clear()
    asked = len(host.asked)
    with TradePortal() as portal:
        wrapping = kinds.read(path, waits=False)
        assert len(host.asked) == asked
        assert wrapping.document("trade-procedures", {}) == first
        opened = wrapping.open({"TRADE_PORTAL_URL": portal.address}, tmp_path)
        assert (await Asker(opened).get("/procedures/EXP-COF-01")).status == 200
        found = await _check(wrapping, portal, tmp_path)
        assert [one.warning for one in found] == [True]
        assert "cannot be fetched" in found[0].rule
        await opened.close()


async def _check(wrapping: kinds.Wrapping, portal: TradePortal, folder: Path) -> list[Finding]:
    how = kinds.Checking({}, True, {}, lambda count: None)
    return await wrapping.check({"TRADE_PORTAL_URL": portal.address}, folder, how)


def test_a_kept_copy_is_not_taken_for_another_address(host: Host, tmp_path: Path) -> None:
    """Then the WSDL is needed, which is told with a next step."""
    _serve_trade(host)
    kinds.read(_mapping(tmp_path, f"{host.url}/trade.wsdl"))
    host.pages.clear()
    with pytest.raises(Problem) as caught:
        kinds.read(_mapping(tmp_path, f"{host.url}/other.wsdl"))
    assert caught.value.code is Code.SOURCE_FAILED
    assert "save it beside the mapping" in caught.value.detail


@pytest.mark.parametrize("left", ["", "{}", '{"saphan_kept_wsdl": 2}', "[1]"])
def test_a_damaged_copy_is_told_and_not_replaced(host: Host, tmp_path: Path, left: str) -> None:
    """What was published rests on it: what the host has today is not taken in its place."""
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    kinds.read(path)
    asked = len(host.asked)
    copy = tmp_path / "trade.kept-wsdl.json"
    copy.write_text(left)
    with pytest.raises(Problem) as caught:
        kinds.read(path)
    assert caught.value.code is Code.SOURCE_FAILED
    assert "remove it" in caught.value.detail
    assert (copy.read_text(), len(host.asked)) == (left, asked)


def test_a_changed_wsdl_is_told_and_taken_when_the_kept_one_is_removed(
    host: Host, tmp_path: Path
) -> None:
    """What was published rests on the kept one: the host does not change it behind the owner."""
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    first = kinds.read(path).document("trade-procedures", {})
    changed = (FOLDER / "trade.xsd").read_text("utf-8").replace('value="TRANSIT"', 'value="OTHER"')
    host.page("/trade.xsd", changed)
    assert kinds.read(path).document("trade-procedures", {}) == first
    result = CliRunner().invoke(adapter, ["drift", str(path), "--json"])
    assert result.exit_code == 1
    told = {one["place"]: one for one in json.loads(result.stdout)["drift"]}
    place = "FindProcedures.procedures.procedure.direction"
    assert told[place]["words"] == "allows more now (values)"
    assert told[place]["breaks"]
    (tmp_path / "trade.kept-wsdl.json").unlink()
    assert kinds.read(path).document("trade-procedures", {}) != first
    assert CliRunner().invoke(adapter, ["drift", str(path)]).exit_code == 0


async def test_the_check_tells_what_of_a_changed_wsdl_breaks_the_mapping(
    host: Host, tmp_path: Path
) -> None:
    """Besides what it finds in the answers."""
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    kinds.read(path)
    changed = (FOLDER / "trade.xsd").read_text("utf-8")
    host.page("/trade.xsd", changed.replace('name="authority"', 'name="office"'))
    with TradePortal() as portal:
        found = await _check(kinds.read(path), portal, tmp_path)
    places = {one.where for one in found if one.type == "drift" and not one.warning}
    assert "GetProcedure.procedure.authority" in places


def test_what_is_not_at_hand_is_not_waited_for(host: Host, tmp_path: Path) -> None:
    """A start asks nobody: it is told at once that the WSDL is needed."""
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    with pytest.raises(Problem) as caught:
        kinds.read(path, waits=False)
    assert caught.value.code is Code.SOURCE_FAILED
    assert host.asked == []


async def test_an_adapter_starts_without_its_wsdl_and_recovers_by_itself(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers and health are told meanwhile, without where the source stands."""
    monkeypatch.setattr(awaiting, "RETRY_S", 0.01)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    with TradePortal() as portal:
        monkeypatch.setenv("TRADE_PORTAL_URL", portal.address)
        opened = awaiting.Awaiting(path)
        assert opened.begin() is None
        application = http.application(opened, opened.documents)
        async with TestClient(TestServer(application)) as client:
            arriving = asyncio.create_task(opened.run())
            for target in ("/trade-procedures/procedures", "/healthz"):
                refused = await client.get(target)
                assert refused.status in (502, 503)
                assert "127.0.0.1" not in await refused.text()
            assert await asyncio.to_thread(host.missed.wait, 60)
            _serve_trade(host)
            async with asyncio.timeout(60):
                await arriving
            assert (await client.get("/trade-procedures/procedures?most=1")).status == 200
            assert (await client.get("/trade-procedures/openapi.json")).status == 200
            assert (await client.get("/other/procedures")).status == 404


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "/etc/passwd", "https://127.0.0.1/x.xsd", "ftp://a/x.xsd"]
)
@pytest.mark.parametrize("how", ["xs:import", "xs:include", "xs:redefine", "wsdl:import"])
def test_a_fetched_wsdl_reads_no_file_and_asks_no_other_host(
    host: Host, location: str, how: str
) -> None:
    """However it names the document: only its own origin is asked."""
    told = f"<{how} namespace='{NAMESPACE}' schemaLocation='{location}' location='{location}'/>"
    text = wsdl(f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>{told}</xs:schema>")
    if how == "wsdl:import":
        text = wsdl().replace("<types>", f"{told.replace('wsdl:', '')}<types>")
    host.page("/every.wsdl", text)
    with pytest.raises(BadWsdl):
        read_contract(Documents(f"{host.url}/every.wsdl"))
    assert {one for one in host.asked if one != "/every.wsdl"} <= {"/etc/passwd"}


def test_a_host_that_hangs_is_waited_for_no_longer_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that sends a little now and then: all documents together have one time."""
    monkeypatch.setattr(module, "FETCH_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.wsdl"
        stop = Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b" ")

        thread = Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(BadWsdl, match=r"within|timed out") as caught:
                read_contract(Documents(url))
            assert caught.value.away
        finally:
            stop.set()
            thread.join()


def test_a_secret_of_the_environment_is_sent_when_the_wsdl_is_fetched(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does not come into the kept copy."""
    monkeypatch.setenv("TRADE_TOKEN", "very-secret")
    _serve_trade(host)
    path = _mapping(tmp_path, f"{host.url}/trade.wsdl")
    text = path.read_text("utf-8").replace("  zone:", "  token: ${TRADE_TOKEN}\n  zone:")
    path.write_text(text, "utf-8")
    kinds.read(path)
    assert host.authorization == ["Bearer very-secret"] * 2
    assert "very-secret" not in (tmp_path / "trade.kept-wsdl.json").read_text("utf-8")
