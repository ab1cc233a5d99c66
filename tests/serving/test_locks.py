"""Rules of serving.locks: one at a time on a lock file, and the file stays."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

import pytest

from exchange.problems import Code, Problem
from serving.locks import in_turn, locked, take_lock


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """Whoever comes second is told what the first does, and about which folder."""
    descriptor = take_lock(tmp_path / "lock", "another process serves this folder")
    with pytest.raises(Problem) as caught:
        take_lock(tmp_path / "lock", "another process serves this folder")
    os.close(descriptor)
    assert (caught.value.code, caught.value.where) == (Code.CONFLICT, str(tmp_path))
    assert caught.value.detail == "another process serves this folder"


def test_a_lock_is_let_go_of_with_its_block(tmp_path: Path) -> None:
    """However the block ends."""
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "held"):
        _ = 1 // 0
    with (
        locked(tmp_path / "lock", "held"),
        pytest.raises(Problem),
        locked(tmp_path / "lock", "held"),
    ):
        pass


def test_a_lock_file_is_made_where_it_may_be(tmp_path: Path) -> None:
    """A folder that was never served has none, and whoever only looks makes none."""
    with pytest.raises(FileNotFoundError):
        take_lock(tmp_path / "lock", "held", create=False)
    assert not list(tmp_path.iterdir())
    os.close(take_lock(tmp_path / "lock", "held"))
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_one_waits_for_its_turn(tmp_path: Path) -> None:
    """The second has the lock when the first lets go of it, and not before."""
    inside, order = Event(), []

    def second() -> None:
        inside.set()
        with in_turn(tmp_path / "lock"):
            order.append("second")

    thread = Thread(target=second)
    with in_turn(tmp_path / "lock"):
        thread.start()
        assert inside.wait(30)
        thread.join(0.05)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
