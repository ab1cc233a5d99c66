"""A bundle over the network: it spares requests, and nothing in it can do harm."""

from __future__ import annotations

import gzip
import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registry.bundles import Listing, Packing, Piece
from mediator.registry_copy import RegistryCopy, bundle
from tests.registry.simulator import MPI, NOW, SimulatedRegistry

URL = "https://registry.example/"
OTHERS = [MemberId("LA", "GOV", f"M{number:02}") for number in range(12)]


@pytest.fixture
def registry() -> SimulatedRegistry:
    registry = SimulatedRegistry()
    for member in (MPI, *OTHERS):
        registry.register(member)
    registry.publish()
    return registry


def copy_of(registry: SimulatedRegistry, folder: Path) -> RegistryCopy:
    copy = RegistryCopy(folder, URL, registry.root_bytes, registry.fetcher, timedelta(hours=1))
    copy.load(NOW)
    registry.fetcher.asked.clear()
    return copy


def names(registry: SimulatedRegistry) -> list[str]:
    """What the bundle of a registry holds."""
    return [path for path in registry.files if not path.startswith(("/bundle", "/log"))]


def put_bundle(registry: SimulatedRegistry, *groups: dict[str, bytes]) -> list[str]:
    """Publish a bundle of a piece for each group of files; tells where the pieces are."""
    archives = []
    for files in groups:
        packing = Packing()
        parts = [packing.add(name.lstrip("/"), data) for name, data in files.items()]
        archives.append(b"".join([*parts, packing.end()]))
    return put_pieces(registry, archives)


def put_pieces(registry: SimulatedRegistry, archives: list[bytes]) -> list[str]:
    pieces = tuple(Piece(sha256(data).hexdigest(), len(data)) for data in archives)
    for piece, data in zip(pieces, archives, strict=True):
        registry.files[f"/{piece.path}"] = data
    registry.files["/bundle.json"] = bytes(Listing("0", pieces))
    return [f"/{piece.path}" for piece in pieces]


def of_members(registry: SimulatedRegistry) -> list[str]:
    """What was asked for of members, file by file."""
    return [path for path in registry.fetcher.asked if "LA" in path]


def is_whole(copy: RegistryCopy) -> bool:
    state = copy.state
    return state is not None and len(state.members) == 13 and state.complaints == ()


