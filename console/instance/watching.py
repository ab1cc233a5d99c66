"""Waiting for servers: well, up to date with the registry, obeying what is pinned."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

import orjson

from console.instance.hosted import Hosted
from exchange.problems import Code, Problem

READY_S: Final = 60.0
_POLL_S: Final = 0.1


def published_version(registry_url: str) -> int:
    """The version of the registry's newest snapshot."""
    answer = _get(f"{registry_url}/metadata/timestamp.json")
    return int(answer["signed"]["meta"]["snapshot.json"]["version"])


def await_server(
    hosted: Hosted, version: int, agreements: frozenset[str], check: Callable[[], None]
) -> None:
    """Wait until a server is as it must be.

    Raises:
        Problem: ``InternalError`` with the end of its log when it ended or took too long.
    """
    deadline = time.monotonic() + READY_S
    missing = "answers nothing"
    while time.monotonic() < deadline and hosted.running:
        check()
        missing = _missing(hosted, version, agreements)
        if not missing:
            return
        time.sleep(_POLL_S)
    if not hosted.running:
        missing = "has ended"
    log = hosted.server / "server.log"
    tail = log.read_text("utf-8", "replace")[-1000:] if log.exists() else ""
    raise Problem(
        Code.INTERNAL_ERROR,
        where=str(hosted.server_id),
        detail=f"the server {missing}; the end of {log}: {tail}",
    )


def _missing(hosted: Hosted, version: int, agreements: frozenset[str]) -> str:
    """What it lacks; '' when it is as it must be."""
    try:
        health = _get(f"{hosted.health_url}/healthz")
        if health["status"] != "ok":
            failing = [name for name, found in health["checks"].items() if not found["ok"]]
            return f"is not well ({', '.join(failing)})"
        if health["checks"]["registry"].get("version", 0) < version:
            return "does not know the newest state of the registry"
        obeyed = _get(f"{hosted.health_url}/agreements")["agreements"]
        if {one["id"] for one in obeyed} != agreements:
            return "does not obey the pinned agreements yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "answers nothing"
    return ""


def is_well(hosted: Hosted) -> bool:
    """Whether a server runs and says that it is well."""
    if not hosted.running:
        return False
    try:
        return bool(_get(f"{hosted.health_url}/healthz")["status"] == "ok")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            return orjson.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as error:
        return orjson.loads(error.read(1 << 20))
