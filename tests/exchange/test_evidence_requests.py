"""The ground of an evidence request, and the reasons for what is missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.once_only.evidence_requests import (
    MAX_BASIS,
    REASONS,
    Explicit,
    Reason,
    Statutory,
    format_basis,
    parse_basis,
    reason_of,
)
from exchange.problems import Code, Problem

REFERENCE = st.from_regex(r"[ !#-\[\]-~]{1,120}", fullmatch=True)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1)), REFERENCE)
def test_a_persons_request_is_written_as_it_is_read(at: datetime, reference: str) -> None:
    """format and parse are inverse, to the second."""
    basis = Explicit(at.replace(microsecond=0, tzinfo=UTC), reference)
    assert parse_basis(format_basis(basis, "request")) == basis


@given(st.text(min_size=1, max_size=60).filter(str.isprintable))
def test_a_law_is_written_as_it_is_read(law: str) -> None:
    """Lao too, and what RFC 9651 escapes: a header field is visible ASCII."""
    text = format_basis(Statutory(law), "request")
    assert text.isascii()
    assert text.isprintable()
    assert parse_basis(text) == Statutory(law)


@pytest.mark.parametrize(
    "text",
    [
        "explicit",
        "explicit;at=1763800000;ref=\"a\"",
        "explicit;at=@01;ref=\"a\"",
        "explicit;at=@253402300800;ref=\"a\"",
        "explicit;at=@999999999999;ref=\"a\"",
        "explicit;at=@1;ref=\"\"",
        "explicit;at=@1;ref=\"a\\\"b\"",
        "explicit; at=@1; ref=\"a\"",
        "statutory;law=\"plain\"",
        "statutory;law=%\"%E0\"",
        "statutory;law=%\"%61\"",
        "statutory;law=%\"%ff\"",
        "statutory;law=%\"%0a\"",
        "statutory;law=%\"a\";more=1",
        "statutory;law=%\"" + "a" * MAX_BASIS + "\"",
    ],
)  # fmt: skip
def test_only_what_prints_back_identically_is_read(text: str) -> None:
    """One spelling, so that two readers never differ."""
    with pytest.raises(Problem) as caught:
        parse_basis(text)
    assert caught.value.code is Code.INVALID_HEADER


def test_every_reason_is_explained_in_both_languages() -> None:
    """Whole sentences, in Lao script."""
    assert set(REASONS) == set(Reason)
    for text in REASONS.values():
        assert text.en.endswith(".")
        assert sum("\u0e80" <= character <= "\u0eff" for character in text.lo) > 15


@pytest.mark.parametrize("code", list(Code))
def test_a_problem_is_a_reason(code: Code) -> None:
    """What agreements refuse is not allowed; a fault of the source or the way is no verdict."""
    reason = reason_of(code)
    assert (reason is Reason.NOT_ALLOWED) is (
        code.value.startswith("Agreement")
        or code
        in {
            Code.ACCESS_DENIED,
            Code.PURPOSE_NOT_ALLOWED,
            Code.SUBJECT_MISSING,
            Code.REQUEST_BASIS_MISSING,
            Code.FIELD_NOT_RELEASED,
        }
    )
    assert reason not in (Reason.AMBIGUOUS, Reason.DECLINED)
