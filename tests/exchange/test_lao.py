"""Lao text in one form: exchange/lao.py."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import lao
from exchange.lao import Change, Rule, normalise

LAO_AND_MORE = st.text(
    st.sampled_from(
        [*map(chr, range(0x0E80, 0x0EE0)), *"\u200b\u200c\u200d\u2060\ufeff\u00ad\u00a0 aé1"]
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ນ\u0ecd\u0ec9\u0eb2", "ນ້ຳ"),
        ("ນ\u0ec9\u0ecd\u0eb2", "ນ້ຳ"),
        ("ນ\u0ecd\u0eb2\u0ec9", "ນ້ຳ"),
        ("ນ\u0eb3\u0ec9", "ນ້ຳ"),
        ("ບ\u0ec8\u0ecd", "ບໍ່"),
        ("ຫ\u0ec8\u0ebcງ", "ຫຼ່ງ"),
        ("ທ\u0ec9\u0ec9າວ", "ທ້າວ"),
        ("ເເກ້ວ", "ແກ້ວ"),
        ("ຫນອງ ຫມູ່ ເຫນືອ ໄຫມ", "ໜອງ ໝູ່ ເໜືອ ໄໝ"),
        ("ສະ\u200bບາຍ\u200bດີ", "ສະບາຍດີ"),
        ("ຫ\u200b\u0ebc\u200c\u0ec8ງ", "ຫຼ່ງ"),
        ("ສປປ\u00a0ລາວ", "ສປປ ລາວ"),
    ],
)
def test_the_same_word_is_the_same_string(typed: str, meant: str) -> None:
    """AM in two signs or before the tone, marks in any order or twice, two signs for ແ, ligatures,
    invisible characters and hard spaces: one form."""
    assert normalise(typed).text == meant


@pytest.mark.parametrize("text", ["ແຫນ", "ໂຫມ", "ເຫນ"])
def test_what_may_be_two_sounds_stays(text: str) -> None:
    """ນ after ຫ may close a syllable that begins with ເ ແ ໂ: no ligature is made up."""
    assert normalise(text).text == text


def test_the_report_names_places_in_the_original() -> None:
    """Each change tells where in the text as it was given, by what rule, from what to what."""
    text = "1\u00a0000 ກີບ ຂອງ\u200bທ\u0ec9\u0ec9າວ ຄ\u0ecd\u0eb2"
    done = normalise(text)
    assert done.text == "1\u00a0000 ກີບ ຂອງທ້າວ ຄຳ"
    assert done.changes == (
        Change(13, Rule.INVISIBLE, "\u200b", ""),
        Change(15, Rule.MARKS, "\u0ec9\u0ec9", "\u0ec9"),
        Change(21, Rule.AM, "\u0ecd\u0eb2", "\u0eb3"),
    )
    for change in done.changes:
        assert text[change.position :].startswith(change.before)


def test_digits_and_breaks_are_the_callers_choice() -> None:
    """Lao digits stay unless asked; zero-width spaces between words stay when asked, but never
    between a consonant and its mark."""
    assert normalise("ປີ ໒໐໒໖").text == "ປີ ໒໐໒໖"
    assert normalise("ປີ ໒໐໒໖", digits=True).text == "ປີ 2026"
    assert normalise("ສະ\u200bບາຍ\u200b\u0ec9", keep_breaks=True).text == "ສະ\u200bບາຍ\u0ec9"


@pytest.mark.parametrize("text", ["", "plain", "Phường Đống Đa", "สวัสดีน้ำ", "e\u0301", "a\u200bb"])
def test_other_scripts_are_left_alone(text: str) -> None:
    """Nothing that is not Lao or beside it changes."""
    assert normalise(text) == lao.Normalised(text, ())


@given(LAO_AND_MORE, st.booleans(), st.booleans())
def test_normalising_twice_is_normalising_once(text: str, digits: bool, keep: bool) -> None:
    """Idempotent, whatever the text; and text in NFC stays in NFC."""
    once = normalise(text, digits=digits, keep_breaks=keep)
    again = normalise(once.text, digits=digits, keep_breaks=keep)
    assert again == lao.Normalised(once.text, ())
    if unicodedata.is_normalized("NFC", text):
        assert unicodedata.is_normalized("NFC", once.text)


@given(LAO_AND_MORE)
def test_no_report_means_no_change(text: str) -> None:
    """The text differs exactly when something is reported."""
    done = normalise(text)
    assert (done.text == text) == (not done.changes)


@given(LAO_AND_MORE)
def test_equal_texts_fold_alike(text: str) -> None:
    """Folding is idempotent, and does not tell the one form from the original."""
    assert lao.folded(lao.folded(text)) == lao.folded(text)
    assert lao.folded(normalise(text).text) == lao.folded(text)
    assert lao.ordered(lao.ordered(text)) == lao.ordered(text)


def test_the_tables_agree_with_the_character_database() -> None:
    """Every combining mark of the block has a place in the order, and AM, ໜ and ໝ are what their
    compatibility decompositions say."""
    marks = {chr(n) for n in range(0x0E80, 0x0EFF) if unicodedata.category(chr(n)) == "Mn"}
    assert marks - {"\u0ece"} == set(lao._CLASSES) - {"\u0ece"}
    assert unicodedata.normalize("NFKC", "\u0eb3") == "\u0ecd\u0eb2"
    assert unicodedata.normalize("NFKC", "ໜໝ") == "ຫນຫມ"


@pytest.mark.parametrize("sign", ["\u200b", "\u00a0", "\u0ec8", "\u0ecd", "ເ", "ຫ", "\u0eb3", "໑"])
@pytest.mark.parametrize("end", ["", "ກ"])
def test_long_runs_are_no_trap(sign: str, end: str) -> None:
    """A run of any sign takes time in proportion: 60,000 of them are done in a moment, where a
    pattern that begins anew at each sign would not come to an end."""
    text = f"a{sign * 60_000}{end}"
    assert len(normalise(text, digits=True).text) <= len(text)
    assert len(normalise(text, keep_breaks=True).text) <= len(text)
    assert lao.folded(text)
