"""Formats of JSON Schema that Saphan asserts, one meaning for every engine.

JSON Schema 2020-12 makes ``format`` an annotation by default and engines that assert it differ
in detail. Here the formats of :data:`ASSERTED` are always asserted, any other is an annotation
only. For those in :data:`OWN` this module's functions are the meaning in every engine; the rest
are simple enough that the engines' own checks equal the functions here, which a test holds.

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

_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME: Final = re.compile(
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
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
    if found is None:
        return False
    year, month, day = (int(part) for part in found.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1 <= month <= 12 and 1 <= day <= days[month - 1]


def is_time(text: str) -> bool:
    """RFC 3339 ``full-time``; a leap second only at 23:59:60 UTC."""
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    hour, minute, second = (int(part) for part in found.groups()[:3])
    sign, zone_hour, zone_minute = found[4] or "+", int(found[5] or 0), int(found[6] or 0)
    if hour > 23 or minute > 59 or second > 60 or zone_hour > 23 or zone_minute > 59:
        return False
    offset = zone_hour * 60 + zone_minute
    utc = (hour * 60 + minute + (-offset if sign == "+" else offset)) % 1440
    return second < 60 or utc == 1439


def is_date_time(text: str) -> bool:
    """RFC 3339 ``date-time``."""
    return text[10:11] in ("T", "t") and is_date(text[:10]) and is_time(text[11:])


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
    {
        name: ASSERTED[name]
        for name in ("duration", "email", "hostname", "uri", "uri-reference", "json-pointer")
    }
)
"""Formats whose functions replace the engine's own, because engines differ on them."""
