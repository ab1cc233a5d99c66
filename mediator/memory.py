"""What a server remembers across a restart: accepted signatures and the day's use of quotas."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import structlog

from exchange.journal.entries import Kind, Side, format_time
from mediator.agreements.quota import NOT_COUNTED, QuotaBook, quota_key
from mediator.journal.log import Journal
from mediator.provider.replay import KEEP_S, ReplayMemory
from serving.clock import Clock

log = structlog.get_logger("mediator.memory")

QUOTAS_FILE = "quotas.json"
REPLAY_WINDOW = timedelta(seconds=KEEP_S)


def remember(journal: Journal, directory: Path, clock: Clock) -> tuple[ReplayMemory, QuotaBook]:
    """Fill replay memory and quotas from what the journal holds from before this start.

    The day's use of quotas is noted every second and at a stop (:func:`note_quotas`), so that only
    the entries since then are counted; without a note, those since midnight. A call that was under
    way when the note was written is not in it: its entry counts. One that was under way at a kill
    does not count, and one that ended in the note's own millisecond may count twice. Nor does one
    count that ended in the second before a kill for want of room: its entry does not say whether
    the backend had been asked, which a running server knows
    (:func:`mediator.agreements.quota.did_not_happen`).
    """
    now = clock.now()
    tomorrow = format_time(_midnight(now) + timedelta(days=1))
    replays, quotas = ReplayMemory(since=now.timestamp()), QuotaBook()
    counted_until, used = _noted_quotas(directory / QUOTAS_FILE, now)
    for key, calls in used.items():
        quotas.restore(key, now, calls)
    fresh, counted = format_time(now - REPLAY_WINDOW), format_time(counted_until)
    for entry in journal.recent(min(counted_until, now - REPLAY_WINDOW)):
        if entry["side"] != Side.PROVIDER:
            continue
        if entry["kind"] == Kind.REQUEST:
            if entry["at"] >= fresh and "nonce" in entry:
                at = datetime.fromisoformat(entry["at"]).timestamp()
                replays.restore(entry["certificate"], entry["nonce"], at)
        elif "agreement" in entry and counted <= entry["at"] < tomorrow:
            if entry.get("problem") in NOT_COUNTED:
                continue
            provider = entry["service"].rpartition("/")[0].rpartition("/")[0]
            name = entry["agreement"].partition("/")[0]
            quotas.restore(quota_key(provider, entry["client"], name), now)
            quotas.restore(entry["service"], now)
    return replays, quotas


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _noted_quotas(path: Path, now: datetime) -> tuple[datetime, dict[str, int]]:
    midnight = _midnight(now)
    try:
        note = orjson.loads(path.read_bytes())
        at = datetime.fromisoformat(note["at"])
        used = {str(name): int(calls) for name, calls in note["used"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return midnight, {}
    return (at, used) if midnight <= at < midnight + timedelta(days=1) else (midnight, {})


async def note_quotas(quotas: QuotaBook, directory: Path, clock: Clock) -> None:
    """Note the day's use of quotas every second and at the end; see :func:`remember`."""
    noted: dict[str, int] = {}
    try:
        while True:
            await asyncio.sleep(1.0)
            noted = await _note_quotas(quotas, noted, directory, clock)
    finally:
        await _note_quotas(quotas, noted, directory, clock)


async def _note_quotas(
    quotas: QuotaBook, noted: dict[str, int], directory: Path, clock: Clock
) -> dict[str, int]:
    now = clock.now()
    used = quotas.snapshot(now.timestamp())
    if used != noted:
        note = orjson.dumps({"at": format_time(now), "used": used})
        try:
            await asyncio.to_thread(_replace, directory / QUOTAS_FILE, note)
        except OSError as error:
            # The journal holds the calls; a start takes a little longer without the note.
            log.warning("quotas_not_noted", why=str(error))
    return used


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
