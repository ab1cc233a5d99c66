"""Requests of every kind over HTTP: who must agree, what comes of them, who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem, Text
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.fetcher import RegistryFetcher
from registry.http.client import RegistryClient
from registry.offline.operator import draft_files, draft_request, signed
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order, Proposal
from tests.instance.issuer import AUDIENCE, running_issuer
from tests.registry.simulator import MOF, MPI, member_record
from tests.registry.world import World, described, real_world

SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
SUCCESSOR = ServiceId.parse("LA/GOV/MOF/oda-mis/projects")
WHY = Text("A fault", "ມີຂໍ້ຜິດພາດ")
SCHEMA = b'{"$id":"https://schemas.saphan.la/district/1","title":"District","type":"object",\
"x-saphan-version":"1.0.0"}'


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[World]:
    """A registry where two must agree to what concerns servers, and to orders."""
    two = {"change server": "two", "register member": "two", "disable": "two"}
    async with real_world(tmp_path, approval=two) as world:
        yield world


async def person(world: World, right: str, member: MemberId | None = None) -> RegistryClient:
    """Somebody with an API key."""
    key = await world.call(lambda: world.operator.add_key(right, "", member))
    return RegistryClient(world.url, key)


async def two_approvers(world: World) -> list[RegistryClient]:
    """Two people; where two must agree, the second one's key takes the first one's word."""
    one = await person(world, "approver")
    made = await world.call(lambda: world.operator.new_key("approver", ""))
    assert made["waits"]
    await world.call(lambda: one.confirm_key(made["key"].split("-")[1]))
    return [one, RegistryClient(world.url, made["key"])]


async def refused(world: World, work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        await world.call(work)
    return caught.value


async def approve(world: World, client: RegistryClient, number: int) -> dict[str, Any]:
    """Approve as `saphan registry approve --keys` does."""

    def work() -> dict[str, Any]:
        row = client.get(f"submissions/{number}")
        approval = None
        if row["needs_delegation"] and row["lacking"] <= 1:
            own = client.own()
            at = datetime.fromisoformat(row["submitted_at"])
            body, now = client.body(number), world.clock.now()
            draft = draft_request(own, Kind(row["kind"]), body, at, [], now)
            approval = signed(own, draft, world.targets_signers)
        return dict(client.approve(number, approval, seen=row["seen"]))

    return await world.call(work)


async def test_two_others_must_agree(strict: World) -> None:
    """Not who handed it in, not one twice; after the first nothing is published."""
    row = await strict.submit(MPI)
    assert (row["lacking"], row["state"]) == (2, "submitted")
    one, two = await two_approvers(strict)
    own = await refused(strict, lambda: strict.operator.approve(row["id"], None))
    assert (own.code, own.status) == (Code.NOT_AUTHORISED, 403)
    first = await approve(strict, one, row["id"])
    assert (first["state"], first["lacking"]) == ("submitted", 1)
    again = await refused(strict, lambda: one.approve(row["id"], None))
    assert again.code is Code.CONFLICT
    client = RegistryClient(strict.url)
    assert await strict.call(lambda: client.published_version(MPI)) == 0
    last = await approve(strict, two, row["id"])
    assert (last["state"], len(last["approvals"])) == ("approved", 2)
    assert await strict.call(lambda: client.published_version(MPI)) == 1


async def test_one_suffices_for_what_policy_does_not_name(strict: World) -> None:
    """Changes are computed, so a new title needs one and a new address two."""
    row = await strict.submit(MPI)
    for client in await two_approvers(strict):
        await approve(strict, client, row["id"])
    named = await strict.submit(MPI, "Other name")
    assert [change["kind"] for change in named["changes"]] == ["change member"]
    assert named["lacking"] == 1


async def test_who_approves_is_told_when_it_is_another_thing_by_now(world: World) -> None:
    """An entity tag of what was seen; after a publication in between it does not match."""
    await world.register(MPI)
    row = await world.submit(MPI, "Other")
    problem = await refused(world, lambda: world.operator.approve(row["id"], None, seen="00"))
    assert (problem.code, problem.status, problem.where) == (Code.CONFLICT, 412, "If-Match")
    approved = await world.call(lambda: world.operator.approve(row["id"], None, seen=row["seen"]))
    assert approved["state"] == "approved"


async def test_a_submission_of_somebody_else_is_not_replaced_unseen(world: World) -> None:
    """The second is told of the first, names it, and the member reads what became of it."""
    first = await world.submit(MPI)
    admin = await person(world, "member-administrator", MPI)
    submission = world.signed(MPI, "Better")
    problem = await refused(world, lambda: admin.submit(submission))
    assert (problem.code, problem.facts["open"]) == (Code.CONFLICT, first["id"])
    again = world.signed(MPI, "Better")
    second = await world.call(lambda: admin.submit(again, replaces=first["id"]))
    assert second["state"] == "submitted"
    notices = await world.call(lambda: admin.pages("notices"))
    assert [(item["act"], item["request"]) for item in notices] == [("replace", first["id"])]
    assert "ຖືກແທນທີ່" in notices[0]["text"]["lo"]


async def test_a_request_is_withdrawn_by_its_member_alone(world: World) -> None:
    """The administrator takes it back; another member does not even see it."""
    row = await world.submit(MPI)
    stranger = await person(world, "member-administrator", MOF)
    assert (await refused(world, lambda: stranger.withdraw(row["id"], "x"))).status == 403
    admin = await person(world, "member-administrator", MPI)
    done = await world.call(lambda: admin.withdraw(row["id"], "not yet"))
    assert (done["state"], done["reason"]) == ("withdrawn", "not yet")
    with pytest.raises(Problem) as caught:
        await world.approve(row["id"])
    assert caught.value.code is Code.CONFLICT


async def test_a_proposal_is_published_when_the_targets_keys_sign(world: World) -> None:
    """Signed by nobody until then; other bytes than the proposed are refused."""
    admin = await person(world, "member-administrator", MPI)
    row = await world.call(lambda: admin.propose(Proposal("schemas/district.1.json", SCHEMA)))
    assert (row["kind"], row["member"], row["needs_delegation"]) == ("own", "LA/GOV/MPI", True)
    assert (await refused(world, lambda: world.operator.approve(row["id"], None))).status == 409
    await approve(world, world.operator, row["id"])
    listed = await world.call(lambda: RegistryClient(world.url).get("schemas"))
    assert "schemas/district.1.json" in {item["path"] for item in listed["items"]}
    broken = Proposal("schemas/district.2.json", b"{}")
    problem = await refused(world, lambda: admin.propose(broken))
    assert (problem.code, problem.where) == (Code.INVALID_DOCUMENT, "schemas/district.2.json#")


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        found = {"type": "object", "properties": {"a": found}}
    return found


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (nested(60), "schemas/other.1.json"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schemas/other.1.json#/$schema"),
        ({"properties": {"a": {"type": "text"}}}, "schemas/other.1.json#/properties/a/type"),
        ({"$ref": "http://127.0.0.1/evil"}, "https://schemas.saphan.la/other/1#/$ref"),
        ({"$ref": "#/$defs/none"}, "https://schemas.saphan.la/other/1#/$ref"),
        ({"$dynamicRef": "#x"}, "https://schemas.saphan.la/other/1#/$dynamicRef"),
        ({"pattern": "(?=a)"}, "https://schemas.saphan.la/other/1#/pattern"),
        ({"$id": "https://schemas.saphan.la/district/1"}, "schemas/other.1.json#/$id"),
    ],
    ids=["deep", "dialect", "no schema", "remote", "no such part", "dynamic", "pattern", "$id"],
)
async def test_a_schema_that_nobody_could_refer_to_is_refused(
    world: World, change: dict[str, Any], where: str
) -> None:
    """What servers would not read is not published, and no file takes over another's ``$id``."""
    row = await world.call(
        lambda: world.operator.propose(Proposal("schemas/district.1.json", SCHEMA))
    )
    await approve(world, world.operator, row["id"])
    schema = {**orjson.loads(SCHEMA), "$id": "https://schemas.saphan.la/other/1", **change}
    proposal = Proposal("schemas/other.1.json", orjson.dumps(schema))
    problem = await refused(world, lambda: world.operator.propose(proposal))
    code = Code.CONFLICT if where.endswith("$id") else Code.INVALID_DOCUMENT
    assert (problem.code, problem.where) == (code, where)


