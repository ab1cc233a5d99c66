"""Who sees what of a SOAP service: masks by type and member, rows and fixed values by caller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.rules import hide, hidings
from adapters.soap.wrapping import Wrapped
from console.reference_world.trade_portal.service import TradePortal
from exchange.agreements import ROWS_HEADER
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import Headers
from tests.adapters.every_type import NAMESPACE, write_wsdl, wsdl
from tests.adapters.test_soap_derived import BANK, PERSON, SCHEMA
from tests.adapters.test_soap_derived import TEXT as DERIVED
from tests.adapters.trade import MAPPING, PROCEDURES, Asker, wrapped

TEXT = MAPPING.read_text("utf-8")
MASKS = """\
masks:
  Procedure.authority: {rules: [{when: {client: LA/GOV/MOF}, show: whole}], otherwise: hashed}
  Procedure.updated: year
  Procedure.form: absent
  Procedure.title: 'null'
  TariffLine.hs: last_2
services:"""
CUSTOMS: Headers = (("x-road-client", "LA/GOV/MOF/customs"),)
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def portal() -> Iterator[TradePortal]:
    with TradePortal() as running:
        yield running


def _open(text: str, address: str) -> Asker:
    environ = {"TRADE_PORTAL_URL": address, "MASK_KEY": KEY}
    return Asker(wrapped(text=text).open(environ, Path()))


def _masked(masks: str = MASKS) -> str:
    keyed = TEXT.replace("  zone:", "  mask_key: ${MASK_KEY}\n  zone:", 1)
    return keyed.replace("services:", masks, 1)


async def test_members_are_masked_wherever_their_type_stands(portal: TradePortal) -> None:
    """By who asks; what leaves keeps the document, which a contract judges."""
    text = _masked(MASKS.replace("  Procedure.title: 'null'\n", ""))
    asker = _open(text, portal.address)
    contract = Contract.compile(wrapped(text=text).document(PROCEDURES, {}), {})
    try:
        target = "/procedures/EXP-COF-01"
        hidden = await asker.get(target)
        found = orjson.loads(hidden.body)
        assert found["updated"] == "2026"
        assert len(found["authority"]) == 32
        assert "form" not in found
        told = await asker.get(target, CUSTOMS)
        assert orjson.loads(told.body)["authority"] == "MAF"
        assert dict(told.headers)["vary"] == dict(hidden.headers)["vary"]
        assert dict(told.headers)["etag"] != dict(hidden.headers)["etag"]
        for response in (hidden, told, await asker.get("/tariff/0901")):
            path = "/tariff/0901" if response.body.startswith(b'{"hs"') else target
            match = contract.find("GET", path)
            match.operation.check_response(200, response.headers, response.body)
        lines = orjson.loads((await asker.get("/tariff/0901")).body)
        assert (lines["hs"], lines["line"][0]["hs"]) == ("***01", "***11")
    finally:
        await asker.opened.close()


async def test_kept_answers_are_kept_apart_by_what_is_shown(portal: TradePortal) -> None:
    """A caller does not get what was kept for one who sees more."""
    masks = MASKS.replace(
        "TariffLine.hs: last_2",
        "TariffLine.hs: {rules: [{when: {client: LA/GOV/MOF}, show: whole}], otherwise: absent}",
    ).replace("  Procedure.title: 'null'\n", "")
    asker = _open(_masked(masks), portal.address)
    try:
        assert b'"hs":"0901"' in (await asker.get("/tariff/0901", CUSTOMS)).body
        assert b'"hs"' not in (await asker.get("/tariff/0901")).body
        assert b'"hs":"0901"' in (await asker.get("/tariff/0901", CUSTOMS)).body
    finally:
        await asker.opened.close()


async def test_conditions_of_an_agreement_are_judged_before_masks(portal: TradePortal) -> None:
    """A masked member still decides which records a consumer gets."""
    masks = MASKS.replace("  Procedure.title: 'null'\n", "")
    asker = _open(_masked(masks), portal.address)
    try:
        rows = ((ROWS_HEADER, '{"authority":["MAF"]}'),)
        listed = await asker.get("/procedures?fields=code,updated", rows)
        assert orjson.loads(listed.body)["items"] == [{"code": "EXP-COF-01", "updated": "2026"}]
    finally:
        await asker.opened.close()


def _derived(folder: Path, masks: str) -> Wrapped:
    text = DERIVED[: DERIVED.index("      /b")].replace("services:", f"{masks}\nservices:")
    write_wsdl(folder, wsdl(SCHEMA))
    found = kinds.read_node(parse(text.encode(), "a.yaml", folder))
    assert isinstance(found, Wrapped)
    return found


def test_a_mask_is_of_derived_types_too(tmp_path: Path) -> None:
    """At every depth; one of the derived type itself goes before, an object may be hidden whole."""
    found = _derived(
        tmp_path,
        "masks: {Bank.tin: 'null', Company.tin: whole, Holder.tin: last_1, Bank.licence: absent}",
    )
    covers = found.mapping.masks.covers
    assert covers["Person", "tin"] == "Holder.tin"
    mapping = found.mapping
    profile = tuple((name, mask.otherwise) for name, mask in mapping.masks.masks.items())
    hidden = hidings(mapping.masks, profile, b"")
    record: dict[str, Any] = orjson.loads(orjson.dumps({"first": BANK, "more": [{"tin": "42"}]}))
    hide(record, mapping.types["Ask"], mapping.types, hidden)
    owner = PERSON | {"tin": "***"}
    bank = {name: value for name, value in BANK.items() if name != "licence"}
    assert record["first"] == bank | {"tin": None, "owner": owner}
    assert record["more"] == [{"tin": "42"}]
    document = orjson.loads(found.document("a", {}))
    schema = {"$ref": "#/components/schemas/Ask", "components": document["components"]}
    Draft202012Validator(schema).validate(record)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ("masks: {Procedure.other: absent}", "no member"),
        ("masks: {Other.code: absent}", "types: "),
        ("masks: {Procedure.fee: last_2}", "not one of: whole, null, absent"),
        ("masks: {Procedure.automatic: last_2}", "cannot be shown as last_2"),
        ("masks: {Procedure.hsCode: 'null'}", "never null"),
        ("masks: {Procedure.code: some}", "not one of"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(masks: str, words: str) -> None:
    """When the mapping is read."""
    with pytest.raises(Problem) as caught:
        wrapped(text=_masked(f"{masks}\nservices:"))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail
    assert "/masks/" in caught.value.where


def test_types_of_one_name_are_masked_together(tmp_path: Path) -> None:
    """Types without a name of their own are called by their elements, here and there alike."""
    inner = (
        "<xs:element name='{}'><xs:complexType><xs:sequence><xs:element name='person'>"
        "<xs:complexType><xs:sequence><xs:element name='tin' type='xs:string'/></xs:sequence>"
        "</xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>"
    )
    both = inner.format("first") + inner.format("second")
    schema = (
        f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' targetNamespace='{NAMESPACE}'>"
        f"<xs:element name='Ask'><xs:complexType><xs:sequence>{both}</xs:sequence></xs:complexType>"
        "</xs:element></xs:schema>"
    )
    write_wsdl(tmp_path, wsdl(schema))
    text = DERIVED[: DERIVED.index("      /b")]
    for masks, words in (
        ("{person.tin: absent}", "person.1.tin"),
        ("{person.1.tin: absent}", "person.tin"),
        ("{person.tin: absent, person.1.tin: whole}", ""),
    ):
        masked = text.replace("services:", f"masks: {masks}\nservices:")
        if words:
            with pytest.raises(Problem, match=words):
                kinds.read_node(parse(masked.encode(), "a.yaml", tmp_path))
        else:
            assert kinds.read_node(parse(masked.encode(), "a.yaml", tmp_path))


def test_a_hash_needs_its_key() -> None:
    """Of the environment, and long enough."""
    text = _masked(MASKS.replace("  Procedure.title: 'null'\n", ""))
    with pytest.raises(Problem, match="mask_key"):
        wrapped(text=text.replace("  mask_key: ${MASK_KEY}\n", ""))
    with pytest.raises(Problem, match="shorter than 16 bytes"):
        wrapped(text=text).open(
            {"TRADE_PORTAL_URL": "http://127.0.0.1:9/", "MASK_KEY": "a"}, Path()
        )


# Rows.

LINE = "answer: line\n        visible: {otherwise: "
VISIBLE = """\
        answer: procedures.procedure
        visible:
          rules:
            - {when: {client: LA/GOV/MOF}, rows: all}
            - {when: {purpose: health}, rows: {authority: [MOH, MAF], direction: EXPORT}}
          otherwise: nothing
