"""Previews wait for a decision: bounded, for a while, for whoever asked, read by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.once.vault import Vault
from mediator.once_only import previews
from mediator.once_only.preview_store import FILE, PreviewStore
from mediator.once_only.previews import KEPT_S, Previews

PORTAL, OFFICE = ApplicationId.parse("LA/GOV/DGC/portal"), ApplicationId.parse("LA/GOV/DGC/office")
SECRET = "ສົມສີ"
DOCUMENT = {"told": {"values": [{"element": "person.name", "value": SECRET}]}}
OUT = frozenset({"person.name"})


class Time:
    def __init__(self) -> None:
        self.unix_s = 1_800_000_000.0

    def unix(self) -> float:
        return self.unix_s


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], PreviewStore]:
    """Stores of one database, as two servers or two runs have them."""
    if request.param == "sqlite":
        return lambda: PreviewStore.sqlite(tmp_path / FILE)
    url = request.getfixturevalue("postgresql_url").replace("+psycopg", "")
    return lambda: PreviewStore.postgresql(url, "LA/GOV/DGC/ss1")


@pytest.fixture
async def open_previews(
    make_store: Callable[[], PreviewStore],
) -> AsyncIterator[Callable[..., Previews]]:
    opened: list[Previews] = []

    def make(clock: Any, key: bytes = bytes(32)) -> Previews:
        opened.append(Previews(make_store(), Vault(key), clock))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


async def refused(work: Any) -> Code:
    with pytest.raises(Problem) as caught:
        await work
    return Code(caught.value.code)


async def test_a_preview_is_found_by_whoever_asked_and_for_a_while(
    open_previews: Callable[..., Previews],
) -> None:
    """Neither by another application nor after its time, when it is deleted."""
    time = Time()
    kept = open_previews(time)
    await kept.put("a", PORTAL, DOCUMENT)
    found = await kept.find("a", PORTAL)
    assert (found.document, found.declined, found.recorded) == (DOCUMENT, None, False)
    assert await refused(kept.find("a", OFFICE)) is Code.NOT_FOUND
    assert await refused(kept.find("b", PORTAL)) is Code.NOT_FOUND
    time.unix_s += KEPT_S
    assert await refused(kept.find("a", PORTAL)) is Code.NOT_FOUND
    cleaning = asyncio.create_task(kept.run())
    while (await asyncio.to_thread(kept._store.totals, b"", 0.0)).kept:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    cleaning.cancel()


async def test_another_server_of_the_member_and_another_run_find_it(
    open_previews: Callable[..., Previews],
) -> None:
    """With the same key; the decision that came first stands, for both."""
    first, second = open_previews(Time()), open_previews(Time())
    await first.put("a", PORTAL, DOCUMENT)
    assert (await second.find("a", PORTAL)).document == DOCUMENT
    decided = await asyncio.gather(
        first.decide("a", PORTAL, OUT), second.decide("a", PORTAL, frozenset())
    )
    assert decided[0].declined == decided[1].declined
    assert not decided[0].recorded
    await second.recorded(decided[1])
    await first.close()
    again = await open_previews(Time()).find("a", PORTAL)
    assert (again.declined, again.recorded) == (decided[0].declined, True)
    stranger = open_previews(Time(), b"another key of thirty-two bytes!")
    assert await refused(stranger.find("a", PORTAL)) is Code.NOT_FOUND


async def test_nothing_is_read_without_the_key(tmp_path: Path) -> None:
    """Neither values nor who asked, nor what was decided, in any file."""
    kept = Previews(PreviewStore.sqlite(tmp_path / FILE), Vault(bytes(32)), Time())
    await kept.put("a", PORTAL, DOCUMENT)
    await kept.decide("a", PORTAL, OUT)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}  # noqa: ASYNC240
    assert set(files) >= {FILE, f"{FILE}-wal"}
    for name, data in files.items():
        for text in (SECRET.encode(), b"\\u0eaa", b"person.name", b"portal", b"DGC"):
            assert text not in data, (name, text)
    await kept.close()


async def test_one_application_does_not_take_the_place_of_all(
    open_previews: Callable[..., Previews], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own bound is met first; what has ended makes room again."""
    monkeypatch.setattr(previews, "MAX_KEPT", 3)
    monkeypatch.setattr(previews, "MAX_EACH", 2)
    time = Time()
    kept = open_previews(time)
    await kept.put("a", PORTAL, DOCUMENT)
    await kept.put("b", PORTAL, DOCUMENT)
    assert await refused(kept.check_room(PORTAL)) is Code.QUOTA_EXCEEDED
    await kept.check_room(OFFICE)
    await kept.put("c", OFFICE, DOCUMENT)
    assert await refused(kept.put("d", OFFICE, DOCUMENT)) is Code.OVERLOADED
    time.unix_s += KEPT_S
    await kept.put("d", PORTAL, DOCUMENT)


async def test_values_that_wait_have_a_bound_together(
    open_previews: Callable[..., Previews], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would exceed it is refused, however few they are; what has ended makes room again."""
    monkeypatch.setattr(previews, "MAX_BYTES", 1000)
    time = Time()
    kept = open_previews(time)
    await kept.put("a", PORTAL, {"told": "x" * 500})
    assert await refused(kept.put("b", PORTAL, {"told": "x" * 500})) is Code.OVERLOADED
    await kept.put("c", PORTAL, {"told": "x" * 100})
    time.unix_s += KEPT_S
    await kept.put("b", PORTAL, {"told": "x" * 500})


async def test_a_database_that_fails_is_told_and_taken_up_again(tmp_path: Path) -> None:
    """A preview is refused then, before anybody is asked; afterwards it is kept."""
    folder = tmp_path / "later"
    kept = Previews(PreviewStore.sqlite(folder / FILE), Vault(bytes(32)), Time())
    assert await refused(kept.check_room(PORTAL)) is Code.OVERLOADED
    folder.mkdir()
    await kept.put("a", PORTAL, DOCUMENT)
    assert (await kept.find("a", PORTAL)).document == DOCUMENT
    await kept.close()