async def test_schemas_that_refer_to_each_other_are_published_together(world: World) -> None:
    """Each is read beside the others that come with it."""
    whole = {"$id": "https://schemas.saphan.la/whole/1", "title": "Whole", "type": "object"}
    whole |= {"x-saphan-version": "1.0.0"}
    whole["properties"] = {"part": {"$ref": "https://schemas.saphan.la/district/1"}}
    files = {"schemas/whole.1.json": orjson.dumps(whole), "schemas/district.1.json": SCHEMA}

    def publish() -> object:
        own = world.operator.own()
        draft = draft_files(own, files, world.clock.now())
        return world.operator.publish_own(signed(own, draft, world.targets_signers))

    await world.call(publish)
    listed = await world.call(lambda: RegistryClient(world.url).get("schemas"))
    assert "https://schemas.saphan.la/whole/1" in str(listed)


# ------------------------------------------------------------------------------------- orders


def seen_by_servers(world: World, folder: Path) -> RegistryCopy:
    """What a server believes after a poll."""
    copy = RegistryCopy(folder, world.url, world.anchor, RegistryFetcher(), world_grace())
    copy.load(world.clock.now())
    copy.synchronise(world.clock.now())
    return copy


def world_grace() -> Any:
    from datetime import timedelta

    return timedelta(days=1)


