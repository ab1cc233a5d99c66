"""Records are written as their fields say, once, and answered as they are read back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from adapters.service import Adapter
from exchange.problems import Code, Problem
from tests.adapters.legacy import get
from tests.adapters.writes.library import BOOK, MAPPING, Library, content, header, send


async def test_a_record_is_created_and_answered_as_it_is_read(
    library: Library, adapter: Adapter
) -> None:
    """201, the record, its place and the entity tag that reading it has."""
    answer = await send(adapter, "POST", "/books", BOOK)
    assert (answer.status, content(answer)) == (201, BOOK)
    assert header(answer, "location") == "/books/7"
    read = await get(adapter, "/books/7")
    assert (read.body, header(read, "etag")) == (answer.body, header(answer, "etag"))


async def test_values_are_stored_as_the_column_has_them(library: Library, adapter: Adapter) -> None:
    """The first word of a code list, the form of a date, a number for a truth value."""
    await send(adapter, "POST", "/books", BOOK)
    found = library.rows("SELECT shelf, bought_on, is_lent, note FROM tbl_book WHERE book_no = 7")
    assert found == [("B", "05/02/2012", 0, "O'Neill")]


async def test_a_message_is_carried_out_once(library: Library, adapter: Adapter) -> None:
    """A repeat gets the first answer, byte for byte, and changes nothing."""
    first = await send(adapter, "POST", "/books", BOOK, id="a1")
    again = await send(adapter, "POST", "/books", BOOK, id="a1")
    assert again == first
    assert library.count("tbl_book") == 3


async def test_an_answer_stays_the_first_one(library: Library, adapter: Adapter) -> None:
    """What happened since is not in the repeat's answer."""
    first = await send(adapter, "PATCH", "/books/1", {"note": "one"}, id="a1")
    await send(adapter, "PATCH", "/books/1", {"note": "two"}, id="a2")
    assert await send(adapter, "PATCH", "/books/1", {"note": "one"}, id="a1") == first
    assert content(await get(adapter, "/books/1"))["note"] == "two"


async def test_an_id_names_one_request(library: Library, adapter: Adapter) -> None:
    """The same id with another body, or another condition, is refused."""
    await send(adapter, "PATCH", "/books/1", {"note": "one"}, id="a1")
    for body, headers in (({"note": "two"}, {}), ({"note": "one"}, {"if_match": "*"})):
        answer = await send(adapter, "PATCH", "/books/1", body, id="a1", **headers)
        assert (answer.status, content(answer)["type"]) == (
            409,
            "urn:saphan:problem:MessageIdReused",
        )
    assert content(await get(adapter, "/books/1"))["note"] == "one"


async def test_an_id_belongs_to_its_client(library: Library, adapter: Adapter) -> None:
    """Two clients may use the same id, and capitals count."""
    for number, (client, id) in enumerate(
        [("LA/GOV/A/a", "x"), ("LA/GOV/B/b", "x"), ("LA/GOV/A/a", "X")]
    ):
        body = BOOK | {"number": 10 + number, "isbn": f"i{number}"}
        answer = await send(adapter, "POST", "/books", body, client=client, id=id)
        assert answer.status == 201
    assert library.count("saphan_writes") == 3


async def test_without_an_id_nothing_is_written(library: Library, adapter: Adapter) -> None:
    """The id is what makes a repeat safe, so it is needed."""
    answer = await send(adapter, "POST", "/books", BOOK, id="")
    assert (answer.status, content(answer)["where"]) == (400, "header.x-road-id")
    assert library.count("tbl_book") == 2


async def test_a_refusal_is_not_remembered(library: Library, adapter: Adapter) -> None:
    """What was refused left nothing, so that the same message is judged anew."""
    body = BOOK | {"isbn": "1"}
    assert (await send(adapter, "POST", "/books", body, id="a1")).status == 409
    library.rows("UPDATE tbl_book SET isbn = '3' WHERE book_no = 1")
    assert (await send(adapter, "POST", "/books", body, id="a1")).status == 201


