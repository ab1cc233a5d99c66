"""Copies of the registry's database, and ways back, as a server that followed it all sees them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tuf.api.exceptions import DownloadHTTPError

from console.cli.registry import registry
from exchange.problems import Code, Problem
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.fetcher import RegistryFetcher
from registry.offline.operator import sign_files
from registry.publication.ceremony import ANCHOR, PUBLIC
from registry.publication.publish import OWN_ROLE
from registry.publication.tree import Tree
from registry.restoring import back_up, catch_up, restore, set_back
from registry.service import opened_alone
from registry.store import Store
from registry.store.database import METADATA
from registry.store.migrations import head
from tests.registry.simulator import MPI, NOW, SCHEMA, URL, member_record
from tests.registry.test_registrar import OPERATOR, Office

SCHEMA_PATH = "schemas/province.1.json"


class TreeFetcher(RegistryFetcher):
    """The network of a registry whose published tree any web server could serve."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._tree = Tree(directory)

    def _stream(self, url: str) -> Iterator[bytes]:
        kind, _, name = urlsplit(url).path.lstrip("/").partition("/")
        find = {
            "metadata": self._tree.metadata_file,
            "targets": self._tree.target_file,
            "log": self._tree.log_file,
        }
        path = find[kind](name)
        if path is None or not path.is_file():
            raise DownloadHTTPError(f"no {url}", 404)
        return iter((path.read_bytes(),))


class Follower:
    """A server that follows the registry of an office."""

    def __init__(self, office: Office, folder: Path) -> None:
        public, anchor = office.directory / PUBLIC, (office.directory / ANCHOR).read_bytes()
        self._copy = RegistryCopy(
            folder / "copy", URL, anchor, TreeFetcher(public), timedelta(days=1)
        )
        self._copy.load(NOW)

    def members(self) -> dict[str, str]:
        """Synchronise, without a complaint, and tell the names of all members."""
        self._copy.synchronise(NOW)
        state = self._copy.state
        assert state is not None
        assert not state.complaints
        return {str(one.member): one.name.en for one in state.members.values()}

    def schemas(self) -> set[str]:
        self._copy.synchronise(NOW)
        assert self._copy.state is not None
        return set(self._copy.state.schemas)


def rows_of(store: Store) -> dict[str, list[dict[str, object]]]:
    with store.reading():
        return {
            table.name: [row for rows in store._batches(table) for row in rows]
            for table in METADATA.sorted_tables
        }


@pytest.fixture
def office(tmp_path: Path, database: str) -> Iterator[Office]:
    office = Office(tmp_path, database=database)
    yield office
    office.store.close()


def test_a_copy_is_whole_while_the_registry_goes_on(office: Office, tmp_path: Path) -> None:
    """What another thread writes meanwhile is in the copy wholly or not at all; a copy opens as a
    registry of SQLite, whichever engine it was taken from."""
    office.approve(office.submit())
    before = rows_of(office.store)

    def write() -> None:
        with office.store.transaction():
            office.store.append_log(b"one")
            written.set()
            copied.wait(30)
            office.store.append_log(b"two")

    written, copied = threading.Event(), threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(30)
    back_up(office.store, tmp_path / "copy.db")
    copied.set()
    writer.join(30)
    with contextlib.closing(Store(tmp_path / "copy.db")) as copy:
        assert rows_of(copy) == before
    with pytest.raises(Problem) as caught:
        back_up(office.store, tmp_path / "copy.db")
    assert caught.value.code is Code.CONFLICT


def test_a_lost_database_comes_back(office: Office, tmp_path: Path, database: str) -> None:
    """From a copy and the published tree: a server that had seen what came after the copy goes on
    without a rollback, and the registry acts again."""
    office.approve(office.submit())
    back_up(office.store, tmp_path / "copy.db")
    office.approve(office.submit(member_record(MPI, name="Later")))
    follower = Follower(office, tmp_path)
    assert follower.members() == {str(MPI): "Later"}
    last = office.store.version("snapshot")
    office.store.close()
    place = office.directory / "registry.db"
    if database:  # the server is gone with its database: from now on it is SQLite
        text = (office.directory / "registry.yaml").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("database:")]
        (office.directory / "registry.yaml").write_text("\n".join(lines))
    for path in office.directory.glob("registry.db*"):
        path.unlink()
    store = restore(tmp_path / "copy.db", place)
    with contextlib.closing(store):
        found = catch_up(store, office.directory / PUBLIC, NOW)
        assert found.roles == ("LA~GOV~MPI",)
        assert found.log_entries > 0
        assert store.version("snapshot") == last
    again = Office(tmp_path)
    again.approve(again.submit(member_record(MPI, name="Again")))
    assert again.store.version("snapshot") == (last or 0) + 1
    assert follower.members() == {str(MPI): "Again"}
    again.store.close()


