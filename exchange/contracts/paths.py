"""Path templates: which endpoint a request path means (OpenAPI 3.1.1 sections 4.8.8 and 4.8.8.2).

Invariants:
- a concrete segment wins over a templated one, from the left; a path means one template;
- segments are compared decoded, so that ``/m%69ne`` is ``/mine`` here as it is to the backend;
- what servers read in different ways means nothing here: empty and dot segments, encoded
  slashes and backslashes, the same encoded twice, ``;`` parameters, control characters, anything
  but valid UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from exchange.problems import Code, Problem

MAX_PATH_LENGTH: Final = 8192
MAX_SEGMENTS: Final = 64
# RFC 3986 pchar, without ";"
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})*)+", re.ASCII)
_TEMPLATE: Final = re.compile(r"/|(?:/[^/{}?#]+|/\{[^/{}?#]+\})+/?")
# Also what a server that decodes twice would read as such.
_FORBIDDEN: Final = re.compile(r"[/\\\x00-\x1f\x7f]|%(?:2[ef]|5c|0[0ad])", re.IGNORECASE)

Value = TypeVar("Value")


@dataclass(slots=True)
class _Node(Generic[Value]):
    literals: dict[str, _Node[Value]] = field(default_factory=dict)
    variable: _Node[Value] | None = None
    leaf: tuple[Value, tuple[str, ...]] | None = None
    template: str = ""


class PathTable(Generic[Value]):
    """Templates and what each stands for."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()
        self._concrete: dict[str, Value] = {}

    def add(self, template: str, value: Value) -> None:
        """Take in a template such as ``/projects/{id}``.

        Raises:
            ValueError: when it is malformed, names a variable twice, or equals an earlier one
                but for the names of variables.
        """
        names = variables(template)
        node = self._root
        for segment in template.split("/")[1:]:
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(_decode(segment), _Node())
        if node.leaf is not None:
            raise ValueError(f"means the same paths as {node.template}")
        node.leaf, node.template = (value, names), template
        if not names and "%" not in template and _PATH.fullmatch(template):
            self._concrete[template] = value

    def find(self, path: str) -> tuple[Value, dict[str, str]]:
        """The value of the template that a path means, and the decoded variables.

        Args:
            path: still percent-encoded, ``""`` means ``/``.

        Raises:
            Problem: ``UNKNOWN_ENDPOINT`` when no template fits or the path is ambiguous.
        """
        found = self._concrete.get(path or "/")
        if found is not None:
            return found, {}
        path = path or "/"
        if len(path) > MAX_PATH_LENGTH or not _PATH.fullmatch(path):
            raise Problem(Code.UNKNOWN_ENDPOINT, where="path", detail="malformed path")
        segments = path.split("/")
        del segments[0]
        if len(segments) > MAX_SEGMENTS:
            raise Problem(Code.UNKNOWN_ENDPOINT, where="path", detail="too many segments")
        if "%" in path:
            try:
                segments = [_decode(segment) for segment in segments]
            except ValueError as error:
                raise Problem(Code.UNKNOWN_ENDPOINT, where="path", detail=str(error)) from error
        values: list[str] = []
        leaf = _descend(self._root, segments, 0, values)
        if leaf is None:
            raise Problem(Code.UNKNOWN_ENDPOINT, where="path", detail="no endpoint has this path")
        return leaf[0], dict(zip(leaf[1], values, strict=True))


def variables(template: str) -> tuple[str, ...]:
    """The names of a template's variables, in order.

    Raises:
        ValueError: when the template is malformed or names a variable twice.
    """
    if len(template) > MAX_PATH_LENGTH or not _TEMPLATE.fullmatch(template):
        raise ValueError(
            "a path begins with / and a template expression such as {id} fills a whole segment"
        )
    segments = template.split("/")[1:]
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"more than {MAX_SEGMENTS} segments")
    for segment in segments:
        if not segment.startswith("{") and (_decode(segment) in {".", ".."} or ";" in segment):
            raise ValueError("dot segments and ; have no place in a path")
    names = tuple(segment[1:-1] for segment in segments if segment.startswith("{"))
    if len(set(names)) != len(names):
        raise ValueError("names a variable twice")
    return names


def _descend(
    node: _Node[Value], segments: list[str], index: int, values: list[str]
) -> tuple[Value, tuple[str, ...]] | None:
    if index == len(segments):
        return node.leaf
    segment = segments[index]
    literal = node.literals.get(segment)
    if literal is not None:
        leaf = _descend(literal, segments, index + 1, values)
        if leaf is not None:
            return leaf
    if node.variable is not None and segment not in ("", ".", ".."):
        values.append(segment)
        leaf = _descend(node.variable, segments, index + 1, values)
        if leaf is not None:
            return leaf
        values.pop()
    return None


def _decode(segment: str) -> str:
    """Percent-decode one segment.

    Raises:
        ValueError: when it is not UTF-8 or decodes to what could be read as another path.
    """
    if "%" not in segment:
        return segment
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise ValueError("a segment of the path is not UTF-8") from error
    if text in {".", ".."} or _FORBIDDEN.search(text):
        raise ValueError("a segment of the path hides a separator, a dot segment or a control")
    return text
