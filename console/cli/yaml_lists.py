"""Items that are added to lists of a YAML file; what a person wrote around them stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from exchange.problems import Code, Problem

_BLANKS = " \t\r\n"  # of YAML: other spaces of Unicode are content


def add_items(file: Path, lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """The text of ``file`` with items at the ends of its lists, by their keys at the top.

    Comments, order, quotes and ends of lines stay as they are.

    Raises:
        Problem: ``InvalidDocument`` for a file that cannot be added to so.
    """
    try:
        text = file.read_bytes().decode("utf-8")
        end = "\r\n" if text.count("\r\n") == text.count("\n") > 0 else "\n"
        if end != "\n":
            text = text.replace(end, "\n")
        before = yaml.safe_load(text)
        expected = {**before}
        for key, items in lists.items():
            expected[key] = [*(before.get(key) or ()), *items]
            for item in items:
                text = _added(text, key, item)
        if yaml.safe_load(text) == expected:
            return text.replace("\n", end).encode()
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, AttributeError, ValueError):
        pass
    raise Problem(
        Code.INVALID_DOCUMENT,
        where=str(file),
        detail="cannot be added to; write into it: "
        + yaml.safe_dump({key: [*items] for key, items in lists.items()}, sort_keys=False),
    )


def _added(text: str, key: str, item: Mapping[str, Any]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    nodes = {name.value: node for name, node in root.value} if root is not None else {}
    node = nodes.get(key)
    if node is None:
        return f"{text.rstrip(_BLANKS)}\n{key}:\n{_block(item, 2)}"
    if isinstance(node, yaml.SequenceNode) and node.flow_style:
        end = node.end_mark.index - 1
        flow = yaml.safe_dump(
            dict(item), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000
        )
        return f"{text[:end]}{', ' if node.value else ''}{flow.strip()}{text[end:]}"
    place = _line_after(text, node.end_mark.index)
    return text[:place] + _block(item, node.start_mark.column) + text[place:]


def _block(item: Mapping[str, Any], column: int) -> str:
    lines = yaml.safe_dump([dict(item)], allow_unicode=True, sort_keys=False, width=10_000)
    return "".join(f"{' ' * column}{line}\n" for line in lines.splitlines())


def _line_after(text: str, end: int) -> int:
    """Where the line after the last one of a list begins: blank lines and comments that follow are
    those of what comes next."""
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    lines = text[:end].splitlines(keepends=True)
    while lines and (not lines[-1].strip(_BLANKS) or lines[-1].lstrip(_BLANKS).startswith("#")):
        lines.pop()
    written = sum(map(len, lines))
    return written if written and text[written - 1] == "\n" else text.index("\n", written) + 1
