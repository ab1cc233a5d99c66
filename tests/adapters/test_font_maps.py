"""Font maps that owners bring: read strictly, and as good as the tables that are built in.

The fonts are made up: of no real one is anything said here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mapping.font_maps import TODAY, encoding_of, font_map, judge, load_font_map
from adapters.mapping.reader import parse
from adapters.text import codec
from adapters.text.convert import Encoding
from adapters.text.detect import detect, sure
from adapters.text.spellings import as_bytes, as_characters
from adapters.text.tables import LSWIN, Table
from console.cli.main import main
from exchange.problems import Code, Problem
from tests.adapters.lao_samples import ENGLISH, FRENCH, LAO, NAMES

HEAD = (
    "saphan_font_map: 1\nname: {name}\ntitle: A font of the tests\nsource: made up for the tests\n"
)
# In place of ASCII: Lao where Latin letters and signs were, digits and the space as they are.
LOW_SIGNS = [sign for sign in TODAY if not "໐" <= sign <= "໙" and sign not in "₭ຯ"]
LOW_CODES = [
    code for code in range(0x21, 0x7F) if not chr(code).isdigit() and code not in b"(),.-/"
]
LOW = (
    HEAD.format(name="inplace")
    + "codes:\n"
    + "".join(
        f'  0x{code:02X}: "\\u{ord(sign):04x}"\n'
        for code, sign in zip(LOW_CODES, LOW_SIGNS, strict=False)
    )
)
# Above ASCII: the letters of another font, each two codes further, and one letter that has two.
HIGH = (
    HEAD.format(name="shifted")
    + "aliases: [shifted-lao]\npreferred:\n  ນ: 0xDB\ncodes:\n  0xDB: ນ\n"
    + "".join(
        f'  0x{code:02X}: "\\u{ord(sign):04x}"\n'
        for code, sign in enumerate((one for one in TODAY if one not in "₭"), 0xA3)
        if code <= 0xDA
    )
)


def table(text: str, file: str = "fonts/own.yaml") -> Table:
    """The table of a font map."""
    return font_map(parse(text.encode(), "own.yaml"), file)


OWN = (table(LOW), table(HIGH))


def run(*arguments: str, data: bytes = b"") -> Result:
    """A command with ``data`` as standard input."""
    return CliRunner().invoke(main, arguments, input=data)


@pytest.mark.parametrize("text", [LOW, HIGH], ids=["low", "high"])
def test_text_is_written_and_read_back(text: str) -> None:
    """Names go into the font's codes and come back, as bytes, as characters of a Latin column and
    through Python's codec."""
    own = table(text)
    encoding = Encoding(own)
    data, losses = encoding.write(NAMES)
    assert losses == ()
    assert encoding.read(data).text == NAMES
    assert encoding.read_characters(data.decode("latin-1")).text == NAMES
    assert data.decode(codec.add(own)) == NAMES
    assert encoding.read_characters(NAMES).text == NAMES


