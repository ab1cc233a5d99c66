"""docs/adapters.md documents every key of a mapping, and its example works."""

from __future__ import annotations

import ast
import re
import sqlite3
from pathlib import Path

import pytest

import adapters
from adapters.mapping_file import parse_mapping
from adapters.service import Adapter
from adapters.source import Source
from tests.adapters.legacy import get, items

DOCUMENT = Path(__file__).parents[2] / "docs" / "adapters.md"
TABLES = {"_LIMITS", "_FIELD_KEYS", "_EVERY_FIELD"}


def keys() -> set[str]:
    """The keys that the reader asks for: in its calls of ``members`` and its tables."""
    found: set[str] = set()
    for path in Path(str(adapters.__file__)).parent.glob("mapping_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="members"), args=arguments):
                    found |= _strings(*arguments)
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in TABLES:
                    found |= _strings(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if (
                    name in TABLES
                ):
                    found |= _strings(value)
    return found


def _strings(*nodes: ast.expr) -> set[str]:
    return {
        inner.value
        for node in nodes
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }


@pytest.mark.parametrize("key", sorted(keys()))
def test_every_key_is_documented(key: str) -> None:
    """Each key that the reader asks for stands in the reference."""
    assert f"`{key}`" in DOCUMENT.read_text(encoding="utf-8")


def test_the_reference_knows_the_keys() -> None:
    """The search above really finds keys."""
    assert {"saphan_mapping", "null_words", "page_size", "thousands", "max_bytes"} <= keys()
    assert len(keys()) > 50


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
