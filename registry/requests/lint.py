"""Faults of schemas and services: each with place, rule and remedy.

Rules are a table (:data:`RULES`); a finding is a place where one does not hold. Those of
:data:`ERRORS` let through what looks as if it were checked: the registry takes in nothing new that
has one. The others are warnings, for whoever hands in and whoever approves. What is refused anyhow
(:mod:`exchange.schema_sets`, :mod:`exchange.contracts.openapi`) is not told again here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from exchange.contracts.formats import ASSERTED
from exchange.documents import invalid
from exchange.problems import Text
from exchange.schema_sets.keywords import LIST, MAP, ONE
from exchange.schema_sets.places import escape

RULES: Final[dict[str, Text]] = {
    "title": Text("Give it a title in English.", "ໃສ່ຊື່ (title) ເປັນພາສາອັງກິດ."),
    "title-lo": Text("Give it a title in Lao (x-title-lo).", "ໃສ່ຊື່ເປັນພາສາລາວ (x-title-lo)."),
    "description": Text("Say what it means (description).", "ອະທິບາຍຄວາມໝາຍ (description)."),
    "description-lo": Text(
        "Say it in Lao too (x-description-lo).", "ອະທິບາຍເປັນພາສາລາວນຳ (x-description-lo)."
    ),
    "enum-titles": Text(
        "Name each code in both languages (x-enum-titles), or refer to a code list.",
        "ໃສ່ຊື່ຂອງແຕ່ລະລະຫັດເປັນສອງພາສາ (x-enum-titles) ຫຼື ອ້າງອີງບັນຊີລະຫັດ.",
    ),
    "string-unbounded": Text(
        "Bound the text: maxLength, enum, format, or a pattern from ^ to $.",
        "ຈຳກັດຂໍ້ຄວາມ: maxLength, enum, format ຫຼື pattern ແຕ່ ^ ຫາ $.",
    ),
    "array-unbounded": Text("Bound the list with maxItems.", "ຈຳກັດລາຍການດ້ວຍ maxItems."),
    "number-unbounded": Text(
        "Bound the number with minimum and maximum.", "ຈຳກັດຈຳນວນດ້ວຍ minimum ແລະ maximum."
    ),
    "object-open": Text(
        'Close the object with "additionalProperties": false.',
        'ປິດຂໍ້ມູນດ້ວຍ "additionalProperties": false.',
    ),
    "format-missing": Text(
        "Its name speaks of a date, time, address or identifier: give it a format.",
        "ຊື່ບອກວ່າເປັນວັນທີ, ເວລາ ຫຼື ທີ່ຢູ່: ໃສ່ format.",
    ),
    "format-unknown": Text(
        f"This format is not checked; checked are {', '.join(ASSERTED)}.",
        f"format ນີ້ບໍ່ຖືກກວດ; ທີ່ຖືກກວດແມ່ນ {', '.join(ASSERTED)}.",
    ),
    "name": Text(
        "Name it in lower case with underscores, such as fiscal_year.",
        "ຕັ້ງຊື່ດ້ວຍຕົວພິມນ້ອຍ ແລະ ຂີດກ້ອງ ເຊັ່ນ fiscal_year.",
    ),
    "path-name": Text(
        "Name paths in lower case with hyphens, such as /working-groups.",
        "ຕັ້ງຊື່ເສັ້ນທາງດ້ວຍຕົວພິມນ້ອຍ ແລະ ຂີດຕໍ່ ເຊັ່ນ /working-groups.",
    ),
    "summary": Text("Say in a line what the operation does.", "ບອກໃນແຖວດຽວວ່າຄຳສັ່ງເຮັດຫຍັງ."),
    "summary-lo": Text("Say it in Lao too (x-summary-lo).", "ບອກເປັນພາສາລາວນຳ (x-summary-lo)."),
    "operation-id": Text("Give the operation an operationId.", "ໃສ່ operationId."),
    "answer-schema": Text(
        "Give the answer a schema, or nothing of it is checked.",
        "ໃສ່ແບບຂໍ້ມູນ (schema) ຂອງຄຳຕອບ, ບໍ່ດັ່ງນັ້ນຈະບໍ່ຖືກກວດ.",
    ),
}
ERRORS: Final = frozenset({"answer-schema", "format-unknown"})
MAX_TOLD: Final = 50
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)
_SEGMENT: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*|\{[^{}]+\}", re.ASCII)
_FORMAL: Final = re.compile(r"(?:^|_)(?:date|time|email|uri|url|uuid|website)$|_(?:on|at)$")
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where a rule does not hold."""

    pointer: str
    rule: str

    @property
    def remedy(self) -> Text:
        return RULES[self.rule]

    @property
    def is_error(self) -> bool:
        """Whether the registry refuses it."""
        return self.rule in ERRORS

    def describe(self, path: str) -> dict[str, Any]:
        """The finding in the file at ``path``, as JSON."""
        return {
            "where": f"{path}#{self.pointer}",
            "rule": self.rule,
            "level": "error" if self.is_error else "warning",
            "remedy": self.remedy.as_dict(),
        }


def lint(document: dict[str, Any]) -> list[Finding]:
    """Every finding in a schema or an OpenAPI document, in its order."""
    return list(dict.fromkeys(_found(document)))


def refuse_errors(files: Mapping[str, bytes]) -> None:
    """Refuse files that have an error.

    Raises:
        Problem: ``InvalidDocument`` at the first place.
    """
    for path, data in files.items():
        for one in _found(orjson.loads(data)):
            if one.is_error:
                raise invalid(path, one.pointer, f"[{one.rule}] {one.remedy.en} {one.remedy.lo}")


