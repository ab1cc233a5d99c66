"""Rules of exchange.bundles: what archives hold, and how little a hostile one can do."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.problems import Code, Problem
from exchange.registry.bundles import (
    MAX_FILE_BYTES,
    MAX_PIECES,
    Listing,
    Packing,
    Piece,
    parse_listing,
    unpack,
)

NAMES = st.from_regex(r"[a-z]{1,60}(/[A-Za-z0-9.~%'(),=+-]{1,90}){0,2}", fullmatch=True)


def packed(files: dict[str, bytes]) -> bytes:
    packing = Packing()
    return b"".join([*(packing.add(*item) for item in files.items()), packing.end()])


def refusal(archive: bytes, most: int = 1 << 20) -> Code:
    with pytest.raises(Problem) as caught:
        list(unpack([archive], most))
    return caught.value.code


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6), st.integers(1, 700))
def test_what_is_packed_is_unpacked(files: dict[str, bytes], chunk: int) -> None:
    """Names and contents come back in their order, in whatever chunks the archive arrives."""
    archive = packed(files)
    chunks = [archive[at : at + chunk] for at in range(0, len(archive), chunk)]
    assert list(unpack(chunks, 1 << 20)) == list(files.items())
    assert packed(files) == archive


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6))
def test_another_implementation_reads_and_writes_the_same(files: dict[str, bytes]) -> None:
    """Python's tarfile reads what is packed; what it writes as ustar is unpacked."""
    with tarfile.open(fileobj=io.BytesIO(packed(files))) as theirs:
        found = {entry.name: theirs.extractfile(entry) for entry in theirs}
        assert {name: file.read() for name, file in found.items() if file} == files
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.USTAR_FORMAT) as theirs:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            theirs.addfile(entry, io.BytesIO(data))
    assert dict(unpack([out.getvalue()], 1 << 20)) == files


def test_what_is_too_long_is_left_out() -> None:
    """A name that ustar cannot hold and a file that nobody would take do not spoil the rest."""
    files = {"a" * 300: b"", "long": bytes(MAX_FILE_BYTES + 1), "good": b"x"}
    assert list(unpack([packed(files)], 1 << 23)) == [("good", b"x")]


def test_a_bomb_ends_where_the_bound_is() -> None:
    """An archive that unpacks to more than may be is refused, and so is one long file in it."""
    assert refusal(packed({str(n): bytes(1 << 18) for n in range(9)})) is Code.INVALID_DOCUMENT
    header = gzip.decompress(packed({"a": b""}))[:512]
    endless = header.replace(b"00000000000\0", b"77777777777\0", 1)
    assert refusal(gzip.compress(endless + bytes(9999))) is Code.INVALID_DOCUMENT


@pytest.mark.parametrize("kind", ["link", "folder", "extended", "cut", "noise", "empty", "no tar"])
def test_what_is_no_archive_of_plain_files_is_refused(kind: str) -> None:
    """Links, folders and extended headers are not read; a cut archive is known for one."""
    out = io.BytesIO()
    form = tarfile.PAX_FORMAT if kind == "extended" else tarfile.USTAR_FORMAT
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as theirs:
        entry = tarfile.TarInfo("x" * 300 if kind == "extended" else "x")
        entry.type = {"link": tarfile.SYMTYPE, "folder": tarfile.DIRTYPE}.get(kind, tarfile.REGTYPE)
        theirs.addfile(entry)
    archive = {
        "cut": out.getvalue()[:-30],
        "noise": b"noise",
        "empty": b"",
        "no tar": gzip.compress(b"x" * 2000),
    }.get(kind, out.getvalue())
    assert refusal(archive) is Code.INVALID_DOCUMENT


def test_a_listing_comes_back() -> None:
    """What is formatted is parsed."""
    listing = Listing("ab", (Piece("0" * 64, 7), Piece("f" * 64, 1 << 20)))
    assert parse_listing(bytes(listing)) == listing
    assert listing.pieces[0].path == f"bundles/{'0' * 64}"


@pytest.mark.parametrize(
    "change",
    [
        (b'"' + b"f" * 64, b'"../../x'),
        (b"1048576", b"999999999"),
        (b"1048576", b"0"),
        (b'"format":1', b'"format":2'),
        (b'"pieces":[', b'"pieces":[' + b'{"sha256":"%s","size":1},' % (b"0" * 64) * MAX_PIECES),
    ],
    ids=["name", "too large", "empty", "format", "too many"],
)
def test_a_listing_is_read_strictly(change: tuple[bytes, bytes]) -> None:
    """Names are digests; sizes and numbers are bounded."""
    data = bytes(Listing("ab", (Piece("f" * 64, 1 << 20),)))
    assert change[0] in data
    with pytest.raises(Problem) as caught:
        parse_listing(data.replace(*change))
    assert caught.value.code is Code.INVALID_DOCUMENT
