"""What a caller may ask an API with: rules of the owner, conditions of agreements, and how
parameters reach the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from adapters.kinds import Checking
from adapters.mapping.reader import parse
from adapters.passing.backend import OpenApi
from adapters.passing.kind import Api, read
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from tests.adapters.recording import Recording, recording

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOHA/register
title: {en: Register, lo: ທະບຽນ}
source: {kind: http, url: "${REGISTER_URL}"}
services:
  people:
    title: {en: People, lo: ຄົນ}
    endpoints:
      /people:
        get:
          title: {en: People, lo: ຄົນ}
          parameters:
            province: {type: string, required: false, pattern: "^[0-9]{2}$", rows: province}
            district: {type: integer, required: false, list: comma, sent_as: dist, max_items: 3}
            office: {type: string, required: false, sent_as: x-office, sent_in: header}
            tag: {type: string, required: false, list: repeated, sent_as: "tag[]"}
            near: {type: string, required: false, list: pipe}
            level: {type: string, required: false, values: [a, b], list: comma, sent_as: x-level,
                    sent_in: header}
          visible:
            rules:
              - when: {client: LA/GOV/MOF}
                rows: {province: "01"}
              - when: {client: LA/GOV/MOH, purpose: health}
                rows: {province: ["02", "03"], district: [7, 8], office: north}
              - when: {purpose: audit}
                rows: all
            otherwise: nothing
          answers: {200: {media_types: [application/json]}}
      /people/{province}:
        get:
          title: {en: Of a province, lo: ຂອງແຂວງ}
          parameters: {province: {type: string, rows: province}}
          cache_s: 60
          answers: {200: {media_types: [application/json]}}
"""
MOF = "LA/GOV/MOF/budget"
MOH = "LA/GOV/MOH/clinic"


def mapped(text: str = MAPPING) -> Api:
    return read(parse(text.encode(), "register.yaml"))


@pytest.fixture
async def backend() -> AsyncIterator[Recording]:
    async with recording() as running:
        yield running


@pytest.fixture
async def opened(backend: Recording) -> AsyncIterator[OpenApi]:
    api = mapped().open({"REGISTER_URL": backend.url}, Path())
    yield api
    await api.close()


async def ask(opened: OpenApi, target: str, client: str = "", **fields: str) -> tuple[int, str]:
    """The status, and the place of a fault."""
    path, _, query = target.partition("?")
    named = {"x_road_client": client} if client else {}
    headers = tuple((name.replace("_", "-"), value) for name, value in (named | fields).items())
    request = BackendRequest("GET", path, query, headers, b"")
    answer = await opened.backends["people"].exchange(request, timeout_s=10)
    assert isinstance(answer.body, bytes)
    return answer.status, str(orjson.loads(answer.body).get("where", ""))


@pytest.mark.parametrize(
    ("client", "purpose", "query", "reached"),
    [
        (MOF, "", "", "/people?province=01"),
        (MOF, "", "province=01", "/people?province=01"),
        (MOF, "", "district=9", "/people?province=01&dist=9"),
        (MOH, "health", "province=03", "/people?province=03&dist=7,8"),
        (MOH, "health", "province=02&district=8", "/people?province=02&dist=8"),
        (MOH, "audit", "", "/people"),
        (MOH, "audit", "province=17", "/people?province=17"),
    ],
)
async def test_a_caller_asks_within_its_rights(
    opened: OpenApi, backend: Recording, client: str, purpose: str, query: str, reached: str
) -> None:
    """What is not said is what may be asked, and never everything."""
    fields = {"exchange_purpose": purpose} if purpose else {}
    target = f"/people?{query}".rstrip("?")
    assert await ask(opened, target, client, **fields) == (200, "")
    (got,) = backend.got
    assert got.target == reached
    assert got.field("x-office") == (["north"] if purpose == "health" else [])


