"""`saphan text`: streams, reports and refusals."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.text import codec, stream
from adapters.text.convert import Encoding
from adapters.text.names import keys
from adapters.text.tables import TABLES
from console.cli.main import main
from exchange.problems import Problem
from tests.adapters.lao_samples import FRENCH, LAO, NAMES

codec.register()

EVERY = pytest.mark.parametrize("name", list(TABLES))


def run(*arguments: str, data: bytes = b"") -> Result:
    """The command with ``data`` as standard input."""
    return CliRunner().invoke(main, ["text", *arguments], input=data)


@EVERY
def test_the_encoding_is_found_and_told(name: str, tmp_path: Path) -> None:
    """auto finds the encoding of a file, says it with its confidence, and writes UTF-8."""
    file = tmp_path / "old.txt"
    file.write_bytes(NAMES.encode(name))
    done = run("convert", str(file))
    assert done.stdout_bytes.decode() == NAMES
    assert done.stderr.startswith(f"{name}, ")
    assert "0 place(s) lost" in done.stderr
    assert done.exit_code == 0


def test_text_copied_as_characters_is_found(tmp_path: Path) -> None:
    """A UTF-8 file that holds a table's bytes as Latin letters is found, read, and made again."""
    copied = NAMES.encode("lswin").decode("cp1252").encode()
    done = run("convert", "-", data=copied)
    assert done.stdout_bytes.decode() == NAMES
    assert done.stderr.startswith("utf-8:lswin, ")
    back = run("convert", "-", "--from", "utf-8", "--to", "utf-8:lswin", data=NAMES.encode())
    assert back.stdout_bytes == copied


@EVERY
def test_there_and_back(name: str) -> None:
    """UTF-8 to an old encoding and back: the same text."""
    there = run("convert", "-", "--from", "utf-8", "--to", name, data=NAMES.encode())
    assert there.stdout_bytes == NAMES.encode(name)
    assert there.exit_code == 0
    back = run("convert", "-", "--from", name, data=there.stdout_bytes)
    assert back.stdout_bytes.decode() == NAMES


@pytest.mark.parametrize("data", [FRENCH.encode("cp1252"), b"\xa1\xa2", b"\x80\x81\xff"])
def test_it_refuses_when_it_is_not_sure(data: bytes) -> None:
    """Nothing is written unless an encoding is certain or named; the problem says what is likely,
    in both languages."""
    done = run("convert", "-", data=data)
    assert done.exit_code == 1
    assert done.stdout_bytes == b""
    assert "UnreadableText" in done.stderr
    assert "ກະລຸນາ" in done.stderr
    assert run("convert", "-", "--from", "mulelao-1", "--lossy", data=data).exit_code == 0


def test_losses_are_told_with_line_and_column() -> None:
    """Each loss has its line, column and code; it is U+FFFD in the text; the command fails unless
    losses are accepted."""
    data = "ກຂ\nຄ".encode("lswin") + b"\xc7\n" + b"ab\xe5"
    done = run("convert", "-", "--from", "lswin", data=data)
    assert done.stdout_bytes.decode() == "ກຂ\nຄ\ufffd\nab\ufffd"
    assert "lost at 2:2 0xC7 is not defined" in done.stderr
    assert "lost at 3:3 0xE5 is not defined" in done.stderr
    assert done.exit_code == 1
    assert run("convert", "-", "--from", "lswin", "--lossy", data=data).exit_code == 0
    written = run("convert", "-", "--from", "utf-8", "--to", "lswin", data="ກ໐".encode())
    assert written.stdout_bytes == b"\xa1?"
    assert "lost at 1:2 U+0ED0 cannot be written" in written.stderr


def test_few_places_are_shown_unless_all_are_asked_for() -> None:
    """Five losses, then how many more; --report tells all, and what was normalised."""
    data = b"\xc7" * 9
    few = run("convert", "-", "--from", "lswin", data=data).stderr
    assert (few.count("lost at"), "and 4 more; --report tells them" in few) == (5, True)
    every = run("convert", "-", "--from", "lswin", "--report", data=data).stderr
    assert every.count("lost at") == 9
    text = "ນ\u0ecd\u0eb2 ໑".encode()
    done = run("convert", "-", "--from", "utf-8", "--normalise", "--digits", "--report", data=text)
    assert done.stdout_bytes.decode() == "ນຳ 1"
    assert "normalised at 1:2 vowel AM: 0ECD 0EB2 became 0EB3" in done.stderr
    assert "normalised at 1:5 digit: 0ED1 became 0031" in done.stderr


