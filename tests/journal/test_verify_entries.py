"""Bytes in a log that are no entry as servers write them are found, whatever they look like.

Programs read them differently: of two members of one name, one reads the first and another the
last; a word that nobody knows puts an exchange outside every search and count.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from exchange.journal.entries import format_sealed
from exchange.problems import Code
from mediator.journal import log
from mediator.journal.verify import Signers, log_key, verify
from tests.journal.exchanges import MOF, World


@pytest.mark.parametrize(
    ("honest", "written"),
    [
        ('"kind":"request"', '"kind" : "request"'),
        ('"purpose":"national-budget"', '"purpose":"tax","purpose":"national-budget"'),
        ('"v":1', '"v":1,"x":"y"'),
        ('"v":1', '"v":2'),
        ('"side":"consumer"', '"side":"nobody"'),
        ('Z","cert', '+00:00","cert'),
        ('"kind":"request"', '"kind":["request"]'),
        ('"method"', '"\\u006dethod"'),
    ],
)
def test_what_is_no_entry_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: str, written: str
) -> None:
    """A server whose program writes other bytes, which its tree commits to."""
    world = World(tmp_path)

    def dishonest(*told: object) -> bytes:
        return format_sealed(*told).replace(honest.encode(), written.encode())  # type: ignore[arg-type]

    monkeypatch.setattr(log, "format_sealed", dishonest)
    asyncio.run(world.exchange(1))
    found = verify(world.journals[MOF]).findings
    assert found
    assert {one.code for one in found} == {Code.JOURNAL_CORRUPT}
    assert all("the entry is no entry" in one.detail for one in found)
    # In what is published alone, too, which has no segments.
    journal = world.journals[MOF]
    indexes = {one.index for one in found}
    for verdict in (
        verify(journal, tree_only=True),
        verify(journal / "log", key=log_key(journal)),
    ):
        assert {one.index for one in verdict.findings} == indexes
        assert {one.code for one in verdict.findings} == {Code.JOURNAL_CORRUPT}
        assert all(one.file.startswith("log/tile/entries/") for one in verdict.findings)


def test_an_honest_log_alone_is_good(tmp_path: Path) -> None:
    """With the key that its registry lists."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    journal = world.journals[MOF]
    assert verify(journal / "log", key=log_key(journal)).good


@pytest.mark.parametrize("member", ["client", "problem", "service", "size", "status"])
@pytest.mark.parametrize("value", ['["a"]', '{"a":1}', "true", '"x"', "1.5"])
def test_values_of_another_type_end_no_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, value: str
) -> None:
    """What is made to stop whoever verifies is a finding like any other, or none."""
    world = World(tmp_path)

    def dishonest(*told: object) -> bytes:
        document = orjson.loads(format_sealed(*told))  # type: ignore[arg-type]
        document[member] = orjson.loads(value)
        if document["kind"] == "response":
            document.pop("certificate", None)
            document |= {"kind": "refusal", "side": "provider"}
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    monkeypatch.setattr(log, "format_sealed", dishonest)
    asyncio.run(world.exchange(1))
    for tree_only in (False, True):
        verify(world.journals[MOF], tree_only=tree_only, signers=Signers())
