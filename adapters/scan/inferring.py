"""What a column most likely is, by its type and a few of its values: a proposal, with its doubts.

Nothing here is a decision: the person who owns the source reads the proposal. So a doubt is a
value, too: each is a :class:`Doubt` with a code that tests and programs can hold on to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from adapters.fields import Kind
from adapters.fields.calendars import Calendar, DateForm
from adapters.scan.found import FoundColumn
from adapters.text.convert import Encoding
from adapters.text.detect import SURE, detect
from adapters.text.tables import Table

NULL_WORDS = ("", "-", "--", "—", "?", "n/a", "N/A", "NA", "null", "NULL", "ບໍ່ມີ", "0000-00-00",
              "00/00/0000")  # fmt: skip
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d",
                "%Y-%m-%d 00:00:00", "%d %B %Y", "%d %b %Y", "%d-%b-%Y")  # fmt: skip
MOMENT_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
                  "%d-%m-%Y %H:%M")  # fmt: skip
MOST_WORDS = 20
"""A column of texts with no more different values than this may be a code list."""
_ROWS_A_WORD = 5
_MIXED = 0.6  # from this share of dates on, a text column is one of dates with exceptions
_WESTERN = re.compile("[\u0080-\u024f]")
_MOMENT = re.compile(r"\d{1,4}([-/])\d{1,2}\1\d{1,4} \d{1,2}:\d\d(:\d\d)?")
_DATE_LIKE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}( 00:00:00)?|\d{8}|\d{1,2}[ -][^\d\s]{3,15}[ -]\d{4}"
)
_TRUTH_WORDS = (
    ({"Y", "N"}, "Y"),
    ({"y", "n"}, "y"),
    ({"T", "F"}, "T"),
    ({"yes", "no"}, "yes"),
    ({"true", "false"}, "true"),
    ({"ແມ່ນ", "ບໍ່ແມ່ນ"}, "ແມ່ນ"),
)
_INTEGER = re.compile(
    r"((TINY|SMALL|MEDIUM|BIG)?(INT(EGER)?|SERIAL)[248]?|YEAR)(?![A-Z0-9])", re.ASCII
)
_KINDS = {str: "text", float: "number", int: "whole number", bool: "truth value", date: "date",
          datetime: "time"}  # fmt: skip
_INT64 = range(-(1 << 63), 1 << 63)
_SCALE = re.compile(r"\((\d+),\s*(\d+)\)")
PERSONAL_NAMES = re.compile(
    r"""(?ix) (^|_)(
        (first|last|middle|full|family|given|sur|maiden|father|mother|spouse|owner|person)_?names?
      | surname | firstname | lastname | fullname | nickname | dob | (date_of_)?birth(_?da(y|te))?
      | sex | gender | passport(_?(no|number))? | id_?card(_?(no|number))? | national_?id | nid
      | phone | mobile | tel(ephone)? | whatsapp | e?mail | address | village_?head | religion
      | ethnic(ity|_group)? | blood(_?(type|group))? | salary | disability | marital(_?status)?
    )(_|$) | ຊື່ແລະນາມສະກຸນ | ນາມສະກຸນ | ວັນ.*ເກີດ | ເບີໂທ | ທີ່ຢູ່ | ບັດປະຈຳຕົວ | ເພດ"""
)
SECRET_NAMES = re.compile(
    r"""(?ix) (^|_)(
        pass(_?(word|wd|phrase|code|hash))? | pwd | pin(_?(code|no))? | secret | salt
      | token | (api|private|secret)_?key
    )(_|$) | ລະຫັດຜ່ານ"""
)
_PERSONAL_VALUES = (
    (re.compile(r"[^@\s]{1,64}@[^@\s]{1,200}\.[a-z]{2,20}", re.ASCII), "e-mail addresses"),
    (re.compile(r"(\+?856|0)[ -]?(20|30|21)[ -]?\d{3,4}[ -]?\d{3,4}", re.ASCII), "phone numbers"),
)


LIKELY_SECRET = "likely a password or a key, by its name"  # noqa: S105


class DoubtCode(StrEnum):
    """What a scan is unsure of."""

    PERSONAL = "personal-data"
    SECRET = "secret"  # noqa: S105 (a code)
    ENCODING = "encoding"
    DATE_TEXT = "free-text-dates"
    NUMBER_TEXT = "written-numbers"
    DAY_OR_MONTH = "day-or-month"
    BUDDHIST_YEARS = "buddhist-years"
    CODE_LIST = "code-list"
    ZONE = "time-zone"
    EMPTY = "no-values"
    NULLS = "null-words"
    TYPE = "unknown-type"
    KEY = "no-key"
    LAYOUT = "layout"
    NAME = "name-not-shown"
    UNREAD = "not-readable"
    AS_TEXT = "given-as-text"
    LEFT_OUT = "left-out"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing to look at, in words."""

    code: DoubtCode
    words: str


