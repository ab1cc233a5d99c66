"""Message components of RFC 9421 section 2, resolved in general.

The message path needs only the few components of :mod:`exchange.messages.envelope` and derives them
there by itself. This module resolves every component that an HTTP/1.1 message can have, except
``;sf``, ``;key`` and ``;tr``: it is the plain reference that the envelope and the RFC's vectors are
held against.

Not checked here: that the components suffice for any purpose.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote_plus, urlsplit

from exchange.messages.heads import Headers, RequestHead, ResponseHead
from exchange.messages.signature import SignatureInput, malformed, signature_base

Head: TypeAlias = RequestHead | ResponseHead

_COMPONENT = re.compile(r'"(@?[!#$%&\'*+\-.^_`|~0-9a-z]+)"((?:;[a-z]+(?:="[ !#-\[\]-~]*")?)*)')
_PARAMETER = re.compile(r';([a-z]+)(?:="([^"]*)")?')
_DEFAULT_PORTS = {"http": 80, "https": 443}


def base_of(member: SignatureInput, head: Head, request: RequestHead | None = None) -> bytes:
    """The signature base that ``member`` has over a message.

    Args:
        member: one member of the message's Signature-Input.
        head: the message's head.
        request: of a response, the request it answers, for components with ``;req``.

    Raises:
        Problem: ``MalformedSignature`` if a component is unknown, appears twice or is not in the
            message.
    """
    values: dict[str, str] = {}
    for component in member.component_list():
        if component in values:
            raise malformed("signature-input", f"{component} is covered twice")
        values[component] = component_value(component, head, request)
    return signature_base(values, values, member.text)


def component_value(component: str, head: Head, request: RequestHead | None = None) -> str:
    """The value of one serialised component identifier, such as ``"@query-param";name="Pet"``.

    Raises:
        Problem: ``MalformedSignature`` if the component is unknown or not in the message.
    """
    match = _COMPONENT.fullmatch(component)
    if match is None:
        raise _absent(component)
    name, tail = match.groups()
    parameters = _PARAMETER.findall(tail)
    flags = dict(parameters)
    if len(flags) < len(parameters) or flags.keys() - {"req", "bs", "name"}:
        raise _absent(component)
    if "req" in flags:
        if request is None or isinstance(head, RequestHead):
            raise _absent(component)
        head = request
    try:
        if name.startswith("@"):
            return _derived(name, head, flags.get("name"))
        return _field(name, head.headers, wrapped="bs" in flags)
    except (LookupError, ValueError) as error:
        raise _absent(component) from error


def _field(name: str, headers: Headers, *, wrapped: bool) -> str:
    """Sections 2.1 and 2.1.3."""
    values = [value for other, value in headers if other == name]
    if not values:
        raise LookupError(name)
    if not wrapped:
        joined = ", ".join(values)
        if not joined.isascii() or not joined.replace("\t", "").isprintable():
            raise ValueError(name)
        return joined
    texts = [b2a_base64(value.encode("latin-1"), newline=False).decode() for value in values]
    return ", ".join(f":{text}:" for text in texts)


def _derived(name: str, head: Head, parameter: str | None) -> str:
    """Section 2.2."""
    if isinstance(head, ResponseHead):
        return {"@status": str(head.status)}[name]
    url = urlsplit(head.target_uri)
    path = url.path or "/"
    match name:
        case "@method":
            return head.method
        case "@target-uri":
            return head.target_uri
        case "@scheme":
            return url.scheme
        case "@authority":
            return _authority(url)
        case "@request-target":
            return f"{path}?{url.query}" if url.query else path
        case "@path":
            return path
        case "@query":
            return f"?{url.query}"
        case "@query-param" if parameter is not None:
            return _query_parameter(url.query, unquote_plus(parameter))
    raise LookupError(name)


def _authority(url: SplitResult) -> str:
    """Section 2.2.3: lower case, without the scheme's default port."""
    host = (url.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if url.port in {None, _DEFAULT_PORTS[url.scheme]} else f"{host}:{url.port}"


def _query_parameter(query: str, name: str) -> str:
    """Section 2.2.8: decoded as a form, encoded again; exactly one of this name."""
    (value,) = [value for other, value in parse_qsl(query, keep_blank_values=True) if other == name]
    return quote(value, safe="*").replace("~", "%7E")


def _absent(component: str) -> Exception:
    return malformed("signature-input", f"no component {component[:80]} can be had of this message")
