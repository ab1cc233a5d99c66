"""Opening a server's exactly-once book: which database, which key."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from mediator.journal.log import Journal
from mediator.once.book import OnceBook
from mediator.once.engine import Engine
from mediator.once.recovery import outcomes
from mediator.once.sqlite import FILE, SqliteEngine
from mediator.once.vault import Vault
from mediator.settings import ServerSettings
from serving.clock import Clock
from serving.randomness import random_token
from serving.secret_files import secret
from serving.small_files import read_file


async def open_book(
    settings: ServerSettings, stack: AsyncExitStack, clock: Clock, journal: Journal
) -> OnceBook:
    """The exactly-once book, which may be shared; it connects by itself when it can."""
    once, run = settings.once, random_token()
    if once.key is not None:
        master = await asyncio.to_thread(read_file, once.key, where="once.key")
    else:
        master = await asyncio.to_thread(secret, settings.directory / "once.key")
    engine: Engine
    if once.database is not None:
        # Imported where it is wanted: it takes 0.2 s and 10 MB of every start.
        from mediator.once.postgresql import PostgreSqlEngine

        engine = PostgreSqlEngine(once.database, str(settings.server), run)
    else:
        engine = SqliteEngine(settings.directory / FILE, run)
    book = OnceBook(engine, Vault(master), once, clock, partial(outcomes, journal))
    stack.push_async_callback(book.close)
    return book
