"""Parameters of a request: read from path, query and header, and judged by their schemas.

Invariants:
- text becomes a value only if it is the one JSON spelling of that value: ``7`` but not ``+7``,
  ``07`` or ``7_0``; ``true`` but not ``True``;
- a parameter that has one value is given once: what a backend would make of a second is unknown;
- styles are OpenAPI's defaults: ``form`` in the query, ``simple`` in path and header, with
  ``explode`` as declared (OpenAPI 3.1.1 section 4.8.12).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from exchange.contracts.violations import violation
from exchange.problems import Code, Problem
from exchange.schema_sets.compiled import CompiledSchema

MAX_VALUE_LENGTH: Final = 4096
MAX_VALUES: Final = 1000
KINDS: Final = ("boolean", "integer", "number", "string")

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_NUMBER: Final = re.compile(
    r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter.

    ``kinds`` are the types its value (or each item, when ``array``) can have; ``schema`` is None
    when the type says all.
    """

    name: str
    where: str
    required: bool
    kinds: tuple[str, ...]
    array: bool
    explode: bool
    allow_empty: bool
    schema: CompiledSchema | None
    accepts: Callable[[str], bool]

    def check(self, text: str) -> None:
        """Judge the decoded text of a parameter that is not an array.

        Raises:
            Problem: ``SCHEMA_VIOLATION`` at the parameter.
        """
        if not self.accepts(text) and (text or not self.allow_empty):
            self._refuse(list(_values(text, self.kinds)))

    def check_array(self, texts: list[str]) -> None:
        """Judge the decoded texts of an array's items.

        Raises:
            Problem: ``SCHEMA_VIOLATION`` at the parameter.
        """
        if len(texts) > MAX_VALUES:
            raise _problem(self.where, f"more than {MAX_VALUES} values")
        instances: list[Any] = []
        for kind in self.kinds:
            instance = [next(_values(text, (kind,)), _NOTHING) for text in texts]
            if not any(value is _NOTHING for value in instance):
                if self.schema is None or self.schema.is_valid(instance):
                    return
                instances.append(instance)
        self._refuse(instances)

    def _refuse(self, instances: list[Any]) -> None:
        if instances and self.schema is not None:
            raise violation(Code.SCHEMA_VIOLATION, self.where, self.schema, instances[0])
        each = "each value " if self.array else ""
        raise _problem(self.where, f"{each}must be of type {' or '.join(self.kinds)}")

    def missing(self) -> Problem:
        return _problem(self.where, "required but not given")


def acceptor(kinds: tuple[str, ...], schema: CompiledSchema | None) -> Callable[[str], bool]:
    """The judgement of one text, made once: the usual single types without detours."""
    is_valid = schema.is_valid if schema is not None else _anything
    if kinds == ("string",):
        return lambda text: len(text) <= MAX_VALUE_LENGTH and is_valid(text)
    if kinds == ("integer",):
        return lambda text: (
            _INTEGER.fullmatch(text) is not None
            and _INT64_MIN <= (number := int(text)) <= _INT64_MAX
            and is_valid(number)
        )
    return lambda text: any(is_valid(value) for value in _values(text, kinds))


def _anything(_value: Any) -> bool:
    return True


_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_NOTHING: Final = object()


def _values(text: str, kinds: tuple[str, ...]) -> Iterator[Any]:
    """The values that a text can mean, most specific first."""
    if len(text) > MAX_VALUE_LENGTH:
        return
    for kind in kinds:
        if kind == "string":
            yield text
        elif kind == "integer":
            if _INTEGER.fullmatch(text) and _INT64_MIN <= (number := int(text)) <= _INT64_MAX:
                yield number
        elif kind == "number":
            if _NUMBER.fullmatch(text) and isfinite(real := float(text)):
                yield int(text) if _INTEGER.fullmatch(text) else real
        elif text in _BOOLEANS:
            yield _BOOLEANS[text]


def check_query(query: str, declared: Mapping[str, Parameter], strict: bool) -> None:
    """Judge a query against the declared parameters.

    Args:
        query: still percent-encoded, without ``?``.
        declared: by name.
        strict: refuse names that are not declared.

    Raises:
        Problem: ``SCHEMA_VIOLATION`` at ``query.NAME``.
    """
    given: dict[str, list[str]] = {}
    pairs = query.split("&") if query else ()
    if len(pairs) > MAX_VALUES:
        raise _problem("query", f"more than {MAX_VALUES} parameters")
    for pair in pairs:
        name, _, text = pair.partition("=")
        if "%" in name or "+" in name:
            name = _decode(name, "query")
        parameter = declared.get(name)
        if parameter is None:
            if strict and pair:
                raise _problem("query", "holds a parameter that is not declared")
        elif name in given:
            given[name].append(text)
            if not parameter.array or not parameter.explode:
                raise _problem(parameter.where, "given more than once but has one value")
        else:
            given[name] = [text]
            if not parameter.array:
                if "%" in text or "+" in text:
                    text = _decode(text, parameter.where)
                parameter.check(text)
    for name, parameter in declared.items():
        if name not in given:
            if parameter.required:
                raise parameter.missing()
        elif parameter.array:
            texts = given[name] if parameter.explode else given[name][0].split(",")
            parameter.check_array([_decode(text, parameter.where) for text in texts])


def check_headers(headers: tuple[tuple[str, str], ...], declared: Mapping[str, Parameter]) -> None:
    """Judge header fields against the declared parameters (lower-case names).

    Raises:
        Problem: ``SCHEMA_VIOLATION`` at ``header.NAME``.
    """
    given: dict[str, list[str]] = {}
    for name, value in headers:
        if name in declared:
            given.setdefault(name, []).append(value)
    for name, parameter in declared.items():
        texts = given.get(name)
        if texts is None:
            if parameter.required:
                raise parameter.missing()
        elif parameter.array:  # RFC 9110 section 5.3: repeated fields are one list
            parameter.check_array([text.strip(" \t") for text in ",".join(texts).split(",")])
        else:
            if len(texts) != 1:
                raise _problem(parameter.where, "given more than once but has one value")
            parameter.check(texts[0])


def check_path(values: Mapping[str, str], declared: Mapping[str, Parameter]) -> None:
    """Judge the decoded variables of the path.

    Raises:
        Problem: ``SCHEMA_VIOLATION`` at ``path.NAME``.
    """
    for name, parameter in declared.items():
        if parameter.array:
            parameter.check_array(values[name].split(","))
        else:
            parameter.check(values[name])


def _decode(text: str, where: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _problem(where, "malformed percent-encoding")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError as error:
        raise _problem(where, "percent-encoding that is not UTF-8") from error


def _problem(where: str, detail: str) -> Problem:
    return Problem(
        Code.SCHEMA_VIOLATION, where=where, detail=detail, facts={"keyword": "parameter"}
    )
