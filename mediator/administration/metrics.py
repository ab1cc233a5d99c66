"""Prometheus metrics of a security server; label sets are bounded."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exchange.messages.error_types import code_named
from exchange.problems import Problem
from serving.backends import Headers
from serving.bodies import Spools

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_SIDES = ("consumer", "provider")


class Exchanges(Collector):
    """Answered exchanges and their durations, counted on one thread: the event loop's.

    The library's own counters take a lock for each of their numbers, three times an exchange; here
    counting is two additions, and the library's form is made when somebody asks.
    """

    def __init__(self) -> None:
        self._sides = {side: _Side() for side in _SIDES}

    def count(self, side: str, status: int, seconds: float) -> None:
        """Take in one exchange."""
        counts = self._sides[side]
        counts.by_class[status // 100] += 1
        counts.by_bucket[bisect_left(_BUCKETS, seconds)] += 1
        counts.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """What the library renders."""
        exchanges = CounterMetricFamily(
            "saphan_exchanges",
            "Exchanges answered, by side and class of status.",
            labels=("side", "status"),
        )
        durations = HistogramMetricFamily(
            "saphan_exchange_seconds",
            "Time from the request's head to the reply, by side.",
            labels=("side",),
        )
        bounds = [*map(floatToGoString, (*_BUCKETS, math.inf))]
        for side, counts in self._sides.items():
            for status, number in enumerate(counts.by_class[1:], 1):
                exchanges.add_metric((side, f"{status}xx"), number)
            buckets = list(zip(bounds, accumulate(counts.by_bucket), strict=True))
            durations.add_metric((side,), buckets, counts.seconds)
        yield exchanges
        yield durations


class Messages(Collector):
    """Unsafe messages by what the exactly-once book said of them."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}

    def set(self, counts: Mapping[str, int]) -> None:
        """Give the numbers since the start."""
        self._counts = dict(counts)

    def collect(self) -> Iterator[Metric]:
        """What the library renders."""
        family = CounterMetricFamily(
            "saphan_once_messages",
            "Unsafe messages by what the exactly-once book said: claimed (carried out), repeated "
            "(the recorded outcome given again), or a problem code.",
            labels=("outcome",),
        )
        for outcome, number in self._counts.items():
            family.add_metric((outcome,), number)
        yield family


class Bodies(Collector):
    """What is kept of bodies now, and what was spooled."""

    def __init__(self, spools: Spools) -> None:
        self._spools = spools

    def collect(self) -> Iterator[Metric]:
        """What the library renders."""
        spools = self._spools
        yield GaugeMetricFamily(
            "saphan_bodies_memory_bytes", "Bodies in memory now.", value=spools.in_memory
        )
        yield GaugeMetricFamily(
            "saphan_bodies_disk_bytes",
            "Long bodies on disk now, with what is reserved for those that are coming.",
            value=spools.on_disk,
        )
        yield CounterMetricFamily(
            "saphan_bodies_spooled", "Long bodies begun on disk.", value=spools.bodies_spooled
        )
        yield CounterMetricFamily(
            "saphan_bodies_spooled_bytes",
            "Bytes of long bodies written to disk.",
            value=spools.bytes_spooled,
        )


class _Side:
    """The numbers of one side; ``by_bucket`` are those of each bucket alone, not cumulated."""

    __slots__ = ("by_bucket", "by_class", "seconds")

    def __init__(self) -> None:
        self.by_class = [0] * 10
        self.by_bucket = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0


