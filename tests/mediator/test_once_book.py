"""The exactly-once book on real databases: who may carry out, who gets what, and what is down."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from exchange.identifiers import ApplicationId, MemberId
from exchange.problems import Code, Problem
from mediator.once.book import OnceBook
from mediator.once.claims import Left, Totals
from mediator.once.engine import Engine
from mediator.once.postgresql import PostgreSqlEngine
from mediator.once.settings import OnceSettings
from mediator.once.sqlite import FILE, SqliteEngine
from mediator.once.vault import Answer, Vault
from mediator.once.writer import Claim
from tests.faults.line import Act, Fault, Line, Way
from tests.services.server import DatabaseServer
from tests.world.clock import ShiftedClock

VAULT = Vault(b"k" * 32)
BUDGET, MPI = ApplicationId.parse("LA/GOV/MOF/budget"), MemberId.parse("LA/GOV/MPI")
PROVINCE = ApplicationId.parse("LA/GOV/CHAMPASAK/projects")
ANSWER = Answer(201, (("content-type", "text/plain"),), b"made", "a/1")
PRINT = VAULT.fingerprint("POST", "/r1/x")
OTHER = VAULT.fingerprint("POST", "/r1/y")
RUNNING_S = 30.0


def key(name: str) -> bytes:
    return VAULT.key(BUDGET, MPI, name)


def nothing(left: Sequence[Left]) -> dict[str, Answer]:
    """A journal that holds no outcome."""
    return {}


class Books:
    """Opens books on one database; each is a run of a server."""

    def __init__(self, make: Callable[[str, str], Engine], stack: AsyncExitStack) -> None:
        self._make = make
        self._stack = stack
        self._runs = 0
        self.clock = ShiftedClock()

    async def open(
        self,
        server: str = "LA/GOV/MPI/ss1",
        recover: Callable[[Sequence[Left]], dict[str, Answer]] = nothing,
        **settings: float,
    ) -> OnceBook:
        self._runs += 1
        book = OnceBook(
            self._make(server, f"run{self._runs}"),
            VAULT,
            OnceSettings(**settings),  # type: ignore[arg-type]
            self.clock,
            recover,
        )
        self._stack.push_async_callback(book.close)
        return book


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Books]:
    """Books on an empty database of either kind."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url").replace("+psycopg", "")
    async with AsyncExitStack() as stack:
        yield Books(
            lambda server, run: (
                SqliteEngine(tmp_path / FILE, run)
                if request.param == "sqlite"
                else PostgreSqlEngine(url, server, run)
            ),
            stack,
        )


async def claimed(book: OnceBook, name: str, fingerprint: bytes = PRINT) -> Claim:
    found = await book.claim(key(name), fingerprint, f"nonce of {name}", RUNNING_S)
    assert isinstance(found, Claim)
    return found


async def until(met: Callable[[], bool]) -> None:
    """Until the book's thread has come so far; the machine may be slow."""
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110 - it is a thread that is awaited
            await asyncio.sleep(0.002)


async def ended(book: OnceBook) -> None:
    """Until the database has all endings."""
    await until(lambda: not book.waiting)


@asynccontextmanager
async def refused(code: Code) -> AsyncIterator[None]:
    with pytest.raises(Problem) as caught:
        yield
    assert caught.value.code is code


async def test_an_outcome_is_given_again_at_once_and_after_a_restart(books: Books) -> None:
    """From memory before it is written, from the database after that, and in the next run."""
    book = await books.open()
    book.done(await claimed(book, "a"), ANSWER)
    assert await book.claim(key("a"), PRINT, "n2", RUNNING_S) == ANSWER
    await ended(book)
    assert await book.claim(key("a"), PRINT, "n3", RUNNING_S) == ANSWER
    async with refused(Code.MESSAGE_ID_REUSED):
        await book.claim(key("a"), OTHER, "n4", RUNNING_S)
    await book.close()
    again = await books.open()
    assert await again.claim(key("a"), PRINT, "n5", RUNNING_S) == ANSWER
    assert book.counts == {"claimed": 1, "repeated": 2, "MessageIdReused": 1}


