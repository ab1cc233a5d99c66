"""The registry over HTTP: directory, acts, rights, published files."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry import service
from registry.http.client import RegistryClient
from registry.requests.submissions import format_submission
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World


@pytest.fixture
async def http(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    """A bare HTTP client at the registry's address."""
    async with aiohttp.ClientSession(world.url) as session:
        yield session


async def code_of(world: World, work: Callable[[], object]) -> tuple[Code, int]:
    """Code and HTTP status with which a call is refused."""
    with pytest.raises(Problem) as caught:
        await world.call(work)
    return caught.value.code, caught.value.status


# ---------------------------------------------------------------------------------- life cycle


async def test_a_first_registration_is_published_when_it_is_approved(world: World) -> None:
    """Submitted: not in the directory. Approved with the targets keys: there."""
    row = await world.submit(MPI)
    assert (row["kind"], row["state"], row["needs_delegation"]) == ("first", "submitted", True)
    client = RegistryClient(world.url)
    assert await world.call(lambda: client.published_version(MPI)) == 0
    approved = await world.approve(row["id"])
    assert approved["state"] == "approved"
    member = await world.call(lambda: client.get("members/LA/GOV/MPI"))
    assert member["version"] == 1
    assert member["document"]["name"]["en"] == "Ministry"


async def test_a_declined_submission_is_not_published_and_stays_declined(world: World) -> None:
    """The member reads the reason; approving it afterwards does not fit its state."""
    row = await world.submit(MPI)
    declined = await world.call(lambda: world.operator.decline(row["id"], "no seal yet"))
    assert (declined["state"], declined["reason"]) == ("declined", "no seal yet")
    with pytest.raises(Problem) as caught:
        await world.approve(row["id"])
    assert caught.value.code is Code.CONFLICT
    assert await world.call(lambda: RegistryClient(world.url).published_version(MPI)) == 0


async def test_a_newer_submission_replaces_an_open_one(world: World) -> None:
    """A member has one open submission; the older is withdrawn as replaced."""
    first, second = await world.submit(MPI), await world.submit(MPI, "Better")
    rows = await world.call(lambda: world.operator.pages("submissions"))
    assert [(row["id"], row["state"]) for row in rows] == [
        (first["id"], "withdrawn"),
        (second["id"], "submitted"),
    ]
    assert "replaced" in rows[0]["reason"]


async def test_an_update_takes_no_targets_keys(world: World) -> None:
    """The member's own signature is what counts; approval is one act without offline keys."""
    await world.register(MPI)
    row = await world.submit(MPI, "Other")
    assert row["kind"] == "update"
    approved = await world.call(lambda: world.operator.approve(row["id"], None))
    assert approved["version"] == 2


async def test_a_first_registration_is_not_approved_without_targets_keys(world: World) -> None:
    """No delegation, no publication."""
    row = await world.submit(MPI)
    code = await code_of(world, lambda: world.operator.approve(row["id"], None))
    assert code == (Code.CONFLICT, 409)


async def test_lost_keys_are_replaced_only_with_the_root(world: World) -> None:
    """Another key without the old key's word: refused with targets keys, possible with root's."""
    await world.register(MPI)
    lost = world.folders.pop(MPI)
    lost.directory.rename(lost.directory.with_name("lost"))
    new = world.folder(MPI)
    (new.directory / "version").write_text("1")
    row = await world.submit(MPI, "With a new key")
    assert row["kind"] == "keys"
    with pytest.raises(Problem) as caught:
        await world.approve(row["id"])
    assert caught.value.code is Code.CONTINUITY_BROKEN
    assert (await world.approve(row["id"], vouch=True))["version"] == 2


async def test_every_act_is_recorded(world: World) -> None:
    """Who did what to whom, in order."""
    row = await world.submit(MPI)
    await world.approve(row["id"])
    acts = await world.call(lambda: world.operator.pages("acts"))
    assert [(act["act"], act["subject"]) for act in acts] == [
        ("open", "LA"),
        ("submit", "LA/GOV/MPI"),
        ("approve", "LA/GOV/MPI"),
    ]
    assert acts[2]["detail"]["version"] == 1
    assert acts[2]["detail"]["keys"] == [key.keyid for key in world.folder(MPI).keys.keys]