@dataclass(slots=True)
class Proposal:
    """A field as the mapping would say it: its type, its further keys, and what is unsure.

    ``sql`` is what the query makes of the column (``{}``); ``refused`` says why it is left out.
    """

    kind: Kind
    keys: dict[str, Any] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    sql: str = "{}"
    refused: str = ""

    @property
    def searchable(self) -> bool:
        """Whether the source can compare the column with a value of the field."""
        return "decode" not in self.keys

    def doubt(self, code: DoubtCode, words: str) -> None:
        self.doubts.append(Doubt(code, words))


def infer(column: FoundColumn, values: Sequence[Any], own: Sequence[Table] = ()) -> Proposal:
    """The likeliest field of ``column``, whose sampled values are ``values``.

    Doubts tell values where that helps, but none of a column that is likely personal or secret.
    ``own`` are tables of old encodings that an owner brings.
    """
    known = [value for value in values if value is not None]
    personal = _personal(column, known)
    secret = SECRET_NAMES.search(column.name) is not None
    shown = not (personal or secret)
    proposal = _by_values(column, known, own, shown=shown) if known else _by_type(column)
    if not known:
        proposal.doubt(DoubtCode.EMPTY, "no value was seen: the type is that of the column")
    for words in column.written.doubts if column.written is not None else ():
        proposal.doubt(DoubtCode.NUMBER_TEXT, words)
    if secret:
        proposal.doubt(DoubtCode.SECRET, f"{LIKELY_SECRET}: take it out")
    if personal:
        proposal.doubt(DoubtCode.PERSONAL, f"likely personal data: {personal}")
    return proposal


def told_as_texts(proposal: Proposal) -> None:
    """What the truth values of a file are: its reader knows texts, numbers and dates alone."""
    if proposal.kind is Kind.BOOLEAN and "true_words" not in proposal.keys:
        proposal.keys = {"true_words": ["true"], "false_words": ["false"]}


def _by_type(column: FoundColumn) -> Proposal:
    word = column.type.upper()
    if "/" in word:  # of a file: no type but those of its cells
        return Proposal(Kind.STRING)
    if re.match(r"(BOOL|TINYINT\(1\)|BIT$|BIT\(1\))", word):
        return Proposal(Kind.BOOLEAN)
    if _INTEGER.match(word):
        return Proposal(Kind.INTEGER)
    if re.match(r"(NUMERIC|DECIMAL|NUMBER|MONEY)", word):
        return _decimal(column, ())
    if re.match(r"(FLOAT|DOUBLE|REAL)", word):
        return Proposal(Kind.DECIMAL)
    if re.match(r"(DATETIME|TIMESTAMP)", word):
        return _moment()
    if word.startswith("DATE"):
        return Proposal(Kind.DATE)
    if re.match(r"(N?(VAR)?CHAR|.*TEXT|STRING|EMPTY|CLOB|UUID|ENUM|SET)", word):
        return Proposal(Kind.STRING)
    proposal = Proposal(Kind.STRING)
    proposal.doubt(DoubtCode.TYPE, f"the type {column.type} is not known here: taken as text")
    return proposal


