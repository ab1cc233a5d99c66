"""Records from rows by one dict display each, as fast as if their names stood in the program."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]
RecordsMaker: TypeAlias = Callable[[Iterable[tuple[Any, ...]]], list[dict[str, Any]]]


@lru_cache(512)
def records_maker(paths: tuple[Path, ...]) -> RecordsMaker:
    """A function from rows to records whose members at ``paths`` are the values in order.

    For ``(("id",), ("title", "lo"))`` it is
    ``lambda rows: [{"id": v0, "title": {"lo": v1}} for v0, v1 in rows]``, made as a tree and not
    as text: a name is a constant in it, whatever it holds. No path is the beginning of another.
    """
    tree: dict[str, Any] = {}
    for index, path in enumerate(paths):
        inner = tree
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = ast.Name(f"v{index}", ast.Load())
    targets: list[ast.expr] = [ast.Name(f"v{index}", ast.Store()) for index in range(len(paths))]
    rows = ast.comprehension(
        target=ast.Tuple(targets, ast.Store()),
        iter=ast.Name("rows", ast.Load()),
        ifs=[],
        is_async=0,
    )
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg("rows")], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    maker = ast.Lambda(arguments, ast.ListComp(_display(tree), [rows]))
    code = compile(ast.fix_missing_locations(ast.Expression(maker)), "<records>", "eval")
    made: RecordsMaker = eval(code, {"__builtins__": {}})  # noqa: S307  (a tree of our own)
    return made


def _display(tree: dict[str, Any]) -> ast.expr:
    return ast.Dict(
        [ast.Constant(name) for name in tree],
        [_display(value) if isinstance(value, dict) else value for value in tree.values()],
    )
