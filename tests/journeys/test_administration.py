"""The administration and the audit, which have no login: who gets to them, and by what name."""

from __future__ import annotations

import pytest

from exchange.problems import Code
from tests.world.small import SmallWorld, exchange


@pytest.mark.parametrize("path", ["/agreements", "/healthz", "/openapi.json", "/audit/entries"])
def test_no_page_of_a_browser_gets_in_by_a_name_of_its_own(
    shared_world: SmallWorld, path: str
) -> None:
    """A name that leads to this machine (DNS rebinding) is refused; its addresses are not."""
    url = shared_world.mof.url("admin")
    port = url.rpartition(":")[2]
    for host in ("rebound.example", f"rebound.example:{port}", f"localhost.rebound.example:{port}"):
        refused = exchange(url, "GET", path, {"Host": host})
        assert (refused.status, refused.code) == (421, Code.INVALID_REQUEST)
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        assert exchange(url, "GET", path, {"Host": host}).status == 200
