"""Telling members: whose request it is, and who uses what it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from exchange.identifiers import ServiceId
from exchange.registrations import is_schema_target, member_target, parse_member
from exchange.registry.delegations import role_name
from exchange.trust.shared_schemas import schema_id
from registry.actors import notices
from registry.actors.notices import Notice, notice_text
from registry.publication.publish import OWN_ROLE
from registry.requests.effects import Effect
from registry.requests.evolution import users_of
from registry.requests.judging import Judging
from registry.requests.lifecycle import Act, Kind
from registry.requests.moves import successor_of
from registry.requests.orders import Order, parse_order
from registry.store import RequestRow


class Telling(Judging):
    """The telling part of :class:`registry.registrar.Registrar`; within a transaction."""

    def _notify(self, row: RequestRow, act: Act, reason: str, at: datetime) -> None:
        if row.member is not None:
            text = notice_text(row.id, row.kind, row.subject, act, reason)
            self._store.notify(row.member, row.id, act.value, text.en, text.lo, at)

    def _tell(self, number: int | None, told: Iterable[Notice], at: datetime) -> None:
        for one in dict.fromkeys(told):
            self._store.notify(one.member, number, one.act, one.text.en, one.text.lo, at)

    def _tell_users(self, row: RequestRow, effect: Effect, at: datetime) -> None:
        """Tell who uses what a request changes; before it is published."""
        found = list(notices.broken(row.id, effect.breaking))
        if row.kind.is_submission:
            found += self._changed_services(row, effect, at)
        elif row.kind is Kind.OWN and effect.own is not None:
            found += self._deprecated_schemas(effect.own.files, at)
        elif row.kind is not Kind.OWN:
            order = parse_order(row.body)
            found += notices.orders(row.id, order, self._services_of(order), self._uses(at))
        self._tell(row.id, found, at)

    def _changed_services(self, row: RequestRow, effect: Effect, at: datetime) -> Iterator[Notice]:
        if row.member is None:
            return
        name, document = role_name(row.member), member_target(row.member)
        before, after = self._store.files(name), effect.files[name]
        paths = {
            service.id: before.get(service.openapi_target or "", b"")
            for service in parse_member(before[document], row.member).services
        } if document in before else {}  # fmt: skip
        uses = self._uses(at, after)
        record = parse_member(after[document], row.member)
        gone = {old: successor_of(old, record) for old in paths.keys() - record.things}
        went = {old: new for old, new in gone.items() if new is not None}
        yield from notices.moved(row.id, went, uses)
        for service in record.services:
            old, new = paths.get(service.id, b""), after.get(service.openapi_target or "", b"")
            if old != new:
                yield from notices.deprecations(service.id, old, new, uses)

    def _deprecated_schemas(self, changed: Mapping[str, bytes], at: datetime) -> Iterator[Notice]:
        published = self._store.files(OWN_ROLE)
        uses = self._uses(at)
        for path, data in changed.items():
            if is_schema_target(path):
                identifier = schema_id(data, path)
                users = users_of([identifier], self.directory.records(), uses)
                yield from notices.schema_deprecation(
                    identifier, published.get(path, b""), data, users
                )

    def _services_of(self, order: Order) -> Iterator[ServiceId]:
        """The services that are what an order is about, or belong to it."""
        for record, _ in self.directory.records():
            for service in record.services:
                if order.thing in {service.id, service.id.application, record.member}:
                    yield service.id