def test_nothing_is_guessed() -> None:
    """A Latin letter that a font in place of ASCII does not tell is a loss; digits, spaces and
    signs stay; above ASCII, every code that is not told is one."""
    low = Encoding(table(HEAD.format(name="tiny") + "codes: {0x64: ກ, 0x7E: '~'}"))
    read = low.read(b"d7 (e)\xa1")
    assert read.text == "ກ7 (\ufffd)\ufffd"
    assert [(loss.position, loss.code) for loss in read.losses] == [(4, 0x65), (6, 0xA1)]
    assert low.read_characters("d7 (e)¡").losses == read.losses
    high = Encoding(table(HEAD.format(name="tiny") + "codes: {0xA1: ກ}"))
    assert high.read(b"de\xa1\xa2").text == "deກ\ufffd"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("codes: {0xA1: ກ, 0xA2: ກ}", "0xA1 and 0xA2 mean 'ກ': say under 'preferred'"),
        ("codes: {0xB0: '0'}", "0x30 and 0xB0 mean '0'"),
        ("codes: {0xA1: ກ, 0xa1: ຂ}", "0xa1 appears twice"),
        ("codes: {0xA1: ກ, 0xA1: ຂ}", "appears twice"),
        ("codes: {0x20: ກ}", "the space"),
        ("codes: {0x1A1: ກ}", "is not a code such as 0xA1"),
        ("codes: {161: ກ}", "is not a code such as 0xA1"),
        ("codes: {0xA1: ''}", "is empty"),
        ('codes: {0xA1: "\\ufffd"}', "U+FFFD is no sign"),
        ('codes: {0xA1: "\\ue001"}', "U+E001 is no sign"),
        ('codes: {0xA1: "\\u200b"}', "U+200B is no sign"),
        ("codes: {0xA1: ກກກກກກກກກ}", "is longer than 8"),
        ("codes: {}", "at least one code"),
        ("codes: {0xA1: ກ}\npreferred: {ກ: 0xA2}", "must be one of the codes that mean 'ກ'"),
        ("codes: {0xA1: ກ}\norder: other", "must be typed"),
        ("codes: {0xA1: ກ}\naliases: [lswin]", "'lswin' is the name of another encoding"),
        ("codes: {0xA1: ກ}\naliases: [latin-1]", "'latin-1' is the name of another encoding"),
        ("codes: {0xA1: ກ}\nshapes: 1", "unknown key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(said: str, why: str) -> None:
    """A map that is ambiguous, or says what cannot be, is refused with line and path."""
    with pytest.raises(Problem) as told:
        table(HEAD.format(name="wrong") + said)
    assert told.value.code is Code.INVALID_MAPPING
    assert told.value.where.startswith("own.yaml:")
    assert why in told.value.detail


@pytest.mark.parametrize("left_out", ["name", "title", "source"])
def test_a_map_names_its_source(left_out: str) -> None:
    """Without name, title and source it is no font map."""
    lines = [line for line in HIGH.splitlines() if not line.startswith(f"{left_out}:")]
    with pytest.raises(Problem, match=f"the key '{left_out}' is missing"):
        table("\n".join(lines))


def test_what_is_lost_is_judged() -> None:
    """Codes without meaning, signs without a code, and texts of several codes."""
    codes = "preferred: {ກ: 0xA1}\ncodes: {0xA1: ກ, 0xA2: ກ, 0xA3: '\\u0ebc', 0xA4: 'ກ\\u0ebc'}"
    judged = judge(table(HEAD.format(name="tiny") + codes.replace("'", '"')))
    assert judged.unread == [*range(0x80, 0xA1), *range(0xA5, 0x100)]
    assert "ກ" not in judged.unwritten
    assert "ຂ" in judged.unwritten
    assert judged.merged == ["ກ", "ກ\u0ebc"]
    # Of a table that is built in: what its documentation says.
    assert "₭" in judge(LSWIN).unwritten


@settings(max_examples=40)
@given(st.text("ກຂຄງ\u0eb1\u0eb4\u0ec8\u0ec9 0", min_size=1, max_size=6))
def test_every_spelling_is_one(text: str) -> None:
    """What a filter asks the source for decodes to what was asked, whatever the font draws over."""
    for own in OWN:
        encoding = Encoding(own)
        wanted = encoding.read(encoding.write(text)[0]).text
        for spelling in as_bytes(encoding, wanted):
            assert encoding.read(spelling).text == wanted
        for characters in as_characters(encoding, wanted):
            assert encoding.read_characters(characters).text == wanted
        assert encoding.write(wanted)[0] in as_bytes(encoding, wanted)


def test_the_detector_knows_it_when_it_is_given() -> None:
    """Names in an owner's font are recognised; without the map they are not; what is English,
    French or Lao already is not taken for it."""
    low, high = table(LOW), table(HIGH)
    for own in (low, high):
        data, _ = Encoding(own).write(f"{NAMES}{LAO}")
        found = sure(detect(data, [low, high]))
        assert found is not None
        assert found.table is own
        known = sure(detect(data))
        assert known is None or known.table is not own
    for text in (ENGLISH * 3, FRENCH * 2, "Ministry of Planning and Investment, Vientiane 0203"):
        assert sure(detect(text, [low, high])) is None
        assert sure(detect(text.encode(), [low, high])) is None
    assert sure(detect(NAMES.encode(), [low, high])) == Encoding(None)


def test_commands_take_a_map(tmp_path: Path) -> None:
    """map judges it; convert finds it by itself or by its name, and back; detect names it."""
    file = tmp_path / "inplace.yaml"
    file.write_text(LOW, "utf-8")
    told = run("text", "map", str(file))
    assert told.exit_code == 0
    assert f"{len(LOW_SIGNS)} codes in place of ASCII" in told.stdout
    data, _ = Encoding(load_font_map(file)).write(NAMES)
    found = run("text", "convert", "-", "--map", str(file), data=data)
    assert found.stdout_bytes.decode() == NAMES
    back = ["--from", "utf-8", "--to", "inplace", "--map", str(file)]
    assert run("text", "convert", "-", *back, data=NAMES.encode()).stdout_bytes == data
    detected = run("text", "detect", "-", "--map", str(file), data=data).stdout
    assert f"Next: saphan text convert - --from inplace --map {file}" in detected
    unknown = run("text", "convert", "-", "--from", "inplace", data=data)
    assert unknown.exit_code == 2
    file.write_text(LOW.replace("source:", "sauce:"), "utf-8")
    assert run("text", "map", str(file)).exit_code == 1


def people(folder: Path, own: Table) -> None:
    """A database with names in an owner's font, in a column of characters."""
    with sqlite3.connect(folder / "people.db") as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, family TEXT NOT NULL)")
        for number, line in enumerate(NAMES.splitlines() * 3, 1):
            stored = Encoding(own).write(line)[0].decode("latin-1")
            connection.execute("INSERT INTO people VALUES (?, ?)", (number, stored))


