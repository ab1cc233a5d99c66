"""The trade portal's SOAP service, 1.1 and 1.2, over HTTP.

It judges each request by its own XML Schema (libxml2) and writes its answers by hand. Run alone:
``python -m console.reference_world.trade_portal.service PORT``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any

from lxml import etree

from console.reference_world.trade_portal import RECORDS, WSDL, XSD

NAMESPACE = "urn:la:moic:trade:1"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
PATH = "/services/TradePortal"
RECEIVED = "2026-11-22T15:00:00+07:00"
_MAX_BODY = 1 << 20
_T = f"{{{NAMESPACE}}}"
_LOCAL = "http://trade.moic.example.la"


class Refused(Exception):
    """A request that is answered with a fault."""

    def __init__(self, text: str, detail: etree._Element | None = None) -> None:
        super().__init__(text)
        self.detail = detail


class Portal:
    """What the service knows; thread-safe."""

    def __init__(self) -> None:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
        self._schema = etree.XMLSchema(etree.parse(XSD, parser))
        self._known = etree.parse(RECORDS, parser).getroot()
        self._lock = Lock()
        self.enquiries: list[etree._Element] = []

    def answer(self, request: etree._Element) -> etree._Element:
        """The answer to the element in a request's body.

        Raises:
            Refused: when it breaks the schema, or what it asks for is not there.
        """
        operation: Callable[[etree._Element], etree._Element] | None = {
            f"{_T}GetProcedure": self._get_procedure,
            f"{_T}FindProcedures": self._find_procedures,
            f"{_T}GetTariff": self._get_tariff,
            f"{_T}SubmitEnquiry": self._submit_enquiry,
        }.get(request.tag)
        if operation is None:
            raise Refused("there is no such operation")
        with self._lock:
            if not self._schema.validate(request):
                raise Refused(f"the request breaks the schema: {self._schema.error_log.last_error}")
            return operation(request)

    def _get_procedure(self, request: etree._Element) -> etree._Element:
        code = request.findtext(f"{_T}code")
        answer = etree.Element(f"{_T}GetProcedureResponse", nsmap={None: NAMESPACE})
        for procedure in self._known.iterfind(f"{_T}procedure"):
            if procedure.findtext(f"{_T}code") == code:
                answer.append(deepcopy(procedure))
                return answer
        detail = etree.Element(f"{_T}UnknownProcedure", nsmap={None: NAMESPACE})
        etree.SubElement(detail, f"{_T}code").text = code
        raise Refused("there is no such procedure", detail)

    def _find_procedures(self, request: etree._Element) -> etree._Element:
        wanted = request.find(f"{_T}filter")
        assert wanted is not None  # noqa: S101 (the schema has it)
        found = [one for one in self._known.iterfind(f"{_T}procedure") if _fits(one, wanted)]
        answer = etree.Element(f"{_T}FindProceduresResponse", nsmap={None: NAMESPACE})
        etree.SubElement(answer, f"{_T}total").text = str(len(found))
        listed = etree.SubElement(answer, f"{_T}procedures")
        most = request.findtext(f"{_T}most")
        for one in found[: None if most is None else int(most)]:
            listed.append(deepcopy(one))
        return answer

    def _get_tariff(self, request: etree._Element) -> etree._Element:
        answer = etree.Element(f"{_T}GetTariffResponse", nsmap={None: NAMESPACE})
        for line in self._known.iter(f"{_T}line"):
            if line.get("hs") == (request.findtext(f"{_T}hs") or "").strip():
                answer.append(deepcopy(line))
                break
        return answer

    def _submit_enquiry(self, request: etree._Element) -> etree._Element:
        self.enquiries.append(deepcopy(request[0]))
        answer = etree.Element(f"{_T}SubmitEnquiryResponse", nsmap={None: NAMESPACE})
        etree.SubElement(answer, f"{_T}number").text = str(7_000_000_000 + len(self.enquiries))
        etree.SubElement(answer, f"{_T}received").text = RECEIVED
        return answer


def _fits(procedure: etree._Element, wanted: etree._Element) -> bool:
    direction = wanted.findtext(f"{_T}direction")
    code = wanted.findtext(f"{_T}hsCode")
    since = wanted.findtext(f"{_T}updatedSince")
    codes = [one.text or "" for one in procedure.iterfind(f"{_T}hsCode")]
    updated = _moment(procedure.findtext(f"{_T}updated") or "")
    return (
        (direction is None or direction == procedure.findtext(f"{_T}direction"))
        and (code is None or any(one.startswith(code) for one in codes))
        and (since is None or updated >= _moment(since))
    )


def _moment(text: str) -> datetime:
    """Times without a zone are those of Vientiane."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else datetime.fromisoformat(f"{text}+07:00")


