"""The recipes of docs/adapters.md do what they say.

To add one, write a section ``## Recipe: NAME`` in docs/adapters.md: text for people, and fenced
blocks in the form that :mod:`tests.docs.recipes` describes; it is found and run by itself. Show
each command with all that it prints (``…`` where it may differ). Only what no text can be (a server
to start, a binary file) is made by a function of :mod:`tests.docs.recipe_sources` under the
recipe's name. To run one: ``pytest tests/docs/test_recipes.py -k NAME``.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters import kinds
from adapters.mapping.model import FileFormat
from adapters.mapping.tables import SUFFIXES
from adapters.sources.guard import DIALECTS
from adapters.text.codec import register
from tests.docs.generate import ROOT
from tests.docs.recipe_sources import SOURCES
from tests.docs.recipes import Block, Recipe, Terminal, matches, read_recipes, steps_of
from tests.docs.tables import WRITERS, cells, write_dbf
from tests.services.server import DatabaseServer

RECIPES = read_recipes(ROOT / "docs" / "adapters.md")
ADDRESS = {"postgresql": "10.1.2.3:5432/", "mariadb": "10.1.2.3:3306/"}
_numbers = itertools.count(1)


def _make_database(block: Block, terminal: Terminal, request: pytest.FixtureRequest) -> None:
    (name,) = block.words
    if name in ADDRESS:
        server: DatabaseServer = request.getfixturevalue(f"{name}_server")
        database = f"recipe_{next(_numbers)}"
        server.new_database(database)
        for statement in block.text.split(";\n"):
            if statement.strip():
                server.run(statement, database)
        terminal.replaced[f"{ADDRESS[name]}office"] = f"127.0.0.1:{server.port}/{database}"
        return
    with sqlite3.connect(terminal.folder / name) as connection:
        connection.executescript(block.text)
    connection.close()


def _make_file(block: Block, terminal: Terminal) -> None:
    name, *more = block.words
    path = terminal.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in WRITERS:
        WRITERS[path.suffix](path, cells(block.text))
    elif path.suffix == ".dbf":
        write_dbf(path, block.text, more[0] if more else "utf8")
    elif more == ["+"]:
        assert terminal.local(block.text) in path.read_text(encoding="utf-8")
    else:
        text = terminal.local(block.text)
        path.write_text(text, encoding=more[0] if more else "utf-8")


@pytest.mark.parametrize("recipe", RECIPES, ids=[one.name for one in RECIPES])
def test_a_recipe_does_what_it_says(
    recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every command ends and prints as the page shows it, from the source on."""
    register()
    folder = tmp_path / "office"
    folder.mkdir()
    terminal = Terminal(folder)
    with ExitStack() as sources:
        if recipe.name in SOURCES:
            terminal.replaced |= sources.enter_context(SOURCES[recipe.name](folder))
        try:
            for block in recipe.blocks:
                if block.kind == "sql":
                    _make_database(block, terminal, request)
                elif block.kind == "console":
                    for step in steps_of(block):
                        terminal.run(step)
                elif block.words:
                    _make_file(block, terminal)
        finally:
            terminal.stop()


def test_every_recipe_asks_its_service() -> None:
    """A recipe ends with an answer, not with a mapping."""
    for recipe in RECIPES:
        commands = [
            step.command
            for block in recipe.blocks
            if block.kind == "console"
            for step in steps_of(block)
        ]
        asks = (" try ", "curl ", "adapter changes ")
        assert any(word in command for command in commands for word in asks), recipe.name


def test_every_kind_of_source_has_a_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each kind that adapters know is scanned in one, each database that can be had, and each
    format of files."""
    monkeypatch.chdir(tmp_path)
    commands = [
        step.command
        for recipe in RECIPES
        for block in recipe.blocks
        if block.kind == "console"
        for step in steps_of(block)
    ]
    scans = filter(None, (re.search(r" adapter scan '?([^ ']+)", one) for one in commands))
    found = {_kind_of(scan[1]) for scan in scans}
    databases = {*DIALECTS} - {"mysql", "oracle", "mssql"}
    packages = {module.split(".")[1] for module in kinds.KINDS.values()} - {"records"}
    assert found == databases | {str(one) for one in FileFormat} | packages


def _kind_of(source: str) -> str:
    """The package of a kind, the format of a file or the database of an address."""
    if re.fullmatch(r"\w+", source):
        Path(source).mkdir()  # a folder is known by being one
    package = kinds._scanner(source).split(".")[1]
    if package != "scan":
        return package
    return str(SUFFIXES.get(Path(source).suffix) or source.partition(":")[0])


def test_what_is_made_for_a_recipe_is_used() -> None:
    """Each function of recipe_sources stands for a recipe."""
    assert set(SOURCES) <= {recipe.name for recipe in RECIPES}


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (("a",), ["a"], True),
        (("a",), ["a", "b"], False),
        (("a", "b"), ["a"], False),
        ((), ["a"], False),
        (("…",), [], True),
        (("…", "z"), ["a", "b", "z"], True),
        (("…", "z"), ["a", "b"], False),
        (("took … s", "…"), ["took 1.5 s"], True),
        (("took … s",), ["took 1.5"], False),
        (("a.c",), ["abc"], False),
    ],
)
def test_what_is_printed_is_compared(
    expected: tuple[str, ...], printed: list[str], fits: bool
) -> None:
    """Line by line, all of it; only … is anything."""
    assert matches(expected, printed) is fits
