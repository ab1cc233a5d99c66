"""Processes of a world: started with their logs in files, awaited by their health, ended by id."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from exchange.problems import Code, Problem

READY_TIMEOUT_S = 30.0
# Longer than a server drains by default (limits.drain_s).
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05


# Below the ports that systems give to outgoing connections (Linux: from 32768 on), so that none of
# those takes one before its server listens. Processes that run side by side begin anywhere, each
# goes on from there: two of them hardly try the same one in the moment before somebody listens.
_PORTS: Final = range(15_000, 32_000)
_turns: dict[int, Iterator[int]] = {}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now; each call gives others."""
    turn = _turns.get(os.getpid())
    if turn is None:  # also in a process that was forked
        _turns.clear()
        turn = _turns[os.getpid()] = itertools.count(secrets.randbelow(len(_PORTS)))
    ports: list[int] = []
    for _ in _PORTS:
        if len(ports) == count:
            break
        port = _PORTS[next(turn) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


class Process:
    """One `saphan` process of a world."""

    def __init__(self, arguments: Sequence[str], health_url: str, log: Path) -> None:
        self.arguments = list(arguments)
        self.health_url = health_url
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, if it does not run; :meth:`wait_ready` says when it answers."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "console.cli.main", *self.arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it says that it is well.

        Raises:
            Problem: ``InternalError`` with the end of its log when it ended or took too long.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self.running:
            with (
                contextlib.suppress(urllib.error.URLError, OSError, ValueError),
                urllib.request.urlopen(self.health_url, timeout=2) as answer,  # noqa: S310
            ):
                if answer.status == 200:
                    return
            time.sleep(_POLL_S)
        tail = self.log.read_text("utf-8", "replace")[-2000:]
        raise Problem(
            Code.INTERNAL_ERROR,
            where=" ".join(self.arguments[:2]),
            detail=f"did not become ready; the end of {self.log}:\n{tail}",
        )

    def terminate(self) -> None:
        """Ask it to end; :meth:`stop` waits for that."""
        if self.running and self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End it gracefully, or at once when it does not; idempotent."""
        if self.running and self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.running and self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_TIMEOUT_S)


def stop_all(processes: Iterable[Process]) -> None:
    """End processes, all at the same time; idempotent."""
    chosen = list(processes)
    for process in chosen:
        process.terminate()
    for process in chosen:
        process.stop()


def health(url: str) -> dict[str, object]:
    """What a process says of its health, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            found: dict[str, object] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        failing: dict[str, object] = json.load(error)
        return failing