@pytest.mark.parametrize("text", [LOW, HIGH], ids=["low", "high"])
def test_scan_check_serve_and_filter(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --map a scan finds the column and names the file as the mapping will: the rows pass
    their check, are answered in Lao, and a filter finds one by its name."""
    monkeypatch.chdir(tmp_path)
    Path("fonts").mkdir()
    Path("fonts/own.yaml").write_text(text, "utf-8")
    own = load_font_map(Path("fonts/own.yaml"))
    people(tmp_path, own)
    done = run(
        *("adapter", "scan", "sqlite:///people.db", "-o", "people", "--map", "fonts/own.yaml")
    )
    assert done.exit_code == 0, done.output
    mapping = Path("people/mapping.yaml")
    said = mapping.read_text("utf-8")
    assert "decode:" in said
    # A map beside the mapping may lie in any folder; here it is told by its whole path.
    assert "filters: [id]" in said
    mapping.write_text(said.replace("filters: [id]", "filters: [id, family]"), "utf-8")
    checked = run("adapter", "check", str(mapping), "--rows")
    assert checked.exit_code == 0, checked.output
    name = NAMES.splitlines()[1]
    answered = run("adapter", "try", str(mapping), f"/people?family={name}")
    assert answered.exit_code == 0, answered.output
    assert answered.stdout.count(name) == 3


def test_a_csv_file_in_an_owners_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoding of a CSV file may be a font map above ASCII; one in place of ASCII is refused,
    because commas and headers could be Lao."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(HIGH, "utf-8")
    data, _ = Encoding(load_font_map(Path("own.yaml"))).write(NAMES)
    rows = b"".join(b"%d,%s\n" % pair for pair in enumerate(data.splitlines() * 3, 1))
    Path("people.csv").write_bytes(b"id,family\n" + rows)
    done = run("adapter", "scan", "people.csv", "-o", "people.yaml", "--map", "own.yaml")
    assert done.exit_code == 0, done.output
    assert "encoding: own.yaml" in Path("people.yaml").read_text("utf-8")
    answered = run("adapter", "try", "people.yaml", "/people")
    assert NAMES.splitlines()[0] in answered.stdout, answered.output
    Path("own.yaml").write_text(LOW, "utf-8")
    refused = run("adapter", "check", "people.yaml")
    assert refused.exit_code == 1
    assert "cannot be that of the whole file" in refused.output


def test_two_owners_may_call_two_maps_alike() -> None:
    """A codec is told by what is in it: the second map does not change what the first reads."""
    one = table(HEAD.format(name="same") + "codes: {0xA1: ກ}")
    other = table(HEAD.format(name="same") + "codes: {0xA1: ຂ}")
    names = codec.add(one), codec.add(other)
    assert [b"\xa1".decode(name) for name in names] == ["ກ", "ຂ"]
    assert codec.add(one) == names[0]


def test_a_mapping_names_what_is_there(tmp_path: Path) -> None:
    """decode is an encoding, or the file of a map beside the mapping, copied into UTF-8 or not."""
    (tmp_path / "own.yaml").write_text(HIGH, "utf-8")

    def said(word: str) -> Encoding:
        return encoding_of(parse(f"a: {word}".encode(), "m.yaml", tmp_path).entries()["a"])

    assert said("lswin") == Encoding(LSWIN)
    assert said("own.yaml").in_a_mapping == "own.yaml"
    assert said("'utf-8:own.yaml'").in_a_mapping == "utf-8:own.yaml"
    assert str(said("own.yaml")) == "shifted"
    for word in ("gone.yaml", "alice"):
        with pytest.raises(Problem) as told:
            said(word)
        assert told.value.code is Code.INVALID_MAPPING