"""


async def test_records_are_shown_by_who_asks(portal: TradePortal) -> None:
    """The first rule that is met decides; who meets none is told that nothing is there."""
    text = TEXT.replace("        answer: procedures.procedure\n", VISIBLE)
    one = VISIBLE.replace("answer: procedures.procedure", "answer: procedure")
    text = text.replace("        answer: procedure\n", one)
    asker = _open(text, portal.address)
    try:
        health = (("exchange-purpose", "health"),)
        listed = [
            len(orjson.loads((await asker.get("/procedures", headers)).body)["items"])
            for headers in (CUSTOMS, health, ())
        ]
        assert listed[0] > 1
        assert listed[1:] == [1, 0]
        for target, headers, status in (
            ("/procedures/IMP-VEH-01", CUSTOMS, 200),
            ("/procedures/IMP-VEH-01", health, 404),
            ("/procedures/EXP-COF-01", health, 200),
            ("/procedures/EXP-COF-01", (), 404),
        ):
            assert (await asker.get(target, headers)).status == status
        rows = (*CUSTOMS, (ROWS_HEADER, '{"authority":["MAF"]}'))
        narrowed = await asker.get("/procedures?fields=code", rows)
        assert orjson.loads(narrowed.body)["items"] == [{"code": "EXP-COF-01"}]
    finally:
        await asker.opened.close()


async def test_who_sees_nothing_does_not_have_the_service_asked() -> None:
    """There is nobody at the address."""
    text = TEXT.replace("        answer: procedures.procedure\n", VISIBLE)
    asker = _open(text, "http://127.0.0.1:9/")
    try:
        assert (await asker.get("/procedures")).body == b'{"items":[],"next":null}'
    finally:
        await asker.opened.close()


@pytest.mark.parametrize("first", [CUSTOMS, ()], ids=["all-first", "nothing-first"])
async def test_what_is_kept_for_one_is_not_given_to_who_sees_nothing(
    portal: TradePortal, first: Headers
) -> None:
    """And the other way round: to see nothing is no answer for who sees all."""
    text = TEXT.replace("        answer: procedures.procedure\n", f"{VISIBLE}        cache_s: 60\n")
    asker = _open(text, portal.address)
    try:
        await asker.get("/procedures", first)
        everything = orjson.loads((await asker.get("/procedures", CUSTOMS)).body)["items"]
        nothing = orjson.loads((await asker.get("/procedures")).body)["items"]
        assert (len(everything) > 1, nothing) == (True, [])
    finally:
        await asker.opened.close()


async def test_a_member_of_the_message_is_bound_to_the_caller(portal: TradePortal) -> None:
    """No caller gives it: the service itself is asked for no more than he may see."""
    bound = (
        "fixed: {language: lo, filter.direction: "
        "{rules: [{when: {client: LA/GOV/MOF}, value: IMPORT}], otherwise: EXPORT}}"
    )
    text = TEXT.replace("fixed: {language: lo}", bound)
    text = text.replace("          direction: filter.direction\n", "")
    asker = _open(text, portal.address)
    try:
        for headers, direction in ((CUSTOMS, "IMPORT"), ((), "EXPORT")):
            found = orjson.loads((await asker.get("/procedures", headers)).body)["items"]
            assert found
            assert {one["direction"] for one in found} == {direction}
    finally:
        await asker.opened.close()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("body: enquiry", "body: enquiry\n        fixed: {enquiry.procedure: A}", "given twice"),
        ("body: enquiry", "body: enquiry\n        visible: {otherwise: all}", "bind a member"),
        ("answer: line", LINE + "{line: x}}", "no member 'line'"),
        ("answer: line", LINE + "{dutyPercent: x}}", "compared"),
        ("answer: line", LINE + "{hs: {below: x}}}", "words alone"),
        ("answer: line", LINE + "{}}", "1 to 16"),
        ("answer: line", LINE + "some}", "not one of"),
        ("{language: lo}", "{language: lo, most: {otherwise: x}}", "whole"),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused(old: str, new: str, words: str) -> None:
    """When the mapping is read, with a next step where there is one."""
    with pytest.raises(Problem) as caught:
        wrapped(text=TEXT.replace(old, new, 1))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail
