"""Two registry processes on one PostgreSQL database: real processes, killed and cut off."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from certs.authority import DevelopmentAuthority, create_development_pki
from exchange.identifiers import MemberId, ServerId
from exchange.problems import Code, Problem, Text
from exchange.registrations import MemberRecord
from exchange.registry.delegations import role_name
from registry.http.client import RegistryClient
from registry.offline.member import MemberFolder
from registry.offline.operator import draft_request, signed
from registry.publication.ceremony import Opened, open_registry
from registry.publication.signers import read_signers
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order
from registry.settings import RegistrySettings
from registry.store import Store
from tests.registry.simulator import KEYS, MOF, MPI, instance_record, member_record
from tests.registry.world import described
from tests.services.server import DatabaseServer

pytestmark = pytest.mark.needs_postgresql
WHY = Text("Reform", "ການປະຕິຮູບ")
COMMAND = [sys.executable, "-m", "console.cli.main", "registry", "serve"]


class Process:
    """One registry process on a folder of its own."""

    def __init__(self, directory: Path, api_key: str) -> None:
        self.directory = directory
        self._api_key = api_key
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, str(self.directory), "--listen", "127.0.0.1:0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        self.client = RegistryClient(self.url, self._api_key)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def metadata(self, name: str) -> Any:
        """What this process serves, decoded; asked again while it does not know what is newest."""
        while True:
            try:
                with urlopen(f"{self.url}/metadata/{name}", timeout=30) as answer:  # noqa: S310
                    return json.load(answer)["signed"]
            except HTTPError as error:
                if error.code != 503:
                    raise

    def state(self) -> tuple[int, int, dict[str, int]]:
        """Versions of timestamp, snapshot and roles as a client finds them, each of them there."""
        timestamp = self.metadata("timestamp.json")
        snapshot = self.metadata(f"{timestamp['meta']['snapshot.json']['version']}.snapshot.json")
        versions = {name: part["version"] for name, part in snapshot["meta"].items()}
        for name, version in versions.items():
            assert self.metadata(f"{version}.{name}")["version"] == version
        return timestamp["version"], snapshot["version"], versions


@dataclass
class Pair:
    """Two processes, their database, and the members who use them."""

    server: DatabaseServer
    database: str
    opened: Opened
    pki: DevelopmentAuthority
    folder: Path
    processes: list[Process] = field(default_factory=list)

    def update(self, member: MemberId, process: Process) -> Any:
        """The member signs its next version and submits it, which publishes it."""
        at = datetime.now(UTC)
        path = self.folder / str(member).replace("/", "~")
        folder = MemberFolder.open(path) if path.exists() else MemberFolder.create(path, member)
        return process.client.submit(folder.sign(described(self.record(member)), 0, at))

    def record(self, member: MemberId) -> MemberRecord:
        """What a member says of itself, with certificates of this instance's authority."""
        if member not in self.seals:
            self._certify(member)
        record = member_record(member)
        return replace(
            record,
            seal_certificates=(self.seals[member],),
            servers=(replace(record.servers[0], auth_certificates=(self.auths[member],)),),
        )

    def delegation(self, number: int) -> Any:
        """What the targets keys sign for a request, over what is published now."""
        client = self.processes[0].client
        row, own, now = client.get(f"submissions/{number}"), client.own(), datetime.now(UTC)
        at = datetime.fromisoformat(row["submitted_at"])
        draft = draft_request(own, Kind(row["kind"]), client.body(number), at, [], now)
        return signed(own, draft, read_signers(self.opened.targets_keys))

    def _certify(self, member: MemberId) -> None:
        at = datetime.now(UTC)
        seal = self.pki.issue_seal(member, at=at)
        server = ServerId(member.instance, member.member_class, member.member_code, "ss1")
        auth = self.pki.issue_auth(server, ["127.0.0.1"], at=at)
        for issued in (seal, auth):
            assert issued.private_key is not None
            KEYS[issued.certificate] = issued.private_key
        self.seals[member], self.auths[member] = seal.certificate, auth.certificate

    def register(self, member: MemberId, process: Process) -> None:
        row = self.update(member, process)
        process.client.approve(row["id"], self.delegation(row["id"]))

    seals: dict[MemberId, Any] = field(default_factory=dict)
    auths: dict[MemberId, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def pair(
    postgresql_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("shared")
    database = postgresql_server.new_database("registry_shared")
    pki = create_development_pki(folder / "ca", "LA", at=datetime.now(UTC))
    one, two = folder / "one", folder / "two"
    opened = open_registry(
        one,
        replace(instance_record(), authorities=tuple(pki.authorities)),
        datetime.now(UTC),
        settings=RegistrySettings(database=database, approval={"default": "none"}),
    )
    for part in ("online", "registry.yaml", "root.json"):  # all that a second one needs
        source = one / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(two) / part)
    pair = Pair(postgresql_server, database, opened, pki, folder)
    try:
        for directory in (one, two):
            pair.processes.append(Process(directory, opened.operator_api_key))
        pair.register(MPI, pair.processes[0])
        pair.register(MOF, pair.processes[1])
        yield pair
    finally:
        for process in pair.processes:
            process.stop()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def check_states(pair: Pair) -> None:
    """Every state has its own version, without a gap, and both processes show the newest."""
    store = Store(pair.database)
    try:
        states = [version for version, _ in store.states()]
        versions = {f"{name}.json": version for name, version in store.versions().items()}
        stamped = versions.pop("timestamp.json")
        snapshot = versions.pop("snapshot.json")
    finally:
        store.close()
    assert states == list(range(1, snapshot + 1))
    for process in pair.processes:
        assert process.state() == (stamped, snapshot, versions)


def persist(work: Callable[[], Any]) -> Any:
    """Try again while the database is away; anything else is a failure."""
    while True:
        try:
            return work()
        except Problem as problem:
            if problem.code is not Code.DATABASE_UNAVAILABLE:
                raise


def test_both_publish_at_once(pair: Pair) -> None:
    """Two members update through two processes at the same time: no version twice, none lost, and a
    client that is sent to either is never shown an older state than before."""
    one, two = pair.processes
    before = one.state()[2]
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(lambda m=member, p=process: [pair.update(m, p) for _ in range(6)])
            for member, process in ((MPI, one), (MOF, two))
        ]
        seen = [0]
        while not all(future.done() for future in running):
            for process in pair.processes:
                seen.append(process.metadata("timestamp.json")["version"])
        for future in running:
            assert [row["state"] for row in future.result()] == ["approved"] * 6
    assert seen == sorted(seen)
    check_states(pair)
    names = [f"{role_name(member)}.json" for member in (MPI, MOF)]
    after = two.state()[2]
    assert [after[name] for name in names] == [before[name] + 6 for name in names]


