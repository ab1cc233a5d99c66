"""The border to zeep: a WSDL and its schemas as a :class:`Contract`.

zeep reads WSDL 1.1 and XML Schema 1.0 (:mod:`adapters.soap.noting`); nothing of it outlives
:func:`read_contract`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zeep.exceptions
from zeep import Settings
from zeep.wsdl.bindings import Soap11Binding, Soap12Binding
from zeep.wsdl.bindings.soap import SoapBinding

from adapters.soap.compiling import Compiler, Unsupported
from adapters.soap.documents import Documents, NotRead
from adapters.soap.messages import Version
from adapters.soap.noting import NotingDocument
from adapters.soap.shapes import Member, Types

_ACTION = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]*")


_OF_LIBRARIES = (DeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


class BadWsdl(Exception):
    """A WSDL that cannot be used; the message says why."""

    def __init__(self, detail: str, *, away: bool = False) -> None:
        super().__init__(detail)
        self.away = away


class SeveralPorts(BadWsdl):
    """A WSDL whose port is to be chosen."""

    def __init__(self, ports: Sequence[str]) -> None:
        named = ", ".join(ports)
        super().__init__(f"the WSDL has several ports; name one with the key port: {named}")
        self.ports = ports


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: what is sent and what comes back. ``unusable`` says why it cannot be asked."""

    name: str
    version: Version
    action: str
    input: Member | None
    output: Member | None
    faults: tuple[str, ...]
    address: str
    headers: tuple[Member, ...] = ()
    """Elements of the envelope's header that the WSDL declares."""
    any_wrapper: bool = False
    """In the style rpc the element around an answer may have any name (WS-I BP 1.1, R2729)."""
    unusable: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """What a port of a WSDL promises: operations by name, and the complex types that they use."""

    port: str
    operations: Mapping[str, Operation]
    types: Types


def read_contract(documents: Documents, port: str | None = None) -> Contract:
    """Read the WSDL of ``documents``.

    Args:
        port: the ``wsdl:port`` to ask; needed when there are several that are not the same in two
            versions of SOAP.

    Raises:
        SeveralPorts: when it is needed.
        BadWsdl: when the WSDL cannot be fetched, is not one, or has no such port.
    """
    settings = Settings(forbid_dtd=True, forbid_entities=True, force_https=False)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            document = NotingDocument(documents.root, documents, settings=settings)
        own = [one for one in told if not issubclass(one.category, _OF_LIBRARIES)]
        return _contract(document, _port(document, port), [str(one.message) for one in own])
    except NotRead as error:
        raise BadWsdl(str(error), away=error.away) from error
    except BadWsdl:
        raise
    except Unsupported as error:
        raise BadWsdl(f"the WSDL cannot be used: {error}") from error
    except zeep.exceptions.Error as error:
        detail = " ".join(str(error).split())[:300]
        raise BadWsdl(f"the WSDL cannot be read: {detail}") from error
    except Exception as error:
        # zeep judges no WSDL before it uses it: a bad one fails with whatever it comes upon.
        named = isinstance(error, LookupError | ValueError | NotImplementedError)
        words = " ".join(str(error).split())[:300] if named else "it refers to what is not there"
        raise BadWsdl(f"the WSDL cannot be read: {words}") from error


def _port(document: NotingDocument, name: str | None) -> Any:
    ports = {
        port.name: port
        for service in document.services.values()
        for port in service.ports.values()
        if isinstance(port.binding, SoapBinding)
    }
    if not ports:
        raise BadWsdl("the WSDL has no port that speaks SOAP")
    if name is not None:
        if name not in ports:
            raise BadWsdl(f"there is no port {name!r} in the WSDL; there are: {', '.join(ports)}")
        return ports[name]
    # The same service in both versions of SOAP is usual; the older one is what everybody speaks.
    eleven = [one for one in ports.values() if isinstance(one.binding, Soap11Binding)]
    candidates = eleven or list(ports.values())
    if len({one.binding.port_type.name.text for one in candidates}) > 1:
        raise SeveralPorts([*ports])
    return candidates[0]


def _contract(document: NotingDocument, port: Any, warned: Sequence[str]) -> Contract:
    version = Version.SOAP_12 if isinstance(port.binding, Soap12Binding) else Version.SOAP_11
    compiler = Compiler(document.types)
    address = str((port.binding_options or {}).get("address") or "")
    operations = {
        name: _operation(compiler, operation, version, address)
        for name, operation in sorted(port.binding.all().items())
    }
    if not operations:
        why = f": {warned[0][:300]}" if warned else ""
        raise BadWsdl(f"the port {port.name} of the WSDL has no operation that is whole{why}")
    return Contract(port.name, operations, compiler.types())


def _operation(compiler: Compiler, operation: Any, version: Version, address: str) -> Operation:
    unusable = None
    asked = answered = None
    headers: tuple[Member, ...] = ()
    try:
        headed = operation.input is not None and operation.input.header is not None
        declared = operation.input.header.type._element if headed else ()
        headers = tuple(compiler.root(one) for one in declared or ())
        asked = _body(compiler, operation.input)
        answered = _body(compiler, operation.output)
        if not _ACTION.fullmatch(operation.soapaction or ""):
            raise Unsupported("its action cannot be a header field")
    except Unsupported as error:
        unusable, asked, answered, headers = str(error), None, None, ()
    return Operation(
        operation.name,
        version,
        operation.soapaction or "",
        asked,
        answered,
        tuple(_fault_names(operation)),
        address,
        headers=headers,
        any_wrapper=operation.style == "rpc",
        unusable=unusable,
    )


def _body(compiler: Compiler, message: Any) -> Member | None:
    if message is None or message.body is None:
        return None
    if message._is_body_wrapped:
        raise Unsupported("a message has several parts beside each other")
    return compiler.root(message.body)


def _fault_names(operation: Any) -> list[str]:
    names = []
    for name, fault in operation.faults.items():
        parts = fault.abstract.parts.values() if fault.abstract is not None else ()
        elements = [part.element.name for part in parts if part.element is not None]
        names += elements or [name]
    return names
