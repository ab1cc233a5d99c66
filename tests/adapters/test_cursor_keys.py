"""What cursors are sealed with: kept beside the mapping, or given; the same after a restart."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

import schemas
from adapters import kinds
from adapters.answers.cursors import SECRET_OF_THIS_PROCESS
from adapters.cursor_keys import cursor_secret, key_path
from adapters.mapping.file import load_mapping, parse_mapping
from exchange.problems import Problem
from serving.backends import Backend, BackendRequest
from tests.adapters.legacy import MAPPING, TOTAL, Legacy, fill

PLAIN = MAPPING.format(limits="max_connections: 2")
GIVEN = MAPPING.format(limits="cursor_key: ${CURSOR_KEY}")
SMALL = """
saphan_mapping: 1
application: LA/GOV/MPI/legacy
title: {en: Items, lo: ລາຍການ}
source: {kind: sql, url: "${LEGACY_URL}"}
records: {item: {title: {en: Item, lo: ລາຍການ}, fields: {id: integer}}}
queries: {items: {sql: SELECT id FROM tbl_item, record: item}}
services:
  items:
    title: {en: Items, lo: ລາຍການ}
    endpoints:
      /items: {operation: list, query: items, title: {en: Items, lo: ລາຍການ}, order: [id]}
"""
UNWRITABLE = Path("/proc/self")
"""A folder in which nobody makes a file, also not root."""


def mapping_in(folder: Path, text: str = PLAIN) -> Path:
    path = folder / "items.yaml"
    path.write_text(text, "utf-8")
    return path


@asynccontextmanager
async def started(path: Path, environ: Mapping[str, str]) -> AsyncIterator[Backend]:
    """The service as a process starts it."""
    opened = kinds.open_source(kinds.read(path), path, environ)
    try:
        yield opened.backends["items"]
    finally:
        await opened.close()


async def page_of(backend: Backend, query: str) -> tuple[int, dict[str, object]]:
    request = BackendRequest("GET", "/items/by-date", query, (), b"")
    response = await backend.exchange(request, timeout_s=20)
    assert isinstance(response.body, bytes)
    return response.status, orjson.loads(response.body)


@pytest.mark.parametrize("text", [PLAIN, GIVEN], ids=["kept", "given"])
async def test_a_walk_goes_on_after_a_restart(legacy: Legacy, tmp_path: Path, text: str) -> None:
    """Each page by an adapter of its own: all records, each once, as in one walk."""
    path = mapping_in(tmp_path, text)
    environ = {"LEGACY_URL": legacy.url, "CURSOR_KEY": "a key of more than sixteen bytes"}
    codes: list[str] = []
    cursor: object = ""
    while cursor is not None:
        async with started(path, environ) as backend:
            query = f"fields=code&cursor={cursor}" if cursor else "fields=code"
            status, page = await page_of(backend, query)
            assert status == 200
            items, cursor = page["items"], page["next"]
            assert isinstance(items, list)
            codes += [item["code"] for item in items]
    assert len(codes) == TOTAL
    assert len(set(codes)) == TOTAL
    assert key_path(tmp_path, path.name).exists() == (text == PLAIN)


async def test_a_cursor_of_another_key_is_refused(tmp_path: Path) -> None:
    """Of a key that was replaced, or of another folder's mapping."""
    fill(url := f"sqlite:///{tmp_path}/legacy.db")
    environ = {"LEGACY_URL": url}
    path = mapping_in(tmp_path)
    async with started(path, environ) as backend:
        cursor = (await page_of(backend, ""))[1]["next"]
    key_path(tmp_path, path.name).unlink()
    async with started(path, environ) as backend:
        status, problem = await page_of(backend, f"cursor={cursor}")
    assert (status, problem["where"]) == (400, "query.cursor")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Readable by nobody else, and the same for whoever starts at the same moment."""
    path = mapping_in(tmp_path)
    code = (
        "import sys; from pathlib import Path; from adapters.cursor_keys import cursor_secret;"
        "from adapters.mapping.file import load_mapping; path = Path(sys.argv[1]);"
        "print(cursor_secret(load_mapping(path), {}, path.parent).hex())"
    )
    command = [sys.executable, "-c", code, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {one.communicate(timeout=60)[0].strip() for one in running}
    made = key_path(tmp_path, path.name)
    assert found == {made.read_bytes().hex()}
    assert len(made.read_bytes()) == 32
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert {one.name for one in tmp_path.iterdir()} == {"items.yaml", "items.cursor-key"}


def test_two_processes_continue_each_other(tmp_path: Path) -> None:
    """The next page is that of the mapping, not of the process that gave the cursor."""
    fill(f"sqlite:///{tmp_path}/legacy.db")
    path = mapping_in(tmp_path, SMALL)
    environ = os.environ | {"LEGACY_URL": f"sqlite:///{tmp_path}/legacy.db"}

    def tried(target: str) -> dict[str, object]:
        command = [
            sys.executable,
            "-m",
            "console.cli.main",
            "adapter",
            "try",
            str(path),
            target,
            "--json",
        ]
        done = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=True)
        body = json.loads(done.stdout)["body"]
        assert isinstance(body, dict)
        return body

    first = tried("/items?fields=id&page_size=2")
    second = tried(f"/items?fields=id&page_size=2&cursor={first['next']}")
    assert [first["items"], second["items"]] == [[{"id": 1}, {"id": 2}], [{"id": 3}, {"id": 4}]]


def test_a_mapping_without_pages_has_no_key(tmp_path: Path) -> None:
    """Nothing is made that nothing needs."""
    path = mapping_in(tmp_path, SMALL.replace(", order: [id]", ""))
    cursor_secret(load_mapping(path), {}, tmp_path)
    assert not key_path(tmp_path, path.name).exists()


@pytest.mark.parametrize("fault", ["read-only", "short", "a folder"])
def test_where_no_key_can_be_kept_that_of_the_process_stands_in(fault: str, tmp_path: Path) -> None:
    """Once told, with the file, why, and what to do; a file that is there is not replaced."""
    folder = UNWRITABLE if fault == "read-only" else tmp_path
    mapping = parse_mapping(PLAIN.encode(), "items.yaml")
    if fault == "short":
        key_path(folder, "items.yaml").write_bytes(b"x" * 31)
    elif fault == "a folder":
        key_path(folder, "items.yaml").mkdir()
    with capture_logs() as logs:
        assert cursor_secret(mapping, {}, folder) == SECRET_OF_THIS_PROCESS
    (told,) = logs
    assert (told["event"], told["log_level"]) == ("cursor_key_not_kept", "warning")
    assert told["path"] == str(key_path(folder, "items.yaml"))
    assert told["why"]
    assert "cursor_key" in told["next"]
    if fault == "short":
        assert key_path(folder, "items.yaml").read_bytes() == b"x" * 31


@pytest.mark.parametrize(
    ("environ", "said"),
    [({}, "no value for CURSOR_KEY"), ({"CURSOR_KEY": "short"}, "shorter than 16")],
)
def test_a_given_key_that_is_none_stops_the_start(
    environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    """Nothing else stands in for what the owner named."""
    with pytest.raises(Problem, match=said):
        cursor_secret(parse_mapping(GIVEN.encode()), environ, tmp_path)


def test_a_key_in_clear_is_refused() -> None:
    """It would be in every copy of the mapping."""
    with pytest.raises(Problem) as refused:
        parse_mapping(GIVEN.replace("${CURSOR_KEY}", "in-clear-and-long-enough").encode())
    assert refused.value.where.endswith("/source/cursor_key")


async def test_a_check_tells_and_makes_nothing(tmp_path: Path) -> None:
    """A key that cannot be read is a warning, one that is not given a fault; none is made."""
    fill(url := f"sqlite:///{tmp_path}/legacy.db")
    path = mapping_in(tmp_path, SMALL)
    how = kinds.Checking(schemas.load_all(), False, {}, lambda count: None)
    environ = {"LEGACY_URL": url}
    cursors = "cursors end with the process"
    found = await kinds.read(path).check(environ, tmp_path, how)
    assert not [one for one in found if cursors in one.rule]
    assert not key_path(tmp_path, path.name).exists()
    (told,) = [
        one for one in await kinds.read(path).check(environ, UNWRITABLE, how) if cursors in one.rule
    ]
    assert told.warning
    made = key_path(tmp_path, path.name)
    made.write_bytes(b"x" * 31)  # such as of a copy that was cut off
    found = await kinds.read(path).check(environ, tmp_path, how)
    (told,) = [one for one in found if cursors in one.rule]
    assert told.warning
    assert str(made) in told.rule
    made.write_bytes(b"x" * 32)
    found = await kinds.read(path).check(environ, tmp_path, how)
    assert not [one for one in found if cursors in one.rule]
    given = SMALL.replace("kind: sql", 'kind: sql, cursor_key: "${CURSOR_KEY}"')
    with pytest.raises(Problem, match="no value for CURSOR_KEY"):
        await kinds.read(mapping_in(tmp_path, given)).check(environ, tmp_path, how)
