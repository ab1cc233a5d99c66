"""Random values in their standard forms."""

from __future__ import annotations

import base64
import os
import uuid

from serving.randomness import random_bytes, random_token, random_uuid


def test_a_uuid_is_of_version_4() -> None:
    """The standard library reads it as RFC 9562 version 4, and no two are the same."""
    texts = {random_uuid() for _ in range(2000)}
    assert len(texts) == 2000
    for text in texts:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_a_token_is_base64url_of_its_bytes() -> None:
    """Sixteen bytes make 22 characters, without padding."""
    tokens = {random_token() for _ in range(2000)}
    assert len(tokens) == 2000
    assert all(len(base64.urlsafe_b64decode(token + "==")) == 16 for token in tokens)
    assert all(len(token) == 22 for token in tokens)


def test_a_forked_process_draws_its_own() -> None:
    """What the parent holds in stock is not handed out by a child too."""
    random_bytes(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, random_bytes(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 32) != random_bytes(32)
    os.close(reader)
    os.close(writer)
