"""Parsers, rules and formats under whatever comes: briefly here, longer by ``make fuzz``.

``corpus/<target>/`` holds what is worth keeping. Streams are named ``<verdict>-<name>``: of
``taken-N`` ones N messages are taken, of ``refused`` ones none, however they are cut. For values of
other targets the rules hold.
"""

from __future__ import annotations

from ast import literal_eval
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.reference import requests_in
from tests.fuzz.targets import CORPUS, STREAMS, TARGETS, keep, replay, replay_value

FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
CI = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
def test_the_rules_hold_whatever_comes(name: str) -> None:
    """A bounded number of examples; both verdicts are among them."""
    target = TARGETS[name]
    verdicts: Counter[bool] = Counter()

    @CI
    @given(target.inputs)
    def hold(example: object) -> None:
        verdicts[bool(target.check(example))] += 1

    hold()
    assert verdicts[False]
    assert verdicts[True] or name == "seals"  # nearly nothing that was tampered with opens


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_is_judged_as_it_says(path: Path) -> None:
    """What was found once, and the shapes of request smuggling, stay judged as they are."""
    if path.parent.name not in STREAMS:
        replay_value(path.parent.name, path.read_bytes())
        return
    verdict = path.name.partition("-")
    count = replay(path.parent.name, path.read_bytes())
    assert count == (int(verdict[2].partition("-")[0]) if verdict[0] == "taken" else 0)


def test_the_corpus_has_both_verdicts() -> None:
    """A parser that refused everything would not pass."""
    for kind in STREAMS:
        names = [path.name for path in FILES if path.parent.name == kind]
        assert len([name for name in names if name.startswith("taken")]) >= 5
        assert len([name for name in names if name.startswith("refused")]) >= 20


@pytest.mark.parametrize("name", TARGETS)
def test_a_finding_is_kept_so_that_it_is_found_again(name: str, tmp_path: Path) -> None:
    """The file that a run writes is the example: a value whole, a stream in all its bytes."""

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TARGETS[name].inputs)
    def hold(example: Any) -> None:
        data = keep(name, example, tmp_path).read_bytes()
        if name in STREAMS:
            assert data == b"".join(example if name == "requests" else example[0])
        else:
            assert literal_eval(data.decode("ascii")) == example

    hold()


def test_the_reference_reads_what_it_should() -> None:
    """It is what everything is held against, so it must take the good and refuse the bad."""
    good = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    (read,) = requests_in(good)
    assert (read.method, read.target, read.body) == ("POST", "/a", b"hi")
    assert len(requests_in(good * 3)) == 3
    assert not requests_in(good.replace(b": 2", b": +2"))
    assert not requests_in(good[:-1])