def _by_values(
    column: FoundColumn, values: Sequence[Any], own: Sequence[Table], *, shown: bool
) -> Proposal:
    kinds = {type(value) for value in values}
    word = column.type.upper()
    if kinds == {bool} or (kinds <= {int} and re.match(r"(BOOL|TINYINT\(1\))", word)):
        stored = {} if kinds == {bool} else {"stored": "integer"}
        return Proposal(Kind.BOOLEAN, dict(stored))
    if kinds == {int}:
        # A whole number of the answer has 64 bits: those of BIGINT UNSIGNED may have one more.
        large = any(value not in _INT64 for value in values)
        return Proposal(Kind.DECIMAL if large else Kind.INTEGER)
    if kinds <= {int, float, Decimal}:
        whole = all(float(value).is_integer() for value in values)
        if whole and not re.match(r"(NUMERIC|DECIMAL|NUMBER\b|MONEY|FLOAT|DOUBLE|REAL)", word):
            return Proposal(Kind.INTEGER)  # a spreadsheet has no other numbers than fractions
        return _decimal(column, values)
    if kinds <= {datetime, date}:
        proposal = Proposal(Kind.DATE) if kinds == {date} else _moment()
        _one_era(proposal, [value.year for value in values])
        return proposal
    days = {date, datetime} & kinds
    none = [value for value in values if str(value).startswith("0000-00-00")]
    is_of_days = (
        "/" not in word and kinds - days == {str} and word.startswith(("DATE", "TIMESTAMP"))
    )
    if is_of_days and (days or len(none) == len(values)):
        return _zero_days(column, sorted(set(none)))
    if kinds == {str}:
        return _text([str(value) for value in values], own, shown=shown)
    proposal = _by_type(column)
    if len(kinds) > 1:
        names = ", ".join(sorted(_KINDS.get(kind, kind.__name__) for kind in kinds))
        proposal.doubt(DoubtCode.TYPE, f"values of several types: {names}")
    return proposal


def _zero_days(column: FoundColumn, none: Sequence[str]) -> Proposal:
    """Dates of which MariaDB gives those that are no days as texts: 0000-00-00, or 2024-00-00."""
    proposal = _by_type(column)
    if none:
        proposal.keys["null_words"] = list(none)
        proposal.doubt(DoubtCode.NULLS, f"taken as nothing: {', '.join(none)}")
    return proposal


def _decimal(column: FoundColumn, values: Sequence[Any]) -> Proposal:
    match = _SCALE.search(column.type)
    if match is not None:
        return Proposal(Kind.DECIMAL, {"scale": min(int(match[2]), 12)})
    texts = [str(value) for value in values]
    scale = max((len(text.partition(".")[2]) for text in texts), default=0)
    # Two at least: of money, few samples may end in a nought.
    return Proposal(Kind.DECIMAL, {"scale": max(scale, 2)} if 0 < scale <= 4 else {})


def _moment() -> Proposal:
    proposal = Proposal(Kind.DATETIME)
    _in_vientiane(proposal)
    return proposal


def _in_vientiane(proposal: Proposal) -> None:
    proposal.keys["zone"] = "Asia/Vientiane"
    proposal.doubt(DoubtCode.ZONE, "times name no zone: taken as those of Vientiane")


def _moments(proposal: Proposal, texts: Sequence[str]) -> bool:
    """Whether ``texts`` are dates with a time of day, as SQLite and exports write them."""
    if not all(map(_MOMENT.fullmatch, texts)):
        return False
    if all(text.endswith(" 00:00:00") for text in texts):
        return False
    forms = (one for one in MOMENT_FORMATS if all(_year(text, one) for text in texts))
    form = next(forms, None)
    if form is None:
        return False
    if _one_era(proposal, [_year(text, form) for text in texts]):
        proposal.kind = Kind.DATETIME
        proposal.keys["format"] = form
        _in_vientiane(proposal)
    return True


# Texts.


def _text(values: Sequence[str], own: Sequence[Table], *, shown: bool) -> Proposal:
    proposal = Proposal(Kind.STRING)
    empty = sorted({value.strip() for value in values} & set(NULL_WORDS))
    texts = [value.strip() for value in values if value.strip() not in empty]
    if any(value != value.strip() for value in values):
        proposal.keys["trim"] = True
    if empty:
        proposal.keys["null_words"] = empty
        if empty != [""]:
            words = ", ".join(word for word in empty if word)
            proposal.doubt(DoubtCode.NULLS, f"taken as nothing: {words}")
    if not texts:
        return proposal
    _encoding(proposal, texts, own)
    if _moments(proposal, texts) or _dates(proposal, texts, shown=shown) or _truth(proposal, texts):
        return proposal
    seen = sorted(set(texts))
    if len(seen) <= MOST_WORDS and len(texts) >= _ROWS_A_WORD * len(seen) and len(seen[-1]) <= 40:
        words = f"a code list? {len(seen)} different values were seen"
        if shown:
            words = f"a code list? only these were seen: {', '.join(seen)}"
        proposal.doubt(DoubtCode.CODE_LIST, words)
    return proposal


