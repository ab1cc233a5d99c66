"""What is refused before it is a request: all counted, some recorded."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from mediator.background import background_tasks
from mediator.handshakes import HANDSHAKES_RECORDED_PER_S, Handshakes
from mediator.metrics import Metrics
from mediator.records import Recorder
from serving.clock import SystemClock
from tests.journal.world import journal_in, until

SERVER = ServerId.parse("LA/GOV/MPI/ss1")


async def test_noise_at_one_listener_hides_nothing_at_another(tmp_path: Path) -> None:
    """Of a flood of bad handshakes few are recorded; a request at a full gate still is."""
    metrics = Metrics()
    async with journal_in(tmp_path) as journal, background_tasks() as background:
        recorder = Recorder(journal, SERVER, SystemClock(), metrics, 1024)
        watcher = Handshakes(recorder, metrics, background)
        failed = watcher.observer("peer", Code.PEER_CERTIFICATE_UNTRUSTED)
        error = ssl.SSLError(1, "bad")
        error.reason = "HTTP_REQUEST"  # as the ssl module sets it
        for _ in range(1000):
            failed(error)
        watcher.malformed("gate")(Problem(Code.OVERLOADED, where="server"))
        await until(lambda: not background._tasks)
        since = SystemClock().now() - timedelta(minutes=1)
        problems = [entry["problem"] for entry in journal.recent(since)]
    assert Code.OVERLOADED in problems
    assert 1 < len(problems) <= 2 * HANDSHAKES_RECORDED_PER_S + 1  # a second may end meanwhile
    assert b'saphan_tls_failures_total{listener="peer"} 1000.0' in metrics.text()
