"""An opened sealed part against its entry: the commitment, and that both tell of one message.

What an entry says in clear is what searches, counts and the persons concerned are told. It rests on
the server's word alone, but for what a signature covers, too: where a sealed part is open, each
member of the entry that the signed message says as well must say the same, and so must the head and
the body that are kept beside the signature base. Whether there must be something that was signed
is told by the kind of the entry (:mod:`mediator.journal.verify.signing`).

Not checked: the signature itself (an export holds the certificates for that), and members that no
signed component tells, such as the time and the agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from exchange.covering import covered_lines
from exchange.digest import format_content_digest
from exchange.forms import NOT_COVERED
from exchange.problems import Code, Problem
from exchange.sealed_parts import Head, SealedPart, commitment
from mediator.journal.verify.signing import (
    Signing,
    check_covered,
    check_present,
    says_all,
    signing_of,
)

_PARAMS: Final = '"@signature-params"'
# How the lines of a base begin that every message has besides those that are compared, and how a
# base ends, as our servers write it.
_LINES: Final = {
    Signing.REQUEST: ('\n"content-digest": ', '\n"x-road-id": '),
    Signing.ANSWER: (
        '\n"content-digest": ',
        '\n"content-digest";req: ',
        '\n"x-road-id";req: ',
        '\n"signature-input";req: ',
    ),
}
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


def check_part(part: SealedPart, entry: Mapping[str, Any]) -> None:
    """Check an opened sealed part against its entry, as the JSON object that it is.

    Raises:
        Problem: as :func:`check_commitment` and :func:`check_told`.
    """
    check_commitment(part, entry.get("commitment"))
    check_told(part, entry)


def check_commitment(part: SealedPart, expected: str | None) -> None:
    """Check that an entry was made of this part.

    Raises:
        Problem: ``JournalCorrupt``.
    """
    if commitment(part) != expected:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the commitment is not to this signature base")


def check_told(part: SealedPart, entry: Mapping[str, Any]) -> None:
    """Check that entry, head and body tell what was signed, and that it was where it must be.

    Raises:
        Problem: ``MissingSignature`` when the entry is of a message that is always signed, and the
            part holds no such signature; ``JournalCorrupt`` when the entry or the head say other
            than what was signed; ``DigestMismatch`` when a body that was kept has another digest
            than was signed.
    """
    signing = signing_of(entry)
    check_present(part, signing)
    if signing is Signing.NONE:
        return
    base = part.base.decode("ascii", "replace")
    if not _is_plainly_told(part.head, entry, base, signing):
        signed = _components(base)
        check_covered(entry, signed, signed.get(_PARAMS, ""), signing)
        for name in _contradictions(part.head, entry, signed):
            raise Problem(Code.JOURNAL_CORRUPT, detail=f"{name} says other than what was signed")
    _check_body(part.body, entry.get("size"), base)


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
    if (
        not base.endswith(_ENDS[signing])
        or (head.status is None) is not (signing is Signing.REQUEST)
        or not says_all(entry, signing)
        or not all(line in base for line in _LINES[signing])
    ):
        return False
    lines = [f'\n"{name}": {value}' for name, value in head.headers if name not in NOT_COVERED]
    text = "".join(lines)
    text += "\n"
    said = entry.get
    service, purpose, named = said("service"), None, None
    if head.status is None:
        begin, purpose = f'"@method": {head.method}\n"@target-uri": ', said("purpose")
        at = base.find(f"{head.target}{text}{_PARAMS}: ", len(begin))
        # A target may hold another one; that of a URI is all behind its authority.
        told = head.method == said("method") and base.count("/", len(begin), at) == 2 and at > 0
        target, bound = head.target or "", _PARAMS
    else:
        named = service
        begin = (
            f'"@status": {head.status}{text}"@method";req: {said("method")}\n"@target-uri";req: '
        )
        told = head.status == said("status")
        target = _target_of(base[len(begin) : base.find("\n", len(begin))])
        bound = '\n"signature-input";req: '
    if not (told and base.startswith(begin) and service and _leads_to(target, service)):
        return False
    for name, value in (
        ("x-road-client", said("client")),
        ("x-road-id", said("id")),
        ("x-road-request-id", said("request_id")),
        ("exchange-purpose", purpose),
        ("x-road-service", named),
    ):
        if value is not None and f'\n"{name}": {value}\n' not in text:
            return False
    nonce, certificate = said("nonce"), said("certificate")
    params = base[len(begin) :].rpartition(bound)[2]
    return (nonce is None or f';nonce="{nonce}"' in params) and (
        certificate is None or f';keyid="{certificate}"' in params
    )


def _components(base: str) -> dict[str, str]:
    """The lines of a signature base, by component; none when it is no signature base."""
    *rows, last = base.split("\n")
    if not last.startswith(_PARAMS):
        return {}
    found = dict(row.partition(": ")[::2] for row in rows)
    found[_PARAMS] = last[len(_PARAMS) + 2 :]
    return found


def _contradictions(
    head: Head, entry: Mapping[str, Any], signed: Mapping[str, str]
) -> Iterator[str]:
    told = _OF_RESPONSE if '"@status"' in signed else _OF_REQUEST
    for member, component in told:
        value, said = signed.get(component), entry.get(member)
        if value is not None and said is not None and str(said) != value:
            yield f"{member} of the entry"
    yield from _signer(entry, signed)
    uri = signed.get('"@target-uri"', signed.get('"@target-uri";req'))
    service = entry.get("service")
    if uri is not None and service and not _leads_to(_target_of(uri), service):
        yield "service of the entry"
    yield from _head(head, signed)


def _signer(entry: Mapping[str, Any], signed: Mapping[str, str]) -> Iterator[str]:
    """The nonce is that of the request, the certificate that of the other side."""
    params = [signed[_PARAMS], signed.get('"signature-input";req', "")]
    for member, parameter in (("nonce", "nonce"), ("certificate", "keyid")):
        said = entry.get(member)
        if said is not None and not any(f';{parameter}="{said}"' in one for one in params):
            yield f"{member} of the entry"


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
