"""HTTP APIs and folders of documents at fault: what callers are told meanwhile, and after.

As in test_faults_of_sources.py; what SOAP services do wrong is in test_soap_failures.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import orjson
import pytest

from adapters.answers.replies import problem_response
from adapters.documents.backend import OpenDocuments
from adapters.documents.kind import read as read_documents
from adapters.kinds import Opened
from adapters.mapping.reader import parse
from adapters.passing.kind import read as read_api
from console.reference_world.processes import free_ports
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import Body
from tests.adapters.legacy import Legacy, fill, items
from tests.adapters.test_documents import MAPPING as DOCUMENTS
from tests.adapters.test_documents import PDF

API = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Trade permits, lo: ໃບອະນຸຍາດ}
source: {kind: http, url: "${TRADE_URL}", max_connections: 3, failures_before_pause: 0}
services:
  permits:
    title: {en: Permits, lo: ໃບອະນຸຍາດ}
    endpoints:
      /permits:
        get:
          title: {en: Permits, lo: ໃບອະນຸຍາດ}
          backend: /permits.json
          answers: {200: {media_types: [application/json]}}
"""


class Server:
    """A web server with a folder, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "http.server", str(self.port), "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


Mend: TypeAlias = AbstractContextManager[None]


@contextmanager
def dead(server: Server) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    """It accepts connections and says nothing."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Its queue of connections is full: it is stopped, and others have come before."""
    with hanging(server):
        others = [socket.socket() for _ in range(20)]
        for one in others:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", server.port))
        yield
        for one in others:
            one.close()


def changed(name: str | None, content: bytes) -> Callable[[Server], Mend]:
    """What it gives is another thing; without a name it is gone."""

    @contextmanager
    def make(server: Server) -> Iterator[None]:
        path = server.folder / "permits.json"
        before = path.read_bytes()
        path.unlink()
        if name is not None:
            (server.folder / name).write_bytes(content)
        yield
        shutil.rmtree(path, ignore_errors=True)
        path.write_bytes(before)

    return make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "permits.json").write_bytes(b'[{"number":"P-1"}]')
    running = Server(tmp_path / "web")
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def others(tmp_path: Path) -> AsyncIterator[Callable[[], object]]:
    """Another source in the same process: asking it must give its records."""
    fill(f"sqlite:///{tmp_path}/legacy.db")
    adapter = Legacy("sqlite", f"sqlite:///{tmp_path}/legacy.db", None).adapter()

    async def ask() -> None:
        assert len(await items(adapter, "/items")) == 10

    yield ask
    await adapter.close()


async def ask(opened: Opened, path: str, timeout_s: float = 20) -> BackendResponse[Body]:
    (backend,) = opened.backends.values()
    return await backend.exchange(BackendRequest("GET", path, "", (), b""), timeout_s=timeout_s)


async def told(
    opened: Opened, path: str, codes: tuple[Code, ...], ask_others: object, timeout_s: float
) -> None:
    calls = [asyncio.create_task(ask(opened, path, timeout_s)) for _ in range(3)]
    assert callable(ask_others)
    for _ in range(3):
        await ask_others()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, Problem), answer
        assert answer.code in codes, answer
        body = orjson.loads(problem_response(answer).body)
        assert body["where"]
        assert body["detail"]
        assert answer.entry.remedy.en
        assert "127.0.0.1" not in str(body)


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        pytest.param(dead, (Code.BACKEND_UNREACHABLE,), id="dies"),
        pytest.param(hanging, (Code.BACKEND_TIMEOUT,), id="hangs"),
        pytest.param(full, (Code.BACKEND_TIMEOUT, Code.BACKEND_UNREACHABLE), id="is full"),
        pytest.param(changed("permits.html", b"<html>"), None, id="lost its page"),
    ],
)
async def test_an_api_that(
    make: Callable[[Server], Mend], codes: tuple[Code, ...] | None, server: Server, others: object
) -> None:
    """See the table; the same adapter answers when the fault is mended."""
    api = read_api(parse(API.encode(), "trade.yaml"))
    opened = api.open({"TRADE_URL": f"http://127.0.0.1:{server.port}"}, Path())
    assert (await ask(opened, "/permits")).status == 200
    with make(server):
        if codes is None:
            assert (await ask(opened, "/permits")).status == 404
        else:
            await told(opened, "/permits", codes, others, 2.0)
    assert bytes((await ask(opened, "/permits")).body) == b'[{"number":"P-1"}]'  # type: ignore[arg-type]
    await opened.close()


# Folders of documents.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "decrees"
    place.mkdir()
    (place / "b.pdf").write_bytes(PDF + b"two")
    os.utime(place / "b.pdf", (1_700_000_000,) * 2)
    (tmp_path / "index.csv").write_text("ແຟ້ມ,ເລກທີ,ຊື່,ລົງວັນທີ\nb.pdf,2/ລບ,ດຳລັດ,06/02/2020\n", "utf-8")
    return place


def _moved(path: Path) -> None:
    path.rename(path.with_name("away"))


def _back(path: Path) -> None:
    path.with_name("away").rename(path)


def index_of(text: str) -> tuple[Callable[[Path], None], Callable[[Path], None]]:
    def spoil(folder: Path) -> None:
        path = folder.with_name("index.csv")
        path.rename(folder.with_name("kept.csv"))
        if text:
            path.write_text(text, "utf-8")

    def mend(folder: Path) -> None:
        folder.with_name("kept.csv").rename(folder.with_name("index.csv"))

    return spoil, mend


HEADER = "ແຟ້ມ,ເລກທີ,ຊື່,ລົງວັນທີ\n"


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        pytest.param(_moved, _back, id="is away"),
        pytest.param(*index_of(""), id="has no index"),
        pytest.param(*index_of("ແຟ້ມ,ເລກທີ\nb.pdf,2\n"), id="has an index of other columns"),
        pytest.param(*index_of(HEADER + "b.pdf,2/ລບ,ດຳ\n"), id="has an index that is half saved"),
        pytest.param(
            *index_of(HEADER + "b.pdf,2,x,soon\n"), id="has an index with a word for a day"
        ),
    ],
)
async def test_a_folder_that(
    spoil: Callable[[Path], None], mend: Callable[[Path], None], folder: Path, others: object
) -> None:
    """Who comes first is told; the same adapter answers when the fault is mended."""
    documents = read_documents(parse(DOCUMENTS.encode(), "decrees.yaml"))
    spoil(folder)
    opened: OpenDocuments = documents.open({"DECREES": str(folder)}, folder.parent)
    await told(opened, "/documents", (Code.SOURCE_FAILED,), others, 20.0)
    mend(folder)
    async with asyncio.timeout(30):
        while True:  # the folder is looked at once a second
            try:
                answer = await ask(opened, "/documents")
            except Problem:
                await asyncio.sleep(0.1)
                continue
            break
    assert [one["name"] for one in orjson.loads(bytes(answer.body))["items"]] == ["b.pdf"]  # type: ignore[arg-type]
    await opened.close()
