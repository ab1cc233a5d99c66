"""Whatever happens to a table, its events make its replica: random histories, real databases."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tests.adapters.conftest import EACH_KIND
from tests.adapters.replica import COMPARISON, LOG, WATERMARK, Table, Telling, mapping, put

NUMBERS = st.integers(1, 9)
TITLES = st.sampled_from([None, "ກ", " ຂ ", "ຄ"])
PRICES = st.integers(0, 3)
_files = itertools.count()
SETTINGS = settings(
    max_examples=6,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class History(RuleBasedStateMachine):
    """Writes, rounds and crashes in any order; ``table``, ``folder`` and ``method`` are given."""

    table: Table
    folder: Path
    method: str

    @property
    def overlaps(self) -> bool:
        """Whether transactions may overlap, and a table be emptied.

        MariaDB locks the gaps between rows, and has no trigger for the other.
        """
        return self.method == LOG and self.table.engine.dialect.name == "postgresql"

    @initialize()
    def begin(self) -> None:
        self.table.create()
        self.telling = Telling(
            mapping(self.method),
            {"CHANGES_URL": self.table.url},
            self.folder / f"{next(_files)}.state",
        )
        if self.method == LOG:
            self.table.script(self.telling.owner_sql())
        self.runner = asyncio.Runner()
        self.now = 100
        self.late: Any = None

    @rule(
        number=NUMBERS, title=TITLES, price=PRICES, behind=st.integers(0, 5), unmarked=st.booleans()
    )
    def write(
        self, number: int, title: str | None, price: int, behind: int, unmarked: bool
    ) -> None:
        """A row is inserted or changed; its mark may be a little older than others'."""
        self.now += 1
        self.table.put(number, title, price, None if unmarked else self.now - behind)

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        self.table.run("DELETE FROM tbl_book WHERE book_no = :n", n=number)

    @precondition(lambda self: self.method == LOG)
    @rule(old=NUMBERS, new=NUMBERS)
    def rename(self, old: int, new: int) -> None:
        """A row gets another key."""
        self.table.run("DELETE FROM tbl_book WHERE book_no = :n", n=new)
        self.table.run("UPDATE tbl_book SET book_no = :m WHERE book_no = :n", n=old, m=new)

    @precondition(lambda self: self.overlaps and self.late is None)
    @rule()
    def empty(self) -> None:
        self.table.run("TRUNCATE tbl_book")

    @precondition(lambda self: self.overlaps and self.late is None)
    @rule(number=st.integers(20, 22), price=PRICES)
    def begin_late(self, number: int, price: int) -> None:
        """A transaction takes its numbers now and commits after others."""
        self.late = self.table.engine.connect()
        self.late.begin()
        put(self.late, number, None, price, None)

    @precondition(lambda self: self.late is not None)
    @rule(commits=st.booleans())
    def end_late(self, commits: bool) -> None:
        late, self.late = self.late, None
        (late.commit if commits else late.rollback)()
        late.close()

    @rule()
    def tell(self) -> None:
        """After a round the replica is the table."""
        self.runner.run(self.telling.round())
        if self.late is None:  # the log tells nothing while an older transaction is open
            self.compare()

    @rule(batches=st.integers(0, 3))
    def crash(self, batches: int) -> None:
        """What was told and not noted is told again, with the same ids."""
        lost = self.runner.run(self.telling.round(crash_after=batches))
        again = self.runner.run(self.telling.round())
        assert {event.id for event in lost} <= {event.id for event in again}

    def compare(self) -> None:
        found, table = self.telling.replica.records, self.table.rows()
        if self.method == WATERMARK:  # which does not see that a row is gone
            found = {key: record for key, record in found.items() if key in table}
        assert found == table

    def teardown(self) -> None:
        if getattr(self, "late", None) is not None:
            self.end_late(True)
        if hasattr(self, "telling"):
            self.tell()
            self.runner.run(self.telling.close())
            self.runner.close()


@pytest.fixture(params=EACH_KIND)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "sqlite":
        return Table(f"sqlite:///{tmp_path}/changes.db")
    server = request.getfixturevalue(f"{request.param}_server")
    return Table(server.new_database(f"changes_{next(_files)}"))


@pytest.mark.parametrize("way", [COMPARISON, WATERMARK], ids=["comparison", "watermark"])
def test_the_events_of_any_history_make_the_table(table: Table, tmp_path: Path, way: str) -> None:
    """Inserts, updates, deletions, late commits, crashes: the replica is the table."""
    run_machine(_machine(table, tmp_path, way), settings=SETTINGS)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
        pytest.param("mariadb", marks=pytest.mark.needs_mariadb),
    ],
)
def test_the_events_of_a_log_make_the_table(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """As above, with keys that change, a table that is emptied, and transactions that overlap."""
    server = request.getfixturevalue(f"{kind}_server")
    table = Table(server.new_database(f"changes_{next(_files)}"))
    run_machine(_machine(table, tmp_path, LOG), settings=SETTINGS)


def _machine(table: Table, folder: Path, way: str) -> type[History]:
    return type("AnyHistory", (History,), {"table": table, "folder": folder, "method": way})