async def test_a_lost_update_is_refused(library: Library, adapter: Adapter) -> None:
    """A change that names the tag of yesterday's record changes nothing."""
    tag = header(await get(adapter, "/books/1"), "etag")
    body = {key: value for key, value in BOOK.items() if key != "number"}
    first = await send(adapter, "PUT", "/books/1", body, if_match=tag)
    assert first.status == 200
    second = await send(adapter, "PUT", "/books/1", body | {"note": "x"}, if_match=tag)
    assert (second.status, content(second)["where"]) == (412, "header.if-match")
    tag = header(first, "etag")
    third = await send(adapter, "PUT", "/books/1", body | {"note": "x"}, if_match=tag)
    assert (third.status, content(third)["note"]) == (200, "x")
    assert (await send(adapter, "PUT", "/books/1", body)).status == 428


async def test_a_patch_leaves_what_it_does_not_name(library: Library, adapter: Adapter) -> None:
    """RFC 7396: a member that is null goes, one that is absent stays, byte for byte."""
    stored = "SELECT title_lo, shelf, price, bought_on, old FROM tbl_book WHERE book_no = 1"
    before = library.rows(stored)
    kind = "application/merge-patch+json"
    answer = await send(adapter, "PATCH", "/books/1", {"isbn": None, "note": "n"}, kind=kind)
    assert answer.status == 200
    assert "isbn" not in content(answer)
    assert before == library.rows(
        stored
    )  # also the word 'b', of which 'history' would be written as 'B'


async def test_text_is_written_in_the_owners_old_encoding(library: Library) -> None:
    """As the owner's own program would; what the encoding lacks is refused with its place."""
    text = MAPPING.replace("note = :note\n", "note = :note, old = :old\n")
    adapter = library.adapter(mapping=text)
    stored = "SELECT old FROM tbl_book WHERE book_no = 1"
    before, read = library.rows(stored), content(await get(adapter, "/books/1"))
    answer = await send(adapter, "PATCH", "/books/1", {"old": "ນ້ຳໃຈ"})
    assert (answer.status, content(answer)["old"]) == (200, "ນ້ຳໃຈ")
    assert not any("\u0e80" <= sign <= "\u0eff" for sign in library.rows(stored)[0][0])
    assert (await send(adapter, "PATCH", "/books/1", {"old": read["old"]})).status == 200
    assert library.rows(stored) == before
    refused = await send(adapter, "PATCH", "/books/1", {"old": "ກ໐"})
    assert (refused.status, content(refused)["where"]) == (422, "body#/old")
    assert "character 2" in content(refused)["detail"]
    assert (await send(adapter, "PATCH", "/books/1", {"note": "n"})).status == 200
    assert library.rows(stored) == before
    await adapter.close()


async def test_a_place_that_is_too_long_is_not_told(library: Library) -> None:
    """A key of many Lao letters, each nine signs of a path: written all the same."""
    text = MAPPING
    for old, new in (
        ("/books/{number}: {operation: one", "/t/{name}: {operation: one"),
        ("title.lo: {type: string, null: refuse}", "name: {column: title_lo, type: string}"),
        ("key: [number]", "key: [name]"),
        (":title_lo", ":name"),
    ):
        text = text.replace(old, new)
    adapter = library.adapter(mapping=text)
    library.rows("DELETE FROM tbl_book")
    if library.kind != "sqlite":
        kind = "TYPE" if library.kind == "postgresql" else ""
        change = "ALTER" if library.kind == "postgresql" else "MODIFY"
        library.rows(f"ALTER TABLE tbl_book {change} COLUMN title_lo {kind} VARCHAR(300)")
    body = {name: value for name, value in BOOK.items() if name != "title"}
    for number, letters in ((7, 10), (8, 200)):
        one = body | {"number": number, "isbn": str(number), "name": "ກ" * letters}
        answer = await send(adapter, "POST", "/books", one, id=f"l{number}")
        assert answer.status == 201, content(answer)
        assert ("location" in dict(answer.headers)) is (letters == 10)
        assert await send(adapter, "POST", "/books", one, id=f"l{number}") == answer
    await adapter.close()


