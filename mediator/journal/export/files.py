"""An export in a folder or a zip: written for its owner alone, read back within bounds."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from exchange.problems import Code, Problem
from mediator.journal.export.contents import DESCRIPTION

MAX_EXPORT_SIZE = 1 << 30


def write_export(files: Mapping[str, bytes], target: Path) -> None:
    """Write an export to a new folder, or to a zip when the name ends in ``.zip``.

    Only its owner may read it: it holds in clear what the journal keeps sealed.

    Raises:
        Problem: ``Conflict`` when the target exists.
    """
    if target.exists():
        raise Problem(
            Code.CONFLICT, where=str(target), detail="it exists already; choose another name"
        )
    if target.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getvalue())
        return
    target.mkdir(parents=True, mode=0o700)
    for name, data in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def is_export(path: Path) -> bool:
    return path.suffix == ".zip" or (path / DESCRIPTION).is_file()


def read_export(path: Path) -> dict[str, bytes]:
    """Read an export back.

    Raises:
        Problem: ``InvalidDocument`` when it is no export, or over 1 GiB.
    """
    files: dict[str, bytes] = {}
    total = 0
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    total += file.stat().st_size
                    _check_size(total, path)
                    files[file.relative_to(path).as_posix()] = file.read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    total += info.file_size
                    _check_size(total, path)
                    if info.filename in files:
                        raise zipfile.BadZipFile(f"{info.filename} is there twice")
                    files[info.filename] = archive.read(info)
    # RuntimeError (also NotImplementedError): encrypted, or packed in a way that is not known here
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail=f"cannot be read: {error}"
        ) from error
    return files


def _check_size(total: int, path: Path) -> None:
    if total > MAX_EXPORT_SIZE:
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="more than 1 GiB")