def refusal_of(copy: RegistryCopy, service: ServiceId) -> Problem | None:
    assert copy.state is not None
    try:
        copy.state.service(service)
    except Problem as problem:
        return problem
    return None


async def test_what_is_disabled_is_off_at_servers_and_on_again(
    world: World, tmp_path: Path
) -> None:
    """At once and by one person; the directory tells the reason; enabling revokes it."""
    await world.register(MPI)
    copy = await world.call(lambda: seen_by_servers(world, tmp_path / "copy"))
    assert refusal_of(copy, SERVICE) is None
    order = Order(Kind.DISABLE, SERVICE, WHY)
    row = await world.call(lambda: world.operator.order(order))
    assert row["state"] == "approved"
    await world.call(lambda: copy.synchronise(world.clock.now()))
    problem = refusal_of(copy, SERVICE)
    assert problem is not None
    assert (problem.code, problem.facts["reason_lo"]) == (Code.DISABLED, WHY.lo)
    public = RegistryClient(world.url)
    shown = await world.call(lambda: public.get(f"services/{SERVICE}"))
    assert shown["disabled"] == {"en": WHY.en, "lo": WHY.lo}
    twice = await refused(world, lambda: world.operator.order(order))
    assert twice.code is Code.CONFLICT
    again = await world.call(lambda: world.operator.order(Order(Kind.ENABLE, SERVICE, WHY)))
    await approve(world, world.operator, again["id"])
    await world.call(lambda: copy.synchronise(world.clock.now()))
    assert refusal_of(copy, SERVICE) is None
    old = await world.call(lambda: world.operator.get(f"submissions/{row['id']}"))
    assert old["state"] == "revoked"


async def test_the_standing_role_outlives_its_validity_and_a_restart(
    world: World, tmp_path: Path
) -> None:
    """It is signed again in time with the rest; what was off stays off."""
    await world.register(MPI)
    await world.call(lambda: world.operator.order(Order(Kind.DISABLE, SERVICE, WHY)))
    world.clock.advance(days=4)
    await world.restart()
    copy = await world.call(lambda: seen_by_servers(world, tmp_path / "copy"))
    problem = refusal_of(copy, SERVICE)
    assert problem is not None
    assert problem.code is Code.DISABLED


async def test_a_merged_member_names_its_successor(world: World, tmp_path: Path) -> None:
    """The old delegation goes, servers answer old ids with the new one, the past stays readable."""
    await world.register(MPI)
    order = Order(Kind.MERGE, MPI, WHY, MOF, {SERVICE: SUCCESSOR})
    early = await refused(world, lambda: world.operator.order(order))
    assert (early.code, early.where) == (Code.CONFLICT, "order#/into")
    await world.register(MOF)
    copy = await world.call(lambda: seen_by_servers(world, tmp_path / "copy"))
    row = await world.call(lambda: world.operator.order(order))
    assert row["state"] == "submitted"
    await approve(world, world.operator, row["id"])
    await world.call(lambda: copy.synchronise(world.clock.now()))
    problem = refusal_of(copy, SERVICE)
    assert problem is not None
    assert problem.code is Code.MERGED
    assert problem.facts["successor_service"] == str(SUCCESSOR)
    assert refusal_of(copy, SUCCESSOR) is None
    gone = await refused(world, lambda: RegistryClient(world.url).get(f"members/{MPI}"))
    assert gone.code is Code.UNKNOWN_MEMBER
    rows = await world.call(lambda: world.operator.pages("submissions", member=str(MPI)))
    assert [(one["kind"], one["state"]) for one in rows] == [
        ("first", "revoked"), ("merge", "approved")
    ]  # fmt: skip