async def test_two_patches_at_once_are_both_kept(library: Library, adapter: Adapter) -> None:
    """Each reads and writes the whole row; neither may undo the other."""
    answers = await asyncio.gather(
        *(
            send(adapter, "PATCH", "/books/1", body)
            for body in ({"note": "n"}, {"title": {"lo": "ທ"}}, {"price": "3.00"}, {"isbn": "9"})
        )
    )
    assert [answer.status for answer in answers] == [200] * 4
    found = content(await get(adapter, "/books/1"))
    assert (found["note"], found["title"], found["price"], found["isbn"]) == (
        "n",
        {"lo": "ທ"},
        "3.00",
        "9",
    )


async def test_one_message_sent_many_times_at_once(library: Library, adapter: Adapter) -> None:
    """The second waits for the first and gets its answer; the effect is there once."""
    body = {"number": 1, "borrower": "ແກ້ວ"}
    answers = await asyncio.gather(
        *(send(adapter, "POST", "/loans", body, id="a1") for _ in range(6))
    )
    assert {answer.status for answer in answers} <= {201, 503}
    first = [answer.body for answer in answers if answer.status == 201]
    assert first
    assert len(set(first)) == 1
    assert library.count("tbl_loan") == 1


async def test_statements_of_an_endpoint_are_one_transaction(
    library: Library, adapter: Adapter
) -> None:
    """A book that is lent cannot be lent: neither the book nor the loans change."""
    first = await send(adapter, "POST", "/loans", {"number": 1, "borrower": "ແກ້ວ"})
    assert first.status == 201
    loan = content(first)
    assert loan | {"loan": 0} == {
        "loan": 0,
        "number": 1,
        "borrower": "ແກ້ວ",
        "written_by": "LA/GOV/MOF/portal",
    }
    assert header(first, "location") == f"/loans/{loan['loan']}"
    second = await send(adapter, "POST", "/loans", {"number": 1, "borrower": "ຄຳ"})
    assert second.status == 409
    library.rows("DELETE FROM tbl_loan")
    library.rows("UPDATE tbl_book SET is_lent = 0")
    too_long = {"number": 1, "borrower": "ຄ" * 61}
    if library.kind != "sqlite":  # which has no lengths
        third = await send(adapter, "POST", "/loans", too_long)
        assert (third.status, content(third)["where"]) == (422, "body#/borrower")
        assert library.rows("SELECT is_lent FROM tbl_book WHERE book_no = 1") == [(0,)]


async def test_a_record_that_is_not_there_is_not_changed(
    library: Library, adapter: Adapter
) -> None:
    """404, for a change and for a deletion."""
    for method, body in (("PATCH", {"note": "x"}), ("DELETE", None)):
        answer = await send(adapter, method, "/books/99", body)
        assert (answer.status, content(answer)["where"]) == (404, "path")


async def test_a_record_is_deleted(library: Library, adapter: Adapter) -> None:
    """204 without a body; a repeat says the same; one that others refer to stays."""
    tag = header(await get(adapter, "/books/2"), "etag")
    assert (await send(adapter, "DELETE", "/books/2", id="a", if_match='"x"')).status == 412
    for _ in range(2):
        answer = await send(adapter, "DELETE", "/books/2", id="a1", if_match=tag)
        assert (answer.status, answer.body) == (204, b"")
    await send(adapter, "POST", "/loans", {"number": 1, "borrower": "ແກ້ວ"})
    assert (await send(adapter, "DELETE", "/books/1")).status == 409