@pytest.mark.parametrize(
    ("client", "purpose", "query", "status", "where"),
    [
        (MOF, "", "province=02", 403, "query.province"),
        (MOF, "", "province=01&province=02", 400, "query.province"),
        (MOF, "", "province=%201", 403, "query.province"),
        (MOF, "", "province=%EF%BC%90%EF%BC%91", 403, "query.province"),
        (MOH, "health", "", 400, "query.province"),
        (MOH, "health", "province=02&district=7&district=9", 403, "query.district"),
        (MOH, "health", "province=02&office=south", 403, "query.office"),
        (MOH, "", "province=01", 403, "caller"),
        ("", "", "province=01", 403, "caller"),
        ("LA/GOV/MOFX/budget", "", "province=01", 403, "caller"),
        ("nobody", "", "province=01", 400, "header.x-road-client"),
    ],
)
async def test_nothing_beyond_a_right_is_asked(
    opened: OpenApi,
    backend: Recording,
    client: str,
    purpose: str,
    query: str,
    status: int,
    where: str,
) -> None:
    """Another value, one more value, the same digits in other signs, another caller."""
    fields = {"exchange_purpose": purpose} if purpose else {}
    assert await ask(opened, f"/people?{query}", client, **fields) == (status, where)
    assert backend.got == []


@pytest.mark.parametrize(
    ("target", "rows", "status", "reached"),
    [
        ("/people", '{"province":["01","02"]}', 200, "/people?province=01"),
        ("/people", '{"province":["02"]}', 403, ""),
        ("/people", '{"province":["one"]}', 403, ""),
        ("/people", '{"province":["01"],"sex":["f"]}', 503, ""),
        ("/people", '{"province":"01"}', 400, ""),
        ("/people/01", '{"province":["01","02"]}', 200, "/people/01"),
        ("/people/03", '{"province":["01","02"]}', 403, ""),
    ],
)
async def test_conditions_of_the_agreement_hold_too(
    opened: OpenApi, backend: Recording, target: str, rows: str, status: int, reached: str
) -> None:
    """Beside the owner's rules; one that no parameter keeps opens nothing."""
    assert (await ask(opened, target, MOF, exchange_rows=rows))[0] == status
    assert [got.target for got in backend.got] == ([reached] if reached else [])


async def test_a_condition_that_others_keep_is_told_before_an_agreement_has_it(
    backend: Recording,
) -> None:
    """Beside operations that keep it, one that refuses every caller under it is a surprise."""
    how = Checking(schemas.load_all(), False, {"province": "01"}, lambda count: None)
    environ = {"REGISTER_URL": backend.url}
    loose = MAPPING.replace("{type: string, rows: province}", "{type: string}")
    for text, expected in ((MAPPING, []), (loose, ["people GET /people/{province}"])):
        found = await mapped(text).check(environ, Path(), how)
        told = [one.where for one in found if one.warning and "'rows: province'" in one.rule]
        assert told == expected
    made = mapped(loose).open(environ, Path())
    condition = '{"province":["01"]}'
    assert (await ask(made, "/people/01", MOF, exchange_rows=condition))[0] == 503
    await made.close()


async def test_a_kept_answer_is_nobody_elses(opened: OpenApi, backend: Recording) -> None:
    """Who may not ask for a province gets none that another has asked for."""
    assert await ask(opened, "/people/01", MOF) == (200, "")
    assert (await ask(opened, "/people/01", MOF, exchange_rows='{"province":["02"]}'))[0] == 403
    assert await ask(opened, "/people/01", MOF, exchange_rows='{"province":["01"]}') == (200, "")
    assert len(backend.got) == 1


@pytest.mark.parametrize(
    ("query", "reached"),
    [
        ("tag=a&tag=b%26c", "/people?tag%5B%5D=a&tag%5B%5D=b%26c"),
        ("district=1&district=2", "/people?dist=1,2"),
        ("near=a,b&near=c", "/people?near=a%2Cb%7Cc"),
        ("level=a&level=b", "/people"),
    ],
)
async def test_lists_are_sent_as_the_api_has_them(
    opened: OpenApi, backend: Recording, query: str, reached: str
) -> None:
    """Callers repeat the name; the API gets repeats, commas, pipes or a header field."""
    assert await ask(opened, f"/people?{query}", MOH, exchange_purpose="audit") == (200, "")
    assert backend.got[0].target == reached
    assert backend.got[0].field("x-level") == (["a,b"] if "level" in query else [])


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("district=1&district=2&district=3&district=4", "query.district"),
        ("district=1&district=x", "query.district"),
        ("near=a%7Cb", "query.near"),
        ("office=%E0%BA%81", "query.office"),
        ("office=%20a", "query.office"),
        ("level=a&level=c", "query.level"),
    ],
)
async def test_no_value_becomes_two(
    opened: OpenApi, backend: Recording, query: str, where: str
) -> None:
    """Nor does one come that a header field cannot carry."""
    answer = await ask(opened, f"/people?{query}", MOH, exchange_purpose="audit")
    assert (answer, backend.got) == ((400, where), [])


