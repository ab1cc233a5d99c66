"""What an agreement says, in articles that officials can read, in English and in Lao.

One list of articles serves the page and the plain text. It is made of the same values that servers
obey, and nothing of the agreement is left out: :data:`TOLD` names every member with the article
that tells it, and the tests hold it against the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exchange.agreements import Agreement, Grant, Keep, Party
from exchange.documents import format_moment
from exchange.once_only.evidence_requests import BasisKind
from exchange.problems import Text

TOLD: Final = {
    "id": "name",
    "version": "name",
    "title": "name",
    "group": "name",
    "provider": "parties",
    "consumer": "parties",
    "contacts": "parties",
    "mandate": "mandate",
    "purposes": "purposes",
    "grants": "services",
    "quota": "bounds",
    "limits": "bounds",
    "subject": "bounds",
    "retention": "records",
    "disclosure_delay_days": "records",
    "valid_from": "validity",
    "valid_until": "validity",
}
_KEPT: Final = {
    Keep.METADATA: Text("nothing of their content", "ບໍ່ເກັບເນື້ອໃນ"),
    Keep.HEADERS: Text("their signatures and headers, no content", "ລາຍເຊັນ ແລະ ຫົວຂໍ້ຄວາມ, ບໍ່ເກັບເນື້ອໃນ"),
    Keep.BODIES: Text("their content, encrypted", "ເນື້ອໃນ ໂດຍເຂົ້າລະຫັດໄວ້"),
}
_BASIS: Final = {
    BasisKind.EXPLICIT: Text("the person's own request", "ຄຳຮ້ອງຂໍຂອງບຸກຄົນນັ້ນເອງ"),
    BasisKind.STATUTORY: Text("a law that is named", "ກົດໝາຍທີ່ລະບຸຊື່"),
}
_LIMITS: Final = {
    "concurrent": Text("calls at the same time", "ການເອີ້ນໃຊ້ພ້ອມກັນ"),
    "connect_s": Text("seconds to connect", "ວິນາທີເພື່ອເຊື່ອມຕໍ່"),
    "first_byte_s": Text("seconds until the answer begins", "ວິນາທີຈົນກວ່າຄຳຕອບຈະເລີ່ມ"),
    "exchange_s": Text("seconds for the whole answer", "ວິນາທີສຳລັບຄຳຕອບທັງໝົດ"),
    "request_max_bytes": Text("bytes of a request", "ໄບຕ໌ຂອງຄຳຮ້ອງ"),
    "answer_max_bytes": Text("bytes of an answer", "ໄບຕ໌ຂອງຄຳຕອບ"),
}


@dataclass(frozen=True, slots=True)
class Article:
    """A heading and its lines; ``key`` names it in every language."""

    key: str
    heading: Text
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence, and the exact values that it speaks of; ``begins`` a part of the article."""

    text: Text
    values: tuple[str, ...] = ()
    begins: bool = False


def articles(agreement: Agreement, members: Sequence[Agreement] = ()) -> list[Article]:
    """The articles of an agreement, in the order in which they are read; empty ones left out.

    Args:
        members: agreements of its group that say the same, told together with it.
    """
    made = [
        Article("name", Text("The agreement", "ຂໍ້ຕົກລົງ"), tuple(_name(agreement, members))),
        Article("parties", Text("Parties", "ຄູ່ສັນຍາ"), tuple(_parties(agreement, members))),
        Article("mandate", Text("Audit", "ການກວດສອບ"), tuple(_mandate(agreement))),
        Article(
            "purposes",
            Text("Purposes and legal basis", "ຈຸດປະສົງ ແລະ ພື້ນຖານກົດໝາຍ"),
            tuple(_purposes(agreement)),
        ),
        Article("services", Text("What is opened", "ສິ່ງທີ່ເປີດໃຫ້"), tuple(_services(agreement))),
        Article("bounds", Text("Conditions", "ເງື່ອນໄຂ"), tuple(_bounds(agreement))),
        Article("records", Text("Records", "ການບັນທຶກ"), tuple(_records(agreement))),
        Article("validity", Text("Validity", "ໄລຍະເວລາທີ່ມີຜົນ"), tuple(_validity(agreement))),
    ]
    return [article for article in made if article.lines]


