"""What the documents of agreements and mandates share: values read strictly and written once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from exchange.documents import Members, Node
from exchange.problems import Code, Problem

NOUN: Final = "agreement"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def text(node: Node | None) -> str | None:
    """The text of a member, or nothing."""
    return None if node is None else node.text()


def optional(members: Members, key: str, most: int) -> Iterator[Node]:
    """The items of a member that may be absent."""
    node = members.get(key)
    return iter(()) if node is None else node.items(most)


def name(node: Node) -> str:
    """The name of an agreement or a purpose."""
    text = node.text()
    if not _NAME.fullmatch(text):
        raise node.refuse("must be 1 to 63 of a-z 0-9 and inner hyphens")
    return text


@contextmanager
def as_agreement() -> Iterator[None]:
    """Tell faults of documents and signatures as faults of the agreement."""
    try:
        yield
    except Problem as problem:
        if problem.code not in {Code.INVALID_DOCUMENT, Code.INVALID_SIGNATURE}:
            raise
        raise Problem(
            Code.AGREEMENT_INVALID, where=problem.where, detail=problem.detail
        ) from problem


def invalid(pointer: str, detail: str) -> Problem:
    """``AGREEMENT_INVALID`` at a place of the document."""
    return Problem(Code.AGREEMENT_INVALID, where=f"{NOUN}#{pointer}", detail=detail)