async def test_one_process_serves_a_registry(world: World) -> None:
    """A second would sign from what it read before; it is told so, and the first goes on."""
    with pytest.raises(Problem) as caught:
        await service.start(world.directory, settings=world.settings, clock=world.clock)
    assert caught.value.code is Code.CONFLICT
    await world.register(MPI)
    await world.restart()


async def test_everything_survives_a_restart(world: World) -> None:
    """The database is the truth; directory and tree are made from it."""
    await world.register(MPI)
    before = await world.call(lambda: world.operator.get("members/LA/GOV/MPI"))
    await world.restart()
    assert await world.call(lambda: world.operator.get("members/LA/GOV/MPI")) == before


# -------------------------------------------------------------------------------------- rights


async def test_without_a_key_nothing_is_done(world: World) -> None:
    """Acts need an API key that the registry knows."""
    body = format_submission(world.signed(MPI))
    for key in ("", "nonsense", "saphan-000000000000-x", world.opened.operator_api_key[:-1] + "_"):
        client = RegistryClient(world.url, key)
        assert await code_of(world, lambda c=client: c.get("submissions")) == (
            Code.NOT_AUTHORISED,
            401,
        )
        assert (await code_of(world, lambda c=client: c._call("POST", "submissions", body)))[
            1
        ] == 401


async def test_each_right_allows_its_acts_and_no_others(world: World) -> None:
    """A member submits for itself only; an approver approves; only the operator does the rest."""
    row = await world.submit(MPI)
    member = await world.call(lambda: world.operator.add_key("member-administrator", "", MOF))
    approver = await world.call(lambda: world.operator.add_key("approver", ""))
    mof, boss = RegistryClient(world.url, member), RegistryClient(world.url, approver)
    foreign, own = world.signed(MPI), world.signed(MOF)
    refused: list[Callable[[], object]] = [
        lambda: mof.submit(foreign),
        lambda: mof.approve(row["id"], None),
        lambda: mof.decline(row["id"], "x"),
        lambda: mof.get("keys"),
        lambda: mof.get("acts"),
        lambda: mof.get("own"),
        lambda: boss.submit(own),
        lambda: boss.add_key("operator", ""),
        lambda: boss.revoke_key("x"),
    ]
    for work in refused:
        code, status = await code_of(world, work)
        assert code is Code.NOT_AUTHORISED
        assert status in {401, 403}
    assert (await world.call(lambda: mof.submit(own)))["member"] == "LA/GOV/MOF"
    assert [item["member"] for item in await world.call(lambda: mof.pages("submissions"))] == [
        "LA/GOV/MOF"
    ]
    assert await code_of(world, lambda: mof.get(f"submissions/{row['id']}")) == (
        Code.NOT_FOUND,
        404,
    )
    assert (await world.call(lambda: boss.decline(row["id"], "not now")))["state"] == "declined"


async def test_a_revoked_key_is_unknown(world: World) -> None:
    """Revoking takes effect at once; the list never shows secrets."""
    key = await world.call(lambda: world.operator.add_key("approver", "Bounmy"))
    client = RegistryClient(world.url, key)
    await world.call(lambda: client.get("acts"))
    await world.call(lambda: world.operator.revoke_key(key.split("-")[1]))
    assert await code_of(world, lambda: client.get("acts")) == (Code.NOT_AUTHORISED, 401)
    listed = await world.call(lambda: world.operator.get("keys"))
    assert key.split("-", 2)[2] not in json.dumps(listed)
    assert (
        b"".join(path.read_bytes() for path in world.directory.glob("registry.db*")).find(
            key.split("-", 2)[2].encode()
        )
        == -1
    )


# ----------------------------------------------------------------------------------- directory


