"""Names of people and organisations: what is called alike, and by what steps."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.text.names import LONGEST_NAME, MOST_KEYS, SAME, Match, keys, match
from adapters.text.sounds import of_lao, of_latin

PAIRS = list(csv.DictReader((Path(__file__).parent / "names.csv").read_text("utf-8").splitlines()))
ANY_NAME = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from([*map(chr, range(0x0E81, 0x0EDE)), " ", "\u200b"]), max_size=30),
    st.text(st.sampled_from("abdeghiklmnoprstuvwxyzé .-"), max_size=30),
    st.sampled_from([pair[side] for pair in PAIRS for side in "ab"]),
)


def quality(part: str) -> tuple[float, float]:
    """Precision and recall at :data:`SAME` over the labelled pairs of a part."""
    found = [
        (match(pair["a"], pair["b"]).score >= SAME, pair["same"] == "1")
        for pair in PAIRS
        if pair["part"] == part
    ]
    right = sum(called and same for called, same in found)
    return right / sum(called for called, _ in found), right / sum(same for _, same in found)


def test_the_labelled_pairs_are_judged_well() -> None:
    """The rules were made with the part ``dev`` in view; ``held`` was written before they were
    tried on it, and they were not changed for what it showed."""
    precision, recall = quality("dev")
    assert precision >= 0.97
    assert recall >= 0.97
    precision, recall = quality("held")
    assert precision >= 0.92
    assert recall >= 0.9


def test_syllables_sound_as_the_ministry_of_health_writes_them() -> None:
    """Every twelfth syllable of the romanisation of 2020 of the Ministry of Health, from WHO Lao
    PDR's converter (github.com/vijaventure/lao-converter, js/data.js, 2020-01-13): the sounds of
    the Lao script are those of the Latin spelling."""
    table = (Path(__file__).parent / "moh2020.csv").read_text("utf-8").splitlines()
    rows = list(csv.DictReader(table))
    same = sum(of_lao(row["lao"]) == of_latin(row["roman"]) for row in rows)
    alike = sum(match(row["lao"], row["roman"]).score >= SAME for row in rows)
    assert len(rows) > 300
    assert same >= 0.94 * len(rows)
    assert alike >= 0.97 * len(rows)


def test_names_that_match_share_a_key() -> None:
    """A look-up by keys finds at least 95 in 100 of the pairs that are the same, and leaves out
    most of the others."""
    shared = {
        same: [
            bool(set(keys(pair["a"])) & set(keys(pair["b"])))
            for pair in PAIRS
            if pair["same"] == same
        ]
        for same in "01"
    }
    assert sum(shared["1"]) >= 0.95 * len(shared["1"])
    everybody = {key for pair in PAIRS for key in keys(pair["a"])}
    assert len(everybody) > len(PAIRS) / 2


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ນ\u0ecd\u0ec9\u0eb2", "ນ້ຳ"),
        ("ທ່ານສົມພອນ ວົງສາ", "ສົມພອນວົງສາ"),
        ("VONGSA Somphone", "vongsa  somphone"),
        ("ດຣ. ຫມານ", "ໝານ"),
        ("ບໍລິສັດ ລ້ານຊ້າງ ຈໍາກັດ", "ລ້ານ\u200bຊ້າງ"),
        ("Mrs. O'Neal", "ONEAL"),
    ],
)
def test_the_same_letters_are_one(a: str, b: str) -> None:
    """Titles, legal forms, spaces, case, marks and punctuation do not count: the score is 1."""
    assert match(a, b).score == 1


def test_the_steps_are_told() -> None:
    """A score comes with what was left out, what was compared, and how it sounds."""
    assert match("ທ້າວ ສົມພອນ", "Somphon") == Match(
        0.99,
        (
            "left out: ທ້າວ",
            "one is in Lao script, the other in Latin letters",
            "sounds the same: somPon",
        ),
    )
    assert "the words stand in another order" in match("Vongsa Khamla", "Khamlah Wongsa").reasons
    assert match("Khamla Vongsa", "Khamla").reasons[0] == "1 of 2 words"
    assert match("ທ້າວ", "").reasons[-1] == "a name has no letters"


@given(ANY_NAME, ANY_NAME)
def test_matching_is_symmetric(a: str, b: str) -> None:
    """Whatever is compared, the score does not depend on which comes first, and is in range."""
    score = match(a, b).score
    assert score == match(b, a).score
    assert 0 <= score <= 1


@given(ANY_NAME)
def test_a_name_matches_itself(name: str) -> None:
    """1 for itself when it has a letter, and the same keys; else nothing at all."""
    score = match(name, name).score
    assert score == (1 if any(map(str.isalnum, name)) and keys(name) else score)
    assert score in (0, 1)
    assert len(keys(name)) <= MOST_KEYS
    assert all(0 < len(key) <= 4 for key in keys(name))


@pytest.mark.parametrize("unit", ["a", "ກ", "ຳ", "ng", "ນາງ", "na ", "ß", "oua", "\u0ec8"])
def test_long_input_is_cut(unit: str) -> None:
    """A name longer than the bound is compared by its beginning, and is 1 with nothing: what
    follows may differ. A hundred thousand signs cost no more than the bound."""
    long = unit * 100_000
    assert match(long, long + "x").score < 1
    assert match(long[:LONGEST_NAME], long[:LONGEST_NAME]).score in (0, 1)
    assert len(keys(long)) <= MOST_KEYS


@pytest.mark.parametrize(
    ("lao", "spellings", "sounds"),
    [
        ("ພົມມະຈັນ", "phommachanh phommachan phomachan", "Pomacan"),
        ("ດວງຈັນ", "douangchanh duangchan", "dWgcan"),
        ("ໄຊຍະວົງ", "xayavong sayavong xaiyavong", "sAyavog"),
        ("ເມືອງ", "muang meuang", "mWg"),
        ("ຊຽງ", "xieng siang", "sIg"),
        ("ຫຼວງ", "luang louang", "lWg"),
        ("ແກ້ວ", "keo kèo kaew", "keo"),
        ("ນ້ອຍ", "noy noi", "noi"),
        ("ເບຍ", "bia", "bI"),
        ("ຄຳເພົາ", "khamphao", "KamPO"),
        ("ສະຫວັນ", "savanh sawan", "savan"),
    ],
)
def test_script_and_spellings_sound_alike(lao: str, spellings: str, sounds: str) -> None:
    """Lao script, French and English spelling of one word come to the same sounds."""
    assert of_lao(lao) == sounds
    assert {of_latin(spelling) for spelling in spellings.split()} == {sounds}


PLACES = list(
    csv.DictReader((Path(__file__).parent / "places.csv").read_text("utf-8").splitlines())
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place['latin']}")
def test_a_place_is_found_before_all_others(place: dict[str, str]) -> None:
    """Provinces, districts, towns and ministries, as BGN/PCGN writes them (1966 and today), as
    signs and maps do, and as the French did: of all places the right one is first, alone, and like
    enough; and it is looked up by a key that it shares."""
    asked, right = place["latin"], place["lao"]
    ranked = sorted(
        ((match(asked, other).score, other) for other in {one["lao"] for one in PLACES}),
        reverse=True,
    )
    assert ranked[0][1] == right
    assert ranked[0][0] > ranked[1][0]
    assert ranked[0][0] >= SAME
    assert not set(keys(asked)).isdisjoint(keys(right))


def test_what_a_place_is_tells_two_of_one_name_apart() -> None:
    """The capital is not the province of its name, and neither is the other's best match."""
    assert match("Vientiane Capital", "ແຂວງວຽງຈັນ").score < SAME
    assert match("Vientiane Province", "ນະຄອນຫຼວງວຽງຈັນ").score < SAME
    assert match("ນະຄອນຫລວງ ວຽງຈັນ", "ນະຄອນຫຼວງວຽງຈັນ").score >= SAME
