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

A head whose form is known and whose values are plain (:mod:`exchange.forms`), with signature
fields as sealing writes them, is sealed and opened by its form; any other line by line. The two
ways accept and refuse the same, which the tests hold against each other.

Opening judges cheap things first: lengths, grammar, parameters, time, coverage; then the key, then
the signature. It does *not* compare ``content-digest`` with a body (:mod:`exchange.digest`), does
not remember nonces, and does not ask who may use a key.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, NoReturn, TypeAlias

from exchange.forms import (
    BOUND,
    BOUND_FIELDS,
    DERIVED_OF_REQUEST,
    DERIVED_OF_RESPONSE,
    HOP_BY_HOP,
    LABEL,
    MAX_VALUE_LENGTH,
    NOT_COVERED,
    Form,
    component_of,
    form_of,
    is_plain,
    plain_values,
)
from exchange.heads import Headers, RequestHead, ResponseHead
from exchange.keys import SigningKey, VerifyingKey
from exchange.problems import Code, Problem
from exchange.signature import (
    SignatureInput,
    format_signature,
    malformed,
    own_signature,
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

REQUEST_TAG = "saphan-request"
RESPONSE_TAG = "saphan-response"

MAX_HEADERS = 100
MAX_SKEW_S = 5
MAX_AGE_S = 60

FindKey: TypeAlias = Callable[[str], VerifyingKey]

_NONCE = re.compile(r"[!#-\[\]-~]{22,128}", re.ASCII)
# RFC 9110 section 5.5: visible characters, obs-text, and spaces or tabs between them.
_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
# The parameters as sealing writes them; what is written otherwise is read line by line.
_WRITTEN_STRING = r'"([ !#-\[\]-~]{1,128}+)"'
_WRITTEN_TIME = r"([1-9][0-9]{0,14}+)"
_WRITTEN_REQUEST: Final = re.compile(
    rf";created={_WRITTEN_TIME};expires={_WRITTEN_TIME};nonce={_WRITTEN_STRING}"
    rf';keyid={_WRITTEN_STRING};alg={_WRITTEN_STRING};tag="{REQUEST_TAG}"',
    re.ASCII,
)
_WRITTEN_RESPONSE: Final = re.compile(
    rf';created={_WRITTEN_TIME};keyid={_WRITTEN_STRING};alg={_WRITTEN_STRING};tag="{RESPONSE_TAG}"',
    re.ASCII,
)
_REQUEST_PARAMETERS = frozenset({"created", "expires", "nonce", "keyid", "alg", "tag"})
_RESPONSE_PARAMETERS = frozenset({"created", "keyid", "alg", "tag"})
_DIGEST = '"content-digest"'
_MESSAGE_ID = '"x-road-id"'


class Signed(NamedTuple):
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


class Opened(NamedTuple):
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
    tail = (
        f';created={created};expires={expires};nonce="{nonce}"'
        f';keyid="{key.keyid}";alg="{key.algorithm.value}";tag="{REQUEST_TAG}"'
    )
    found = _unsigned_form(head.headers)
    if found is None or not found[0].has_id:
        return _seal_request_line_by_line(head, key, tail)
    form, covered = found
    params = f"({DERIVED_OF_REQUEST}{form.listed}){tail}"
    return _sign(_base_of_request(form, covered, head, params), params, key)


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
    tail = (
        f';created={created};keyid="{key.keyid}";alg="{key.algorithm.value}";tag="{RESPONSE_TAG}"'
    )
    found = _unsigned_form(response.headers)
    bound = _bound_values(request)
    if found is None or bound is None:
        return _seal_response_line_by_line(request, response, key, tail)
    form, covered = found
    params = f"({DERIVED_OF_RESPONSE}{form.listed} {BOUND}){tail}"
    return _sign(_base_of_response(form, covered, response, request, bound, params), params, key)


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
    found = _own_writing(head.headers, of_request=True)
    if found is None or not found[0].has_id:
        return _open_request_line_by_line(head, find_key, now, max_skew_s, max_age_s)
    form, covered, field, signature = found
    match = _WRITTEN_REQUEST.fullmatch(field, len(form.begins_request))
    if match is None or not _NONCE.fullmatch(match[3]):
        return _open_request_line_by_line(head, find_key, now, max_skew_s, max_age_s)
    stated_created, stated_expires, nonce, keyid, algorithm = match.groups()
    created, expires = int(stated_created), int(stated_expires)
    _judge_request_times(created, expires, now, max_skew_s, max_age_s)
    key = _key_of(keyid, algorithm, find_key)
    base = _base_of_request(form, covered, head, field[len(LABEL) + 1 :])
    key.verify(signature, base)
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
    found = _own_writing(response.headers, of_request=False)
    bound = _bound_values(request)
    if found is None or bound is None:
        return _open_response_line_by_line(request, response, find_key, now, max_skew_s, max_age_s)
    form, covered, field, signature = found
    match = _WRITTEN_RESPONSE.fullmatch(field, len(form.begins_response))
    if match is None or (form.has_id and not _names_id(response, bound[1])):
        return _open_response_line_by_line(request, response, find_key, now, max_skew_s, max_age_s)
    stated_created, keyid, algorithm = match.groups()
    created = int(stated_created)
    _judge_response_times(created, now, max_skew_s, max_age_s)
    key = _key_of(keyid, algorithm, find_key)
    base = _base_of_response(form, covered, response, request, bound, field[len(LABEL) + 1 :])
    key.verify(signature, base)
    return Opened(keyid, created, created + max_age_s, "", base, signature, field)


# --- by the form of the head -----------------------------------------------------------------


def _unsigned_form(headers: Headers) -> tuple[Form, tuple[str, ...]] | None:
    """The form and covered values of a head to be sealed; None if it has no plain form."""
    found = form_of(headers)
    if found is None:
        return None
    form, values = found
    if form.signature_input >= 0 or form.signature >= 0 or not form.has_digest:
        return None
    covered = plain_values(form, values)
    return None if covered is None else (form, covered)


def _own_writing(
    headers: Headers, *, of_request: bool
) -> tuple[Form, tuple[str, ...], str, bytes] | None:
    """Form, covered values, Signature-Input and signature, where all are as sealing writes them."""
    found = form_of(headers)
    if found is None:
        return None
    form, values = found
    if form.signature_input < 0 or form.signature < 0 or not form.has_digest:
        return None
    field, signature_field = values[form.signature_input], values[form.signature]
    if not field.startswith(form.begins_request if of_request else form.begins_response):
        return None
    covered = plain_values(form, values)
    if covered is None:
        return None
    signature = own_signature(LABEL, signature_field)
    return None if signature is None else (form, covered, field, signature)


def _bound_values(request: RequestHead) -> tuple[str, ...] | None:
    """Digest, id and Signature-Input of a request; None if one is missing, repeated or strange."""
    found = form_of(request.headers)
    if found is None:
        return None
    form, values = found
    if form.bound is None:
        return None
    bound = form.bound(values)
    text = "".join(bound)
    return bound if text.isascii() and text.isprintable() else None


def _base_of_request(form: Form, covered: tuple[str, ...], head: RequestHead, params: str) -> bytes:
    return (
        f'"@method": {head.method}\n"@target-uri": {head.target_uri}\n'
        f'{form.rows % covered}"@signature-params": {params}'
    ).encode()


def _base_of_response(
    form: Form,
    covered: tuple[str, ...],
    response: ResponseHead,
    request: RequestHead,
    bound: tuple[str, ...],
    params: str,
) -> bytes:
    digest, message_id, signature_input = bound
    return (
        f'"@status": {response.status}\n{form.rows % covered}'
        f'"@method";req: {request.method}\n"@target-uri";req: {request.target_uri}\n'
        f'"content-digest";req: {digest}\n"x-road-id";req: {message_id}\n'
        f'"signature-input";req: {signature_input}\n"@signature-params": {params}'
    ).encode()


def _names_id(response: ResponseHead, message_id: str) -> bool:
    return ("x-road-id", message_id) in response.headers


# --- line by line ----------------------------------------------------------------------------


def _seal_request_line_by_line(head: RequestHead, key: SigningKey, tail: str) -> Signed:
    lines = {'"@method"': head.method, '"@target-uri"': head.target_uri}
    _cover_unsigned(lines, head.headers, (_DIGEST, _MESSAGE_ID))
    return _seal(lines, key, tail)


def _seal_response_line_by_line(
    request: RequestHead, response: ResponseHead, key: SigningKey, tail: str
) -> Signed:
    lines = {'"@status"': str(response.status)}
    _cover_unsigned(lines, response.headers, (_DIGEST,))
    _bind(lines, request)
    return _seal(lines, key, tail)


def _open_request_line_by_line(
    head: RequestHead, find_key: FindKey, now: int, max_skew_s: int, max_age_s: int
) -> Opened:
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
    _judge_request_times(created, expires, now, max_skew_s, max_age_s)
    _require_fields(lines, (_DIGEST, _MESSAGE_ID))
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, expires, nonce, base, signature, field)


