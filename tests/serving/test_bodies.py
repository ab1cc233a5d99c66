"""Bodies: what stays in memory, what is spooled, what all of it together may take."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.problems import Code, Problem
from serving.bodies import (
    IN_MEMORY_BYTES,
    PIECE_BYTES,
    Room,
    Spooled,
    Spools,
    digest_of,
    in_memory,
    sha256_of,
)

LONG = os.urandom(PIECE_BYTES) * 5 + b"end"


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools.open(tmp_path / "spool", memory_bytes=4 << 20, spool_bytes=8 << 20)
    yield made
    made.close()


async def nameless(spools: Spools) -> int:
    """How many files without a name are open, when all threads are done."""
    await asyncio.sleep(0)  # the loop lets go of what it handed over last
    if spools._threads is not None:
        spools._threads.shutdown(wait=True)
        spools._threads = None
    gc.collect()
    folder, found = spools.directory, 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{folder}/")
        except OSError:
            continue
    return found


async def spooled(room: Room, *pieces: bytes) -> Spooled:
    spool = room.spool()
    for piece in pieces:
        await spool.write([piece])
    return spool.done()


async def test_the_disk_holds_no_spooled_body_in_clear(spools: Spools) -> None:
    """What lies on the disk is encrypted, equal parts of a body differently."""
    room = spools.room()
    marked = b"la-nid:7715500042 " * (2 * PIECE_BYTES // 18)
    body = await spooled(room, marked[:33], marked[33:])
    raw = os.pread(body._opened().descriptor, len(marked), 0)
    assert len(raw) == len(marked)
    assert b"7715500042" not in raw
    assert raw[: PIECE_BYTES // 2] not in raw[PIECE_BYTES // 2 :]
    assert await body.load() == marked


async def test_a_spooled_body_is_what_was_written(spools: Spools, tmp_path: Path) -> None:
    """Length, digest, pieces and any part, whatever the cuts were; and nothing has a name."""
    room = spools.room()
    body = await spooled(room, LONG[:7], LONG[7:600_000], LONG[600_000:])
    assert (len(body), body.sha256) == (len(LONG), hashlib.sha256(LONG).digest())
    assert await body.load() == LONG
    assert b"".join([piece async for piece in body.pieces()]) == LONG
    assert await body.read(len(LONG) - 2, 100) == b"nd"
    assert sha256_of(body) == sha256_of(LONG)
    assert await digest_of(body, "sha512") == await digest_of(LONG, "sha512")
    assert list((tmp_path / "spool").iterdir()) == []
    assert await nameless(spools) == 1
    with pytest.raises(TypeError):
        in_memory(body)
    room.end()


async def test_everything_ends_with_the_room(spools: Spools) -> None:
    """Whole bodies, one that is still coming, and what was counted; twice changes nothing."""
    room = spools.room()
    body = await spooled(room, LONG)
    coming = room.spool(1 << 20)
    await coming.write([LONG])
    room.hold(1000)
    assert (spools.in_memory, spools.on_disk) == (1000, 2 * len(LONG))
    for _ in range(2):
        room.end()
        assert (spools.in_memory, spools.on_disk) == (0, 0)
    with pytest.raises(ValueError, match="ended"):
        await body.load()
    assert await nameless(spools) == 0


async def test_a_read_under_way_outlives_the_room(spools: Spools) -> None:
    """The descriptor is closed behind the last thread that uses it, never under it."""
    room = spools.room()
    body = await spooled(room, LONG)
    running = asyncio.ensure_future(body.load())
    await asyncio.sleep(0)  # its thread has the file now
    room.end()
    assert await running == LONG


async def test_what_a_server_makes_is_spooled_when_it_is_long(spools: Spools) -> None:
    """A short one stays what it is; both are counted."""
    room = spools.room()
    short = await room.take(b"short")
    long = await room.take(LONG)
    assert short == b"short"
    assert isinstance(long, Spooled)
    assert await long.load() == LONG
    assert (spools.in_memory, spools.on_disk) == (5, len(LONG))
    room.end()


async def test_memory_and_disk_are_bounded_over_all_rooms(spools: Spools) -> None:
    """What does not fit is refused with when to come again, and takes nothing."""
    first, second = spools.room(), spools.room()
    first.hold(4 << 20)
    first.spool(8 << 20)
    for take in (lambda: second.hold(1), lambda: second.spool(1)):
        with pytest.raises(Problem) as caught:
            take()
        assert caught.value.code is Code.OVERLOADED
        assert caught.value.facts["retry_after_s"] == 2
    first.end()
    second.hold(4 << 20)
    second.spool(8 << 20)
    second.end()
    assert (spools.in_memory, spools.on_disk) == (0, 0)


async def test_a_body_that_outgrows_the_bound_is_refused_when_it_does(spools: Spools) -> None:
    """Of an unknown length, each piece is counted before it is written."""
    room = spools.room()
    spool = room.spool()
    await spool.write([bytes(8 << 20)])
    with pytest.raises(Problem) as caught:
        await spool.write([b"x"])
    assert caught.value.code is Code.OVERLOADED
    room.end()
    assert spools.on_disk == 0


async def test_the_reserve_of_the_disk_is_left_alone(tmp_path: Path) -> None:
    """A body that would eat into it is refused before a byte is written."""
    spools = Spools.open(tmp_path, reserve_bytes=1 << 60)
    room = spools.room()
    with pytest.raises(Problem) as caught:
        await room.spool().write([LONG])
    assert caught.value.code is Code.OVERLOADED
    assert "full" in caught.value.detail
    assert await nameless(spools) == 0
    room.end()
    spools.close()


async def test_a_full_disk_is_told_and_leaves_nothing(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system says so in the middle of a body."""
    room = spools.room()
    spool = room.spool()
    await spool.write([LONG])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Problem) as caught:
        await spool.write([LONG])
    assert (caught.value.code, caught.value.where) == (Code.OVERLOADED, "spool")
    room.end()
    assert spools.on_disk == 0
    del spool, caught
    assert await nameless(spools) == 0


