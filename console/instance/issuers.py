"""The issuer of tokens that is embedded in the instance.

It knows one grant, client credentials (RFC 6749 section 4.4), signs access tokens (RFC 9068) with
ES256 and publishes its metadata (RFC 8414) and keys (RFC 7517).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from certs.files import PRIVATE_MODE, write_file
from console.instance.clients import SCOPES, Client, Clients
from exchange.problems import Code, Problem
from serving.tokens import PublicKey

LIFETIME_S: Final = 600


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
