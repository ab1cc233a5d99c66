"""The tables of Lao encodings as Python codecs, against foreign implementations."""

from __future__ import annotations

import codecs
import io
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.text import codec
from adapters.text.tables import IBM1133, LSWIN, MULELAO_1, TABLES, Table
from exchange.lao import ordered
from tests.adapters.lao_samples import LAO, NAMES

codec.register()

EVERY = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
# jvongxay/laofont v1.0.0, ascii_unicode_test.go: the codes, and the Unicode that it expects.
FOREIGN = (
    ("b5fabea4a5f8aef8ecf6b4", "ຢ່າງຈູບູລົມ"),
    ("ecbeb8c2eaecbda3f6b4", "ລາວໂທລະຄົມ"),
    ("a9b8a4aef7aeb0be", "ດວງບຸບຜາ"),
    ("c1a6ada6f7ecf2adeabe", "ແສນສຸລິນທາ"),
    ("ea2ec1a1fbb8a2b8f1adc0bbf5baad", "ທ.ແກ້ວຂວັນເຮືອນ"),
    ("ea2ea7bca4eabaada3f0be", "ທ.ຊຽງທອນຄໍາ"),
    ("b42ea6f3a6f1a9aabdadbea12c20adbda3baadb9f9b8a4b8bca4a5f1ad", "ມ.ສີສັດຕະນາກ, ນະຄອນຫຼວງວຽງຈັນ"),
    ("aefaf0adbea4f6b82c20c0bbf5baadc0eca1eaf33a", "ບ່ໍນາງົວ, ເຮືອນເລກທີ:"),
)
# bii811/SaysetthaLaoToUnicode, converter.py: codes 0xA1 to 0xFE of the font Saysettha Lao; a full
# stop is a code that it does not know, a vertical bar parts the texts.
SAYSETTHA = (
    "ກ|ຂ|ຄ|ງ|ຈ|ສ|ຊ|ຍ|ດ|ຕ|ຖ|.|ນ|ບ|ປ|ຜ|ຝ|ພ|ຟ|ມ|ຢ|.|.|ວ|ຫ|ອ|ຮ|ຽ|ະ|າ|ໍາ|ເ|ແ|ໂ|ໃ|ໄ|ໆ|ຯ|.|"
    "\u0ec8|\u0ec9|\u0eca|\u0ecb|\u0ecc|ຫ\u0ebc|ໜ|.|\u0eb8|\u0eb9|\u0ecd\u0ec8|\u0ecd\u0ec9|\u0ecd\u0ec8າ|"
    "\u0ecd\u0ec9າ|\u0ecd|\u0eb1|\u0eb4|\u0eb5|\u0eb6|\u0eb7|\u0ebb|\u0eb8|\u0eb9|.|.|.|.|.|.|.|.|.|.|.|ທ|ຣ|ລ|"
    "\u0ebb\u0ec9|.|.|\u0ecd|\u0eb1|\u0eb4|\u0eb5|\u0eb6|\u0eb7|\u0ebb|\u0eb8|\u0eb9|\u0ebc|\u0ec8|\u0ec9|\u0eca|"
    "\u0ecb|\u0ecc"
)
VARIANTS = tuple(f"{code:02x}" for code in LSWIN.codes)


def iconv(data: bytes, source: str, target: str) -> bytes | None:
    """What the C library makes of ``data``; None when it refuses."""
    run = subprocess.run(["iconv", "-f", source, "-t", target], input=data, capture_output=True)
    return run.stdout if run.returncode == 0 else None


needs_iconv = pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv is not installed")


@needs_iconv
def test_ibm1133_reads_as_glibc_does() -> None:
    """All 256 bytes: the same character as glibc's, or both refuse; but for 0xDF, IBM's kip sign,
    which glibc gives up for the letter k, and 0xA0, which glibc does not know (libiconv does)."""
    ours = {code: IBM1133.codes.get(code) for code in range(0x80, 0x100)}
    defined = bytes(code for code, sign in ours.items() if sign and code not in (0xA0, 0xDF))
    whole = bytes(range(0x80)) + defined
    read = iconv(whole, "IBM1133", "UTF-8")
    assert read is not None
    assert whole.decode("cp1133") == read.decode("utf-8")
    for code in (*IBM1133.undefined, 0xA0):
        assert iconv(bytes([code]), "IBM1133", "UTF-8") is None
    assert iconv(b"\xdf", "IBM1133", "UTF-8") == b"k"
    assert b"\xdf".decode("cp1133") == "₭"


@needs_iconv
def test_ibm1133_writes_as_glibc_does() -> None:
    """Every character of the table but the kip sign becomes the byte that glibc writes."""
    signs = bytes(range(0x80)).decode() + "".join(IBM1133.codes.values()).replace("₭", "")
    assert signs.encode("cp1133") == iconv(signs.encode("utf-8"), "UTF-8", "IBM1133")


@needs_iconv
def test_mulelao_reads_as_libiconv_does_where_there_is_one() -> None:
    """An iconv that knows MULELAO-1 (GNU libiconv) agrees; glibc has none, and then the layout is
    the proof: a code is its place in Unicode's Lao block, as in the Emacs charset."""
    known = iconv(b"a", "MULELAO-1", "UTF-8") is not None
    for code, sign in MULELAO_1.codes.items():
        if code < 0xA1 or code in (0xDF, 0xFB):
            continue
        assert ord(sign) == code - 0xA0 + 0x0E80
        if known:
            assert iconv(bytes([code]), "MULELAO-1", "UTF-8") == sign.encode("utf-8")


@pytest.mark.parametrize(("data", "text"), FOREIGN)
def test_lswin_reads_the_examples_of_its_source(data: str, text: str) -> None:
    """The names and addresses that the source of the map tests itself with, in Unicode's order."""
    assert bytes.fromhex(data).decode("lswin") == ordered(text)


