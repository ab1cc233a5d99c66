"""Reading YAML strictly: every value knows its place, and nothing is guessed.

Invariants:
- a key that the caller did not name is refused, and so is a key that appears twice;
- a scalar is what was written: ``no``, ``01`` and ``2026-01-01`` are those very words, never a
  boolean, an octal number or a date, because codes of legacy systems look like all three;
- whoever is told of a fault is told the file, the line and the path of keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from exchange.problems import Code, Problem

MAX_MAPPING_BYTES = 1 << 20
E = TypeVar("E", bound=StrEnum)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
# libyaml's where PyYAML was built with it: the same nodes and places, ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL_TAG = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document, with its place."""

    node: yaml.Node
    file: str
    path: str
    folder: Path = Path()
    """That of the file, for what the file names beside it."""
    waits: bool = True
    """Whether what the file names elsewhere may be waited for."""

    @property
    def where(self) -> str:
        """Such as ``oda-mis.yaml:12 /services/projects``."""
        return f"{self.file}:{self.node.start_mark.line + 1} {self.path or '/'}"

    def refuse(self, detail: str) -> NoReturn:
        """Say what is wrong here.

        Raises:
            Problem: ``InvalidMapping``, always.
        """
        raise Problem(Code.INVALID_MAPPING, where=self.where, detail=detail)

    def entries(self) -> dict[str, Node]:
        """The entries of a mapping, in order, whatever their keys."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse("must be a mapping of names to values")
        found: dict[str, Node] = {}
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.refuse("a key must be a plain word")
            child = Node(value, self.file, f"{self.path}/{key.value}", self.folder, self.waits)
            if key.value in found:
                child.refuse("appears twice")
            found[key.value] = child
        return found

    def members(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Node]:
        """The entries of a mapping whose keys are known.

        Raises:
            Problem: ``InvalidMapping`` for an unknown key or a missing one.
        """
        required = tuple(required)
        known = {*required, *optional}
        found = self.entries()
        for key, child in found.items():
            if key not in known:
                child.refuse(f"unknown key; known here: {', '.join(sorted(known))}")
        for key in required:
            if key not in found:
                self.refuse(f"the key {key!r} is missing")
        return found

    def items(self) -> list[Node]:
        """The items of a sequence."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse("must be a list")
        return [
            Node(child, self.file, f"{self.path}/{index}", self.folder, self.waits)
            for index, child in enumerate(self.node.value)
        ]

    @property
    def is_scalar(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode)

    @property
    def is_sequence(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_null(self) -> bool:
        """Whether nothing, ``~`` or ``null`` stands here."""
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == _NULL_TAG

    def text(self, pattern: re.Pattern[str] | None = None, *, longest: int = 2000) -> str:
        """A scalar as it was written.

        Raises:
            Problem: ``InvalidMapping`` when it is not a scalar, too long or not of the pattern.
        """
        if self.is_null:
            self.refuse("must be a text; a word that YAML reads as nothing needs quotes")
        if not isinstance(self.node, yaml.ScalarNode):
            self.refuse("must be a text")
        value = str(self.node.value)
        if len(value) > longest:
            self.refuse(f"is longer than {longest} characters")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(f"{value[:80]!r} does not have the form {pattern.pattern}")
        return value

    def integer(self, low: int, high: int) -> int:
        """A whole number between ``low`` and ``high``."""
        value = self.text(longest=20)
        if not _INTEGER.fullmatch(value):
            self.refuse(f"{value!r} is not a whole number")
        return int(self._within(int(value), low, high))

    def number(self, low: float, high: float) -> float:
        """A plain decimal number between ``low`` and ``high``."""
        value = self.text(longest=20)
        if not _NUMBER.fullmatch(value):
            self.refuse(f"{value!r} is not a number")
        return self._within(float(value), low, high)

    def boolean(self) -> bool:
        """``true`` or ``false``, nothing else."""
        value = self.text(longest=20)
        if value not in {"true", "false"}:
            self.refuse(f"{value!r} is neither true nor false")
        return value == "true"

    def choice(self, kind: type[E]) -> E:
        """One of the words of an enumeration, ``null`` as it is written."""
        value = str(self.node.value) if self.is_null else self.text(longest=80)
        try:
            return kind(value)
        except ValueError:
            self.refuse(f"{value!r} is not one of: {', '.join(kind)}")

    def json(self, depth: int = 40) -> Any:
        """A value of JSON, in JSON's or YAML's layout.

        A word without quotes is ``true``, ``false``, ``null`` or a number where JSON has it so,
        and a text everywhere else.
        """
        if not depth:
            self.refuse("is nested too deeply")
        if isinstance(self.node, yaml.MappingNode):
            return {name: child.json(depth - 1) for name, child in self.entries().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [child.json(depth - 1) for child in self.items()]
        text = str(self.node.value)
        if isinstance(self.node, yaml.ScalarNode) and not self.node.style:
            with suppress(ValueError):
                return json.loads(text, parse_constant=_no_json) if text[:1] != '"' else text
        return text

    def reference(self, named: Mapping[str, Any], noun: str) -> str:
        """A name that must be one of ``named``."""
        name = self.text(longest=200)
        if name not in named:
            known = ", ".join(sorted(named)) or "none"
            self.refuse(f"there is no {noun} of the name {name!r}; known: {known}")
        return name

    def _within(self, value: float, low: float, high: float) -> float:
        if not low <= value <= high:
            self.refuse(f"{value} is not between {low} and {high}")
        return value


def _no_json(word: str) -> NoReturn:
    """``NaN`` and ``Infinity`` are words of Python's reader, and none of JSON (RFC 8259)."""
    raise ValueError(word)


def read(path: Path, *, waits: bool = True) -> Node:
    """Read a YAML file; see :class:`Node` for ``waits``.

    Raises:
        Problem: ``InvalidMapping`` when the file cannot be read, is too long or is not YAML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        detail = f"cannot be read: {error.strerror}"
        raise Problem(Code.INVALID_MAPPING, where=str(path), detail=detail) from error
    return parse(data, path.name, path.parent, waits=waits)


def parse(data: bytes, file: str, folder: Path = Path(), *, waits: bool = True) -> Node:
    """Parse YAML bytes; ``file`` is what places are named after.

    Raises:
        Problem: ``InvalidMapping`` when the bytes are too many, not UTF-8, or not one YAML
            document.
    """
    if len(data) > MAX_MAPPING_BYTES:
        raise Problem(Code.INVALID_MAPPING, where=file, detail="is longer than 1 MiB")
    try:
        node = yaml.compose(data.decode("utf-8-sig"), Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        detail = f"is not YAML: {' '.join(str(error).split())[:300]}"
        raise Problem(Code.INVALID_MAPPING, where=file, detail=detail) from error
    if node is None:
        raise Problem(Code.INVALID_MAPPING, where=file, detail="is empty")
    return Node(node, file, "", folder, waits)
