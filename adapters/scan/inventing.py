"""Made-up records that keep the proposed schema and look like the samples, for tests and training.

No text, date or number of a column that may be private is taken over, and of other columns only the
words of code lists, the range of numbers and dates, and the form of codes. The same seed gives the
same records.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.fields import Kind
from adapters.fields.calendars import Calendar, DateForm
from adapters.scan.drafting import code_list
from adapters.scan.planning import LAO, Plan, Shown

RECORDS: Final = 20
_TRIES: Final = 50
_MOST_NULLS: Final = 0.5
_LAO_WORDS: Final = ("ບ້ານ", "ເມືອງ", "ແຂວງ", "ໂຄງການ", "ຫ້ອງການ", "ພັດທະນາ", "ນ້ຳ", "ດອກໄມ້", "ພູ",
                     "ໃໝ່", "ສະອາດ", "ສາມັກຄີ", "ທົ່ງ", "ປ່າໄມ້", "ແສງ", "ຕົວຢ່າງ")  # fmt: skip
_WORDS: Final = ("example", "river", "garden", "north", "school", "paper", "bridge", "office",
                 "summer", "stone", "market", "water", "field", "lamp")  # fmt: skip
_DAYS: Final = (date(1990, 1, 1), date(2020, 12, 31))

Value = Any
Making = Callable[[random.Random, int], Value]


def invent(plans: Sequence[Plan], schema: Mapping[str, Any], seed: int) -> dict[str, list[Any]]:
    """:data:`RECORDS` records of each plan, by its name."""
    keys: dict[tuple[str, str], list[Value]] = {}
    for plan in plans:
        for column in plan.columns:
            if plan.key == (column.alias,):
                keys[plan.table.name, column.found.name] = _keys(column, plan, schema, seed)
    return {plan.name: _records(plan, schema, keys, seed) for plan in plans}


def _records(
    plan: Plan,
    schema: Mapping[str, Any],
    keys: Mapping[tuple[str, str], Sequence[Value]],
    seed: int,
) -> list[Any]:
    chance = random.Random(f"{seed}/{plan.name}")
    refers = {one.column: (one.table, one.other) for one in plan.table.refers}
    made: list[dict[str, Value]] = [{} for _ in range(RECORDS)]
    for column in plan.columns:
        is_key = plan.key == (column.alias,)
        own = keys.get((plan.table.name, column.found.name)) if is_key else None
        others = keys.get(refers.get(column.found.name, ("", "")))
        making = _making(column, _most(schema, plan, column))
        nulls = _share_of_nulls(column)
        for number, record in enumerate(made):
            if own is not None:
                record[column.alias] = own[number]
            elif others is not None and column.proposal.kind in (Kind.STRING, Kind.INTEGER):
                record[column.alias] = chance.choice(others)
            elif chance.random() >= nulls:
                record[column.alias] = making(chance, number)
    return made


def _most(schema: Mapping[str, Any], plan: Plan, column: Shown) -> int:
    """How long a text of the column may be."""
    found = schema["$defs"][plan.name]["properties"][column.alias]
    return int(found.get("maxLength", 500))


def _keys(column: Shown, plan: Plan, schema: Mapping[str, Any], seed: int) -> list[Value]:
    """Values of a key, all different."""
    chance = random.Random(f"{seed}/{plan.name}/key")
    if column.proposal.kind is Kind.INTEGER:
        return list(range(1, RECORDS + 1))
    making = _making(column, _most(schema, plan, column))
    found: dict[Value, None] = {}
    for number in range(RECORDS):
        value = making(chance, number)
        for _ in range(_TRIES):
            if value not in found:
                break
            value = making(chance, number)
        found[value] = None
    # A key with so few different values repeats them.
    values = list(found)
    return [values[number % len(values)] for number in range(RECORDS)]


def _share_of_nulls(column: Shown) -> float:
    if column.required or not column.values:
        return 0.0
    empty = set(column.proposal.keys.get("null_words", ()))
    nulls = sum(
        value is None or (isinstance(value, str) and value.strip() in empty)
        for value in column.values
    )
    return min(nulls / len(column.values), _MOST_NULLS)


def _making(column: Shown, most: int) -> Making:
    making = _of_kind(column, most)
    if not column.secret:
        return making
    seen = {str(value).strip() for value in column.values}
    seen |= {str(_day(value, column)) for value in column.values}

    def unlike(chance: random.Random, number: int) -> Value:
        made = making(chance, number)
        for _ in range(_TRIES):
            if str(made)[:10] not in seen and str(made) not in seen:
                break
            made = making(chance, number)
        return made

    return unlike


def _of_kind(column: Shown, most: int) -> Making:
    match column.proposal.kind:
        case Kind.BOOLEAN:
            return lambda chance, number: chance.random() < 0.5
        case Kind.INTEGER:
            return _integers(column)
        case Kind.DECIMAL:
            return _decimals(column)
        case Kind.DATE:
            return _days(column)
        case Kind.DATETIME:
            return _moments(column)
    words = code_list(column)
    if words:
        return lambda chance, number: chance.choice(words)
    return _texts(column, most)


# Numbers.


def _integers(column: Shown) -> Making:
    known = [int(value) for value in _numbers(column)]
    least, most = (min(known), max(known)) if known and not column.secret else (1, 1_000)
    return lambda chance, number: chance.randint(least, most)


def _numbers(column: Shown) -> list[Decimal]:
    known = [
        Decimal(str(value))
        for value in column.values
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    ]
    return [number for number in known if number.is_finite()]


def _decimals(column: Shown) -> Making:
    scale = int(column.proposal.keys.get("scale", 2))
    known = _numbers(column)
    least, most = (min(known), max(known)) if known and not column.secret else (0, 1_000)

    def make(chance: random.Random, number: int) -> Value:
        unit = 10**scale
        made = chance.randint(int(least * unit), int(most * unit))
        return made / unit if scale else made

    return make


# Days and times.


def _days(column: Shown) -> Making:
    known = [day for day in (_day(value, column) for value in column.values) if day is not None]
    least, most = _DAYS if column.secret or not known else (min(known), max(known))
    return lambda chance, number: (
        least + timedelta(days=chance.randint(0, (most - least).days))
    ).isoformat()


def _day(value: Value, column: Shown) -> date | None:
    """The day that would be answered, of the common calendar."""
    keys = column.proposal.keys
    calendar = Calendar(keys.get("calendar", Calendar.GREGORIAN))
    try:
        if isinstance(value, date):
            day = value.date() if isinstance(value, datetime) else value
            return day.replace(year=calendar.common(day.year))
        form = DateForm.compile(keys.get("format", "%Y-%m-%d"), calendar, keys.get("years_from"))
        return form.parse(str(value).strip()).date()
    except ValueError:
        return None


def _moments(column: Shown) -> Making:
    zone = ZoneInfo(str(column.proposal.keys.get("zone", "UTC")))
    days = _days(column)

    def make(chance: random.Random, number: int) -> Value:
        day = date.fromisoformat(days(chance, number))
        moment = datetime(day.year, day.month, day.day, tzinfo=zone)
        moment += timedelta(seconds=chance.randint(28_800, 61_200))
        # Before zones had whole minutes, RFC 3339 has no way to write one.
        odd = (moment.utcoffset() or timedelta()).seconds % 60
        return (moment.astimezone(UTC) if odd else moment).isoformat()

    return make


# Texts.


def _texts(column: Shown, most: int) -> Making:
    seen = set(column.texts)
    samples = sorted(seen)
    lao = "decode" in column.proposal.keys or any(map(LAO.search, samples))
    codes = bool(samples) and all(" " not in one or any(map(str.isdigit, one)) for one in samples)
    fixed = () if column.secret else _fixed(samples)

    def one(chance: random.Random) -> str:
        sample = chance.choice(samples) if samples else "example river"
        if codes and not lao:
            return _alike(sample, fixed, chance)
        return _sentence(_LAO_WORDS if lao else _WORDS, len(sample), chance, " " if not lao else "")

    def make(chance: random.Random, number: int) -> Value:
        for _ in range(_TRIES):
            made = one(chance)[:most].strip()
            if made and made not in seen:
                return made
        # So few signs that all were seen: a number in their place.
        return f"{number + 1}"[:most]

    return make


def _sentence(words: Sequence[str], length: int, chance: random.Random, between: str) -> str:
    made = chance.choice(words)
    while len(made) < length - 4:
        made += between + chance.choice(words)
    return made


def _fixed(samples: Sequence[str]) -> Sequence[str]:
    """The signs that all samples begin with, up to their last digits."""
    if len(samples) < 2:
        return ()
    first, last = samples[0], samples[-1]
    count = next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:count].rstrip(string.digits)


def _alike(sample: str, fixed: Sequence[str], chance: random.Random) -> str:
    """A text of the form of ``sample``: a letter for a letter, a digit for a digit."""
    made = []
    for place, sign in enumerate(sample):
        if place < len(fixed) or not sign.isalnum():
            made.append(sign)
        elif sign.isdigit():
            made.append(chance.choice(string.digits))
        else:
            letters = string.ascii_uppercase if sign.isupper() else string.ascii_lowercase
            made.append(chance.choice(letters))
    return "".join(made)
