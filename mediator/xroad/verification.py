"""``/verificationconf``: who is in the instance, as X-Road's shared parameters.

A zip with ``verificationconf/{instance}/shared-params.xml``, its ``.metadata`` and
``verificationconf/instance-identifier``, for tools that read members, servers and authorities from
there. The XML is of version 6 of X-Road's schema (globalconf/v6/shared-parameters.xsd): its
elements have no namespace but for the root.

What the schema asks for and Saphan has no notion of: ``source`` is the registry;
``certificateProfileInfo`` names no class of X-Road's; ``ocspFreshnessSeconds`` is X-Road's default
(PR-GCONF) and binds nobody here; a server's ``address`` is its host without the port, which in
X-Road is the same everywhere. The zip verifies no signature of Saphan's: that takes the registry's
TUF metadata.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.trust.admission import trusted_authorities
from exchange.trust.state import RegistryState
from mediator.xroad.clients import XROAD
from mediator.xroad.connections import Connection
from serving.requests import Reply, Request

VERSION: Final = "6"
OCSP_FRESHNESS_S: Final = 3600
PROFILE: Final = "saphan"


@dataclass(frozen=True, slots=True)
class VerificationConf:
    """The page ``/verificationconf``; ``registry`` is the registry's URL."""

    state: Callable[[], RegistryState]
    registry: str
    _made: dict[str, tuple[RegistryState, bytes]] = field(default_factory=dict)
    """The zip of the last state: it is asked for more often than that changes."""

    async def __call__(self, request: Request, _: Connection) -> Reply:
        """Answer with the zip.

        Raises:
            Problem: ``OutdatedGlobalConf``.
        """
        state = self.state()
        known, body = self._made.get("zip", (None, b""))
        if known is not state:
            body = await asyncio.to_thread(lambda: verification_zip(state, self.registry))
            self._made["zip"] = (state, body)
        headers = (
            ("content-type", "application/zip"),
            ("content-disposition", 'filename="verificationconf.zip"'),
        )
        return Reply(200, headers, body)


def verification_zip(state: RegistryState, registry: str) -> bytes:
    """The zip; the same bytes for the same state."""
    instance = state.instance.instance
    folder = f"verificationconf/{instance}"
    metadata = {
        "contentIdentifier": "SHARED-PARAMETERS",
        "instanceIdentifier": instance,
        "expirationDate": format_moment(state.expires),
        "configurationVersion": VERSION,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            (f"{folder}/shared-params.xml", shared_parameters(state, registry)),
            (f"{folder}/shared-params.xml.metadata", orjson.dumps(metadata)),
            ("verificationconf/instance-identifier", instance.encode()),
        ):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def shared_parameters(state: RegistryState, registry: str) -> bytes:
    """``shared-params.xml``."""
    root = Element(f"{{{XROAD}}}conf")
    _add(root, "instanceIdentifier", state.instance.instance)
    _add(SubElement(root, "source"), "address", urlsplit(registry).hostname or registry)
    for authority in trusted_authorities(state.instance):
        _add_authority(root, authority)
    for stamper in state.instance.timestamp_authorities:
        node = SubElement(root, "approvedTSA")
        _add(node, "name", _common_name(stamper.certificate))
        _add(node, "url", stamper.url)
        _add(node, "cert", _der(stamper.certificate))
    places = _add_members(root, state)
    _add_servers(root, state, places)
    settings = SubElement(root, "globalSettings")
    for code in sorted({member.member_class for member in state.members}):
        _add_class(settings, code)
    _add(settings, "ocspFreshnessSeconds", str(OCSP_FRESHNESS_S))
    indent(root)
    text: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


_Places = dict[MemberId | ApplicationId, str]
"""What refers to a member or an application within the document."""


def _add_members(root: Element, state: RegistryState) -> _Places:
    places: _Places = {}
    for member in sorted(state.members):
        record = state.members[member]
        node = SubElement(root, "member", {"id": _place(places, member)})
        _add_class(node, member.member_class)
        _add(node, "memberCode", member.member_code)
        _add(node, "name", record.name.en)
        for application in record.applications:
            inner = SubElement(node, "subsystem", {"id": _place(places, application.id)})
            _add(inner, "subsystemCode", application.id.application_code)
            _add(inner, "subsystemName", application.name.en)
    return places


def _place(places: _Places, identifier: MemberId | ApplicationId) -> str:
    return places.setdefault(identifier, f"id{len(places) + 1}")


def _add_servers(root: Element, state: RegistryState, places: _Places) -> None:
    hosted: dict[ServerId, list[ApplicationId]] = {}
    for record in state.members.values():
        for application in record.applications:
            for host in application.servers:
                hosted.setdefault(host, []).append(application.id)
    for member in sorted(state.members):
        for server in state.members[member].servers:
            node = SubElement(root, "securityServer")
            _add(node, "owner", places[member])
            _add(node, "serverCode", server.id.server_code)
            _add(node, "address", urlsplit(server.address).hostname or "")
            for certificate in server.auth_certificates:
                digest = sha256(certificate.public_bytes(Encoding.DER)).digest()
                _add(node, "authCertHash", b64encode(digest).decode())
            for client in sorted(hosted.get(server.id, ())):
                _add(node, "client", places[client])


def _add_authority(root: Element, authority: x509.Certificate) -> None:
    node = SubElement(root, "approvedCA")
    _add(node, "name", _common_name(authority))
    _add(SubElement(node, "topCA"), "cert", _der(authority))
    _add(node, "certificateProfileInfo", PROFILE)


def _add_class(node: Element, code: str) -> None:
    inner = SubElement(node, "memberClass")
    _add(inner, "code", code)
    _add(inner, "description", code)


def _add(node: Element, name: str, text: str) -> None:
    SubElement(node, name).text = text


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _der(certificate: x509.Certificate) -> str:
    return b64encode(certificate.public_bytes(Encoding.DER)).decode()