def test_a_killed_process_leaves_nothing_half_published(pair: Pair) -> None:
    """Killed in the middle of its acts, one process holds nobody up; started again, it shows what
    the other published meanwhile."""
    one, two = pair.processes
    with ThreadPoolExecutor(1) as pool:
        hasty = pool.submit(_update_until_gone, pair, one)
        pair.update(MOF, two)
        pair.update(MOF, two)
        one.stop(signal.SIGKILL)
        hasty.result()
    assert pair.update(MOF, two)["state"] == "approved"
    one.start()
    check_states(pair)
    assert pair.update(MPI, one)["state"] == "approved"
    check_states(pair)


def _both(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
    """Two acts at the same time; what each gave, or its problem."""

    def told(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Problem as problem:
            return problem

    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(told, first), pool.submit(told, second)]]


def _handed_in(pair: Pair, code: str) -> tuple[MemberId, int, Any]:
    """A first registration that waits, and what the targets keys signed for it."""
    member = MemberId("LA", "GOV", code)
    at = datetime.now(UTC)
    folder = MemberFolder.create(pair.folder / code, member)
    row = pair.processes[0].client.submit(folder.sign(described(pair.record(member)), 0, at))
    return member, row["id"], pair.delegation(row["id"])


def test_approved_and_withdrawn_at_once(pair: Pair) -> None:
    """Through two processes one of the two acts is done and the other is told that it came late;
    approved twice at once, it is published once."""
    one, two = pair.processes
    for number in range(3):
        member, request, signed = _handed_in(pair, f"RACE{number}")
        found = _both(
            lambda n=request, s=signed: one.client.approve(n, s),
            lambda n=request: two.client.withdraw(n, "changed our mind"),
        )
        problems = [item for item in found if isinstance(item, Problem)]
        assert [problem.code for problem in problems] == [Code.CONFLICT]
        state = two.client.get(f"submissions/{request}")["state"]
        assert state == ("approved" if found[1] is problems[0] else "withdrawn")
        assert one.client.published_version(member) == int(state == "approved")
    _, request, signed = _handed_in(pair, "TWICE")
    found = _both(
        lambda: one.client.approve(request, signed), lambda: two.client.approve(request, signed)
    )
    assert sorted(isinstance(item, Problem) for item in found) == [False, True]
    check_states(pair)


def test_deleted_while_another_goes_into_it(pair: Pair) -> None:
    """Both orders were signed over one state: one is carried out, and the other does not fit what
    is published then. Nobody goes into a member that is gone."""
    one, two = pair.processes
    members = []
    for code in ("GOES", "STAYS"):
        member, request, signed = _handed_in(pair, code)
        one.client.approve(request, signed)
        members.append(member)
    goes, stays = members
    merger = one.client.order(Order(Kind.MERGE, goes, WHY, stays, {}))["id"]
    deletion = two.client.order(Order(Kind.DELETE, stays, WHY))["id"]
    signed = [pair.delegation(number) for number in (merger, deletion)]
    found = _both(
        lambda: one.client.approve(merger, signed[0]),
        lambda: two.client.approve(deletion, signed[1]),
    )
    assert sorted(isinstance(item, Problem) for item in found) == [False, True]
    is_merged = not isinstance(found[0], Problem)
    assert (one.client.published_version(stays) > 0) is is_merged
    assert (one.client.published_version(goes) > 0) is not is_merged
    if not is_merged:
        with pytest.raises(Problem) as caught:
            one.client.approve(merger, pair.delegation(merger))
        assert (caught.value.code, caught.value.where) == (Code.CONFLICT, "order#/into")
    check_states(pair)


def _update_until_gone(pair: Pair, process: Process) -> None:
    def work() -> None:
        while True:
            pair.update(MPI, process)

    with pytest.raises(Problem) as caught:
        work()
    assert caught.value.code is Code.REGISTRY_UNREACHABLE


def test_the_database_restarts(pair: Pair) -> None:
    """While it is away, acts are refused by name and what is published is served; both go on after
    it, without a restart of theirs, and what one of them publishes then the other shows at once."""
    one, two = pair.processes
    shown = one.state()
    pair.server.stop()
    try:
        with pytest.raises(Problem) as caught:
            pair.update(MPI, one)
        assert caught.value.code is Code.DATABASE_UNAVAILABLE
        assert one.state() == shown
    finally:
        pair.server.start()
    for member, process in ((MOF, two), (MPI, one)):
        assert persist(lambda m=member, p=process: pair.update(m, p))["state"] == "approved"
        check_states(pair)
