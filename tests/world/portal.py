"""A small portal: pages on which a person sees what offices hold, and declines some of it.

It is an application like any other: all that it has of Saphan is the address of its own server and
its name there. What it passes on to the clerk is what the person accepted.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

ELEMENTS = ("person.name", "person.birth-date", "school.certificate", "person.village")
_PAGE = "<!doctype html><html lang=lo><meta charset=utf-8><title>ລົງທະບຽນ</title>{}</html>"


@dataclass(slots=True)
class Portal:
    """The portal of one service; ``passed_on`` is what the clerk gets, by the id of the request."""

    server_url: str
    client: str
    purpose: str
    passed_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0

    def start_page(self) -> str:
        """Where a person begins: only the number of the identity card is asked."""
        return (
            "<h1>ລົງທະບຽນເຂົ້າໂຮງຮຽນ</h1><form method=post action=/look>"
            "<input name=nid><button>ສືບຕໍ່</button></form>"
        )

    def preview_page(self, nid: str) -> str:
        """What offices hold, each with a choice; and what they could not give."""
        self.requests += 1
        found = self._once_only(
            "/evidence",
            {
                "subject": f"la-nid:{nid}",
                "elements": list(ELEMENTS),
                "purpose": self.purpose,
                "request": {
                    "kind": "explicit",
                    "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "reference": f"enrolment/{self.requests}",
                },
                "preview": True,
                "wait_s": 5,
            },
        )
        rows = "".join(
            f"<li>{escape(one['element'])}: <b>{escape(str(one['value']))}</b> "
            f"({escape(one['source'])}) "
            f"<input type=radio name={one['element']} value=accept checked> "
            f"<input type=radio name={one['element']} value=decline></li>"
            for one in found["values"]
        )
        return (
            f"<form method=post action=/decide/{found['id']}><ul>{rows}</ul>"
            f"<button>ສົ່ງ</button></form>{_missing(found)}"
        )

    def decided_page(self, identifier: str, choices: dict[str, str]) -> str:
        """What was passed on, and what the person brings along."""
        found = self._once_only(f"/evidence/{identifier}/decision", {"decisions": choices})
        self.passed_on[identifier] = {one["element"]: one["value"] for one in found["values"]}
        return f"<h1>ຂອບໃຈ</h1><p>{len(found['values'])}</p>{_missing(found)}"

    def _once_only(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - an address of the test
            f"{self.server_url}/once-only{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-Road-Client": self.client},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return json.load(answer)


def _missing(found: Any) -> str:
    return "".join(
        f"<p class={one['reason']}>{escape(one['element'])}: {escape(one['message']['lo'])}</p>"
        for one in found["missing"]
    )


@contextmanager
def running(portal: Portal) -> Iterator[str]:
    """The portal's address, while it runs."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._show(portal.start_page())

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = {
                name: one[0] for name, one in parse_qs(self.rfile.read(length).decode()).items()
            }
            if self.path == "/look":
                self._show(portal.preview_page(form["nid"]))
            else:
                self._show(portal.decided_page(self.path.removeprefix("/decide/"), form))

        def _show(self, content: str) -> None:
            page = _PAGE.format(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
