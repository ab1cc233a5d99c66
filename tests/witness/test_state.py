"""The witness's memory: check and persist are one step, whoever races and wherever it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.reference_world.processes import Process, free_ports
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import Note, parse_note
from exchange.log.witness import Submission, format_submission, open_submission
from exchange.problems import Code, Problem
from mediator.witness.alone import verifier_key
from mediator.witness.settings import LoneWitnessSettings
from mediator.witness.state import FILE, WitnessState
from tests.journal.world import KEY, ORIGIN, VERIFIER

LOGS = {ORIGIN: [VERIFIER]}
BRANCHES = 3
COMMON = 5


def leaf(branch: int, number: int) -> bytes:
    """Histories have a common beginning, and differ from there on."""
    return merkle.leaf_hash(f"{branch if number >= COMMON else 0} {number}".encode())


def subtree(branch: int) -> merkle.SubtreeReader:
    def read(level: int, index: int) -> bytes:
        first, last = index << level, (index + 1) << level
        return merkle.root_of_hashes(b"".join(leaf(branch, n) for n in range(first, last)))

    return read


def submission(branch: int, old: int, size: int) -> Submission:
    """An honest proof of one of several histories that the same key signs."""
    read = subtree(branch)
    note = sign_checkpoint(Checkpoint(ORIGIN, size, merkle.root(size, read)), KEY)
    return Submission(old, merkle.prove_consistency(old, size, read), parse_note(note))


def judge(state: WitnessState, given: Submission, at: int = 1) -> int:
    judged = state.judge(given, open_submission(given, LOGS), at)
    return 200 if judged.refusal is None else judged.refusal.status


def test_what_is_stored_is_what_was_judged(tmp_path: Path) -> None:
    """Growth replaces, everything else leaves as it was; a new process finds it."""
    state = WitnessState(tmp_path / FILE)
    assert state.known(ORIGIN) is None
    assert judge(state, submission(0, 0, 3)) == 200
    assert judge(state, submission(0, 0, 9)) == 409
    assert judge(state, submission(0, 3, 9), at=7) == 200
    assert judge(state, submission(1, 9, 12)) == 422
    assert judge(state, submission(1, 9, 9)) == 422
    assert judge(state, submission(0, 9, 9), at=8) == 200
    state.close()
    (known,) = WitnessState(tmp_path / FILE).all()
    assert (known.checkpoint.size, known.at) == (9, 7)  # a repeat is not written again
    assert known.note == submission(0, 9, 9).note


def test_racing_threads_never_take_the_log_back(tmp_path: Path) -> None:
    """The race in the text of the specification: of many requests from one size, one is taken."""
    state = WitnessState(tmp_path / FILE)
    judge(state, submission(0, 0, 4))
    barrier = threading.Barrier(8)

    def race(size: int) -> int:
        given = submission(0, 4, size)
        barrier.wait()
        return judge(state, given)

    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(race, range(5, 13))]
    assert sorted(answers) == [200, *[409] * 7]
    known = state.known(ORIGIN)
    assert known is not None
    assert known.checkpoint.size == 5 + answers.index(200)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    """A damaged memory is not begun anew in silence."""
    (tmp_path / FILE).write_bytes(b"no database" * 500)
    with pytest.raises(Problem) as caught:
        WitnessState(tmp_path / FILE)
    assert caught.value.code is Code.JOURNAL_CORRUPT


def test_a_busy_or_full_disk_cosigns_nothing(tmp_path: Path) -> None:
    """What cannot be stored is an error of the disk, and the memory is as it was."""
    state = WitnessState(tmp_path / FILE)
    judge(state, submission(0, 0, 4))
    with sqlite3.connect(tmp_path / FILE) as other:
        (pages,) = other.execute("PRAGMA page_count").fetchone()
    state._connection.execute(f"PRAGMA max_page_count = {pages}")
    long = submission(0, 4, 9)
    many = Note(long.note.text, long.note.signatures + (long.note.signatures[0],) * 60)
    with pytest.raises(OSError, match="full"):
        judge(state, Submission(4, long.proof, many))
    known = state.known(ORIGIN)
    assert known is not None
    assert known.checkpoint.size == 4
    state._connection.execute("PRAGMA max_page_count = 1000")
    assert judge(state, long) == 200


@pytest.mark.parametrize(
    ("at", "size"), [("BEGIN IMMEDIATE", 4), ("INSERT", 4), ("COMMIT", 4), ("return", 9)]
)
def test_a_kill_at_each_step_leaves_one_of_two_states(tmp_path: Path, at: str, size: int) -> None:
    """Before the commit the old checkpoint is known, after it the new one; then it goes on.

    In neither is there a cosignature that the memory does not know: signing comes after.
    """
    state = WitnessState(tmp_path / FILE)
    judge(state, submission(0, 0, 4))
    state.close()
    child = os.fork()
    if not child:  # nothing but the kill ends it
        state = WitnessState(tmp_path / FILE)
        state._connection.set_trace_callback(lambda text: text.startswith(at) and _kill())
        judge(state, submission(0, 4, 9))
        _kill()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    state = WitnessState(tmp_path / FILE)
    known = state.known(ORIGIN)
    assert known is not None
    assert known.checkpoint.size == size
    assert judge(state, submission(0, known.checkpoint.size, 9)) == 200
    assert judge(state, submission(1, 9, 12)) == 422


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_processes_that_race_and_are_killed_cosign_one_history(tmp_path: Path) -> None:
    """Two witnesses started on one folder by mistake, two histories offered to both, a kill.

    All that was ever cosigned lies on one history, each cosignature verifies, and after the kill
    the memory is not behind what was cosigned before.
    """
    directory = tmp_path / "w"
    settings = LoneWitnessSettings(name="w.example", directory=directory, logs=(str(VERIFIER),))
    key = verifier_key(settings)
    ports = free_ports(2)
    processes = []
    for port in ports:
        path = tmp_path / f"{port}.yaml"
        path.write_text(
            json.dumps(
                {
                    "name": "w.example",
                    "directory": str(directory),
                    "listen": f"127.0.0.1:{port}",
                    "logs": [str(VERIFIER)],
                }
            )
        )
        processes.append(
            Process(
                ["witness", "serve", str(path)],
                f"http://127.0.0.1:{port}/healthz",
                tmp_path / f"{port}.log",
            )
        )
    cosigned: list[tuple[int, int]] = []
    stop = threading.Event()

    def offer(port: int, branch: int) -> None:
        known, chance = 0, random.Random(f"{port} {branch}")
        while not stop.is_set():
            size = min(known + chance.randint(0, 3), 200)
            given = submission(branch, known, size) if size >= known else None
            status, body = _post(port, given) if given is not None else (0, b"")
            if status == 200 and given is not None:
                note = parse_note(bytes(given.note) + body)
                assert open_cosignature(note, key).timestamp > 0
                cosigned.append((branch, size))
                known = size
            elif status == 409:
                known = int(body)

    try:
        for process in processes:
            process.start()
        for process in processes:
            process.wait_ready()
        with ThreadPoolExecutor(4) as pool:
            racing = [pool.submit(offer, port, branch) for port in ports for branch in (1, 2)]
            _wait_for(lambda: len(cosigned) >= 10)
            reached = max(size for _, size in list(cosigned))
            processes[0].kill()
            state = WitnessState(directory / FILE)
            known = state.known(ORIGIN)
            state.close()
            assert known is not None
            assert known.checkpoint.size >= reached
            before = len(cosigned)
            processes[0].start()
            processes[0].wait_ready()
            _wait_for(lambda: len(cosigned) >= before + 10)
            stop.set()
            for one in racing:
                one.result()
    finally:
        stop.set()
        for process in processes:
            process.stop()
    beyond = {branch for branch, size in cosigned if size > COMMON}
    assert len(beyond) == 1


def _wait_for(condition: object, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _post(port: int, given: Submission) -> tuple[int, bytes]:
    """Status and body; 0 when nothing is known of what became of it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/witness/add-checkpoint", format_submission(given)
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        time.sleep(0.05)  # it was killed, and is started again
        return 0, b""
