"""The registry's database, the same on both engines."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from exchange.problems import Code, Problem
from registry.requests.lifecycle import Kind, State
from registry.store import LogCheckpoint, NewRequest, Publication, Store
from registry.store.database import METADATA
from registry.store.migrations import FOLDER, create, head, known, migrate
from tests.registry.simulator import MPI, NOW


@pytest.fixture
def place(tmp_path: Path, database: str) -> Path | str:
    return database or tmp_path / "registry.db"


@pytest.fixture
def store(place: Path | str) -> Iterator[Store]:
    store = Store.create(place)
    yield store
    store.close()


def engine_of(place: Path | str) -> Engine:
    if isinstance(place, Path):
        return create_engine(f"sqlite:///{place}")
    return create_engine(place)


def described(engine: Engine) -> dict[str, Any]:
    """Every table, with its columns, keys and indexes, these with their conditions."""
    seen = inspect(engine)
    return {
        table: {
            "columns": sorted(
                (part["name"], str(part["type"]), part["nullable"], part["default"])
                for part in seen.get_columns(table)
            ),
            "key": seen.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(map(str, seen.get_foreign_keys(table))),
            "unique": sorted(map(str, seen.get_unique_constraints(table))),
            "indexes": sorted(
                (
                    str(part["name"]),
                    part["column_names"],
                    bool(part["unique"]),
                    {name: str(value) for name, value in part.get("dialect_options", {}).items()},
                )
                for part in seen.get_indexes(table)
            ),
        }
        for table in seen.get_table_names()
    }


def state(snapshot: int, **files: bytes) -> Publication:
    """The publication of a role in a new state."""
    roles = {"targets": (snapshot, b"t%d" % snapshot), "snapshot": (snapshot, b"s%d" % snapshot)}
    return Publication(roles | {"timestamp": (snapshot, b"")}, {"targets": files})


def test_migrations_make_the_tables_that_the_program_uses(place: Path | str) -> None:
    """What the migrations make differs in nothing from the definitions, and from what a new
    registry is made with; they are one line."""
    engine = engine_of(place)
    with engine.begin() as connection:
        migrate(connection)
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == head()
    migrated = described(engine)
    with engine.begin() as connection:
        METADATA.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        create(connection)
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == head()
    assert described(engine) == migrated
    script = ScriptDirectory(FOLDER)
    assert script.get_heads() == [head()]
    assert [revision.revision for revision in script.walk_revisions()] == known()[::-1]


def test_a_registry_is_made_once(store: Store, place: Path | str) -> None:
    """A second creation is refused and leaves the first as it was."""
    store.put_fact("instance", "LA")
    with pytest.raises(Problem) as caught:
        Store.create(place)
    assert caught.value.code is Code.CONFLICT
    assert store.fact("instance") == "LA"


def test_what_is_no_registry_is_not_opened(place: Path | str) -> None:
    """Opening makes nothing."""
    if isinstance(place, Path):
        place.touch()
    with pytest.raises(Problem) as caught:
        Store(place)
    assert caught.value.code is Code.NOT_FOUND


def test_tables_of_a_newer_program_are_left_alone(store: Store, place: Path | str) -> None:
    """An older program refuses to start on them."""
    with engine_of(place).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Problem) as caught:
        Store(place)
    assert caught.value.code is Code.CONFLICT


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    """What raises takes back everything that was done before it."""

    def work() -> None:
        with store.transaction():
            store.put_fact("instance", "LA")
            store.append_log(b"entry")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert store.log() == []
    with pytest.raises(IndexError):
        store.fact("instance")


def test_a_swallowed_failure_does_not_pass_for_success(store: Store) -> None:
    """A transaction in which a statement failed cannot be committed."""
    store.put_root(1, b"root")

    def work() -> None:
        with store.transaction():
            store.append_log(b"entry")
            with contextlib.suppress(Problem):
                store.put_root(1, b"other")

    with pytest.raises(Problem) as caught:
        work()
    assert caught.value.code is Code.DATABASE_UNAVAILABLE
    assert store.log() == []


def test_a_transaction_within_another_is_part_of_it(store: Store) -> None:
    """The outer one decides."""

    def work() -> None:
        with store.transaction():
            with store.transaction():
                store.append_log(b"entry")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert store.log() == []


def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    """Another thread reads what was there before, while a transaction is open."""
    store.append_log(b"one")
    seen: list[int] = []
    with store.transaction():
        store.append_log(b"two")
        reader = threading.Thread(target=lambda: seen.append(store.log_size()))
        reader.start()
        reader.join(20)
    assert seen == [1]


def test_two_writers_leave_no_gap_and_no_double(place: Path | str, store: Store) -> None:
    """Two openings of one database append at once: every index once, without a gap."""
    other = Store(place)

    def write(one: Store, name: bytes) -> None:
        for _ in range(20):
            one.append_log(name)

    writers = [
        threading.Thread(target=write, args=(store, b"a")),
        threading.Thread(target=write, args=(other, b"b")),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    other.close()
    entries = store.log()
    assert [index for index, _ in entries] == list(range(40))
    assert sorted(entry for _, entry in entries) == [b"a"] * 20 + [b"b"] * 20
    assert store.log(after=37, limit=1) == [entries[38]]


def test_a_checkpoint_is_replaced_only_from_the_expected_one(store: Store) -> None:
    """Compare-and-swap: who comes second learns it; no checkpoint covers less, or what is not."""
    for _ in range(3):
        store.append_log(b"entry")
    assert store.checkpoint() is None
    assert store.put_checkpoint(None, 1, b"one")
    assert not store.put_checkpoint(None, 2, b"late")
    assert store.put_checkpoint(1, 3, b"three")
    assert not store.put_checkpoint(1, 2, b"late")
    assert store.put_checkpoint(3, 3, b"three, witnessed")
    assert store.checkpoint() == LogCheckpoint(3, b"three, witnessed")
    with pytest.raises(ValueError, match="less"):
        store.put_checkpoint(3, 2, b"")
    with pytest.raises(ValueError, match="there are"):
        store.put_checkpoint(3, 4, b"")


def test_every_state_can_be_told_again(store: Store) -> None:
    """Roles and files of each state are those that it was published with."""
    contents = [{"a": b"1", "b": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"1"}, {"a": b"1", "b": b"1"}]
    for number, files in enumerate(contents, 1):
        with store.transaction():
            store.publish(state(number, **files), NOW + timedelta(hours=number))
    assert store.files() == contents[-1]
    assert [number for number, _ in store.states()] == [1, 2, 3, 4]
    assert store.states(until=NOW + timedelta(hours=2, minutes=5))[-1][0] == 2
    for number, files in enumerate(contents, 1):
        assert store.files_at(number, "targets") == files
        assert store.roles_at(number) == {"targets": (number, b"t%d" % number)}
    assert store.role("snapshot") == (4, b"s4")


def test_an_address_that_is_no_postgresql_is_refused() -> None:
    """The setting names what it may be."""
    with pytest.raises(Problem) as caught:
        Store("mysql://somewhere/registry")
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "database")


def test_an_address_is_shown_without_its_password() -> None:
    """A database that is away is named, its password is not."""
    with pytest.raises(Problem) as caught:
        Store("postgresql://saphan:geheim@127.0.0.1:1/registry")
    assert caught.value.code is Code.DATABASE_UNAVAILABLE
    assert caught.value.where == "postgresql://127.0.0.1/registry"
    assert "geheim" not in str(caught.value)


def test_submissions_of_before_become_requests(place: Path | str) -> None:
    """The second migration keeps what the first one's tables hold, and numbers go on after it."""
    if isinstance(place, Path):
        place.touch(0o600)
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with engine_of(place).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO submissions (id, member, kind, state, version, body, note,"
                " submitted_at, submitted_by, reason)"
                " VALUES (7, 'LA/GOV/MPI', 'first', 'submitted', 1, :body, 'n', 't', 'op', '')"
            ),
            {"body": b"what was sent"},
        )
    store = Store(place)
    try:
        row = store.request(7)
        assert (row.member, row.subject, row.state) == (MPI, str(MPI), State.SUBMITTED)
        assert (row.body, row.changes, row.approvals) == (b"what was sent", (), ())
        request = NewRequest(Kind.OWN, None, "elements.json", b"{}", ())
        with store.transaction():
            assert store.add_request(request, NOW, "op") == 8
    finally:
        store.close()