async def test_many_at_once_make_one_claim_and_all_get_its_outcome(books: Books) -> None:
    """One carries out; those who wait get what came of it; another request is refused."""
    book = await books.open()
    asked = [
        asyncio.create_task(book.claim(key("a"), PRINT, f"n{number}", RUNNING_S))
        for number in range(20)
    ]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    claim = next(iter(done)).result()
    assert isinstance(claim, Claim)
    async with refused(Code.MESSAGE_ID_REUSED):
        await book.claim(key("a"), OTHER, "n", RUNNING_S)
    book.done(claim, ANSWER)
    assert [await task for task in waiting] == [ANSWER] * 19


async def test_a_claim_that_is_taken_back_passes_to_one_who_waits(books: Books) -> None:
    """Nothing reached the backend: the next of the same requests is carried out."""
    book = await books.open()
    first = await claimed(book, "a")
    others = [
        asyncio.create_task(book.claim(key("a"), PRINT, f"n{number}", RUNNING_S))
        for number in range(3)
    ]
    await asyncio.sleep(0)
    await book.release(first)
    done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    claim = next(iter(done)).result()
    assert isinstance(claim, Claim)
    assert len(waiting) == 2
    book.done(claim, ANSWER)
    assert [await task for task in waiting] == [ANSWER] * 2


async def test_what_runs_too_long_is_not_awaited_for_ever(books: Books) -> None:
    """A repeat of what still runs gets a problem that tells it to come again."""
    book = await books.open()
    await claimed(book, "a")
    async with refused(Code.MESSAGE_IN_PROGRESS):
        await book.claim(key("a"), PRINT, "n", 0.05)


async def test_an_exchange_that_was_cut_off_is_unknown(books: Books) -> None:
    """Nobody knows whether it was carried out, so it never is again."""
    book = await books.open()
    book.lose(await claimed(book, "a"))
    for _ in range(2):
        async with refused(Code.OUTCOME_UNKNOWN):
            await book.claim(key("a"), PRINT, "n", RUNNING_S)


async def test_claims_that_were_left_end_as_the_journal_says(books: Books) -> None:
    """What is found is done, with its answer or without; what is not found is unknown."""
    book = await books.open()
    for name in ("kept", "long", "lost"):
        await claimed(book, name)
    await book.close()

    def recover(left: Sequence[Left]) -> dict[str, Answer]:
        assert {one.nonce for one in left} == {f"nonce of {n}" for n in ("kept", "long", "lost")}
        return {"nonce of kept": ANSWER, "nonce of long": ANSWER._replace(body=None)}

    again = await books.open(recover=recover)
    assert await again.claim(key("kept"), PRINT, "n", RUNNING_S) == ANSWER
    async with refused(Code.ANSWER_NOT_KEPT):
        await again.claim(key("long"), PRINT, "n", RUNNING_S)
    async with refused(Code.OUTCOME_UNKNOWN):
        await again.claim(key("lost"), PRINT, "n", RUNNING_S)


async def test_an_answer_that_is_too_long_is_not_kept(books: Books) -> None:
    """That it was done stays known."""
    book = await books.open(answer_max_bytes=3)
    book.done(await claimed(book, "a"), ANSWER)
    async with refused(Code.ANSWER_NOT_KEPT):
        await book.claim(key("a"), PRINT, "n", RUNNING_S)
    await ended(book)
    async with refused(Code.ANSWER_NOT_KEPT):
        await book.claim(key("a"), PRINT, "n", RUNNING_S)


