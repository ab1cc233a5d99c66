"""Formats of JSON Schema that Saphan asserts, one meaning for every engine.

JSON Schema 2020-12 makes ``format`` an annotation by default and engines that assert it differ
in detail. Here the formats of :data:`ASSERTED` are always asserted, any other is an annotation
only. For those in :data:`OWN` this module's functions are the meaning in every engine; for the
rest the engines' own checks equal the functions here, which a test holds.

Decisions where engines differ:
- ``date`` and ``date-time`` follow RFC 3339: year 0000 exists, ``t`` and ``z`` may be lower case,
  a second of 60 only where a leap second can be (23:59:60 UTC), no blank between date and time;
- ``uuid`` has its hyphens (RFC 9562 section 4), in either case of letters;
- ``email`` is the plain addr-spec in ASCII: dot-atom ``@`` domain; no display name, quotes,
  comments or address literals, lengths of RFC 5321 section 4.5.3.1;
- ``uri`` is RFC 3986 with a scheme, ASCII only; ``hostname`` is RFC 1123, without underscore,
  final dot or anything beyond ASCII.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

# One expression accepts nearly all good texts; 29 February and leap seconds get a second look.
_DAY: Final = (
    r"[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?P<leap>[0-9]{4})-02-29"
)
_ZONE: Final = r"(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_CLOCK: Final = rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]{_ZONE}"
_DATE: Final = re.compile(_DAY)
_TIME: Final = re.compile(_CLOCK)
_DATE_TIME: Final = re.compile(rf"(?:{_DAY})[Tt]{_CLOCK}")
_LEAP_SECOND: Final = re.compile(rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:60{_ZONE}")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DURATION: Final = re.compile(
    r"P(?!\Z)(?:[0-9]+W|(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)?"
    r"(?:T(?!\Z)(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?)"
)
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_IPV4: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")

# RFC 3986 appendix A, with the host checked as an address when it stands in brackets.
_PCT: Final = r"%[0-9A-Fa-f]{2}"
_UNRESERVED_SUB: Final = r"A-Za-z0-9\-._~!$&'()*+,;="
_PCHAR: Final = rf"(?:[{_UNRESERVED_SUB}:@]|{_PCT})"
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.\-]*:"
_AUTHORITY: Final = (
    rf"//(?:(?:[{_UNRESERVED_SUB}:]|{_PCT})*@)?"
    rf"(?:\[(?P<literal>[^\[\]]*)\]|(?:[{_UNRESERVED_SUB}]|{_PCT})*)(?::[0-9]*)?(?=[/?#]|\Z)"
)
_TAIL: Final = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:\#(?:{_PCHAR}|[/?])*)?"
_URI: Final = re.compile(rf"{_SCHEME}(?:{_AUTHORITY}(?:/{_PCHAR}*)*|(?!//)(?:{_PCHAR}|/)*){_TAIL}")
_RELATIVE: Final = re.compile(
    rf"(?:{_AUTHORITY}(?:/{_PCHAR}*)*|(?!//)(?:(?![^/?#]*:)(?:{_PCHAR}|/)*|/(?:{_PCHAR}|/)*)){_TAIL}"
)
_IP_FUTURE: Final = re.compile(rf"[vV][0-9A-Fa-f]+\.[{_UNRESERVED_SUB}:]+")


def is_date(text: str) -> bool:
    """RFC 3339 ``full-date``."""
    found = _DATE.fullmatch(text)
    return found is not None and _is_leap_year(found["leap"])


def _is_leap_year(year: str | None) -> bool:
    """Whether a year that is asked for its 29 February has one; None when it is not asked."""
    if year is None:
        return True
    number = int(year)
    return number % 4 == 0 and (number % 100 != 0 or number % 400 == 0)


def is_time(text: str) -> bool:
    """RFC 3339 ``full-time``; a leap second only at 23:59:60 UTC."""
    return _TIME.fullmatch(text) is not None or _is_leap_second(text)


def _is_leap_second(text: str) -> bool:
    if _LEAP_SECOND.fullmatch(text) is None:
        return False
    minute = int(text[:2]) * 60 + int(text[3:5])
    if text[-1] not in "Zz":
        offset = int(text[-5:-3]) * 60 + int(text[-2:])
        minute += offset if text[-6] == "-" else -offset
    return minute % 1440 == 1439


def is_date_time(text: str) -> bool:
    """RFC 3339 ``date-time``."""
    found = _DATE_TIME.fullmatch(text)
    if found is not None:
        return _is_leap_year(found["leap"])
    return text[10:11] in ("T", "t") and is_date(text[:10]) and _is_leap_second(text[11:])


def is_uuid(text: str) -> bool:
    """RFC 9562 section 4: 8-4-4-4-12 hexadecimal digits."""
    return _UUID.fullmatch(text) is not None


def is_hostname(text: str) -> bool:
    """RFC 1123 section 2.1: letters, digits, inner hyphens; 63 a label, 253 in all."""
    return len(text) <= 253 and _HOSTNAME.fullmatch(text) is not None


def is_email(text: str) -> bool:
    """RFC 5321 ``Mailbox`` without quoted strings and address literals."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at)
        and len(text) <= 254
        and len(local) <= 64
        and _LOCAL.fullmatch(local) is not None
        and is_hostname(domain)
    )


def is_ipv4(text: str) -> bool:
    """RFC 2673 section 3.2 dotted quad without leading zeros."""
    return _IPV4.fullmatch(text) is not None and all(int(p) < 256 for p in text.split("."))


def is_ipv6(text: str) -> bool:
    """RFC 4291 section 2.2, without a zone."""
    if "%" in text or not text.isascii():
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_uri(text: str) -> bool:
    """RFC 3986 section 3: a scheme and what follows."""
    return _is_reference(_URI, text)


def is_uri_reference(text: str) -> bool:
    """RFC 3986 section 4.1: a URI or a relative reference."""
    return _is_reference(_URI, text) or _is_reference(_RELATIVE, text)


def _is_reference(grammar: re.Pattern[str], text: str) -> bool:
    found = grammar.fullmatch(text) if len(text) <= 8192 else None
    if found is None:
        return False
    literal = found["literal"]
    return literal is None or is_ipv6(literal) or _IP_FUTURE.fullmatch(literal) is not None


def is_duration(text: str) -> bool:
    """RFC 3339 appendix A ``duration``."""
    return _DURATION.fullmatch(text) is not None


def is_json_pointer(text: str) -> bool:
    """RFC 6901 section 3."""
    return _POINTER.fullmatch(text) is not None


ASSERTED: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "date": is_date,
        "time": is_time,
        "date-time": is_date_time,
        "duration": is_duration,
        "uuid": is_uuid,
        "email": is_email,
        "hostname": is_hostname,
        "ipv4": is_ipv4,
        "ipv6": is_ipv6,
        "uri": is_uri,
        "uri-reference": is_uri_reference,
        "json-pointer": is_json_pointer,
    }
)

OWN: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {name: ASSERTED[name] for name in ASSERTED.keys() - {"uuid", "ipv4", "ipv6"}}
)
"""Formats whose functions replace the engine's own.

``jsonschema-rs`` 0.60 takes ``++24-01-01`` for a date and ``0/:00:00Z`` for a time, and engines
differ on the others.
"""
