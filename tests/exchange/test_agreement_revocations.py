"""Rules of exchange.agreements.revocation and of versions that follow each other."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey

from certs.issue import Issued, private_key_pem
from exchange.agreements import (
    Agreement,
    in_force,
    open_revocation,
    parse_agreement,
    parse_revocation,
    revocation_of,
    revoked_by,
    seal_agreement,
    seal_revocation,
)
from exchange.identifiers import MemberId
from exchange.keys import SigningKey, signing_key
from exchange.problems import Code, Problem, Text
from tests.certs.pki import AT, MOF, MPI, days, seal
from tests.exchange.test_agreements import DOCUMENT, ROOMY

AGREEMENT = parse_agreement(json.dumps(DOCUMENT).encode())
REVOCATION = revocation_of(AGREEMENT, AT, Text("The project ended", "ໂຄງການສິ້ນສຸດແລ້ວ"))


def sealed_by(member: MemberId) -> bytes:
    issued = seal(member)
    return seal_revocation(REVOCATION, key_of(issued), issued.certificate)


def key_of(issued: Issued) -> SigningKey:
    assert issued.private_key is not None
    return signing_key(issued.private_key, issued.certificate)


@pytest.mark.parametrize("party", [MPI, MOF])
def test_either_party_revokes_alone(party: MemberId) -> None:
    """What was sealed is read back, with who sealed it; and it ends that agreement."""
    revocation, signer = open_revocation(sealed_by(party))
    assert (revocation, signer) == (REVOCATION, party)
    assert revocation.ends(AGREEMENT)


def test_nobody_else_does() -> None:
    """The seal of a third member is refused when it is made, and when it is read."""
    stranger = MemberId("LA", "GOV", "MOH")
    with pytest.raises(Problem) as refused:
        sealed_by(stranger)
    assert refused.value.code is Code.AGREEMENT_INVALID
    document = json.loads(sealed_by(MPI))
    text = json.loads(_decode(document["payload"])) | {"provider": "LA/GOV/MOH"}
    for changed in (text, text | {"consumer": "LA/GOV/MOIC/portal"}):
        document["payload"] = _encode(json.dumps(changed, sort_keys=True).encode())
        with pytest.raises(Problem) as refused:
            open_revocation(json.dumps(document).encode())
        assert refused.value.code is Code.AGREEMENT_INVALID


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("version", 2),
        ("version", 0),
        ("agreement", "another"),
        ("agreement", "Not A Name"),
        ("revoked_at", "2026-01-01"),
        ("reason", {"en": "x"}),
        ("more", 1),
    ],
)
def test_every_byte_is_sealed(member: str, value: Any) -> None:
    """A member that was changed, or added, breaks the seal or the form."""
    document = json.loads(sealed_by(MOF))
    payload = json.loads(_decode(document["payload"])) | {member: value}
    document["payload"] = _encode(
        json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    with pytest.raises(Problem) as refused:
        open_revocation(json.dumps(document).encode())
    assert refused.value.code is Code.AGREEMENT_INVALID


def test_a_seal_of_an_agreement_is_no_revocation() -> None:
    """The type in the signed header keeps the two apart."""
    issued = seal(MPI)
    agreement = seal_agreement(json.dumps(DOCUMENT).encode(), key_of(issued), issued.certificate)
    with pytest.raises(Problem) as refused:
        open_revocation(agreement)
    assert "saphan-agreement-revocation+jws" in refused.value.detail


def test_another_library_verifies_it() -> None:
    """It is a JWS of RFC 7515."""
    issued = seal(MPI)
    assert issued.private_key is not None
    sealed = seal_revocation(REVOCATION, key_of(issued), issued.certificate)
    key = ECKey.import_key(private_key_pem(issued.private_key))
    found = joserfc_jws.deserialize_json(json.loads(sealed), key, registry=ROOMY)
    assert parse_revocation(found.payload) == REVOCATION


def test_it_ends_versions_up_to_its_own() -> None:
    """A later version, which both must seal again, is not revoked; other parties' never are."""
    revocation = replace(REVOCATION, version=2)
    ends = [revocation.ends(replace(AGREEMENT, version=version)) for version in (1, 2, 3)]
    assert ends == [True, True, False]
    assert not revocation.ends(replace(AGREEMENT, id="another"))
    earlier = replace(revocation, revoked_at=AT - timedelta(days=1))
    assert revoked_by(AGREEMENT, [revocation, earlier]) == earlier
    assert revoked_by(replace(AGREEMENT, version=3), [revocation]) is None


def version(number: int, begins: int, ends: int) -> Agreement:
    return replace(
        AGREEMENT, version=number, valid_from=AT + days(begins), valid_until=AT + days(ends)
    )


def test_a_higher_version_stands_in_the_place_of_lower_ones() -> None:
    """From its beginning on, whatever order they are found in; until then the lower one holds."""
    versions = [version(1, 0, 300), version(2, 100, 400), version(3, 50, 60)]
    for order in permutations(versions):
        found = {one.version: one for one in in_force(order)}
        assert found.keys() == {1, 3}
        assert (found[1].valid_until, found[3].valid_until) == (AT + days(50), AT + days(60))
    apart = [version(1, 0, 300), replace(version(2, 100, 400), id="another")]
    assert in_force(apart) == tuple(apart)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=6))
def test_at_no_time_do_two_versions_hold(periods: list[tuple[int, int]]) -> None:
    """And at each time the one that holds is the highest that has begun, if it has not ended."""
    versions = [
        version(number, begins, begins + length)
        for number, (begins, length) in enumerate(periods, start=1)
    ]
    for day in range(20):
        at = AT + days(day)
        holding = [
            one.version for one in in_force(versions) if one.valid_from <= at < one.valid_until
        ]
        begun = [one for one in versions if one.valid_from <= at]
        expected = max(begun, key=lambda one: one.version, default=None)
        assert holding == ([expected.version] if expected and at < expected.valid_until else [])


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
