"""Bearer tokens: of the embedded issuer, and of a foreign one that is a server of its own."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from console.instance.clients import Clients
from console.instance.issuers import OAuthError, OwnIssuer
from exchange.problems import Code, Problem
from serving.issuers import FETCHES_A_MINUTE, STALE_S, ForeignIssuer
from serving.tokens import Refused, Verifier
from tests.instance.issuer import AUDIENCE, KEY, Issuer, running_issuer
from tests.instance.running import RunningInstance


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as found:
        yield found


def verifier(issuer: Issuer, keys: ForeignIssuer | None = None) -> Verifier:
    return Verifier(issuer.url, AUDIENCE, keys or ForeignIssuer(issuer.url), strict=False)


async def refused(judge: Verifier, token: str, error: str = "invalid_token") -> Refused:
    with pytest.raises(Refused) as caught:
        await judge.require([f"Bearer {token}"], "read:conf")
    assert f'error="{error}"' in caught.value.challenge
    return caught.value


async def test_a_token_of_a_foreign_issuer_is_taken(issuer: Issuer) -> None:
    """EC, RSA and Edwards keys, each by its own algorithms; an audience among others."""
    keys: list[tuple[Any, str]] = [
        (KEY, "ES256"),
        (RSAKey.generate_key(2048, {"kid": "rsa"}, private=True), "RS256"),
        (OKPKey.generate_key("Ed25519", {"kid": "ed"}, private=True), "Ed25519"),
    ]
    issuer.keys = [key for key, _ in keys]
    judge = verifier(issuer)
    for key, alg in keys:
        caller = await judge.require(
            [f"bearer {issuer.token(key, alg, aud=['x', AUDIENCE], client_id='c')}"], "read:conf"
        )
        assert (caller.subject, caller.client) == ("s", "c")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"}, {"iss": None}, {"aud": "https://other.example"},
        {"aud": None}, {"aud": ["x"]}, {"exp": None}, {"exp": 1}, {"exp": "soon"},
        {"nbf": 1 << 40}, {"iat": 1 << 40}, {"sub": 7}, {"scope": ["read:conf"]},
        {"typ": "dpop+jwt"}, {"typ": "logout+jwt"},
    ],
)  # fmt: skip
async def test_a_token_that_says_something_else_is_refused(
    issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Issuer, audience, times, types of claims and the kind of token are all checked."""
    problem = await refused(verifier(issuer), issuer.token(**claims))
    assert (problem.code, problem.status) == (Code.NOT_AUTHORISED, 401)


async def test_a_scope_must_be_a_whole_word(issuer: Issuer) -> None:
    """403, and the challenge says which scope is needed."""
    judge = verifier(issuer)
    for scope in ("read:confx", "xread:conf", "READ:CONF", "", "write:conf"):
        problem = await refused(judge, issuer.token(scope=scope), "insufficient_scope")
        assert problem.status == 403
        assert 'scope="read:conf"' in problem.challenge
        assert problem.caller is not None


async def test_other_keys_and_algorithms_are_refused(issuer: Issuer) -> None:
    """A stranger's key, none, a shared secret, the public key as a secret, a changed payload."""
    judge = verifier(issuer)
    stranger = ECKey.generate_key("P-256", {"kid": "one"}, private=True)
    await refused(judge, issuer.token(stranger))
    good = issuer.token()
    head, payload, signature = good.split(".")
    await refused(judge, _by_public_key(payload))
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for token in (
        f"{none}.{payload}.", f"{none}.{payload}.{signature}", f"{head}.{payload}AA.{signature}",
        "a.b.c", "", good * 20, f"{head}.{payload}", f"{good}=", "eyJ9.e30.AA",
    ):  # fmt: skip
        await refused(judge, token)
    for fields in ([], ["Basic eDp5"], ["Bearer"], [f"Bearer {good}"] * 2):
        with pytest.raises(Refused):
            await judge.require(fields, "read:conf")
    assert (await judge.require([f"Bearer {good}"], "read:conf")).subject == "s"


