"""People sign in with tokens of an issuer: a real one, over HTTP, with real keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from exchange.problems import Code, Problem
from registry.actors.roles import Right
from registry.actors.sign_in import SignIn, SignInSettings, read_caller
from tests.instance.issuer import AUDIENCE, Issuer, running_issuer
from tests.registry.simulator import MPI

SETTINGS = SignInSettings("https://issuer.example", AUDIENCE, "saphan_right", "saphan_member", "s")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as found:
        yield found


async def test_a_token_of_the_issuer_tells_who_comes(issuer: Issuer) -> None:
    """Right and member from its claims, a name that stays the same from its subject."""
    sign_in = SignIn(SignInSettings(issuer.url, AUDIENCE))
    claims = {"saphan_right": ["member-administrator", "else"], "saphan_member": "LA/GOV/MPI"}
    caller = await sign_in.caller(issuer.token(sub="7f3", **claims))
    assert (caller.id, caller.right, caller.member) == ("oidc:7f3", Right.ADMINISTRATOR, MPI)


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://other.example"}, {"aud": "another"}, {"exp": 1}, {"exp": None}],
    ids=str,
)
async def test_a_token_that_is_not_for_us_is_refused(
    issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Another issuer, another audience, expired, without an end: 401."""
    sign_in = SignIn(SignInSettings(issuer.url, AUDIENCE))
    with pytest.raises(Problem) as caught:
        await sign_in.caller(issuer.token(saphan_right="operator", **claims))
    assert (caught.value.code, caught.value.status) == (Code.NOT_AUTHORISED, 401)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"saphan_right": "root"},
        {"saphan_right": ["operator", "auditor"]},
        {"saphan_right": {"operator": True}},
        {"saphan_right": "member-administrator"},
        {"saphan_right": "member-administrator", "saphan_member": "LA/GOV"},
        {"saphan_right": "operator", "saphan_member": "LA/GOV/MPI"},
    ],
    ids=str,
)
def test_claims_that_give_no_right_alone_give_none(claims: dict[str, Any]) -> None:
    """None, an unknown one, two, another type, a member's right without member, the reverse."""
    with pytest.raises(Problem) as caught:
        read_caller("somebody", claims, SETTINGS)
    assert (caught.value.code, caught.value.status) == (Code.NOT_AUTHORISED, 403)


def test_a_service_owner_brings_its_services() -> None:
    """The list of what is its own."""
    claims = {"saphan_right": "service-owner", "saphan_member": "LA/GOV/MPI", "s": ["LA/GOV/MPI/a"]}
    assert read_caller("x", claims, SETTINGS).scope == {"LA/GOV/MPI/a"}
