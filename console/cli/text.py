"""`saphan text`: Lao text from before Unicode, to Unicode and back."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import click

from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.problems import Code, Problem

AUTO = "auto"
SHOWN = 5
SHOWN_CODES = 10
FILE = click.argument("file", type=click.File("rb"))


@click.group()
def text() -> None:
    """Convert Lao text from before Unicode, and find out what it is.

    Encodings: ibm1133, mulelao-1 and lswin (fonts such as Saysettha Lao); utf-8; and utf-8:lswin
    and so on, for text whose bytes were copied into UTF-8 as Latin letters; utf-8:utf-8 is that of
    PHP sites whose columns are latin1. docs/lao-text.md says
    where each table comes from and what it lacks. For any other font, --map takes a table of your
    own.
    """


MAPS = click.option(
    "--map",
    "maps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="The file of a font map (docs/lao-text.md): its encoding is known, too, by its name.",
)


@text.command()
@FILE
@click.option(
    "--from",
    "source",
    default=AUTO,
    show_default=True,
    metavar="ENCODING",
    help="The encoding of FILE; auto asks the detector.",
)
@click.option(
    "--to",
    "target",
    default="utf-8",
    show_default=True,
    metavar="ENCODING",
    help="The encoding to write.",
)
@MAPS
@click.option("--normalise", is_flag=True, help="Bring marks, AM and ligatures to one form, too.")
@click.option("--digits", is_flag=True, help="With --normalise: Lao digits as 0 to 9.")
@click.option("--report", is_flag=True, help="Tell every place, not the first few.")
@click.option("--lossy", is_flag=True, help="Losses are accepted: exit with 0 all the same.")
def convert(
    file: BinaryIO,
    source: str,
    target: str,
    maps: tuple[Path, ...],
    *,
    normalise: bool,
    digits: bool,
    report: bool,
    lossy: bool,
) -> None:
    """Write FILE (- for standard input) to standard output in another encoding.

    What cannot be converted becomes U+FFFD (? in an old encoding) and is told on standard error
    with line and column. Without --from the encoding must be certain; else nothing is written.

    Exit codes: 0 nothing was lost; 1 something was, or the encoding is not certain; 2 wrong usage.
    """
    from adapters.text import stream

    own = _tables(maps)
    chosen, rest, told = _source(file, source, own)
    conversion = stream.Conversion(
        source=chosen, target=_encoding(target, own), normalise=normalise or digits, digits=digits
    )
    found = stream.Report()
    out = sys.stdout.buffer
    for part in conversion.run(rest, found):
        out.write(part)
    out.flush()
    _tell(found, told, every=report)
    if found.lost and not lossy:
        sys.exit(1)


@text.command()
@FILE
@MAPS
@JSON
def detect(file: BinaryIO, maps: tuple[Path, ...], as_json: bool) -> None:
    """Say which encodings FILE (- for standard input) may be in, the likeliest first.

    The first 64 KiB are judged: by the codes that are defined, by syllables that are well formed,
    and by pairs of letters that Lao has.

    Exit codes: 0 one is certain; 1 none is; 2 wrong usage.
    """
    from adapters.text import detect as detector

    guesses = detector.detect(file.read(detector.LONGEST_SAMPLE), _tables(maps))
    certain = detector.sure(guesses)
    if as_json:
        document = {
            "certain": None if certain is None else str(certain),
            "guesses": [_as_dict(guess) for guess in guesses],
        }
        print_json(document)
    else:
        for guess in guesses:
            click.echo(
                f"{guess.encoding!s:20} {guess.confidence:4.0%}  {guess.lao} Lao characters,"
                f" {guess.defined:.0%} of codes defined, {guess.formed:.0%} in whole syllables,"
                f" {guess.usual:.0%} usual pairs"
            )
        click.echo(_next(file, certain, found=bool(guesses)))
    if certain is None:
        sys.exit(1)


@text.command()
@FILE
@click.option(
    "--from",
    "source",
    default="utf-8",
    show_default=True,
    metavar="ENCODING",
    help="The encoding of FILE.",
)
@MAPS
def keys(file: BinaryIO, source: str, maps: tuple[Path, ...]) -> None:
    """Print what names in FILE (- for standard input) are looked up by: for a table of sounds.

    A line of FILE is an id, a tab and a name; a line that is printed is the id, a tab and one key.
    Load them into a table with an index on the key: docs/mapping.md, "search by name".

    Exit codes: 0 done; 1 a line is no id and name; 2 wrong usage.
    """
    from adapters.text.names import KEYS_VERSION
    from adapters.text.names import keys as keys_of

    encoding = _encoding(source, _tables(maps))
    for number, line in enumerate(file, 1):
        try:
            found = encoding.read(line.rstrip(b"\r\n"))
        except UnicodeDecodeError as error:
            raise _no_name(file, number, f"is not {source}") from error
        key, tab, name = found.text.partition("\t")
        if not tab or found.losses:
            raise _no_name(file, number, f"is not an id, a tab and a name in {source}")
        for sound in keys_of(name):
            click.echo(f"{key}\t{sound}")
    click.echo(
        f"Next: write sounds_version: {KEYS_VERSION} beside 'sounds' in the mapping", err=True
    )


@text.command(name="map")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JSON
def map_(file: Path, as_json: bool) -> None:
    """Read the font map FILE and say what its table loses.

    Told are codes that mean nothing (text that has one cannot be read whole), signs of Lao that no
    code writes, and texts that several sequences of codes mean (old bytes cannot always be made
    again). docs/lao-text.md says how to write one.

    Exit codes: 0 it is a font map, whatever it loses; 1 it is none; 2 wrong usage.
    """
    from adapters.mapping.font_maps import judge

    (table,) = _tables((file,))
    judged = judge(table)
    unread = [f"0x{code:02X}" for code in judged.unread]
    if as_json:
        document = {
            "name": table.name,
            "codes": len(table.codes),
            "unread": unread,
            "unwritten": list(judged.unwritten),
            "merged": list(judged.merged),
        }
        print_json(document)
        return
    where = " in place of ASCII and above it" if table.low else " above ASCII"
    click.echo(f"{table.name}: {len(table.codes)} codes{where}")
    for words, found in (
        ("mean nothing: a text that has one is not read whole", unread),
        ("are signs of Lao that no code writes", list(judged.unwritten)),
        ("are meant by several codes: reading forgets by which", list(judged.merged)),
    ):
        told = (
            f" ({' '.join(found[:SHOWN_CODES])}{' …' if len(found) > SHOWN_CODES else ''})"
            if found
            else ""
        )
        click.echo(f"{len(found)} {words}{told}")
    click.echo(f"Next: saphan text detect TEXT --map {shlex.quote(str(file))}", err=True)


def _tables(maps: Sequence[Path]) -> list[Any]:
    """The tables of font maps."""
    from adapters.mapping.font_maps import load_font_map

    return [load_font_map(path, str(path)) for path in maps]


def _no_name(file: IO[Any], line: int, detail: str) -> Problem:
    return Problem(Code.UNREADABLE_TEXT, where=f"{_name(file)}:{line}", detail=detail)


def _name(file: IO[Any]) -> str:
    name = getattr(file, "name", "<stdin>")
    return "-" if name == "<stdin>" else str(name)


def _next(file: IO[Any], certain: Any, *, found: bool) -> str:
    if certain is not None:
        own = certain.table.file if certain.table is not None else ""
        known = f" --map {shlex.quote(own)}" if own else ""
        return f"Next: saphan text convert {_name(file)} --from {certain}{known}"
    if found:
        return "None is certain. Next: look at the text in the first of them, or give more text."
    return "No Lao text was found."


def _as_dict(guess: Any) -> dict[str, Any]:
    return {
        "encoding": str(guess.encoding),
        "confidence": round(guess.confidence, 3),
        "lao_characters": guess.lao,
        "codes_defined": round(guess.defined, 3),
        "well_formed": round(guess.formed, 3),
        "usual_pairs": round(guess.usual, 3),
    }


def _encoding(name: str, own: Sequence[Any] = ()) -> Any:
    from adapters.text.convert import Encoding, UnknownEncoding

    try:
        return Encoding.parse(name, own)
    except UnknownEncoding as error:
        raise click.UsageError(str(error)) from error


def _source(file: BinaryIO, name: str, own: Sequence[Any]) -> tuple[Any, BinaryIO, str]:
    """The encoding of a file, the file from its beginning, and what to say of it."""
    if name != AUTO:
        return _encoding(name, own), file, name
    from adapters.text import detect as detector

    head = file.read(detector.LONGEST_SAMPLE)
    guesses = detector.detect(head, own)
    certain = detector.sure(guesses)
    if certain is None and head.isascii():
        certain, told = _encoding("utf-8"), "ASCII"
    elif certain is None:
        likely = ", ".join(f"{guess.encoding} {guess.confidence:.0%}" for guess in guesses[:3])
        raise Problem(
            Code.UNREADABLE_TEXT,
            where=_name(file),
            detail=f"no encoding is certain; likely: {likely or 'none, there seems to be no Lao'}",
            facts={"guesses": [str(guess.encoding) for guess in guesses]},
        )
    else:
        told = f"{certain}, {guesses[0].confidence:.0%} certain"
    return certain, io.BufferedReader(_Joined(head, file)), told


class _Joined(io.RawIOBase):
    """The beginning of a stream that was read already, then the stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            data = self._rest.read(len(buffer))
        else:
            data, self._head = bytes(self._head[: len(buffer)]), self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _tell(found: Any, told: str, *, every: bool) -> None:
    click.echo(
        f"{told}: {found.lines:,} line(s), {found.lost:,} place(s) lost,"
        f" {found.changed:,} normalised",
        err=True,
    )
    for kind, places, count in (
        ("lost", found.losses, found.lost),
        ("normalised", found.changes if every else [], found.changed if every else 0),
    ):
        shown = places if every else places[:SHOWN]
        for place in shown:
            click.echo(f"  {kind} at {place}", err=True)
        if count > len(shown):
            more = "more" if every else "more; --report tells them"
            click.echo(f"  and {count - len(shown):,} {more}", err=True)
    if found.lost:
        click.echo(
            "Next: correct the places, or name another encoding with --from; --lossy accepts them.",
            err=True,
        )
        click.echo(
            "ຂັ້ນຕອນຕໍ່ໄປ: ແກ້ຈຸດທີ່ສູນເສຍ ຫຼື ລະບຸລະຫັດອື່ນດ້ວຍ --from; --lossy ແມ່ນຍອມຮັບ.",
            err=True,
        )
