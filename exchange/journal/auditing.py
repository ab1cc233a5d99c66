"""What an auditor asks of a server, and how the answer is proven: pages of entries.

A page holds a signed checkpoint of one log and entries with the paths that lead from their leaves
to its root. An entry is shown whole, so that its leaf can be computed, or in some of its members:
then the leaf's hash stands in its place, and what is shown rests on the signature of the answer.

Invariants:
- :func:`open_page` returns only what the log's own key has signed, each entry proven to be in it;
- ``parse`` of what ``format`` wrote is the same page; every length is bounded.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.journal.entries import MAX_SIZE
from exchange.log import merkle, notes
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.proof import parse_hash
from exchange.problems import Code, Problem
from exchange.registrations import AUDITING

JOURNAL: Final = "journal"
USAGE: Final = "usage"
SERVICES: Final = (JOURNAL, USAGE)
MAX_PAGE_BYTES: Final = 64 << 20
MAX_HITS: Final = 500
_MAX_HASHES: Final = 63
_MAX_NOTE: Final = 1 << 16
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry of a page: its place, the hash of its leaf, its path, and what is shown of it."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]
    entry: bytes | None = None
    shown: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of one log; ``next`` says where the next page begins."""

    origin: str
    checkpoint: bytes
    hits: tuple[Hit, ...]
    next: str | None


def auditing_service(member: MemberId, code: str) -> ServiceId:
    """A service that the servers of every member have."""
    return ServiceId(member.instance, member.member_class, member.member_code, AUDITING, code)


def format_page(page: Page) -> bytes:
    """A page as it is answered."""
    return format_document(describe_page(page))


def describe_page(page: Page) -> dict[str, Any]:
    """A page as JSON."""
    return {
        "origin": page.origin,
        "checkpoint": page.checkpoint.decode(),
        "entries": [_format_hit(hit) for hit in page.hits],
        "next": page.next,
    }


def _page(node: Node) -> Page:
    members = node.members(frozenset({"origin", "checkpoint", "entries", "next"}))
    following = members.get("next")
    return Page(
        members["origin"].text(2048),
        members["checkpoint"].text(_MAX_NOTE, 0).encode(),
        tuple(_hit(node) for node in members["entries"].items(MAX_HITS)),
        None if following is None else following.text(1000),
    )


def open_page(data: bytes, key: notes.VerifierKey) -> tuple[Page, Checkpoint | None]:
    """Parse an answer and prove all that is in it.

    Args:
        key: the log's verifier key as the registry has it.

    Returns:
        The page with the checkpoint; none when nothing is published yet.

    Raises:
        Problem: ``InvalidDocument`` or ``InvalidNote`` at the place of what is not in the form of a
            page; ``InvalidNote`` when the checkpoint is not signed by the log; ``InvalidProof`` for
            an entry that is not in it.
    """
    return open_document(parse_document(data, MAX_PAGE_BYTES, "page"), key)


def open_document(node: Node, key: notes.VerifierKey) -> tuple[Page, Checkpoint | None]:
    """:func:`open_page` of a page that is part of a document."""
    page, where = _page(node), f"{node.noun}#{node.pointer}"
    if not page.checkpoint:
        if page.hits:
            raise Problem(
                Code.INVALID_PROOF,
                where=f"{where}/entries",
                detail="entries without a checkpoint",
            )
        return page, None
    checkpoint = open_checkpoint(page.checkpoint, key, where=f"{where}/checkpoint")
    for number, hit in enumerate(page.hits):
        check_hit(hit, checkpoint, f"{where}/entries/{number}")
    return page, checkpoint


def check_hit(hit: Hit, checkpoint: Checkpoint, where: str) -> None:
    """Check that an entry is in the tree of a checkpoint, under its index.

    Raises:
        Problem: ``InvalidProof`` at ``where``.
    """
    if hit.entry is not None and merkle.leaf_hash(hit.entry) != hit.leaf:
        raise Problem(Code.INVALID_PROOF, where=where, detail="the leaf is of another entry")
    try:
        merkle.check_inclusion(hit.index, checkpoint.size, hit.leaf, hit.path, checkpoint.root)
    except Problem as problem:
        raise Problem(Code.INVALID_PROOF, where=where, detail=problem.detail) from problem


def _format_hit(hit: Hit) -> dict[str, Any]:
    document: dict[str, Any] = {
        "index": hit.index,
        "leaf": hit.leaf.hex(),
        "proof": [b64encode(sibling).decode() for sibling in hit.path],
    }
    if hit.entry is not None:
        document["entry"] = hit.entry.decode()
    if hit.shown is not None:
        document["shown"] = dict(hit.shown)
    return document


def _hit(node: Node) -> Hit:
    members = node.members(frozenset({"index", "leaf", "proof"}), frozenset({"entry", "shown"}))
    entry, shown = members.get("entry"), members.get("shown")
    if shown is not None and not isinstance(shown.value, dict):
        raise shown.refuse("must be an object")
    return Hit(
        members["index"].integer(0, merkle.MAX_SIZE),
        _leaf(members["leaf"]),
        tuple(parse_hash(each) for each in members["proof"].items(_MAX_HASHES)),
        None if entry is None else entry.text(MAX_SIZE).encode(),
        None if shown is None else shown.value,
    )


def _leaf(node: Node) -> bytes:
    text = node.text()
    if not _HEX.fullmatch(text):
        raise node.refuse("must be 64 lower-case hex digits")
    return bytes.fromhex(text)


def told(hit: Hit) -> Mapping[str, Any]:
    """What is known of an entry: all of it, or what is shown."""
    if hit.entry is not None:
        value = parse_document(hit.entry, MAX_SIZE, "entry").value
        return value if isinstance(value, dict) else {}
    return hit.shown or {}
