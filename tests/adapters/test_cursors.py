"""A cursor carries the key of a row, tells nothing of it, and fits only the list that gave it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.cursors import MAX_CURSOR_LENGTH, BadCursor, Cursors
from adapters.answers.row_keys import UnusableKey
from adapters.service import Adapter
from exchange.agreements import ROWS_HEADER, RowCondition, rows_header
from tests.adapters import persons
from tests.adapters.legacy import MAPPING, Legacy, get
from tests.adapters.persons import AUDITOR, CENSUS, OWNER, ask
from tests.adapters.test_row_keys import KEYS

SECRET = bytes(range(32))
SERVICE = "LA/GOV/MPI/legacy/items"
CURSORS = Cursors(SECRET, SERVICE)
BINDING = b"a list"
GOOD = CURSORS.format(BINDING, ("code-1", 5))


@given(KEYS)
def test_a_cursor_gives_back_its_key(key: tuple[object, ...]) -> None:
    """``parse(format(x)) == x``, in any process that has the secret."""
    cursor = CURSORS.format(BINDING, key)
    assert Cursors(SECRET, SERVICE).parse(cursor, BINDING) == key
    assert Cursors(SECRET, SERVICE).format(BINDING, key) == cursor


@given(st.lists(st.integers() | st.text("aກ", max_size=20), min_size=1, max_size=2).map(tuple))
def test_a_cursor_tells_neither_a_value_nor_its_length(key: tuple[object, ...]) -> None:
    """Of common keys all cursors are of one length, and no 16 bytes of two are the same."""
    cursor, other = (CURSORS.format(BINDING, (part, *key)) for part in (1, 2))
    assert len(cursor) == len(other) == 256
    left, right = (
        {data[at : at + 16] for at in range(0, len(data), 16)}
        for data in map(urlsafe_b64decode, (cursor, other))
    )
    assert not left & right


@given(st.integers(0, len(GOOD) * 6 - 1))
def test_every_changed_bit_is_refused(bit: int) -> None:
    """Of the bytes that the text stands for: none is left unjudged."""
    data = bytearray(urlsafe_b64decode(GOOD))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadCursor):
        CURSORS.parse(urlsafe_b64encode(data).decode(), BINDING)


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_a_cursor_has_one_spelling(place: int, sign: str) -> None:
    """Another sign in any place is another text, and refused: ``+`` for ``-``, too."""
    text = GOOD[:place] + sign + GOOD[place + 1 :]
    if text != GOOD:
        with pytest.raises(BadCursor):
            CURSORS.parse(text, BINDING)
    for other in (GOOD.replace("-", "+").replace("_", "/"), GOOD + "=", GOOD[:-1], GOOD + GOOD):
        if other != GOOD:
            with pytest.raises(BadCursor):
                CURSORS.parse(other, BINDING)


@given(st.text(max_size=300))
def test_no_other_text_is_a_cursor(text: str) -> None:
    """Whatever a caller sends, it is a cursor that was given or it is refused."""
    with pytest.raises(BadCursor):
        CURSORS.parse(text, BINDING)


def test_a_cursor_is_of_one_list_service_and_secret() -> None:
    """It opens nowhere else."""
    assert CURSORS.parse(GOOD, BINDING) == ("code-1", 5)
    for cursors, binding in (
        (CURSORS, b"another list"),
        (CURSORS, b""),
        (Cursors(SECRET, SERVICE + "2"), BINDING),
        (Cursors(SECRET[::-1], SERVICE), BINDING),
    ):
        with pytest.raises(BadCursor):
            cursors.parse(GOOD, binding)


def test_length_is_judged_first() -> None:
    """What is too long to be a cursor is not opened, and a key that is too long makes none."""
    with pytest.raises(BadCursor):
        CURSORS.parse("A" * (MAX_CURSOR_LENGTH // 256 + 1) * 256, BINDING)
    with pytest.raises(UnusableKey):
        CURSORS.format(BINDING, ("ກ" * 2_000,))
    longest = ("x" * (MAX_CURSOR_LENGTH // 256 * 192 - 20),)
    assert CURSORS.parse(CURSORS.format(BINDING, longest), BINDING) == longest
    with pytest.raises(UnusableKey):
        CURSORS.format(BINDING, (longest[0] + "x",))


# In answers.


async def following(adapter: Adapter, target: str) -> str:
    response = await get(adapter, target)
    assert response.status == 200, response.body
    cursor = orjson.loads(response.body)["next"]
    assert isinstance(cursor, str)
    return cursor


async def refused(adapter: Adapter, target: str) -> None:
    response = await get(adapter, target)
    assert response.status == 400, response.body
    problem = orjson.loads(response.body)
    assert problem["where"] == "query.cursor"
    assert "begin again without it" in problem["detail"]


async def test_the_values_of_the_order_are_not_readable_in_an_answer(adapter: Adapter) -> None:
    """Neither in the cursor's text nor in the bytes that it stands for."""
    target = "/items/by-date?fields=code&page_size=1"
    page = orjson.loads((await get(adapter, target)).body)
    (item,) = page["items"]
    whole = orjson.loads((await get(adapter, f"/items/{item['code']}")).body)
    data = urlsafe_b64decode(page["next"] + "=" * (-len(page["next"]) % 4))
    for value in (whole["code"], whole["signed_on"], str(int(whole["amount"]))):
        assert value.encode() not in data
        assert value not in page["next"]


