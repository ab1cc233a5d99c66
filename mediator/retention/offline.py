"""Erasing in the journal of a server that is stopped."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from mediator.journal.log import Journal
from mediator.once.opening import open_book
from mediator.own_keys import JOURNAL_KEY, log_key, open_keys, origin_of
from mediator.retention.classes import Retentions
from mediator.retention.erasing import Eraser, Order
from mediator.settings import ServerSettings
from serving.clock import SystemClock


async def erase_offline(settings: ServerSettings, order: Order) -> dict[str, Any]:
    """As :meth:`mediator.retention.erasing.Eraser.erase`; what is recorded is published at the next
    start.

    Nothing is signed here: a start hears first what witnesses remember.

    Raises:
        Problem: ``Conflict`` when the server runs; as :meth:`Eraser.erase`.
    """
    directory, clock = settings.directory, SystemClock()
    async with AsyncExitStack() as stack:
        keyring = await asyncio.to_thread(open_keys, directory, settings.journal)
        journal = await Journal.open(
            directory / "journal",
            origin=origin_of(settings.server),
            signing_key=log_key(directory / JOURNAL_KEY),
            keyring=keyring,
            settings=settings.journal,
            held=True,
        )
        stack.push_async_callback(journal.close)
        book = await open_book(settings, stack, clock, journal)
        eraser = Eraser(
            journal,
            keyring,
            settings.server.member,
            clock,
            Retentions(settings.retention).longest_days,
            book,
            settings.journal.index_database,
        )
        return await eraser.erase(order)
