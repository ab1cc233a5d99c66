"""Hidings: orders by which uses are not told to the person concerned, until a day.

An order says on which ground, until when, and which uses: those of a client, of a service, for a
purpose, under an agreement, or of one message; what it names must all fit. While it lasts, those
uses are left out of what mandates show that do not show what is hidden. Nothing is taken out of the
journal: verification, the other side's journal and the server's own operator see all of it.

Invariants:
- an order is an entry of the journal, with its text sealed, before it hides anything; so are its
  lifting and its end; the number of an order is the index of its entry;
- an order has an end, at most :data:`MAX_DAYS` away; to hide longer takes another order;
- the file is replaced whole and durable before the administration is answered; a file that cannot
  be read keeps the server from starting, so that nothing is told by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from exchange.documents import Node, format_moment, parse_document
from exchange.problems import Code, Problem
from serving.log.files import RealFiles

if TYPE_CHECKING:
    from mediator.auditing.scope import Facts

HIDING: Final = "hiding"
ORDERED: Final = f"{HIDING} ordered"
LIFTED: Final = f"{HIDING} lifted"
ENDED: Final = f"{HIDING} ended"
FILE: Final = "hidings.json"
MAX_DAYS: Final = 366
MAX_ORDERS: Final = 1000
MAX_BYTES: Final = 4 << 20
_CONDITIONS: Final = ("client", "service", "purpose", "agreement", "id")
_files: Final = RealFiles()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order; ``number`` is the index of its entry, ``ended`` when it was lifted or ran out."""

    number: int
    ground: str
    since: datetime
    until: datetime
    client: str | None = None
    service: str | None = None
    purpose: str | None = None
    agreement: str | None = None
    id: str | None = None
    ended: datetime | None = None

    def hides(self, facts: Facts, now: datetime) -> bool:
        """Whether it hides an entry at a time."""
        return (
            self.ended is None
            and now < self.until
            and all(
                wanted is None or getattr(facts, name) == wanted
                for name, wanted in self.conditions.items()
            )
        )

    @property
    def conditions(self) -> dict[str, str | None]:
        """What it names, by the member of entries."""
        return {name: getattr(self, name) for name in _CONDITIONS}

    def describe(self) -> dict[str, Any]:
        """As the file, the sealed part of its entry and the administration have it."""
        named = {name: value for name, value in self.conditions.items() if value is not None}
        ended = {} if self.ended is None else {"ended": format_moment(self.ended)}
        return {
            "number": self.number,
            "ground": self.ground,
            "since": format_moment(self.since),
            "until": format_moment(self.until),
            **named,
            **ended,
        }


def parse_order(data: bytes, now: datetime) -> Order:
    """The body of the administration's order, not numbered yet.

    Raises:
        Problem: ``InvalidDocument`` with the place.
    """
    members = parse_document(data, MAX_BYTES, "hiding").members(
        frozenset({"ground", "until"}), frozenset(_CONDITIONS)
    )
    until = members["until"].moment()
    if not now < until <= now + timedelta(days=MAX_DAYS):
        raise members["until"].refuse(f"must be after now and within {MAX_DAYS} days")
    named: dict[str, Any] = {
        name: node.text(1000) for name in _CONDITIONS if (node := members.get(name)) is not None
    }
    if not named:
        raise members.node.refuse(f"must name at least one of {', '.join(_CONDITIONS)}")
    return Order(number=0, ground=members["ground"].text(), since=now, until=until, **named)


class Hidings:
    """The orders of a server; made by :meth:`open`."""

    def __init__(self, path: Path, orders: Iterable[Order] = ()) -> None:
        self._path = path
        self._orders = {order.number: order for order in orders}

    @classmethod
    def open(cls, path: Path) -> Hidings:
        """Read the orders.

        Raises:
            Problem: ``InvalidDocument`` when the file is damaged.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return cls(path)
        members = parse_document(data, MAX_BYTES, str(path)).members(frozenset({"hidings"}))
        return cls(path, [_read(node) for node in members["hidings"].items(MAX_ORDERS)])

    @property
    def orders(self) -> tuple[Order, ...]:
        """All orders that are remembered, ended ones too."""
        return tuple(self._orders.values())

    def hiding(self, facts: Facts, now: datetime) -> Order | None:
        """The order that hides an entry at a time, if any does."""
        return next((order for order in self._orders.values() if order.hides(facts, now)), None)

    def check_room(self) -> None:
        """Raises: Problem ``Conflict`` when there are as many orders in force as are kept."""
        if sum(order.ended is None for order in self.orders) >= MAX_ORDERS:
            raise Problem(
                Code.CONFLICT, where="hidings", detail=f"{MAX_ORDERS} orders are in force"
            )

    def find(self, number: int) -> Order:
        """An order in force.

        Raises:
            Problem: ``NotFound``.
        """
        order = self._orders.get(number)
        if order is None or order.ended is not None:
            raise Problem(Code.NOT_FOUND, where="number", detail=f"no order {number} is in force")
        return order

    def due(self, now: datetime) -> list[Order]:
        """Those that ran out and whose end is not recorded yet."""
        return [order for order in self.orders if order.ended is None and order.until <= now]

    def keep(self, order: Order) -> None:
        """Let an order hide, durably; writes a file, so for a thread."""
        orders = {**self._orders, order.number: order}
        for number in [number for number, one in orders.items() if one.ended is not None]:
            if len(orders) <= MAX_ORDERS:
                break
            del orders[number]  # the journal has it
        self._write(orders)
        self._orders = orders

    def end(self, order: Order, at: datetime) -> Order:
        """Let an order hide no more, durably; writes a file, so for a thread."""
        ended = replace(order, ended=at)
        self.keep(ended)
        return ended

    def _write(self, orders: dict[int, Order]) -> None:
        data = orjson.dumps({"hidings": [order.describe() for order in orders.values()]})
        temporary = self._path.with_suffix(".tmp")
        _files.write_file(temporary, data)
        _files.rename(temporary, self._path)
        _files.sync_directory(self._path.parent)


def _read(node: Node) -> Order:
    members = node.members(
        frozenset({"number", "ground", "since", "until"}), frozenset({*_CONDITIONS, "ended"})
    )
    ended = members.get("ended")
    named: dict[str, Any] = {
        name: each.text(1000) for name in _CONDITIONS if (each := members.get(name)) is not None
    }
    return Order(
        number=members["number"].integer(0, 2**53),
        ground=members["ground"].text(),
        since=members["since"].moment(),
        until=members["until"].moment(),
        ended=None if ended is None else ended.moment(),
        **named,
    )
