"""The round-trip benchmark measures what it says; the baseline stands in for a second side."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from array import array
from pathlib import Path

import jsonschema
import orjson
import pytest
from click.testing import CliRunner

from benchmarks import backend
from benchmarks.load import Load, percentile, run_load
from benchmarks.processes import Children, cpu_s, peak_rss_bytes
from benchmarks.roundtrip import (
    Result,
    Scenario,
    Side,
    Slice,
    measure,
    measure_slice,
    report,
    roundtrip,
    scenarios,
    show,
    start_baseline,
)
from console.reference_world.processes import free_ports
from exchange.problems import Code, Problem


def second_baseline(children: Children, backend_url: str) -> Side:
    """A second pair of bare proxies, in the place of the servers under test."""
    return start_baseline(children, backend_url, "stand-in")


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_backend_answers_one_kibibyte_that_keeps_its_schema() -> None:
    """Exactly 1,024 bytes; the published document carries the same schema."""
    assert len(backend.BODY) == 1024
    jsonschema.Draft202012Validator(backend.SCHEMA).validate(orjson.loads(backend.BODY))
    document = orjson.loads(backend.openapi())
    answer = document["paths"][backend.PATH]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == backend.SCHEMA


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0), ([7], 0.99, 7), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.95, 95)],
)
def test_percentiles_are_nearest_rank(values: list[float], share: float, expected: float) -> None:
    """A value that was measured, never one between two."""
    assert percentile(array("d", values), share) == expected


def test_two_sides_are_measured_in_turns(tmp_path: Path) -> None:
    """Both sides in turn, no errors, every process accounted for, and none left."""
    pids: list[int] = []

    def first(children: Children, backend_url: str) -> Side:
        side = start_baseline(children, backend_url)
        pids.extend(side.pids.values())
        return side

    plan = [Scenario("throughput", 8, 0.2, 2), Scenario("latency", 1, 0.2, 1)]
    told: list[str] = []
    names, results = measure([first, second_baseline], plan, tmp_path, tell=told.append)
    assert names == ["baseline", "stand-in"]
    assert len(told) == 6
    document = report(names, results)
    assert document["errors"] == 0
    throughput, latency = document["scenarios"]
    assert len(throughput["ratios"]) == 2
    assert throughput["ratio"] == pytest.approx(sum(throughput["ratios"]) / 2, abs=0.001)
    for scenario in (throughput, latency):
        for side in scenario["sides"].values():
            assert side["requests_per_s"] > 0
            assert 0 < side["latency_ms"]["p50"] <= side["latency_ms"]["p95"]
            assert set(side["cpu_us_per_exchange"]) == {"consumer", "provider", "backend", "load"}
            assert 10 < side["peak_rss_mb"]["consumer"] < 200
    assert "ratio" in show(document)
    assert pids
    assert not any(alive(pid) for pid in pids)


def test_a_crowd_gets_its_answers(tmp_path: Path) -> None:
    """Hundreds of connections at once: no error, and each carried an exchange."""
    names, results = measure(
        [start_baseline], [Scenario("crowd", 300, 0.5, 1)], tmp_path, tell=lambda line: None
    )
    document = report(names, results)
    assert document["measured"] is None
    side = document["scenarios"][0]["sides"]["baseline"]
    assert side["errors"] == {}
    assert side["exchanges"] >= 300
    assert "Only the baseline" in show(document)


def test_a_dead_side_shows_errors_and_does_not_hang() -> None:
    """Failures are counted by kind; they are results, not exceptions."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    started = time.monotonic()
    side = Side("dead", url, {"consumer": os.getpid()})
    one = measure_slice(side, os.getpid(), 2, 0.5)
    assert one.requests_per_s == 0
    assert one.errors["ConnectFailed"] > 0
    assert time.monotonic() - started < 10
    result = Result(Scenario("dead", 2, 0.5, 1), {"dead": [one]})
    assert result.errors() == one.errors["ConnectFailed"]


def test_the_load_counts_answers_that_are_not_200() -> None:
    """An error page is not an answer."""

    async def run() -> dict[str, int]:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline() not in (b"\r\n", b""):
                pass
            writer.write(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        load = Load(f"http://127.0.0.1:{port}", "/", [], 2, 0.3, warm_up_s=0.1)
        result = await run_load(load)
        server.close()
        await server.wait_closed()
        assert result.answers == result.exchanges == 0
        return result.errors

    errors = asyncio.run(run())
    assert set(errors) == {"status 503"}


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1", "127.0.0.1:1"])
def test_the_load_refuses_an_address_it_cannot_use(url: str) -> None:
    """Before any connection is made."""
    with pytest.raises(ValueError, match="needs http://host:port"):
        asyncio.run(run_load(Load(url, "/", [], 1, 0.1)))


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import time; time.sleep(60)"])
def test_a_process_that_does_not_become_ready_is_a_problem(tmp_path: Path, program: str) -> None:
    """It is named, its output is kept in a file, and it is ended."""
    started = time.monotonic()
    with Children(tmp_path) as children:
        with pytest.raises(Problem) as caught:
            children.start("sleeper", [sys.executable, "-c", program], ready_s=0.5)
        assert caught.value.code is Code.INTERNAL_ERROR
        assert caught.value.where == "sleeper"
        assert Path(str(caught.value.facts["output"])).exists()
    assert time.monotonic() - started < 8


def test_children_end_with_their_context(tmp_path: Path) -> None:
    """Also when the context is left by an exception."""
    pid = 0

    def run() -> None:
        nonlocal pid
        with Children(tmp_path) as children:
            child = children.start("backend", [sys.executable, "-m", "benchmarks.backend"])
            pid = child.pid
            assert alive(pid)
            assert cpu_s(pid) > 0
            assert peak_rss_bytes(pid) > 1_000_000
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert not alive(pid)


def test_a_plan_keeps_to_its_time() -> None:
    """The slices of a side add up to what was asked, each long enough to measure."""
    plan = scenarios(10.0, 32, 1000, 4)
    assert [(s.name, s.connections) for s in plan] == [
        ("throughput", 32),
        ("latency", 1),
        ("crowd", 1000),
    ]
    assert plan[0].slice_s * plan[0].rounds == pytest.approx(10.0)
    assert sum(s.slice_s * s.rounds for s in plan) < 20
    assert all(s.slice_s >= 0.5 for s in scenarios(1.0, 1, 0, 20))
    assert len(scenarios(1.0, 1, 0, 1)) == 2


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """One bad round does not move it; a side without answers counts as nought."""

    def one(rate: float, cpu_us: float = 1.0) -> Slice:
        return Slice(rate, 1, 1, 1, 1, {}, 1, {"consumer": cpu_us, "load": cpu_us}, {"load": 1})

    rounds = {"baseline": [one(100), one(200), one(0)], "saphan": [one(50, 2), one(160, 2), one(9)]}
    result = Result(Scenario("throughput", 1, 1.0, 3), rounds)
    document = result.document(["baseline", "saphan"])
    assert document["ratios"] == [0.5, 0.8, 0.0]
    assert document["ratio"] == document["cpu_ratio"] == 0.5


def test_every_option_is_explained() -> None:
    """`saphan bench roundtrip --help` names what is measured and each option."""
    shown = CliRunner().invoke(roundtrip, ["--help"])
    assert shown.exit_code == 0
    for option in roundtrip.params:
        assert option.opts[0] in shown.output
        assert getattr(option, "help", None)
