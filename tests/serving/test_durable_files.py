"""Rules of serving.durable_files: a file is replaced whole, durably, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.durable_files import replace_file, replacing


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    """The new content is in the file's place, and nothing else is in the folder."""
    path = tmp_path / "state.json"
    for data in (b"one", b"the other"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert _names(tmp_path) == ["state.json"]


def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    """A key is its owner's alone, a certificate everybody's."""
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "key", b"", mode=0o600)
        replace_file(tmp_path / "certificate", b"", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "certificate").stat().st_mode & 0o777 == 0o644


def test_a_file_stays_when_the_writing_fails(tmp_path: Path) -> None:
    """Half a content is nowhere: neither in the file nor in a draft."""
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["state.json"]


def test_a_file_stays_when_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not flushed to the disk takes no file's place."""
    path = tmp_path / "state.json"
    replace_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["state.json"]


def test_the_name_is_flushed_after_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft is flushed, then renamed, then the folder is flushed."""
    path, done, fsync = tmp_path / "state.json", [], os.fsync

    def noted(descriptor: int) -> None:
        done.append((os.path.isdir(f"/proc/self/fd/{descriptor}"), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    replace_file(path, b"new")
    assert done == [(False, False), (True, True)]