def answer_envelope(portal: Portal, data: bytes) -> tuple[int, bytes]:
    """Status and envelope for the envelope of a request."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        envelope = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return 500, _fault(SOAP_11, Refused("the request is not XML"))
    version = etree.QName(envelope).namespace or SOAP_11
    if version not in (SOAP_11, SOAP_12):
        return 500, _fault(SOAP_11, Refused("the request is no SOAP envelope"))
    body = envelope.find(f"{{{version}}}Body")
    try:
        if body is None or len(body) != 1:
            raise Refused("the body holds no operation")
        found = portal.answer(body[0])
    except Refused as refused:
        return 400 if version == SOAP_12 else 500, _fault(version, refused)
    whole, inside = _envelope(version)
    inside.append(found)
    return 200, etree.tostring(whole, xml_declaration=True, encoding="UTF-8")


def _envelope(version: str) -> tuple[etree._Element, etree._Element]:
    whole = etree.Element(f"{{{version}}}Envelope", nsmap={"s": version})
    return whole, etree.SubElement(whole, f"{{{version}}}Body")


def _fault(version: str, refused: Refused) -> bytes:
    whole, body = _envelope(version)
    fault = etree.SubElement(body, f"{{{version}}}Fault")
    if version == SOAP_11:
        etree.SubElement(fault, "faultcode").text = "s:Client"
        etree.SubElement(fault, "faultstring").text = str(refused)
        place = "detail"
    else:
        code = etree.SubElement(fault, f"{{{version}}}Code")
        etree.SubElement(code, f"{{{version}}}Value").text = "s:Sender"
        reason = etree.SubElement(fault, f"{{{version}}}Reason")
        text = etree.SubElement(reason, f"{{{version}}}Text")
        text.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
        text.text = str(refused)
        place = f"{{{version}}}Detail"
    if refused.detail is not None:
        etree.SubElement(fault, place).append(refused.detail)
    found: bytes = etree.tostring(whole, xml_declaration=True, encoding="UTF-8")
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    portal: Portal

    def do_GET(self) -> None:
        """The WSDL and its schema, as such services show them."""
        host = f"http://{self.headers.get('host', 'localhost')}"
        if self.path.lower() == f"{PATH}?wsdl".lower():
            text = WSDL.read_text("utf-8").replace(_LOCAL, host)
            self._reply(200, text.encode(), "text/xml; charset=utf-8")
        elif self.path == "/services/trade.xsd":
            self._reply(200, XSD.read_bytes(), "text/xml; charset=utf-8")
        else:
            self._reply(404, b"<html><body>Not here</body></html>", "text/html")

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if self.path != PATH or length > _MAX_BODY:
            self.close_connection = True
            self._reply(404, b"<html><body>Not here</body></html>", "text/html")
            return
        status, body = answer_envelope(self.portal, self.rfile.read(length))
        kind = "application/soap+xml" if SOAP_12.encode() in body[:200] else "text/xml"
        self._reply(status, body, f"{kind}; charset=utf-8")

    def _reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class TradePortal:
    """The service on loopback while the context is open; ``address`` is where it answers."""

    def __init__(self, port: int = 0) -> None:
        self.portal = Portal()
        handler = type("Handler", (_Handler,), {"portal": self.portal})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> TradePortal:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serve until the process is told to end."""
        self._thread.join()


if __name__ == "__main__":
    with TradePortal(int(sys.argv[1]) if len(sys.argv) > 1 else 8099) as portal:
        print(portal.address, flush=True)
        portal.wait()
