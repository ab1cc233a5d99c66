"""Values never change a statement, whatever they are, on real databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.service import Adapter
from tests.adapters.conftest import EACH_KIND
from tests.adapters.legacy import BACKSLASH, INJECTION
from tests.adapters.writes.library import Library, content, fill, send

SQL = st.sampled_from(
    [
        INJECTION,
        BACKSLASH,
        "'); DELETE FROM tbl_book; --",
        "$1 :number %(note)s %s ? {0} @x",
        "\\'",
        "/*! DROP TABLE tbl_book */",
        "' || (SELECT note) || '",
        "1e309",
        "NULL",
        "\u2028\u202e\ufeff",
        "ກ\u0300\u0301",
        "$$;$$",
        "\u02bc OR 1=1",
    ]
)
VALUES = st.one_of(SQL, st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
IDS = st.one_of(
    SQL.map(lambda text: "".join(sign for sign in text if "!" <= sign <= "~")).filter(bool),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255),
)
Pair = tuple[Library, Adapter]


@pytest.fixture(scope="module", params=EACH_KIND)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """One library for all examples; each must leave it as it should be."""
    kind = request.param
    if kind == "sqlite":
        url, server = f"sqlite:///{tmp_path_factory.mktemp('hostile')}/library.db", None
    else:
        server = request.getfixturevalue(f"{kind}_server")
        url = server.new_database(f"hostile_{Path(__file__).stem}")
    fill(url)
    library = Library(kind, url, server)
    adapter = library.adapter()
    yield library, adapter
    asyncio.run(adapter.close())


OTHERS = (
    "SELECT book_no, title_lo, shelf, price, bought_on, is_lent, isbn, publisher_id,"
    " CASE WHEN book_no = 1 THEN '' ELSE note END FROM tbl_book ORDER BY book_no"
)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=VALUES, identifier=IDS)
def test_a_text_is_stored_as_it_is_and_touches_nothing_else(
    pair: Pair, value: str, identifier: str
) -> None:
    """What is read back is what was sent, or it was too long; the rest of the table is the same."""
    library, adapter = pair
    before = library.rows(OTHERS)
    answer = asyncio.run(
        send(adapter, "PATCH", "/books/1", {"note": value}, id=f"{len(before)}{identifier}"[:255])
    )
    if answer.status == 200:
        assert content(answer)["note"] == value
        assert library.rows("SELECT note FROM tbl_book WHERE book_no = 1") == [(value,)]
    elif answer.status == 409:  # hypothesis tried this id before, with another text
        assert content(answer)["type"] == "urn:saphan:problem:MessageIdReused"
    else:
        assert (answer.status, content(answer)["where"]) == (422, "body#/note")
        assert len(value) > 60
    assert library.rows(OTHERS) == before
    assert library.count("tbl_publisher") == 1


@pytest.mark.parametrize(
    "path", ["/books/1%20OR%201=1", "/books/1;DROP", "/books/%27", "/books/1e0"]
)
def test_a_key_is_a_value(pair: Pair, path: str) -> None:
    """A path that is no key of the field's type is refused before anything is asked."""
    library, adapter = pair
    before = library.rows(OTHERS)
    for method, body in (("PATCH", {"note": "x"}), ("DELETE", None)):
        answer = asyncio.run(send(adapter, method, path, body))
        assert answer.status in (400, 404, 422), content(answer)
    assert library.rows(OTHERS) == before


@pytest.mark.parametrize("name", ["exchange_purpose", "exchange_agreement"])
async def test_an_answer_under_one_right_is_not_that_under_another(
    adapter: Adapter, name: str
) -> None:
    """A kept answer holds what its agreement and purpose may see: under another it is refused."""
    body = {"note": "x"}
    first = await send(adapter, "PATCH", "/books/1", body, id="a", **{name: "audit"})
    again = await send(adapter, "PATCH", "/books/1", body, id="a", **{name: "audit"})
    others = [
        await send(adapter, "PATCH", "/books/1", body, id="a", **headers)
        for headers in ({name: "statistics"}, {})
    ]
    assert (first.status, again) == (200, first)
    assert [(one.status, content(one)["where"]) for one in others] == [
        (409, "header.x-road-id")
    ] * 2
