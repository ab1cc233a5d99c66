"""A SOAP service as REST, asked over real sockets: the reference world's trade portal."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from adapters import kinds
from console.reference_world.trade_portal.service import TradePortal
from exchange.agreements import ROWS_HEADER
from tests.adapters.trade import ENQUIRY, MAPPING, Asker, asking

TWELVE = MAPPING.read_text("utf-8").replace("  zone:", "  port: TradePortal12\n  zone:")


@pytest.fixture(scope="module")
def portal() -> Iterator[TradePortal]:
    with TradePortal() as running:
        yield running


async def _json(asker: Asker, target: str) -> object:
    response = await asker.get(target)
    assert response.status == 200, response.body
    return orjson.loads(response.body)


@pytest.mark.parametrize("text", [None, TWELVE], ids=["soap-1.1", "soap-1.2"])
async def test_one_record_is_answered_by_the_types_of_the_wsdl(
    portal: TradePortal, text: str | None
) -> None:
    """Text with attributes, lists, nil, dates, a time with its zone, base64."""
    async with asking(portal.address, text=text) as asker:
        assert await _json(asker, "/procedures/EXP-COF-01") == {
            "code": "EXP-COF-01",
            "title": [
                {"lang": "lo", "value": "ການສົ່ງອອກກາເຟ"},
                {"lang": "en", "value": "Export of coffee"},
            ],
            "direction": "EXPORT",
            "authority": "MAF",
            "hsCode": ["0901"],
            "fee": None,
            "validFrom": "2021-07-15",
            "validUntil": "2027-12-31",
            "updated": "2026-02-11T14:05:10.250+07:00",
            "automatic": True,
            "form": "4LqB4Lqy4LuA4Lqf",
        }


async def test_a_decimal_keeps_its_digits(portal: TradePortal) -> None:
    """It goes out as it was written, not as a binary fraction."""
    async with asking(portal.address) as asker:
        response = await asker.get("/procedures/IMP-VEH-01")
        assert b'"amount":1250000.50,' in response.body


async def test_a_time_without_a_zone_gets_that_of_the_source(portal: TradePortal) -> None:
    """The mapping says which it is; without that the record is stopped, with its place."""
    async with asking(portal.address) as asker:
        response = await asker.get("/procedures/IMP-VEH-01?fields=updated")
        assert orjson.loads(response.body) == {"updated": "2025-11-03T09:30:00+07:00"}


async def test_a_recursive_type_is_answered_to_its_depth(portal: TradePortal) -> None:
    """A line of the tariff holds lines."""
    async with asking(portal.address) as asker:
        answer = await _json(asker, "/tariff/0901")
        assert answer == {
            "hs": "0901",
            "description": [{"lang": "en", "value": "Coffee"}],
            "line": [
                {
                    "hs": code,
                    "description": [{"lang": "en", "value": text}],
                    "dutyPercent": duty,
                }
                for code, text, duty in (
                    ("090111", "Not roasted, not decaffeinated", 5.0),
                    ("090121", "Roasted, not decaffeinated", 20),
                )
            ],
        }


async def test_a_list_is_narrowed_by_parameters_and_to_fields(portal: TradePortal) -> None:
    """Members deep in the message are parameters; `fields` chooses members of the records."""
    async with asking(portal.address) as asker:
        response = await asker.get("/procedures?direction=IMPORT&hs_code=87&fields=code")
        assert response.status == 200
        assert dict(response.headers)["content-type"] == "application/vnd.saphan.selection+json"
        assert orjson.loads(response.body) == {"items": [{"code": "IMP-VEH-01"}], "next": None}
        whole = await asker.get("/procedures?updated_since=2025-11-03T02:30:00Z&fields=code")
        codes = [one["code"] for one in orjson.loads(whole.body)["items"]]
        assert codes == ["IMP-VEH-01", "EXP-COF-01"]


async def test_a_fault_that_the_mapping_names_is_what_it_says(portal: TradePortal) -> None:
    """In both versions of SOAP, where a fault is written in two ways."""
    for text in (None, TWELVE):
        async with asking(portal.address, text=text) as asker:
            response = await asker.get("/procedures/NONE")
            body = orjson.loads(response.body)
            assert (response.status, body["type"]) == (404, "urn:saphan:problem:NotFound")
            assert body["where"] == "path"


async def test_an_answer_without_the_record_is_not_found(portal: TradePortal) -> None:
    """Some services answer with nothing instead of a fault."""
    async with asking(portal.address) as asker:
        assert (await asker.get("/tariff/99")).status == 404


async def test_an_unchanged_answer_is_not_sent_again(portal: TradePortal) -> None:
    """The entity tag is of the content; HEAD has the same head and no body."""
    async with asking(portal.address) as asker:
        first = await asker.get("/procedures/EXP-COF-01")
        tag = dict(first.headers)["etag"]
        again = await asker.get("/procedures/EXP-COF-01", (("if-none-match", tag),))
        assert (again.status, again.body) == (304, b"")
        head = await asker.get("/procedures/EXP-COF-01", method="HEAD")
        assert (head.status, head.headers, head.body) == (200, first.headers, b"")


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/procedures?hs_code=12345", "query.hs_code"),
        ("/procedures?direction=UP", "query.direction"),
        ("/procedures?updated_since=2025-01-01", "query.updated_since"),
        ("/procedures?most=2147483648", "query.most"),
        ("/procedures?most=01", "query.most"),
        ("/procedures?other=1", "query.other"),
        ("/procedures?language=en", "query.language"),
        ("/procedures?fields=code,password", "query.fields"),
        ("/procedures/%00", "path.code"),
        ("/procedures/%01", "path.code"),
        ("/procedures/" + "x" * 401, "path.code"),
        ("/tariff/9", "path.hs_code"),
        ("/none", "path"),
    ],
)
async def test_faults_of_the_caller_are_told_with_their_place(
    portal: TradePortal, target: str, where: str
) -> None:
    """They are found before the service is asked."""
    async with asking(portal.address) as asker:
        response = await asker.get(target)
        assert response.status in (400, 404)
        assert orjson.loads(response.body)["where"] == where


async def test_a_declared_operation_writes(portal: TradePortal) -> None:
    """The body becomes a member of the message, whatever stands in its texts."""
    async with asking(portal.address) as asker:
        body = ENQUIRY | {"question": "</question><email>x</email>]]>&amp;\n\t "}
        response = await asker.post(body)
        assert response.status == 200, response.body
        assert orjson.loads(response.body)["received"] == "2026-11-22T15:00:00+07:00"
        kept = portal.portal.enquiries[-1]
        found = {str(one.tag).rpartition("}")[2]: one.text for one in kept}
        assert found == body


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", "body"),
        (b'{"subject": "a", "subject": "b"}', "body"),
        (b"[]", "body"),
        (b"NaN", "body"),
        ({"subject": "a"}, "body/question"),
        (ENQUIRY | {"phone": "1"}, "body"),
        (ENQUIRY | {"more": 1}, "body/more"),
        (ENQUIRY | {"email": None}, "body/email"),
        (ENQUIRY | {"subject": 7}, "body/subject"),
        (ENQUIRY | {"subject": "\u0007"}, "body/subject"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_a_body_that_the_wsdl_does_not_allow_is_refused(
    portal: TradePortal, body: object, where: str
) -> None:
    """With the place in the body; the service is not asked."""
    before = len(portal.portal.enquiries)
    async with asking(portal.address) as asker:
        response = await asker.post(body)
        assert response.status == 400
        assert orjson.loads(response.body)["where"] == where
    assert len(portal.portal.enquiries) == before


async def test_only_the_declared_method_is_answered(portal: TradePortal) -> None:
    """What writes is not asked by GET, what reads not by POST."""
    async with asking(portal.address) as asker:
        refused = await asker.get("/enquiries", service="trade-enquiries")
        assert (refused.status, dict(refused.headers)["allow"]) == (405, "POST")
        refused = await asker.get("/procedures", method="POST")
        assert (refused.status, dict(refused.headers)["allow"]) == (405, "GET, HEAD")


async def test_conditions_on_rows_hold(portal: TradePortal) -> None:
    """Records that a caller may not see are not there; a condition that cannot be judged is 503."""
    async with asking(portal.address) as asker:
        rows = ((ROWS_HEADER, '{"authority":["MAF"]}'),)
        listed = await asker.get("/procedures?fields=code", rows)
        assert orjson.loads(listed.body)["items"] == [{"code": "EXP-COF-01"}]
        assert (await asker.get("/procedures/IMP-VEH-01", rows)).status == 404
        assert (await asker.get("/procedures/EXP-COF-01", rows)).status == 200
        strange = ((ROWS_HEADER, '{"fee.amount":["1"]}'),)
        assert (await asker.get("/procedures", strange)).status == 503


async def test_what_changes_something_is_not_done_under_conditions(portal: TradePortal) -> None:
    """They could be judged by the answer alone, when it has been done: the service is not asked."""
    before = len(portal.portal.enquiries)
    async with asking(portal.address) as asker:
        reference = orjson.loads((await asker.post(ENQUIRY)).body)
        rows = ((ROWS_HEADER, orjson.dumps({next(iter(reference)): ["other"]}).decode()),)
        assert (await asker.post(ENQUIRY, rows)).status == 503
    assert len(portal.portal.enquiries) == before + 1


async def test_a_kept_answer_is_given_again_with_its_age(portal: TradePortal) -> None:
    """`cache_s` spares the service; other values are other answers."""
    async with asking(portal.address) as asker:
        first = await asker.get("/tariff/0902")
        again = await asker.get("/tariff/0902")
        other = await asker.get("/tariff/0901")
        assert first.body == again.body != other.body
        assert dict(again.headers)["cache-control"] == "private, max-age=300"


def test_the_mapping_of_the_reference_world_is_read_without_the_service() -> None:
    """The WSDL is a file: nothing is asked before the first request."""
    wrapping = kinds.read(MAPPING)
    assert [*wrapping.services] == ["trade-procedures", "trade-enquiries"]
