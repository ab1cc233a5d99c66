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

A head whose form is known and whose values are plain (:mod:`exchange.messages.forms`), with
signature fields as sealing writes them, is sealed and opened by its form; any other line by line.
The two ways accept and refuse the same, which the tests hold against each other.

Opening judges cheap things first: lengths, grammar, parameters, time, coverage; then the key, then
the signature. It does *not* compare ``content-digest`` with a body
(:mod:`exchange.messages.digest`), does not remember nonces, and does not ask who may use a key.
"""

from __future__ import annotations

import re
from typing import Final

from exchange.keys import SigningKey
from exchange.messages.covering import covered_lines
from exchange.messages.forms import (
    BOUND,
    DERIVED_OF_REQUEST,
    DERIVED_OF_RESPONSE,
    HOP_BY_HOP,
    LABEL,
    NOT_COVERED,
    Form,
    form_of,
    plain_values,
)
from exchange.messages.heads import Headers, RequestHead, ResponseHead
from exchange.messages.line_by_line import (
    NONCE,
    open_request_lines,
    open_response_lines,
    seal_request_lines,
    seal_response_lines,
)
from exchange.messages.signature import own_signature
from exchange.messages.signed import (
    MAX_AGE_S,
    MAX_SKEW_S,
    REQUEST_TAG,
    RESPONSE_TAG,
    FindKey,
    Opened,
    Signed,
    judge_request_times,
    judge_response_times,
    key_of,
    sign,
)

__all__ = [
    "HOP_BY_HOP",
    "NOT_COVERED",
    "Headers",
    "Opened",
    "RequestHead",
    "ResponseHead",
    "Signed",
    "covered_lines",
    "open_request",
    "open_response",
    "seal_request",
    "seal_response",
]
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
    if not NONCE.fullmatch(nonce):
        raise ValueError("a nonce is 22 to 128 visible ASCII characters without quote or backslash")
    tail = (
        f';created={created};expires={expires};nonce="{nonce}"'
        f';keyid="{key.keyid}";alg="{key.algorithm.value}";tag="{REQUEST_TAG}"'
    )
    found = _unsigned_form(head.headers)
    if found is None or not found[0].has_id:
        return seal_request_lines(head, key, tail)
    form, covered = found
    params = f"({DERIVED_OF_REQUEST}{form.listed}){tail}"
    return sign(_base_of_request(form, covered, head, params), params, key)


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
        return seal_response_lines(request, response, key, tail)
    form, covered = found
    params = f"({DERIVED_OF_RESPONSE}{form.listed} {BOUND}){tail}"
    return sign(_base_of_response(form, covered, response, request, bound, params), params, key)


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
        return open_request_lines(head, find_key, now, max_skew_s, max_age_s)
    form, covered, field, signature = found
    match = _WRITTEN_REQUEST.fullmatch(field, len(form.begins_request))
    if match is None or not NONCE.fullmatch(match[3]):
        return open_request_lines(head, find_key, now, max_skew_s, max_age_s)
    stated_created, stated_expires, nonce, keyid, algorithm = match.groups()
    created, expires = int(stated_created), int(stated_expires)
    judge_request_times(created, expires, now, max_skew_s, max_age_s)
    key = key_of(keyid, algorithm, find_key)
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
        return open_response_lines(request, response, find_key, now, max_skew_s, max_age_s)
    form, covered, field, signature = found
    match = _WRITTEN_RESPONSE.fullmatch(field, len(form.begins_response))
    if match is None or (form.has_id and not _names_id(response, bound[1])):
        return open_response_lines(request, response, find_key, now, max_skew_s, max_age_s)
    stated_created, keyid, algorithm = match.groups()
    created = int(stated_created)
    judge_response_times(created, now, max_skew_s, max_age_s)
    key = key_of(keyid, algorithm, find_key)
    base = _base_of_response(form, covered, response, request, bound, field[len(LABEL) + 1 :])
    key.verify(signature, base)
    return Opened(keyid, created, created + max_age_s, "", base, signature, field)


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