async def test_without_a_folder_no_long_body_is_taken() -> None:
    """A listener that serves short ones only needs none."""
    room = Spools().room()
    with pytest.raises(Problem) as caught:
        await room.spool().write([bytes(IN_MEMORY_BYTES + 1)])
    assert caught.value.code is Code.OVERLOADED


def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "spool").write_text("")
    with pytest.raises(Problem) as caught:
        Spools.open(tmp_path / "spool")
    assert caught.value.code is Code.INVALID_SETTINGS


async def test_one_caller_has_its_share_and_the_others_go_on(tmp_path: Path) -> None:
    """With all its exchanges together, in memory and on disk; what ends gives its part back."""
    spools = Spools.open(tmp_path, memory_bytes=4 << 20, spool_bytes=8 << 20, share=0.5)
    rooms = [spools.room() for _ in range(4)]
    greedy, again, other, nobody = rooms
    for room, name in ((greedy, "a"), (again, "a"), (other, "b")):
        room.belongs_to(name)
    greedy.hold(2 << 20)
    greedy.reserve(3 << 20)
    for refused in (lambda: again.hold(1), lambda: again.spool((1 << 20) + 1)):
        with pytest.raises(Problem) as caught:
            refused()
        assert caught.value.code is Code.OVERLOADED
        assert "bodies of a" in caught.value.detail
    other.hold(1 << 20)
    other.spool(4 << 20)
    nobody.hold(1 << 20)
    greedy.release(1 << 20)
    again.hold(1 << 20)
    greedy.end()
    again.hold(1 << 20)
    for room in rooms:
        room.end()
        room.end()
    assert (spools.in_memory, spools.callers) == (0, {})
    spools.close()
