"""Rules of the directory's search: parts of words, Lao however it is typed, the best first."""

from __future__ import annotations

import pytest

from exchange.lao import folded
from exchange.problems import Text
from registry.directory.search import Entry, Kind, SearchIndex

PROJECTS = Entry(
    Kind.SERVICE, "LA/GOV/MPI/oda-mis/projects", Text("Aid projects", "ໂຄງການຊ່ວຍເຫຼືອ"), "ກະຊວງແຜນການ"
)
WATER = Entry(Kind.SERVICE, "LA/GOV/MONRE/water/sources", Text("Water sources", "ແຫຼ່ງນ້ຳ"))
MINISTRY = Entry(Kind.MEMBER, "LA/GOV/MPI", Text("Ministry of Planning", "ກະຊວງແຜນການ ແລະ ການລົງທຶນ"))


def found(query: str, *kinds: Kind) -> list[str]:
    index = SearchIndex()
    index.put("a", [PROJECTS, WATER])
    index.put("b", [MINISTRY])
    return [one.id for one in index.search(query, frozenset(kinds or Kind), 0, 10)[0]]


@pytest.mark.parametrize(
    "query",
    ["ໂຄງການ", "ຄງການຊ່ວຍ", "ຊ່ວຍເຫຼືອ", "PROJ", "oda-mis/proj", "aid ຊ່ວຍ"],
)
def test_a_part_of_a_word_finds_it(query: str) -> None:
    """Lao has no spaces between words; any part of id or title, in any case, finds the service."""
    assert PROJECTS.id in found(query)


@pytest.mark.parametrize(
    "typed",
    [
        "ນ້ຳ",
        "ນຳ້",
        "ນ\u0ec9\u0ecd\u0eb2",
        "ນ\u0ecd\u0ec9\u0eb2",
        "ແຫ\u200bຼ່ງ\u200bນ້ຳ",
        "ເເຫຼ່ງ",
        "ແຫ\u0ec8\u0ebcງ",
    ],
)
def test_lao_is_found_however_it_was_typed(typed: str) -> None:
    """AM in one sign or two, before or after the tone; marks in either order; zero-width spaces;
    two signs for one vowel: all the same word."""
    assert found(typed) == [WATER.id]


@pytest.mark.parametrize(
    "word", ["ແຫ\u0ebc\u0ec8ງນ\u0ec9\u0eb3", "ແຫ\u0ebc\u0ec8ງນ\u0ecd\u0ec9\u0eb2"]
)
def test_it_is_found_while_it_is_typed(word: str) -> None:
    """After each sign, with AM in one sign or two: ◌ໍ may be the beginning of AM."""
    for typed in range(1, len(word) + 1):
        assert WATER.id in found(word[:typed])


def test_a_vowel_o_is_still_a_vowel() -> None:
    """◌ໍ at the end of a word is looked for as itself, too."""
    index = SearchIndex()
    index.put("a", [Entry(Kind.SERVICE, "permit", Text("Requests", "ຄຳຂໍ")), PROJECTS])
    found, total = index.search("ຂໍ", frozenset(Kind), 0, 10)
    assert ([one.id for one in found], total) == (["permit"], 1)


@pytest.mark.parametrize("typed", ["ຊ່ວຍເຫລືອ", "ເຫ\u0ebcືອ", "ເຫລືອ"])
def test_a_cluster_of_two_spellings(typed: str) -> None:
    """ຫລ and ຫຼ: the older and the newer way to write the same."""
    assert found(typed) == [PROJECTS.id]


def test_ligatures_and_digits() -> None:
    """ໜ is ຫນ, ໝ is ຫມ, and ໒໐໒໕ is 2025."""
    assert folded("ໜອງ ໝູ່ ໒໐໒໕") == folded("ຫນອງ ຫມູ່ 2025")


def test_the_best_come_first() -> None:
    """What has the word at a beginning of its name is before what has it elsewhere; then members
    before services."""
    assert found("ກະຊວງ") == [MINISTRY.id, PROJECTS.id]
    assert found("la/gov/mpi") == [MINISTRY.id, PROJECTS.id]
    assert found("mpi", Kind.SERVICE) == [PROJECTS.id]


def test_every_word_must_be_there() -> None:
    """Further words narrow the search; an empty one finds all."""
    assert found("aid water") == []
    assert len(found(" ")) == 3


def test_pages_and_replacing() -> None:
    """Pages follow each other without gap; an owner's entries are replaced at once."""
    index = SearchIndex()
    index.put("a", [Entry(Kind.SERVICE, f"s{n:03}", Text("x", "ກ")) for n in range(25)])
    pages = [index.search("x", frozenset(Kind), start, 10) for start in (0, 10, 20)]
    assert [one.id for page, _ in pages for one in page] == [f"s{n:03}" for n in range(25)]
    assert {total for _, total in pages} == {25}
    index.put("a", [])
    assert index.search("x", frozenset(Kind), 0, 10) == ([], 0)
