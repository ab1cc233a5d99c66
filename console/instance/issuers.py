"""Issuers of tokens: the one embedded in the instance, and any other by OpenID Connect Discovery.

The embedded issuer knows one grant, client credentials (RFC 6749 section 4.4), signs access tokens
(RFC 9068) with ES256 and publishes its metadata (RFC 8414) and keys (RFC 7517).

Of a foreign issuer the discovery document and the keys are fetched over https (http from loopback
only), bounded in size and time, without redirects. Keys are kept for ten minutes, and asked for
anew when a token names one that is not known, six times a minute at most. While the issuer is
away the keys that were known go on for a day.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

import aiohttp
import orjson
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from certs.files import PRIVATE_MODE, write_file
from console.instance.clients import SCOPES, Client, Clients
from console.instance.tokens import PublicKey
from exchange.problems import Code, Problem

LIFETIME_S: Final = 600
FETCH_S: Final = 5.0
MAX_BYTES: Final = 256 << 10
MAX_KEYS: Final = 64
FRESH_S: Final = 600.0
DISCOVERY: Final = "/.well-known/openid-configuration"
STALE_S: Final = 86400.0
FETCHES_A_MINUTE: Final = 6

log = structlog.get_logger("console.instance.issuers")


class OAuthError(Exception):
    """An error of the token endpoint (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


class OwnIssuer:
    """The embedded issuer at ``url``."""

    def __init__(self, directory: Path, url: str, clients: Clients) -> None:
        self.url = url
        self._clients = clients
        self._key = _own_key(directory / "oauth" / "signing.pem")
        self._key.ensure_kid()

    async def key(self, kid: str | None) -> PublicKey | None:
        """The key, when it is asked for."""
        return self._key if kid in (None, self._key.kid) else None

    def is_known(self, client: str) -> bool:
        """Whether the client was not removed."""
        return client in self._clients.all()

    def metadata(self) -> dict[str, Any]:
        """RFC 8414 section 2."""
        return {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/oauth/token",
            "jwks_uri": f"{self.url}/oauth/jwks.json",
            "scopes_supported": list(SCOPES),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def jwks(self) -> dict[str, Any]:
        """The public key."""
        return {"keys": [{**self._key.as_dict(private=False), "use": "sig", "alg": "ES256"}]}

    def issue(self, form: Mapping[str, list[str]], authorization: str) -> dict[str, Any]:
        """A token for the form of a token request.

        Raises:
            OAuthError: as RFC 6749 section 5.2 says.
        """
        if any(len(values) != 1 for values in form.values()):
            raise OAuthError("invalid_request", "a parameter is repeated")
        given = {name: values[0] for name, values in form.items()}
        client = self._authenticate(given, authorization)
        if given.get("grant_type", "") != "client_credentials":
            error = "unsupported_grant_type" if given.get("grant_type") else "invalid_request"
            raise OAuthError(error, "grant_type must be client_credentials")
        asked = given.get("scope", "").split() or list(client.scopes)
        if not set(asked) <= set(client.scopes):
            raise OAuthError("invalid_scope", "the client was not given such a scope")
        scope = " ".join(one for one in client.scopes if one in asked)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": self.url,
            "sub": client.id,
            "client_id": client.id,
            "scope": scope,
            "iat": now,
            "exp": now + LIFETIME_S,
            "jti": secrets.token_urlsafe(16),
        }
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self._key.kid}
        return {
            "access_token": jwt.encode(header, claims, self._key),
            "token_type": "Bearer",
            "expires_in": LIFETIME_S,
            "scope": scope,
        }

    def _authenticate(self, given: Mapping[str, str], authorization: str) -> Client:
        name, secret = given.get("client_id", ""), given.get("client_secret", "")
        if authorization:
            if secret:
                raise OAuthError("invalid_request", "one way of authentication, not two")
            name, secret = _basic(authorization)
        client = self._clients.authenticate(name, secret)
        if client is None or given.get("client_id", client.id) != client.id:
            raise OAuthError("invalid_client", "there is no client with this id and secret", 401)
        return client


