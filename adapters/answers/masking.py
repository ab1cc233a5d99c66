"""Masked values: what is written instead of a value that a caller does not see whole.

Invariants:
- a masked value is made of the value that would have been written, so that it says no more than
  its form does; ``null`` and ``absent`` do not look at the value at all;
- a mask's stars are always three: they do not tell a length. Of a text shorter than twice the
  shown end nothing is shown;
- the same value of the same member has the same hash, and nobody without the key can try values.

What is not hidden: whether there is a value, where the form is not ``null`` or ``absent``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from adapters.fields import Field, Schema
from adapters.mapping.callers import Caller
from adapters.mapping.masks import WHOLE, Mask, Show, Shown

Profile: TypeAlias = tuple[tuple[str, Shown], ...]
"""The members that a caller does not see whole, each with how it is seen."""

STARS: Final = "***"
_HASH_CHARS: Final = 32
_MOST_INITIALS: Final = 6
_LAO_BEFORE: Final = re.compile("^[ເແໂໃໄ](?=.)")


def profile_of(masks: Mapping[str, Mask], caller: Caller) -> Profile:
    """How ``caller`` sees the masked members that are not shown whole."""
    if not masks:
        return ()
    seen = ((name, mask.of(caller)) for name, mask in masks.items())
    return tuple((name, shown) for name, shown in seen if shown != WHOLE)


def masker(field: Field, shown: Shown, key: bytes) -> Callable[[Any], Any] | None:
    """A function from a written value (not null) to the masked one; None for no value at all."""
    match shown.show:
        case Show.LAST:
            count = shown.last
            return lambda text: STARS + (text[-count:] if len(text) >= 2 * count else "")
        case Show.INITIALS:
            return _initials
        case Show.YEAR:
            return lambda text: text[:4]
        case Show.HASHED:
            return _hasher(field, key)
        case Show.NULL | Show.ABSENT:
            return None
        case Show.WHOLE:
            return lambda value: value


def _initials(text: str) -> str:
    words = text.split()[:_MOST_INITIALS]
    return " ".join(f"{_LAO_BEFORE.sub('', word)[0]}." for word in words)


def _hasher(field: Field, key: bytes) -> Callable[[Any], str]:
    of_member = hmac.new(key, f"saphan mask {field.name}\0".encode(), "sha256")

    def hashed(value: Any) -> str:
        mac = of_member.copy()
        mac.update(str(value).encode())
        return mac.hexdigest()[:_HASH_CHARS]

    return hashed


# What the schema says of it.

_FORMS: Final[dict[Show, Schema]] = {
    Show.LAST: {"type": "string", "pattern": r"^\*\*\*"},
    Show.INITIALS: {"type": "string", "pattern": r"^(\S\.( \S\.)*)?$"},
    Show.YEAR: {"type": "string", "pattern": "^[0-9]{4}$"},
    Show.HASHED: {"type": "string", "pattern": f"^[0-9a-f]{{{_HASH_CHARS}}}$"},
    Show.NULL: {"type": "null"},
}
_TITLES: Final = ("title", "x-title-lo")


def masked_schema(whole: Schema, mask: Mask) -> Schema:
    """The schema of a member of which some callers see less than ``whole`` says."""
    forms = [_FORMS[way.show] for way in mask.ways if way.show in _FORMS]
    ways: Sequence[str] = [str(way) for way in mask.ways]
    told: Schema = {"x-saphan-masked": list(ways)}
    if not forms:
        return whole | told
    bare = {name: value for name, value in whole.items() if name not in _TITLES}
    if WHOLE in mask.ways:
        forms = [bare, *forms]
    titles = {name: whole[name] for name in _TITLES if name in whole}
    return titles | ({"anyOf": forms} if len(forms) > 1 else forms[0]) | told


def may_be_absent(mask: Mask | None) -> bool:
    """Whether some callers get records without the member."""
    return mask is not None and any(way.show is Show.ABSENT for way in mask.ways)


def examples(mask: Mask) -> list[tuple[Shown, Any]]:
    """Values as callers may see them, to try against a schema that was made elsewhere."""
    samples: dict[Show, Any] = {
        Show.LAST: STARS,
        Show.INITIALS: "ສ. ວ.",
        Show.YEAR: "2026",
        Show.HASHED: "0" * _HASH_CHARS,
        Show.NULL: None,
    }
    return [(way, samples[way.show]) for way in mask.ways if way.show in samples]
