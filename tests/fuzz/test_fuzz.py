"""Parsers and header rules under whatever comes: briefly here, longer by ``python -m tests.fuzz``.

``corpus/<kind>/<verdict>-<name>`` holds streams that are worth keeping: ``taken-N`` ones give N
messages, ``refused`` ones none, however they are cut.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.reference import requests_in
from tests.fuzz.targets import CORPUS, TARGETS, replay

FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
CI = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


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
    verdict = path.name.partition("-")
    count = replay(path.parent.name, path.read_bytes())
    assert count == (int(verdict[2].partition("-")[0]) if verdict[0] == "taken" else 0)


def test_the_corpus_has_both_verdicts() -> None:
    """A parser that refused everything would not pass."""
    for kind in ("requests", "answers"):
        names = [path.name for path in FILES if path.parent.name == kind]
        assert len([name for name in names if name.startswith("taken")]) >= 5
        assert len([name for name in names if name.startswith("refused")]) >= 20


def test_the_reference_reads_what_it_should() -> None:
    """It is what everything is held against, so it must take the good and refuse the bad."""
    good = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    (read,) = requests_in(good)
    assert (read.method, read.target, read.body) == ("POST", "/a", b"hi")
    assert len(requests_in(good * 3)) == 3
    assert not requests_in(good.replace(b": 2", b": +2"))
    assert not requests_in(good[:-1])
