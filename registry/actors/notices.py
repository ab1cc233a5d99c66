"""What members are told, in both languages: of their requests, and of what they use.

Who uses something is known from agreements (:mod:`registry.requests.uses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exchange.agreements import Endpoint
from exchange.contracts.deprecation import Deprecation, deprecation_of, read_deprecations
from exchange.documents import parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Text
from exchange.registrations import MAX_SCHEMA_BYTES
from registry.requests.evolution import Breaking
from registry.requests.lifecycle import Act, Kind
from registry.requests.orders import Order
from registry.requests.uses import Uses

ASKED: Final = "asked to consent"
MAX_NAMED: Final = 10

_KINDS = {
    Kind.FIRST: Text("registration", "ການລົງທະບຽນ"),
    Kind.KEYS: Text("change of keys", "ການປ່ຽນກະແຈ"),
    Kind.UPDATE: Text("change", "ການປ່ຽນແປງ"),
    Kind.OWN: Text("proposal", "ຂໍ້ສະເໜີ"),
    Kind.DISABLE: Text("disabling", "ການປິດ"),
    Kind.ENABLE: Text("enabling", "ການເປີດຄືນ"),
    Kind.DELETE: Text("deletion", "ການລຶບ"),
    Kind.MERGE: Text("merger", "ການລວມ"),
}
_ACTS = {
    Act.APPROVE: Text("was approved by one more person", "ໄດ້ຮັບການອະນຸມັດຈາກອີກຜູ້ໜຶ່ງ"),
    Act.PUBLISH: Text("is published", "ໄດ້ຖືກເຜີຍແຜ່ແລ້ວ"),
    Act.DECLINE: Text("was declined", "ຖືກປະຕິເສດ"),
    Act.WITHDRAW: Text("was withdrawn", "ຖືກຖອນຄືນ"),
    Act.REPLACE: Text("was replaced by a newer one", "ຖືກແທນທີ່ດ້ວຍສະບັບໃໝ່"),
    Act.REVOKE: Text("was revoked", "ຖືກຍົກເລີກ"),
}


def notice_text(number: int, kind: Kind, subject: str, act: Act, reason: str) -> Text:
    """What a member reads of an act on a request of its own."""
    what, done = _KINDS[kind], _ACTS[act]
    because = f": {reason}" if reason else ""
    return Text(
        f"Request {number}, {what.en} of {subject}, {done.en}{because}.",
        f"ຄຳຂໍທີ {number}, {what.lo} {subject}, {done.lo}{because}.",
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a member should know; ``act`` says in a word what of."""

    member: MemberId
    act: str
    text: Text


def asks(number: int, breaking: Iterable[Breaking]) -> Iterator[Notice]:
    """To each who must consent to a breaking change, or it is not published."""
    for one in breaking:
        text = Text(
            f"Request {number} would break {one.of}, which you use: {one.breaks[0].why.en} "
            f"Look at it (saphan registry request {number}) and, when you are ready, consent "
            f"(saphan registry consent {number}); it is not published before.",
            f"ຄຳຂໍທີ {number} ຈະເຮັດໃຫ້ {one.of} ທີ່ທ່ານໃຊ້ ປ່ຽນໄປ: {one.breaks[0].why.lo} ກະລຸນາກວດເບິ່ງ "
            f"(saphan registry request {number}) ແລະ ເມື່ອພ້ອມແລ້ວ ໃຫ້ຄວາມຍິນຍອມ "
            f"(saphan registry consent {number}); ຈະບໍ່ເຜີຍແຜ່ກ່ອນນັ້ນ.",
        )
        yield from (Notice(member, ASKED, text) for member in one.missing)


def broken(number: int, breaking: Iterable[Breaking]) -> Iterator[Notice]:
    """To each who consented: the change is published now."""
    for one in breaking:
        act, text = "breaking change", Text(
            f"The breaking change of {one.of} to which you consented is published (request "
            f"{number}).",
            f"ການປ່ຽນແປງຂອງ {one.of} ທີ່ທ່ານຍິນຍອມ ໄດ້ຖືກເຜີຍແຜ່ແລ້ວ (ຄຳຂໍທີ {number}).",
        )  # fmt: skip
        if one.is_end:
            act, text = "deleted", Text(
                f"{one.of}, which you used, is gone (request {number}).",
                f"{one.of} ທີ່ທ່ານໃຊ້ ໄດ້ຖືກຖອນແລ້ວ (ຄຳຂໍທີ {number}).",
            )  # fmt: skip
        yield from (Notice(member, act, text) for member in one.users)


