"""Reconciliation: two organisations' journals, held against each other.

A side is its logs, each whole (:mod:`mediator.journal.whole_log`) or as far as an organisation
shows it to an auditor. Every entry that is read is proven to be in the tree of a signed checkpoint.
What a whole log lacks, it lacks in that tree, between the first and the last entry that were read;
what a shown one lacks, its organisation did not show when it was asked.

Memory does not grow with the journals: what is compared goes to temporary files, parted by a
checksum of the exchange (a Grace hash join), and is compared part by part.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol
from zlib import crc32

import orjson

from exchange.identifiers import ServerId
from exchange.journal.entries import Side
from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import LogProof
from mediator.journal.pairing import Compared, Fault, Mismatch, Told, compare

MAX_LISTED = 1000
_PART_ENTRIES = 50_000
_MAX_PARTS = 256  # each is an open file
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000
_FINE_MS = 1000

Progress = Callable[[str, int, int], None]


class Exchange(NamedTuple):
    """What names an exchange; ``forward``: the first side asks, the second answers."""

    id: str
    client: str
    service: str
    forward: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be compared."""

    since: datetime | None = None
    until: datetime | None = None
    margin: timedelta = timedelta(minutes=15)
    """How far two clocks, or one clock and its log, may be apart at the period's ends."""
    clock_limit_ms: int = 1000
    """From which median of a day on a clock is a finding."""
    content: bool = False
    """Open the sealed parts, as far as the keys are here, and compare what was signed."""


class Log(Protocol):
    """One log of a side, as far as it is at hand.

    ``place`` is where it was read, for people; ``covered`` what of its server is at hand (None:
    all); ``count`` how many entries :meth:`entries` gives.
    """

    @property
    def place(self) -> str: ...
    @property
    def server(self) -> ServerId: ...
    @property
    def key(self) -> VerifierKey: ...
    @property
    def checkpoint(self) -> Checkpoint: ...
    @property
    def count(self) -> int: ...
    @property
    def covered(self) -> Covered | None: ...

    def entries(self, *, content: bool) -> Iterator[tuple[int, bytes, str | None]]:
        """Index and bytes of each entry, proven; with a digest of what was signed where ``content``
        is asked for and can be opened.

        Raises:
            Problem: ``JournalCorrupt`` or ``InvalidProof`` when it is not what was signed;
                ``ArchivedElsewhere`` when it is not here any more.
        """
        ...

    def show(self, index: int) -> tuple[bytes, LogProof]:
        """An entry with the proof that it is in the log."""
        ...

    def describe(self) -> str:
        """What of the log was read, for people."""
        ...