def _name(agreement: Agreement, members: Sequence[Agreement]) -> Iterator[Line]:
    yield Line(agreement.title)
    if members:
        count = Text(
            f"A group of {len(members)} agreements of this text, one for each consumer",
            f"ກຸ່ມຂໍ້ຕົກລົງເນື້ອໃນດຽວກັນ {len(members)} ສະບັບ, ສະບັບໜຶ່ງສຳລັບຜູ້ຊົມໃຊ້ແຕ່ລະຝ່າຍ",
        )
        yield Line(count, (str(agreement.group),))
        return
    yield Line(Text("Name and version", "ຊື່ ແລະ ສະບັບ"), (agreement.reference,))
    if agreement.group is not None:
        yield Line(
            Text("The same is agreed with others of this group", "ຕົກລົງເນື້ອໃນດຽວກັນກັບຜູ້ອື່ນໃນກຸ່ມນີ້"),
            (agreement.group,),
        )


def _parties(agreement: Agreement, members: Sequence[Agreement]) -> Iterator[Line]:
    audits = agreement.mandate is not None
    yield Line(
        Text("Audited organisation", "ອົງການທີ່ຖືກກວດສອບ") if audits else Text("Provider", "ຜູ້ໃຫ້ບໍລິການ"),
        (str(agreement.provider),),
    )
    yield Line(
        Text("Auditor's application", "ລະບົບຂອງຜູ້ກວດສອບ") if audits else Text("Consumer", "ຜູ້ຊົມໃຊ້"),
        tuple(str(one.consumer) for one in members or [agreement]),
    )
    for contact in agreement.contacts:
        of = (
            Text("Contact of the provider", "ຜູ້ປະສານງານຂອງຜູ້ໃຫ້ບໍລິການ")
            if contact.party is Party.PROVIDER
            else Text("Contact of the consumer", "ຜູ້ປະສານງານຂອງຜູ້ຊົມໃຊ້")
        )
        yield Line(of, tuple(each for each in (contact.name, contact.email, contact.phone) if each))


def _mandate(agreement: Agreement) -> Iterator[Line]:
    terms = agreement.mandate
    if terms is None:
        return
    yield Line(terms.legal_basis)
    end = "…" if terms.until is None else format_moment(terms.until)
    yield Line(
        Text("Entries of this period", "ບັນທຶກໃນໄລຍະນີ້"), (f"{format_moment(terms.since)} – {end}",)
    )
    yield Line(Text("Members of entries", "ສ່ວນຂອງບັນທຶກ"), tuple(sorted(terms.fields)))
    if terms.organisations:
        others = tuple(sorted(map(str, terms.organisations)))
        yield Line(Text("Exchanges with these alone", "ສະເພາະການແລກປ່ຽນກັບ"), others)
    if terms.services:
        services = tuple(sorted(map(str, terms.services)))
        yield Line(Text("Exchanges of these services alone", "ສະເພາະບໍລິການ"), services)
    if terms.subjects:
        yield Line(Text("The auditor may ask about persons.", "ຜູ້ກວດສອບສາມາດຖາມກ່ຽວກັບບຸກຄົນ."))
    if terms.hidden:
        yield Line(Text("The auditor sees what orders hide.", "ຜູ້ກວດສອບເຫັນສິ່ງທີ່ຄຳສັ່ງປົກປິດໄວ້."))


def _purposes(agreement: Agreement) -> Iterator[Line]:
    for purpose in agreement.purposes:
        both = Text(
            f"{purpose.title.en}: {purpose.legal_basis.en}",
            f"{purpose.title.lo}: {purpose.legal_basis.lo}",
        )
        yield Line(both, (purpose.code,), begins=True)
        yield from _demanded(purpose.request_basis)
    if not agreement.purposes and agreement.mandate is None:
        yield Line(Text("Calls name no purpose.", "ການເອີ້ນໃຊ້ບໍ່ຕ້ອງລະບຸຈຸດປະສົງ."))


def _services(agreement: Agreement) -> Iterator[Line]:
    for grant in agreement.grants:
        yield Line(Text("Service", "ບໍລິການ"), (str(grant.service),), begins=True)
        yield Line(
            Text("Operations", "ການດຳເນີນການ"),
            tuple(f"{endpoint.method} {endpoint.path}" for endpoint in grant.endpoints),
        )
        yield from _released(grant)
        yield from _demanded(grant.request_basis)


