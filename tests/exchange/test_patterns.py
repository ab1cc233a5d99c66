"""Rules of exchange.patterns: the part of ECMA-262 that engines read alike."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exchange.contracts.patterns import MAX_LENGTH, for_python
from exchange.contracts.patterns import size as written_out

REFUSED = [
    "(?=a)b", "(?!a)b", "(?<=a)b", r"(a)\1", r"\bກ", r"\B", r"\p{L}", r"\pL", "(?i)a", "(?P<n>a)",
    "(?<n>a)", r"\Z", r"\A", r"\Q", r"\1", r"\0", r"\cA", "[a&&b]", "[a--b]", "[a~~b]", "[a||b]",
    "[[:alpha:]]", "[a[b]]", "[]", "[]a]", "[^]", "[a-", "a**", "a++", "a{2}{3}", "a{,3}", "a{3,2}",
    "*a", "^*", "(*a)", "a|*", "a{", "a}", "a{x}", "(", ")", "(?:", r"a\ ", "\\", r"[\d-z]",
    r"[a-\d]", r"[\D]", r"[z-a]", r"\u12", r"\x1", "#" * (MAX_LENGTH + 1), "a???", r"\-{5}{6}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_refused(pattern: str) -> None:
    """Whatever one engine cannot do, does slowly or reads in its own way."""
    with pytest.raises(ValueError, match=r"pattern|class|expression|range"):
        for_python(pattern)


MEANINGS = [
    ("^a$", "a\n", False), (r"^\d$", "໑", False), (r"^\w$", "ກ", False), (r"^\w$", "_", True),
    (r"^\s$", "\u00a0", True), (r"^\s$", "\ufeff", True), (r"^\s$", "\u0085", False),
    (r"^\S$", "ກ", True), (r"^[\d.]+$", "1.2", True), (r"^[\w-]+$", "a-b", True),
    (r"^[-\w]+$", "a-b", True), ("^.$", "😀", True), ("^.$", "\n", False), (r"^\u0e81$", "ກ", True),
    ("^[ກ-ຮ]$", "ຄ", True), (r"^[^\s/]+$", "a/b", False), (r"^\x41$", "A", True),
    ("^a{2}$", "aa", True), ("^$", "", True),
    (r"^\/\-\.$", "/-.", True), ("a", "bab", True), ("^(?:a|b)?$", "", True),
    ("(a|b)+?$", "ab", True),
    (r"^[\]\\]$", "]", True), ("^[a^]$", "^", True), (r"^\W$", "ກ", True), ("^#$", "#", True),
    ("^[$]$", "$", True), (" ", "a b", True), (r"\$", "a", False), ("", "anything", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text", "found"), MEANINGS)
def test_meaning(pattern: str, text: str, found: bool) -> None:
    """ECMA-262's meaning, in Python's engine and in that of the message path."""
    assert bool(re.search(for_python(pattern), text)) is found
    assert rust(pattern).is_valid(text) is found


def rust(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
    )


PIECES = st.sampled_from(
    ["a", "b", "ກ", "^", "$", ".", r"\d", r"\w", r"\s", r"\S", r"\W", "[ab]", "[^a]", r"[\d_]",
     "[a-c-]", r"[\s\w]", "(", "(?:", ")", "|", "?", "*", "+", "{1,2}", "??", r"\u0e81", r"\-", "-",
     "]", "&", "#", " ", "[ກ-ຂ]", "{", "[", "\\", "~", r"[\-a]", "[-a]", "[^^]"]
)  # fmt: skip
SUBJECTS = st.text("abcກຂ1໑ \n\t\u00a0\u2028-_]&#^~", max_size=5)


@settings(max_examples=400, deadline=None, database=None)
@given(pattern=st.lists(PIECES, max_size=6).map("".join), texts=st.lists(SUBJECTS, max_size=5))
def test_what_is_accepted_means_the_same(pattern: str, texts: list[str]) -> None:
    """A pattern that passes is compiled by the other engine and finds the same."""
    try:
        spelling = for_python(pattern)
    except ValueError:
        assume(False)
    validator = rust(pattern)
    for text in texts:
        assert bool(re.search(spelling, text)) == validator.is_valid(text)


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        (r"^\d{13}$", 15),
        ("a{2,5}b*", 6),
        ("(?:ab){3}", 6),
        ("(?:(?:a{10}){10}|b){10}", 1020),
        ("[a-z]{1,1000}", 1000),
        (r"\(a\){3}", 5),
    ],
)
def test_the_size_is_that_of_the_pattern_written_out(pattern: str, size: int) -> None:
    """Repetitions count as often as they may come, groups as a whole."""
    assert written_out(pattern) == size