def consented(number: int, consumer: MemberId, of: str, lacking: int) -> Text:
    """To whom asked: one more has consented."""
    return Text(
        f"{consumer} consents to the change of {of} (request {number}); {lacking} consents are "
        "missing.",
        f"{consumer} ຍິນຍອມກັບການປ່ຽນແປງຂອງ {of} (ຄຳຂໍທີ {number}); ຍັງຂາດ {lacking} ຝ່າຍ.",
    )


def deprecations(service: ServiceId, before: bytes, after: bytes, uses: Uses) -> Iterator[Notice]:
    """To each who may call an operation that is newly said to go, or said otherwise."""
    known = read_deprecations(before) if before else {}
    told: dict[tuple[MemberId, Deprecation], list[str]] = {}
    for (method, template), one in sorted(read_deprecations(after).items()) if after else ():
        if known.get((method, template)) != one:
            for member in uses.consumers(service, Endpoint(method, template)):
                told.setdefault((member, one), []).append(f"{method} {template}")
    for (member, said), operations in told.items():
        listed = ", ".join(operations[:MAX_NAMED]) + (" …" if operations[MAX_NAMED:] else "")
        yield Notice(member, "deprecated", _deprecated(f"{service}: {listed}", said))


def schema_deprecation(
    identifier: str, before: bytes, after: bytes, users: Iterable[MemberId]
) -> Iterator[Notice]:
    """To each whose services refer to a schema that is newly said to go, and to their consumers."""
    known, said = (_schema_mark(one) for one in (before, after))
    if said is not None and said != known:
        for member in sorted(users):
            yield Notice(member, "deprecated", _deprecated(identifier, said))


def moved(number: int, services: Mapping[ServiceId, ServiceId], uses: Uses) -> Iterator[Notice]:
    """To each who may call a service that went to another member."""
    for old, new in services.items():
        text = Text(
            f"{old} is {new} now (request {number}): agree with {new.member}, and call that.",
            f"{old} ແມ່ນ {new} ແລ້ວ (ຄຳຂໍທີ {number}): ກະລຸນາເຮັດຂໍ້ຕົກລົງກັບ {new.member} ແລະ ເອີ້ນໃຊ້ອັນໃໝ່.",
        )
        yield from (Notice(member, "moved", text) for member in sorted(uses.consumers(old)))


def orders(
    number: int, order: Order, services: Iterable[ServiceId], uses: Uses
) -> Iterator[Notice]:
    """To each who may call a service that is switched off or on, deleted or merged."""
    told: dict[MemberId, list[ServiceId]] = {}
    for service in services:
        for member in uses.consumers(service):
            told.setdefault(member, []).append(service)
    word, done = _ORDERS[order.kind]
    for member, found in sorted(told.items()):
        listed = ", ".join(_followed(found[:MAX_NAMED], order.services))
        listed += " …" if found[MAX_NAMED:] else ""
        into = "" if order.into is None else f" {order.into}"
        yield Notice(
            member,
            word,
            Text(
                f"{listed}: {done.en}{into} (request {number}). {order.reason.en}",
                f"{listed}: {done.lo}{into} (ຄຳຂໍທີ {number}). {order.reason.lo}",
            ),
        )


_ORDERS: Final = {
    Kind.DISABLE: ("disabled", Text("is switched off", "ຖືກປິດ")),
    Kind.ENABLE: ("enabled", Text("is switched on again", "ຖືກເປີດຄືນ")),
    Kind.DELETE: ("deleted", Text("is gone", "ຖືກຖອນ")),
    Kind.MERGE: (
        "merged",
        Text("is gone; agree with its successor", "ຖືກຖອນ; ກະລຸນາເຮັດຂໍ້ຕົກລົງກັບຜູ້ສືບທອດ"),
    ),
}


def _followed(
    services: Iterable[ServiceId], successors: Mapping[ServiceId, ServiceId]
) -> Iterator[str]:
    for service in services:
        yield f"{service} → {successors[service]}" if service in successors else str(service)


def _deprecated(what: str, said: Deprecation) -> Text:
    until = None if said.until is None else said.until.date().isoformat()
    successor = f" → {said.successor}" if said.successor else ""
    return Text(
        f"{what} is to go{f' from {until} on' if until else ''}{successor}. {said.reason.en}",
        f"{what} ຈະຖືກຖອນ{f' ນັບແຕ່ {until}' if until else ''}{successor}. {said.reason.lo}",
    )


def _schema_mark(data: bytes) -> Deprecation | None:
    if not data:
        return None
    return deprecation_of(parse_document(data, MAX_SCHEMA_BYTES, "schema").value, "schema", "")
