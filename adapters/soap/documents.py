"""The documents of a WSDL: itself and what it imports, fetched within bounds and kept.

Invariants: nothing is read beyond what the owner named: imports of a URL come from the same scheme,
host and port, those of a file from its folder or below, or from that of the mapping where the WSDL
lies in that; no redirect is followed, no proxy asked;
number, size and time are bounded; a document with a document type is refused.

A WSDL that is fetched is kept in a file beside the mapping, with all it imports. From then on that
is the WSDL of the mapping: what was published rests on it, and no start waits for its host.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

import structlog

from adapters.soap.messages import NotAnAnswer, parse_xml
from serving.durable_files import replace_file

MAX_DOCUMENTS = 100
MAX_BYTES = 16 << 20
FETCH_S = 30.0
_FORMAT = 1
_ENCODED = b"""string boolean decimal float double integer long int short byte
 unsignedLong unsignedInt unsignedShort unsignedByte date dateTime time duration anyURI QName token
 normalizedString hexBinary base64Binary base64"""
# What zeep would fetch from the web: for xml:lang and the like (XML 1.0, 2.12), and for arrays.
_BUILT_IN = {
    "https://www.w3.org/2001/xml.xsd": b"""<schema xmlns="http://www.w3.org/2001/XMLSchema"
 targetNamespace="http://www.w3.org/XML/1998/namespace">
 <attribute name="lang" type="language"/><attribute name="space" type="NCName"/>
 <attribute name="base" type="anyURI"/><attribute name="id" type="ID"/></schema>""",
    # For attachments (W3C Note of 4 May 2005): base64 that tells a media type.
    "http://www.w3.org/2005/05/xmlmime": b"""<schema xmlns="http://www.w3.org/2001/XMLSchema"
 xmlns:m="http://www.w3.org/2005/05/xmlmime" targetNamespace="http://www.w3.org/2005/05/xmlmime">
 <attribute name="contentType" type="string"/>
 <attribute name="expectedContentTypes" type="string"/>
 <complexType name="base64Binary"><simpleContent><extension base="base64Binary">
 <attribute ref="m:contentType"/></extension></simpleContent></complexType>
 <complexType name="hexBinary"><simpleContent><extension base="hexBinary">
 <attribute ref="m:contentType"/></extension></simpleContent></complexType></schema>""",
    # Of SOAP 1.1's encoding (section 5) what arrays need, and the names of simple types.
    "http://schemas.xmlsoap.org/soap/encoding/": b"""<schema xmlns="http://www.w3.org/2001/XMLSchema"
 xmlns:e="http://schemas.xmlsoap.org/soap/encoding/"
 targetNamespace="http://schemas.xmlsoap.org/soap/encoding/">
 <attribute name="arrayType" type="string"/>
 <complexType name="Array"><sequence><any minOccurs="0" maxOccurs="unbounded"/></sequence>
 <attribute ref="e:arrayType"/></complexType>"""
    + b"".join(
        b'<simpleType name="%b"><restriction base="%b"/></simpleType>'
        % (name, b"base64Binary" if name == b"base64" else name)
        for name in _ENCODED.split()
    )
    + b"</schema>",
}
_log = structlog.get_logger("saphan.adapters")


class NotRead(Exception):
    """A document that may not or cannot be read; the message says which and why.

    ``away`` tells that its host did not give it.
    """

    def __init__(self, detail: str, *, away: bool = False) -> None:
        super().__init__(detail)
        self.away = away


@dataclass(slots=True)
class Documents:
    """Reads documents for zeep, as its transport, and remembers them by address.

    Args:
        root: the WSDL: a URL, or a file.
        headers: sent with each fetch, to authenticate.
        given: what to take instead of fetching: documents that were kept.
        folder: that of the mapping.
    """

    root: str
    headers: Mapping[str, str] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    given: Mapping[str, bytes] | None = None
    folder: Path | None = None
    read: dict[str, bytes] = field(default_factory=dict)
    _end: float = 0.0

    # What zeep asks a transport for, besides `load`.
    binding_classes: None = None
    session: None = None

    def load(self, url: str) -> bytes:
        """The document at ``url``.

        Raises:
            NotRead: when it is out of bounds or is not there.
        """
        url = str(url)
        if url in _BUILT_IN:
            return _BUILT_IN[url]
        if url in self.read:
            return self.read[url]
        if len(self.read) >= MAX_DOCUMENTS:
            raise NotRead(f"the WSDL imports more than {MAX_DOCUMENTS} documents")
        left = MAX_BYTES - sum(map(len, self.read.values()))
        data = self._get(url, left)
        if len(data) > left:
            raise NotRead(f"the WSDL and what it imports have more than {MAX_BYTES:,} bytes")
        try:
            parse_xml(data)
        except NotAnAnswer as error:
            raise NotRead(f"{url} {error}") from error
        self.read[url] = data
        return data

    def _get(self, url: str, left: int) -> bytes:
        if self.given is not None:
            if url not in self.given:
                raise NotRead(f"{url} was not kept")
            return self.given[url]
        if is_url(self.root):
            if origin(url) != origin(self.root):
                raise NotRead(f"{url} is not of {origin(self.root)[1]}, which the WSDL is from")
            return self._fetch(url, left)
        return self._open(url, left)

    def _fetch(self, url: str, left: int) -> bytes:
        self._end = self._end or monotonic() + FETCH_S
        opener: OpenerDirector = build_opener(
            _NoRedirect, ProxyHandler({}), HTTPHandler(), HTTPSHandler(context=self.context)
        )
        try:
            request = Request(url, headers={"accept": "text/xml, */*", **self.headers})  # noqa: S310
            with opener.open(request, timeout=max(0.01, self._end - monotonic())) as answer:
                pieces: list[bytes] = []
                while sum(map(len, pieces)) <= left and monotonic() < self._end:
                    piece = answer.read1(1 << 16)
                    if not piece:
                        return b"".join(pieces)
                    pieces.append(piece)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
            detail = f"{url} cannot be fetched: {reason or type(error).__name__}"
            raise NotRead(detail, away=True) from error
        if monotonic() >= self._end:
            raise NotRead(f"{url} was not fetched within {FETCH_S:g} s", away=True)
        return b"".join(pieces)

    def _open(self, url: str, left: int) -> bytes:
        if is_url(url):
            raise NotRead(f"{url}: a WSDL that is a file imports files alone; fetch it first")
        path = Path(unquote(urlsplit(url).path) if url.startswith("file:") else url).resolve()
        if not path.is_relative_to(self._base()):
            raise NotRead(
                f"{path.name} lies outside the folder of the WSDL: put the mapping into the folder "
                "that both lie in"
            )
        try:
            with path.open("rb") as file:
                return file.read(left + 1)
        except OSError as error:
            raise NotRead(f"{path.name} cannot be read: {error.strerror}") from error

    def _base(self) -> Path:
        """The folder in which the documents of a file lie."""
        root = Path(self.root).resolve()
        folder = None if self.folder is None else self.folder.resolve()
        return folder if folder is not None and root.is_relative_to(folder) else root.parent


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        """Follow none: the owner named the address."""
        return


def is_url(text: str) -> bool:
    """Whether a WSDL is fetched; else it is a file."""
    return text.startswith(("http://", "https://"))


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    parts: SplitResult = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def keep(documents: Documents, path: Path) -> None:
    """Write what was read to ``path``, as a whole or not at all; a failure is logged."""
    body = {
        "saphan_kept_wsdl": _FORMAT,
        "root": documents.root,
        "documents": {
            url: data.decode("utf-8", "surrogateescape") for url, data in documents.read.items()
        },
    }
    try:
        replace_file(path, json.dumps(body, indent=1).encode())
    except OSError as error:
        _log.warning("wsdl_not_kept", file=str(path), error=error.strerror)


def kept(root: str, path: Path) -> dict[str, bytes] | None:
    """The documents of ``root`` that were kept at ``path``; None when there are none.

    Raises:
        NotRead: for a file that cannot be read, or is no whole one: what was published rests on it,
            so it is not for us to fetch something else in its place.
    """
    try:
        body = json.loads(path.read_bytes())
        if body["saphan_kept_wsdl"] != _FORMAT:
            raise ValueError("another format")
        if body["root"] != root:
            return None
        return {
            url: text.encode("utf-8", "surrogateescape") for url, text in body["documents"].items()
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        detail = (
            "cannot be read as a kept WSDL; put it back, or remove it to have a new one fetched"
        )
        raise NotRead(detail) from error
