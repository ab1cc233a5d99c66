"""An entry's time is one at which servers take what was signed, whatever its server's clock says.

The time of a signature is signed, by the other side for what it sends: so a server cannot date a
message back or forward by its entry alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.journal.entries import Entry, Kind, parse_entry
from exchange.journal.sealed_parts import SealedPart
from exchange.messages.signed import MAX_AGE_S, MAX_SKEW_S
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from mediator.provider.sealing import Sealer
from serving.bodies import IN_MEMORY_BYTES
from tests.journal.exchanges import BODY, MOF, MPI, Tell, World
from tests.journal.test_what_is_signed import Records

AGE, SKEW = timedelta(seconds=MAX_AGE_S), timedelta(seconds=MAX_SKEW_S)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def moved(by: timedelta, kind: Kind, **more: Any) -> Tell:
    """Entries of a kind that say another time than when it was."""

    def tell(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        if entry.kind is not kind:
            return entry, part
        return entry._replace(at=entry.at + by, **more), part

    return tell


@pytest.mark.parametrize("by", [-DAY, -SKEW - SECOND, AGE + SKEW + 2 * SECOND, DAY], ids=str)
@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.RESPONSE])
@pytest.mark.parametrize("member", [MOF, MPI], ids=["consumer", "provider"])
def test_an_entry_says_no_time_at_which_no_server_takes_it(
    tmp_path: Path, by: timedelta, kind: Kind, member: Any
) -> None:
    """Before the signature was made, but for what clocks differ, or when it was stale."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1, tell=moved(by, kind)))
    (found,) = verify(world.journals[member]).findings
    assert (found.code, found.index) == (Code.STALE_SIGNATURE, 0 if kind is Kind.REQUEST else 1)
    assert found.file.startswith("segments/")


@pytest.mark.parametrize(
    ("by", "kind"),
    [
        (-SKEW, Kind.REQUEST),
        (AGE + SKEW, Kind.REQUEST),
        (SECOND - SKEW, Kind.RESPONSE),
        (SECOND + AGE + SKEW, Kind.RESPONSE),
    ],
    ids=str,
)
def test_what_servers_take_is_no_lie(tmp_path: Path, by: timedelta, kind: Kind) -> None:
    """To the second; an answer of the exchange was signed one later than its entry says."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1, tell=moved(by, kind)))
    assert verify(world.journals[MOF]).findings == ()


@pytest.mark.parametrize(("by", "good"), [(DAY, True), (-SKEW - SECOND, False)], ids=str)
def test_a_long_body_comes_as_slowly_as_it_comes(tmp_path: Path, by: timedelta, good: bool) -> None:
    """Its entry says when it was there; before it was signed it was not."""
    world = World(tmp_path)
    long = IN_MEMORY_BYTES + 1

    def tell(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        entry, part = moved(by, Kind.RESPONSE, size=long)(entry, part)
        return entry, part._replace(body=b"") if entry.size == long else part

    asyncio.run(world.exchange(1, tell=tell))
    assert verify(world.journals[MOF]).good == good
    own = verify(world.journals[MPI]).findings  # of its own answer a server has the body
    assert [one.code for one in own] == [Code.STALE_SIGNATURE]


def test_a_nonce_states_no_time(tmp_path: Path) -> None:
    """A caller cannot have its provider accused by what it writes into a nonce."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1, nonce="a;created=1;expires=2;keyid=3;alg=4"))
    for member in (MOF, MPI):
        assert verify(world.journals[member]).findings == ()


@dataclass
class Standing:
    """The clock of a machine that stands still between any two looks at it, for an hour."""

    at: datetime

    def now(self) -> datetime:
        self.at += timedelta(hours=1)
        return self.at

    def unix(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self.now().timestamp()


def test_a_machine_that_stands_still_accuses_nobody(tmp_path: Path) -> None:
    """The entry says when a message was signed or judged, however much later it is recorded."""
    records = Records(World(tmp_path))
    records.clock = Standing(records.world.now)
    asyncio.run(records.write())
    assert verify(records.directory).findings == ()
    reader = JournalReader(records.directory)
    last = parse_entry(reader.entry(reader.checkpoint.size - 1))
    assert last.at > records.world.now + DAY / 4  # the order of a person is signed by no server


def test_an_answer_is_signed_by_the_clock_that_its_entry_says(tmp_path: Path) -> None:
    """One look at the clock serves both."""
    records = Records(World(tmp_path))
    asyncio.run(records.write())
    clock = Standing(records.world.now)
    sealer = Sealer({MPI: records.world.key_of(MPI)}, clock)
    reply = sealer.reply(records.opening, 200, (), BODY)
    assert reply.at == clock.at
    assert f";created={int(clock.at.timestamp())};" in reply.signed.signature_input
