"""Answers in parts (MTOM): what they include is shown, what is merely beside them is refused."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.policy import SMTP

import orjson
import pytest

from adapters.soap.messages import NotAnAnswer, Version, parse_answer
from console.reference_world.trade_portal.service import Portal, answer_envelope
from exchange.problems import Code, Problem
from tests.adapters.trade import asking

CONTENT = bytes(range(256)) + b"\r\n--other\r\n\r\n"
KIND = 'multipart/related; type="application/xop+xml"; start="<root@a>"; boundary="uuid:1"'
INCLUDE = b"<xop:Include xmlns:xop='http://www.w3.org/2004/08/xop/include' href='cid:form%40a'/>"


def _envelope() -> bytes:
    """The trade portal's answer, whose form is in another part."""
    s11 = Version.SOAP_11.value
    body = "<GetProcedure xmlns='urn:la:moic:trade:1'><code>EXP-COF-01</code></GetProcedure>"
    asked = f"<s:Envelope xmlns:s='{s11}'><s:Body>{body}</s:Body></s:Envelope>"
    whole = answer_envelope(Portal(), asked.encode())[1]
    before, found, rest = whole.partition(b"form>")
    assert found
    return before + b"form>" + INCLUDE + b"</" + rest.partition(b"</")[2]


def _part(name: str, content: bytes, more: bytes = b"") -> bytes:
    return b"\r\n--uuid:1\r\ncontent-id: <" + name.encode() + b">\r\n" + more + b"\r\n" + content


ROOT = _part("root@a", _envelope(), b"content-type: application/xop+xml; type=text/xml\r\n")
FORM = _part("form@a", CONTENT, b"Content-Transfer-Encoding: binary\r\n")
END = b"\r\n--uuid:1--\r\n"
SWA = ROOT.replace(b">" + INCLUDE, b' href="cid:form%40a">')
"""As SOAP with Attachments refers to it."""


@asynccontextmanager
async def giving(body: bytes, kind: str) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        told = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(told.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


def _by_email() -> tuple[bytes, str]:
    """The same message as another library writes it."""
    message = MIMEMultipart("related", boundary="b=1", start="<root@a>")
    for name, content in (("form@a", CONTENT), ("root@a", _envelope())):
        part = MIMEApplication(content, "xop+xml", policy=SMTP)
        part["Content-ID"] = f"<{name}>"
        message.attach(part)
    _head, _, body = message.as_bytes(policy=SMTP).partition(b"\r\n\r\n")
    return body, 'multipart/related; boundary="b=1"; start="<root@a>"'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ROOT + FORM + END, KIND),
        (ROOT[2:] + FORM + END + b"after", KIND),
        (ROOT + FORM + END, 'Multipart/Related; boundary="uuid:1"'),
        (FORM + ROOT + END, KIND),
        _by_email(),
        (SWA + FORM + END, KIND),
    ],
    ids=["mtom", "no-preamble", "first-is-root", "root-is-last", "base64", "with-attachments"],
)
async def test_what_a_message_includes_is_shown_in_its_place(body: bytes, kind: str) -> None:
    """As base64, as if it had stood there; the order of the parts does not matter."""
    async with giving(body, kind) as address, asking(address) as asker:
        response = await asker.get("/procedures/EXP-COF-01")
        assert orjson.loads(response.body)["form"] == b64encode(CONTENT).decode()


BAD = {
    "a part beside the message": ROOT + FORM + _part("other", b"x") + END,
    "a part that is not there": ROOT + END,
    "a link to no part": SWA + END,
    "a link to another part": SWA + _part("other", CONTENT) + END,
    "a link and a part beside": SWA + FORM + _part("other", b"x") + END,
    "a part of another name": ROOT + _part("other", CONTENT) + END,
    "two of one name": ROOT + FORM + FORM + END,
    "no end": ROOT + FORM,
    "nothing": END,
    "no root": FORM + END,
    "two roots": ROOT + ROOT + FORM + END,
    "no head": ROOT + b"\r\n--uuid:1\r\nx" + END,
    "another boundary": ROOT + b"\r\n--uuid:12\r\n\r\nx" + END,
    "another coding": ROOT + _part("form@a", b"x", b"content-transfer-encoding: x-zip\r\n") + END,
    "no base64": ROOT + _part("form@a", b"\xff", b"content-transfer-encoding: base64\r\n") + END,
    "half base64": ROOT + _part("form@a", b"QQ", b"content-transfer-encoding: base64\r\n") + END,
    "too many": ROOT + b"".join(_part(f"{index}", b"") for index in range(120)) + END,
    "included twice": (ROOT + FORM + END).replace(INCLUDE, INCLUDE * 2),
    "more after base64": ROOT
    + _part("form@a", b"QUE=QUE=", b"content-transfer-encoding: base64\r\n")
    + END,
    "text beside it": (ROOT + FORM + END).replace(INCLUDE, b"QQ==" + INCLUDE),
    "text after it": (ROOT + FORM + END).replace(INCLUDE, INCLUDE + b"QQ=="),
}


@pytest.mark.parametrize("name", BAD)
def test_parts_that_are_not_all_of_the_message_are_refused(name: str) -> None:
    """No attachment is left out silently."""
    with pytest.raises(NotAnAnswer):
        parse_answer(BAD[name], Version.SOAP_11, KIND)


@pytest.mark.parametrize(
    "kind", ["multipart/mixed; boundary=a", "multipart/related", "multipart/related; boundary=ກ"]
)
def test_other_kinds_of_parts_are_refused(kind: str) -> None:
    """MTOM is multipart/related with a boundary."""
    with pytest.raises(NotAnAnswer):
        parse_answer(ROOT + FORM + END, Version.SOAP_11, kind)


async def test_an_attachment_beside_the_message_is_a_clear_problem() -> None:
    """SOAP with Attachments: it is told that it is not read, not what it holds."""
    body = ROOT + FORM + _part("other", b"secret") + END
    async with giving(body, KIND) as address, asking(address) as asker:
        with pytest.raises(Problem) as caught:
            await asker.get("/procedures/EXP-COF-01")
        assert caught.value.code is Code.BACKEND_NONSENSE
        assert "1 attachment(s) beside the message" in caught.value.detail
        assert "secret" not in str(caught.value)
