"""Numbers that the cells of a file hold as texts, with signs between thousands and units.

Nothing is decided that a mapping does not say: the form that all sampled cells have stands in it,
and is told. Cells of which some have no such form stay texts, and that is told, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from adapters.fields import Mismatch, Negative, NumberForm
from adapters.fields.calendars import in_latin_digits
from adapters.scan.found import FoundColumn, WrittenNumbers
from adapters.scan.inferring import NULL_WORDS, PERSONAL_NAMES, SECRET_NAMES

UNITS: Final = [
    tuple(line.strip().split("|"))
    for line in """
    ກີບ|LAK|₭|Kip|kip|KIP
    ພັນກີບ|ພັນ ກີບ
    ລ້ານກີບ|ລ້ານ ກີບ
    ຕື້ກີບ|ຕື້ ກີບ
    $|USD|US$|ໂດລາ|ໂດລາສະຫະລັດ
    ບາດ|THB|฿|Baht|baht
    ຢວນ|CNY|RMB|¥
    ດົງ|VND|₫
    ເອີໂຣ|EUR|€
    %
    ເຮັກຕາ|ຮຕ|ha
    ກິໂລແມັດ|ກມ|km
    ກິໂລ|ກລ|kg
    ໂຕນ|ton|tons
    ຄົນ|persons
    """.strip().splitlines()
]
"""The words of each unit; a column whose cells have words of two units is no column of numbers."""
_PERCENT: Final = "%"
_SIGNS: Final = (("", "."), (",", "."), ("", ","), (".", ","), (" ", "."), (" ", ","),
                 ("\u00a0", "."), ("\u00a0", ","), ("\u202f", "."), ("\u202f", ","),
                 ("'", "."))  # fmt: skip
"""Of thousands and of decimals, the likeliest first where several fit all cells."""
_CORE: Final = re.compile(r"\D*?(\(?-?\d(?:.*\d)?\)?)\D*", re.ASCII | re.DOTALL)
_CODE: Final = re.compile(r"0\d+|\d{13,}", re.ASCII)  # a telephone, a number of a paper
_THREE: Final = re.compile(r"-?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_MIXED: Final = 0.6  # from this share of numbers on, a column of texts is one with exceptions


def written_numbers(
    name: str, cells: Sequence[Any], *, all_texts: bool
) -> tuple[WrittenNumbers | None, Sequence[Any]]:
    """How the cells of the column ``name`` write numbers, and the cells with these in their places.

    None for cells that are no such texts, or whose values must not be told. Where a format knows
    numbers, not ``all_texts``, digits that were typed as a text are a code.
    """
    given = [cell.strip() for cell in cells if isinstance(cell, str)]
    nothing = tuple(sorted({text for text in given if text} & set(NULL_WORDS)))
    texts = [text for text in given if text and text not in nothing]
    others = {type(cell) for cell in cells} - {str, type(None)}
    private = PERSONAL_NAMES.search(name) or SECRET_NAMES.search(name)
    if private or not others <= {int, float, Decimal}:
        return None, cells
    if not texts:
        if not (nothing and others):
            return _three(cells), cells
        return _found(NumberForm(), nothing, (), cells)
    units = _units(texts)
    if len(units) > 1:
        shown = ", ".join(words[0] for words in units)
        words = f"amounts in several units ({shown}) stay texts: a column has one unit"
        return WrittenNumbers(None, (), (words,)), cells
    if others and (_PERCENT,) in units:
        return None, cells  # 12% beside 0.12: which of them is a hundred times too much?
    forms = list(_forms(texts, units))
    form = next((one for one in forms if all(_reads(one, text) for text in texts)), None)
    if form is not None:
        if not (all_texts or others or any(form.plain(text) != text for text in texts)):
            return None, cells
        return _found(form, nothing, tuple(_doubts(form, texts, units)), cells)
    best = max(forms, key=lambda one: sum(_reads(one, text) for text in texts))
    wrong = [text for text in texts if not _reads(best, text)]
    marked = any(not text.isascii() or not text.isdigit() for text in texts if text not in wrong)
    if others or not marked or len(wrong) > (1 - _MIXED) * len(texts):
        return None, cells
    share = 1 - len(wrong) / len(texts)
    words = f"{share:.0%} are numbers; others are not, such as {wrong[0][:30]!r}"
    return WrittenNumbers(None, (), (words,)), cells


def number_keys(column: FoundColumn) -> dict[str, Any]:
    """What the mapping of the file says of how the numbers of ``column`` are written."""
    written = column.written
    if written is None or written.form is None:
        return {}
    form = written.form
    keys: dict[str, Any] = {}
    if form.thousands:
        keys["thousands"] = form.thousands
    if form.decimal_sign != ("," if form.thousands == "." else "."):
        keys["decimal_sign"] = form.decimal_sign
    if form.negative is not Negative.SIGN:
        keys["negative"] = str(form.negative)
    if form.unit_words:
        keys["unit_words"] = list(form.unit_words)
    if written.null_words:
        keys["null_words"] = list(written.null_words)
    return keys


def _forms(texts: Sequence[str], units: Sequence[tuple[str, ...]]) -> Iterator[NumberForm]:
    words = tuple(word for unit in units for word in unit if any(word in text for text in texts))
    negative = Negative.BRACKETS if any("(" in text for text in texts) else Negative.SIGN
    for thousands, decimal_sign in _SIGNS:
        yield NumberForm(thousands, decimal_sign, negative, words)


def _units(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The units of which a word stands beside a number."""
    beside = set()
    for text in texts:
        match = _CORE.fullmatch(_latin(text))
        if match is not None:
            beside |= {text[: match.start(1)].strip(), text[match.end(1) :].strip()}
    return [unit for unit in UNITS if beside & set(unit)]


