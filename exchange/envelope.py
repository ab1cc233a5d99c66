"""The envelope: what Saphan's servers sign of a message, and what they demand to be signed.

One profile of RFC 9421, for requests (tag ``saphan-request``) and responses
(``saphan-response``). Verbs come in pairs: seal and open.

Invariants:
- a request covers ``@method``, ``@target-uri`` and every end-to-end header field, among them one
  ``content-digest`` and one ``x-road-id``; nothing that a backend could act on is unsigned;
- a response covers ``@status``, every end-to-end header field, among them ``content-digest``, and
  of its request the method, target, content digest, message id and ``signature-input``
  (RFC 9421 section 2.4): it answers that request and no other. The request's signature *value* is
  not covered (section 7.2.8);
- the parameters are exactly ``created expires nonce keyid alg tag`` (request) and
  ``created keyid alg tag`` (response); an unknown one is refused, and so is a missing one;
- a field that repeats or holds a byte outside ASCII is covered with ``;bs`` (section 2.1.3), so
  that lines cannot be merged or split under the signature;
- the algorithm must be that of the key, whatever the message says (section 7.3.6).

Opening judges cheap things first: lengths, grammar, parameters, time, coverage; then the key, then
the signature. It does *not* compare ``content-digest`` with a body (:mod:`exchange.digest`), does
not remember nonces, and does not ask who may use a key.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, TypeAlias

from exchange.heads import Headers, RequestHead, ResponseHead
from exchange.keys import SigningKey, VerifyingKey
from exchange.problems import Code, Problem
from exchange.signature import (
    SignatureInput,
    format_signature,
    malformed,
    parse_signature,
    parse_signature_input,
    signature_base,
)

__all__ = [
    "HOP_BY_HOP",
    "NOT_COVERED",
    "Headers",
    "Opened",
    "RequestHead",
    "ResponseHead",
    "Signed",
    "open_request",
    "open_response",
    "seal_request",
    "seal_response",
]

LABEL = "saphan"
REQUEST_TAG = "saphan-request"
RESPONSE_TAG = "saphan-response"

MAX_HEADERS = 100
MAX_VALUE_LENGTH = 8 * 1024
MAX_SKEW_S = 5
MAX_AGE_S = 60

# RFC 9110 section 7.6.1, and the fields that X-Road drops on its way.
HOP_BY_HOP = frozenset(
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
NOT_COVERED = HOP_BY_HOP | {
    "content-length",
    "date",
    "host",
    "server",
    "signature",
    "signature-input",
}

FindKey: TypeAlias = Callable[[str], VerifyingKey]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}", re.ASCII)
_NONCE = re.compile(r"[!#-\[\]-~]{22,128}", re.ASCII)
# RFC 9110 section 5.5: visible characters, obs-text, and spaces or tabs between them.
_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_REQUEST_PARAMETERS = frozenset({"created", "expires", "nonce", "keyid", "alg", "tag"})
_RESPONSE_PARAMETERS = frozenset({"created", "keyid", "alg", "tag"})
_DIGEST = '"content-digest"'
_MESSAGE_ID = '"x-road-id"'
_BOUND_FIELDS = ("content-digest", "x-road-id", "signature-input")


@dataclass(frozen=True, slots=True)
class Signed:
    """What sealing makes.

    Attributes:
        headers_to_add: ``signature-input`` and ``signature``, to be sent with the head.
        base: the bytes that were signed.
        signature: the signature over ``base``.
        signature_input: the value of the Signature-Input field.
    """

    headers_to_add: Headers
    base: bytes
    signature: bytes
    signature_input: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening found: this key signed this base.

    Attributes:
        keyid: the fingerprint of the signer's seal certificate.
        created: Unix time that the signer states.
        expires: Unix time after which the message is not accepted any more; of a response, which
            states none, ``created`` and the greatest age.
        nonce: the request's nonce; of a response empty: its request makes it unique.
        base: the bytes that were signed.
        signature: the signature over ``base``.
        signature_input: the value of the Signature-Input field.
    """

    keyid: str
    created: int
    expires: int
    nonce: str
    base: bytes
    signature: bytes
    signature_input: str


