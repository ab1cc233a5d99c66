"""One scan: a source's address or files in; a mapping, a schema and test data out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from adapters.mapping.file import mapping_of
from adapters.mapping.font_maps import load_font_map
from adapters.mapping.model import FileTable
from adapters.mapping.reader import parse
from adapters.mapping.tables import SUFFIXES
from adapters.openapi import document
from adapters.scan import database, files
from adapters.scan.drafting import draft
from adapters.scan.found import FoundTable
from adapters.scan.inventing import invent
from adapters.scan.planning import plans_of, unshown
from adapters.scan.proposing import propose
from adapters.scan.scanned import Look, Scanned
from adapters.sources.addresses import parse_url
from adapters.sources.variables import VARIABLE, resolve
from exchange.problems import Code, Problem

_STAND_IN: Final = "90071992547"
"""What begins a number that stands for a variable while an address is taken apart."""

_SQLITE = "sqlite:///"
_SQLITE_MARK: Final = b"SQLite format 3\x00"


def scan(look: Look) -> Scanned:
    """Scan a database address or a file.

    Raises:
        Problem: as :func:`adapters.scan.database.find_tables` and
            :func:`adapters.scan.files.find_sheets`; ``NotFound`` for a source without tables.
    """
    source, folder, only = look.source, look.folder, look.only
    own = [load_font_map(path, _relative(path, folder)) for path in look.maps]
    hidden = False
    read: Sequence[FileTable | None] = ()
    if files.is_file(source):
        path = Path(source)
        pairs = [pair for pair in files.find_sheets(path, own) if not only or pair[0].name in only]
        place = _relative(path, folder)
        read = [replace(table, file=place) for _, table in pairs]
        tables: list[FoundTable] = [found for found, _ in pairs]
        shown: dict[str, Any] = {"kind": "files"}
        quote = '"'
    else:
        source = _address_of(source)
        address = resolve(source, look.environ, "source")
        tables = database.find_tables(address, Path(), only, look.progress)
        url, hidden = _without_password(source, look.password_variable)
        if url == address and address.startswith(_SQLITE):
            # As a person typed it, it is relative to here; in the mapping, to the mapping.
            url = _SQLITE + _relative(Path(address.removeprefix(_SQLITE)), folder)
        shown = {"kind": "sql", "url": url}
        quote = "`" if parse_url(address, "source").get_backend_name() == "mariadb" else '"'
    plans = plans_of(tables, read, own)
    mapping, unsure = propose(look.application, look.service, shown, plans, quote)
    # What is handed out can be read back.
    wrapping = mapping_of(parse(mapping.encode(), "proposal", folder))
    schema = draft(plans, document(wrapping, look.service))
    counts = {"tables": len(tables), "columns": sum(len(table.columns) for table in tables)}
    return Scanned(
        mapping,
        counts,
        [*unshown(tables), *unsure],
        hidden,
        schema=schema,
        test_data=invent(plans, schema, look.seed),
    )


def _address_of(source: str) -> str:
    """The address that ``source`` is, or that of the SQLite file of this name.

    Raises:
        Problem: ``NotFound`` for a name of no file; ``InvalidUsage`` for a file of another kind.
    """
    if "://" in source or VARIABLE.search(source):
        return source
    path = Path(source)
    if not path.is_file():
        detail = "is no database address (scheme://…) and no file or folder that is there"
        raise Problem(Code.NOT_FOUND, where=source, detail=detail)
    with path.open("rb") as file:
        if file.read(len(_SQLITE_MARK)) == _SQLITE_MARK:
            return _SQLITE + source
    detail = f"is none of the files that are known by their names' endings: {', '.join(SUFFIXES)}"
    if path.suffix.lower() == ".sql":
        detail = "is a dump: load it into a database (mariadb NAME < FILE), and scan that"
    raise Problem(Code.INVALID_USAGE, where=source, detail=detail)


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path.resolve())


def _without_password(source: str, variable: str) -> tuple[str, bool]:
    """The address for the mapping: as it was given, but for a password in clear."""
    words: list[str] = []

    def stand_in(word: str) -> str:
        # Of digits alone, which are right and stay as they are in every part of an address.
        words.append(word)
        return f"{_STAND_IN}{len(words) - 1:03}"

    try:
        url = make_url(VARIABLE.sub(lambda match: stand_in(match[0]), source))
    except ArgumentError:
        return source, False  # the environment holds what makes it an address
    clear = {name for name, value in url.query.items() if _is_password(name) and _is_clear(value)}
    if not clear and not _is_clear(url.password or ""):
        return source, False
    hidden = stand_in(f"${{{variable}}}")
    if url.password:
        url = url.set(password=hidden)
    text = url.update_query_dict(dict.fromkeys(clear, hidden)).render_as_string(False)
    return re.sub(f"{_STAND_IN}([0-9]{{3}})", lambda match: words[int(match[1])], text), True


def _is_password(name: str) -> bool:
    return "pass" in name.lower() or name.lower() == "pwd"


def _is_clear(value: str | Sequence[str]) -> bool:
    """Whether anything of it does not come from the environment."""
    return bool(re.sub(f"{_STAND_IN}[0-9]{{3}}", "", "".join(value)))