async def test_the_directory_is_searched_in_both_languages(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Words of id, title or member's name, Lao or English, without a key."""
    await world.register(MPI, "Planning and Investment")
    await world.register(MOF, "Finance")

    async def found(query: str) -> list[str]:
        async with http.get("/api/v1/services", params={"q": query}) as response:
            return [item["member"]["id"] for item in (await response.json())["items"]]

    assert await found("") == ["LA/GOV/MOF", "LA/GOV/MPI"]
    assert await found("planning PROJECTS") == ["LA/GOV/MPI"]
    assert await found("ໂຄງການ") == ["LA/GOV/MOF", "LA/GOV/MPI"]
    assert await found("nothing") == []
    async with http.get("/api/v1/services/LA/GOV/MPI/oda-mis/projects/openapi") as response:
        assert (await response.json())["openapi"] == "3.1.0"
    async with http.get("/api/v1/services/LA/GOV/MPI/oda-mis/projects") as response:
        assert (await response.json())["title"]["lo"] == "ໂຄງການ"
    async with http.get("/api/v1/schemas") as response:
        assert [item["id"] for item in (await response.json())["items"]] == [
            "https://schemas.saphan.la/province/1"
        ]
    async with http.get("/api/v1/instance") as response:
        assert (await response.json())["members"] == 2


async def test_lists_come_in_pages(world: World) -> None:
    """Following next visits every member once."""
    members = [MemberId("LA", "GOV", f"M{number}") for number in range(5)]
    for member in members:
        await world.register(member)
    client = RegistryClient(world.url)
    page = await world.call(lambda: client.get("members", limit="2"))
    assert [item["id"] for item in page["items"]] == ["LA/GOV/M0", "LA/GOV/M1"]
    seen = [item["id"] for item in page["items"]]
    while page["next"]:
        page = await world.call(
            lambda after=page["next"]: client.get("members", after=after, limit="2")
        )
        seen.extend(item["id"] for item in page["items"])
    assert seen == [str(member) for member in members]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/members/LA/GOV/NOBODY", 404),
        ("/api/v1/members/LA/GOV", 400),
        ("/api/v1/members/LA/GOV/%2e%2e", 400),
        ("/api/v1/services/LA/GOV/MPI/oda-mis/x", 404),
        ("/api/v1/services?limit=0", 400),
        ("/api/v1/services?limit=%E0%BB%91", 400),
        ("/api/v1/services?limit=5_0", 400),
        ("/api/v1/nothing", 404),
        ("/api/v1/submissions/1", 401),
    ],
)
async def test_errors_have_one_shape(http: aiohttp.ClientSession, path: str, status: int) -> None:
    """Code, message, place and a remedy in both languages."""
    async with http.get(path) as response:
        body = await response.json()
    assert response.status == status
    assert body["type"] in {code.value for code in Code}
    assert body["message"]
    assert set(body["remedy"]) == {"en", "lo"}


@pytest.mark.parametrize(
    "sent",
    [b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA : b\r\n\r\n", b"\0\r\n"],
)
async def test_what_is_no_request_is_answered_in_the_same_shape(world: World, sent: bytes) -> None:
    """A line that is too long, a malformed field, no HTTP: a problem, and the connection ends."""
    url = urlsplit(world.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(sent)
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), head
    assert json.loads(body)["type"] == Code.INVALID_REQUEST


MALFORMED: list[tuple[str, Callable[[dict[str, Any]], object], Code]] = [
    ("not JSON", lambda body: b"{", Code.INVALID_DOCUMENT),
    ("a list", lambda body: b"[]", Code.INVALID_DOCUMENT),
    ("a key too many", lambda body: {**body, "x": 1}, Code.INVALID_DOCUMENT),
    ("no role", lambda body: {**body, "role": None}, Code.INVALID_DOCUMENT),
    (
        "base64 with a space",
        lambda body: {**body, "role": " " + body["role"]},
        Code.INVALID_DOCUMENT,
    ),
    ("not metadata", lambda body: {**body, "role": "e30="}, Code.INVALID_DOCUMENT),
    ("another member", lambda body: {**body, "member": "LA/GOV/MOF"}, Code.INVALID_DOCUMENT),
    ("another instance", lambda body: {**body, "member": "TH/GOV/MPI"}, Code.INVALID_DOCUMENT),
    ("no files", lambda body: {**body, "files": {}}, Code.INVALID_DOCUMENT),
    (
        "a file too many",
        lambda body: {**body, "files": {**body["files"], "x.json": "e30="}},
        Code.INVALID_DOCUMENT,
    ),
    (
        "another file",
        lambda body: {**body, "files": {**body["files"], "member.json": "e30="}},
        Code.DIGEST_MISMATCH,
    ),
    ("no keys", lambda body: {**body, "keys": {"keys": {}, "threshold": 1}}, Code.INVALID_DOCUMENT),
    (
        "one signature of two",
        lambda body: {**body, "keys": two_keys(body["keys"])},
        Code.UNTRUSTED_METADATA,
    ),
    ("a broken signature", lambda body: {**body, "role": broken(body)}, Code.UNTRUSTED_METADATA),
    ("no signature", lambda body: {**body, "role": unsigned(body)}, Code.UNTRUSTED_METADATA),
]


def two_keys(keys: dict[str, Any]) -> dict[str, Any]:
    key = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "ab" * 32}}
    return {"keys": {**keys["keys"], "ab": key}, "threshold": 2}