async def test_a_callers_own_field_is_not_a_parameter(opened: OpenApi, backend: Recording) -> None:
    """A field that a parameter is sent in comes from the parameter alone."""
    await ask(opened, "/people?office=north", MOH, exchange_purpose="audit", x_office="south")
    assert backend.got[0].field("x-office") == ["north"]


def test_the_contract_takes_lists() -> None:
    """As callers write them, with the most that there may be."""
    contract = Contract.compile(mapped().document("people", {}), schemas.load_all())
    judge = contract.find("GET", "/people").operation.check_request
    judge("/people", "district=1&district=2", (), b"")
    with pytest.raises(Problem):
        judge("/people", "district=1&district=2&district=3&district=4", (), b"")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('rows: {province: "01"}', "rows: {sex: f}", "nothing here looks into answers"),
        ('rows: {province: "01"}', "rows: {province: one}", "must have the form"),
        ('rows: {province: "01"}', "rows: {}", "say 'all'"),
        ("            otherwise: nothing\n", "", "'otherwise' is missing"),
        ("sent_as: x-office", "sent_as: Host", "free to be sent"),
        ("sent_as: x-level", "sent_as: x-office", "one header field"),
        ('sent_as: "tag[]"', "sent_as: dist", "twice in the query"),
        ("list: pipe", "list: tab", "not one of"),
        ("list: pipe", "max_items: 3", "only a list"),
        ("sent_as: dist, max_items", "rows: province, max_items", "two parameters"),
        ("{province: {type: string,", "{province: {type: string, list: comma,", "is a list"),
        ('source: {kind: http, url: "${REGISTER_URL}"}',
         'source: {kind: http, url: "${REGISTER_URL}", headers: {x-office: n}}', "every request"),
        ("      /people:\n        get:",
         "      /people:\n        post:\n          body: {media_types: [text/csv]}",
         "holds no right"),
        ("          cache_s: 60", "          mask: year", "unknown key"),
    ],
)  # fmt: skip
def test_a_right_that_would_not_hold_is_refused(old: str, new: str, words: str) -> None:
    """When the mapping is read, not when somebody calls."""
    assert old in MAPPING
    with pytest.raises(Problem) as caught:
        mapped(MAPPING.replace(old, new))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail


_WORD = st.sampled_from(
    ["01", "02", "0", "01,02", "01|02", "%30%31", "01%00", "01%26province=02", " 01", "%", "", "٠١"]
) | st.text("0123&=;#%?/ກ", max_size=4)
_NAME = st.sampled_from(
    ["province", "%70rovince", "Province", "province[]", "province%00", "dist", "tag", "tag[]"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs=st.lists(st.tuples(_NAME, _WORD), max_size=4), sign=st.sampled_from("&;"))
def test_no_query_reaches_beyond_a_right(pairs: list[tuple[str, str]], sign: str) -> None:
    """Whatever is written how: the API is asked for the one province, once, or not at all."""
    query = sign.join(f"{name}={word}" for name, word in pairs)

    async def judge() -> None:
        async with recording() as backend:
            api = mapped().open({"REGISTER_URL": backend.url}, Path())
            try:
                status, _ = await ask(api, f"/people?{query}", MOF)
            finally:
                await api.close()
            reached = [urlsplit(got.target).query for got in backend.got]
            assert backend.strange == []
            assert len(reached) == (status == 200)
            for one in reached:
                asked = [text for name, text in parse_qsl(one) if name.lower() == "province"]
                assert asked == ["01"]

    asyncio.run(judge())
