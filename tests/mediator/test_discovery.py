"""Finding a provider's server: the breaker's table, and who is chosen."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from mediator.consumer.discovery import NEXT, Event, Peer, Peers, State, Visit
from mediator.settings import PeerSettings

SETTINGS = PeerSettings(
    breaker_failures=3, breaker_s=1.0, breaker_max_s=8.0, retry_share=0.5, retry_reserve=2
)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
DOWN = Problem(Code.PEER_UNREACHABLE, where="LA/GOV/MPI/ss1")


def servers(number: int) -> tuple[ServerRecord, ...]:
    return tuple(
        ServerRecord(ServerId.parse(f"LA/GOV/MPI/ss{n}"), "https://h", (), None)
        for n in range(1, number + 1)
    )


ONE = servers(1)


def peers(seed: int = 1) -> Peers:
    return Peers(SETTINGS, random.Random(seed))


def rest(known: Peers, server: ServerRecord, now: float) -> Peer:
    """Let a server fail until it rests."""
    visits = []
    for _ in range(SETTINGS.breaker_failures):
        visit = known.choose((server,), now, safe=True)
        assert visit is not None
        visits.append(visit)
    for visit in visits:
        known.failed(visit, DOWN, NOW, now)
    peer = known.of(server.id)
    assert peer.state is State.OPEN
    return peer


def test_the_table_answers_what_can_happen() -> None:
    """What is not in the table cannot happen: a resting server has no message of its own state."""
    missing = {pair for pair in product(State, Event) if pair not in NEXT}
    assert missing == {
        (State.CLOSED, Event.LOOKED),
        (State.OPEN, Event.FAILED),
        (State.OPEN, Event.FAILED_OFTEN),
        (State.OPEN, Event.LEFT),
    }
    assert all(NEXT[state, Event.ANSWERED] is State.CLOSED for state in State)


def test_failures_in_a_row_open_and_an_answer_begins_the_count_anew() -> None:
    """The breaker counts consecutive failures, not all that ever were."""
    known = peers()
    for _ in range(5):
        for _ in range(SETTINGS.breaker_failures - 1):
            known.failed(taken(known), DOWN, NOW, 0)
        known.answered(taken(known))
    assert known.of(ONE[0].id).state is State.CLOSED
    rest(known, ONE[0], 0)


def taken(known: Peers, now: float = 0.0, among: tuple[ServerRecord, ...] = ONE) -> Visit:
    visit = known.choose(among, now, safe=True)
    assert visit is not None
    return visit


def test_each_failed_look_doubles_the_rest_up_to_the_longest() -> None:
    """1, 2, 4, 8, 8 seconds, up to a fifth more by chance."""
    known, now = peers(), 0.0
    peer = rest(known, ONE[0], now)
    for expected in (1, 2, 4, 8, 8):
        assert expected <= peer.rests_until - now <= expected * 1.2
        now = peer.rests_until
        known.failed(taken(known, now), DOWN, NOW, now)


def test_an_answer_to_a_look_closes_and_the_next_rest_is_the_first_again() -> None:
    """A healed server is like any other."""
    known = peers()
    now = rest(known, ONE[0], 0).rests_until
    known.failed(taken(known, now), DOWN, NOW, now)
    now += 10
    known.answered(taken(known, now))
    peer = known.of(ONE[0].id)
    assert (peer.state, peer.failures, peer.running) == (State.CLOSED, 0, 0)
    assert rest(known, ONE[0], now).rests_until - now <= 1.2


def test_a_server_that_goes_away_rests_at_once() -> None:
    """One word of it is enough."""
    known = peers()
    known.failed(taken(known), DOWN, NOW, 0, leaves=True)
    assert known.of(ONE[0].id).state is State.OPEN


def test_late_failures_do_not_prolong_a_rest_and_a_late_answer_ends_it() -> None:
    """A message that was sent before the breaker opened tells of then; an answer tells of now."""
    known = peers()
    late, lucky = taken(known), taken(known)
    peer = rest(known, ONE[0], 0)
    until = peer.rests_until
    known.failed(late, DOWN, NOW, 0.5)
    assert (peer.state, peer.rests_until) == (State.OPEN, until)
    known.answered(lucky)
    assert peer.state is State.CLOSED


def test_a_look_that_ends_without_a_word_leaves_the_place_to_the_next() -> None:
    """An application that hangs up does not keep a server resting."""
    known = peers()
    now = rest(known, ONE[0], 0).rests_until
    known.left(taken(known, now))
    assert known.of(ONE[0].id).state is State.OPEN
    assert known.choose((*ONE, *servers(2)[1:]), now, safe=True).peer.id == ONE[0].id  # type: ignore[union-attr]


def test_while_another_is_closed_one_message_looks_and_a_safe_one() -> None:
    """An unsafe message looks only when no safe one came for the longest rest."""
    known, both = peers(), servers(2)
    now = rest(known, both[0], 0).rests_until
    assert taken_unsafe(known, both, now).server == both[1]
    assert taken(known, now, both).server == both[0]
    for _ in range(20):
        assert taken(known, now, both).server == both[1], "a second look"
    known = peers()
    now = rest(known, both[0], 0).rests_until + SETTINGS.breaker_max_s
    assert taken_unsafe(known, both, now).server == both[0]


def taken_unsafe(known: Peers, among: tuple[ServerRecord, ...], now: float) -> Visit:
    visit = known.choose(among, now, safe=False)
    assert visit is not None
    return visit


@given(
    moments=st.lists(st.integers(0, 1920).map(lambda n: n / 64), max_size=60).map(sorted),
    safe=st.booleans(),
)
def test_when_all_rest_each_is_looked_at_once_a_second(moments: list[float], safe: bool) -> None:
    """Looks that hang do not keep others from looking, and their number is bounded by time."""
    known = peers()
    rest(known, ONE[0], 0)
    looks = [now for now in moments if known.choose(ONE, now, safe=safe) is not None]
    assert all(later - earlier >= SETTINGS.breaker_s for earlier, later in pairwise(looks))
    assert len(looks) <= 31
    last = moments[-1] if moments else 0.0
    assert known.looks_in_s(ONE, last) <= SETTINGS.breaker_s
    assert known.choose(ONE, last + SETTINGS.breaker_s, safe=safe) is not None


def test_of_two_servers_the_better_one_is_taken() -> None:
    """Fewer failures in a row come first, then fewer messages under way."""
    known, both = peers(), servers(2)
    first = taken(known, 0, both)
    for _ in range(20):
        visit = taken(known, 0, both)
        assert visit.server != first.server
        known.answered(visit)
    known.failed(taken(known, 0, (both[0],)), DOWN, NOW, 0)
    known.answered(first)
    for _ in range(20):
        assert taken(known, 0, both).server == both[1]


def test_a_failure_is_held_against_a_server_for_a_while_only() -> None:
    """One failure does not keep a server from messages as long as the other one has none."""
    known, both = peers(), servers(2)
    known.failed(taken(known, 0, (both[0],)), DOWN, NOW, 0)
    chosen = set()
    for _ in range(50):
        visit = taken(known, SETTINGS.breaker_s, both)
        chosen.add(visit.server)
        known.left(visit)
    assert chosen == set(both)


def test_equal_servers_get_equal_shares() -> None:
    """Of four idle servers each gets a quarter of what comes, a tenth more or less."""
    known, four = peers(7), servers(4)
    counts: Counter[ServerId] = Counter()
    for _ in range(8000):
        visit = taken(known, 0, four)
        counts[visit.server.id] += 1
        known.answered(visit)
    assert all(1800 < count < 2200 for count in counts.values()), counts


def test_two_choices_keep_the_load_even() -> None:
    """Of messages that stay, the fullest of ten servers has hardly more than the emptiest."""
    known, ten = peers(3), servers(10)
    for _ in range(1000):
        taken(known, 0, ten)
    loads = [peer.running for peer in known.known]
    assert max(loads) - min(loads) <= 8, loads


@pytest.mark.parametrize("messages", [0, 10, 100])
def test_repeats_are_a_share_of_the_messages_and_a_reserve(messages: int) -> None:
    """Whatever fails, what is repeated cannot multiply the load."""
    known, repeated = peers(), 0
    for _ in range(messages):
        known.failed(taken(known, 0.0), DOWN, NOW, 0.0)
        known.of(ONE[0].id).state = State.CLOSED
        repeated += known.may_repeat(ONE[0].id)
    while known.may_repeat(ONE[0].id):
        repeated += 1
    assert repeated <= SETTINGS.retry_reserve + SETTINGS.retry_share * messages
    assert repeated >= SETTINGS.retry_share * messages


def test_what_is_known_is_bounded() -> None:
    """Servers of which nothing bad is known are forgotten when there are too many."""
    known = peers()
    bad = ServerRecord(ServerId.parse("LA/GOV/MPI/bad"), "https://h", (), None)
    known.failed(taken(known, 0, (bad,)), DOWN, NOW, 0, leaves=True)
    for one in servers(5000):
        known.answered(taken(known, 0, (one,)))
    assert len(known.known) <= 4096
    assert known.of(bad.id).state is State.OPEN


class AnyHistory(RuleBasedStateMachine):
    """Messages come, answer, fail and are given up in any order, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.known = peers()
        self.servers = servers(3)
        self.now = 0.0
        self.under_way: list[Visit] = []

    @rule(seconds=st.floats(0, 5, allow_nan=False))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(safe=st.booleans())
    def send(self, safe: bool) -> None:
        before = {peer.id: (peer.state, peer.rests_until) for peer in self.known.known}
        closed = {
            server.id
            for server in self.servers
            if before.get(server.id, (State.CLOSED, 0))[0] is State.CLOSED
        }
        visit = self.known.choose(self.servers, self.now, safe=safe)
        if visit is None:
            assert not closed, "nobody was chosen although one is well"
            return
        self.under_way.append(visit)
        if closed and visit.server.id not in closed:
            state, rests_until = before[visit.server.id]
            assert state is State.OPEN, "a second look while another server is well"
            assert self.now >= rests_until, "a server was disturbed while another one is well"

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), end=st.sampled_from(["answered", "failed", "leaves", "left"]))
    def end(self, data: st.DataObject, end: str) -> None:
        number = data.draw(st.integers(0, len(self.under_way) - 1))
        visit = self.under_way.pop(number)
        match end:
            case "answered":
                self.known.answered(visit)
                assert visit.peer.state is State.CLOSED
            case "left":
                self.known.left(visit)
            case _:
                self.known.failed(visit, DOWN, NOW, self.now, leaves=end == "leaves")

    @invariant()
    def each_message_is_counted_once(self) -> None:
        under_way = Counter(visit.server.id for visit in self.under_way)
        assert all(peer.running == under_way[peer.id] for peer in self.known.known)

    @invariant()
    def rests_are_bounded(self) -> None:
        for peer in self.known.known:
            assert peer.rests_until <= self.now + SETTINGS.breaker_max_s * 1.2


TestAnyHistory = AnyHistory.TestCase