def _latin(text: str) -> str:
    try:
        return in_latin_digits(text)
    except ValueError:
        return text


def _reads(form: NumberForm, text: str) -> bool:
    """Whether ``text`` is a number of ``form``, and not a code that looks like one."""
    try:
        plain = form.plain(text)
    except Mismatch:
        return False
    digits = plain.removeprefix("-").partition(".")[0]
    if digits.startswith("0") and len(digits) > 1:
        return False
    return _CODE.fullmatch(_latin(text)) is None and len(digits) <= 18


def _found(
    form: NumberForm, nothing: tuple[str, ...], doubts: tuple[str, ...], cells: Sequence[Any]
) -> tuple[WrittenNumbers, Sequence[Any]]:
    if nothing:
        doubts = (*doubts, f"taken as nothing: {', '.join(nothing)}")
    read = [_number(form, cell, nothing) if isinstance(cell, str) else cell for cell in cells]
    return WrittenNumbers(form, nothing, doubts), read


def _number(form: NumberForm, cell: str, nothing: Sequence[str]) -> Any:
    text = cell.strip()
    if not text or text in nothing:
        return None
    plain = form.plain(text)
    return Decimal(plain) if "." in plain else int(plain)


def _doubts(
    form: NumberForm, texts: Sequence[str], units: Sequence[tuple[str, ...]]
) -> Iterator[str]:
    other = next((text for text in texts if form.plain(text) != text), None)
    if other is not None:
        yield f"numbers written as texts: for {other[:30]!r}, {form.plain(other)} is answered"
    if units:
        unit = units[0][0]
        yield f"the unit {unit} is not in the answer: say it in the title of the field"
    either = NumberForm("", form.thousands or ".", form.negative, form.unit_words)
    if form.thousands in (",", ".") and all(_reads(either, text) for text in texts):
        yield f"{form.thousands!r} could also stand before decimals: only the owner knows"


def _three(cells: Sequence[Any]) -> WrittenNumbers | None:
    """Decimals that could be thousands: 1.250 in every cell that has a point."""
    pointed = [str(cell) for cell in cells if isinstance(cell, Decimal) and "." in str(cell)]
    if len(pointed) < 2 or not all(map(_THREE.fullmatch, pointed)):
        return None
    words = f"the point of {pointed[0]} could also stand between thousands: only the owner knows"
    return WrittenNumbers(None, (), (words,))
