"""What a server counts, against the library's own counters."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from exchange.problems import Code, Problem
from mediator.administration.metrics import _BUCKETS, Exchanges, Metrics


def exposed(registry: CollectorRegistry) -> set[str]:
    """The lines without comments, and without the times at which counters were made."""
    lines = generate_latest(registry).decode().splitlines()
    return {line for line in lines if not line.startswith("#") and "_created" not in line}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["consumer", "provider"]),
            st.integers(100, 999),
            st.sampled_from(_BUCKETS) | st.floats(0, 100),
        ),
        max_size=20,
    )
)
def test_exchanges_are_counted_as_the_library_counts(taken: list[tuple[str, int, float]]) -> None:
    """The same lines, to the last digit: bounds of buckets belong to the bucket below."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    exchanges = Exchanges()
    ours.register(exchanges)
    counter = Counter("saphan_exchanges", "x", ("side", "status"), registry=theirs)
    histogram = Histogram(
        "saphan_exchange_seconds", "x", ("side",), buckets=_BUCKETS, registry=theirs
    )
    for side in ("consumer", "provider"):
        histogram.labels(side)
        for status in range(1, 10):
            counter.labels(side, f"{status}xx")
    for side, status, seconds in taken:
        exchanges.count(side, status, seconds)
        counter.labels(side, f"{status // 100}xx").inc()
        histogram.labels(side).observe(seconds)
    assert exposed(ours) == exposed(theirs)


def test_a_refusal_is_an_exchange_too() -> None:
    """Counted by its code and among the answered ones."""
    metrics = Metrics()
    metrics.refused("provider", Problem(Code.ACCESS_DENIED), time.perf_counter())
    text = metrics.text().decode()
    assert 'saphan_problems_total{code="AccessDenied",side="provider"} 1.0' in text
    assert 'saphan_exchanges_total{side="provider",status="4xx"} 1.0' in text
    assert 'saphan_exchange_seconds_count{side="provider"} 1.0' in text
