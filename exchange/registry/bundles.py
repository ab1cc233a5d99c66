"""Bundles: many published files in a few archives, for a server that has everything to fetch.

A piece of a bundle is an archive of files under their published names: ustar (POSIX.1-2017, pax,
"ustar Interchange Format") in gzip (RFC 1952), of plain files alone. ``bundle.json`` lists pieces
by size and SHA-256. Nothing is trusted because it is in a bundle: it stands for downloads.

Invariants:
- unpacking is bounded, whatever the archive says: of each file, and of all together;
- of an archive only names and contents are read; what is no plain file ends the reading.

Not checked here: names, and what the files say.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem

LISTING: Final = "bundle.json"
FOLDER: Final = "bundles"
MAX_LISTING_BYTES: Final = 64 << 10
MAX_PIECES: Final = 400
MAX_PIECE_BYTES: Final = 4 << 20
MAX_FILE_BYTES: Final = 5_000_000
MAX_UNPACKED_BYTES: Final = 1 << 30
_BLOCK: Final = 512
_CHUNK: Final = 1 << 16
# name, mode, uid, gid, size, mtime, checksum, type, link, magic, version, names, device, prefix
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OCTAL: Final = re.compile(rb"([0-7]{1,11})[ \0]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Piece:
    """One archive."""

    sha256: str
    size: int

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{FOLDER}/{self.sha256}"


@dataclass(frozen=True, slots=True)
class Listing:
    """``bundle.json``; ``contents`` is a digest of the names of what went in."""

    contents: str
    pieces: tuple[Piece, ...]

    def __bytes__(self) -> bytes:
        pieces = [{"sha256": piece.sha256, "size": piece.size} for piece in self.pieces]
        return format_document({"format": 1, "contents": self.contents, "pieces": pieces})


def parse_listing(data: bytes) -> Listing:
    """Parse ``bundle.json``.

    Raises:
        Problem: ``InvalidDocument``.
    """
    fields = parse_document(data, MAX_LISTING_BYTES, LISTING).members(
        frozenset({"format", "contents", "pieces"})
    )
    fields["format"].integer(1, 1)
    pieces = []
    for item in fields["pieces"].items(MAX_PIECES):
        parts = item.members(frozenset({"sha256", "size"}))
        digest = parts["sha256"].text(64)
        if not _SHA256.fullmatch(digest):
            raise parts["sha256"].refuse("not a SHA-256 in lower-case hexadecimal")
        pieces.append(Piece(digest, parts["size"].integer(1, MAX_PIECE_BYTES)))
    return Listing(fields["contents"].text(64), tuple(pieces))


def is_read_by_servers(path: str) -> bool:
    """Whether servers read this file of a role, as far as its customary name tells."""
    return path.rpartition("/")[2].startswith(("member.", "openapi.", "standing."))


class Packing:
    """An archive as it grows; the same files give the same bytes."""

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31)

    def add(self, name: str, data: bytes) -> bytes:
        """The archive's next bytes; a file whose name or content is too long is left out."""
        header = _header(name, len(data))
        if header is None or len(data) > MAX_FILE_BYTES:
            return b""
        return self._gzip.compress(header + data + bytes(-len(data) % _BLOCK))

    def end(self) -> bytes:
        """The archive's last bytes."""
        return self._gzip.compress(bytes(2 * _BLOCK)) + self._gzip.flush()


def unpack(archive: Iterable[bytes], most: int) -> Iterator[tuple[str, bytes]]:
    """The files of an archive by name, of ``most`` bytes together.

    Raises:
        Problem: ``InvalidDocument`` when it is none, is cut, or is larger than that.
    """
    stream = _Stream(archive, most)
    while (header := stream.read(_BLOCK)).strip(b"\0"):
        name, size = _parse_header(header)
        data = stream.read(size)
        stream.read(-size % _BLOCK)
        yield name, data


class _Stream:
    """What a gzip stream holds, so many bytes at a time."""

    def __init__(self, packed: Iterable[bytes], most: int) -> None:
        self._packed = iter(packed)
        self._left = most
        self._gzip = zlib.decompressobj(31)
        self._ready = bytearray()

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise _invalid("it unpacks to more than may be")
        self._left -= count
        while len(self._ready) < count:
            self._more()
        data = bytes(self._ready[:count])
        del self._ready[:count]
        return data

    def _more(self) -> None:
        chunk = self._gzip.unconsumed_tail or next(self._packed, b"")
        if self._gzip.eof or not chunk:
            raise _invalid("it ends early")
        try:
            self._ready += self._gzip.decompress(chunk, _CHUNK)
        except zlib.error as error:
            raise _invalid(f"not gzip: {error}") from error


def _header(name: str, size: int) -> bytes | None:
    prefix, short = b"", name.encode()
    if len(short) > 100:
        cut = short.find(b"/", len(short) - 101)
        if not 0 < cut <= 155:
            return None
        prefix, short = short[:cut], short[cut + 1 :]
    number, octal = b"0000000\0", b"%011o\0"
    fields = [short, b"0000644\0", number, number, octal % size, octal % 0, b" " * 8, b"0", b""]
    header = _HEADER.pack(*fields, b"ustar\0", b"00", b"", b"", number, number, prefix)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _parse_header(header: bytes) -> tuple[str, int]:
    fields = _HEADER.unpack(header)
    size = _OCTAL.fullmatch(fields[4])
    if fields[9] != b"ustar\0" or fields[7] != b"0" or size is None:
        raise _invalid("it holds something else than plain files")
    if (length := int(size[1], 8)) > MAX_FILE_BYTES:
        raise _invalid(f"a file in it is longer than {MAX_FILE_BYTES} bytes")
    short, prefix = (field.partition(b"\0")[0] for field in (fields[0], fields[15]))
    return (prefix + b"/" + short if prefix else short).decode("utf-8", "replace"), length


def _invalid(detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where="bundle", detail=detail)