async def test_old_answers_and_old_claims_are_deleted(books: Books) -> None:
    """After answers_s the answer is gone, after claims_s the id is free."""
    book = await books.open(answers_s=100.0, claims_s=1000.0)
    book.done(await claimed(book, "a"), ANSWER)
    await ended(book)
    await book.close()
    books.clock.offset_s = 200.0
    book = await books.open(answers_s=100.0, claims_s=1000.0)
    await until(lambda: book.totals == Totals(1, 0))
    async with refused(Code.ANSWER_NOT_KEPT):
        await book.claim(key("a"), PRINT, "n", RUNNING_S)
    await book.close()
    books.clock.offset_s = 2000.0
    book = await books.open(answers_s=100.0, claims_s=1000.0)
    await until(lambda: book.problem is None and not book.totals.claims)
    await claimed(book, "a", OTHER)


async def test_a_claim_that_nobody_waits_for_any_more_is_taken_back(books: Books) -> None:
    """An exchange that was cancelled while it claimed leaves nothing behind."""
    book = await books.open()
    asked = asyncio.create_task(book.claim(key("a"), PRINT, "n1", RUNNING_S))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await claimed(book, "a")


async def test_a_full_book_refuses(books: Books) -> None:
    """Forgetting early would let a repeat be carried out, so nothing new is taken."""
    book = await books.open(claims_max=2)
    for name in ("a", "b"):
        book.done(await claimed(book, name), ANSWER)
    await ended(book)
    async with refused(Code.OVERLOADED):
        await claimed(book, "c")


async def test_one_application_does_not_fill_the_book(books: Books) -> None:
    """When half of it is used, whoever has more than all others is refused, and others are not."""
    book = await books.open(claims_max=100)
    for name in range(60):
        book.done(await claimed(book, f"n{name}"), ANSWER)
    await ended(book)
    await book.close()
    book = await books.open(claims_max=100)
    await until(lambda: bool(book.totals.crowding))
    async with refused(Code.QUOTA_EXCEEDED):
        await claimed(book, "one more")
    again = await book.claim(VAULT.key(PROVINCE, MPI, "n0"), PRINT, "n", RUNNING_S)
    assert isinstance(again, Claim)


async def test_nothing_in_the_database_is_plain_text(tmp_path: Path) -> None:
    """Ids are hashed with a key, answers encrypted."""
    book = OnceBook(
        SqliteEngine(tmp_path / FILE, "r"), VAULT, OnceSettings(), ShiftedClock(), nothing
    )
    secret = b"a person's name"
    claim = await book.claim(key("LA-6f0f3c1c"), PRINT, "n", RUNNING_S)
    assert isinstance(claim, Claim)
    book.done(claim, ANSWER._replace(body=secret))
    await ended(book)
    files = [path.read_bytes() for path in tmp_path.glob("*")]  # noqa: ASYNC240
    assert len(files) > 1
    assert await book.claim(key("LA-6f0f3c1c"), PRINT, "n", RUNNING_S)
    await book.close()
    assert not [data for data in files if secret in data or b"LA-6f0f3c1c" in data]


@pytest.fixture
async def shared(postgresql_url: str) -> AsyncIterator[tuple[OnceBook, OnceBook]]:
    """The books of two servers on one database."""
    url = postgresql_url.replace("+psycopg", "")
    async with AsyncExitStack() as stack:
        books = Books(lambda server, run: PostgreSqlEngine(url, server, run), stack)
        yield await books.open("LA/GOV/MPI/ss1"), await books.open("LA/GOV/MPI/ss2")


@pytest.mark.needs_postgresql
async def test_two_servers_share_one_book(shared: tuple[OnceBook, OnceBook]) -> None:
    """One of all who ask at either carries out; the others get its outcome."""
    asked = [
        asyncio.create_task(shared[number % 2].claim(key("a"), PRINT, f"n{number}", RUNNING_S))
        for number in range(10)
    ]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    (claim,) = [task.result() for task in done]
    assert isinstance(claim, Claim)
    shared[asked.index(next(iter(done))) % 2].done(claim, ANSWER)
    assert [await task for task in waiting] == [ANSWER] * 9