def _basic(authorization: str) -> tuple[str, str]:
    """Id and secret of HTTP Basic, each form-encoded (RFC 6749 section 2.3.1)."""
    scheme, _, text = authorization.partition(" ")
    try:
        if scheme.lower() != "basic" or len(text) > 2000:
            raise ValueError("not basic")
        name, separator, secret = base64.b64decode(text, validate=True).decode().partition(":")
        if not separator:
            raise ValueError("no colon")
    except (ValueError, binascii.Error) as error:
        raise OAuthError(
            "invalid_client", "HTTP Basic with id and secret is needed", 401
        ) from error
    return unquote_plus(name), unquote_plus(secret)


def _own_key(path: Path) -> ECKey:
    if not path.exists():
        made = ECKey.generate_key("P-256", private=True)
        write_file(path, made.as_pem(private=True), mode=PRIVATE_MODE)
    try:
        return ECKey.import_key(path.read_bytes())
    except (JoseError, ValueError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=str(path),
            detail="is not a P-256 key; remove it to have a new one made (tokens end with it)",
        ) from error


class ForeignIssuer:
    """The keys of the issuer at ``url``."""

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic) -> None:
        _check_url(url)
        self.url = url
        self._now = now
        self._keys: dict[str | None, PublicKey] = {}
        self._fetched = float("-inf")
        self._attempts: deque[float] = deque(maxlen=FETCHES_A_MINUTE)
        self._fetching = asyncio.Lock()

    async def key(self, kid: str | None) -> PublicKey | None:
        """The key of this id, fetched when it is not known or was known for long."""
        seen = self._fetched
        if self._find(kid) is None or self._now() - seen > FRESH_S:
            async with self._fetching:
                if self._fetched == seen:  # nobody else has fetched meanwhile
                    await self._refresh()
        return self._find(kid) if self._now() - self._fetched <= STALE_S else None

    def _find(self, kid: str | None) -> PublicKey | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        now = self._now()
        if len(self._attempts) == FETCHES_A_MINUTE and now - self._attempts[0] < 60:
            return
        self._attempts.append(now)
        try:
            async with asyncio.timeout(FETCH_S), _session() as session:
                known = await _get(session, f"{self.url.rstrip('/')}{DISCOVERY}")
                if known.get("issuer") != self.url:
                    raise ValueError("the discovery document is of another issuer")
                where = known.get("jwks_uri")
                if not isinstance(where, str):
                    raise ValueError("the discovery document names no keys")
                _check_url(where)
                keys = _import(await _get(session, where))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, Problem) as error:
            log.warning("issuer_unreachable", issuer=self.url, why=str(error)[:200])
            return
        self._keys, self._fetched = keys, now


def _check_url(url: str) -> None:
    """Raises: Problem ``InvalidSettings`` for what is neither https nor http on loopback."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_near = host == "localhost" or (bool(host) and _is_loopback(host))
        good = parts.scheme == "https" or (parts.scheme == "http" and is_near)
        good = good and bool(host) and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="--issuer",
            detail=f"{url[:200]!r} is not https://host/path (http on loopback only)",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"HTTP status {answer.status}")
        data = bytearray()
        async for piece in answer.content.iter_chunked(16384):
            data += piece
            if len(data) > MAX_BYTES:
                raise ValueError(f"longer than {MAX_BYTES} bytes")
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


_KINDS: Final[Mapping[str, type[ECKey] | type[OKPKey] | type[RSAKey]]] = {
    "EC": ECKey,
    "OKP": OKPKey,
    "RSA": RSAKey,
}


def _import(document: Mapping[str, Any]) -> dict[str | None, PublicKey]:
    """The keys that can verify signatures; others are passed over (RFC 7517 section 5)."""
    rows = document.get("keys")
    found: dict[str | None, PublicKey] = {}
    for row in rows[:MAX_KEYS] if isinstance(rows, list) else ():
        if not isinstance(row, dict) or row.get("use", "sig") != "sig":
            continue
        kind = _KINDS.get(str(row.get("kty")))
        if kind is None:
            continue
        try:
            key = kind.import_key(row)
            if isinstance(key, RSAKey) and key.public_key.key_size < 2048:
                continue
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        kid = row.get("kid")
        found[kid if isinstance(kid, str) else None] = key
    if not found:
        raise ValueError("no key that can be used")
    return found
