"""Rules of exchange.digest (RFC 9530)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_messages import outcome

from exchange.messages.digest import (
    check_content_digest,
    content_digest,
    format_content_digest,
    parse_content_digest,
)
from exchange.problems import Code, Problem

BODY = b'{"hello": "world"}'
GOOD = content_digest(BODY)
VALUE = GOOD.removeprefix("sha-256=:").removesuffix(":")


def test_rfc_9530_example() -> None:
    """RFC 9530 Appendix D.1 gives the SHA-256 of this content, with its final line break."""
    assert content_digest(BODY + b"\n") == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def test_no_body_has_the_digest_of_the_empty_string() -> None:
    """An absent body is signed as an empty one."""
    assert content_digest(b"") == f"sha-256=:{b64encode(sha256(b'').digest()).decode()}:"


@given(st.binary(max_size=200))
def test_format_and_parse_are_a_pair(body: bytes) -> None:
    """What is written is read back, and fits the body it was made of."""
    digest = sha256(body).digest()
    assert content_digest(body) == format_content_digest(digest)
    assert parse_content_digest(content_digest(body)) == digest
    check_content_digest(content_digest(body), digest)


def test_another_body_is_a_mismatch() -> None:
    """A well-formed digest of another body is DigestMismatch, and no digest is repeated."""
    with pytest.raises(Problem) as caught:
        check_content_digest(GOOD, sha256(b"other").digest())
    assert caught.value.code is Code.DIGEST_MISMATCH
    assert VALUE not in f"{caught.value} {caught.value.facts}"


@pytest.mark.parametrize(
    "field",
    [
        "",
        "sha-256",
        f"sha-256={VALUE}",
        f"sha-256=:{VALUE[:-1]}:",
        f"sha-256=:{VALUE[:-2]}==:",
        f"sha-256=:{VALUE[:-2]}B=:",
        f" {GOOD}",
        f"{GOOD} ",
        f"SHA-256=:{VALUE}:",
        f"sha-256=:{VALUE}:;q=1",
        f"sha-256=:{VALUE.replace(VALUE[0], '-', 1)}:",
        f"{GOOD}, {GOOD}",
        f"{GOOD}, sha-512=:{b64encode(sha512(BODY).digest()).decode()}:",
        f"sha-512=:{b64encode(sha512(BODY).digest()).decode()}:",
        "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:",
        f"sha-256=:{VALUE[:-1]}\xe9:",
    ],
)
def test_only_one_spelling_is_accepted(field: str) -> None:
    """Another algorithm, a second member, or base64 written otherwise is malformed."""
    with pytest.raises(Problem) as caught:
        check_content_digest(field, sha256(BODY).digest())
    assert caught.value.code is Code.MALFORMED_SIGNATURE
    assert caught.value.where == "content-digest"


@given(st.text(max_size=80))
def test_no_field_breaks_the_parser(field: str) -> None:
    """Whatever the text, the answer is 32 bytes or a Problem."""
    parsed = outcome(lambda: parse_content_digest(field))
    if isinstance(parsed, Problem):
        assert parsed.code is Code.MALFORMED_SIGNATURE
    else:
        assert format_content_digest(parsed) == field