@dataclass(frozen=True, slots=True)
class Covered:
    """What an organisation shows: exchanges of one member, with some others, of some services.

    None named: all. Without ``hidden``, what orders hide is not shown.
    """

    member: str
    others: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    hidden: bool = True

    def holds(self, own: str, other: str, service: str) -> bool:
        """Whether an exchange between two members is among them."""
        return (
            own == self.member
            and (not self.others or other in self.others)
            and (not self.services or service in self.services)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A mismatch of one exchange; ``lacking`` is the side (0 or 1) that has no entry of it."""

    exchange: Exchange
    mismatch: Mismatch

    @property
    def lacking(self) -> int | None:
        if self.mismatch.fault is not Fault.LACKS:
            return None
        return int((self.mismatch.provider is None) == self.exchange.forward)

    def entries(self) -> Iterator[tuple[int, Told]]:
        """The entries that show it, each with its side."""
        consumer, provider = self.mismatch.consumer, self.mismatch.provider
        if consumer is not None:
            yield int(not self.exchange.forward), consumer
        if provider is not None:
            yield int(self.exchange.forward), provider


@dataclass(slots=True)
class Clock:
    """How far the second side's clock is ahead of the first's, day by day (UTC)."""

    days: dict[int, Counter[int]] = field(default_factory=dict)

    def add(self, at: int, offset: float) -> None:
        """Count an exchange; from a second on only two digits are kept, so there are few."""
        rounded = round(offset)
        if abs(rounded) >= _FINE_MS:
            rounded = int(float(f"{rounded:.1e}"))
        self.days.setdefault(at // _DAY_MS, Counter())[rounded] += 1

    def medians(self) -> dict[str, int]:
        """The median of each day, in milliseconds."""
        return {
            (_EPOCH + timedelta(days=day)).date().isoformat(): _median(self.days[day])
            for day in sorted(self.days)
        }

    @property
    def pairs(self) -> int:
        return sum(counter.total() for counter in self.days.values())

    def overall(self) -> Counter[int]:
        total: Counter[int] = Counter()
        for counter in self.days.values():
            total += counter
        return total

    def median(self) -> int | None:
        return _median(self.overall()) if self.days else None

    def largest(self) -> int | None:
        """The offset that is farthest from nothing."""
        return max(self.overall(), key=abs, default=None)


def _median(counter: Counter[int]) -> int:
    half, seen = counter.total() / 2, 0
    for value in sorted(counter):
        seen += counter[value]
        if seen >= half:
            return value
    raise ValueError("nothing was counted")


@dataclass(slots=True)
class Report:
    """What came of a reconciliation."""

    sides: tuple[list[Log], list[Log]]
    exchanges: int = 0
    agreeing: int = 0
    lacks: int = 0
    differs: int = 0
    explained: int = 0
    """Messages that one side lacks, and the consumer's journal says why."""
    unreadable: int = 0
    """Entries that are none: somebody put something else into a log."""
    listed: list[Found] = field(default_factory=list)
    """The earliest, at most :data:`MAX_LISTED`; those that are explained come behind the others."""
    clock: Clock = field(default_factory=Clock)
    clock_limit_ms: int = 0

    @property
    def drifting(self) -> dict[str, int]:
        """The days on which the clocks were further apart than the limit."""
        return {
            day: median
            for day, median in self.clock.medians().items()
            if abs(median) > self.clock_limit_ms
        }

    @property
    def good(self) -> bool:
        return not (self.lacks or self.differs or self.unreadable or self.drifting)

    def show(self, side: int, told: Told) -> tuple[Log, bytes, LogProof]:
        """An entry that shows a mismatch, and the proof that it is in its log."""
        log = self.sides[side][told.journal]
        return log, *log.show(told.entry)


def reconcile(
    ours: Sequence[Log],
    theirs: Sequence[Log],
    asked: Asked,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Hold the logs of two sides against each other.

    Args:
        ours, theirs: the logs of each side's servers.
        asked: the period, and what is compared.
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: as :meth:`Log.entries`.
        OSError: a log cannot be read, or the temporary files not be written.
    """
    report = Report((list(ours), list(theirs)), clock_limit_ms=asked.clock_limit_ms)
    total = sum(log.count for side in report.sides for log in side)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="saphan-reconcile-"))
        count = max(1, min(_MAX_PARTS, -(-total // _PART_ENTRIES)))
        paths = [Path(folder) / str(number) for number in range(count)]
        with ExitStack() as writing:
            parts = [writing.enter_context(path.open("wb")) for path in paths]
            _part(report, asked, parts, total, progress)
        for number, path in enumerate(paths):
            progress("comparing parts", number, count)
            _compare_part(path, asked, report)
        progress("comparing parts", count, count)
    report.listed.sort(key=_importance)
    return report


def _part(
    report: Report, asked: Asked, parts: Sequence[BinaryIO], total: int, progress: Progress
) -> None:
    """Write what is compared to the parts, by the exchange it belongs to."""
    done = 0
    for side, logs in enumerate(report.sides):
        others = {str(log.server) for log in report.sides[1 - side]}
        for number, log in enumerate(logs):
            for index, data, signed in log.entries(content=asked.content):
                done += 1
                if done % 8192 == 0:
                    progress("reading", done, total)
                try:
                    row = _row(orjson.loads(data), others)
                except (AttributeError, KeyError, TypeError, ValueError):
                    report.unreadable += 1
                    continue
                if row is not None:
                    exchange, consumer, told = row
                    forward = (side == 0) == consumer
                    if not _is_covered(report, exchange, forward):
                        continue
                    key = f"{exchange[0]}\n{exchange[1]}\n{exchange[2]}\n{forward:d}"
                    line = orjson.dumps([key, side, number, index, *told, signed])
                    parts[crc32(key.encode()) % len(parts)].write(line + b"\n")
    progress("reading", total, total)


_KEPT = (
    "nonce", "method", "endpoint", "purpose", "request_id", "status", "size", "problem",
)  # fmt: skip
_NUMBERS = frozenset({"status", "size"})


def _row(document: Any, others: set[str]) -> tuple[tuple[str, str, str], bool, list[Any]] | None:
    """Of which exchange an entry tells, on which side, and what; None: not of these two."""
    get = document.get
    side, kind = document["side"], document["kind"]
    exchange = get("id"), get("client"), get("service")
    if side == Side.SERVER or get("peer") not in others or None in exchange:
        return None
    if not all(type(text) is str for text in (*exchange, kind)):
        raise TypeError("not text")
    for name in _KEPT:
        value = get(name)
        if value is not None and type(value) is not (int if name in _NUMBERS else str):
            raise TypeError(f"{name} is of another kind")
    moment = datetime.fromisoformat(document["at"]) - _EPOCH
    at = moment // timedelta(milliseconds=1)
    return exchange, side == Side.CONSUMER, [at, kind, *map(get, _KEPT)]


def _is_covered(report: Report, exchange: tuple[str, str, str], forward: bool) -> bool:
    """Whether both sides would show an exchange; logs of a side cover the same."""
    _, client, service = exchange
    first, second = _member(client), _member(service)
    if not forward:
        first, second = second, first
    for logs, own, other in zip(report.sides, (first, second), (second, first), strict=True):
        covered = logs[0].covered if logs else None
        if covered is not None and not covered.holds(own, other, service):
            return False
    return True


def _member(identifier: str) -> str:
    """The member of an application or a service."""
    return "/".join(identifier.split("/")[:3])


def _compare_part(path: Path, asked: Asked, report: Report) -> None:
    """Compare the exchanges of one part."""
    found: dict[str, tuple[list[Told], list[Told]]] = {}
    with path.open("rb") as file:
        for line in file:
            key, side, *rest = orjson.loads(line)
            found.setdefault(key, ([], []))[side].append(Told(*rest))
    since = None if asked.since is None else _milliseconds(asked.since)
    until = None if asked.until is None else _milliseconds(asked.until)
    for key, (ours, theirs) in found.items():
        at = min(told.at for told in (*ours, *theirs))
        if (since is not None and at < since) or (until is not None and at >= until):
            continue
        message_id, client, service, forward = key.rsplit("\n", 3)
        exchange = Exchange(message_id, client, service, forward == "1")
        consumer, provider = (ours, theirs) if exchange.forward else (theirs, ours)
        _count(report, exchange, at, compare(consumer, provider))


def _count(report: Report, exchange: Exchange, at: int, compared: Compared) -> None:
    report.exchanges += 1
    if compared.offset is not None:
        report.clock.add(at, compared.offset if exchange.forward else -compared.offset)
    if not compared.mismatches:
        report.agreeing += 1
    for mismatch in compared.mismatches:
        if mismatch.explanation:
            report.explained += 1
        elif mismatch.fault is Fault.LACKS:
            report.lacks += 1
        else:
            report.differs += 1
        report.listed.append(Found(exchange, mismatch))
    if len(report.listed) > 2 * MAX_LISTED:
        report.listed = heapq.nsmallest(MAX_LISTED, report.listed, key=_importance)


def _importance(found: Found) -> tuple[bool, int, Exchange]:
    return bool(found.mismatch.explanation), found.mismatch.at, found.exchange


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
