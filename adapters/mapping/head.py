"""The head of a mapping file, which is the same for every kind of source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from adapters.mapping.reader import Node
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem

Texts: TypeAlias = Map[str, str]
"""A text in both working languages: the keys ``en`` and ``lo``."""

FORMAT_VERSION = 1
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """What a mapping file says first; ``file`` is the name that places are given by."""

    file: str
    application: ApplicationId
    title: Texts
    version: str


class Offered(Protocol):
    """A service of a mapping, of whatever kind."""

    @property
    def id(self) -> ServiceId: ...

    @property
    def title(self) -> Texts: ...


S = TypeVar("S", bound=Offered)


def read_head(
    root: Node, required: Iterable[str], optional: Iterable[str] = ()
) -> tuple[Head, dict[str, Node]]:
    """The head, and all members of a file that has also those named.

    Raises:
        Problem: ``InvalidMapping`` with the place of the first fault.
    """
    top = root.members(
        ("saphan_mapping", "application", "title", "source", "services", *required),
        ("version", *optional),
    )
    top["saphan_mapping"].integer(FORMAT_VERSION, FORMAT_VERSION)
    try:
        application = ApplicationId.parse(top["application"].text())
    except Problem as problem:
        top["application"].refuse(problem.detail)
    version = top["version"].text(_VERSION) if "version" in top else "1.0.0"
    return Head(root.file, application, read_texts(top["title"]), version), top


def read_texts(node: Node) -> Texts:
    """A text in English and Lao."""
    languages = node.members(("en", "lo"))
    return {name: languages[name].text(longest=500) for name in ("en", "lo")}


def service_nodes(application: ApplicationId, node: Node) -> dict[ServiceId, Node]:
    """The services of a file by their identifiers: at least one.

    Raises:
        Problem: ``InvalidMapping`` for none, or a code that is no service code.
    """
    found: dict[ServiceId, Node] = {}
    for code, child in node.entries().items():
        try:
            found[ServiceId.parse(f"{application}/{code}")] = child
        except Problem as problem:
            child.refuse(problem.detail)
    if not found:
        node.refuse("at least one service is needed")
    return found


def choose_service(services: Map[str, S], service: ServiceId | str | None, file: str) -> S:
    """The service of this code or identifier, or the only one.

    Raises:
        Problem: ``InvalidMapping`` when there is no such service, or none was named among several.
    """
    codes = ", ".join(services)
    if service is None:
        if len(services) > 1:
            detail = f"the mapping has several services; name one of: {codes}"
            raise Problem(Code.INVALID_MAPPING, where=file, detail=detail)
        return next(iter(services.values()))
    for code, known in services.items():
        if service in (code, known.id):
            return known
    detail = f"there is no service {str(service)!r} in this mapping; there are: {codes}"
    raise Problem(Code.INVALID_MAPPING, where=file, detail=detail)
