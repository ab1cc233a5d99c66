"""What of a WSDL has changed since a mapping was published on it: pure, from types to words.

A change *breaks* when what is sent would be refused, or what comes would break the published
schema: of what is given, less is allowed or more is needed; of what is answered, more is allowed or
less is certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.findings import Drift
from adapters.soap.mapping import Mapping
from adapters.soap.rules import Path
from adapters.soap.shapes import Complex, Lexical, Member, Simple, Type, Types
from adapters.soap.wsdl import Contract, Operation

_TEXTS = (Lexical.STRING, Lexical.TOKEN)


def compare(mapping: Mapping, today: Contract) -> list[Drift]:
    """The changes from the contract that ``mapping`` was read with to that of today."""
    found: list[Drift] = []
    for call in mapping.calls:
        now = today.operations.get(call.name)
        if now is None:
            found.append(Drift(call.name, "the operation is gone", breaks=True))
        elif now.unusable is not None:
            found.append(Drift(call.name, f"cannot be asked any more: {now.unusable}", breaks=True))
        else:
            found += _of_call(mapping, call, now, today.types)
    shown = {call.name for call in mapping.calls}
    found += [
        Drift(name, "no endpoint asks this operation", breaks=False)
        for name in today.operations
        if name not in shown
    ]
    return list(dict.fromkeys(found))


def _of_call(mapping: Mapping, call: Operation, now: Operation, types: Types) -> Iterator[Drift]:
    if (call.version, call.action, call.any_wrapper) != (now.version, now.action, now.any_wrapper):
        yield Drift(call.name, "its version of SOAP, action or style has changed", breaks=True)
    if not mapping.source.address and call.address != now.address:
        yield Drift(call.name, "the address of the service has changed", breaks=True)
    known = {one.name for one in call.headers}
    for header in now.headers:
        if header.name not in known:
            yield Drift(call.name, f"declares the header {header.name} now", breaks=False)
    given = _Comparison(mapping.types, types, True, frozenset(_given(mapping, call)))
    yield from given.message(call.name, call.input, now.input)
    yield from _Comparison(mapping.types, types, False).message(call.name, call.output, now.output)


def _given(mapping: Mapping, call: Operation) -> Iterator[Path]:
    for service in mapping.services.values():
        for endpoint in service.endpoints:
            if endpoint.call.name == call.name:
                yield from (one.path for one in endpoint.parameters.values())
                yield from (path for path, _ in endpoint.fixed)
                if endpoint.body is not None:
                    yield endpoint.body


@dataclass(slots=True)
class _Comparison:
    """Compares the types of a message: of one that is ``given``, at the paths ``used``."""

    before: Types
    after: Types
    given: bool
    used: frozenset[Path] = frozenset()
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def message(self, name: str, old: Member | None, new: Member | None) -> Iterator[Drift]:
        """The changes of a whole message."""
        if old is None or new is None:
            if old is not new:
                yield Drift(name, "a message has become empty, or is none any more", breaks=True)
            return
        if old.tag != new.tag:
            yield Drift(name, f"the message is {new.name} now, was {old.name}", breaks=True)
        yield from self._type(name, (), old.type, new.type)

    def _member(self, name: str, path: Path, old: Member, new: Member) -> Iterator[Drift]:
        place = ".".join((name, *path))
        if old.repeated != new.repeated:
            words = "is a list now" if new.repeated else "is no list any more"
            yield Drift(place, words, breaks=True)
        needed = new.minimum > 0
        if needed != (old.minimum > 0):
            words = "is needed now" if needed else "may be left out now"
            yield Drift(place, words, breaks=needed == self.given)
        if old.nillable != new.nillable:
            words = "may be nil now" if new.nillable else "may not be nil any more"
            yield Drift(place, words, breaks=new.nillable != self.given)
        yield from self._type(name, path, old.type, new.type)

    def _type(self, name: str, path: Path, old: Type, new: Type) -> Iterator[Drift]:
        place = ".".join((name, *path))
        if isinstance(old, Simple) and isinstance(new, Simple):
            yield from self._simple(place, old, new)
        elif isinstance(old, str) and isinstance(new, str):
            if (old, new) not in self._seen:
                self._seen.add((old, new))
                yield from self._complex(name, path, self.before[old], self.after[new])
        else:
            words = "is an object now" if isinstance(new, str) else "is a single value now"
            yield Drift(place, words, breaks=True)

    def _simple(self, place: str, old: Simple, new: Simple) -> Iterator[Drift]:
        texts = old.kind in _TEXTS and new.kind in _TEXTS
        if (old.kind is not new.kind and not texts) or old.listed != new.listed:
            yield Drift(place, f"is {_named(new)} now, was {_named(old)}", breaks=True)
            return
        less, more = _narrowed(old, new), _narrowed(new, old)
        if less:
            yield Drift(place, f"allows less now ({', '.join(less)})", breaks=self.given)
        if more:
            yield Drift(place, f"allows more now ({', '.join(more)})", breaks=not self.given)

    def _complex(self, name: str, path: Path, old: Complex, new: Complex) -> Iterator[Drift]:
        place = ".".join((name, *path))
        for member in old.members:
            there, inner = new.member(member.name), (*path, member.name)
            if there is not None:
                yield from self._member(name, inner, member, there)
            else:
                needed = self._is_used(inner) if self.given else member.minimum > 0
                yield Drift(".".join((name, *inner)), "is gone", breaks=needed)
        for member in new.members:
            if old.member(member.name) is None:
                breaks = not self.given or member.minimum > 0
                words = "is new" if self.given else "is new: an answer that has it is refused"
                yield Drift(".".join((name, *path, member.name)), words, breaks=breaks)
        if {*old.choices} != {*new.choices}:
            yield Drift(place, "which members go together has changed", breaks=True)
        if {*old.derived} != {*new.derived} or old.abstract != new.abstract:
            yield Drift(place, "which types may come there has changed", breaks=True)
        for kind in old.derived:
            if kind in new.derived and (kind, kind) not in self._seen:
                self._seen.add((kind, kind))
                yield from self._complex(name, path, self.before[kind], self.after[kind])

    def _is_used(self, path: Path) -> bool:
        return any(path[: len(one)] == one or one[: len(path)] == path for one in self.used)


def _named(simple: Simple) -> str:
    return f"a list of {simple.kind}" if simple.listed else str(simple.kind)


def _narrowed(old: Simple, new: Simple) -> list[str]:
    """In what ``new`` does not allow all that ``old`` does."""
    found = []
    if new.values and (not old.values or not {*old.values} <= {*new.values}):
        found.append("values")
    if new.pattern is not None and (old.pattern is None or old.pattern != new.pattern):
        found.append("form")
    if (new.min_length or 0) > (old.min_length or 0):
        found.append("least length")
    if new.max_length is not None and (old.max_length is None or new.max_length < old.max_length):
        found.append("greatest length")
    if new.minimum is not None and (old.minimum is None or new.minimum > old.minimum):
        found.append("least value")
    if new.maximum is not None and (old.maximum is None or new.maximum < old.maximum):
        found.append("greatest value")
    return found
