"""Two versions of a service's OpenAPI document, as its callers would notice the change.

What callers send goes backward: every request that the old document allows, the new one allows.
What they get goes forward: every answer that the new document allows, a reader of the old one
understands, who ignores properties that he does not know. Both are one way, :data:`Way.BACKWARD`:
old callers with a new service. Forward is new callers with an old service.

Invariants:
- an operation is the same by method and template; how a template names its variables is free;
- errors (4xx, 5xx) that the old document does not declare are no break: it could be answered with
  any; those that both declare are compared;
- what cannot be compared is a break.

Passed over, because no caller is bound by it: descriptions, examples, operation ids, tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exchange.compatibility.breaks import Break, Way, distinct
from exchange.compatibility.conjunctions import At
from exchange.compatibility.inclusion import Inclusion
from exchange.contracts.openapi import Declared, Draft, DraftContent, Reader

_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class _Side:
    reader: Reader
    operations: Mapping[tuple[str, str], Draft]

    @classmethod
    def of(cls, document: bytes, shared: Mapping[str, bytes]) -> _Side:
        reader = Reader(document, shared)
        drafts = {(one.method, _VARIABLE.sub("{}", one.template)): one for one in reader.drafts()}
        reader.schemas.close()
        return cls(reader, drafts)

    def at(self, name: str) -> At:
        return At.of(self.reader.schemas, name)


def compare_openapi(
    old: bytes,
    new: bytes,
    old_shared: Mapping[str, bytes],
    new_shared: Mapping[str, bytes],
    way: Way = Way.BACKWARD,
) -> tuple[Break, ...]:
    """Compare two versions of an OpenAPI document, each with its shared schemas by ``$id``.

    Returns: the breaks; none means that callers and service understand each other as ``way`` says.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when a document cannot be read.
    """
    before, after = _Side.of(old, old_shared), _Side.of(new, new_shared)
    breaks: list[Break] = []
    for one in way.ways:
        pair = (before, after) if one is Way.BACKWARD else (after, before)
        breaks += _Comparison(*pair, one).breaks()
    return distinct(breaks)


class _Comparison:
    """Callers that know one document, a service that keeps another."""

    def __init__(self, callers: _Side, service: _Side, way: Way) -> None:
        self._callers = callers
        self._service = service
        self._way = way
        self._asking = Inclusion(way)
        self._answering = Inclusion(way, tolerant=True)

    def breaks(self) -> Iterator[Break]:
        for key, known in self._callers.operations.items():
            kept = self._service.operations.get(key)
            if kept is None:
                named = f"{known.method} {known.template}"
                yield self._break(known.place.pointer, "operation", named)
            else:
                yield from self._parameters(known, kept)
                yield from self._request(known, kept)
                yield from self._answers(known, kept)
        for key, added in self._service.operations.items():
            if key not in self._callers.operations:
                yield from self._shadowed(added)

    def _shadowed(self, added: Draft) -> Iterator[Break]:
        """A path that now means another operation: concrete segments win over variables."""
        segments = added.template.split("/")
        for known in self._callers.operations.values():
            others = known.template.split("/")
            if known.method != added.method or len(others) != len(segments):
                continue
            taken = [
                (other[1:-1], one)
                for one, other in zip(segments, others, strict=True)
                if other.startswith("{") and not one.startswith("{")
            ]
            fixed = [
                (one, other)
                for one, other in zip(segments, others, strict=True)
                if not other.startswith("{")
            ]
            if (
                taken
                and all(one == other for one, other in fixed)
                and (all(self._takes(known, name, text) for name, text in taken))
            ):
                yield self._break(added.place.pointer, "shadowed", known.template)

    def _takes(self, known: Draft, name: str, text: str) -> bool:
        """Whether a variable of a path may have a text for its value, as far as can be told."""
        for one in known.parameters:
            if one.location == "path" and one.name == name:
                schemas = self._callers.reader.schemas
                kinds = schemas.types(one.schema)
                return kinds != {"string"} or schemas.judge(one.schema, "").is_valid(text)
        return True

    def _break(self, where: object, rule: str, subject: str) -> Break:
        return Break(self._way, str(where), rule, subject[:200])

    # -- what callers send ---------------------------------------------------------------------

    def _parameters(self, known: Draft, kept: Draft) -> Iterator[Break]:
        ours, theirs = _by_key(known), _by_key(kept)
        for key, one in ours.items():
            other = theirs.get(key)
            if other is None:
                yield self._break(one.place.pointer, "parameter", one.name)
            else:
                yield from self._parameter(one, other)
        for key, other in theirs.items():
            if key not in ours and other.node.get("required") is True:
                yield self._break(other.place.pointer, "parameter-required", other.name)
        if _strict(kept) and not _strict(known):
            yield self._break((kept.place / "x-saphan-strict-query").pointer, "strict-query", "")
        if known.selects is not None and known.selects != kept.selects:
            yield self._break(known.place.pointer, "parameter", known.selects)

    def _parameter(self, one: Declared, other: Declared) -> Iterator[Break]:
        where = other.place.pointer
        if other.node.get("required") is True and one.node.get("required") is not True:
            yield self._break(where, "parameter-required", other.name)
        exploded = one.location == "query"
        if one.node.get("explode", exploded) != other.node.get("explode", exploded) or (
            one.node.get("allowEmptyValue") is True
            and other.node.get("allowEmptyValue") is not True
        ):
            yield self._break(where, "parameter-style", other.name)
        yield from self._asking.breaks(self._callers.at(one.schema), self._service.at(other.schema))

    def _request(self, known: Draft, kept: Draft) -> Iterator[Break]:
        ours, theirs = known.request, kept.request
        if theirs is None:
            if ours is not None:
                yield self._break(kept.place.pointer, "request-body", "")
            return
        where = kept.place / "requestBody"
        if theirs.required and not (ours is not None and ours.required):
            yield self._break(where.pointer, "request-body-required", "")
        for kind, schema in (ours.schemas if ours is not None else {}).items():
            found, wanted = _content(theirs, kind)
            if not found:
                yield self._break(where.pointer, "request-type", kind)
            elif wanted is not None:
                if schema is None:
                    yield self._break(where.pointer, "unknown", kind)
                else:
                    narrow, wide = self._callers.at(schema), self._service.at(wanted)
                    yield from self._asking.breaks(narrow, wide)

    # -- what callers get ----------------------------------------------------------------------

    def _answers(self, known: Draft, kept: Draft) -> Iterator[Break]:
        for status, content in kept.responses.items():
            where = (kept.place / "responses" / status).pointer
            expected = known.responses.get(status)
            if expected is None and status != "default":
                expected = known.responses.get(f"{status[0]}XX", known.responses.get("default"))
            if expected is not None:
                yield from self._answer(expected, content, where, is_error=status[0] in "45")
            elif status[0] not in "45":
                yield self._break(where, "answer", status)

    def _answer(
        self, expected: DraftContent, given: DraftContent, where: str, *, is_error: bool
    ) -> Iterator[Break]:
        if expected.schemas and not given.schemas and not is_error:
            yield self._break(where, "answer-body", "")
        for kind, schema in given.schemas.items():
            found, wanted = _content(expected, kind)
            if not found:
                if not is_error:
                    yield self._break(where, "answer-type", kind)
            elif wanted is not None:
                if schema is None:
                    yield self._break(where, "unknown", kind)
                else:
                    narrow, wide = self._service.at(schema), self._callers.at(wanted)
                    yield from self._answering.breaks(narrow, wide)


def _by_key(draft: Draft) -> dict[tuple[str, str], Declared]:
    """Parameters by place and name; those of the path by their order in it."""
    order = {name: str(index) for index, name in enumerate(_VARIABLE.findall(draft.template))}
    return {
        (one.location, order[one.name] if one.location == "path" else one.name): one
        for one in draft.parameters
    }


def _strict(draft: Draft) -> bool:
    return draft.node.get("x-saphan-strict-query") is True


def _content(body: DraftContent, kind: str) -> tuple[bool, str | None]:
    """Whether a media type is declared, by itself or by a range, and with which schema."""
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if name in body.schemas:
            return True, body.schemas[name]
    return False, None
