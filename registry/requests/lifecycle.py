"""The life of a request: its states, the acts that move it on, and how many people must agree.

Nothing here reads or writes: a :class:`Deliberation` is a value, and :meth:`Deliberation.after`
gives the next one or refuses. States and acts are a table (:data:`TRANSITIONS`)::

    (nothing) --submit--> SUBMITTED --approve--> SUBMITTED   (one more person agrees)
                          SUBMITTED --publish--> APPROVED    (when enough of them have)
                          SUBMITTED --decline--> DECLINED
                          SUBMITTED --withdraw, replace--> WITHDRAWN
                          APPROVED  --revoke---> REVOKED     (what it brought is taken back)

Invariants:
- nothing is published without the approvals that policy demands, and what is declined, withdrawn
  or replaced never is;
- two approvals are two people's, neither of whom handed the request in; who is one person is told
  by :mod:`registry.actors.people`;
- an approval counts for the changes that its giver saw, and for no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from exchange.problems import Code, Problem
from registry.requests.changes import ALWAYS_APPROVED, Change, ChangeKind

DEFAULT = "default"


class State(StrEnum):
    """Where a request stands."""

    SUBMITTED = "submitted"
    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


class Act(StrEnum):
    """What moves a request on."""

    APPROVE = "approve"
    PUBLISH = "publish"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    REPLACE = "replace"
    REVOKE = "revoke"


TRANSITIONS: Mapping[tuple[State, Act], State] = {
    (State.SUBMITTED, Act.APPROVE): State.SUBMITTED,
    (State.SUBMITTED, Act.PUBLISH): State.APPROVED,
    (State.SUBMITTED, Act.DECLINE): State.DECLINED,
    (State.SUBMITTED, Act.WITHDRAW): State.WITHDRAWN,
    (State.SUBMITTED, Act.REPLACE): State.WITHDRAWN,
    (State.APPROVED, Act.REVOKE): State.REVOKED,
}
_PAST = {
    Act.APPROVE: "approved",
    Act.PUBLISH: "published",
    Act.DECLINE: "declined",
    Act.WITHDRAW: "withdrawn",
    Act.REPLACE: "replaced",
    Act.REVOKE: "revoked",
}


class Kind(StrEnum):
    """What a request asks for."""

    FIRST = "first"
    KEYS = "keys"
    UPDATE = "update"
    OWN = "own"
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"
    MERGE = "merge"

    @property
    def is_submission(self) -> bool:
        """Whether it is a role that a member signed."""
        return self in {Kind.FIRST, Kind.KEYS, Kind.UPDATE}

    @property
    def needs_delegation(self) -> bool:
        """Whether the targets keys must sign for its approval."""
        return self not in {Kind.UPDATE, Kind.DISABLE, Kind.ENABLE}


class Needed(IntEnum):
    """How many people must agree."""

    NONE = 0
    ONE = 1
    TWO = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """How many people must agree to which kind of change."""

    default: Needed = Needed.ONE
    of: Mapping[ChangeKind, Needed] = field(default_factory=dict)

    @property
    def asks_for_two(self) -> bool:
        """Whether there is anything to which two must agree."""
        return Needed.TWO in {self.default, *self.of.values()}

    def needed(self, changes: Iterable[Change]) -> Needed:
        """What the strictest of these changes needs."""
        found = Needed.NONE
        for change in changes:
            needed = self.of.get(change.kind, self.default)
            if change.kind in ALWAYS_APPROVED:
                needed = max(needed, Needed.ONE)
            found = max(found, needed)
        return found


def parse_policy(setting: Mapping[str, str], where: str) -> Policy:
    """The setting ``approval``: a kind of change, or ``default``, and *none*, *one* or *two*.

    Raises:
        Problem: ``InvalidSettings`` with the place, and what is known there.
    """
    of: dict[ChangeKind, Needed] = {}
    default = Needed.ONE
    of[ChangeKind.DISABLE] = Needed.NONE  # what does harm is stopped by one person
    for name, text in setting.items():
        place = f"{where}.{name}"
        try:
            needed = Needed[text.upper()]
        except KeyError as error:
            raise _bad(place, "must be none, one or two") from error
        if name == DEFAULT:
            default = needed
            continue
        try:
            kind = ChangeKind(name)
        except ValueError as error:
            known = ", ".join((DEFAULT, *ChangeKind))
            raise _bad(place, f"no such kind of change; known are: {known}") from error
        if kind in ALWAYS_APPROVED and needed is Needed.NONE:
            raise _bad(place, "the registry's offline keys sign it: one or two must agree")
        of[kind] = needed
    return Policy(default, of)


@dataclass(frozen=True, slots=True)
class Approval:
    """That somebody agrees to the changes with this digest."""

    by: str
    seen: str


@dataclass(frozen=True, slots=True)
class Deliberation:
    """Where a request stands, who handed it in and who agrees."""

    submitted_by: str
    state: State = State.SUBMITTED
    approvals: tuple[Approval, ...] = ()

    def agreeing(self, needed: Needed, seen: str) -> frozenset[str]:
        """The people whose agreement counts."""
        people = {approval.by for approval in self.approvals if approval.seen == seen}
        if needed is Needed.TWO:
            people.discard(self.submitted_by)
        return frozenset(people)

    def lacks(self, needed: Needed, seen: str) -> int:
        """How many more people must agree."""
        return max(0, needed - len(self.agreeing(needed, seen)))

    def after(
        self, act: Act, *, by: str = "", needed: Needed = Needed.ONE, seen: str = ""
    ) -> Deliberation:
        """The request after an act.

        Args:
            by: who acts.
            needed: how many must agree to it, by policy.
            seen: the digest of its changes as they are now.

        Raises:
            Problem: ``Conflict`` when the act does not fit the state, the same person agrees again,
                or it is published with too few agreeing; ``NotAuthorised`` (403) when one of two
                would be who handed it in.
        """
        state = next_state(self.state, act)
        if act is Act.PUBLISH and (lacking := self.lacks(needed, seen)):
            raise _conflict(f"{lacking} more must approve it", {"lacking": lacking})
        if act is not Act.APPROVE:
            return replace(self, state=state)
        if needed is Needed.TWO and by == self.submitted_by:
            raise Problem(
                Code.NOT_AUTHORISED,
                where="state",
                detail="two must approve it, and not who handed it in",
                status=403,
            )
        if by in self.agreeing(needed, seen):
            raise _conflict("you have approved it; another must too", {"by": by})
        return replace(self, state=state, approvals=(*self.approvals, Approval(by, seen)))


def next_state(state: State, act: Act) -> State:
    """The state after an act.

    Raises:
        Problem: ``Conflict`` when the act does not fit the state.
    """
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        raise _conflict(
            f"a request that is {state} cannot be {_PAST[act]}", {"state": state.value}
        ) from None


def _conflict(detail: str, facts: Mapping[str, str | int]) -> Problem:
    return Problem(Code.CONFLICT, where="state", detail=detail, facts=dict(facts))


def _bad(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_SETTINGS, where=where, detail=detail)
