"""Where an export is kept: a container, a plain zip or a folder; written for its owner alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from exchange.evidence import asic
from exchange.problems import Code, Problem
from mediator.journal.export.contents import DESCRIPTION
from mediator.journal.export.signing import Signer, signed, unsigned

CONTAINER_SUFFIX = ".asice"
_ARCHIVES = (CONTAINER_SUFFIX, ".zip")


def write_export(
    files: Mapping[str, bytes], target: Path, signer: Signer | None, at: datetime
) -> None:
    """Write an export into a new container (``.asice``), a new zip or a new folder.

    Only its owner may read it, since it holds in clear what the journal keeps sealed.

    Args:
        signer: who signs it; None marks it as not signed.
        at: the present.

    Raises:
        Problem: ``Conflict`` when the target exists; ``InvalidDocument`` for a container without a
            signer.
    """
    if signer is None and target.suffix == CONTAINER_SUFFIX:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=str(target),
            detail=f"a container ({CONTAINER_SUFFIX}) is signed: give a seal key and its "
            "certificate, or name a .zip or a folder, which are marked as not signed",
        )
    whole = unsigned(files) if signer is None else signed(files, signer, at)
    try:
        if target.suffix in _ARCHIVES:
            _write(target, asic.pack(whole))
            return
        target.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise Problem(
            Code.CONFLICT, where=str(target), detail="it exists already; choose another name"
        ) from error
    for name, data in whole.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:  # such as a full disk: half a file is evidence of nothing
        with contextlib.suppress(OSError):
            path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def is_export(path: Path) -> bool:
    """Whether this is named like an export, or a folder that holds one."""
    return path.suffix in _ARCHIVES or (path / DESCRIPTION).is_file()


def read_export(path: Path) -> dict[str, bytes]:
    """Read an export back, within the bounds of :mod:`exchange.evidence.asic`.

    Raises:
        Problem: ``InvalidDocument`` when it is no export, too large, or holds what a container
            must not.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        with path.open("rb") as file:
            return asic.unpack(file, str(path))
    except OSError as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail=f"cannot be read: {error}"
        ) from error


def _read_folder(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise Problem(
                Code.INVALID_DOCUMENT, where=f"{path}: {name[:80]}", detail="is no plain file"
            )
        if file.is_file():
            asic.check_name(name)
            total += file.stat().st_size
            if total > asic.MAX_BYTES or len(files) >= asic.MAX_FILES:
                raise Problem(
                    Code.INVALID_DOCUMENT,
                    where=str(path),
                    detail=f"more than {asic.MAX_BYTES >> 20} MiB or {asic.MAX_FILES} files",
                )
            files[name] = file.read_bytes()
    return files