def edited(body: dict[str, Any], edit: Callable[[dict[str, Any]], None]) -> str:
    role = json.loads(base64.b64decode(body["role"]))
    edit(role)
    return base64.b64encode(json.dumps(role).encode()).decode()


def broken(body: dict[str, Any]) -> str:
    return edited(body, lambda role: role["signed"].update(version=9))


def unsigned(body: dict[str, Any]) -> str:
    return edited(body, lambda role: role.update(signatures=[]))


async def test_a_malformed_submission_is_refused_with_its_code(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Each way to be wrong has its code, and nothing of it is stored."""
    good = json.loads(format_submission(world.signed(MPI)))
    headers = {"Authorization": f"Bearer {world.opened.operator_api_key}"}
    for name, change, code in MALFORMED:
        body = change(dict(good))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with http.post("/api/v1/submissions", data=data, headers=headers) as response:
            answer = await response.json()
        assert (name, answer["type"]) == (name, code.value)
        assert response.status in {400, 403, 422}
    assert await world.call(lambda: world.operator.pages("submissions")) == []


async def test_a_body_beyond_the_limit_is_refused(
    http: aiohttp.ClientSession, world: World
) -> None:
    """Too much is told as such."""
    headers = {"Authorization": f"Bearer {world.opened.operator_api_key}"}
    data = b"x" * ((33 << 20) + 1)
    async with http.post("/api/v1/submissions", data=data, headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["type"] == Code.PAYLOAD_TOO_LARGE.value


# ------------------------------------------------------------------------------ published files


async def test_published_files_say_how_long_they_may_be_kept(
    world: World, http: aiohttp.ClientSession
) -> None:
    """What has a version in its name never changes; the timestamp and a 404 are asked anew."""
    await world.register(MPI)
    expected = {
        "/metadata/timestamp.json": (200, "no-cache"),
        "/metadata/1.root.json": (200, "public, max-age=31536000, immutable"),
        "/metadata/2.root.json": (404, "no-store"),
        "/metadata/1.LA~GOV~MPI.json": (200, "public, max-age=31536000, immutable"),
    }
    for path, (status, cache) in expected.items():
        async with http.get(path) as response:
            assert (response.status, response.headers["Cache-Control"]) == (status, cache)


@pytest.mark.parametrize(
    "path",
    [
        "/metadata/../registry.db",
        "/metadata/%2e%2e%2fregistry.db",
        "/metadata/..%2f..%2foffline%2froot-1.pem",
        "/targets/../../registry.db",
        "/targets/LA/%2e%2e/%2e%2e/registry.db",
        "/targets/.new",
        "/targets//instance.json",
        "/metadata/" + "a" * 2000,
    ],
)
async def test_nothing_else_is_served(world: World, path: str) -> None:
    """Paths that would leave the published tree are not found."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()
    assert status.split()[1] == b"404"


async def test_health_tells_the_truth(world: World, http: aiohttp.ClientSession) -> None:
    """ok while everything is signed for now; 503 when a role has expired."""
    async with http.get("/healthz") as response:
        assert (response.status, (await response.json())["status"]) == (200, "ok")
    world.clock.advance(days=2)
    async with http.get("/healthz") as response:
        body = await response.json()
    assert (response.status, body["expired"]) == (503, ["timestamp"])


async def test_the_timestamp_is_signed_again_in_time(world: World) -> None:
    """Less than half of the validity left: a new timestamp; the snapshot only when it is due."""
    registrar = world.running.registrar
    before = registrar.ends()
    world.clock.advance(minutes=29)
    assert not await world.call(lambda: registrar.renew(world.clock.now()))
    world.clock.advance(minutes=2)
    assert await world.call(lambda: registrar.renew(world.clock.now()))
    after = registrar.ends()
    assert after["timestamp"].at > before["timestamp"].at
    assert after["snapshot"] == before["snapshot"]
    world.clock.advance(days=4)
    assert await world.call(lambda: registrar.renew(world.clock.now()))
    assert registrar.ends()["snapshot"].at > before["snapshot"].at