def _by_public_key(payload: str) -> str:
    """The classic forgery: HMAC with the public key, which everybody has, as the secret."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"one"}').decode().rstrip("=")
    secret = KEY.as_pem(private=False)
    made = hmac.digest(secret, f"{head}.{payload}".encode(), "sha256")
    return f"{head}.{payload}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


async def test_new_keys_are_found_and_old_ones_forgotten(issuer: Issuer) -> None:
    """A token that names an unknown key has the keys fetched; those withdrawn are gone then."""
    judge = verifier(issuer)
    await judge.judge(issuer.token())
    new = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
    issuer.keys = [new]
    assert (await judge.judge(issuer.token(new))).subject == "s"
    await refused(judge, issuer.token())


async def test_strangers_cannot_have_the_issuer_asked_without_bound(issuer: Issuer) -> None:
    """However many unknown keys are named, it is asked a few times a minute."""
    judge = verifier(issuer)
    for number in range(FETCHES_A_MINUTE + 5):
        stranger = ECKey.generate_key("P-256", {"kid": f"x{number}"}, private=True)
        await refused(judge, issuer.token(stranger))
    assert issuer.asked.count("/keys") == FETCHES_A_MINUTE
    await judge.judge(issuer.token())


async def test_known_keys_go_on_while_the_issuer_is_away(issuer: Issuer) -> None:
    """For a day; then nobody is believed, until it is back."""
    now = [1000.0]
    judge = verifier(issuer, ForeignIssuer(issuer.url, lambda: now[0]))
    await judge.judge(issuer.token())
    issuer.is_down = True
    now[0] += STALE_S - 1
    await judge.judge(issuer.token())
    assert issuer.asked[-1] == "/.well-known/openid-configuration"
    now[0] += 61
    await refused(judge, issuer.token())
    issuer.is_down = False
    now[0] += 61
    await judge.judge(issuer.token())


async def test_a_discovery_document_of_another_issuer_is_not_believed(issuer: Issuer) -> None:
    """Its issuer must be the one that was asked (OpenID Connect Discovery, section 4.3)."""
    issuer.name = "https://other.example"
    await refused(verifier(issuer), issuer.token())


@pytest.mark.parametrize(
    "url", ["http://iam.example", "https://", "ftp://a/", "https://a/?x=1", ""]
)
def test_an_issuer_is_asked_over_https(url: str) -> None:
    """Keys that came in plain text would be anybody's; loopback is the exception."""
    with pytest.raises(Problem) as caught:
        ForeignIssuer(url)
    assert caught.value.code is Code.INVALID_SETTINGS


async def test_the_embedded_issuer(tmp_path: Path) -> None:
    """It gives a client what it may have, no more; a removed client's tokens end; the key stays."""
    clients = Clients(tmp_path)
    secret = clients.add("ops", ("write:conf", "read:conf"))
    assert secret not in (tmp_path / "oauth/clients.json").read_text()
    own = OwnIssuer(tmp_path, "http://127.0.0.1:1", clients)
    judge = Verifier(own.url, own.url, own, strict=True, is_known=own.is_known)

    def issue(**form: str) -> dict[str, Any]:
        whole = {"grant_type": "client_credentials", "client_id": "ops", "client_secret": secret}
        return own.issue({name: [value] for name, value in (whole | form).items()}, "")

    answer = issue()
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "read:conf write:conf")
    assert (await judge.judge(answer["access_token"])).client == "ops"
    narrow = issue(scope="read:conf")["access_token"]
    assert (await judge.judge(narrow)).scopes == {"read:conf"}
    assert OwnIssuer(tmp_path, own.url, clients).jwks() == own.jwks()
    wrong: list[tuple[str, dict[str, str]]] = [
        ("invalid_client", {"client_secret": "x"}),
        ("invalid_client", {"client_id": "nobody"}),
        ("invalid_client", {"client_id": "", "client_secret": ""}),
        ("unsupported_grant_type", {"grant_type": "password"}),
        ("invalid_request", {"grant_type": ""}),
        ("invalid_scope", {"scope": "read:conf write:rights"}),
    ]
    for error, form in wrong:
        with pytest.raises(OAuthError) as caught:
            issue(**form)
        assert caught.value.error == error
    clients.remove("ops")
    await refused(judge, narrow)


def test_clients_are_named_once_and_with_known_scopes(tmp_path: Path) -> None:
    """Two clients of one name, a scope that is none, a name that is a path: refused."""
    clients = Clients(tmp_path)
    clients.add("a", ("read:conf",))
    for name, scopes, code in (
        ("a", ("read:conf",), Code.CONFLICT),
        ("b", ("admin",), Code.INVALID_USAGE),
        ("b", (), Code.INVALID_USAGE),
        ("../b", ("read:conf",), Code.INVALID_USAGE),
    ):
        with pytest.raises(Problem) as caught:
            clients.add(name, scopes)
        assert caught.value.code is code
    with pytest.raises(Problem):
        clients.remove("b")
    assert Clients(tmp_path).all().keys() == {"a"}


def test_an_instance_takes_the_tokens_of_an_issuer_of_choice(
    issuer: Issuer, tmp_path: Path
) -> None:
    """With --issuer its tokens are taken and none is issued; new keys are honoured, and the issuer
    may be away for a while."""
    running = RunningInstance(
        tmp_path / "instance", ("--issuer", issuer.url, "--audience", AUDIENCE), is_foreign=True
    )
    running.start()

    def status(token: str) -> int:
        return running.call("GET", "/api/v1/config", bearer=token).status

    try:
        assert status(issuer.token()) == 404  # nothing is configured yet
        assert status(issuer.token(aud="https://other.example")) == 401
        assert status(issuer.token(scope="write:conf")) == 403
        new = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
        issuer.keys = [new]
        assert status(issuer.token(new)) == 404
        issuer.is_down = True
        assert status(issuer.token(new)) == 404
        assert running.call("POST", "/oauth/token", b"").status == 404
        scheme = running.call("GET", "/openapi.json").json()["components"]["securitySchemes"]
        assert scheme["auth"]["openIdConnectUrl"].startswith(issuer.url)
    finally:
        assert running.end() == 0