BEYOND = ({"price": "123456789.00"}, {"title": {"lo": "x" * 41}}, {"number": 2**40})


@pytest.mark.parametrize(
    ("change", "status", "where"),
    [
        ({"isbn": "1"}, 409, "body#/isbn"),
        ({"number": 1}, 409, "body#/number"),
        ({"publisher": 5}, 422, "body#/publisher"),
        ({"price": "-1.00"}, 422, "body#/price"),
        ({"price": "123456789.00"}, 422, "body#/price"),
        ({"title": {"lo": "x" * 41}}, 422, "body#/title/lo"),
        ({"number": 2**40}, 422, "body#/number"),
    ],
)
async def test_what_the_source_refuses_is_told_by_its_place(
    library: Library, adapter: Adapter, change: dict[str, object], status: int, where: str
) -> None:
    """409 for what is there already, 422 for a value; the field, the rule, and no value."""
    if library.kind == "sqlite" and change in BEYOND:
        pytest.skip("SQLite has neither lengths nor bounds")
    answer = await send(adapter, "POST", "/books", BOOK | change)
    # Only PostgreSQL tells of which columns a condition is.
    places = {where, "body"} if "price" in change else {where}
    assert answer.status == status
    assert content(answer)["where"] in places
    assert "INSERT" not in answer.body.decode()
    assert "123456789" not in answer.body.decode()
    assert library.count("tbl_book") == 2
    assert library.count("saphan_writes") == 0


async def test_what_the_mapping_refuses_is_told_by_its_place(tmp_path: Path) -> None:
    """Before the source is asked: this one is not even there."""
    adapter = Library("sqlite", f"sqlite:///{tmp_path}/nothing.db", None).adapter()
    for change, where in (
        ({"price": "1.001"}, "body#/price"),
        ({"title": {}}, "body#/title/lo"),
        ({"bought": "2012-02-30"}, "body#/bought"),
        ({"bought": "05/02/2012"}, "body#/bought"),
        ({"lent": 1}, "body#/lent"),
        ({"shelf": "A"}, "body#/shelf"),
        ({"note": "a\x00b"}, "body#/note"),
        ({"colour": "red"}, "body"),
    ):
        answer = await send(adapter, "POST", "/books", BOOK | change)
        assert (answer.status, content(answer)["where"]) == (422, where)
    await adapter.close()


async def test_methods_that_are_not_there_are_told(library: Library, adapter: Adapter) -> None:
    """405 with the ones that are."""
    answer = await send(adapter, "POST", "/books/1", {})
    assert (answer.status, header(answer, "allow")) == (405, "GET, HEAD, PUT, PATCH, DELETE")
    assert (await send(adapter, "PUT", "/books", {})).status == 405
    assert (await send(adapter, "POST", "/other", {})).status == 404


async def test_a_long_body_is_refused(library: Library, adapter: Adapter) -> None:
    """More than the mapping's bound is not read."""
    body = orjson.dumps({"note": "x" * (1 << 16)})
    assert (await send(adapter, "PATCH", "/books/1", body)).status == 413


async def test_kept_answers_go_with_a_change(library: Library) -> None:
    """What is answered again for a while is asked anew after a change."""
    kept = MAPPING.replace("order: [book_no]}", "order: [book_no], cache_s: 600}")
    adapter = library.adapter(mapping=kept)
    before = await get(adapter, "/books")
    await send(adapter, "PATCH", "/books/1", {"note": "new"})
    assert (await get(adapter, "/books")).body != before.body
    await adapter.close()


RULES = """visible:
      rules:
        - when: {client: LA/GOV/MOF}
          rows: {shelf: [history]}
      otherwise: nothing
    fields:"""


