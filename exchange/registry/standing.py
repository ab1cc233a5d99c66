"""What the registry takes away: disabled things, and members merged into others.

Two files say so. ``standing.json`` is of a role of its own, which an online key signs, so that
service can be stopped at once; it can only take away, and what it takes is listed with a reason::

    {"disabled": [{"kind": "service", "id": "LA/GOV/MPI/oda-mis/projects",
                   "since": "2026-11-22T08:00:00Z", "reason": {"en": …, "lo": …}}]}

``mergers.json`` is of the registry's own role, which its offline keys sign::

    {"mergers": [{"from": "LA/GOV/MPI", "into": "LA/GOV/MOF", "at": "2026-11-22T08:00:00Z",
                  "ground": {"en": …, "lo": …},
                  "services": {"LA/GOV/MPI/oda-mis/projects": "LA/GOV/MOF/oda-mis/projects"}}]}

Invariants:
- neither file can open a door, name a key or change what a member says;
- what belongs to something disabled is disabled with it;
- a call to the old id of something merged is not passed on: its answer names the successor, with
  which a new agreement is needed, as it is another legal person; where that one has gone on into
  another since, the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from exchange.documents import Node, format_document, format_moment, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Fact, Problem, Text
from exchange.registrations import MERGERS_TARGET, STANDING_TARGET

MAX_STANDING_BYTES: Final = 2 << 20
MAX_DISABLED: Final = 4096
MAX_MERGERS: Final = 1024
MAX_MERGED_SERVICES: Final = 4096

Identifier: TypeAlias = MemberId | ServerId | ApplicationId | ServiceId
KINDS: Final[Mapping[str, type[Identifier]]] = {
    "member": MemberId,
    "server": ServerId,
    "application": ApplicationId,
    "service": ServiceId,
}


def thing_kind(identifier: Identifier) -> str:
    """What an identifier is of."""
    return next(name for name, kind in KINDS.items() if kind is type(identifier))


@dataclass(frozen=True, slots=True)
class Disabled:
    """Something that the registry has switched off."""

    id: Identifier
    since: datetime
    reason: Text

    @property
    def kind(self) -> str:
        """What it is."""
        return thing_kind(self.id)

    def problem(self, asked: object) -> Problem:
        """Why a call that concerns ``asked`` is refused."""
        return Problem(
            Code.DISABLED,
            where=str(asked),
            detail=f"the {self.kind} {self.id} is disabled: {self.reason.en} · {self.reason.lo}",
            facts={
                "kind": self.kind,
                "id": str(self.id),
                "since": self.since.isoformat(),
                "reason_en": self.reason.en,
                "reason_lo": self.reason.lo,
            },
        )


@dataclass(frozen=True, slots=True)
class Merger:
    """That one member went into another."""

    old: MemberId
    into: MemberId
    at: datetime
    ground: Text
    services: Mapping[ServiceId, ServiceId] = field(default_factory=dict)

    @property
    def id(self) -> MemberId:
        """What went."""
        return self.old

    def then(self, later: Merger) -> Merger:
        """The same member, into what its successor went into; at the time of that."""
        services = {
            old: later.services[new] for old, new in self.services.items() if new in later.services
        }
        return Merger(self.old, later.into, later.at, later.ground, services)

    def problem(self, asked: object) -> Problem:
        """Why a call that concerns ``asked`` is refused, and where to turn."""
        facts: dict[str, Fact] = {
            "id": str(asked),
            "member": str(self.old),
            "successor": str(self.into),
            "since": self.at.isoformat(),
        }
        successor = self.services.get(asked) if isinstance(asked, ServiceId) else None
        if successor is not None:
            facts["successor_service"] = str(successor)
        return Problem(
            Code.MERGED,
            where=str(asked),
            detail=f"{self.old} went into {self.into}: ask {successor or self.into} "
            f"({self.ground.en} · {self.ground.lo})",
            facts=facts,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is taken away."""

    disabled: tuple[Disabled, ...] = ()
    mergers: tuple[Merger, ...] = ()
    _by_id: Mapping[Identifier, Disabled] = field(init=False, repr=False, compare=False)
    _by_member: Mapping[MemberId, Merger] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {one.id: one for one in self.disabled})
        object.__setattr__(self, "_by_member", {one.old: one for one in self.mergers})

    def of(self, identifier: Identifier) -> Disabled | None:
        """What switches ``identifier`` off: itself, or what it belongs to."""
        if not self._by_id:
            return None
        belongs: list[Identifier] = [identifier]
        if isinstance(identifier, ServiceId):
            belongs.append(identifier.application)
        if not isinstance(identifier, MemberId):
            belongs.append(identifier.member)
        return next((self._by_id[one] for one in belongs if one in self._by_id), None)

    def merger_of(self, identifier: Identifier) -> Merger | None:
        """The merger by which ``identifier`` has gone, into the last that it went on into."""
        member = identifier if isinstance(identifier, MemberId) else identifier.member
        found = self._by_member.get(member)
        passed = {member}
        while found is not None and (later := self._by_member.get(found.into)) is not None:
            # Only later ones: a member that comes back after it went may take over its successor.
            passed.add(found.into)
            if later.at < found.at or later.into in passed:
                break
            found = found.then(later)
        return found

    def check(self, identifier: Identifier) -> None:
        """Raises: Problem ``DisabledByRegistry`` when it is switched off."""
        disabled = self.of(identifier)
        if disabled is not None:
            raise disabled.problem(identifier)


