"""Forms: what the names of a head's lines alone decide of its signature base.

Applications send heads of few forms, again and again. What follows from the names is worked out
once: which lines are covered, how the covered components are listed, and the rows of the base into
which the values go. :mod:`exchange.messages.envelope` seals and opens plain heads by their form,
and every other head line by line; both ways give the same base.

Invariants:
- a form exists only for a head in which every covered name is a legal one and stands once, and the
  signature fields at most once each: there is nothing about its names to refuse;
- what strangers send fills no memory: at most 256 forms of at most 48 lines are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from exchange.messages.heads import Headers
from exchange.problems import Code, Problem

LABEL: Final = "saphan"
MAX_LINES: Final = 48
MAX_VALUE_LENGTH: Final = 8 * 1024

# RFC 9110 section 7.6.1, and the fields that X-Road drops on its way.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Each server writes these for itself, so they are neither signed nor ever forwarded.
NOT_COVERED: Final = HOP_BY_HOP | {
    "content-length",
    "date",
    "host",
    "server",
    "signature",
    "signature-input",
}
DIGEST: Final = "content-digest"
MESSAGE_ID: Final = "x-road-id"
BOUND_FIELDS: Final = (DIGEST, MESSAGE_ID, "signature-input")
"""The fields of a request that its response covers."""
DERIVED_OF_REQUEST: Final = '"@method" "@target-uri" '
DERIVED_OF_RESPONSE: Final = '"@status" '
BOUND: Final = '"@method";req "@target-uri";req ' + " ".join(
    f'"{name}";req' for name in BOUND_FIELDS
)

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}", re.ASCII)
_Values: TypeAlias = tuple[str, ...]


class Form(NamedTuple):
    """What follows from the names of a head's lines.

    Attributes:
        covered: picks the values of the covered lines, in order.
        lines: how many lines are covered.
        listed: their components as Signature-Input lists them, joined by spaces.
        rows: their rows of the signature base, ``%s`` for each value.
        begins_request, begins_response: how our own Signature-Input over them begins.
        signature_input, signature: where those fields stand; -1 when they do not.
        bound: picks the values of :data:`BOUND_FIELDS`; None unless each stands once.
        has_digest, has_id: whether the fields that must be there are.
    """

    covered: Callable[[_Values], _Values]
    lines: int
    listed: str
    rows: str
    begins_request: str
    begins_response: str
    signature_input: int
    signature: int
    bound: Callable[[_Values], _Values] | None
    has_digest: bool
    has_id: bool


def form_of(headers: Headers) -> tuple[Form, _Values] | None:
    """The form of a head and the values of its lines; None when it has no form."""
    if not headers or len(headers) > MAX_LINES:
        return None
    names, values = zip(*headers, strict=True)
    form = _form(names)
    return None if form is None else (form, values)


def plain_values(form: Form, values: _Values) -> _Values | None:
    """The covered values, unless one of them needs wrapping, refusal, or a closer look."""
    covered = form.covered(values)
    return covered if is_plain("\n".join(covered), form.lines) else None


def is_plain(text: str, lines: int) -> bool:
    """Whether no value in ``text``, one a line, can need wrapping or refusal: a quick sieve."""
    return (
        text.isascii()
        and len(text) <= MAX_VALUE_LENGTH
        and text.count("\n") == lines - 1
        and text.replace("\n", "").isprintable()
        and "\n " not in text
        and " \n" not in text
        and text[:1] != " "
        and text[-1:] != " "
    )


@lru_cache(maxsize=256)
def _form(names: tuple[str, ...]) -> Form | None:
    places = [place for place, name in enumerate(names) if name not in NOT_COVERED]
    covered = [names[place] for place in places]
    if (
        len(covered) < 2  # itemgetter of one place gives no tuple
        or len(set(covered)) < len(covered)
        or not all(_NAME.fullmatch(name) for name in covered)
        or names.count("signature-input") > 1
        or names.count("signature") > 1
    ):
        return None
    listed = " ".join(f'"{name}"' for name in covered)
    bindable = all(names.count(name) == 1 for name in BOUND_FIELDS)
    return Form(
        covered=itemgetter(*places),
        lines=len(covered),
        listed=listed,
        rows="".join('"{}": %s\n'.format(name.replace("%", "%%")) for name in covered),
        begins_request=f"{LABEL}=({DERIVED_OF_REQUEST}{listed})",
        begins_response=f"{LABEL}=({DERIVED_OF_RESPONSE}{listed} {BOUND})",
        signature_input=_place(names, "signature-input"),
        signature=_place(names, "signature"),
        bound=itemgetter(*(names.index(name) for name in BOUND_FIELDS)) if bindable else None,
        has_digest=DIGEST in covered,
        has_id=MESSAGE_ID in covered,
    )


def _place(names: tuple[str, ...], wanted: str) -> int:
    return names.index(wanted) if wanted in names else -1


@lru_cache(maxsize=1024)
def component_of(name: str) -> str:
    """The component identifier of a header name; empty if the field is not covered.

    Raises:
        Problem: ``InvalidHeader`` if it is not a name of a field in lower case.
    """
    if name in NOT_COVERED:
        return ""
    if not _NAME.fullmatch(name):
        raise Problem(
            Code.INVALID_HEADER,
            where=name[:80],
            detail="the header name is not a lower-case token of at most 256 characters",
        )
    return f'"{name}"'
