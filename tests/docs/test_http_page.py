"""docs/http.md: every rule names a test, and every test that it names exists."""

from __future__ import annotations

import ast
import re

from tests.docs.generate import ROOT

PAGE = (ROOT / "docs/http.md").read_text(encoding="utf-8")
_TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def test_every_test_that_is_named_exists() -> None:
    """A rule without its test is a promise only."""
    named = set(_TEST.findall(PAGE))
    assert len(named) > 40
    missing = []
    for path, name in sorted(named):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        if name not in {node.name for node in tree.body if isinstance(node, kinds)}:
            missing.append(f"{path}::{name}")
    assert not missing


def test_every_rule_names_a_test() -> None:
    """Each row of each table."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rules = [row for row in rows if not row.rstrip(" |").endswith("Test")]
    assert len(rules) > 40
    assert [row for row in rules if not _TEST.search(row)] == []


def test_every_journey_of_http_holds_a_rule() -> None:
    """A test of HTTP end to end that the page does not name holds a rule that nobody finds."""
    path = "tests/journeys/test_http.py"
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if getattr(node, "name", "").startswith("test_")}
    named = {name for each, name in _TEST.findall(PAGE) if each == path}
    assert tests == named
