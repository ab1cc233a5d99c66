"""Microsoft Access databases (``.mdb``, ``.accdb``), read by mdbtools, which must be installed.

The program reads the file and never writes; it is started without a shell, in UTF-8, and bounded in
time and in what it may answer.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from adapters.mapping.model import FileTable
from adapters.sources.sheets import MAX_FILE_BYTES, Raw, Sheet, refuse

PROGRAM = "mdb-export"
_TIMEOUT_S = 120.0
_MOST = 4 * MAX_FILE_BYTES
_FORMS = ("-D", "%Y-%m-%d", "-T", "%Y-%m-%d %H:%M:%S", "-b", "strip")


def read_access(table: FileTable, path: Path) -> Sheet:
    """The table that ``table.sheet`` names.

    Raises:
        Problem: ``SourceFailed`` when mdbtools is not installed, or refuses the file or the table.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise refuse(path.name, "needs mdbtools to be read: apt-get install mdbtools")
    lines = csv.reader(io.StringIO(_export(program, table, path), newline=""), strict=True)
    numbered = _numbered(lines, path)
    header = next(numbered, (0, ()))[1]
    return Sheet([str(cell) for cell in header], 0, numbered)


def _export(program: str, table: FileTable, path: Path) -> str:
    command = [program, *_FORMS, "--", str(path), table.sheet or ""]
    environment = {"MDB_JET3_CHARSET": "CP1252", "MDBICONV": "UTF-8", "LC_ALL": "C.UTF-8"}
    if table.encoding is not None:
        environment["MDB_JET3_CHARSET"] = table.encoding
    try:
        with tempfile.TemporaryFile() as words:
            answer, ended_well = _run(command, environment, words, path)
            words.seek(0)
            said = " ".join(words.read(1000).decode(errors="replace").split())[:200]
    except OSError as error:
        raise refuse(path.name, f"{PROGRAM} cannot be run: {error.strerror}") from error
    if not ended_well or not answer:
        raise refuse(path.name, f"{PROGRAM} cannot read table {table.sheet!r}: {said}")
    try:
        return answer.decode()
    except UnicodeDecodeError as error:
        raise refuse(path.name, f"{PROGRAM} did not answer in UTF-8") from error


def _run(
    command: Sequence[str], environment: Mapping[str, str], words: IO[bytes], path: Path
) -> tuple[bytes, bool]:
    """What a program answers, no more than is allowed of it, and whether it ended well."""
    late = threading.Event()
    with subprocess.Popen(  # noqa: S603 (a fixed program; the names are arguments, not a shell's)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, env=environment
    ) as process:

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(_TIMEOUT_S, stop)
        timer.start()
        try:
            answer = process.stdout.read(_MOST + 1) if process.stdout is not None else b""
            if len(answer) > _MOST:
                process.kill()
            process.wait()
        finally:
            timer.cancel()
    if late.is_set():
        raise refuse(path.name, f"{PROGRAM} took longer than {_TIMEOUT_S:.0f} s")
    if len(answer) > _MOST:
        raise refuse(path.name, "the table is too large")
    return answer, process.returncode == 0


def _numbered(lines: Iterator[list[str]], path: Path) -> Iterator[tuple[int, Sequence[Raw]]]:
    try:
        yield from enumerate(lines)  # the header is row 0
    except csv.Error as error:
        raise refuse(path.name, f"{PROGRAM} answered no CSV: {error}") from error
