"""Bearer tokens: JSON Web Tokens of one issuer, judged (RFC 6750, RFC 7519, RFC 8725, RFC 9068).

Invariants of a token that is accepted:
- it is signed with a key of the issuer, by an algorithm of :data:`ALGORITHMS`; never *none*, never
  a shared secret, never a key that the token brings itself;
- ``iss`` is the issuer, ``aud`` holds this service, ``exp`` is there and ahead, ``nbf`` and ``iat``
  are not ahead (60 seconds of difference between clocks are taken);
- it is an access token: ``typ`` is ``at+jwt`` (RFC 9068 section 4). Of a foreign issuer ``JWT`` and
  no type are taken too, as many issue them; an ID token, whose audience is a client, is not.

What is asked of a call is a scope of the ``scope`` claim (RFC 9068 section 2.2.3).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from exchange.problems import Code, Problem

PublicKey = ECKey | OKPKey | RSAKey
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "PS384", "RS256", "EdDSA", "Ed25519")
MAX_TOKEN: Final = 8192
LEEWAY_S: Final = 60
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_PRINTABLE: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6750 section 3
_ACCESS: Final = frozenset({"at+jwt", "application/at+jwt"})
_ANY: Final = _ACCESS | {"jwt", ""}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: subject, client, the scopes of its token, and all that it claims."""

    subject: str
    client: str
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(default_factory=dict)


class Refused(Problem):
    """A call without a token that is good enough; ``challenge`` is its WWW-Authenticate field.

    ``caller`` is who it was, when that is sure and only the scope is missing.
    """

    def __init__(
        self, error: str, detail: str, *, scope: str = "", caller: Caller | None = None
    ) -> None:
        status = 403 if error == "insufficient_scope" else 401
        super().__init__(Code.NOT_AUTHORISED, where="Authorization", detail=detail, status=status)
        self.caller = caller
        parts = ['Bearer realm="saphan"']
        if error:
            told = detail if _PRINTABLE.fullmatch(detail) else "the token is not accepted"
            parts += [f'error="{error}"', f'error_description="{told}"']
        if scope:
            parts.append(f'scope="{scope}"')
        self.challenge = ", ".join(parts)


class KeySource(Protocol):
    """Where the issuer's keys are."""

    async def key(self, kid: str | None) -> PublicKey | None:
        """The key of this id; without an id, the only one that there is."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Judges the tokens of one issuer.

    ``is_known`` may refuse a client whose token is good, as it was removed since.
    """

    issuer: str
    audience: str
    keys: KeySource
    strict: bool
    is_known: Callable[[str], bool] = lambda client: True
    now: Callable[[], float] = time.time

    async def require(self, authorization: list[str], scope: str) -> Caller:
        """The caller, when its token has this scope.

        Raises:
            Refused: 401 without a good token, 403 without the scope.
        """
        if not authorization:
            raise Refused("", "a bearer token is needed", scope=scope)
        scheme, _, token = authorization[0].partition(" ")
        if len(authorization) > 1 or scheme.lower() != "bearer":
            raise Refused("", "one bearer token is needed", scope=scope)
        caller = await self.judge(token.strip())
        if scope not in caller.scopes:
            told = f"the token lacks the scope {scope}"
            raise Refused("insufficient_scope", told, scope=scope, caller=caller)
        return caller

    async def judge(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            Refused: 401, when it is not a good one.
        """
        if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            raise Refused("invalid_token", "it is not a signed JSON Web Token")
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Refused("invalid_token", "it is not a signed JSON Web Token") from error
        kind = header.get("typ", "")
        allowed = _ACCESS if self.strict else _ANY
        if not isinstance(kind, str) or kind.lower() not in allowed:
            raise Refused("invalid_token", "it is not an access token (typ at+jwt)")
        if header.get("alg") not in ALGORITHMS:
            raise Refused("invalid_token", "its algorithm is not accepted")
        kid = header.get("kid")
        key = await self.keys.key(kid if isinstance(kid, str) else None)
        if key is None:
            raise Refused("invalid_token", "its issuer has no such key")
        return self._judge_claims(token, key)

    def _judge_claims(self, token: str, key: PublicKey) -> Caller:
        try:
            claims = jwt.decode(token, key, algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                now=int(self.now()),
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self.audience},
                exp={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, TypeError, OverflowError, RecursionError) as error:
            told = str(getattr(error, "error", "") or "")
            detail = "it has expired" if told == "expired_token" else "it does not verify"
            raise Refused("invalid_token", detail) from error
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        client = claims.get("client_id", claims.get("azp", claims.get("sub", "")))
        subject = claims.get("sub", client)
        scope = claims.get("scope", "")
        if not all(isinstance(one, str) for one in (client, subject, scope)):
            raise Refused("invalid_token", "a claim has the wrong type")
        if not self.is_known(client):
            raise Refused("invalid_token", "its client was removed")
        return Caller(subject[:200], client[:200], frozenset(scope.split(" ")) - {""}, claims)
