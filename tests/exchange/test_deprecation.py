"""Rules of deprecation: what documents say of an end, and how callers hear of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from exchange.contracts.deprecation import parse_deprecation, read_deprecations
from exchange.problems import Problem

REASON = {"en": "Replaced", "lo": "ຖືກແທນແລ້ວ"}
MARK: dict[str, Any] = {"since": "2026-01-01", "until": "2027-06-30", "reason": REASON}


def test_the_fields_are_those_of_the_standards() -> None:
    """A Date of RFC 9651 and an HTTP-date of RFC 9110; no Sunset without an end."""
    found = parse_deprecation(MARK, "x", "")
    assert found.fields() == (
        ("deprecation", "@1767225600"),
        ("sunset", "Wed, 30 Jun 2027 00:00:00 GMT"),
    )
    endless = {key: value for key, value in MARK.items() if key != "until"}
    assert parse_deprecation(endless, "x", "").fields() == (("deprecation", "@1767225600"),)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"since": "2026-1-1"}, "/since"),
        ({"since": "2026-02-30"}, "/since"),
        ({"until": "2026-01-01"}, ""),
        ({"reason": {"en": "x"}}, "/reason"),
        ({"more": 1}, ""),
    ],
)
def test_what_is_wrong_is_told_at_its_place(change: dict[str, Any], pointer: str) -> None:
    """Dates are dates, the end is after the beginning, the reason is in both languages."""
    with pytest.raises(Problem) as caught:
        parse_deprecation(MARK | change, "x", "/m")
    assert caught.value.where == f"x#/m{pointer}"


def test_a_whole_service_may_be_deprecated() -> None:
    """What info says holds for every operation that says nothing of its own."""
    own = MARK | {"since": "2025-01-01"}
    operations = {"get": {}, "post": {"x-saphan-deprecated": own}}
    document = {"info": {"x-saphan-deprecated": MARK}, "paths": {"/x": operations}}
    found = read_deprecations(orjson.dumps(document))
    assert {key: one.since.year for key, one in found.items()} == {
        ("GET", "/x"): 2026,
        ("POST", "/x"): 2025,
    }
