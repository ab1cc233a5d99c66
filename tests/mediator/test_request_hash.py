"""X-Road-Request-Hash against what openssl computes of the bytes that X-Road's rule names."""

from __future__ import annotations

import subprocess
from base64 import b64encode

import pytest

from mediator.xroad import head_of, request_hash

NAMES = (b"Host", b"Accept", b"X-Road-Client", b"user-AGENT", b"X-Road-Request-Id", b"x-Twice")
HEADERS = (
    ("host", "localhost:8080"),
    ("accept", "*/*"),
    ("x-road-client", "LA/GOV/MOF/budget"),
    ("user-agent", "curl/8"),
    ("x-road-request-id", "forged"),
    ("x-twice", "a"),
)
# By X-Road's rule, written down by hand.
HEAD = (
    b"POST\r\n"
    b"/r1/LA/GOV/MPI/oda-mis/projects/p%2F1?x=%20&y\r\n"
    b"Accept:*/*\r\n"
    b"X-Road-Client:LA/GOV/MOF/budget\r\n"
    b"x-Twice:a\r\n"
    b"x-road-request-id:0b4d2c9e\r\n"
    b"x-road-id:LA-6f0f3c1c\r\n"
)
TARGET = "/r1/LA/GOV/MPI/oda-mis/projects/p%2F1?x=%20&y"


def _openssl(data: bytes) -> bytes:
    done = subprocess.run(
        ["openssl", "dgst", "-sha512", "-binary"], input=data, capture_output=True, check=True
    )
    return done.stdout


def test_the_head_is_x_roads() -> None:
    """Verb, target, kept fields in order with their names as written, then the server's ids."""
    assert head_of("POST", TARGET, HEADERS, NAMES, "0b4d2c9e", "LA-6f0f3c1c") == HEAD


def test_a_message_id_of_the_application_is_among_its_fields() -> None:
    """x-road-id is added only when the server made it."""
    headers, names = (("x-road-id", "mine"),), (b"X-Road-Id",)
    head = head_of("GET", "/r1/a", headers, names, "r", "")
    assert head == b"GET\r\n/r1/a\r\nX-Road-Id:mine\r\nx-road-request-id:r\r\n"


@pytest.mark.parametrize("body", [b"", b"{}", "ສະບາຍດີ".encode(), bytes(70_000), bytes(300_000)])
async def test_the_hash_is_what_openssl_says(body: bytes) -> None:
    """base64(SHA-512(SHA-512(head) || SHA-512(body))); without a body base64(SHA-512(head))."""
    expected = _openssl(HEAD)
    if body:
        expected = _openssl(expected + _openssl(body))
    assert await request_hash(HEAD, body) == b64encode(expected).decode()


def test_characters_outside_ascii_are_hashed_as_utf_8() -> None:
    """X-Road reads a field byte by byte (ISO 8859-1) and writes the text in UTF-8."""
    head = head_of("GET", "/r1/a", (("x", "\xe9"),), (b"X",), "r", "")
    assert b"X:\xc3\xa9\r\n" in head
