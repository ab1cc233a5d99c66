"""Prometheus metrics of a security server; label sets are bounded."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from exchange.problems import Problem

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters with their children made once, so that the message path does no label look-up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        exchanges = Counter(
            "saphan_exchanges",
            "Exchanges answered, by side and class of status.",
            ("side", "status"),
            registry=self.registry,
        )
        durations = Histogram(
            "saphan_exchange_seconds",
            "Time from the request's head to the reply, by side.",
            ("side",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
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
        sides = ("consumer", "provider")
        self._answered = {
            (side, status): exchanges.labels(side, f"{status}xx")
            for side in sides
            for status in range(1, 10)
        }
        self._durations = {side: durations.labels(side) for side in sides}

    def start(self) -> float:
        """A moment to measure from."""
        return time.perf_counter()

    def done(self, side: str, status: int, started: float) -> None:
        """Count an answered exchange."""
        self._answered[side, status // 100].inc()
        self._durations[side].observe(time.perf_counter() - started)

    def refused(self, side: str, problem: Problem, started: float) -> None:
        """Count an exchange that ended in a problem of this server."""
        self._refusals.labels(side, problem.code.value).inc()
        self.done(side, problem.status, started)

    def reported(self, problem: Problem) -> None:
        """Count a broken contract that was let through."""
        self._reported.labels(problem.code.value).inc()

    def text(self) -> bytes:
        """The exposition in Prometheus's text format."""
        return generate_latest(self.registry)