def _open_response_line_by_line(
    request: RequestHead,
    response: ResponseHead,
    find_key: FindKey,
    now: int,
    max_skew_s: int,
    max_age_s: int,
) -> Opened:
    lines = {'"@status"': str(response.status)}
    field, signature_field = _cover(lines, response.headers)
    member, signature = _select(field, signature_field, RESPONSE_TAG)
    _bind(lines, request)
    _require_parameters(member.parameters.keys(), _RESPONSE_PARAMETERS)
    created = member.parameters["created"]
    if not isinstance(created, int):
        raise malformed("signature-input", "created is of the wrong type")
    _judge_response_times(created, now, max_skew_s, max_age_s)
    _require_fields(lines, (_DIGEST,))
    if lines.get(_MESSAGE_ID, lines['"x-road-id";req']) != lines['"x-road-id";req']:
        raise Problem(
            Code.INCONSISTENT_RESPONSE,
            where="x-road-id",
            detail="the response names the id of another message",
        )
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, created + max_age_s, "", base, signature, field)


def _judge_request_times(
    created: int, expires: int, now: int, max_skew_s: int, max_age_s: int
) -> None:
    if expires <= created or expires - created > max_age_s:
        raise _stale(
            f"it lives {expires - created} s, at most {max_age_s} s are accepted", now, created
        )
    if now > expires + max_skew_s:
        raise _stale("it has expired", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)