def test_lswin_reads_the_codes_of_saysettha_lao() -> None:
    """The other source of the table, a converter of the font Saysettha Lao, agrees in every code
    that it knows; what it does not know is not defined, or is in the first source."""
    for code, text in enumerate(SAYSETTHA.split("|"), 0xA1):
        if text != ".":
            assert bytes([code]).decode("lswin") == ordered(text)
        else:
            assert code not in LSWIN.codes or code in (0xCF, 0xDF)


def test_lswin_reads_the_example_sentences_of_saysettha_lao() -> None:
    """The same source's examples, from a word list: Lao in every word."""
    example = "À»ñ©Ã¹ÉÃ§É®ÒÄ©É, ª\u02dc¤µøÈ, ¡¾\xad²½\xadñ\xad, ¢º¤ê\u2020Ã§ÉÃ\xad¡¾\xad"
    read = "ເຮັດໃຫ້ໃຊ້ບໍ່ໄດ້, ຕັ້ງຢູ່, ການພະນັນ, ຂອງທີ່ໃຊ້ໃນການ"
    assert example.encode("cp1252").decode("lswin") == read


@pytest.mark.parametrize("code", VARIANTS)
def test_variants_of_one_sign_are_read_alike(code: str) -> None:
    """Raised tone marks, ready-made stacks and the older ນ: many codes to one text, and the text
    is written with one of them and read back the same."""
    text = bytes.fromhex(code).decode("lswin")
    assert text.encode("lswin").decode("lswin") == text


def test_marks_are_put_in_order_when_they_were_typed_otherwise() -> None:
    """Fonts draw a tone before its vowel as well as after it; AM of two signs is one."""
    assert bytes.fromhex("aefaf0").decode("lswin") == "ບໍ່"
    assert bytes.fromhex("adfbf0be").decode("lswin") == "ນ້ຳ"


@EVERY
@given(data=st.data())
def test_what_can_be_written_reads_back(table: Table, data: st.DataObject) -> None:
    """encode, then decode: the same text (in order, for a table of typed order)."""
    letters = list("".join(table.codes.values()) + "aZ09 .\n")
    text = data.draw(st.text(st.sampled_from(letters), max_size=60))
    expected = ordered(text) if table.typed_order else text
    assert text.encode(table.name).decode(table.name) == expected


@EVERY
@given(data=st.data())
def test_pieces_make_the_whole(table: Table, data: st.DataObject) -> None:
    """However a text is cut, the incremental decoder gives what decoding at once gives."""
    defined = bytes(range(0x80)) + bytes(table.codes)
    whole = bytes(data.draw(st.lists(st.sampled_from(list(defined)), max_size=40)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    decoder = codecs.getincrementaldecoder(table.name)()
    pieces = [
        decoder.decode(whole[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    ]
    assert "".join([*pieces, decoder.decode(b"", True)]) == whole.decode(table.name)


def test_a_long_run_of_marks_is_no_trap() -> None:
    """Marks without an end, in one piece or in many: what is held back stays small."""
    decoder = codecs.getincrementaldecoder("lswin")()
    marks = LSWIN.preferred["\u0ec8"].to_bytes(1, "big") * 60_000
    assert decoder.decode(marks + b"a" + marks[:10]).endswith("a")
    assert len(decoder.getstate()[0]) <= 3 * 64
    for _ in range(200):
        decoder.decode(marks[:1])
        assert len(decoder.getstate()[0]) <= 3 * 64


@EVERY
def test_error_handlers_work_as_everywhere(table: Table) -> None:
    """strict names the place; replace, ignore and backslashreplace do what Python says."""
    bad = table.undefined[0]
    data = b"ab" + bytes([bad]) + b"c"
    with pytest.raises(UnicodeDecodeError) as caught:
        data.decode(table.name)
    assert caught.value.start == 2
    assert data.decode(table.name, "replace") == "ab\ufffdc"
    assert data.decode(table.name, "ignore") == "abc"
    assert data.decode(table.name, "backslashreplace") == f"ab\\x{bad:02x}c"
    with pytest.raises(UnicodeEncodeError):
        "ไทย".encode(table.name)
    assert "ไ".encode(table.name, "xmlcharrefreplace") == b"&#3652;"


@EVERY
def test_a_codec_opens_files(table: Table) -> None:
    """Text files, streams and the incremental encoder use the same table, by any alias."""
    for name in (table.name, table.name.upper(), *table.aliases):
        assert codecs.lookup(name).name == table.name
    file = io.TextIOWrapper(io.BytesIO(NAMES.encode(table.name)), encoding=table.name)
    assert file.read() == NAMES
    assert codecs.getreader(table.name)(io.BytesIO(LAO.encode(table.name))).read() == LAO
    written = io.BytesIO()
    codecs.getwriter(table.name)(written).write(LAO)
    assert written.getvalue() == LAO.encode(table.name)
    assert b"".join(codecs.iterencode(list(LAO), table.name)) == LAO.encode(table.name)


@EVERY
def test_a_table_is_sound(table: Table) -> None:
    """It cites a source, keeps ASCII, and writes each sign with a byte that reads as it."""
    assert "http" in table.source
    assert all(code >= 0x80 and sign for code, sign in table.codes.items())
    assert bytes(range(0x80)).decode(table.name) == bytes(range(0x80)).decode("ascii")
    for sign, code in table.preferred.items():
        assert table.codes[code] == sign


def test_lswin_says_what_it_lacks() -> None:
    """The sources of the map have no Lao digits and no kip sign: they cannot be written."""
    for sign in "໐໙₭":
        with pytest.raises(UnicodeEncodeError):
            sign.encode(LSWIN.name)
