"""The life of a request: what may follow what, and how many must agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exchange.problems import Code, Problem
from registry.requests.changes import ALWAYS_APPROVED, Change, ChangeKind, digest_of
from registry.requests.lifecycle import (
    TRANSITIONS,
    Act,
    Deliberation,
    Needed,
    Policy,
    State,
    next_state,
    parse_policy,
)

PEOPLE = ("somphone", "bounmy", "khamla", "mpi")
ADDRESS = Change(ChangeKind.CHANGE_SERVER, "LA/GOV/MPI/ss1")
SERVICE = Change(ChangeKind.REGISTER_SERVICE, "LA/GOV/MPI/oda-mis/projects")


def refused(deliberation: Deliberation, act: Act, **how: object) -> tuple[Code, int]:
    """Code and status with which an act is refused."""
    with pytest.raises(Problem) as caught:
        deliberation.after(act, **how)  # type: ignore[arg-type]
    return caught.value.code, caught.value.status


@pytest.mark.parametrize(("state", "act"), list(product(State, Act)))
def test_only_the_table_moves_a_request(state: State, act: Act) -> None:
    """What is in the table happens; everything else is a conflict that names the state."""
    if (state, act) in TRANSITIONS:
        assert next_state(state, act) is TRANSITIONS[state, act]
        return
    with pytest.raises(Problem) as caught:
        next_state(state, act)
    assert caught.value.code is Code.CONFLICT
    assert caught.value.facts == {"state": state.value}


def test_two_are_two_others() -> None:
    """Where two must agree, neither is who handed it in, and one does not count twice."""
    request = Deliberation("mpi")
    how = {"needed": Needed.TWO, "seen": "x"}
    assert refused(request, Act.APPROVE, by="mpi", **how) == (Code.NOT_AUTHORISED, 403)
    once = request.after(Act.APPROVE, by="bounmy", needed=Needed.TWO, seen="x")
    assert refused(once, Act.APPROVE, by="bounmy", **how)[0] is Code.CONFLICT
    assert refused(once, Act.PUBLISH, **how)[0] is Code.CONFLICT
    twice = once.after(Act.APPROVE, by="khamla", needed=Needed.TWO, seen="x")
    assert twice.after(Act.PUBLISH, needed=Needed.TWO, seen="x").state is State.APPROVED


def test_an_approval_counts_for_what_was_seen() -> None:
    """When the changes are others meanwhile, an earlier approval counts no more."""
    seen = digest_of([ADDRESS])
    request = Deliberation("mpi").after(Act.APPROVE, by="bounmy", seen=seen)
    assert request.lacks(Needed.ONE, seen) == 0
    assert request.lacks(Needed.ONE, digest_of([ADDRESS, SERVICE])) == 1


def test_the_strictest_change_decides() -> None:
    """One change that needs two makes the whole request need two."""
    policy = Policy(Needed.NONE, {ChangeKind.CHANGE_SERVER: Needed.TWO})
    assert policy.needed([SERVICE]) is Needed.NONE
    assert policy.needed([SERVICE, ADDRESS]) is Needed.TWO


@pytest.mark.parametrize("kind", sorted(ALWAYS_APPROVED))
def test_what_offline_keys_sign_is_always_approved(kind: ChangeKind) -> None:
    """No policy lets a registration, a change of keys or a merge pass without a person."""
    assert Policy(Needed.NONE).needed([Change(kind, "LA/GOV/MPI")]) is Needed.ONE
    with pytest.raises(Problem) as caught:
        parse_policy({kind.value: "none"}, "approval")
    assert caught.value.where == f"approval.{kind}"


@pytest.mark.parametrize(("name", "needed"), [("defualt", "one"), ("default", "three")])
def test_a_policy_that_cannot_be_read_is_refused(name: str, needed: str) -> None:
    """With its place: a misspelt kind must not quietly need nobody."""
    with pytest.raises(Problem) as caught:
        parse_policy({name: needed}, "approval")
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, f"approval.{name}")


STRICTER = st.dictionaries(st.sampled_from([ADDRESS.kind, SERVICE.kind]), st.sampled_from(Needed))


class Office(RuleBasedStateMachine):
    """People act on one request as they like; a ledger of our own says what may come of it."""

    request: Deliberation
    policy: Policy
    changes: tuple[Change, ...]

    @initialize(default=st.sampled_from(Needed), strict=STRICTER)
    def hand_in(self, default: Needed, strict: dict[ChangeKind, Needed]) -> None:
        self.request = Deliberation("mpi")
        self.policy = Policy(default, strict)
        self.changes = (ADDRESS,)
        self.agreed: set[tuple[str, tuple[Change, ...]]] = set()
        self.ended: State | None = None
        self.published: tuple[Change, ...] | None = None

    @rule()
    def something_else_is_published(self) -> None:
        """The request changes something else now than what was seen before."""
        self.changes = (ADDRESS, SERVICE) if self.changes == (ADDRESS,) else (ADDRESS,)

    @rule(by=st.sampled_from(PEOPLE))
    def approve(self, by: str) -> None:
        if self._do(Act.APPROVE, by):
            self.agreed.add((by, self.changes))

    @rule(act=st.sampled_from([Act.DECLINE, Act.WITHDRAW, Act.REPLACE, Act.REVOKE]))
    def end(self, act: Act) -> None:
        if self._do(act, "bounmy"):
            self.ended = self.request.state

    @rule()
    def publish(self) -> None:
        if self._do(Act.PUBLISH, ""):
            assert self.ended is None
            assert self.published is None
            self.published = self.changes

    def _do(self, act: Act, by: str) -> bool:
        needed = self.policy.needed(self.changes)
        seen = digest_of(self.changes)
        try:
            self.request = self.request.after(act, by=by, needed=needed, seen=seen)
        except Problem as problem:
            if problem.code not in {Code.CONFLICT, Code.NOT_AUTHORISED}:
                raise
            return False
        return True

    @invariant()
    def nothing_is_published_without_enough(self) -> None:
        if getattr(self, "published", None) is None:
            return
        needed = max(
            self.policy.of.get(change.kind, self.policy.default) for change in self.published or ()
        )
        people = {by for by, seen in self.agreed if seen == self.published}
        if needed is Needed.TWO:
            people.discard("mpi")
        assert len(people) >= needed

    @invariant()
    def an_end_is_an_end(self) -> None:
        if getattr(self, "ended", None) in {State.DECLINED, State.WITHDRAWN}:
            assert self.request.state is self.ended
            assert self.published is None


TestOffice = Office.TestCase
TestOffice.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


def reachable() -> Iterator[State]:
    """Every state that acts lead to."""
    seen = {State.SUBMITTED}
    while new := {end for (start, _), end in TRANSITIONS.items() if start in seen} - seen:
        seen |= new
    yield from seen


def test_every_state_is_reached() -> None:
    """The table has no state that nothing leads to."""
    assert set(reachable()) == set(State)
