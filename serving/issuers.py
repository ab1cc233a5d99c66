"""Foreign issuers of tokens, found by OpenID Connect Discovery.

The discovery document and the keys are fetched over https (http from loopback only), bounded in
size and time, without redirects. Keys are kept for ten minutes, and asked for anew when a token
names one that is not known, six times a minute at most. While the issuer is away the keys that
were known go on for a day.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from exchange.problems import Code, Problem
from serving.tokens import PublicKey

FETCH_S: Final = 5.0
MAX_BYTES: Final = 256 << 10
MAX_KEYS: Final = 64
FRESH_S: Final = 600.0
DISCOVERY: Final = "/.well-known/openid-configuration"
STALE_S: Final = 86400.0
FETCHES_A_MINUTE: Final = 6

log = structlog.get_logger("serving.issuers")


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
