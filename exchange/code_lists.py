"""Code lists: closed lists of codes with names in both languages, as versioned data.

A code list is published as ``code-lists/{name}.json``::

    {"$id": "https://schemas.saphan.la/code-lists/province", "version": "1.0.0",
     "title": {"en", "lo"}, "description": {"en", "lo"}?, "source": "ISO 3166-2:LA …",
     "codes": [{"code": "LA-AT", "name": {"en", "lo"}, "from": "2015-11-27"?, "until": …?}]}

Schemas refer to it by ``$ref``, as to any other; they find :func:`schemas.code_list_schema`, so a
value outside of a list breaks the schema at the list's own name.

Invariants:
- codes are distinct and never leave a list: ``until`` says from which day on a code is not used for
  anything new, and records of before keep it;
- a list only grows, and its readers expect that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from exchange.contracts.formats import is_date
from exchange.documents import Node, parse_document
from exchange.problems import Text
from exchange.registrations import MAX_SCHEMA_BYTES

MAX_CODES: Final = 20_000
_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CodeEntry:
    """One code; ``since`` and ``until`` bound the days on which it is given to something new."""

    code: str
    name: Text
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class CodeList:
    """A code list as it is published."""

    id: str
    version: tuple[int, int, int]
    title: Text
    description: Text | None
    source: str
    codes: tuple[CodeEntry, ...]

    @property
    def name(self) -> str:
        """Its short name, such as ``province``."""
        return self.id.rpartition("/")[2]

    def name_of(self, code: str) -> Text | None:
        """What a code is called."""
        return next((one.name for one in self.codes if one.code == code), None)


def parse_code_list(data: bytes, path: str) -> CodeList:
    """Read a code list.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    members = parse_document(data, MAX_SCHEMA_BYTES, path).members(
        frozenset({"$id", "version", "title", "source", "codes"}), frozenset({"description"})
    )
    identifier = members["$id"].text()
    name = path.rpartition("/")[2].removesuffix(".json")
    if identifier.rpartition("/")[2] != name or not identifier.startswith("https://"):
        raise members["$id"].refuse(f"must be an https name that ends in /{name}, as the file's")
    found = _VERSION.fullmatch(members["version"].text(20))
    if found is None:
        raise members["version"].refuse("must be MAJOR.MINOR.PATCH")
    description = members.get("description")
    codes = tuple(_entry(node) for node in members["codes"].items(MAX_CODES, 1))
    seen: set[str] = set()
    for number, one in enumerate(codes):
        if one.code in seen:
            node = members["codes"]
            raise Node(one.code, node.noun, f"{node.pointer}/{number}/code").refuse(
                "is there twice"
            )
        seen.add(one.code)
    return CodeList(
        identifier,
        (int(found[1]), int(found[2]), int(found[3])),
        members["title"].bilingual(),
        None if description is None else description.bilingual(),
        members["source"].text(2000),
        codes,
    )


def _entry(node: Node) -> CodeEntry:
    members = node.members(frozenset({"code", "name"}), frozenset({"from", "until"}))
    code = members["code"].text(64)
    if not _CODE.fullmatch(code):
        raise members["code"].refuse("must be letters, digits, full stops, hyphens")
    since, until = _day(members.get("from")), _day(members.get("until"))
    if since is not None and until is not None and until <= since:
        raise members["until"].refuse("must be after from")
    return CodeEntry(code, members["name"].bilingual(), since, until)


def _day(node: Node | None) -> date | None:
    if node is None:
        return None
    text = node.text(10)
    if not is_date(text) or text < "0001":
        raise node.refuse("must be a date such as 2015-11-27")
    return date.fromisoformat(text)