NOTHING_AWAY: Final = Standing()


def parse_standing(data: bytes) -> tuple[Disabled, ...]:
    """Parse ``standing.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    return _rows(data, STANDING_TARGET, "disabled", MAX_DISABLED, _disabled)


def format_standing(disabled: tuple[Disabled, ...]) -> bytes:
    """The canonical bytes of ``standing.json``."""
    return format_document(
        {
            "disabled": [
                {
                    "kind": one.kind,
                    "id": str(one.id),
                    "since": format_moment(one.since),
                    "reason": one.reason.as_dict(),
                }
                for one in sorted(disabled, key=lambda one: (one.kind, str(one.id)))
            ]
        }
    )


def parse_mergers(data: bytes) -> tuple[Merger, ...]:
    """Parse ``mergers.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    return _rows(data, MERGERS_TARGET, "mergers", MAX_MERGERS, _merger)


def format_mergers(mergers: tuple[Merger, ...]) -> bytes:
    """The canonical bytes of ``mergers.json``."""
    return format_document(
        {
            "mergers": [
                {
                    "from": str(one.old),
                    "into": str(one.into),
                    "at": format_moment(one.at),
                    "ground": one.ground.as_dict(),
                    "services": {str(old): str(new) for old, new in one.services.items()},
                }
                for one in mergers
            ]
        }
    )


Row = TypeVar("Row", Disabled, Merger)


def _rows(
    data: bytes, target: str, name: str, most: int, parse: Callable[[Node], Row]
) -> tuple[Row, ...]:
    """The rows of a document that has one list; each takes away another thing."""
    document = parse_document(data, MAX_STANDING_BYTES, target)
    rows = document.members(frozenset({name}))[name]
    found = tuple(parse(node) for node in rows.items(most))
    if len({one.id for one in found}) != len(found):
        raise rows.refuse("names the same thing twice")
    return found


def _disabled(node: Node) -> Disabled:
    fields = node.members(frozenset({"kind", "id", "since", "reason"}))
    kind, text = fields["kind"].text(20), fields["id"].text(2048)
    if kind not in KINDS:
        raise fields["kind"].refuse(f"must be one of {', '.join(KINDS)}")
    try:
        identifier = KINDS[kind].parse(text)
    except Problem as problem:
        raise fields["id"].refuse(problem.detail) from problem
    return Disabled(identifier, fields["since"].moment(), fields["reason"].bilingual())


def _merger(node: Node) -> Merger:
    fields = node.members(frozenset({"from", "into", "at", "ground", "services"}))
    old, into = fields["from"].identifier(MemberId), fields["into"].identifier(MemberId)
    if old == into:
        raise fields["into"].refuse("a member cannot go into itself")
    services = {}
    for name, target in fields["services"].entries(MAX_MERGED_SERVICES):
        service = Node(name, target.noun, target.pointer).identifier(ServiceId)
        successor = target.identifier(ServiceId)
        if service.member != old or successor.member != into:
            raise target.refuse(f"a service of {old} goes into one of {into}")
        services[service] = successor
    return Merger(old, into, fields["at"].moment(), fields["ground"].bilingual(), services)
