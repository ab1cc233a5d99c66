"""Conversion of legacy text with its losses, and the detector: right, or not sure."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.text import codec
from adapters.text.convert import Converted, Encoding, Loss, UnknownEncoding, names
from adapters.text.detect import SURE, detect, sure
from adapters.text.pairs import COMMON, KNOWN
from adapters.text.spellings import as_characters as as_spelled
from adapters.text.tables import TABLES
from tests.adapters import derive_pairs
from tests.adapters.lao_samples import ENGLISH, FRENCH, LAO, NAMES, THAI, VIETNAMESE

codec.register()

EVERY = pytest.mark.parametrize("name", list(TABLES))


def as_characters(data: bytes) -> str:
    """What a program makes of bytes that it takes for Windows-1252."""
    return "".join(
        bytes([code]).decode("cp1252") if code not in b"\x81\x8d\x8f\x90\x9d" else chr(code)
        for code in data
    )


def test_places_of_what_is_lost() -> None:
    """A code that the table does not define becomes U+FFFD, and its place is told."""
    assert Encoding.parse("cp1133").read(b"a\xa1\xe0\xa2\xfb") == Converted(
        "aກ\ufffdຂ\ufffd", (Loss(2, 0xE0), Loss(4, 0xFB))
    )
    assert Encoding.parse("utf-8:cp1133").read("a¡àຂ".encode()) == Converted(
        "aກ\ufffdຂ", (Loss(2, 0xE0),)
    )


@EVERY
def test_text_copied_as_characters(name: str) -> None:
    """Bytes that became characters of Windows-1252 or ISO 8859-1 on their way into UTF-8 are read
    like the bytes; Lao and other characters that are no bytes stay."""
    data = LAO.encode(name)
    encoding = Encoding.parse(f"utf-8:{name}")
    assert encoding.read(as_characters(data).encode()).text == LAO
    assert encoding.read_characters(data.decode("latin-1")).text == LAO
    assert encoding.read_characters(f"{LAO} ไทย ASCII") == Converted(f"{LAO} ไทย ASCII")


@pytest.mark.parametrize("text", [LAO, "ລາວ", f"{NAMES}\nMr. ບຸນມີ, café “ວຽງຈັນ”"])
@pytest.mark.parametrize("reading", [as_characters, lambda data: data.decode("latin-1")])
def test_utf_8_that_a_column_of_latin1_took_for_characters(
    text: str, reading: Callable[[bytes], str]
) -> None:
    """What PHP sites leave in MariaDB is recognised, also a little of it, read, and written back;
    Lao that is in Unicode already stays, and what was cut inside a letter is a loss."""
    twice = Encoding.parse("utf-8:utf-8")
    stored = reading(text.encode())
    assert str(sure(detect(stored))) == "utf-8:utf-8"
    assert twice.read_characters(stored) == Converted(text)
    assert twice.read(twice.write(text)[0]) == Converted(text)
    assert twice.read_characters(f"{LAO} ໄທ {stored}").text == f"{LAO} ໄທ {text}"
    assert stored in as_spelled(twice, text)
    cut = twice.read_characters(reading("ລາວ".encode()[:-1]) + " x")
    assert (cut.text[:2], [loss.code for loss in cut.losses]) == ("ລາ", [0xE0, 0xBA])


@pytest.mark.parametrize("name", names())
def test_names_print_back(name: str) -> None:
    """An encoding's name is read and written alike."""
    assert str(Encoding.parse(name)) == name


@pytest.mark.parametrize("name", ["alice", "utf-8:", "utf-8:utf-8:utf-8", "utf-16", ""])
def test_unknown_encodings_are_refused(name: str) -> None:
    """No name is taken for another; the message tells those that there are."""
    with pytest.raises(UnknownEncoding, match="lswin"):
        Encoding.parse(name)


@EVERY
@pytest.mark.parametrize("text", [LAO, NAMES])
def test_text_is_recognised(name: str, text: str) -> None:
    """Prose and lists of names in each encoding, as bytes and as characters in UTF-8."""
    data = text.encode(name)
    copied = as_characters(data)
    assert str(sure(detect(data))) == name
    assert str(sure(detect(copied))) == f"utf-8:{name}"
    assert str(sure(detect(copied.encode()))) == f"utf-8:{name}"


