"""Strict reading of signed JSON documents.

Invariants:
- the length is capped before anything is decoded;
- a document has one reading: UTF-8 only, no duplicate keys, no ``NaN``, no floats where a number
  is not asked for (RFC 8259 leaves these to the reader, and two readers may differ);
- an unknown key is refused, so that a document never means more than its reader saw;
- every refusal is ``InvalidDocument`` with the place as a JSON pointer (RFC 6901) after ``#``.

:class:`Node` is a value with its place; its methods return typed values or raise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

import orjson

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem, Text

MAX_TEXT = 500
MAX_IDENTIFIER = 2048
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

IdentifierT = TypeVar("IdentifierT", MemberId, ApplicationId, ServiceId, ServerId)


class _Duplicate(ValueError):
    """A key that comes twice in one object."""


def parse_document(data: bytes, limit: int, noun: str) -> Node:
    """Decode ``data``, a JSON document of at most ``limit`` bytes called ``noun`` in problems.

    Raises:
        Problem: ``InvalidDocument`` when it is too long, not UTF-8, not JSON, nested too deeply,
            or has a key twice.
    """
    if len(data) > limit:
        raise invalid(noun, "", f"{len(data)} bytes are more than the {limit} allowed")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique_pairs, parse_constant=_no_constant
        )
    except _Duplicate as error:
        raise invalid(noun, "", f"the key {error} comes twice in one object") from error
    except UnicodeDecodeError as error:
        raise invalid(noun, "", f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise invalid(noun, "", "nested too deeply") from error
    except ValueError as error:
        raise invalid(noun, "", f"not JSON: {str(error)[:120]}") from error
    return Node(value, noun, "")


def format_document(value: object) -> bytes:
    """The canonical form of a document: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def format_moment(moment: datetime) -> str:
    """A time to the second in UTC as documents write it, such as ``2026-01-31T00:00:00Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def invalid(noun: str, pointer: str, detail: str) -> Problem:
    """``InvalidDocument`` at ``noun#pointer``."""
    return Problem(Code.INVALID_DOCUMENT, where=f"{noun}#{pointer}", detail=detail)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _Duplicate(repr(key[:80]))
        members[key] = value
    return members


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded JSON value and where it stands."""

    value: Any
    noun: str
    pointer: str

    def refuse(self, detail: str) -> Problem:
        """The problem that this value is wrong as ``detail`` says."""
        return invalid(self.noun, self.pointer, detail)

    def members(self, required: frozenset[str], optional: frozenset[str] = frozenset()) -> Members:
        """This value as an object with exactly these keys."""
        if not isinstance(self.value, dict):
            raise self.refuse("must be an object")
        keys = self.value.keys()
        if missing := sorted(required - keys):
            raise self.refuse(f"lacks {', '.join(missing)}")
        if unknown := sorted(keys - required - optional):
            known = sorted(required | optional)
            near = get_close_matches(unknown[0][:80], known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise self.refuse(
                f"unknown key {unknown[0][:80]!r}{hint}; the keys here are {', '.join(known)}"
            )
        return Members(self)

    def entries(self, most: int) -> Iterator[tuple[str, Node]]:
        """This value as an object with keys of the writer's choice, at most ``most``."""
        if not isinstance(self.value, dict):
            raise self.refuse("must be an object")
        if len(self.value) > most:
            raise self.refuse(f"has {len(self.value)} members, at most {most} are allowed")
        for key, value in self.value.items():
            yield key, Node(value, self.noun, f"{self.pointer}/{_token(key)}")

    def items(self, most: int, least: int = 0) -> Iterator[Node]:
        """This value as an array of ``least`` to ``most`` items."""
        if not isinstance(self.value, list):
            raise self.refuse("must be an array")
        if not least <= len(self.value) <= most:
            raise self.refuse(f"has {len(self.value)} items, {least} to {most} are allowed")
        for number, value in enumerate(self.value):
            yield Node(value, self.noun, f"{self.pointer}/{number}")

    def text(self, most: int = MAX_TEXT, least: int = 1) -> str:
        """This value as a string of ``least`` to ``most`` characters, without control characters
        other than line breaks and tabs."""
        if not isinstance(self.value, str):
            raise self.refuse("must be a string")
        if not least <= len(self.value) <= most:
            raise self.refuse(f"has {len(self.value)} characters, {least} to {most} are allowed")
        for character in self.value:
            if (character < " " and character not in "\n\t") or "\ud800" <= character <= "\udfff":
                raise self.refuse("holds a control character or half a surrogate pair")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """This value as a whole number from ``low`` to ``high``."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.refuse("must be a whole number")
        if not low <= self.value <= high:
            raise self.refuse(f"must be from {low} to {high}")
        return self.value

    def identifier(self, kind: type[IdentifierT]) -> IdentifierT:
        """This value as an identifier in its one spelling."""
        text = self.text(MAX_IDENTIFIER)
        try:
            return kind.parse(text)
        except Problem as problem:
            raise self.refuse(problem.detail) from problem

    def moment(self) -> datetime:
        """This value as a time to the second in UTC, as :func:`format_moment` writes it."""
        text = self.text()
        if not _MOMENT.fullmatch(text):
            raise self.refuse("must be a time in UTC such as 2026-01-31T00:00:00Z")
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise self.refuse("is no time of the calendar") from error

    def bilingual(self) -> Text:
        """This value as ``{"en": …, "lo": …}``."""
        members = self.members(frozenset({"en", "lo"}))
        return Text(members["en"].text(), members["lo"].text())


@dataclass(frozen=True, slots=True)
class Members:
    """The members of an object whose keys were checked."""

    node: Node

    def __getitem__(self, key: str) -> Node:
        node = self.node
        return Node(node.value[key], node.noun, f"{node.pointer}/{_token(key)}")

    def get(self, key: str) -> Node | None:
        """The member, or nothing when it is absent or null."""
        return None if self.node.value.get(key) is None else self[key]


def _token(key: str) -> str:
    return key[:80].replace("~", "~0").replace("/", "~1")
