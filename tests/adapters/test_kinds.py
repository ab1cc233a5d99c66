"""What all kinds of sources have in common: a head, a kind, and libraries of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters import kinds
from adapters.mapping.reader import parse
from exchange.problems import Code, Problem

HEAD = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Trade, lo: ການຄ້າ}
"""
HTTP = (
    HEAD
    + """\
source: {kind: http, url: http://127.0.0.1:1}
services:
  rates:
    title: {en: Rates, lo: ອັດຕາ}
    endpoints:
      /rates:
        get:
          title: {en: Rates, lo: ອັດຕາ}
          answers: {200: {media_types: [text/csv]}}
"""
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "'kind'"),
        (HEAD + "source: {url: x}\n", "'kind'"),
        (HEAD + "source: {kind: gopher}\n", "no kind of the name 'gopher'"),
        ("- a\n", "must be a mapping"),
        (HTTP.replace("saphan_mapping: 1", "saphan_mapping: 2"), "not between"),
        (HTTP.replace("LA/GOV/MOIC/trade", "LA"), ""),
        (HTTP.partition("services:")[0] + "services: {}\n", "at least one service"),
    ],
)
def test_a_head_is_judged_whatever_the_kind(text: str, words: str) -> None:
    """An unknown kind names those that are known."""
    with pytest.raises(Problem) as caught:
        kinds.read_node(parse(text.encode(), "m.yaml"))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail


async def test_a_service_is_embedded_with_its_document(tmp_path: Path) -> None:
    """By its whole identifier, its code or, being the only one, by nothing."""
    (tmp_path / "m.yaml").write_text(HTTP, "utf-8")
    for service in ("rates", None):
        backend, document = kinds.Embedder({})(tmp_path / "m.yaml", service)
        assert b'"/rates"' in document
        await backend.close()
    with pytest.raises(Problem) as caught:
        kinds.Embedder({})(tmp_path / "m.yaml", "other")
    assert caught.value.code is Code.INVALID_MAPPING


def test_threads_that_embed_one_mapping_share_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections and its budget are counted once, also when services are made side by side."""
    path = tmp_path / "m.yaml"
    path.write_text(HTTP, "utf-8")
    opened, both = [], threading.Barrier(2, timeout=0.3)
    open_source = kinds.open_source

    def opening(*given: Any) -> kinds.Opened:
        with suppress(threading.BrokenBarrierError):  # who has to wait for the other comes alone
            both.wait()
        opened.append(open_source(*given))
        return opened[-1]

    monkeypatch.setattr(kinds, "open_source", opening)
    embed = kinds.Embedder({})
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(embed, [path, path]))
    assert len(opened) == 1


def test_a_kind_loads_its_own_libraries_only(tmp_path: Path) -> None:
    """A process that passes an API through has no database's library in memory."""
    (tmp_path / "m.yaml").write_text(HTTP, "utf-8")
    program = (
        "import sys; from pathlib import Path; from adapters import kinds;"
        f" kinds.Embedder({{}})(Path({str(tmp_path / 'm.yaml')!r}));"
        " print([one for one in ('sqlalchemy', 'sqlglot', 'zeep', 'dbf') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
