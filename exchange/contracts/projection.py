"""Projection: what an agreement releases of a JSON value, and nothing else.

Invariants:
- a released pointer (RFC 6901, with ``*`` for every item of an array) releases the value it
  points to with everything below;
- objects and arrays on the way to a released value are kept, with nothing else in them: an empty
  list stays an empty list, an item without any released member becomes ``{}``;
- what has another shape than the pointer expects is left out, even ``null``: names match members
  of objects only, ``*`` matches items of arrays only;
- the one field ``*`` releases everything, and then the value itself is returned, not a copy.

The value returned shares its released parts with the one given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from exchange.problems import Code, Problem

EVERYTHING: Final = "*"
MAX_FIELDS: Final = 512
MAX_DEPTH: Final = 16
MAX_POINTER: Final = 512

_POINTER: Final = re.compile(r"(?:/(?:[^~/\x00-\x1f]|~[01])+)+")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_STAR: Final = "*"
_NOTHING: Final = object()

_Trie: TypeAlias = dict[str, "_Trie | None"]  # None: released with everything below
_Tokens: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """A place on the way to released values.

    ``whole`` are the members released with all below, ``inner`` those to walk into. ``items``
    says the same of the items of an array; ``whole_items`` releases them all.
    """

    whole: tuple[str, ...]
    inner: tuple[tuple[str, _Node], ...]
    items: _Node | None
    whole_items: bool

    @classmethod
    def build(cls, trie: _Trie) -> _Node:
        below = {token: trie[token] for token in trie if token != _STAR}
        items = trie.get(_STAR)
        return cls(
            whole=tuple(token for token, rest in below.items() if rest is None),
            inner=tuple((token, cls.build(rest)) for token, rest in below.items() if rest),
            items=cls.build(items) if items else None,
            whole_items=_STAR in trie and items is None,
        )

    def keep(self, value: Any) -> Any:
        """The released part of ``value``, or ``_NOTHING``."""
        kind = type(value)
        if kind is dict:
            whole, inner = self.whole, self.inner
            if not whole and not inner:
                return _NOTHING
            kept = {name: value[name] for name in whole if name in value}
            for name, node in inner:
                if name in value:
                    part = node.keep(value[name])
                    if part is not _NOTHING:
                        kept[name] = part
            return kept
        if kind is list:
            if self.whole_items:
                return value
            if self.items is not None:
                return self.items.keep_items(value)
        return _NOTHING

    def keep_items(self, values: list[Any]) -> list[Any]:
        """The released parts of an array's items; this node is that of each item."""
        whole = self.whole
        if whole and not self.inner and self.items is None and not self.whole_items:
            # Rows of a table, the common case by far: no call for each item.
            return [
                {name: item[name] for name in whole if name in item}
                for item in values
                if type(item) is dict
            ]
        keep = self.keep
        return [part for part in map(keep, values) if part is not _NOTHING]


@dataclass(frozen=True, slots=True)
class Projection:
    """The compiled fields of a grant."""

    fields: tuple[str, ...]
    everything: bool
    _root: _Node
    _pointers: frozenset[_Tokens]
    _names: frozenset[str]

    @classmethod
    def compile(cls, fields: Sequence[str], where: str = "fields") -> Projection:
        """Compile pointers such as ``/items/*/amount_usd``, or the one field ``*``.

        Raises:
            Problem: ``AGREEMENT_INVALID`` at ``where/<index>`` for a pointer that is malformed,
                too long, too deep or given twice, or ``*`` beside others; at ``where`` when there
                is none or there are more than 512.
        """
        if not 1 <= len(fields) <= MAX_FIELDS:
            raise _invalid(where, f"{len(fields)} fields, 1 to {MAX_FIELDS} are allowed")
        if list(fields) == [EVERYTHING]:
            return cls((EVERYTHING,), True, _Node((), (), None, False), frozenset(), frozenset())
        trie: _Trie = {}
        pointers: set[_Tokens] = set()
        for number, field in enumerate(fields):
            tokens = _tokens(field, f"{where}/{number}")
            if tokens in pointers:
                raise _invalid(f"{where}/{number}", f"{field!r} is given twice")
            pointers.add(tokens)
            _plant(trie, tokens)
        return cls(
            fields=tuple(fields),
            everything=False,
            _root=_Node.build(trie),
            _pointers=frozenset(pointers),
            _names=frozenset(tokens[-1] for tokens in pointers) - {_STAR},
        )

    def project(self, value: Any) -> Any:
        """The released part of a decoded JSON value.

        Returns None when not even the outermost object or array is on the way to a released
        value.
        """
        if self.everything:
            return value
        kept = self._root.keep(value)
        return None if kept is _NOTHING else kept

    def releases(self, field: str) -> bool:
        """Whether a caller may ask for this field.

        A field that begins with ``/`` is a pointer and is released when it, or a place above it,
        is; an index in it counts as an item. A bare name is released when some released pointer
        ends in it, or when all of the document, of its items, or of the items of its ``items`` is
        released. In a path with dots (``tranches.amount``) each dot is a step, into each item
        where there is a list; it is released as a name is, or when a part that it begins with is.
        """
        if self.everything:
            return True
        if not field.startswith("/"):
            return (
                field in self._names
                or any(self._covers((*above, field)) for above in ((), (_STAR,), ("items", _STAR)))
                or ("." in field and self._releases_path(tuple(field.split("."))))
            )
        try:
            return self._covers(_tokens(field, "field"))
        except Problem:
            return False

    def within(self, *place: str) -> Projection | None:
        """What is released below ``place``, as of the values there; None when nothing is.

        ``place`` are the steps to them, ``*`` for every item of an array: within ``items`` and
        ``*``, the field ``/items/*/name`` is ``/name``.
        """
        count, pointers = len(place), self._pointers
        if self.everything or any(place[: len(pointer)] == pointer for pointer in pointers):
            return Projection.compile((EVERYTHING,))
        below = [pointer[count:] for pointer in pointers if pointer[:count] == place]
        return Projection.compile(sorted(map(_pointer, below))) if below else None

    def _releases_path(self, path: _Tokens) -> bool:
        for pointer in self._pointers:
            names = tuple(token for token in pointer if token != _STAR)
            below = names[names[:1] == ("items",) :]
            if names[-len(path) :] == path or (below and path[: len(below)] == below):
                return True
        return False

    def _covers(self, tokens: _Tokens) -> bool:
        return any(
            len(pointer) <= len(tokens)
            and all(
                own == asked or (own == _STAR and _INDEX.fullmatch(asked))
                for own, asked in zip(pointer, tokens, strict=False)
            )
            for pointer in self._pointers
        )


def _plant(trie: _Trie, tokens: _Tokens) -> None:
    for token in tokens[:-1]:
        below = trie.setdefault(token, {})
        if below is None:
            return  # a place above is released already
        trie = below
    trie[tokens[-1]] = None


def _tokens(field: str, where: str) -> _Tokens:
    if len(field) > MAX_POINTER or not _POINTER.fullmatch(field):
        raise _invalid(where, f"{field[:80]!r} is not a JSON pointer such as /items/*/name")
    tokens = tuple(token.replace("~1", "/").replace("~0", "~") for token in field[1:].split("/"))
    if len(tokens) > MAX_DEPTH:
        raise _invalid(where, f"{len(tokens)} steps deep, at most {MAX_DEPTH} are allowed")
    return tokens


def _pointer(tokens: _Tokens) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def _invalid(where: str, detail: str) -> Problem:
    return Problem(Code.AGREEMENT_INVALID, where=where, detail=detail)