async def test_a_cursor_in_clear_is_refused(adapter: Adapter) -> None:
    """As cursors once were: whoever can write one reads on after any value he likes."""
    binding = "7c4a8d09ca3762af"
    for key in ([binding, 5], [5], [binding, {"n": "5"}]):
        clear = urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()
        await refused(adapter, f"/items?cursor={clear}")


async def test_a_cursor_belongs_to_its_list_and_filters(adapter: Adapter) -> None:
    """Only what chooses members and numbers of a page may change on the way."""
    cursor = await following(adapter, "/items?sector=health")
    assert (await get(adapter, f"/items?sector=health&cursor={cursor}")).status == 200
    assert (
        await get(adapter, f"/items?sector=health&page_size=2&fields=code&cursor={cursor}")
    ).status == 200
    await refused(adapter, f"/items?cursor={cursor}")
    await refused(adapter, f"/items?sector=education&cursor={cursor}")
    await refused(adapter, f"/items?sector=health&least=1&cursor={cursor}")
    await refused(adapter, f"/items/by-date?cursor={cursor}")


async def test_a_cursor_belongs_to_its_mapping(legacy: Legacy) -> None:
    """To its service and its order; another page size or title does not end a walk."""
    adapter = legacy.adapter()
    cursor = await following(adapter, "/items")
    for old, new, status in (
        ("page_size: 10", "page_size: 11", 200),
        ("lo: ລາຍການທັງໝົດ", "lo: ທັງໝົດ", 200),
        ("LA/GOV/MPI/legacy", "LA/GOV/MPI/other", 400),
        ("order: [id]", "order: [id desc]", 400),
        ("order: [id]", "order: [item_code]", 400),
    ):
        assert old in MAPPING
        changed = legacy.adapter(MAPPING.replace(old, new))
        assert (await get(changed, f"/items?cursor={cursor}")).status == status, new
        await changed.close()
    await adapter.close()


async def test_a_cursor_belongs_to_who_sees_the_same(legacy: Legacy) -> None:
    """To other rows or members, by the mapping's rules or the agreement's, it is of no use."""
    persons.fill(legacy.url, "tbl_person", persons.PERSONS)
    adapter = persons.adapter_of(legacy)
    north = {ROWS_HEADER: rows_header((RowCondition("district", ("north",)),))}
    profiles = (OWNER, CENSUS, AUDITOR, CENSUS | north)
    for mine in profiles:
        page = orjson.loads((await ask(adapter, "/persons", mine)).body)
        for theirs in profiles:
            answer = await ask(adapter, f"/persons?cursor={page['next']}", theirs)
            assert answer.status == (200 if theirs == mine else 400), (mine, theirs)
    like = OWNER | {"x-road-client": "LA/GOV/MOHA/archive"}
    cursor = orjson.loads((await ask(adapter, "/persons", OWNER)).body)["next"]
    assert (await ask(adapter, f"/persons?cursor={cursor}", like)).status == 200
    await adapter.close()
