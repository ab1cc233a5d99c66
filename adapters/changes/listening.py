"""Being woken by PostgreSQL (LISTEN) instead of asking again and again.

A notification says only that it is worth looking: what has changed is read by position, so nothing
is lost while nobody listens. :meth:`Listener.wait` therefore also returns when it has just
connected, when the connection is lost, and after the time to look anyway.

It takes one connection to the database besides those of the source. A pooler that gives each
transaction another session takes no notifications to who listens: that there is one is logged, and
it is the time to look anyway that counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from psycopg import sql as composed
from sqlalchemy import URL

from adapters.sources.postgresql import KEEPALIVES, behind_pooler

_log = structlog.get_logger("saphan.adapters")


class Listener:
    """Waits for notifications on ``channels``; nothing is connected before the first wait."""

    def __init__(self, url: URL, channels: Sequence[str], connect_timeout_s: float) -> None:
        self._arguments, self._named = _arguments(url)
        self._named |= KEEPALIVES | {"connect_timeout": max(2, round(connect_timeout_s))}
        self._channels = channels
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something new, after ``timeout_s`` at the latest."""
        try:
            if self._connection is None:
                self._connection = await self._connect()
                return
            async for _ in self._connection.notifies(timeout=timeout_s, stop_after=1):
                return
        except (psycopg.Error, OSError) as error:
            _log.warning("not_listening", error=type(error).__name__)
            if self._connection is None:
                await asyncio.sleep(timeout_s)
            await self.close()

    async def close(self) -> None:
        """Stop listening; idempotent."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(
            *self._arguments, autocommit=True, application_name="saphan-changes", **self._named
        )
        between = await connection.execute(f"SELECT {behind_pooler(connection)}".encode())
        if await between.fetchone() == (True,):
            _log.warning("pooler_between", looks="every poll_s, unless sessions are pooled whole")
        for channel in self._channels:
            await connection.execute(composed.SQL("LISTEN {}").format(composed.Identifier(channel)))
        return connection


class Timer:
    """What waits where nobody notifies: the time to look again."""

    async def wait(self, timeout_s: float) -> None:
        await asyncio.sleep(timeout_s)

    async def close(self) -> None:
        pass


def _arguments(url: URL) -> tuple[list[Any], dict[str, Any]]:
    arguments, named = url.get_dialect()().create_connect_args(url)
    return list(arguments), dict(named)
