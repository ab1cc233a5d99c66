"""The tables as Python codecs: ``data.decode("lswin")``, ``open(…, encoding="cp1133")``.

:func:`add` makes an owner's own table one, too. Encoding and decoding, whole and in pieces, with
every error handler that Python has. A codec of a table in typed order decodes to the order of
:func:`exchange.lao.ordered`, also when a cluster is cut between two pieces. :func:`register` may be
called again.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from adapters.text.tables import TABLES, Table
from exchange.lao import MARKS, ordered

_CLUSTER_TAIL: Final = re.compile(f"(?<![{MARKS}\u0eb2\u0eb3])[{MARKS}\u0eb2\u0eb3]++\\Z")
_LONGEST_TAIL: Final = 64


def table_of(name: str) -> Table | None:
    """The table of this name or alias, however it is written."""
    return _names().get(_plain(name)) or _ADDED.get(_plain(name))


_ADDED: Final[dict[str, Table]] = {}
"""The owners' own tables, by the names of their codecs."""


def add(table: Table) -> str:
    """Make an owner's own table known to Python.

    Two owners may call two tables the same: so the codec has a name that tells what is in it, which
    is returned.
    """
    codes = sorted(table.codes.items()), sorted(table.preferred.items())
    told = repr((table.file, *codes, table.typed_order))
    name = f"{table.name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    _ADDED.setdefault(_plain(name), table)
    register()
    return name


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@cache
def _names() -> dict[str, Table]:
    return {
        _plain(name): table for table in TABLES.values() for name in (table.name, *table.aliases)
    }


class TableCodec(codecs.Codec):
    """One table; stateless."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.reading: Mapping[int, str] = table.meanings
        self.writing = _writing(table)

    def encode(self, text: str, errors: str = "strict") -> tuple[bytes, int]:
        return codecs.charmap_encode(text, errors, self.writing)

    def decode(self, data: bytes, errors: str = "strict") -> tuple[str, int]:
        text, count = self.read(data, errors)
        return (ordered(text) if self.table.typed_order else text), count

    def read(self, data: bytes, errors: str) -> tuple[str, int]:
        """Decode without bringing marks into their order."""
        return codecs.charmap_decode(data, errors, self.reading)


def _writing(table: Table) -> dict[int, int]:
    writing: dict[int, int] = {}
    for code, sign in table.meanings.items():
        if len(sign) == 1:
            writing.setdefault(ord(sign), code)
    return writing | {ord(sign): code for sign, code in table.preferred.items()}


class TableDecoder(codecs.IncrementalDecoder):
    """Decodes pieces; holds back the marks of the last cluster until the next piece."""

    codec: TableCodec

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._held = ""

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        text = self._held + self.codec.read(data, self.errors)[0]
        if not self.codec.table.typed_order:
            return text
        tail = None if final else _CLUSTER_TAIL.search(text)
        cut = len(text) if tail is None or len(tail[0]) > _LONGEST_TAIL else tail.start()
        self._held = text[cut:]
        return ordered(text[:cut])

    def reset(self) -> None:
        self._held = ""

    def getstate(self) -> tuple[bytes, int]:
        return self._held.encode("utf-8"), 0

    def setstate(self, state: tuple[bytes, int]) -> None:
        self._held = state[0].decode("utf-8")


class TableEncoder(codecs.IncrementalEncoder):
    """Encodes pieces; a character is a byte, so that nothing is kept."""

    codec: TableCodec

    def encode(self, text: str, final: bool = False) -> bytes:
        return self.codec.encode(text, self.errors)[0]


@cache
def codec_of(table: Table) -> TableCodec:
    """The codec of a table."""
    return TableCodec(table)


@cache
def codec_info(table: Table) -> codecs.CodecInfo:
    """What Python wants to know of a table."""
    table_codec = codec_of(table)

    class Decoder(TableDecoder):
        codec = table_codec

    class Encoder(TableEncoder):
        codec = table_codec

    class Reader(codecs.StreamReader):
        def decode(self, data: bytes, errors: str = "strict") -> tuple[str, int]:
            return table_codec.decode(data, errors)

    class Writer(codecs.StreamWriter):
        def encode(self, text: str, errors: str = "strict") -> tuple[bytes, int]:
            return table_codec.encode(text, errors)

    return codecs.CodecInfo(
        encode=table_codec.encode,
        decode=table_codec.decode,  # type: ignore[arg-type]  # bytes, not any buffer
        incrementalencoder=Encoder,
        incrementaldecoder=Decoder,
        streamreader=Reader,
        streamwriter=Writer,
        name=table.name,
    )


def _search(name: str) -> codecs.CodecInfo | None:
    table = table_of(name)
    return None if table is None else codec_info(table)


def register() -> None:
    """Make the tables known to Python, by their names and aliases."""
    codecs.unregister(_search)
    codecs.register(_search)
