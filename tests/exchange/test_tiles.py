"""Tiles and bundles: C2SP tlog-tiles' own examples, one spelling, and proofs out of tiles."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.log import merkle, tiles
from exchange.log.tiles import ENTRIES, Tile
from exchange.problems import Code, Problem


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 1234067, 8), "tile/0/x001/x234/067.p/8"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
        (Tile(ENTRIES, 1000, 1), "tile/entries/x001/000.p/1"),
        (Tile(1, 273), "tile/1/273"),
    ],
)
def test_paths_are_the_specification_s(tile: Tile, path: str) -> None:
    """Three-digit groups, all but the last with an x; partial tiles with .p/W."""
    assert str(tile) == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/-1/000",
        "tile/0/x000/000", "tile/0/001/234", "tile/0/x001/x234", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000/", "/tile/0/000",
        "tile/0/٠٠٠", "tile/entry/000", "tile/0/000\n", "tile/0/" + "x000/" * 40 + "000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)  # fmt: skip
def test_other_spellings_of_paths_are_refused(path: str) -> None:
    """A path that would not print back is no path."""
    with pytest.raises(Problem) as caught:
        Tile.parse(path)
    assert caught.value.code is Code.INVALID_DOCUMENT


@given(st.integers(-1, 63), st.integers(0, 2**56 - 1), st.integers(1, 256))
def test_paths_print_back(level: int, index: int, width: int) -> None:
    """Formatting and parsing are inverse."""
    tile = Tile(level, index, width)
    assert Tile.parse(str(tile)) == tile


@pytest.mark.parametrize("values", [(0, -1), (64, 0), (-2, 0), (0, 0, 0), (0, 0, 257), (0, 2**56)])
def test_tiles_that_cannot_be_are_not_made(values: tuple[int, ...]) -> None:
    """An impossible tile cannot be constructed."""
    with pytest.raises(Problem):
        Tile(*values)


def test_a_tree_of_70_000() -> None:
    """The specification's example: 273 + .p/112, 1 + .p/17 and .p/1."""
    found = list(tiles.tiles_of(70_000))
    assert Counter((tile.level, tile.full) for tile in found) == {
        (0, True): 273, (0, False): 1, (1, True): 1, (1, False): 1, (2, False): 1,
    }  # fmt: skip
    assert [str(tile) for tile in found if not tile.full] == [
        "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1",
    ]  # fmt: skip
    assert len(list(tiles.bundles_of(70_000))) == 274


def test_a_tree_of_256() -> None:
    """The specification's example: a full tile and, above it, a partial one of width 1."""
    assert list(map(str, tiles.tiles_of(256))) == ["tile/0/000", "tile/1/000.p/1"]
    assert list(tiles.tiles_of(0)) == []


def build(size: int) -> tuple[dict[Tile, bytes], list[bytes]]:
    """All tiles of a tree, straight from the definition."""
    leaves = [merkle.leaf_hash(number.to_bytes(3, "big")) for number in range(size)]
    built: dict[Tile, bytes] = {}
    for tile in tiles.tiles_of(size):
        step = 256**tile.level
        hashes = [
            merkle.root_of_hashes(b"".join(leaves[at * step : (at + 1) * step]))
            for at in range(tile.first, tile.first + tile.width)
        ]
        built[tile] = b"".join(hashes)
    return built, leaves


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 66_000])
def test_proofs_come_out_of_tiles(size: int) -> None:
    """Tiles alone give the root and proofs of inclusion and consistency that check."""
    built, leaves = build(size)
    read = tiles.subtree_reader(size, built.__getitem__)
    root = merkle.root_of_hashes(b"".join(leaves))
    assert merkle.root(size, read) == root
    for index in {0, size // 3, size // 2, size - 1}:
        path = merkle.prove_inclusion(index, size, read)
        merkle.check_inclusion(index, size, leaves[index], path, root)
        old_root = merkle.root_of_hashes(b"".join(leaves[: index + 1]))
        assert merkle.root(index + 1, read) == old_root
        proof = merkle.prove_consistency(index + 1, size, read)
        merkle.check_consistency(index + 1, size, proof, old_root, root)


def test_a_tile_behind_the_tree_is_not_found() -> None:
    """Asking for a tile that the tree does not have is answered with NotFound."""
    with pytest.raises(Problem) as caught:
        tiles.tile_at(0, 1, 256)
    assert caught.value.code is Code.NOT_FOUND


def test_bundles_are_length_prefixed() -> None:
    """Each entry stands behind its length as a big-endian uint16."""
    assert tiles.format_bundle([b"ab", b"", b"c"]) == b"\x00\x02ab\x00\x00\x00\x01c"


def test_an_entry_of_64_kib_does_not_fit() -> None:
    """The longest entry has 65,535 bytes."""
    longest = tiles.format_bundle([bytes(65_535)])
    assert tiles.parse_bundle(longest, 1) == [bytes(65_535)]
    with pytest.raises(Problem):
        tiles.format_bundle([bytes(65_536)])


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20))
def test_bundles_print_back(entries: list[bytes]) -> None:
    """Formatting and parsing are inverse for the right width, and no other width parses."""
    data = tiles.format_bundle(entries)
    assert tiles.parse_bundle(data, len(entries)) == entries
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(Problem):
            tiles.parse_bundle(data, width)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.integers(1, 40))
def test_a_cut_bundle_says_how_much_is_whole(entries: list[bytes], cut: int) -> None:
    """A bundle that was cut is refused, and the entries before the break are counted."""
    data = tiles.format_bundle(entries)
    short = data[: max(0, len(data) - cut)]
    with pytest.raises(Problem) as caught:
        tiles.parse_bundle(short, len(entries))
    assert caught.value.code is Code.JOURNAL_CORRUPT
    whole = caught.value.facts["whole"]
    assert isinstance(whole, int)
    assert (
        tiles.format_bundle(entries[:whole]) == short[: len(tiles.format_bundle(entries[:whole]))]
    )