@pytest.mark.needs_postgresql
async def test_what_a_dead_server_claimed_is_unknown_after_its_deadline(
    shared: tuple[OnceBook, OnceBook],
) -> None:
    """Another server waits as long as it may still run, and never carries it out."""
    first, second = shared
    assert isinstance(await first.claim(key("a"), PRINT, "n", 0.3), Claim)
    async with refused(Code.OUTCOME_UNKNOWN):
        await second.claim(key("a"), PRINT, "n2", RUNNING_S)


@pytest.mark.needs_postgresql
async def test_a_database_that_is_down_refuses_claims_and_keeps_endings(
    postgresql_server: DatabaseServer, postgresql_url: str
) -> None:
    """Claims get a clear 503 meanwhile; what ended meanwhile is written when it is back."""
    url = postgresql_url.replace("+psycopg", "")
    async with AsyncExitStack() as stack:
        books = Books(lambda server, run: PostgreSqlEngine(url, server, run), stack)
        book = await books.open()
        running = await claimed(book, "a")
        await asyncio.to_thread(postgresql_server.stop)
        try:
            book.done(running, ANSWER)
            async with refused(Code.ONCE_UNAVAILABLE):
                await claimed(book, "b")
            assert book.problem is not None
            assert await book.claim(key("a"), PRINT, "n", RUNNING_S) == ANSWER
        finally:
            await asyncio.to_thread(postgresql_server.start)
        await ended(book)
        assert book.problem is None
        await claimed(book, "b")
        other = await books.open("LA/GOV/MPI/ss2")
        assert await other.claim(key("a"), PRINT, "n", RUNNING_S) == ANSWER


@pytest.fixture
def line(postgresql_url: str) -> Iterator[tuple[Line, str]]:
    """A line to the database, and the database's URL by way of it."""
    parts = urlsplit(postgresql_url.replace("+psycopg", ""))
    assert parts.port is not None
    line = Line()
    line.start(parts.port)
    try:
        address = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{line.port}"
        yield line, parts._replace(netloc=address.removeprefix("@")).geturl()
    finally:
        line.stop()


@pytest.mark.needs_postgresql
async def test_a_commit_whose_answer_is_lost_leaves_no_doubt(line: tuple[Line, str]) -> None:
    """A claim that was made unheard is taken back before the next; an ending is written again."""
    cut = Fault(Act.CUT, Way.DOWN)
    async with AsyncExitStack() as stack:
        books = Books(lambda server, run: PostgreSqlEngine(line[1], server, run), stack)
        book = await books.open()
        book.done(await claimed(book, "warm"), ANSWER)
        await ended(book)
        line[0].arm(cut)
        async with refused(Code.ONCE_UNAVAILABLE):
            await claimed(book, "a")
        assert line[0].struck == 1
        await until(lambda: book.problem is None)
        running = await claimed(book, "a")
        line[0].arm(cut)
        book.done(running, ANSWER)
        await ended(book)
        assert line[0].struck == 1
        other = await books.open("LA/GOV/MPI/ss2")
        assert await other.claim(key("a"), PRINT, "n", RUNNING_S) == ANSWER


async def test_a_database_that_is_locked_refuses_in_time(tmp_path: Path) -> None:
    """A claim waits claim_s at most; what is made after that is taken back."""
    engine = SqliteEngine(tmp_path / FILE, "r")
    book = OnceBook(engine, VAULT, OnceSettings(claim_s=0.2), ShiftedClock(), nothing)
    await claimed(book, "warm")
    lock = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    async with refused(Code.ONCE_UNAVAILABLE):
        await claimed(book, "a")
    lock.execute("ROLLBACK")
    lock.close()
    async with asyncio.timeout(60):
        while True:
            try:
                await claimed(book, "a", OTHER)
                break
            except Problem as problem:
                if problem.code not in {Code.MESSAGE_ID_REUSED, Code.ONCE_UNAVAILABLE}:
                    raise
                await asyncio.sleep(0.01)
    await book.close()
