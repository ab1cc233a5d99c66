"""Specifications are fetched within bounds, and lead nobody into the network around."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest
import yaml

from console.instance.specifications import Sources
from exchange.problems import Code, Problem
from exchange.registrations import MAX_OPENAPI_BYTES
from schemas import load_all
from tests.world.small import OPENAPI

LOOPBACK = (ip_network("127.0.0.0/8"),)


class _Server(ThreadingHTTPServer):
    """Answers by the path; counts what reaches it."""

    daemon_threads = True
    seen: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", unquote_to_bytes(rest).decode("latin-1"))
            self.end_headers()
            return
        body = {
            "json": json.dumps(OPENAPI).encode(),
            "yaml": yaml.safe_dump(OPENAPI).encode(),
            "long": b" " * (MAX_OPENAPI_BYTES + 1),
            "html": b"<h1>secret of the inner network</h1>",
            "nothing": json.dumps(OPENAPI | {"paths": {}}).encode(),
        }.get(kind)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[_Server]:
    """A server of specifications on loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(url: str, sources: Sources) -> str:
    with pytest.raises(Problem) as caught:
        asyncio.run(sources.fetch(url))
    assert (caught.value.code, caught.value.status) == (Code.INVALID_DOCUMENT, 400)
    assert "secret" not in str(caught.value)
    return caught.value.detail


def test_json_and_yaml_are_fetched_where_a_network_was_allowed(web: _Server) -> None:
    """Both forms give the same document, also behind a redirect."""
    sources = Sources(networks=LOOPBACK, schemas=load_all())
    for path in ("json", "yaml", "to//json"):
        fetched = asyncio.run(sources.fetch(f"{web.url}/{path}"))
        assert json.loads(fetched.data) == OPENAPI


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_inner_addresses_are_not_connected_to(web: _Server, host: str) -> None:
    """However an inner address is written, nothing reaches it unless its network was allowed."""
    refusal(f"http://{host}:{web.server_port}/json", Sources())
    assert web.seen == []


def test_a_redirect_is_judged_like_the_first_address(web: _Server) -> None:
    """It leads to no network that was not allowed, to no file, and not on for ever."""
    sources = Sources(networks=LOOPBACK)
    assert "inner network" in refusal(f"{web.url}/to/http://10.1.2.3/json", sources)
    assert "inner network" in refusal(f"{web.url}/to/http://169.254.169.254/", sources)
    assert "redirects" in refusal(f"{web.url}/to/file:///etc/passwd", sources)
    again = "to/" * 5
    assert "redirects" in refusal(f"{web.url}/{again}json".replace("to/", "to//"), sources)


@pytest.mark.parametrize("host", ["１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1"])
def test_no_script_hides_an_inner_address_in_a_redirect(web: _Server, host: str) -> None:
    """What normalises to an address (UTS 46) is judged as the address that is connected to."""
    allowed = Sources(networks=(ip_network("127.0.0.9/32"),))
    with _Server(("127.0.0.9", 0), _Handler) as near:
        near.seen = []
        thread = threading.Thread(target=near.serve_forever)
        thread.start()
        try:
            hidden = f"http://{host}:{web.server_port}/json"
            refusal(f"http://127.0.0.9:{near.server_port}/to/{quote(hidden, safe='/:')}", allowed)
        finally:
            near.shutdown()
            thread.join()
    assert len(near.seen) == 1
    assert web.seen == []


def test_what_is_no_usable_document_is_refused(web: _Server) -> None:
    """Too long, another thing, without operations, or not there; nothing of it is told."""
    sources = Sources(networks=LOOPBACK, schemas=load_all())
    assert "2 MiB" in refusal(f"{web.url}/long", sources)
    assert "OpenAPI" in refusal(f"{web.url}/html", sources)
    assert "OpenAPI" in refusal(f"{web.url}/nothing", sources)
    assert "404" in refusal(f"{web.url}/missing", sources)


def test_files_are_read_from_named_folders_only(tmp_path: Path) -> None:
    """Links are followed before that is judged, and what is elsewhere is not told of."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "good.json").write_text(json.dumps(OPENAPI))
    (outside / "good.json").write_text(json.dumps(OPENAPI))
    (inside / "link.json").symlink_to(outside / "good.json")
    sources = Sources((inside,), schemas=load_all())
    assert asyncio.run(sources.fetch((inside / "good.json").as_uri())).data
    wanted = refusal((outside / "missing.json").as_uri(), sources)
    for path in (outside / "good.json", inside / "link.json", inside / "../out/good.json"):
        assert refusal(f"file://{path}", sources) == wanted
    assert refusal(f"file://{inside}", sources) == "is not a file"
