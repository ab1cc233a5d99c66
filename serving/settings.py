"""Settings are data: a dataclass names each with its unit, default and one sentence.

A settings class is a frozen dataclass whose fields are made with :func:`setting`. :func:`load`
turns a mapping (YAML) into it: unknown keys, missing values, wrong types and values out of range
are refused with the place; nothing is read from the environment except ``${NAME}`` in strings,
and only where the field allows it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from exchange.problems import Code, Problem
from serving.yaml_files import read_yaml

MAX_SETTINGS_BYTES = 1 << 20
T = TypeVar("T")
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def setting(
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A field of a settings class: its sentence, default and bounds."""
    metadata = {"help": help, "low": low, "high": high}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def read(cls: type[T], path: Path) -> T:
    """Read a YAML file into ``cls``; relative paths in it are relative to the file's folder.

    Raises:
        Problem: ``InvalidSettings`` when the file cannot be read or breaks the table.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _bad(str(path), f"cannot be read: {error.strerror}") from error
    if len(text) > MAX_SETTINGS_BYTES:
        raise _bad(str(path), "longer than 1 MiB")
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        raise _bad(str(path), f"is not YAML: {error}") from error
    return load(cls, document, where=path.name, folder=path.resolve().parent)


def load(cls: type[T], document: object, *, where: str, folder: Path = Path()) -> T:
    """Turn a decoded mapping into ``cls``.

    Raises:
        Problem: ``InvalidSettings`` naming the setting and what is wrong with it.
    """
    if not isinstance(document, Mapping):
        raise _bad(where, "must be a mapping of settings")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for key in document:
        if key not in fields:
            raise _bad(f"{where}.{key}", f"unknown setting; known are: {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        place = f"{where}.{name}"
        if name not in document:
            if (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise _bad(place, f"is required: {field.metadata.get('help', '')}")
            continue
        value = _convert(hints[name], document[name], place, folder)
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if low is not None and value is not None and value < low:
            raise _bad(place, f"must be at least {low}")
        if high is not None and value is not None and value > high:
            raise _bad(place, f"must be at most {high}")
        values[name] = value
    return cls(**values)


def table(cls: type[Any], prefix: str = "") -> list[tuple[str, str, str]]:
    """Every setting of ``cls`` as (name, default, sentence), nested ones with a dotted name."""
    rows: list[tuple[str, str, str]] = []
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = _strip_optional(hints[field.name])
        origin = typing.get_origin(hint)
        if origin is Mapping:
            rows.append((field.name, "–", field.metadata.get("help", "")))
            continue
        inner = typing.get_args(hint)[0] if origin in (tuple, list) else hint
        name = f"{prefix}{field.name}" + ("[]" if origin in (tuple, list) else "")
        if field.default is not dataclasses.MISSING:
            default = "–" if field.default is None else str(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = "–"
        else:
            default = "required"
        rows.append((name, default, field.metadata.get("help", "")))
        if dataclasses.is_dataclass(inner) and isinstance(inner, type) and _is_settings(inner):
            rows.extend(table(inner, f"{name}."))
    return rows


def _is_settings(cls: type[Any]) -> bool:
    return all("help" in field.metadata for field in dataclasses.fields(cls))


def _strip_optional(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        return arms[0]
    return hint


def _convert(hint: Any, value: object, place: str, folder: Path) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = _strip_optional(hint)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise _bad(place, "must be a list")
        inner = typing.get_args(hint)[0]
        return tuple(
            _convert(inner, item, f"{place}[{number}]", folder) for number, item in enumerate(value)
        )
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _bad(place, "must be a mapping of names")
        inner = typing.get_args(hint)[1]
        return {key: _convert(inner, item, f"{place}.{key}", folder) for key, item in value.items()}
    if hint in (bool, int, float):
        return _scalar(hint, value, place)
    if dataclasses.is_dataclass(hint) and _is_settings(cast("type[Any]", hint)):
        return load(cast("type[Any]", hint), value, where=place, folder=folder)
    if not isinstance(value, str):
        raise _bad(place, "must be text")
    return _from_text(hint, _expand(value, place), place, folder)


def _scalar(hint: type[bool | int | float], value: object, place: str) -> bool | int | float:
    """A truth value or a number; YAML's ``true`` is no number."""
    if hint is bool:
        if not isinstance(value, bool):
            raise _bad(place, "must be true or false")
        return value
    if hint is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _bad(place, "must be a whole number")
        return value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _bad(place, "must be a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise _bad(place, "must be a number that is not as large") from error
    if not isfinite(number):
        raise _bad(place, "must be a number")
    return number


def _from_text(hint: Any, text: str, place: str, folder: Path) -> Any:
    if hint is str:
        return text
    if hint is Path:
        return folder / text
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(text)
        except ValueError as error:
            choices = ", ".join(str(member.value) for member in hint)
            raise _bad(place, f"must be one of: {choices}") from error
    if hasattr(hint, "parse"):
        try:
            return hint.parse(text)
        except Problem as problem:
            raise _bad(place, problem.detail) from problem
    raise TypeError(f"no conversion for the setting type {hint!r}")


def _expand(text: str, place: str) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise _bad(place, f"the environment has no variable {name}")
        return os.environ[name]

    return _VARIABLE.sub(replace, text)


def _bad(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_SETTINGS, where=where, detail=detail)
