"""The databases of the exactly-once book, against a dictionary; one set of rules for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from exchange.problems import Code, Problem
from mediator.once.claims import Ending, Released, Row, State, Wanted, judge
from mediator.once.engine import Engine, EngineFailed
from mediator.once.postgresql import PostgreSqlEngine
from mediator.once.sqlite import FILE, SqliteEngine

PROOF = b"p" * 32
KEYS = [bytes([number]) * 32 for number in range(4)]
PRINTS = [b"f" * 32, b"g" * 32]
LIFE = 10.0


@dataclass(frozen=True)
class Known:
    """A claim of the model."""

    server: int
    run: int
    nonce: str
    fingerprint: bytes
    claimed_at: float
    state: State = State.RUNNING
    ended_at: float = 0.0
    answer: bytes | None = None

    @property
    def row(self) -> Row:
        return Row(self.fingerprint, self.state, self.claimed_at + LIFE, self.answer)


class BookOfEngines(RuleBasedStateMachine):
    """Servers that claim, end, take back, crash and forget; the model is a dictionary."""

    servers: int
    make: Callable[[int, int], Engine]
    empty: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.number = 0
        self.model: dict[bytes, Known] = {}
        self.runs = [0] * self.servers
        self.engines: list[Engine] = []

    @initialize()
    def begin(self) -> None:
        self.empty()
        for server in range(self.servers):
            self.engines.append(type(self).make(server, 0))
            self.engines[-1].open(PROOF)

    def teardown(self) -> None:
        for engine in self.engines:
            engine.close()

    def one_of(self, number: int) -> int:
        self.now += 1
        return number % self.servers

    @rule(
        server=strategies.integers(0, 1),
        keys=strategies.lists(strategies.sampled_from(KEYS), unique=True, min_size=1),
        fingerprint=strategies.sampled_from(PRINTS),
    )
    def claim(self, server: int, keys: list[bytes], fingerprint: bytes) -> None:
        """A claim is given for a key that is free, and only then; else what is there is told."""
        server = self.one_of(server)
        wanted = []
        for key in keys:
            self.number += 1
            wanted.append(Wanted(key, fingerprint, f"n{self.number}", self.now, self.now + LIFE))
        found = self.engines[server].write(wanted, (), ())
        for one, row in zip(wanted, found, strict=True):
            known = self.model.get(one.key)
            assert row == (known.row if known else None)
            if known is None:
                self.model[one.key] = Known(
                    server, self.runs[server], one.nonce, fingerprint, self.now
                )

    @rule(
        server=strategies.integers(0, 1),
        key=strategies.sampled_from(KEYS),
        state=strategies.sampled_from([State.DONE, State.UNKNOWN]),
        answer=strategies.none() | strategies.binary(min_size=1, max_size=40),
        own=strategies.booleans(),
    )
    def end(self, server: int, key: bytes, state: State, answer: bytes | None, own: bool) -> None:
        """The exchange that claimed ends its claim; another does nothing; done stays done."""
        server = self.one_of(server)
        known = self.model.get(key)
        nonce = known.nonce if known and own else "another"
        self.engines[server].write((), [Ending(key, nonce, state, self.now, answer)], ())
        if known and own and known.state is not State.DONE:
            self.model[key] = replace(known, state=state, ended_at=self.now, answer=answer)

    @rule(
        server=strategies.integers(0, 1),
        key=strategies.sampled_from(KEYS),
        own=strategies.booleans(),
    )
    def release(self, server: int, key: bytes, own: bool) -> None:
        """A running claim that is taken back was never there; an ended one stays."""
        server = self.one_of(server)
        known = self.model.get(key)
        nonce = known.nonce if known and own else "another"
        self.engines[server].write((), (), [Released(key, nonce)])
        if known and own and known.state is State.RUNNING:
            del self.model[key]

    @rule(server=strategies.integers(0, 1))
    def crash(self, server: int) -> None:
        """After a crash a server finds its own running claims, and those only."""
        server = self.one_of(server)
        self.engines[server].close()
        self.runs[server] += 1
        engine = self.engines[server] = type(self).make(server, self.runs[server])
        engine.open(PROOF)
        lost = {
            key: known
            for key, known in self.model.items()
            if known.server == server and known.state is State.RUNNING
        }
        left = engine.left()
        assert {one.key: (one.nonce, one.fingerprint, one.claimed_at) for one in left} == {
            key: (known.nonce, known.fingerprint, known.claimed_at) for key, known in lost.items()
        }
        engine.write(
            (), [Ending(one.key, one.nonce, State.UNKNOWN, self.now, None) for one in left], ()
        )
        for key, known in lost.items():
            self.model[key] = replace(known, state=State.UNKNOWN, ended_at=self.now)

    @rule(server=strategies.integers(0, 1), age=strategies.integers(0, 8))
    def forget(self, server: int, age: int) -> None:
        """Claims and answers from before a time are gone, and no others."""
        server = self.one_of(server)
        before, answers_before = self.now - 2 * age, self.now - age
        self.engines[server].forget(before, answers_before)
        self.model = {
            key: known if known.ended_at >= answers_before else replace(known, answer=None)
            for key, known in self.model.items()
            if known.claimed_at >= before
        }

    @rule(server=strategies.integers(0, 1), size=strategies.integers(1, 50))
    def shed(self, server: int, size: int) -> None:
        """The oldest answers go until there is room; no claim goes."""
        server = self.one_of(server)
        self.engines[server].shed(size)
        kept = [(known.ended_at, key) for key, known in self.model.items() if known.answer]
        for _, key in sorted(kept):
            if size <= 0:
                break
            size -= len(self.model[key].answer or b"")
            self.model[key] = replace(self.model[key], answer=None)

    @rule(server=strategies.integers(0, 1), key=strategies.sampled_from([*KEYS, None]))
    def erase(self, server: int, key: bytes | None) -> None:
        """The answer of one claim goes, or all; no claim goes."""
        server = self.one_of(server)
        self.engines[server].erase(None if key is None else [key])
        for one in self.model.keys() if key is None else self.model.keys() & {key}:
            self.model[one] = replace(self.model[one], answer=None)

    @invariant()
    def counts(self) -> None:
        """The counts are true, and the cheap one is never too low."""
        for engine in self.engines:
            totals = engine.totals()
            assert engine.count() == len(self.model) <= totals.claims
            assert sorted(engine.sample(1000)) == sorted(self.model)
            assert set(engine.sample(1)) <= self.model.keys()
            assert totals.answer_bytes == sum(len(k.answer or b"") for k in self.model.values())


def machine(
    servers: int, make: Callable[[int, int], Engine], empty: Callable[[], None]
) -> type[BookOfEngines]:
    members: dict[str, Any] = {
        "servers": servers,
        "make": staticmethod(make),
        "empty": staticmethod(empty),
    }
    return type("Book", (BookOfEngines,), members)


def test_sqlite_does_what_a_dictionary_does() -> None:
    """One server and its crashes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE

        def empty() -> None:
            for file in path.parent.iterdir():
                file.unlink()

        run_state_machine_as_test(
            machine(1, lambda server, run: SqliteEngine(path, f"r{run}"), empty),
            settings=settings(max_examples=30, stateful_step_count=30),
        )