async def test_what_is_not_shown_is_not_changed(library: Library) -> None:
    """Neither a record that the caller is not shown, nor into one; nor a masked member."""
    text = MAPPING.replace("fields:", RULES, 1)
    masked = "{type: string, mask: {rules: [{when: {client: LA/GOV/MOF}, show: last_1}], "
    text = text.replace("isbn: string", "isbn: " + masked + "otherwise: whole}}")
    adapter = library.adapter(mapping=text)
    before = library.rows("SELECT * FROM tbl_book ORDER BY book_no")
    other = await send(adapter, "PATCH", "/books/1", {"note": "x"}, client="LA/GOV/A/a")
    assert other.status == 404
    moved = await send(adapter, "PATCH", "/books/1", {"shelf": "science"})
    assert (moved.status, content(moved)["where"]) == (409, "body")
    hidden = await send(adapter, "PATCH", "/books/1", {"isbn": "9"})
    assert (hidden.status, content(hidden)["where"]) == (403, "body#/isbn")
    assert library.rows("SELECT * FROM tbl_book ORDER BY book_no") == before
    changed = await send(adapter, "PATCH", "/books/1", {"note": "x"})
    assert (changed.status, content(changed)["isbn"]) == (200, "***")
    assert library.rows("SELECT isbn FROM tbl_book WHERE book_no = 1") == [("1",)]
    await adapter.close()


async def test_what_is_masked_inside_is_masked_in_the_answer_of_a_write(library: Library) -> None:
    """A record that is written is answered as it is read: nested masks and entity tags, too."""
    mask = "{rules: [{when: {client: LA/GOV/MOH}, show: whole}], otherwise: absent}"
    text = MAPPING.replace(
        "borrower: {type: string, null: refuse}",
        "borrower: {type: string, null: refuse, mask: " + mask + "}",
    ).replace(
        "      old: {type: string, decode: lswin}\n",
        "      old: {type: string, decode: lswin}\n"
        "    nested: {loans: {query: loans, join: {book_no: book_no}, order: [loan_no]}}\n",
    )
    adapter = library.adapter(mapping=text)
    library.rows("INSERT INTO tbl_loan (book_no, borrower) VALUES (1, 'ສົມຊາຍ')")
    read = await get(adapter, "/books/1")
    changed = await send(adapter, "PATCH", "/books/1", {"note": "x"}, if_match=header(read, "etag"))
    assert changed.status == 200
    assert content(changed)["loans"] == content(read)["loans"]
    assert "borrower" not in content(changed)["loans"][0]
    await adapter.close()


async def test_the_rows_of_an_agreement_bound_what_is_written(
    library: Library, adapter: Adapter
) -> None:
    """A record outside is not there, and nothing is written that would be outside."""
    from exchange.agreements import RowCondition, rows_header

    inside = {"exchange_rows": rows_header((RowCondition("isbn", ("1",)),))}
    assert (await send(adapter, "PATCH", "/books/1", {"note": "x"}, **inside)).status == 200
    assert (await send(adapter, "PATCH", "/books/2", {"note": "x"}, **inside)).status == 404
    assert (await send(adapter, "PATCH", "/books/1", {"isbn": "5"}, **inside)).status == 409
    assert (await send(adapter, "POST", "/books", BOOK, **inside)).status == 409
    assert library.count("tbl_book") == 2


STOCK = """
  mark:
    sql: UPDATE tbl_book SET note = :reason, isbn = :saphan_id WHERE book_no = :number
    parameters:
      reason: {type: string, table: {W: worn, L: lost}}
  forget: {sql: UPDATE tbl_book SET is_lent = 0 WHERE book_no = :number AND is_lent = 1, rows: any}
  lend:"""
MARK = """
      POST /books/{number}/marks:
        operation: update
        statements: [mark, forget]
        query: books
        title: {en: Mark a book, lo: ໝາຍປຶ້ມ}
      POST /books:"""


