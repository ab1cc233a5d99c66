"""A journal in a process of its own that records until it is killed, its index in PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from tests.journal.world import MPI, QUICK, entry, journal_in, part
from tests.services.saying import own_channel

AT_ONCE = 8


async def record(directory: Path, url: str) -> None:
    """Record, and say the id of each entry that is acknowledged."""
    say = own_channel()
    async with journal_in(directory, replace(QUICK, index_database=url)) as journal:
        first = journal.size

        async def some(place: int) -> None:
            for number in range(first + place, sys.maxsize, AT_ONCE):
                name = f"LA-{first}-{number}"
                await journal.record(entry(number, id=name), MPI, part(number, id=name))
                say(name)

        await asyncio.gather(*map(some, range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2]))
