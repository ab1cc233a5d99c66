"""What the registry itself is asked to do: orders of its operator, and proposals for its own role.

Orders disable, enable, delete or merge::

    {"kind": "disable", "thing": {"kind": "service", "id": "LA/GOV/MPI/oda-mis/projects"},
     "reason": {"en": …, "lo": …}}
    {"kind": "merge", "thing": {"kind": "member", "id": "LA/GOV/MPI"}, "into": "LA/GOV/MOF",
     "services": {"LA/GOV/MPI/oda-mis/projects": "LA/GOV/MOF/oda-mis/projects"}, "reason": …}

A proposal is one file of the registry's own role, such as a schema: bytes and a note, signed by
nobody yet; or that one is withdrawn. Its approval takes the targets keys. Takes bytes and values
and touches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registrations import is_own_target
from exchange.registry.standing import KINDS, MAX_MERGED_SERVICES, Identifier, thing_kind
from registry.requests.changes import Change, ChangeKind
from registry.requests.lifecycle import Kind
from registry.requests.submissions import decode, encode

MAX_ORDER_BYTES = 1 << 20
MAX_PROPOSAL_BYTES = 8 << 20
_ORDERS: Mapping[str, tuple[Kind, ChangeKind]] = {
    "disable": (Kind.DISABLE, ChangeKind.DISABLE),
    "enable": (Kind.ENABLE, ChangeKind.ENABLE),
    "delete": (Kind.DELETE, ChangeKind.DELETE_MEMBER),
    "merge": (Kind.MERGE, ChangeKind.MERGE_MEMBER),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with which thing, and why."""

    kind: Kind
    thing: Identifier
    reason: Text
    into: MemberId | None = None
    services: Mapping[ServiceId, ServiceId] = field(default_factory=dict)

    @property
    def member(self) -> MemberId:
        """Whose thing it is."""
        return self.thing if isinstance(self.thing, MemberId) else self.thing.member

    @property
    def changes(self) -> tuple[Change, ...]:
        """The one change that it makes."""
        kind = _ORDERS[self.kind.value][1]
        detail = self.reason.en if self.into is None else f"into {self.into}: {self.reason.en}"
        return (Change(kind, str(self.thing), detail),)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A file that the registry shall publish as its own; without ``data``, withdraw."""

    path: str
    data: bytes | None
    note: str = ""

    @property
    def changes(self) -> tuple[Change, ...]:
        """The one change that it makes."""
        if self.data is None:
            return (Change(ChangeKind.WITHDRAW, self.path),)
        return (Change(ChangeKind.PUBLISH, self.path, f"{len(self.data)} bytes"),)


def parse_order(data: bytes) -> Order:
    """Parse the body of ``POST /api/v1/orders``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    fields = parse_document(data, MAX_ORDER_BYTES, "order").members(
        frozenset({"kind", "thing", "reason"}), frozenset({"into", "services"})
    )
    word = fields["kind"].text(20)
    if word not in _ORDERS:
        raise fields["kind"].refuse(f"must be one of {', '.join(_ORDERS)}")
    kind = _ORDERS[word][0]
    thing = _thing(fields["thing"])
    if kind in {Kind.DELETE, Kind.MERGE} and not isinstance(thing, MemberId):
        raise fields["thing"].refuse(f"only a member can be {word}d; other things, by its own role")
    into, services = fields.get("into"), fields.get("services")
    if (into is None) is (kind is Kind.MERGE):
        raise (into or fields["kind"]).refuse("a merger, and nothing else, names into whom")
    if services is not None and kind is not Kind.MERGE:
        raise services.refuse("only a merger says which service becomes which")
    successor = None if into is None else into.identifier(MemberId)
    if successor == thing:
        raise fields["into"].refuse("a member cannot go into itself")
    return Order(
        kind,
        thing,
        fields["reason"].bilingual(),
        successor,
        {} if services is None else dict(_pairs(services, thing, successor)),
    )


def format_order(order: Order) -> bytes:
    """The body of ``POST /api/v1/orders``."""
    members: dict[str, Any] = {
        "kind": order.kind.value,
        "thing": {"kind": thing_kind(order.thing), "id": str(order.thing)},
        "reason": order.reason.as_dict(),
    }
    if order.into is not None:
        members["into"] = str(order.into)
        members["services"] = {str(old): str(new) for old, new in order.services.items()}
    return format_document(members)


def parse_proposal(data: bytes) -> Proposal:
    """Parse the body of ``POST /api/v1/proposals``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    fields = parse_document(data, MAX_PROPOSAL_BYTES, "proposal").members(
        frozenset({"path"}), frozenset({"data", "note", "withdraw"})
    )
    path, note, sent = fields["path"].text(300), fields.get("note"), fields.get("data")
    withdraw = fields.get("withdraw")
    if (sent is None) is not (withdraw is not None and withdraw.value is True):
        raise (withdraw or fields["path"]).refuse("either data, or withdraw: true")
    if not is_own_target(path):
        raise fields["path"].refuse("not a file of the registry's own, such as schemas/NAME.1.json")
    return Proposal(
        path,
        None if sent is None else decode(sent),
        "" if note is None else note.text(2000, 0),
    )


def format_proposal(proposal: Proposal) -> bytes:
    """The body of ``POST /api/v1/proposals``."""
    what = {"withdraw": True} if proposal.data is None else {"data": encode(proposal.data)}
    return format_document({"path": proposal.path, "note": proposal.note, **what})


def _thing(node: Node) -> Identifier:
    fields = node.members(frozenset({"kind", "id"}))
    kind = fields["kind"].text(20)
    if kind not in KINDS:
        raise fields["kind"].refuse(f"must be one of {', '.join(KINDS)}")
    text = fields["id"].text(2048)
    try:
        return KINDS[kind].parse(text)
    except Problem as problem:
        raise fields["id"].refuse(problem.detail) from problem


def _pairs(node: Node, old: Identifier, into: MemberId | None) -> list[tuple[ServiceId, ServiceId]]:
    pairs = []
    for name, item in node.entries(MAX_MERGED_SERVICES):
        before = Node(name, item.noun, item.pointer).identifier(ServiceId)
        after = item.identifier(ServiceId)
        if before.member != old or after.member != into:
            raise item.refuse(f"a service of {old} becomes one of {into}")
        pairs.append((before, after))
    return pairs


def refuse_order(detail: str, where: str = "order#/thing") -> Problem:
    """That an order does not fit what is published."""
    return Problem(Code.CONFLICT, where=where, detail=detail)