def test_what_is_not_utf_8_is_refused_with_its_place() -> None:
    """Named as UTF-8, but is not: line and column of the first byte that is not."""
    done = run("convert", "-", "--from", "utf-8", data="ກຂ\nຄງ".encode() + b"\xff")
    assert done.exit_code == 1
    assert "UnreadableText at 2:3" in done.stderr


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_an_unknown_encoding_is_wrong_usage(option: str) -> None:
    """The names that there are are told."""
    done = run("convert", "-", option, "alice", data=b"")
    assert done.exit_code == 2
    assert "lswin" in done.stderr


def test_detect_ranks() -> None:
    """The ranking for people and for programs; exit code 1 when none is certain."""
    done = run("detect", "-", data=LAO.encode("mulelao-1"))
    assert done.exit_code == 0
    assert done.stdout.startswith("mulelao-1 ")
    assert "--from mulelao-1" in done.stdout
    document = json.loads(run("detect", "-", "--json", data=LAO.encode("cp1133")).stdout)
    assert document["certain"] == document["guesses"][0]["encoding"] == "ibm1133"
    assert document["guesses"][0]["confidence"] > 0.9
    none = run("detect", "-", data=b"no Lao here")
    assert (none.exit_code, none.stdout) == (1, "No Lao text was found.\n")


class Counted(io.RawIOBase):
    """A stream of many lines that notes how far ahead of the writer it was read."""

    def __init__(self, lines: int) -> None:
        self.left = lines
        self.read_lines = 0

    def readline(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        self.left -= 1
        self.read_lines += 1
        return b"\xa1\n" if self.left >= 0 else b""


def test_text_of_any_length_streams() -> None:
    """A part is given out before the next line is read."""
    file, report = Counted(1_000), stream.Report()
    conversion = stream.Conversion(source=Encoding.parse("cp1133"), target=Encoding(None))
    for number, part in enumerate(conversion.run(file, report), 1):  # type: ignore[arg-type]
        assert part == "ກ\n".encode()
        assert file.read_lines == number
    assert report.lines == 1_000


@pytest.mark.parametrize("unit", ["ກຂ ", "ກຂ"])
@pytest.mark.parametrize("name", ["utf-8", "cp1133"])
def test_a_long_line_is_one_line(unit: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line beyond the bound is converted in parts; nothing is lost or cut, and columns go on."""
    monkeypatch.setattr(stream, "LONGEST_LINE", 100)
    text = unit * 200 + "\n" + unit
    report = stream.Report()
    conversion = stream.Conversion(source=Encoding.parse(name), target=Encoding(None))
    data = text.encode(name) + b"\xfb" * (name == "cp1133")
    parts = list(conversion.run(io.BytesIO(data), report))
    assert b"".join(parts).decode().removesuffix("\ufffd") == text
    assert report.lines == 2
    if name == "cp1133":
        assert str(report.losses[0]) == f"2:{len(unit) + 1} 0xFB is not defined"
        whole = io.BytesIO(unit.encode(name) * 200 + b"\xfb")
        list(conversion.run(whole, report))
        assert report.losses[1].column == len(unit) * 200 + 1
    else:
        with pytest.raises(Problem, match=f"1:{len(unit) * 200 + 1}"):
            list(conversion.run(io.BytesIO(unit.encode() * 200 + b"\xff"), stream.Report()))


def test_keys_are_printed_for_a_table_of_sounds() -> None:
    """A row for each key of a name, in whatever script; a line that is none is told."""
    lines = "7\tXayavong\n8\tໄຊຍະວົງ ບຸນມີ\n9\t\n"
    done = run("keys", "-", data=lines.encode())
    expected = [
        (number, key) for number, name in ((7, "Xayavong"), (8, "ໄຊຍະວົງ ບຸນມີ")) for key in keys(name)
    ]
    assert done.stdout == "".join(f"{number}\t{key}\n" for number, key in expected)
    old = run("keys", "-", "--from", "lswin", data=b"8\t" + "ໄຊຍະວົງ".encode("lswin"))
    assert old.stdout == f"8\t{keys('ໄຊຍະວົງ')[0]}\n"
    for wrong in (b"Xayavong\n", b"1\t\xff\xfe\n"):
        broken = run("keys", "-", data=b"1\tA\n" + wrong)
        assert broken.exit_code != 0
        assert "-:2" in broken.output
