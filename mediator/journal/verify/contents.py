"""An opened sealed part against its entry: the commitment, and that both tell of one message.

What an entry says in clear is what searches, counts and the persons concerned are told. It rests on
the server's word alone, but for what a signature covers, too: where a sealed part is open, each
member of the entry that the signed message tells as well must be there and say the same, and so
must the head and the body that are kept beside the signature base. Whether there must be something
that was signed is told by the kind of the entry (:mod:`mediator.journal.verify.signing`).

Not checked: the signature itself (:mod:`mediator.journal.verify.signatures`), and members that no
signed component tells, such as the agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from exchange.journal.entries import Side
from exchange.journal.sealed_parts import Head, SealedPart, commitment
from exchange.messages.covering import covered_lines
from exchange.messages.digest import format_content_digest
from exchange.messages.forms import NOT_COVERED
from exchange.problems import Code, Problem
from mediator.journal.verify.signing import (
    Signing,
    check_covered,
    check_present,
    check_said,
    signing_of,
)
from mediator.journal.verify.stated import Stated, check_moment, stated_of

_PARAMS: Final = '"@signature-params"'
_OWN: Final = f"\n{_PARAMS}: "
# How a base ends, as our servers write it.
_ENDS: Final = {signing: f';tag="{signing.value}"' for signing in Signing}
# Members of an entry, and the component of a message that tells the same. A response repeats
# components of its request (RFC 9421 section 2.4); its own ``exchange-purpose`` is its backend's.
_OF_ALL: Final = (
    ("client", '"x-road-client"'),
    ("id", '"x-road-id"'),
    ("request_id", '"x-road-request-id"'),
)
_OF_REQUEST: Final = (*_OF_ALL, ("purpose", '"exchange-purpose"'), ("method", '"@method"'))
_OF_RESPONSE: Final = (
    *_OF_ALL,
    ("service", '"x-road-service"'),
    ("id", '"x-road-id";req'),
    ("method", '"@method";req'),
    ("status", '"@status"'),
)

# Members that an entry has when the message has the component, and it is not empty.
_WHERE_SIGNED: Final = {
    Signing.REQUEST: (
        ("id", '"x-road-id"'),
        ("request_id", '"x-road-request-id"'),
        ("purpose", '"exchange-purpose"'),
    ),
    Signing.ANSWER: (("id", '"x-road-id";req'), ("request_id", '"x-road-request-id"')),
}


def check_part(part: SealedPart, entry: Mapping[str, Any]) -> Stated | None:
    """Check an opened sealed part against its entry, as the JSON object that it is.

    Returns:
        what the signature states; None where there is none.

    Raises:
        Problem: as :func:`check_commitment` and :func:`check_told`.
    """
    check_commitment(part, entry.get("commitment"))
    return check_told(part, entry)


def check_commitment(part: SealedPart, expected: str | None) -> None:
    """Check that an entry was made of this part.

    Raises:
        Problem: ``JournalCorrupt``.
    """
    if commitment(part) != expected:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the commitment is not to this signature base")


def check_told(part: SealedPart, entry: Mapping[str, Any]) -> Stated | None:
    """Check that entry, head and body tell what was signed, and that it was where it must be.

    Returns:
        what the signature states; None where there is none.

    Raises:
        Problem: ``MissingSignature`` when the entry is of a message that is always signed, and the
            part holds no such signature; ``JournalCorrupt`` when the entry or the head say other
            than what was signed; ``DigestMismatch`` when a body that was kept has another digest
            than was signed; ``StaleSignature`` when the entry's time is none at which servers
            take what was signed; ``MalformedSignature``.
    """
    signing = signing_of(entry)
    check_present(part, signing)
    if signing is Signing.NONE:
        return None
    base = part.base.decode("ascii", "replace")
    if not _is_plainly_told(part.head, entry, base, signing):
        signed = _components(base)
        check_covered(signed, signed.get(_PARAMS, ""), signing)
        check_said(entry, signing, _told_of(entry, signed, signing))
        for name in _contradictions(part.head, entry, signed, signing):
            raise Problem(Code.JOURNAL_CORRUPT, detail=f"{name} says other than what was signed")
    _check_body(part.body, entry.get("size"), base)
    stated = stated_of(part.base)
    check_moment(stated, entry, signing)
    return stated


def _check_body(body: bytes, size: int | None, base: str) -> None:
    _, component, rest = base.partition('\n"content-digest": ')
    if not component:
        return
    if rest.partition("\n")[0] == format_content_digest(sha256(body).digest()):
        if size is not None and len(body) != size:
            detail = "size of the entry says other than what was signed"
            raise Problem(Code.JOURNAL_CORRUPT, detail=detail)
    elif body or size == 0:  # else it was not kept
        raise Problem(Code.DIGEST_MISMATCH, detail="the body has another digest than was signed")


def _is_plainly_told(head: Head, entry: Mapping[str, Any], base: str, signing: Signing) -> bool:
    """Whether all stands in the base as our servers write it; else it is looked at piece by piece.

    For millions of entries this takes a third of the time.
    """
    if not base.endswith(_ENDS[signing]) or (head.status is None) is not (
        signing is Signing.REQUEST
    ):
        return False
    lines = [f'\n"{name}": {value}' for name, value in head.headers if name not in NOT_COVERED]
    text = "".join(lines)
    text += "\n"
    if '\n"content-digest": ' not in text:
        return False
    said = entry.get
    client, identifier, service = said("client"), said("id"), said("service")
    if None in (client, identifier):
        return False
    if head.status is None:
        begin = f'"@method": {head.method}\n"@target-uri": '
        last = "exchange-purpose", said("purpose")
        at = base.find(f"{head.target}{text}{_PARAMS}: ", len(begin))
        # A target may hold another one; that of a URI is all behind its authority.
        told = head.method == said("method") and base.count("/", len(begin), at) == 2 and at > 0
        target, bound = head.target or "", _PARAMS
    else:
        last = "x-road-service", service
        begin = (
            f'"@status": {head.status}{text}"@method";req: {said("method")}\n"@target-uri";req: '
        )
        told = head.status == said("status")
        if '\n"content-digest";req: ' not in base or '\n"x-road-id";req: ' not in base:
            return False
        target = _target_of(base[len(begin) : base.find("\n", len(begin))])
        bound = '\n"signature-input";req: '
    if not (told and base.startswith(begin) and service and _leads_to(target, service)):
        return False
    for name, value in (
        ("x-road-client", client),
        ("x-road-id", identifier),
        ("x-road-request-id", said("request_id")),
        last,
    ):
        if value is None:
            if f'\n"{name}": ' in text:
                return False
        elif f'\n"{name}": {value}\n' not in text:
            return False
    before, _, params = base[len(begin) :].rpartition(bound)
    if signing is Signing.ANSWER and not before:  # it is bound to no request
        return False
    asked, _, own = params.rpartition(_OWN)
    signer = asked if said("side") == Side.PROVIDER and asked else own
    nonce, certificate = said("nonce"), said("certificate")
    if nonce is None:
        named = signing is Signing.ANSWER or ";nonce=" not in own
    else:
        named = f';nonce="{nonce}"' in (asked or own)
    if certificate is None:
        return named and (_is_own(entry, signing) or ";keyid=" not in signer)
    return named and f';keyid="{certificate}"' in signer


def _components(base: str) -> dict[str, str]:
    """The lines of a signature base, by component; none when it is no signature base."""
    *rows, last = base.split("\n")
    if not last.startswith(_PARAMS):
        return {}
    found = dict(row.partition(": ")[::2] for row in rows)
    found[_PARAMS] = last[len(_PARAMS) + 2 :]
    return found


def _contradictions(
    head: Head, entry: Mapping[str, Any], signed: Mapping[str, str], signing: Signing
) -> Iterator[str]:
    told = _OF_RESPONSE if '"@status"' in signed else _OF_REQUEST
    for member, component in told:
        value, said = signed.get(component), entry.get(member)
        if value is not None and said is not None and str(said) != value:
            yield f"{member} of the entry"
    yield from _signer(entry, signed, signing)
    uri = signed.get('"@target-uri"', signed.get('"@target-uri";req'))
    service = entry.get("service")
    if uri is not None and service and not _leads_to(_target_of(uri), service):
        yield "service of the entry"
    yield from _head(head, signed)


def _signer(entry: Mapping[str, Any], signed: Mapping[str, str], signing: Signing) -> Iterator[str]:
    for member, parameter, params in _signers(entry, signed, signing):
        said = entry.get(member)
        if said is not None and f';{parameter}="{said}"' not in params:
            yield f"{member} of the entry"


def _signers(
    entry: Mapping[str, Any], signed: Mapping[str, str], signing: Signing
) -> tuple[tuple[str, str, str], ...]:
    """Of nonce and certificate: the member, the parameter, and in which parameters it stands.

    The nonce is that of the request, the certificate that of the other side.
    """
    own = signed[_PARAMS]
    asked = own if signing is Signing.REQUEST else signed.get('"signature-input";req', "")
    other = asked if entry.get("side") == Side.PROVIDER else own
    return ("nonce", "nonce", asked), ("certificate", "keyid", other)


def _told_of(
    entry: Mapping[str, Any], signed: Mapping[str, str], signing: Signing
) -> Iterator[str]:
    """Members that an entry has because what was signed tells them, besides those of all."""
    for member, component in _WHERE_SIGNED[signing]:
        if signed.get(component):
            yield member
    nonce, certificate = _signers(entry, signed, signing)
    if signing is Signing.REQUEST and ";nonce=" in nonce[2]:
        yield "nonce"
    if ";keyid=" in certificate[2] and not _is_own(entry, signing):
        yield "certificate"


def _is_own(entry: Mapping[str, Any], signing: Signing) -> bool:
    """Whether the server that recorded a message had it signed itself, and so opened nothing."""
    return signing is Signing.REQUEST and entry.get("side") == Side.CONSUMER


def _target_of(uri: str) -> str:
    """The request target of an absolute URI: all behind its authority."""
    return f"/{uri.partition('://')[2].partition('/')[2]}"


def _leads_to(target: str, service: str) -> bool:
    """Whether a target names a service; between servers an identifier has one spelling."""
    return f"{target.partition('?')[0]}/".startswith(f"/r1/{service}/")


def _head(head: Head, signed: Mapping[str, str]) -> Iterator[str]:
    """The kept head has the lines that were signed, as they were, and no other."""
    try:
        kept = covered_lines(head.headers)
    except Problem:
        yield "the kept head"
        return
    lines = {one for one in signed if not one.startswith('"@') and not one.endswith(";req")}
    for component in [*kept, *(lines - kept.keys())]:
        if signed.get(component) != kept.get(component):
            yield f"the kept header {component}"
    uri = signed.get('"@target-uri"')
    if uri is not None and head.target is not None and _target_of(uri) != head.target:
        yield "the kept address"
    for component, said in (('"@method"', head.method), ('"@status"', head.status)):
        stated = signed.get(component)
        if stated is not None and said is not None and stated != str(said):
            yield f"the kept {component}"
