"""Who asks: the caller of a request, and the conditions by which a mapping tells callers apart.

The mediator writes all three facts beside a request, after it has judged them: the application of
the signed message, the agreement that opened it, and the purpose, which the agreement lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from adapters.mapping.reader import Node
from exchange.identifiers import ApplicationId

T = TypeVar("T")
MOST_RULES: Final = 50
MOST_WORDS: Final = 100
_CLIENT: Final = re.compile(r"[^/\s%]{1,64}(/[^/\s%]{1,64}){0,3}")
_CODE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which agreement (its id) and for what purpose (its code).

    Empty is what nobody has said: it matches no condition.
    """

    client: ApplicationId | None = None
    agreement: str = ""
    purpose: str = ""


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class When:
    """A condition on callers: each kind of word that is there must be met by one of its words.

    A client is an identifier or its beginning: ``LA/GOV/MOF`` means all applications of that
    member, and no member whose code merely begins like it.
    """

    clients: tuple[str, ...] = ()
    agreements: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def matches(self, caller: Caller) -> bool:
        """Whether the condition is met."""
        if self.clients:
            if caller.client is None:
                return False
            name = f"{caller.client}/"
            if not any(name.startswith(f"{client}/") for client in self.clients):
                return False
        return (not self.agreements or caller.agreement in self.agreements) and (
            not self.purposes or caller.purpose in self.purposes
        )


@dataclass(frozen=True, slots=True)
class ByCaller(Generic[T]):
    """What holds for a caller: that of the first rule whose condition is met, or ``otherwise``."""

    rules: tuple[tuple[When, T], ...]
    otherwise: T

    def of(self, caller: Caller) -> T:
        """What holds for ``caller``."""
        for when, what in self.rules:
            if when.matches(caller):
                return what
        return self.otherwise

    @property
    def all(self) -> list[T]:
        """What holds for anybody."""
        return [*(what for _, what in self.rules), self.otherwise]


def read_by_caller(
    node: Node, key: str, read: Callable[[Node], T]
) -> tuple[tuple[tuple[When, T], ...], T]:
    """The keys ``rules``, whose items say ``when`` and what holds (``key``), and ``otherwise``."""
    found = node.members(("otherwise",), ("rules",))
    items = found["rules"].items() if "rules" in found else []
    if len(items) > MOST_RULES:
        found["rules"].refuse(f"at most {MOST_RULES} rules")
    rules = []
    for item in items:
        parts = item.members(("when", key))
        what = read(parts[key])
        rules.append((read_when(parts["when"]), what))
    return tuple(rules), read(found["otherwise"])


def read_when(node: Node) -> When:
    """The key ``when`` of a rule: ``client``, ``agreement`` and ``purpose``, a word or several."""
    found = node.members((), ("client", "agreement", "purpose"))
    if not found:
        node.refuse("say when: by 'client', 'agreement' or 'purpose'")
    words = {
        "client": lambda one: one.text(_CLIENT, longest=260),
        "agreement": lambda one: one.text(_CODE),
        "purpose": lambda one: one.text(_CODE),
    }
    clients, agreements, purposes = (
        several(found[key], words[key]) if key in found else () for key in words
    )
    return When(clients, agreements, purposes)


def several(node: Node, read: Callable[[Node], str]) -> tuple[str, ...]:
    """One word, or a list of words of which none comes twice."""
    items = [node] if node.is_scalar else node.items()
    if not items or len(items) > MOST_WORDS:
        node.refuse(f"must be a word, or a list of 1 to {MOST_WORDS} words")
    words = tuple(read(item) for item in items)
    if len(set(words)) != len(words):
        node.refuse("holds a word twice")
    return words