def test_a_tree_that_was_changed_is_not_believed(office: Office, tmp_path: Path) -> None:
    """What the tree says counts by its signatures: a changed file is refused, nothing is taken."""
    office.approve(office.submit())
    back_up(office.store, tmp_path / "copy.db")
    office.approve(office.submit(member_record(MPI, name="Later")))
    (role,) = (office.directory / PUBLIC / "metadata").glob("2.LA~GOV~MPI.json")
    role.write_bytes(role.read_bytes().replace(b'"length":', b'"length":1'))
    with contextlib.closing(restore(tmp_path / "copy.db", tmp_path / "new.db")) as store:
        before = rows_of(store)
        with pytest.raises(Problem) as caught:
            catch_up(store, office.directory / PUBLIC, NOW)
        assert caught.value.code is Code.UNTRUSTED_METADATA
        assert rows_of(store) == before


def test_an_earlier_state_is_published_anew(office: Office, tmp_path: Path) -> None:
    """The registry's own word goes back with a higher version; what the member said since is the
    member's, who is named; a server that followed takes it without a rollback."""
    office.approve(office.submit())
    state = office.store.version("snapshot")
    assert state is not None
    signed = sign_files(office.own(), {SCHEMA_PATH: SCHEMA}, office.targets_signers, NOW)
    office.registrar.publish_own(signed.targets, signed.files, OPERATOR, NOW)
    office.approve(office.submit(member_record(MPI, name="Later")))
    follower = Follower(office, tmp_path)
    assert len(follower.schemas()) == 1
    version = office.store.version(OWN_ROLE)
    with pytest.raises(Problem) as caught:
        set_back(office.registrar, office.store, state, office.targets_signers[:1], NOW)
    assert caught.value.code is Code.UNTRUSTED_METADATA
    with pytest.raises(Problem) as caught:
        set_back(office.registrar, office.store, 999, office.targets_signers, NOW)
    assert caught.value.code is Code.NOT_FOUND
    done = set_back(office.registrar, office.store, state, office.targets_signers, NOW)
    assert done.version == (version or 0) + 1
    assert done.members == (MPI,)
    assert follower.schemas() == set()
    assert follower.members() == {str(MPI): "Later"}
    assert office.store.acts(limit=1000)[-1].act == "restore"


def test_a_member_who_came_later_is_none_again(office: Office, tmp_path: Path) -> None:
    """A state before a first registration, published anew, delegates to nobody."""
    state = office.store.version("snapshot")
    assert state is not None
    office.approve(office.submit())
    follower = Follower(office, tmp_path)
    assert follower.members() == {str(MPI): "Ministry"}
    office.store.close()
    with opened_alone(office.directory, NOW) as (registrar, store):
        assert set_back(registrar, store, state, office.targets_signers, NOW).members == ()
        assert registrar.directory.counts()["members"] == 0
    assert follower.members() == {}


def test_the_operator_does_it_by_commands(tmp_path: Path) -> None:
    """Copied, lost, restored, listed, set back: each command tells what it did."""
    office = Office(tmp_path)
    office.approve(office.submit())
    office.store.close()

    def run(*words: object) -> Any:
        result = CliRunner().invoke(registry, [*map(str, words), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    directory, copy = office.directory, tmp_path / "copy.db"
    made = run("backup", directory, copy)
    assert made["sha256"] == sha256(copy.read_bytes()).hexdigest()
    assert copy.stat().st_mode & 0o077 == 0
    for path in directory.glob("registry.db*"):
        path.unlink()
    assert run("restore", directory, copy)["snapshot"] == made["snapshot"]
    assert run("migrate", directory)["version"] == head()
    assert [row["state"] for row in run("states", directory)] == [1, 2]
    keys = directory / "offline"
    done = run("restore-state", directory, "--state", 1, "--keys", keys)
    assert (done["targets"], done["members"]) == (3, [])
    with pytest.raises(Problem) as caught:
        run("restore", directory, copy)
    assert caught.value.code is Code.CONFLICT
