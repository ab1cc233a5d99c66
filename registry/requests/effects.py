"""What becomes published when a request is approved.

An :class:`Effect` is worked out from a request and what is published now, each time anew: at the
submission, at each approval. It takes values and touches nothing.

The registry's own role changes only as an effect says: :class:`OwnChange` names the delegations
and files after it, and metadata that the targets keys signed is taken when it says just that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import MERGERS_TARGET
from exchange.registry.key_sets import KeySet
from exchange.registry.standing import (
    Disabled,
    Identifier,
    Merger,
    Standing,
    format_mergers,
    parse_mergers,
    thing_kind,
)
from registry.requests.changes import Change, digest_of
from registry.requests.evolution import Breaking
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order, Proposal, refuse_order


@dataclass(frozen=True, slots=True)
class OwnChange:
    """How the registry's own role changes.

    ``files`` are those that are put in, with their content; ``removed`` those that are taken out;
    ``free`` those whose content is judged elsewhere.
    """

    delegated: Mapping[MemberId, KeySet] = field(default_factory=dict)
    gone: frozenset[MemberId] = frozenset()
    files: Mapping[str, bytes] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a request changes, and what is published when it is approved.

    ``own`` is there when the targets keys must sign; ``away`` what is disabled afterwards, when
    that changes; ``record`` goes into the record of the act; ``breaking`` is what breaks its users.
    """

    changes: tuple[Change, ...]
    roles: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    own: OwnChange | None = None
    away: tuple[Disabled, ...] | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    breaking: tuple[Breaking, ...] = ()

    @property
    def seen(self) -> str:
        """The name of exactly these changes."""
        return digest_of(self.changes)

    @property
    def lacks_consents(self) -> Problem | None:
        """Why it cannot be published yet, when users that it breaks have not consented."""
        return next((one.problem() for one in self.breaking if one.missing), None)


def effect_of_proposal(proposal: Proposal, published: Mapping[str, bytes]) -> Effect:
    """The file is put into the registry's own role, or taken out of it.

    Raises:
        Problem: ``Conflict`` when it is published already, or is not published.
    """
    if proposal.data is None:
        if proposal.path not in published:
            raise refuse_order(f"the registry publishes no {proposal.path}", "proposal#/path")
        return Effect(proposal.changes, own=OwnChange(removed=frozenset({proposal.path})))
    if published.get(proposal.path) == proposal.data:
        raise Problem(
            Code.CONFLICT, where="proposal#/data", detail=f"{proposal.path} says this already"
        )
    return Effect(proposal.changes, own=OwnChange(files={proposal.path: proposal.data}))


def effect_of_order(
    order: Order,
    things: Collection[Identifier],
    standing: Standing,
    own_files: Mapping[str, bytes],
    at: datetime,
) -> Effect:
    """What an order does.

    Args:
        things: everything that is registered.
        own_files: the published files of the registry's own role.
        at: when the order was handed in; a merger bears this time.

    Raises:
        Problem: ``Conflict`` when it does not fit what is published.
    """
    kind = thing_kind(order.thing)
    if order.thing not in things:
        raise refuse_order(f"the registry has no {kind} {order.thing}")
    if order.kind in {Kind.DISABLE, Kind.ENABLE}:
        return Effect(order.changes, away=_away(order, standing.disabled, at))
    if not isinstance(order.thing, MemberId):
        raise refuse_order("only a member is deleted or merged")
    gone = frozenset({order.thing})
    away = tuple(one for one in standing.disabled if not _belongs(one.id, order.thing))
    lifted = away if away != standing.disabled else None
    if order.kind is Kind.DELETE:
        return Effect(order.changes, own=OwnChange(gone=gone), away=lifted)
    if order.into is None or order.into not in things:
        raise refuse_order(f"the registry has no member {order.into}", "order#/into")
    for old, new in order.services.items():
        if new not in things:
            raise refuse_order(
                f"{order.into} must register {new} before {old} becomes it", "order#/services"
            )
    files = {MERGERS_TARGET: mergers_after(order, own_files, at)}
    return Effect(order.changes, own=OwnChange(gone=gone, files=files), away=lifted)


def mergers_after(order: Order, own_files: Mapping[str, bytes], at: datetime) -> bytes:
    """The file of mergers with this one in it: what the targets keys sign."""
    known = parse_mergers(own_files[MERGERS_TARGET]) if MERGERS_TARGET in own_files else ()
    if not isinstance(order.thing, MemberId) or order.into is None:
        raise refuse_order("not a merger")
    kept = tuple(one for one in known if one.old != order.thing)
    merger = Merger(order.thing, order.into, at, order.reason, order.services)
    return format_mergers((*kept, merger))


def _away(order: Order, disabled: tuple[Disabled, ...], at: datetime) -> tuple[Disabled, ...]:
    others = tuple(one for one in disabled if one.id != order.thing)
    is_off = len(others) < len(disabled)
    if is_off is (order.kind is Kind.DISABLE):
        raise refuse_order(f"{order.thing} is {'disabled already' if is_off else 'not disabled'}")
    if order.kind is Kind.ENABLE:
        return others
    return (*others, Disabled(order.thing, at, order.reason))


def _belongs(identifier: Identifier, member: MemberId) -> bool:
    return (identifier if isinstance(identifier, MemberId) else identifier.member) == member
