"""An anchor as it is shown to an auditor: proven, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.journal.shown_anchor import ShownAnchor, format_anchor, open_anchor, parse_anchor
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.problems import Code, Problem
from tests.exchange.test_audit_pages import KEY, LEAVES, NOTE, ORIGIN, ROOT, VERIFIER

KNOWN = Checkpoint(ORIGIN, 1, LEAVES[0])
ANCHOR = ShownAnchor(NOTE, (), (LEAVES[1],))


def test_an_anchor_is_read_back_and_proven() -> None:
    """What was written is read; growth is proven from what was known."""
    assert parse_anchor(format_anchor(ANCHOR)) == ANCHOR
    anchor, checkpoint = open_anchor(format_anchor(ANCHOR), VERIFIER, KNOWN)
    assert (anchor, checkpoint) == (ANCHOR, Checkpoint(ORIGIN, 2, ROOT))


@pytest.mark.parametrize(
    ("anchor", "known", "code"),
    [
        (ANCHOR, Checkpoint(ORIGIN, 1, merkle.EMPTY_ROOT), Code.JOURNAL_FORKED),
        (ANCHOR, Checkpoint(ORIGIN, 3, ROOT), Code.JOURNAL_FORKED),
        (ShownAnchor(NOTE, (), ()), KNOWN, Code.JOURNAL_FORKED),
        (ShownAnchor(NOTE, (("http://tsa", b"no token"),), ()), None, Code.INVALID_TIMESTAMP),
        (ShownAnchor(NOTE.replace(b"\n2\n", b"\n4\n"), (), ()), None, Code.INVALID_NOTE),
    ],
)
def test_what_is_not_proven_is_refused(anchor: ShownAnchor, known: Any, code: Code) -> None:
    """Another tree, a smaller one, no proof, a token that is none, another checkpoint."""
    with pytest.raises(Problem) as refused:
        open_anchor(format_anchor(anchor), VERIFIER, known)
    assert refused.value.code is code


@pytest.mark.parametrize("data", [b"{}", b'{"checkpoint":"x","growth":["AA=="],"tokens":[]}'])
def test_what_is_no_anchor_is_refused(data: bytes) -> None:
    """A document with other members, a hash that is none."""
    with pytest.raises(Problem) as refused:
        parse_anchor(data)
    assert refused.value.code is Code.INVALID_DOCUMENT


def test_a_note_signed_by_another_key_is_no_anchor() -> None:
    """Only the log's own key, which the registry lists, signs its anchors."""
    text = sign_checkpoint(Checkpoint(ORIGIN, 2, ROOT), KEY).rpartition(b"\n\n")[0]
    with pytest.raises(Problem) as refused:
        open_anchor(format_anchor(ShownAnchor(text + b"\n\n", (), ())), VERIFIER)
    assert refused.value.code is Code.INVALID_NOTE