def _demanded(kinds: frozenset[BasisKind]) -> Iterator[Line]:
    """What each call must say of why it is made."""
    if kinds:
        told = [_BASIS[kind] for kind in sorted(kinds)]
        english, lao = " or ".join(one.en for one in told), " ຫຼື ".join(one.lo for one in told)
        yield Line(
            Text(
                f"Each call rests on, and names: {english} (Exchange-Request-Basis).",
                f"ທຸກການເອີ້ນໃຊ້ຕ້ອງອີງໃສ່ ແລະ ລະບຸ: {lao} (Exchange-Request-Basis).",
            ),
            tuple(sorted(kinds)),
        )


def _released(grant: Grant) -> Iterator[Line]:
    if grant.projection.everything:
        yield Line(Text("All fields of the answers", "ທຸກຂໍ້ມູນຂອງຄຳຕອບ"))
    else:
        yield Line(Text("These fields of the answers alone", "ສະເພາະຂໍ້ມູນເຫຼົ່ານີ້"), grant.fields)
    for condition in grant.rows:
        yield Line(
            Text(
                f"Only records whose {condition.field} is one of",
                f"ສະເພາະລາຍການທີ່ {condition.field} ແມ່ນໜຶ່ງໃນ",
            ),
            condition.values,
        )


def _bounds(agreement: Agreement) -> Iterator[Line]:
    if agreement.subject is not None:
        yield Line(
            Text(
                "Each call says whom or what it is about (Exchange-Subject).",
                "ທຸກການເອີ້ນໃຊ້ຕ້ອງລະບຸວ່າກ່ຽວກັບໃຜ ຫຼື ຫຍັງ (Exchange-Subject).",
            )
        )
    if agreement.quota.per_day is not None:
        yield Line(Text("Calls a day, at most", "ຈຳນວນສູງສຸດຕໍ່ມື້"), (f"{agreement.quota.per_day:,}",))
    if agreement.quota.per_second is not None:
        most = (f"{agreement.quota.per_second:,}",)
        yield Line(Text("Calls a second, at most", "ຈຳນວນສູງສຸດຕໍ່ວິນາທີ"), most)
    for name, value in agreement.limits.given().items():
        what = _LIMITS[name]
        yield Line(Text(f"At most: {what.en}", f"ສູງສຸດ: {what.lo}"), (f"{value:,}",))


def _records(agreement: Agreement) -> Iterator[Line]:
    kept, days = _KEPT[agreement.retention.keep], agreement.retention.days
    yield Line(
        Text(
            f"Both journals tell of every exchange; the provider's keeps of messages: {kept.en}.",
            f"ບັນທຶກຂອງທັງສອງຝ່າຍບອກເຖິງທຸກການແລກປ່ຽນ; ຝ່າຍໃຫ້ບໍລິການເກັບ: {kept.lo}.",
        )
    )
    if days is not None:
        yield Line(
            Text("Days after the end of the month until it is erased", "ຈຳນວນມື້ຫຼັງທ້າຍເດືອນກ່ອນຖືກລຶບ"),
            (f"{days:,}",),
        )
    if agreement.disclosure_delay_days:
        yield Line(
            Text(
                "Days until a use is told to the person concerned",
                "ຈຳນວນມື້ກ່ອນແຈ້ງການນຳໃຊ້ໃຫ້ບຸກຄົນທີ່ກ່ຽວຂ້ອງ",
            ),
            (f"{agreement.disclosure_delay_days:,}",),
        )


def _validity(agreement: Agreement) -> Iterator[Line]:
    yield Line(Text("From", "ນັບແຕ່"), (day(agreement.valid_from),))
    yield Line(
        Text("Until (no longer at this time)", "ຈົນເຖິງ (ໝົດຜົນໃນເວລານີ້)"), (day(agreement.valid_until),)
    )
    yield Line(
        Text(
            "Either party may revoke it; the provider's server then refuses at once.",
            "ຝ່າຍໃດຝ່າຍໜຶ່ງສາມາດຍົກເລີກໄດ້; ເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການຈະປະຕິເສດທັນທີ.",
        )
    )


def day(at: datetime) -> str:
    """A moment for people, in UTC."""
    return format_moment(at).replace("T", " ").replace("Z", " UTC")
