"""Simple types as zeep found them to the shapes of texts."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from zeep.xsd.types import builtins
from zeep.xsd.types.collection import ListType, UnionType
from zeep.xsd.types.simple import AnySimpleType

from adapters.soap.shapes import Lexical, Simple

_KINDS: tuple[tuple[type, Lexical], ...] = (
    (builtins.Boolean, Lexical.BOOLEAN),
    (builtins.Integer, Lexical.INTEGER),
    (builtins.Decimal, Lexical.DECIMAL),
    (builtins.Float, Lexical.FLOAT),
    (builtins.Double, Lexical.FLOAT),
    (builtins.DateTime, Lexical.DATETIME),
    (builtins.Date, Lexical.DATE),
    (builtins.Base64Binary, Lexical.BASE64),
    (builtins.HexBinary, Lexical.HEX),
    (builtins.NormalizedString, Lexical.TOKEN),
    (builtins.String, Lexical.STRING),
)
_BOUNDS: tuple[tuple[type, int | None, int | None], ...] = (
    (builtins.Byte, -(2**7), 2**7 - 1),
    (builtins.Short, -(2**15), 2**15 - 1),
    (builtins.Int, -(2**31), 2**31 - 1),
    (builtins.Long, -(2**63), 2**63 - 1),
    (builtins.UnsignedByte, 0, 2**8 - 1),
    (builtins.UnsignedShort, 0, 2**16 - 1),
    (builtins.UnsignedInt, 0, 2**32 - 1),
    (builtins.UnsignedLong, 0, 2**64 - 1),
    (builtins.PositiveInteger, 1, None),
    (builtins.NonNegativeInteger, 0, None),
    (builtins.NegativeInteger, None, -1),
    (builtins.NonPositiveInteger, None, 0),
)
_LISTS = (builtins.NmTokens, builtins.Entities, builtins.IDREFS)
# Of XML Schema's expressions those that mean the same in ECMA-262: no names of classes, no anchors.
_SAME = re.compile(r"(\\[-.|()\[\]{}*+?]|\[[^\[\]\\^&~]+\]|[^\\\[\]^$&~]){1,200}")
# These can take exponential time where expressions are tried one way after the other.
_REPEATED_GROUP = re.compile(r"\)[+*{]")


def simple(found: Any) -> Simple:
    """The shape of a simple type."""
    if isinstance(found, ListType):
        item = simple(found.item_type)
        return replace(item, listed=True)
    if isinstance(found, UnionType) or not isinstance(found, AnySimpleType):
        return Simple(Lexical.STRING)
    kind = next((one for cls, one in _KINDS if isinstance(found, cls)), Lexical.TOKEN)
    if isinstance(found, _LISTS):
        return Simple(Lexical.TOKEN, listed=True)
    facets = getattr(found, "saphan_facets", {})
    if kind in (Lexical.STRING, Lexical.TOKEN):
        return _text(kind, facets)
    if kind in (Lexical.INTEGER, Lexical.DECIMAL):
        return _number(found, kind, facets)
    return Simple(kind)


def _text(kind: Lexical, facets: dict[str, Any]) -> Simple:
    length = _length(facets.get("length"))
    least = _length(facets.get("minLength"))
    most = _length(facets.get("maxLength"))
    return Simple(
        kind,
        values=facets.get("values", ()),
        pattern=_pattern(facets.get("pattern")),
        min_length=length if length is not None else least,
        max_length=length if length is not None else most,
    )


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else None


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if not text or not _SAME.fullmatch(text) or _REPEATED_GROUP.search(text):
        return None
    try:
        return re.compile(f"^({text})$")
    except re.error:
        return None


def _number(found: Any, kind: Lexical, facets: dict[str, Any]) -> Simple:
    low, high = next(
        ((low, high) for cls, low, high in _BOUNDS if isinstance(found, cls)), (None, None)
    )
    # Bounds that exclude matter for whole numbers, where the next one is known.
    step = 1 if kind is Lexical.INTEGER else 0
    lows = [low, _bound(facets, "minInclusive", 0), _bound(facets, "minExclusive", step)]
    highs = [high, _bound(facets, "maxInclusive", 0), _bound(facets, "maxExclusive", -step)]
    return Simple(
        kind,
        minimum=max((Decimal(one) for one in lows if one is not None), default=None),
        maximum=min((Decimal(one) for one in highs if one is not None), default=None),
    )


def _bound(facets: dict[str, Any], name: str, step: int) -> Decimal | None:
    text = facets.get(name)
    try:
        found = None if text is None else Decimal(str(text)) + step
    except InvalidOperation:
        return None
    return found if found is None or found.is_finite() else None
