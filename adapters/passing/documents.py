"""Somebody else's OpenAPI document, from a URL or a file: fetched, bounded, and of version 3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from serving.http_backends import HttpBackend

MAX_DOCUMENT_BYTES: Final = 8 << 20
_FETCH_S: Final = 30.0


def read_document(source: str) -> Mapping[str, Any]:
    """The OpenAPI document at a URL or a path.

    Raises:
        Problem: ``SourceFailed`` when it cannot be had; ``InvalidDocument`` when it is not of
            OpenAPI 3.
    """
    try:
        data = _fetched(source) if "://" in source else Path(source).read_bytes()
        text = data[: MAX_DOCUMENT_BYTES + 1].decode("utf-8-sig")
        if len(data) > MAX_DOCUMENT_BYTES:
            raise ValueError("is longer than 8 MiB")
        document = json.loads(text) if text.lstrip()[:1] == "{" else yaml.safe_load(text)
    except OSError as error:
        detail = f"cannot be read: {error.strerror}"
        raise Problem(Code.SOURCE_FAILED, where=source, detail=detail) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        detail = f"is not JSON or YAML: {' '.join(str(error).split())[:200]}"
        raise Problem(Code.INVALID_DOCUMENT, where=source, detail=detail) from error
    told = document.get("openapi", "") if isinstance(document, dict) else ""
    if not str(told).startswith("3."):
        detail = "is no OpenAPI document of version 3; convert an older one first"
        raise Problem(Code.INVALID_DOCUMENT, where=source, detail=detail)
    found: Mapping[str, Any] = document
    return found


def server_of(document: Mapping[str, Any]) -> str:
    """The address of the first server that a document names; nothing when it names none."""
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    try:
        return url if isinstance(url, str) and urlsplit(url) else ""
    except ValueError:
        return ""


def _fetched(url: str) -> bytes:
    parts = urlsplit(url)

    async def fetch() -> bytes:
        backend = HttpBackend(
            f"{parts.scheme}://{parts.netloc}",
            connections=1,
            head_max_bytes=1 << 16,
            response_max_bytes=MAX_DOCUMENT_BYTES,
        )
        try:
            fields = (("accept", "application/json, application/yaml"),)
            asked = BackendRequest("GET", parts.path or "/", parts.query, fields, b"")
            answer = await backend.exchange(asked, timeout_s=_FETCH_S)
        finally:
            await backend.close()
        if answer.status != 200 or not isinstance(answer.body, bytes):
            raise Problem(Code.SOURCE_FAILED, where=url, detail=f"is answered {answer.status}")
        return answer.body

    return asyncio.run(fetch())