def told(files: Mapping[str, bytes]) -> tuple[list[dict[str, Any]], bool]:
    """The first findings in some files, and whether there are more."""
    found = list(islice(_told(files), MAX_TOLD + 1))
    return found[:MAX_TOLD], len(found) > MAX_TOLD


def _told(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, data in files.items():
        for one in _found(orjson.loads(data)):
            yield one.describe(path)


def _found(document: dict[str, Any]) -> Iterator[Finding]:
    if "openapi" in document:
        return _service(document)
    return _schema(document, "", is_named=True)


# -- OpenAPI -------------------------------------------------------------------------------------


def _service(document: dict[str, Any]) -> Iterator[Finding]:
    for template, item in _members(document.get("paths")):
        at = f"/paths/{escape(template)}"
        if not all(_SEGMENT.fullmatch(one) for one in template.split("/")[1:] if one):
            yield Finding(at, "path-name")
        for method in _METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                yield from _operation(item[method], f"{at}/{method}")
    for name, schema in _members((document.get("components") or {}).get("schemas")):
        yield from _schema(schema, f"/components/schemas/{escape(name)}", is_named=True)


def _operation(node: dict[str, Any], at: str) -> Iterator[Finding]:
    for member, rule in (
        ("operationId", "operation-id"),
        ("summary", "summary"),
        ("x-summary-lo", "summary-lo"),
    ):
        if not node.get(member):
            yield Finding(at, rule)
    for index, parameter in enumerate(node.get("parameters", [])):
        if isinstance(parameter, dict) and "$ref" not in parameter:
            where = f"{at}/parameters/{index}"
            if not parameter.get("description"):
                yield Finding(where, "description")
            elif not parameter.get("x-description-lo"):
                yield Finding(where, "description-lo")
            yield from _schema(parameter.get("schema", True), f"{where}/schema", is_named=False)
    yield from _contents(node.get("requestBody"), f"{at}/requestBody", needs_schema=True)
    for status, answer in _members(node.get("responses")):
        where = f"{at}/responses/{escape(status)}"
        yield from _contents(answer, where, needs_schema=status[:1] == "2")


def _contents(node: Any, at: str, *, needs_schema: bool) -> Iterator[Finding]:
    if not isinstance(node, dict):
        return
    for kind, media in _members(node.get("content")):
        where = f"{at}/content/{escape(kind)}"
        if isinstance(media, dict) and "schema" in media:
            yield from _schema(media["schema"], f"{where}/schema", is_named=False)
        elif needs_schema and "json" in kind:
            yield Finding(where, "answer-schema")


# -- schemas -------------------------------------------------------------------------------------


def _schema(node: Any, at: str, *, is_named: bool, name: str = "") -> Iterator[Finding]:
    if not isinstance(node, dict):
        return
    if is_named:
        yield from _texts(node, at)
    elif "description" in node and not node.get("x-description-lo"):
        yield Finding(at, "description-lo")
    if "$ref" not in node:
        yield from _bounds(node, at, name)
    for keyword, value in node.items():
        where = f"{at}/{keyword}"
        if keyword in MAP or keyword == "$defs":
            for key, one in _members(value):
                if keyword == "properties" and not _NAME.fullmatch(key):
                    yield Finding(f"{where}/{escape(key)}", "name")
                has_title = keyword in ("properties", "$defs")
                below = f"{where}/{escape(key)}"
                yield from _schema(one, below, is_named=has_title, name=key if has_title else "")
        elif keyword in ONE:
            yield from _schema(value, where, is_named=False)
        elif keyword in LIST and isinstance(value, list):
            if keyword == "allOf" and any("$ref" in one for one in value if isinstance(one, dict)):
                continue  # the other parts only narrow what the reference says
            for index, one in enumerate(value):
                yield from _schema(one, f"{where}/{index}", is_named=False)


def _texts(node: dict[str, Any], at: str) -> Iterator[Finding]:
    if not node.get("title"):
        yield Finding(at, "title")
    if not node.get("x-title-lo"):
        yield Finding(at, "title-lo")
    if not node.get("description") and not at:
        yield Finding(at, "description")
    if node.get("description") and not node.get("x-description-lo"):
        yield Finding(at, "description-lo")


def _bounds(node: dict[str, Any], at: str, name: str) -> Iterator[Finding]:
    kind = node.get("type")
    kinds = set(kind) if isinstance(kind, list) else {kind}
    listed = "enum" in node or "const" in node
    if "string" in kinds and not listed:
        pattern = str(node.get("pattern", ""))
        anchored = pattern.startswith("^") and pattern.endswith("$")
        if "maxLength" not in node and not anchored and node.get("format") not in ASSERTED:
            yield Finding(at, "string-unbounded")
        if _FORMAL.search(name) and "format" not in node and not pattern:
            yield Finding(at, "format-missing")
    if "format" in node and node["format"] not in ASSERTED:
        yield Finding(f"{at}/format", "format-unknown")
    if "array" in kinds and "maxItems" not in node and not listed:
        yield Finding(at, "array-unbounded")
    if (
        kinds & {"integer", "number"}
        and not listed
        and (
            not {"minimum", "exclusiveMinimum"} & node.keys()
            or not {"maximum", "exclusiveMaximum"} & node.keys()
        )
    ):
        yield Finding(at, "number-unbounded")
    if (
        "properties" in node
        and kinds == {"object"}
        and ("additionalProperties" not in node and "unevaluatedProperties" not in node)
    ):
        yield Finding(at, "object-open")
    codes = [one for one in node.get("enum", []) if isinstance(one, str)]
    if codes and set(codes) - set(node.get("x-enum-titles") or {}):
        yield Finding(f"{at}/enum", "enum-titles")


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    yield from value.items() if isinstance(value, dict) else ()
