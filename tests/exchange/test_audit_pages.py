"""Rules of exchange.auditing: pages of entries, and what is believed of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from exchange.journal.auditing import Hit, Page, format_page, open_page, told
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem

ORIGIN = "LA/GOV/MPI/ss1/journal"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERIFIER = VerifierKey.of(ORIGIN, KEY.public_key())
TIMES = ("2026-11-21T08:00:00.000Z", "2026-11-21T08:00:01.000Z")
ENTRIES = [json.dumps({"at": at, "id": f"m-{n}"}).encode() for n, at in enumerate(TIMES)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
ROOT = merkle.node_hash(*LEAVES)
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 2, ROOT), KEY)
WHOLE = Hit(0, LEAVES[0], (LEAVES[1],), entry=ENTRIES[0])
PART = Hit(1, LEAVES[1], (LEAVES[0],), shown={"at": TIMES[1]})
PAGE = Page(ORIGIN, NOTE, (WHOLE, PART), "next")


def test_a_page_is_read_back_and_proven() -> None:
    """Entries that are shown whole, and leaves of which some members are shown."""
    page, checkpoint = open_page(format_page(PAGE), VERIFIER)
    assert page == PAGE
    assert checkpoint is not None
    assert checkpoint.size == 2
    assert [dict(told(hit)).get("id") for hit in page.hits] == ["m-0", None]


def test_a_log_without_entries_shows_none() -> None:
    """Before its first checkpoint there is nothing to prove, and nothing may be shown."""
    assert open_page(format_page(Page(ORIGIN, b"", (), None)), VERIFIER)[1] is None
    with pytest.raises(Problem) as refused:
        open_page(format_page(Page(ORIGIN, b"", (WHOLE,), None)), VERIFIER)
    assert refused.value.code is Code.INVALID_PROOF


@pytest.mark.parametrize(
    "forged",
    [
        replace(WHOLE, entry=ENTRIES[1]),
        replace(WHOLE, entry=ENTRIES[1], leaf=LEAVES[1]),
        replace(WHOLE, index=1),
        replace(WHOLE, index=2),
        replace(WHOLE, path=()),
        replace(PART, leaf=LEAVES[0]),
    ],
)
def test_what_is_not_in_the_log_is_refused(forged: Hit) -> None:
    """Another entry, another place, another path: each is told with its place."""
    with pytest.raises(Problem) as refused:
        open_page(format_page(replace(PAGE, hits=(PART, forged))), VERIFIER)
    assert refused.value.code is Code.INVALID_PROOF
    assert refused.value.where == "page#/entries/1"


def test_a_checkpoint_of_another_key_or_log_is_refused() -> None:
    """Only the key that the registry lists for the server speaks for its log."""
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    for note in (
        sign_checkpoint(Checkpoint(ORIGIN, 2, ROOT), other),
        sign_checkpoint(Checkpoint("LA/GOV/MOF/ss1/journal", 2, ROOT), KEY),
    ):
        with pytest.raises(Problem) as refused:
            open_page(format_page(replace(PAGE, checkpoint=note)), VERIFIER)
        assert refused.value.code is Code.INVALID_NOTE


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.update(more=1),
        lambda page: page.pop("origin"),
        lambda page: page["entries"][0].update(leaf="00"),
        lambda page: page["entries"][0].update(leaf="zz" * 32),
        lambda page: page["entries"][0].update(leaf=LEAVES[0].hex().upper()),
        lambda page: page["entries"][0].update(index=-1),
        lambda page: page["entries"][0].update(proof=["AAAA"]),
        lambda page: page["entries"][1].update(shown=[]),
        lambda page: page.update(entries={}),
    ],
)
def test_what_is_no_page_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    """As a document that is not of its form, or a proof that is none."""
    document = json.loads(format_page(PAGE))
    change(document)
    with pytest.raises(Problem) as refused:
        open_page(json.dumps(document).encode(), VERIFIER)
    assert refused.value.code in {Code.INVALID_DOCUMENT, Code.INVALID_NOTE, Code.INVALID_PROOF}


@given(st.binary(max_size=200))
def test_nothing_but_problems_comes_of_nonsense(data: bytes) -> None:
    """Whatever a server sends instead of a page."""
    with pytest.raises(Problem):
        open_page(data, VERIFIER)
