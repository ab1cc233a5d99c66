"""docs/mapping.md documents every key of a mapping, and its example works."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import EnumType
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import adapters
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from tests.adapters.legacy import get, items

DOCUMENT = Path(__file__).parents[2] / "docs" / "mapping.md"
FONT_MAPS = DOCUMENT.parent / "lao-text.md"
FOLDER = Path(str(adapters.__file__)).parent
READERS = (
    *sorted(FOLDER.glob("mapping/*.py")),
    *(FOLDER / kind / "file.py" for kind in ("documents", "passing", "soap")),
)
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in READERS}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a name stands: its module, and the function if it stands in one."""

    module: ModuleType
    function: ast.FunctionDef | None


@cache
def keys() -> frozenset[str]:
    """The keys that the readers ask for: what their calls of ``members`` are given, followed
    through variables, parameters and tables to the words."""
    return frozenset(
        word
        for call, scope in _calls("members")
        for argument in call.args
        for word in _words(argument, scope, frozenset())
    )


def _calls(name: str) -> Iterator[tuple[ast.Call, Scope]]:
    for path, tree in TREES.items():
        dotted = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
        module = import_module(dotted)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) == name:
                around = [one for one in functions if node in ast.walk(one)]
                yield node, Scope(module, around[-1] if around else None)


def _name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _words(node: ast.expr, scope: Scope, seen: frozenset[str]) -> Iterator[str]:
    """The texts that an expression is made of."""
    for inner in ast.walk(node):
        match inner:
            case ast.Constant(value=str(word)):
                yield word
            case ast.Name(id=name) if name not in seen:
                yield from _of_name(name, scope, seen | {name})


def _of_name(name: str, scope: Scope, seen: frozenset[str]) -> Iterator[str]:
    function = scope.function
    parameters = [one.arg for one in function.args.args] if function is not None else []
    if function is not None and name in parameters:
        place = parameters.index(name)
        for call, caller in _calls(function.name):
            given = [one.value for one in call.keywords if one.arg == name]
            for argument in given or call.args[place : place + 1]:
                yield from _words(argument, caller, frozenset())
        return
    for node in ast.walk(function) if function is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield from _words(value, scope, seen)
    yield from _texts(getattr(scope.module, name, None))


def _texts(value: object) -> Iterator[str]:
    """The texts of a table; of one that goes by kinds, those that each kind has."""
    match value:
        case str():
            yield str(value)
        case Mapping():
            inner = [word for one in value.values() for word in _texts(one)]
            yield from inner or (one for one in value if isinstance(one, str))
        case list() | tuple() | set() | frozenset() | EnumType():
            for one in value:
                yield from _texts(one)


@pytest.mark.parametrize("key", sorted(keys()))
def test_every_key_is_documented(key: str) -> None:
    """Each key that the reader asks for stands in the reference, those of a font map in its own."""
    assert any(f"`{key}`" in one.read_text(encoding="utf-8") for one in (DOCUMENT, FONT_MAPS))


def test_the_reference_knows_the_keys() -> None:
    """The search above really finds keys."""
    assert {"saphan_mapping", "null_words", "page_size", "thousands", "max_bytes"} <= keys()
    assert {"show", "rows", "watermark", "most", "member", "returns", "or_null"} <= keys()
    assert len(keys()) > 150


async def test_the_example_answers(tmp_path: Path) -> None:
    """The example of the document, over a database as it describes."""
    text = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert text is not None
    mapping = parse_mapping(
        text[1]
        .replace("postgresql://reader:${LIBRARY_PASSWORD}@10.1.2.3/library", "sqlite:///library.db")
        .encode()
    )
    with sqlite3.connect(tmp_path / "library.db") as database:
        database.execute(
            "CREATE TABLE tbl_book (book_no INTEGER, title_lo TEXT, author TEXT, shelf TEXT,"
            " price NUMERIC, bought_on TEXT, is_lent INTEGER, bought_year INTEGER)"
        )
        database.execute(
            "INSERT INTO tbl_book VALUES (7, ' ສິນໄຊ ', 'Sila', 'B', 1.5, '05/02/2012', 1, 2012)"
        )
    database.close()
    adapter = Adapter(mapping, Source(mapping.source, {}, tmp_path))
    expected = {
        "number": 7,
        "title": {"lo": "ສິນໄຊ"},
        "author": "Sila",
        "shelf": "history",
        "price": "1.50",
        "bought": "2012-02-05",
        "lent": True,
    }
    assert await items(adapter, "/books?author=Sila&shelf=history&lent=true") == [expected]
    assert await items(adapter, "/bought?year=2012") == [expected]
    assert (await get(adapter, "/books/7")).status == 200
    await adapter.close()
