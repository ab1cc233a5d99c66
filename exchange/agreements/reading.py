"""What the documents of agreements and mandates share: values read strictly and written once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

from exchange.documents import Members, Node
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem, Text

NOUN: Final = "agreement"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

_IdentifierT = TypeVar("_IdentifierT", MemberId, ApplicationId, ServiceId)


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


def identifier(kind: type[_IdentifierT], node: Node) -> _IdentifierT:
    """An identifier in its one spelling."""
    text = node.text(2048)
    try:
        return kind.parse(text)
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


def moment(node: Node) -> datetime:
    """A time to the second in UTC."""
    text = node.text()
    if not _MOMENT.fullmatch(text):
        raise node.refuse("must be a UTC time such as 2026-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise node.refuse("is no time of the calendar") from error


def format_moment(moment: datetime) -> str:
    """A time as documents write it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def bilingual(text: Text) -> dict[str, str]:
    """A text as documents write it."""
    return {"en": text.en, "lo": text.lo}


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