async def test_declared_parameters_and_any_rows(library: Library) -> None:
    """A parameter that is no field comes from the body by its name; a statement may find no row."""
    text = MAPPING.replace("\n  lend:", STOCK).replace("\n      POST /books:", MARK)
    adapter = library.adapter(mapping=text)
    answer = await send(adapter, "POST", "/books/1/marks", {"reason": "worn"}, id="m-1")
    assert (answer.status, content(answer)["isbn"]) == (200, "m-1")
    assert library.rows("SELECT note FROM tbl_book WHERE book_no = 1") == [("W",)]
    for body in ({"reason": "W"}, {}, {"reason": ["worn"]}):
        refused = await send(adapter, "POST", "/books/1/marks", body)
        assert refused.status == 422
        assert content(refused)["where"].startswith("body")
    await adapter.close()


def test_the_document_says_what_is_written() -> None:
    """It is valid OpenAPI, and a body needs what the record cannot lack, or for a PATCH nothing."""
    from openapi_spec_validator import validate

    from adapters import openapi
    from adapters.mapping.file import parse_mapping

    parsed = parse_mapping(MAPPING.replace("LIMITS", "max_rows: 10").encode(), "library.yaml")
    document = orjson.loads(openapi.document(parsed, "books"))
    validate(document)
    paths = document["paths"]
    assert {path: sorted(found) for path, found in paths.items()} == {
        "/books": ["get", "post"],
        "/books/{number}": ["delete", "get", "patch", "put"],
        "/loans": ["post"],
        "/loans/{loan}": ["get"],
    }
    create = paths["/books"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert create["required"] == ["lent"]
    assert "old" not in create["properties"]
    patch = paths["/books/{number}"]["patch"]["requestBody"]["content"]
    assert sorted(patch) == ["application/json", "application/merge-patch+json"]
    assert "required" not in patch["application/json"]["schema"]
    assert "requestBody" not in paths["/books/{number}"]["delete"]


async def test_a_time_is_written_as_the_moment_that_was_sent(library: Library) -> None:
    """In a column with a zone of its own as in one without."""
    if library.kind != "postgresql":
        pytest.skip("the others have no columns with a zone of their own")
    own = MAPPING.replace("note: string", "note: {type: datetime, zone: Asia/Vientiane}")
    adapter = library.adapter(mapping=own)
    column = "ALTER TABLE tbl_book ALTER COLUMN note TYPE"
    moment = {"note": "2026-01-31T08:00:00+07:00"}
    for kind in ("timestamp", "timestamptz"):
        library.rows(f"{column} {kind} USING NULL")
        answer = await send(adapter, "PATCH", "/books/1", moment)
        assert (answer.status, content(answer)["note"]) == (200, moment["note"])
    await adapter.close()


async def test_a_change_counts_against_the_hour(library: Library) -> None:
    """The source is asked no more often than its owner said, whatever is asked of it."""
    adapter = library.adapter("max_statements_per_hour: 2")
    for note in "ab":
        assert (await send(adapter, "PATCH", "/books/1", {"note": note})).status == 200
    with pytest.raises(Problem) as caught:
        await send(adapter, "PATCH", "/books/1", {"note": "c"})
    assert caught.value.code is Code.OVERLOADED
    await adapter.close()


async def test_a_body_is_judged_by_the_shared_schema_that_is_named(tmp_path: Path) -> None:
    """By its ``$id``, before the source is asked; one that is not there is told when it begins."""
    where = "        key: [number]\n"
    named = where + "        body: https://schemas.saphan.la/province/1\n"
    library = Library("sqlite", f"sqlite:///{tmp_path}/nothing.db", None)
    adapter = library.adapter(mapping=MAPPING.replace(where, named, 1))
    answer = await send(adapter, "POST", "/books", {"category": "no category"})
    assert answer.status == 422
    assert content(answer)["where"].startswith("body")
    await adapter.close()
    missing = MAPPING.replace(where, named.replace("province/1", "nothing/1"), 1)
    with pytest.raises(Problem, match="there is no shared schema") as caught:
        library.adapter(mapping=missing)
    assert caught.value.code is Code.INVALID_MAPPING