def seal_request(
    head: RequestHead, key: SigningKey, *, created: int, expires: int, nonce: str
) -> Signed:
    """Sign a request.

    Args:
        head: the head as it will be sent, with ``content-digest`` and ``x-road-id``.
        created: the present, Unix time in whole seconds.
        expires: at most 60 seconds later, or no server will accept the request.
        nonce: unique, at least 128 random bits: 22 to 128 visible characters.

    Raises:
        Problem: ``InvalidHeader`` if a header line cannot be signed, the head is signed already,
            or lacks ``content-digest`` or ``x-road-id``.
        ValueError: the nonce is too short or has a quotation mark or backslash.
    """
    if not _NONCE.fullmatch(nonce):
        raise ValueError("a nonce is 22 to 128 visible ASCII characters without quote or backslash")
    lines = {'"@method"': head.method, '"@target-uri"': head.target_uri}
    _cover_unsigned(lines, head.headers, (_DIGEST, _MESSAGE_ID))
    return _seal(
        lines,
        key,
        f';created={created};expires={expires};nonce="{nonce}"'
        f';keyid="{key.keyid}";alg="{key.algorithm.value}";tag="{REQUEST_TAG}"',
    )


def seal_response(
    request: RequestHead, response: ResponseHead, key: SigningKey, *, created: int
) -> Signed:
    """Sign a response, bound to its request.

    Args:
        request: the request head as it was received, signature fields included.
        response: the head as it will be sent, with ``content-digest``.
        created: the present, Unix time in whole seconds.

    Raises:
        Problem: ``InvalidHeader`` if a header line cannot be signed, the response is signed
            already, or a field that must be bound is missing or repeated.
    """
    lines = {'"@status"': str(response.status)}
    _cover_unsigned(lines, response.headers, (_DIGEST,))
    _bind(lines, request)
    return _seal(
        lines,
        key,
        f';created={created};keyid="{key.keyid}";alg="{key.algorithm.value}";tag="{RESPONSE_TAG}"',
    )


def open_request(
    head: RequestHead,
    find_key: FindKey,
    *,
    now: int,
    max_skew_s: int = MAX_SKEW_S,
    max_age_s: int = MAX_AGE_S,
) -> Opened:
    """Verify the signature of a request.

    Args:
        head: the head as it was received.
        find_key: gives the key of a key id, or raises a Problem.
        now: the present, Unix time in whole seconds.
        max_skew_s: how far clocks may differ.
        max_age_s: how long a signature may live.

    Raises:
        Problem: ``InvalidHeader`` (a line that must not be), ``MissingSignature``,
            ``MalformedSignature`` (grammar, parameters, coverage), ``StaleSignature`` (too old,
            from the future, lives too long), ``InvalidSignatureValue`` (changed on its way or
            another algorithm than the key's), or what ``find_key`` raises.
    """
    lines = {'"@method"': head.method, '"@target-uri"': head.target_uri}
    field, signature_field = _cover(lines, head.headers)
    member, signature = _select(field, signature_field, REQUEST_TAG)
    parameters = member.parameters
    _require_parameters(parameters.keys(), _REQUEST_PARAMETERS)
    created, expires, nonce = parameters["created"], parameters["expires"], parameters["nonce"]
    if not isinstance(created, int) or not isinstance(expires, int) or not isinstance(nonce, str):
        raise malformed("signature-input", "created, expires or nonce is of the wrong type")
    if not _NONCE.fullmatch(nonce):
        raise malformed("signature-input", "the nonce has not 22 to 128 visible characters")
    if expires <= created or expires - created > max_age_s:
        raise _stale(
            f"it lives {expires - created} s, at most {max_age_s} s are accepted", now, created
        )
    if now > expires + max_skew_s:
        raise _stale("it has expired", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)
    _require_fields(lines, (_DIGEST, _MESSAGE_ID))
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, expires, nonce, base, signature, field)


def open_response(
    request: RequestHead,
    response: ResponseHead,
    find_key: FindKey,
    *,
    now: int,
    max_skew_s: int = MAX_SKEW_S,
    max_age_s: int = MAX_AGE_S,
) -> Opened:
    """Verify the signature of a response, and that it answers ``request``.

    Args:
        request: the request head as it was sent, signature fields included.
        response: the head as it was received.
        find_key, now, max_skew_s: as for :func:`open_request`.
        max_age_s: how long ago the response may have been signed.

    Raises:
        Problem: as :func:`open_request`, and ``InconsistentResponse`` if the signature does not
            bind the request, or the response names the id of another message.
    """
    lines = {'"@status"': str(response.status)}
    field, signature_field = _cover(lines, response.headers)
    member, signature = _select(field, signature_field, RESPONSE_TAG)
    _bind(lines, request)
    _require_parameters(member.parameters.keys(), _RESPONSE_PARAMETERS)
    created = member.parameters["created"]
    if not isinstance(created, int):
        raise malformed("signature-input", "created is of the wrong type")
    if now > created + max_age_s + max_skew_s:
        raise _stale(f"it is older than {max_age_s} s", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)
    _require_fields(lines, (_DIGEST,))
    if lines.get(_MESSAGE_ID, lines['"x-road-id";req']) != lines['"x-road-id";req']:
        raise Problem(
            Code.INCONSISTENT_RESPONSE,
            where="x-road-id",
            detail="the response names the id of another message",
        )
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, created + max_age_s, "", base, signature, field)


