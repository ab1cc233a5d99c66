"""An adapter as an HTTP service of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import schemas
from adapters import http
from adapters.mapping.file import parse_mapping
from adapters.records import Records
from console.reference_world.processes import free_ports
from tests.adapters.legacy import MAPPING, fill

Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "legacy.db"
    fill(f"sqlite:///{path}")
    return path


@pytest.fixture
async def client(database: Path) -> AsyncIterator[Client]:
    parsed = parse_mapping(MAPPING.format(limits="max_connections: 2").encode(), "legacy.yaml")
    records, shared = Records(parsed), schemas.load_all()
    opened = records.open({"LEGACY_URL": f"sqlite:///{database}"}, database.parent)
    documents = {code: records.document(code, shared) for code in records.services}
    app = http.application(opened, documents)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_service_answers_below_its_code(client: Client) -> None:
    """The path after the service's code is the path of the endpoint."""
    async with client.get("/items/items/P-001") as response:
        assert response.status == 200
        assert (await response.json())["title"] == {"lo": "ໂຄງການທີ 1"}
    async with client.get("/items/items?fields=code&page_size=1") as response:
        assert (await response.json())["items"] == [{"code": "P-001"}]
    async with client.head("/items/items") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_the_path_arrives_as_it_was_sent(client: Client) -> None:
    """A percent-encoded slash is part of a key, not of the path."""
    from yarl import URL

    url = client.make_url("/items/items/") / ""
    encoded = URL(f"{url.origin()}/items/items/%E0%BA%A5%E0%BA%B2%E0%BA%A7%2F1", encoded=True)
    async with client.session.get(encoded) as response:
        assert (await response.json())["code"] == "ລາວ/1"


@pytest.mark.parametrize("target", ["/%69tems/items", "http://10.0.0.1/items/items"])
async def test_a_path_is_cut_where_the_code_ends_or_not_at_all(client: Client, target: str) -> None:
    """A code in other letters, or behind an origin, is unknown: no wrong piece becomes a path."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"there is no service" in answer


async def test_document_and_health(client: Client, database: Path) -> None:
    """The document is served; health is that of the source."""
    async with client.get("/items/openapi.json") as response:
        assert (await response.json())["openapi"].startswith("3.1")
    async with client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"source": "ok"})
    os.rename(database, database.with_suffix(".away"))
    async with client.get("/healthz") as response:
        assert (response.status, (await response.json())["source"]) == (503, "failed")
    async with client.get("/items/items") as response:
        assert response.status == 502
        assert (await response.json())["type"] == "urn:saphan:problem:SourceFailed"


async def test_an_unknown_service_is_not_found(client: Client) -> None:
    """Only the services of the mapping are there."""
    for path in ("/", "/other", "/other/items", "/itemsitems"):
        async with client.get(path) as response:
            assert response.status == 404


async def test_the_process_stops_after_the_running_requests(tmp_path: Path, database: Path) -> None:
    """SIGTERM: what runs is answered, then the process ends with 0."""
    mapping = tmp_path / "legacy.yaml"
    text = MAPPING.format(limits="statement_timeout_s: 1").replace(
        "${LEGACY_URL}", "sqlite:///legacy.db"
    )
    mapping.write_text(text, encoding="utf-8")
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console.cli.main", "adapter", "serve", str(mapping), "--port",
        str(port), stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _until_it_answers(session)
            slow = asyncio.create_task(_status(session, "/items/slow"))
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert await slow == 504
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _status(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as response:
        return response.status


async def _until_it_answers(session: aiohttp.ClientSession) -> None:
    for _ in range(2_400):
        try:
            if await _status(session, "/healthz") == 200:
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)
    raise AssertionError("the adapter did not start")