@EVERY
@pytest.mark.parametrize("size", [12, 30, 60, 150])
def test_a_piece_is_recognised_or_not_sure(name: str, size: int) -> None:
    """Whatever piece of a text it is given, no wrong encoding is ever sure; from 30 characters on
    the right one is always the first, from 60 on most pieces are sure."""
    data = (LAO + NAMES).encode(name)
    pieces = [data[start : start + size] for start in range(0, len(data) - size, 7)]
    found = [detect(piece) for piece in pieces]
    right = [guesses for guesses in found if guesses and str(guesses[0].encoding) == name]
    assert all(sure(guesses) is None for guesses in found if guesses not in right)
    assert size < 30 or right == found
    certain = sum(guesses[0].confidence >= SURE for guesses in found)
    assert size < 60 or certain > 0.8 * len(found)


@pytest.mark.parametrize("text", [LAO, "ສປປ ລາວ", "Mr. ບຸນມີ, café"])
def test_unicode_lao_is_utf_8(text: str) -> None:
    """Lao that is Unicode already, also a little of it, also with other scripts beside it."""
    assert str(sure(detect(text.encode()))) == "utf-8"
    assert [str(guess.encoding) for guess in detect(text)] == ["utf-8"]


def test_a_sample_may_end_inside_a_character() -> None:
    """A cut UTF-8 character, or a byte order mark, does not make UTF-8 unlikely."""
    assert str(sure(detect(b"\xef\xbb\xbf" + LAO.encode()[:-1]))) == "utf-8"


def test_rows_of_both_kinds_are_read_together() -> None:
    """A column whose old rows were copied and whose new rows are Lao: the copied reading wins."""
    mixed = "\n".join([NAMES, as_characters((NAMES + LAO).encode("lswin"))])
    first = detect(mixed)[0]
    assert str(first.encoding) == "utf-8:lswin"
    assert Encoding.parse("utf-8:lswin").read_characters(mixed).text == f"{NAMES}\n{NAMES}{LAO}"


FOREIGN = [
    (FRENCH, ("cp1252", "latin-1", "cp850", "mac-roman", "utf-8")),
    (ENGLISH, ("cp1252", "mac-roman", "utf-8")),
    (VIETNAMESE, ("cp1258", "cp1252", "utf-8")),
    (THAI, ("tis-620", "cp874", "utf-8")),
]


@pytest.mark.parametrize(("text", "encoding"), [(t, e) for t, es in FOREIGN for e in es])
def test_other_languages_are_not_taken_for_lao(text: str, encoding: str) -> None:
    """French, English, Vietnamese and Thai, whole and in pieces, in the encodings of their day: no
    guess about them is ever sure."""
    data = text.encode(encoding, "ignore")
    for size in (9, 25, 70, len(data)):
        for start in range(0, len(data) - size + 1, 5):
            assert sure(detect(data[start : start + size])) is None


@pytest.mark.parametrize("text", [FRENCH, ENGLISH, VIETNAMESE, THAI, "", "plain ASCII", "123"])
def test_text_without_lao_gives_no_guess(text: str) -> None:
    """As characters, other languages give no guess at all."""
    assert detect(text) == ()


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_not_taken_for_lao(data: bytes) -> None:
    """Noise gives guesses between 0 and 1, in order, and none that is sure unless it is Lao in
    UTF-8."""
    guesses = detect(data)
    assert all(0 < guess.confidence <= 1 for guess in guesses)
    assert list(guesses) == sorted(guesses, key=lambda guess: -guess.confidence)
    assert str(sure(guesses)) in ("None", "utf-8")


def test_random_letters_are_not_taken_for_lao() -> None:
    """Bytes from the upper half alone, where the tables are."""
    dice = random.Random(7)
    for _ in range(300):
        data = bytes(dice.randrange(0xA0, 0x100) for _ in range(dice.randrange(4, 80)))
        assert sure(detect(data)) is None


def test_the_model_is_that_of_the_repositorys_text() -> None:
    """Of the Lao text that the repository has today the model knows nearly every pair; it knows a
    small part of the pairs that there could be."""
    pairs = derive_pairs.counted()
    known = sum(count for pair, count in pairs.items() if pair in COMMON | KNOWN)
    assert known > 0.97 * pairs.total()
    assert len(COMMON | KNOWN) < 1_000
