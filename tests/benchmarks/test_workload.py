"""Workload and transfer measure what they say; the baseline stands in for the servers."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import jsonschema
import orjson
import pytest

from benchmarks import documents, transfer, workload
from benchmarks.paced import Pace, run_pace
from benchmarks.processes import Children
from benchmarks.sides import Side, start_baseline
from exchange.problems import Code, Problem


def test_the_mix_is_whole_and_has_the_sizes_that_it_names() -> None:
    """The shares add up to one; pages of records are as long as their name, within a tenth."""
    assert sum(share for _, _, share in workload.MIX) == pytest.approx(1.0)
    for name, path, _ in workload.MIX:
        number, unit = name.split(" ")
        size = int(number) * {"kB": 1000, "MB": 1_000_000}[unit]
        if "/records/" in path:
            found = len(documents.page(int(path.rpartition("/")[2])))
        else:
            found = int(path.rpartition("/")[2])
        assert found == pytest.approx(size, rel=0.1), name


def test_records_keep_the_published_schema() -> None:
    """What the backend answers is what its document says."""
    found = orjson.loads(documents.openapi())["paths"]["/records/{count}"]["get"]
    schema = found["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(documents.page(420)))


def test_every_request_of_the_pace_is_accounted_for(tmp_path: Path) -> None:
    """All that were due were sent; each was answered or is an error; each size is measured."""
    document = workload.measure([start_baseline], tmp_path, 20, 200, 1.0, tell=lambda _: None)
    side = document["sides"]["baseline"]
    assert (side["sent"], side["answered"], side["errors"]) == (200, 200, {})
    assert side["latency_ms"]["all"]["max"] >= side["latency_ms"]["all"]["p50"] > 0
    assert side["bytes"] > 200 * 2000
    assert "baseline: 200 of 200 answered" in workload.show(document)


async def test_bytes_of_answers_that_come_together_are_all_counted() -> None:
    """However many are under way: here each waits until all have asked."""
    connections, body = 8, b"x" * 1000
    asked, all_asked = 0, asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked == connections:
            all_asked.set()
        await all_asked.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await run_pace(Pace(url, [("/", 1.0)], [], connections, 1000, connections / 1000))
    assert (found.answered, found.bytes) == (connections, connections * len(body))


def test_a_request_that_is_refused_is_an_error(tmp_path: Path) -> None:
    """A status other than 200 counts as not answered."""
    with Children(tmp_path) as children:
        side = start_baseline(children, "http://127.0.0.1:1")
        pace = Pace(side.url, [("/records/1", 1.0)], [], 2, 20, 0.5)
        found = asyncio.run(run_pace(pace))
    assert found.answered == 0
    assert sum(found.errors.values()) == found.sent == 10


def test_a_body_goes_through_each_way(tmp_path: Path) -> None:
    """So many bytes arrive in both directions; speed, CPU and memory are told for each."""
    start = partial(start_baseline, streaming=True)
    document = transfer.measure([start], tmp_path, 3_000_000, 1, tell=lambda _: None)
    side = document["sides"]["baseline"]
    assert side["mb_per_s"]["answer"] > 0
    assert side["mb_per_s"]["request"] > 0
    assert side["peak_rss_mb"].keys() == {"consumer", "provider"}
    assert "ratio" not in document
    assert "3,000,000 bytes" in transfer.show(document)


def test_a_body_that_is_refused_is_a_problem(tmp_path: Path) -> None:
    """What did not arrive whole is not measured."""
    with Children(tmp_path) as children:
        side: Side = start_baseline(children, "http://127.0.0.1:1", streaming=True)
        with pytest.raises(Problem) as caught:
            transfer.move(side.url, "GET", 1000)
    assert caught.value.code is Code.INTERNAL_ERROR
