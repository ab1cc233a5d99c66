"""ASiC-E containers: one manifest, harmless names, bounded reading (EN 319 162-1)."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable

import pytest

from exchange.evidence import asic
from exchange.problems import Code, Problem

FILES = {"a/b.txt": b"one", "c.json": b"{}", "logs/0/tokens/0.tst": b"\x30"}


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(Problem) as caught:
        asic.unpack(io.BytesIO(data))
    assert caught.value.code is Code.INVALID_DOCUMENT
    return caught.value.detail


def test_what_is_packed_is_unpacked() -> None:
    """The same files come back, and the same files give the same bytes; mimetype is first."""
    files = {asic.MIMETYPE_FILE: asic.MIMETYPE.encode(), **FILES}
    data = asic.pack(files)
    assert asic.unpack(io.BytesIO(data)) == files
    assert asic.pack(dict(reversed(files.items()))) == data
    assert data[30:69] == b"mimetypeapplication/vnd.etsi.asic-e+zip"


def test_a_manifest_names_every_file() -> None:
    """Whatever is changed, added or missing is named."""
    manifest = asic.format_manifest(FILES)
    assert asic.changed_files(manifest, FILES) == []
    assert asic.is_signed(manifest)
    assert not asic.is_signed(asic.format_manifest(FILES, signed=False))
    for files, name in (
        ({**FILES, "c.json": b"[]"}, "c.json"),
        ({**FILES, "d": b""}, "d"),
        ({"c.json": b"{}", "a/b.txt": b"one"}, "logs/0/tokens/0.tst"),
    ):
        assert [found for found, _ in asic.changed_files(manifest, files)] == [name]
    with_comment = manifest.replace(b"</asic", b"<!-- --></asic", 1)
    assert asic.changed_files(with_comment, FILES) == [
        (asic.MANIFEST, "is not written as it must be")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "/a",
        "a/../b",
        "a//b",
        "a/",
        "C:/a",
        "a\\b",
        "-x",
        ".x",
        "a b",
        "ລາວ",
        "a\nb",
        "a" * 201,
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    """No traversal, no absolute path, no option, no name that tools spell differently."""
    assert "is no name for a file" in refusal(packed((name, b"x")))
    with pytest.raises(Problem):
        asic.pack({name: b"x"})
    with pytest.raises(Problem):
        asic.format_manifest({name: b"x"})


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a", "A"])
def test_a_file_that_is_there_twice_is_refused(second: str) -> None:
    """Also when the names differ in case alone: some disks would keep the last."""
    assert refusal(packed(("a", b"1"), (second, b"2"))) == "is there twice"


def _link() -> bytes:
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return packed((info, b"/etc/passwd"))


def _encrypted() -> bytes:
    data = packed(("a", b"x"))
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + b"\x01" + data[at + 9 :]


def _claiming(size: int) -> bytes:
    """A member whose directory entry claims another unpacked size."""
    data = packed(("a", bytes(1000)), kind=zipfile.ZIP_DEFLATED)
    at = data.index(b"PK\x01\x02")
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_link, "is no plain file"),
        (_encrypted, "is encrypted"),
        (lambda: _claiming(asic.MAX_BYTES + 1), "holds more than"),
        (lambda: _claiming(1 << 20), "unpacks to far more"),
        (lambda: _claiming(10), "cannot be read"),
        (lambda: packed(*((f"f{n}", b"") for n in range(asic.MAX_FILES + 1))), "holds more than"),
        (lambda: packed(("a", b""), ("mimetype", b"x")), "is not first, stored and without extra"),
        (lambda: packed(("mimetype", b"x" * 99), kind=zipfile.ZIP_DEFLATED), "is not first"),
        (lambda: b"before" + packed(("mimetype", b"x")), "is not first"),
        (lambda: b"PK nonsense", "cannot be read"),
        (lambda: packed(("a", b"x" * 99))[:-40], "cannot be read"),
        (lambda: packed(("a", b"xyz")).replace(b"xyz", b"xyy", 1), "cannot be read"),
    ],
)
def test_archives_that_harm_are_refused(make: Callable[[], bytes], why: str) -> None:
    """Bombs, links, encryption, damage and a mimetype in the wrong place end before unpacking."""
    assert why in refusal(make())


def test_a_bomb_costs_no_memory() -> None:
    """256 MiB of zeros in a few bytes are refused by what they claim, or cut off where they lie."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a", "w", force_zip64=True) as file,
    ):
        for _ in range(20):
            file.write(bytes(1 << 20))
    data = buffer.getvalue()
    assert len(data) < 30_000
    assert len(asic.unpack(io.BytesIO(data))["a"]) == 20 << 20
    many = packed(*((f"bomb{n}", bytes(14 << 20)) for n in range(19)), kind=zipfile.ZIP_DEFLATED)
    assert "holds more than 256 MiB" in refusal(many)