def _judge_response_times(created: int, now: int, max_skew_s: int, max_age_s: int) -> None:
    if now > created + max_age_s + max_skew_s:
        raise _stale(f"it is older than {max_age_s} s", now, created)
    if created > now + max_skew_s:
        raise _stale("it is from the future", now, created)


def _seal(lines: dict[str, str], key: SigningKey, tail: str) -> Signed:
    params = f"({' '.join(lines)}){tail}"
    return _sign(signature_base(lines, lines, params), params, key)


def _sign(base: bytes, params: str, key: SigningKey) -> Signed:
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
    key = _key_of(keyid, algorithm, find_key)
    base = signature_base(components, lines, member.text)
    key.verify(signature, base)
    return keyid, base


def _key_of(keyid: str, algorithm: str, find_key: FindKey) -> VerifyingKey:
    key = find_key(keyid)
    if key.algorithm.value != algorithm:
        raise Problem(
            Code.INVALID_SIGNATURE,
            where="signature-input",
            detail=f"alg is {algorithm[:40]!r}, but the key is for {key.algorithm.value}",
            facts={"keyid": keyid, "algorithm": key.algorithm.value},
        )
    return key


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
        component = component_of(name)
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
    if len(lines) != expected or not is_plain(text, expected):
        _cover_wrapped(lines, headers, derived)
    return signature_input or "", signature or ""


def _cover_wrapped(lines: dict[str, str], headers: Headers, derived: int) -> None:
    """The exact and slower way of :func:`_cover`, for repeated, non-ASCII and strange values."""
    for component in list(lines)[derived:]:
        del lines[component]
    values: dict[str, list[str]] = {}
    for name, value in headers:
        component = component_of(name)
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


def _bind(lines: dict[str, str], request: RequestHead) -> None:
    """Add the components of the request that its response covers."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        if name in BOUND_FIELDS:
            if name in found or not (value.isascii() and value.isprintable()):
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail=f"the request has {name} twice or not in printable ASCII",
                )
            found[name] = value
    lines['"@method";req'] = request.method
    lines['"@target-uri";req'] = request.target_uri
    for name in BOUND_FIELDS:
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
