"""Rules of exchange.formats: one meaning of each format, held by both engines."""

from __future__ import annotations

from datetime import date

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.contracts.formats import ASSERTED, OWN

TABLE = {
    "date": (
        ["2024-02-29", "0000-01-01", "9999-12-31"],
        ["2023-02-29", "1900-02-29", "2024-2-9", "2024-13-01", "2024-00-10", "2024-01-01\n",
         "໒໐໒໔-01-01", "20240101", "2024-W01-1", "+2024-01-01", "",
         "++24-01-01", "2024-01-0/", "2024-04-31", "2024-01-32", "2100-02-29"],
    ),
    "time": (
        ["00:00:00Z", "23:59:60Z", "06:59:60+07:00", "15:59:60-08:00", "12:00:00.123456789z"],
        ["00:00:00", "24:00:00Z", "12:00:60Z", "12:00Z", "12:00:00.Z", "12:00:00+24:00",
         "12:00:00+07", "12:00:00+0700", "12:60:00Z",
         "0/:00:00Z", "00:0+:00Z", "23:59:60+07:00", "23:59:61Z"],
    ),
    "date-time": (
        ["2025-01-15T09:30:00+07:00", "2025-01-15t09:30:00z", "2016-12-31T23:59:60Z",
         "2025-01-15T00:00:00-00:00", "2017-01-01T06:59:60+07:00", "2024-02-29T00:00:00Z"],
        ["2025-01-15 09:30:00Z", "2025-01-15T09:30:00", "2025-02-30T00:00:00Z", "2025-01-15",
         "2025-01-15T09:30:60Z", "2025-01-15T09:30:00Z\n",
         "2025-02-29T00:00:00Z", "+025-01-15T09:30:00Z", "2025-01-15T23:59:60+07:00"],
    ),
    "duration": (
        ["P1D", "P1Y2M3D", "PT1H2M3S", "P2W", "P1DT12H", "P1Y", "PT36H"],
        ["P", "PT", "P1", "1D", "P1W2D", "P1Y2D", "PT1H2S", "P1.5D", "p1d", "P-1D"],
    ),
    "uuid": (
        ["2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2EB8AA08-AA98-11EA-B4AA-73B441D16380"],
        ["2eb8aa08aa9811eab4aa73b441d16380", "{2eb8aa08-aa98-11ea-b4aa-73b441d16380}",
         "2eb8aa08-aa98-11ea-b4aa-73b441d1638", "2eb8-aa08aa98-11ea-b4aa-73b441d16380",
         "urn:uuid:2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
    ),
    "email": (
        ["office@mpi.gov.la", "a@b", "a.b+c@x-y.la", "o'brien@example.la"],
        ["a", "a@", "@b", "a@b@c", ".a@b", "a.@b", "a..b@c", "A <a@b.la>", '"a b"@c.la',
         "a@[127.0.0.1]", "ກ@b.la", "a@ກ.la", "a@b.la\n", "a" * 65 + "@b.la", "a@-b.la", "a@b."],
    ),
    "hostname": (
        ["mpi.gov.la", "localhost", "a-b.c", "1.la", "xn--s-fka.la", "a" * 63],
        ["-a", "a-", "a_b", "a.", ".a", "a..b", "a" * 64, "ກ.la", "", ".".join(["a" * 60] * 5)],
    ),
    "ipv4": (
        ["127.0.0.1", "0.0.0.0", "255.255.255.255"],
        ["1.2.3", "01.2.3.4", "1.2.3.256", "1.2.3.4 ", "1.2.3.4.5", "໑.2.3.4"],
    ),
    "ipv6": (
        ["::", "::1", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8"],
        ["1::2::3", "::1%eth0", "12345::", "1:2:3:4:5:6:7", ":1", "::ffff:1.2.3.256", "::໑"],
    ),
    "uri": (
        ["https://x.la/a?b=c#d", "urn:a:b", "mailto:a@b.la", "http://[::1]:80/", "a:", "http://",
         "file:///etc", "http://u:p@h:1/;x", "http://x/%E0%BA%81", "http://[v1.a]/"],
        ["x", "//x", "http://a b", "http://ກ", "http://x/%zz", "1a:b", "http://[::1", "http://[]/",
         "http://x:80a/", "", ":a", "http://x/\\", "http://x/{a}", "http://[::1]a/"],
    ),
    "uri-reference": (
        ["", "a", "/a", "//x/y", "?q", "#f", "../a", "a/b:c", "https://x", "./a:b", "%41"],
        ["\\", "a b", "1:2", "##", "//[::1", "http://a b", "%4", "ກ"],
    ),
    "json-pointer": (["", "/", "/a~0b~1c/0", "/ກ"], ["a", "/~", "/~2", "#/a", "/a~"]),
}  # fmt: skip
CASES = [
    (name, text, good) for name, (yes, no) in TABLE.items() for good, texts in
    ((True, yes), (False, no)) for text in texts
]  # fmt: skip
ALPHABET = {
    "uuid": "0123456789abcdefABCDEF-",
    "ipv4": "0123456789.",
    "ipv6": "0123456789abcdef:.%",
}


@pytest.mark.parametrize(("name", "text", "good"), CASES)
def test_decisions(name: str, text: str, good: bool) -> None:
    """Each decision of the module, in the function and in the engine of the message path."""
    assert ASSERTED[name](text) is good
    assert rust(name).is_valid(text) is good


def test_every_format_has_its_table() -> None:
    """No format is asserted without decisions written down."""
    assert TABLE.keys() == ASSERTED.keys()
    assert OWN.keys() | ALPHABET.keys() == ASSERTED.keys()


DAYS = st.tuples(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 33))


@given(DAYS)
def test_dates_are_those_of_the_calendar(parts: tuple[int, int, int]) -> None:
    """Every day that the calendar of the standard library has, and no other."""
    year, month, day = parts
    try:
        known = date(year or 2000, month, day) is not None  # year 0 is leap, as 2000 is
    except ValueError:
        known = False
    assert ASSERTED["date"](f"{year:04}-{month:02}-{day:02}") is known


def rust(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"format": name}, validate_formats=True, formats=dict(OWN)
    )


def near(name: str) -> st.SearchStrategy[str]:
    """A good or bad example with some characters changed, or any text of its alphabet."""
    letters = st.sampled_from(ALPHABET[name])
    seeds = st.sampled_from([text for texts in TABLE[name] for text in texts])

    def change(parts: tuple[str, int, str, int]) -> str:
        text, at, new, drop = parts
        return text[: at % (len(text) + 1)] + new + text[at % (len(text) + 1) + drop :]

    changes = st.tuples(seeds, st.integers(0, 40), st.text(letters, max_size=3), st.integers(0, 3))
    return changes.map(change) | st.text(letters, max_size=40)


@pytest.mark.parametrize("name", sorted(ALPHABET))
def test_the_engine_agrees_near_the_border(name: str) -> None:
    """Formats that the engine checks itself mean to it what the functions say."""
    validator, rule = rust(name), ASSERTED[name]

    @settings(max_examples=200, deadline=None, database=None)
    @given(near(name) | st.text(max_size=12))
    def compare(text: str) -> None:
        assert validator.is_valid(text) == rule(text)

    compare()
