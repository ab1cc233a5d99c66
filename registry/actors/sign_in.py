"""Sign-in with OpenID Connect: people come with tokens of an issuer instead of an API key.

The issuer says who somebody is; which right that gives, and of which member, stands in claims
whose names are settings. A token that claims no right, or several, gives none. Such a caller is
named ``oidc:`` and the subject, which stays the same, so that two approvals are two people's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.actors.roles import Caller, Right
from serving.issuers import ForeignIssuer
from serving.settings import setting
from serving.tokens import Verifier

API_KEY_PREFIX = "saphan-"
MAX_SCOPE = 64


@dataclass(frozen=True)
class SignInSettings:
    """Whose tokens the registry takes, and where in them rights stand."""

    issuer: str = setting("Address of an issuer by OpenID Connect Discovery, https.")
    audience: str = setting("What a token must be for: the name of this registry at the issuer.")
    right_claim: str = setting(
        "Claim that holds the right, as text or a list: operator, approver, member-administrator, "
        "service-owner, auditor, observer.",
        default="saphan_right",
    )
    member_claim: str = setting(
        "Claim that holds the member, such as LA/GOV/MOES.", default="saphan_member"
    )
    scope_claim: str = setting(
        "Claim with the list of a service owner's applications and services.",
        default="saphan_scope",
    )


class SignIn:
    """Tells who comes with a token."""

    def __init__(self, settings: SignInSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        issuer = ForeignIssuer(settings.issuer)
        self._verifier = Verifier(settings.issuer, settings.audience, issuer, strict=False, now=now)

    async def caller(self, token: str) -> Caller:
        """Who comes with this token.

        Raises:
            Problem: ``NotAuthorised``: 401 for a token that is not good, 403 for one that gives no
                right here.
        """
        judged = await self._verifier.judge(token)
        return read_caller(judged.subject, judged.claims, self._settings)


def read_caller(subject: str, claims: Mapping[str, Any], settings: SignInSettings) -> Caller:
    """The caller that these claims make.

    Raises:
        Problem: ``NotAuthorised`` (403) when they give no right, or not one alone.
    """
    claimed = _texts(claims.get(settings.right_claim))
    rights = [right for right in Right if right.value in claimed]
    if len(rights) != 1 or not subject:
        raise _refused(f"the claim {settings.right_claim} must give one right of this registry")
    (right,) = rights
    named = claims.get(settings.member_claim)
    if right.is_of_member is not isinstance(named, str):
        raise _refused(f"a member's right, and no other, needs the claim {settings.member_claim}")
    member = None
    if isinstance(named, str):
        try:
            member = MemberId.parse(named[:2048])
        except Problem as problem:
            raise _refused(f"the claim {settings.member_claim}: {problem.detail}") from problem
    scope = frozenset(_texts(claims.get(settings.scope_claim)))
    return Caller(f"oidc:{subject}", right, member, "", scope)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value[:MAX_SCOPE] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def _refused(detail: str) -> Problem:
    return Problem(Code.NOT_AUTHORISED, where="Authorization", detail=detail, status=403)