async def test_a_member_that_was_deleted_comes_back_as_a_newer_version(world: World) -> None:
    """Its role's version goes on, or servers would take it for an old one."""
    await world.register(MPI)
    row = await world.call(lambda: world.operator.order(Order(Kind.DELETE, MPI, WHY)))
    await approve(world, world.operator, row["id"])
    client = RegistryClient(world.url)
    assert await world.call(lambda: client.published_version(MPI)) == 0
    await world.register(MPI, "Back")
    assert await world.call(lambda: client.published_version(MPI)) == 2


WRONG: list[tuple[bytes, str]] = [
    (b"[]", "order#"),
    (b'{"kind":"stop","thing":{"kind":"member","id":"x"},"reason":{}}', "order#/kind"),
    (b'{"kind":"disable","thing":{"kind":"person","id":"x"},"reason":{}}', "order#/thing/kind"),
    (b'{"kind":"disable","thing":{"kind":"member","id":"x"},"reason":{}}', "order#/thing/id"),
    (
        b'{"kind":"delete","thing":{"kind":"service","id":"LA/GOV/MPI/a/b"},"reason":{}}',
        "order#/thing",
    ),
    (b'{"kind":"merge","thing":{"kind":"member","id":"LA/GOV/MPI"},"reason":{}}', "order#/kind"),
]


@pytest.mark.parametrize(("body", "place"), WRONG)
async def test_a_wrong_order_is_told_its_place(world: World, body: bytes, place: str) -> None:
    """And leaves nothing behind."""
    async with aiohttp.ClientSession(world.url) as session:
        fields = {"Authorization": f"Bearer {world.opened.operator_api_key}"}
        async with session.post("/api/v1/orders", data=body, headers=fields) as answer:
            told = await answer.json()
            assert (answer.status, told["type"], told["where"]) == (422, "InvalidDocument", place)
    assert await world.call(lambda: world.operator.pages("submissions")) == []


# -------------------------------------------------------------------------------------- people


async def test_people_sign_in_with_an_issuer(tmp_path: Path) -> None:
    """A token acts with the right that it claims, and its subject stands in the record."""
    with running_issuer() as issuer:
        from registry.actors.sign_in import SignInSettings

        settings = SignInSettings(issuer.url, AUDIENCE)
        async with real_world(tmp_path, sign_in=settings) as world:
            world.clock.time = datetime.now(world.clock.time.tzinfo)
            token = issuer.token(sub="somphone", saphan_right="approver")
            boss = RegistryClient(world.url, token)
            assert await world.call(lambda: boss.pages("submissions")) == []
            member = RegistryClient(world.url, issuer.token(saphan_right="observer"))
            assert (await refused(world, lambda: member.get("acts"))).status == 403
            assert (await refused(world, lambda: boss.get("keys"))).status == 403


async def test_every_address_of_the_api_is_in_its_document(world: World) -> None:
    """As many operations as the service routes, method by method."""
    registry = world.running
    app = registry._runner.app
    routed = {
        (route.method, route.resource.canonical.removeprefix("/api/v1"))
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/v1/")
    }
    document = await world.call(lambda: RegistryClient(world.url).get("openapi.json"))
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert {method for method, _ in routed} - {"HEAD"} == {method for method, _ in described}
    plain = {(method, path) for method, path in routed if "{id}" not in path and method != "HEAD"}
    assert plain <= described
    assert ("DELETE", "/keys/{id}") in described


async def test_a_service_owner_hands_in_changes_of_its_services_alone(world: World) -> None:
    """The role is signed by the member's key all the same; what else it changes is refused."""
    await world.register(MPI)

    def owner_of(scope: str) -> RegistryClient:
        key = world.operator.add_key("service-owner", "", MPI, [scope])
        return RegistryClient(world.url, key)

    owner = await world.call(lambda: owner_of("LA/GOV/MPI/oda-mis"))
    renamed = world.signed(MPI, "Another name of the member")
    problem = await refused(world, lambda: owner.submit(renamed))
    assert (problem.code, problem.status, problem.where) == (
        Code.NOT_AUTHORISED,
        403,
        "submission#/role",
    )
    record = member_record(MPI)
    titled = replace(
        record, services=tuple(replace(one, title=Text("New", "ໃໝ່")) for one in record.services)
    )
    folder = world.folder(MPI)
    submission = folder.sign(described(titled), 1, world.clock.now())
    row = await world.call(lambda: owner.submit(submission))
    assert [change["kind"] for change in row["changes"]] == ["change service"]
    nameless = await refused(world, lambda: world.operator.add_key("service-owner", "", MPI))
    assert nameless.where == "scope"