def _seal(lines: dict[str, str], key: SigningKey, tail: str) -> Signed:
    params = f"({' '.join(lines)}){tail}"
    base = signature_base(lines, lines, params)
    signature = key.sign(base)
    field = f"{LABEL}={params}"
    added = (("signature-input", field), ("signature", format_signature(LABEL, signature)))
    return Signed(added, base, signature, field)


def _verify(
    lines: dict[str, str], member: SignatureInput, signature: bytes, find_key: FindKey
) -> tuple[str, bytes]:
    """Coverage, key, algorithm, signature; the last steps of opening, in this order."""
    components = member.component_list()
    if len(components) != len(lines) or set(components) != lines.keys():
        _refuse_coverage(components, lines)
    keyid, algorithm = member.parameters["keyid"], member.parameters["alg"]
    if not isinstance(keyid, str) or not isinstance(algorithm, str):
        raise malformed("signature-input", "keyid or alg is of the wrong type")
    key = find_key(keyid)
    if key.algorithm.value != algorithm:
        raise Problem(
            Code.INVALID_SIGNATURE,
            where="signature-input",
            detail=f"alg is {algorithm[:40]!r}, but the key is for {key.algorithm.value}",
            facts={"keyid": keyid, "algorithm": key.algorithm.value},
        )
    base = signature_base(components, lines, member.text)
    key.verify(signature, base)
    return keyid, base


def _refuse_coverage(components: list[str], lines: dict[str, str]) -> NoReturn:
    """Say why the covered components are not exactly those that must be."""
    if len(set(components)) < len(components):
        raise malformed("signature-input", "a component is covered twice")
    absent = [component for component in components if component not in lines]
    uncovered = [component for component in lines if component not in components]
    unbound = [component for component in uncovered if component.endswith(";req")]
    if unbound:
        raise Problem(
            Code.INCONSISTENT_RESPONSE,
            where="signature-input",
            detail=f"the signature does not bind {', '.join(unbound)} of the request",
            facts={"unbound": unbound},
        )
    if absent:
        names = [component[:80] for component in absent[:10]]
        if not all(re.fullmatch(r'"[^"@]+"(?:;bs)?', component) for component in absent):
            raise malformed("signature-input", f"the profile has no component {', '.join(names)}")
        raise Problem(
            Code.INVALID_SIGNATURE,
            where="signature-input",
            detail=f"the message came without what was signed: {', '.join(names)}",
            facts={"absent": names},
        )
    raise Problem(
        Code.MALFORMED_SIGNATURE,
        where="signature-input",
        detail=f"not covered by the signature: {', '.join(uncovered)[:300]}",
        facts={"uncovered": uncovered},
    )


def _select(field: str, signature_field: str, tag: str) -> tuple[SignatureInput, bytes]:
    """The one member with our tag, and its signature."""
    if not field or not signature_field:
        raise _missing("the message has no Signature-Input or no Signature field")
    ours = [m for m in parse_signature_input(field) if m.parameters.get("tag") == tag]
    if not ours:
        raise _missing(f"no signature has the tag {tag!r}")
    if len(ours) > 1:
        raise malformed("signature-input", f"more than one signature has the tag {tag!r}")
    signature = parse_signature(signature_field).get(ours[0].label)
    if signature is None:
        raise malformed("signature", "it lacks the label that Signature-Input names")
    return ours[0], signature


def _require_parameters(given: Iterable[str], expected: frozenset[str]) -> None:
    if given != expected:
        missing, unknown = sorted(expected.difference(given)), sorted(set(given) - expected)
        raise malformed(
            "signature-input",
            f"parameters missing: {', '.join(missing) or 'none'}; "
            f"not of the profile: {', '.join(unknown)[:200] or 'none'}",
        )


