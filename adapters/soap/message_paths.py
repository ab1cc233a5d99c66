"""Where in a message a value goes: paths of members, judged by the types of the WSDL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.mapping.reader import Node
from adapters.soap.rules import Path
from adapters.soap.shapes import Complex, Member, Types


@dataclass(frozen=True, slots=True)
class Message:
    """A message, by whose members paths are judged."""

    root: Member | None
    types: Types

    def member(self, path: Path, node: Node) -> Member:
        """The member at ``path``; that of the whole message for none."""
        if self.root is None:
            node.refuse("the operation's message is empty")
        member = self.root
        for index, name in enumerate(path):
            shape = self._shape(member)
            if shape is None or (index and member.repeated):
                node.refuse(f"{'.'.join(path[:index])} has no members to choose from")
            if shape.abstract:
                inside = ".".join(path[:index]) or self.root.name
                node.refuse(f"{inside} is of an abstract type: only a body can say of which")
            found = shape.member(name)
            if found is None:
                known = ", ".join(one.name for one in shape.members)
                inside = ".".join(path[:index]) or self.root.name
                node.refuse(f"{inside} has no member {name!r}; it has: {known or 'none'}")
            member = found
        return member

    def is_required(self, path: Path) -> bool:
        """Whether the message needs each step of ``path``."""
        return all(self._step(path[: index + 1]).minimum > 0 for index in range(len(path)))

    def needed(self, covered: list[Path]) -> tuple[Path, ...]:
        """Objects that a message has even when nothing in them is given."""
        if self.root is None or () in covered:
            return ()
        return tuple(sorted(self._empty(self.root, (), covered)))

    def _empty(self, member: Member, path: Path, covered: list[Path]) -> Iterator[Path]:
        shape = self._shape(member)
        for inner in () if shape is None else shape.members:
            place = (*path, inner.name)
            if inner.minimum and isinstance(inner.type, str) and place not in covered:
                yield place
                yield from self._empty(inner, place, covered)

    def check_covered(self, covered: list[Path], node: Node) -> None:
        """Refuse a mapping that leaves out what the message needs."""
        if self.root is not None and () not in covered:
            self._check(self.root, (), covered, node)

    def _check(self, member: Member, path: Path, covered: list[Path], node: Node) -> None:
        shape = self._shape(member)
        for inner in () if shape is None else shape.members:
            place = (*path, inner.name)
            if place in covered:
                continue
            given = any(one[: len(place)] == place for one in covered)
            if given or (inner.minimum and self._may_be_empty(inner)):
                self._check(inner, place, covered, node)
            elif inner.minimum:
                node.refuse(f"the message needs {'.'.join(place)}: map a parameter to it or fix it")

    def _may_be_empty(self, member: Member, depth: int = 20) -> bool:
        """Whether it is one object that itself needs no single value."""
        shape = self._shape(member)
        return (
            shape is not None
            and depth > 0  # a type can need itself without end
            and not member.repeated
            and not shape.abstract
            and shape.text is None
            and all(choice.holds(frozenset()) for choice in shape.choices)
            and all(self._may_be_empty(one, depth - 1) for one in shape.members if one.minimum)
        )

    def _step(self, path: Path) -> Member:
        member = self.root
        for name in path:
            shape = None if member is None else self._shape(member)
            member = None if shape is None else shape.member(name)
        assert member is not None  # noqa: S101 (`member` was asked before)
        return member

    def _shape(self, member: Member) -> Complex | None:
        return self.types[member.type] if isinstance(member.type, str) else None