def _encoding(proposal: Proposal, texts: Sequence[str], own: Sequence[Table]) -> None:
    low = any(table.low for table in own)  # Lao may look like words in Latin letters, too
    strange = [text for text in texts if low or (not text.isascii() and _WESTERN.search(text))]
    if not strange:
        return
    guesses = detect("\n".join(strange)[:4_000], own)
    if guesses and (guesses[0].encoding != Encoding(None) or guesses[0].defined < 1):
        best = guesses[0]
        sure = "likely" if best.confidence >= SURE else "perhaps"
        words = f"{sure} Lao text in {best.encoding} ({best.confidence:.0%}), read as Western signs"
        proposal.doubt(DoubtCode.ENCODING, words)
        if best.confidence >= SURE:
            proposal.keys["decode"] = best.encoding.in_a_mapping


def _dates(proposal: Proposal, texts: Sequence[str], *, shown: bool) -> bool:
    """Whether ``texts`` are dates, of a kind that the field understands or with a doubt."""
    if sum(bool(_DATE_LIKE.fullmatch(text)) for text in texts) < _MIXED * len(texts):
        return False  # judging by each format would take long
    fits = {form: sum(_year(text, form) > 0 for text in texts) for form in DATE_FORMATS}
    form = max(fits, key=lambda one: fits[one])
    share = fits[form] / len(texts)
    if share < _MIXED or (form == "%Y%m%d" and share < 1):
        return False
    if not _one_era(proposal, [_year(text, form) for text in texts]):
        return True
    if share < 1:
        others = [text for text in texts if not _year(text, form)]
        words = f"{share:.0%} are dates written {form}; others are not"
        if shown:
            words += f", such as {others[0][:30]!r}"
        proposal.doubt(DoubtCode.DATE_TEXT, words)
        return True
    proposal.kind = Kind.DATE
    if form != "%Y-%m-%d":
        proposal.keys["format"] = form
    swapped = {"%d/%m/%Y": "%m/%d/%Y", "%m/%d/%Y": "%d/%m/%Y"}.get(form)
    if swapped and fits[swapped] == len(texts):
        words = f"every date could be written {swapped}, too: day and month are a guess"
        proposal.doubt(DoubtCode.DAY_OR_MONTH, words)
    return True


def _one_era(proposal: Proposal, years: Sequence[int]) -> bool:
    """Whether the years are not of two calendars; those of the Buddhist Era are told."""
    buddhist = sum(year > 2400 for year in years)
    if not buddhist:
        return True
    if buddhist < len(years):
        words = "some years are of the Buddhist Era (543 more): which, only the owner knows"
        proposal.doubt(DoubtCode.BUDDHIST_YEARS, words)
        return False
    proposal.keys["calendar"] = str(Calendar.BUDDHIST)
    words = "years of the Buddhist Era, 543 more: they are answered as common years"
    proposal.doubt(DoubtCode.BUDDHIST_YEARS, words)
    return True


@lru_cache(4096)
def _year(text: str, form: str) -> int:
    """The year of ``text`` when it is a date of ``form`` that somebody may have meant, else 0."""
    for calendar in Calendar:
        with suppress(ValueError):
            found = DateForm.compile(form, calendar, None).parse(text)
            year = found.year + calendar.shift
            if 1850 <= year <= 2150 or 2400 < year < 2700:
                return year
    return 0


def _truth(proposal: Proposal, texts: Sequence[str]) -> bool:
    words = set(texts)
    for pair, true in _TRUTH_WORDS:
        if words <= pair and len(texts) >= _ROWS_A_WORD:
            proposal.kind = Kind.BOOLEAN
            proposal.keys["true_words"] = [true]
            proposal.keys["false_words"] = sorted(pair - {true})
            return True
    return False


def _personal(column: FoundColumn, values: Sequence[Any]) -> str:
    match = PERSONAL_NAMES.search(column.name) or PERSONAL_NAMES.search(column.comment)
    if match is not None:
        return f"by its name, {match[0].strip('_')}"
    texts = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    for pattern, words in _PERSONAL_VALUES:
        if texts and sum(bool(pattern.fullmatch(text)) for text in texts) > len(texts) / 2:
            return f"by its values, {words}"
    return ""