def test_a_first_start_takes_the_bundle(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """Members, their files and the shared schemas come out of its pieces."""
    whole = {name: registry.files[name] for name in names(registry)}
    halves = [dict(list(whole.items())[:20]), dict(list(whole.items())[20:])]
    pieces = put_bundle(registry, *halves)
    copy = copy_of(registry, tmp_path)
    assert copy.synchronise(NOW)
    assert is_whole(copy)
    top = ["2.root", "timestamp", "1.snapshot", "1.targets"]
    metadata = [f"/metadata/{name}.json" for name in top]
    assert registry.fetcher.asked == [*metadata, "/bundle.json", *pieces]
    again = copy_of(registry, tmp_path)
    assert again.state == copy.state
    assert not (tmp_path / "bundle").exists()


def test_a_stale_bundle_leaves_what_changed_since(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """Only what the bundle has not is fetched."""
    put_bundle(registry, {name: registry.files[name] for name in names(registry)})
    registry.update(MPI, "New name")
    registry.publish()
    copy = copy_of(registry, tmp_path)
    assert copy.synchronise(NOW)
    assert is_whole(copy)
    assert len(of_members(registry)) == 2  # its role and its document; the OpenAPI file is the same


def test_a_copy_that_is_far_behind_takes_the_bundle(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """A server that was away while most members changed does not ask for each; one that lacks
    few does not ask for the bundle."""
    copy = copy_of(registry, tmp_path)
    copy.synchronise(NOW)
    registry.update(MPI, "New name")
    registry.publish()
    registry.fetcher.asked.clear()
    copy.synchronise(NOW)
    assert "/bundle.json" not in registry.fetcher.asked
    for member in OTHERS:
        registry.update(member, "Newer name")
    registry.publish()
    put_bundle(registry, {name: registry.files[name] for name in names(registry)})
    registry.fetcher.asked.clear()
    copy.synchronise(NOW)
    assert is_whole(copy)
    assert of_members(registry) == []


@pytest.mark.parametrize(
    "fault",
    [
        "no listing", "listing of noise", "endless listing", "missing piece", "damaged piece",
        "longer piece", "bomb", "noise", "foreign names", "forged roles", "forged files",
    ],
)  # fmt: skip
def test_a_bad_bundle_costs_the_falling_back(
    registry: SimulatedRegistry, tmp_path: Path, fault: str
) -> None:
    """Whatever is wrong with it, every member is fetched and judged as without a bundle."""
    whole = {name: registry.files[name] for name in names(registry)}
    (path,) = put_bundle(registry, whole)
    if fault == "no listing":
        del registry.files["/bundle.json"]
    elif fault == "listing of noise":
        registry.files["/bundle.json"] = b"\xff{"
    elif fault == "endless listing":
        registry.files["/bundle.json"] = b" " * (1 << 20)
    elif fault == "missing piece":
        del registry.files[path]
    elif fault == "damaged piece":
        registry.files[path] = registry.files[path][::-1]
    elif fault == "longer piece":
        registry.files[path] += b"more"
    elif fault == "bomb":
        put_pieces(registry, [gzip.compress(bytes(64 << 20))])
    elif fault == "noise":
        put_pieces(registry, [os.urandom(2000)])
    elif fault == "foreign names":
        names_ = ["../../escaped", "/metadata/timestamp.json", "metadata/9.timestamp.json",
                  "metadata/1.root.json", "metadata/1.snapshot.json", "metadata/1.targets.json",
                  "metadata/1...json", "targets/../../x.json", f"targets/{'0' * 64}.x"]  # fmt: skip
        put_bundle(registry, dict.fromkeys(names_, b"{}"))
    elif fault == "forged roles":
        put_bundle(registry, {name: b"{}" for name in whole if "metadata" in name})
    else:
        put_bundle(registry, {n: data + b" " for n, data in whole.items() if "targets/" in n})
    copy = copy_of(registry, tmp_path / "copy")
    assert copy.synchronise(NOW)
    assert is_whole(copy)
    assert len(of_members(registry)) == 13 * 3
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}
    assert not copy.synchronise(NOW)


def test_another_members_role_is_not_taken(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """A role under the name of another member lacks that member's signature."""
    mine, other = "metadata/1.LA~GOV~MPI.json", "metadata/1.LA~GOV~M00.json"
    put_bundle(registry, {mine: registry.files[f"/{other}"]})
    copy = copy_of(registry, tmp_path)
    copy.synchronise(NOW)
    assert is_whole(copy)
    assert f"/{mine}" in registry.fetcher.asked


def test_a_cut_line_goes_on_where_it_was(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """Pieces that came before the line was cut are not asked for again."""
    whole = list(names(registry))
    groups = [{name: registry.files[name] for name in whole[at::3]} for at in range(3)]
    pieces = put_bundle(registry, *groups)
    copy = copy_of(registry, tmp_path)
    plain = registry.fetcher._stream

    def cut(url: str):  # type: ignore[no-untyped-def]
        if url.endswith(pieces[2]) or "LA" in url:
            raise DownloadError("the line is cut")
        return plain(url)

    registry.fetcher._stream = cut  # type: ignore[method-assign]
    with pytest.raises(Problem) as caught:
        copy.synchronise(NOW)
    assert caught.value.code is Code.REGISTRY_UNREACHABLE
    registry.fetcher._stream = plain  # type: ignore[method-assign]
    again = copy_of(registry, tmp_path)
    assert again.synchronise(NOW)
    assert is_whole(again)
    assert [path for path in registry.fetcher.asked if path in pieces] == pieces[2:]
    assert of_members(registry) == []


def test_bundles_of_junk_do_not_fill_the_disk(
    registry: SimulatedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often another bundle comes of which nothing gets in force, what lies on the disk is
    bounded, small files counting as what they take there; a good answer sweeps all of it."""
    monkeypatch.setattr(bundle, "MAX_UNPACKED_BYTES", 100 * 4096)
    copy = copy_of(registry, tmp_path)
    for number in range(8):
        junk = [b"%d %d" % (number, each) for each in range(40)]
        named = {f"targets/x/{sha256(one).hexdigest()}.x": one for one in junk}
        put_bundle(registry, named, {"targets/odd": b"%d" % number})
        registry.fetcher.lost = f"{URL}targets/"  # so no round ends well
        with pytest.raises(Problem):
            copy.synchronise(NOW)
        assert len(list((tmp_path / "bundle").iterdir())) <= 2
    assert len(list((tmp_path / "files").iterdir())) == 100
    registry.fetcher.lost = None
    assert copy.synchronise(NOW)
    assert is_whole(copy)
    assert len(list((tmp_path / "files").iterdir())) < 40
