"""Subjects: one way to write them, one normal form, and tags that say nothing without the key."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.journal import subjects
from exchange.problems import Code, Problem


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("la-nid:0123456789", "la-nid:0123456789"),
        ("passport:PA123", "passport:pa123"),
        ("passport:p-1/2:3", "passport:p-1/2:3"),
        ("name:%E0%BA%AA", "name:ສ"),
        ("name:Stra%C3%9Fe", "name:strasse"),
        ("name:%EF%BC%91", "name:1"),
        ("parcel:a%20b", "parcel:a b"),
    ],
)
def test_a_subject_has_one_normal_form(text: str, normal: str) -> None:
    """Decoded, NFKC and without case; what separates digits stays."""
    assert subjects.normal_subject(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        ":a",
        "a",
        "A:1",
        "-a:1",
        "a-:1",
        "a_b:1",
        "a:b c",
        "a:é",
        "a:%e0",
        "a:%",
        "a:%F",
        *("a:%FF", "a:%00", "a:%0A1", "a:%C2%AD", f"{'a' * 64}:1", f"a:{'1' * 199}", "a:1\n"),
    ],
)
def test_another_spelling_is_refused_without_being_repeated(text: str) -> None:
    """The refusal is recorded and shown, so it does not say whom it was about."""
    with pytest.raises(Problem) as caught:
        subjects.normal_subject(text)
    assert caught.value.code is Code.INVALID_HEADER
    assert caught.value.detail == subjects.GRAMMAR


@given(st.from_regex(r"[a-z]{1,9}:[!-$&-~]{1,80}", fullmatch=True))
def test_normal_forms_of_ascii_are_their_own(text: str) -> None:
    """Whatever is written without percent signs is only lowered, and doing it again changes
    nothing."""
    normal = subjects.normal_subject(text)
    assert normal == text.lower()
    assert subjects.normal_subject(normal) == normal


def test_a_tag_is_the_hmac_by_hand() -> None:
    """The first 16 bytes of HMAC-SHA-256 over the normal form, in hex."""
    key = bytes(range(32))
    expected = hmac.new(key, b"la-nid:0123", sha256).hexdigest()[:32]
    assert subjects.tag(key, "la-nid:0123") == expected
    assert subjects.tag(bytes(32), "la-nid:0123") != expected