def _require_fields(lines: dict[str, str], components: tuple[str, ...]) -> None:
    for component in components:
        if component not in lines:
            raise Problem(
                Code.INVALID_HEADER,
                where=component.strip('"'),
                detail=f"the message must have the header field {component} exactly once",
            )


def _cover_unsigned(lines: dict[str, str], headers: Headers, required: tuple[str, ...]) -> None:
    field, signature_field = _cover(lines, headers)
    if field or signature_field:
        raise Problem(
            Code.INVALID_HEADER,
            where="signature",
            detail="the message has a Signature or Signature-Input field already",
        )
    _require_fields(lines, required)


def _cover(lines: dict[str, str], headers: Headers) -> tuple[str, str]:
    """Add every end-to-end field to ``lines``; return Signature-Input and Signature, or ``""``."""
    if len(headers) > MAX_HEADERS:
        raise Problem(
            Code.INVALID_HEADER,
            where="headers",
            detail=f"{len(headers)} header lines, at most {MAX_HEADERS} are accepted",
        )
    derived = len(lines)
    expected = derived
    signature_input: str | None = None
    signature: str | None = None
    for name, value in headers:
        component = _component(name)
        if component:
            lines[component] = value
            expected += 1
        elif name == "signature-input":
            if signature_input is not None:
                raise malformed(name, "the field appears twice")
            signature_input = value
        elif name == "signature":
            if signature is not None:
                raise malformed(name, "the field appears twice")
            signature = value
    text = "\n".join(lines.values())
    if len(lines) != expected or not _is_plain(text, expected):
        _cover_wrapped(lines, headers, derived)
    return signature_input or "", signature or ""


def _is_plain(text: str, lines: int) -> bool:
    """Whether no value in ``text``, one a line, can need wrapping or refusal: a quick sieve."""
    return (
        text.isascii()
        and len(text) <= MAX_VALUE_LENGTH
        and text.count("\n") == lines - 1
        and text.replace("\n", "").isprintable()
        and "\n " not in text
        and " \n" not in text
        and text[-1:] != " "
    )


def _cover_wrapped(lines: dict[str, str], headers: Headers, derived: int) -> None:
    """The exact and slower way of :func:`_cover`, for repeated, non-ASCII and strange values."""
    for component in list(lines)[derived:]:
        del lines[component]
    values: dict[str, list[str]] = {}
    for name, value in headers:
        component = _component(name)
        if component:
            if len(value) > MAX_VALUE_LENGTH or not _VALUE.fullmatch(value):
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail=f"the value is longer than {MAX_VALUE_LENGTH} characters, has space "
                    "around it, or holds a control character",
                )
            values.setdefault(component, []).append(value)
    for component, group in values.items():
        if len(group) == 1 and group[0].isascii():
            lines[component] = group[0]
        else:
            lines[f"{component};bs"] = ", ".join(
                f":{b2a_base64(value.encode('latin-1'), newline=False).decode()}:"
                for value in group
            )


@lru_cache(maxsize=1024)
def _component(name: str) -> str:
    """The component identifier of a header name; empty if the field is not covered."""
    if name in NOT_COVERED:
        return ""
    if not _NAME.fullmatch(name):
        raise Problem(
            Code.INVALID_HEADER,
            where=name[:80],
            detail="the header name is not a lower-case token of at most 256 characters",
        )
    return f'"{name}"'


def _bind(lines: dict[str, str], request: RequestHead) -> None:
    """Add the components of the request that its response covers."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        if name in _BOUND_FIELDS:
            if name in found or not (value.isascii() and value.isprintable()):
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail=f"the request has {name} twice or not in printable ASCII",
                )
            found[name] = value
    lines['"@method";req'] = request.method
    lines['"@target-uri";req'] = request.target_uri
    for name in _BOUND_FIELDS:
        if name not in found:
            raise Problem(
                Code.INVALID_HEADER, where=name, detail=f"the request to be answered has no {name}"
            )
        lines[f'"{name}";req'] = found[name]


def _missing(detail: str) -> Problem:
    return Problem(Code.MISSING_SIGNATURE, where="signature", detail=detail)


def _stale(detail: str, now: int, created: int) -> Problem:
    return Problem(
        Code.STALE_SIGNATURE,
        where="signature-input",
        detail=f"the signature is refused: {detail}",
        facts={"now": now, "created": created},
    )
