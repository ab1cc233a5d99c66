"""Sealing and opening line by line: the way for every head, whatever its form.

It is the profile of :mod:`exchange.messages.envelope`, which knows a quicker way for most heads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

from exchange.keys import SigningKey
from exchange.messages.covering import (
    DIGEST,
    MESSAGE_ID,
    bind,
    cover,
    cover_unsigned,
    missing,
    require_fields,
)
from exchange.messages.heads import RequestHead, ResponseHead
from exchange.messages.signature import (
    SignatureInput,
    malformed,
    parse_signature,
    parse_signature_input,
    signature_base,
)
from exchange.messages.signed import (
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
from exchange.problems import Code, Problem

NONCE = re.compile(r"[!#-\[\]-~]{22,128}", re.ASCII)
_REQUEST_PARAMETERS = frozenset({"created", "expires", "nonce", "keyid", "alg", "tag"})
_RESPONSE_PARAMETERS = frozenset({"created", "keyid", "alg", "tag"})


def seal_request_lines(head: RequestHead, key: SigningKey, tail: str) -> Signed:
    """As :func:`exchange.messages.envelope.seal_request`; ``tail`` are the parameters."""
    lines = {'"@method"': head.method, '"@target-uri"': head.target_uri}
    cover_unsigned(lines, head.headers, (DIGEST, MESSAGE_ID))
    return _seal(lines, key, tail)


def seal_response_lines(
    request: RequestHead, response: ResponseHead, key: SigningKey, tail: str
) -> Signed:
    """As :func:`exchange.messages.envelope.seal_response`; ``tail`` are the parameters."""
    lines = {'"@status"': str(response.status)}
    cover_unsigned(lines, response.headers, (DIGEST,))
    bind(lines, request)
    return _seal(lines, key, tail)


def open_request_lines(
    head: RequestHead, find_key: FindKey, now: int, max_skew_s: int, max_age_s: int
) -> Opened:
    """As :func:`exchange.messages.envelope.open_request`."""
    lines = {'"@method"': head.method, '"@target-uri"': head.target_uri}
    field, signature_field = cover(lines, head.headers)
    member, signature = _select(field, signature_field, REQUEST_TAG)
    parameters = member.parameters
    _require_parameters(parameters.keys(), _REQUEST_PARAMETERS)
    created, expires, nonce = parameters["created"], parameters["expires"], parameters["nonce"]
    if not isinstance(created, int) or not isinstance(expires, int) or not isinstance(nonce, str):
        raise malformed("signature-input", "created, expires or nonce is of the wrong type")
    if not NONCE.fullmatch(nonce):
        raise malformed("signature-input", "the nonce has not 22 to 128 visible characters")
    judge_request_times(created, expires, now, max_skew_s, max_age_s)
    require_fields(lines, (DIGEST, MESSAGE_ID))
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, expires, nonce, base, signature, field)


def open_response_lines(
    request: RequestHead,
    response: ResponseHead,
    find_key: FindKey,
    now: int,
    max_skew_s: int,
    max_age_s: int,
) -> Opened:
    """As :func:`exchange.messages.envelope.open_response`."""
    lines = {'"@status"': str(response.status)}
    field, signature_field = cover(lines, response.headers)
    member, signature = _select(field, signature_field, RESPONSE_TAG)
    bind(lines, request)
    _require_parameters(member.parameters.keys(), _RESPONSE_PARAMETERS)
    created = member.parameters["created"]
    if not isinstance(created, int):
        raise malformed("signature-input", "created is of the wrong type")
    judge_response_times(created, now, max_skew_s, max_age_s)
    require_fields(lines, (DIGEST,))
    if lines.get(MESSAGE_ID, lines['"x-road-id";req']) != lines['"x-road-id";req']:
        raise Problem(
            Code.INCONSISTENT_RESPONSE,
            where="x-road-id",
            detail="the response names the id of another message",
        )
    keyid, base = _verify(lines, member, signature, find_key)
    return Opened(keyid, created, created + max_age_s, "", base, signature, field)


def _seal(lines: dict[str, str], key: SigningKey, tail: str) -> Signed:
    params = f"({' '.join(lines)}){tail}"
    return sign(signature_base(lines, lines, params), params, key)


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
    key = key_of(keyid, algorithm, find_key)
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
        raise missing("the message has no Signature-Input or no Signature field")
    ours = [m for m in parse_signature_input(field) if m.parameters.get("tag") == tag]
    if not ours:
        raise missing(f"no signature has the tag {tag!r}")
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