class Metrics:
    """What a server counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._refusals = Counter(
            "saphan_problems",
            "Exchanges stopped, by side and problem code.",
            ("side", "code"),
            registry=self.registry,
        )
        self._reported = Counter(
            "saphan_contract_reports",
            "Payloads that broke their contract and passed, since the service only reports.",
            ("code",),
            registry=self.registry,
        )
        self.handshakes = Counter(
            "saphan_tls_failures",
            "TLS handshakes that failed, by listener.",
            ("listener",),
            registry=self.registry,
        )
        self.turned_away = Counter(
            "saphan_turned_away",
            "What was refused before it was an exchange: connections too many, what is not HTTP, "
            "requests at a full or closed gate; by listener and problem code.",
            ("listener", "code"),
            registry=self.registry,
        )
        self._missed = Counter(
            "saphan_attempts_missed",
            "Attempts at a provider's server that brought no answer: not sent, refused (the server "
            "says that it did nothing), unknown (sent, and no answer).",
            ("fate",),
            registry=self.registry,
        )
        self._evidence = Counter(
            "saphan_evidence_elements",
            "Data elements of evidence requests: given, or the reason why not.",
            ("outcome",),
            registry=self.registry,
        )
        self._repeats = Counter(
            "saphan_attempts_repeated",
            "Whether a further attempt was allowed after one that brought no answer.",
            ("allowed",),
            registry=self.registry,
        )
        self.peers = Gauge(
            "saphan_peers",
            "Other servers asked since the start, by state of their breaker.",
            ("state",),
            registry=self.registry,
        )
        self.agreements_ending = Gauge(
            "saphan_agreements_ending",
            "Agreements without a renewal that end within so many days, by this server's side.",
            ("days", "side"),
            registry=self.registry,
        )
        self.maintenance = Gauge(
            "saphan_maintenance", "1 while this server is in maintenance.", registry=self.registry
        )
        self.inside = Gauge(
            "saphan_exchanges_running", "Exchanges running now.", registry=self.registry
        )
        self.journal_entries = Gauge(
            "saphan_journal_entries", "Entries in the journal.", registry=self.registry
        )
        self.registry_age = Gauge(
            "saphan_registry_age_seconds",
            "Seconds since the registry was last seen.",
            registry=self.registry,
        )
        self.registry_roles = Gauge(
            "saphan_registry_role_left_seconds",
            "Seconds until a role of the registry, or of a member of this server, ends.",
            ("role",),
            registry=self.registry,
        )
        self.once_claims = Gauge(
            "saphan_once_claims",
            "Messages that the exactly-once book remembers.",
            registry=self.registry,
        )
        self.once_answer_bytes = Gauge(
            "saphan_once_answer_bytes",
            "Bytes of answers in the exactly-once book.",
            registry=self.registry,
        )
        self.once_waiting = Gauge(
            "saphan_once_waiting",
            "Claimed messages whose ending the exactly-once book has not written yet.",
            registry=self.registry,
        )
        self.once = Messages()
        self.registry.register(self.once)
        self.on_unrecorded: Callable[[Problem], None] | None = None
        """Is told of each refusal that the journal did not take (``recorded`` is false in its
        facts), so that it is accounted for later."""
        self._exchanges = Exchanges()
        self.registry.register(self._exchanges)

    def watch_bodies(self, spools: Spools) -> None:
        """Tell of bodies, too."""
        self.registry.register(Bodies(spools))

    def watch(self, name: str, help: str, value: Callable[[], float]) -> None:
        """Tell of a number that is read when somebody asks."""
        Gauge(name, help, registry=self.registry).set_function(value)

    def start(self) -> float:
        """A moment to measure from."""
        return time.perf_counter()

    def done(self, side: str, status: int, started: float) -> None:
        """Count an answered exchange."""
        self._exchanges.count(side, status, time.perf_counter() - started)

    def answered(self, side: str, status: int, headers: Headers, started: float) -> None:
        """Count an answer of this server, which may be a refusal that it signed."""
        if status >= HTTPStatus.BAD_REQUEST:
            for name, value in headers:
                if name == "x-road-error":
                    self._refusals.labels(side, code_named(value)).inc()
                    break
        self.done(side, status, started)

    def refused(self, side: str, problem: Problem, started: float) -> None:
        """Count an exchange that ended in a problem of this server."""
        self._refusals.labels(side, problem.code.value).inc()
        if problem.facts.get("recorded") is False and self.on_unrecorded is not None:
            self.on_unrecorded(problem)
        self.done(side, problem.status, started)

    def reported(self, problem: Problem) -> None:
        """Count a broken contract that was let through."""
        self._reported.labels(problem.code.value).inc()

    def evidence(self, outcome: str) -> None:
        """Count a data element of an evidence request: given, or why not."""
        self._evidence.labels(outcome).inc()

    def missed(self, fate: str) -> None:
        """Count an attempt that brought no answer."""
        self._missed.labels(fate).inc()

    def repeated(self) -> None:
        """Count an attempt after one that brought no answer."""
        self._repeats.labels("yes").inc()

    def not_repeated(self) -> None:
        """Count one that the server's share of repeats did not allow."""
        self._repeats.labels("no").inc()

    def text(self) -> bytes:
        """The exposition in Prometheus's text format."""
        return generate_latest(self.registry)