@pytest.mark.needs_postgresql
def test_postgresql_does_what_a_dictionary_does(postgresql_url: str) -> None:
    """Two servers that share the book, and their crashes."""
    url = libpq(postgresql_url)
    PostgreSqlEngine(url, "maker", "r").open(PROOF)

    def empty() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("TRUNCATE saphan_once_claims RESTART IDENTITY")

    run_state_machine_as_test(
        machine(2, lambda server, run: PostgreSqlEngine(url, f"s{server}", f"r{run}"), empty),
        settings=settings(max_examples=15, stateful_step_count=30),
    )


def libpq(url: str) -> str:
    """An address of tests/services as PostgreSQL's own library reads it."""
    return url.replace("postgresql+psycopg", "postgresql")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Engine]:
    """Makes engines on one empty database; the argument names the run."""
    if request.param == "sqlite":
        return lambda run: SqliteEngine(tmp_path / FILE, run)
    url = libpq(request.getfixturevalue("postgresql_url"))
    return lambda run: PostgreSqlEngine(url, "LA/GOV/MPI/ss1", run)


def test_a_book_has_one_key(make: Callable[[str], Engine]) -> None:
    """A book that was begun with another key is not opened: its answers could not be read."""
    engine = make("r")
    engine.open(PROOF)
    engine.open(PROOF)
    with pytest.raises(Problem) as caught:
        engine.open(b"q" * 32)
    assert caught.value.code is Code.INVALID_SETTINGS
    engine.close()


def test_an_engine_that_is_not_open_fails(make: Callable[[str], Engine]) -> None:
    """Nothing is claimed in a book that is closed."""
    with pytest.raises(EngineFailed):
        make("r").write([Wanted(KEYS[0], PRINTS[0], "n", 0, 0)], (), ())


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (Row(PRINTS[1], State.DONE, 5, b"a"), Code.MESSAGE_ID_REUSED),
        (Row(PRINTS[1], State.RUNNING, 5, None), Code.MESSAGE_ID_REUSED),
        (Row(PRINTS[0], State.DONE, 5, None), Code.ANSWER_NOT_KEPT),
        (Row(PRINTS[0], State.UNKNOWN, 50, None), Code.OUTCOME_UNKNOWN),
        (Row(PRINTS[0], State.RUNNING, 5, None), Code.OUTCOME_UNKNOWN),
    ],
)
def test_what_a_claim_means_for_a_repeat_that_gets_no_answer(row: Row, code: Code) -> None:
    """Another request is refused; what nobody can tell, or give again, is said so."""
    with pytest.raises(Problem) as caught:
        judge(row, PRINTS[0], now=6)
    assert caught.value.code is code


def test_what_a_claim_means_for_a_repeat_that_gets_one() -> None:
    """What is done is given again; what runs is awaited, up to its deadline."""
    assert judge(Row(PRINTS[0], State.DONE, 5, b"a"), PRINTS[0], now=6) is State.DONE
    assert judge(Row(PRINTS[0], State.RUNNING, 6, None), PRINTS[0], now=6) is State.RUNNING
