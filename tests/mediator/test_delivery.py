"""What a backend gets of a message: nothing that would bring a part where the whole is judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange.contracts.contract import Contract
from exchange.contracts.operations import Operation
from exchange.problems import Code, Problem
from mediator.provider.delivery import check_part, check_tags, withheld

JSON = {"application/json": {"schema": {"type": "object"}}}
PDF = {"application/pdf": {}}
PARTS = {"range", "if-range"}


def operation(**responses: dict[str, Any]) -> Operation:
    """GET with these contents by status."""
    document = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/d": {
                "get": {
                    "responses": {
                        status.lstrip("_"): {"description": "d", "content": content}
                        for status, content in responses.items()
                    }
                }
            }
        },
    }
    return Contract.compile(json.dumps(document).encode(), {}).find("GET", "/d").operation


@pytest.mark.parametrize(
    ("responses", "checked", "restricted", "parts", "codings"),
    [
        ({"_200": JSON}, True, False, False, False),
        ({"_200": JSON}, False, False, True, True),
        ({"_200": PDF}, True, False, True, True),
        ({"_200": PDF, "_404": JSON}, True, False, True, False),
        ({"_200": PDF, "default": JSON}, True, False, False, False),
        ({"_2XX": JSON}, True, False, False, False),
        ({"_200": {"*/*": {}}}, True, False, False, False),
        ({"_200": PDF | JSON}, True, False, False, False),
        ({"_200": PDF}, True, True, False, False),
        ({"_200": PDF}, False, True, False, False),
    ],
)
def test_parts_and_codings_are_asked_for_where_nothing_is_read(
    responses: dict[str, Any], checked: bool, restricted: bool, parts: bool, codings: bool
) -> None:
    """A contract and released fields are of the whole; RFC 9110 14.2 lets Range be ignored."""
    names = withheld(operation(**responses), checked, restricted)
    assert (not PARTS & names) is parts
    assert names >= PARTS or parts
    assert ("accept-encoding" not in names) is codings
    assert ("if-none-match" in names) is restricted
    assert {"via", "forwarded", "content-digest", "signature"} <= names


@pytest.mark.parametrize(
    ("method", "name", "value", "refused"),
    [
        ("GET", "if-match", '"a"', True),
        ("PUT", "if-match", '"a"', True),
        ("PUT", "if-match", "*", False),
        ("PUT", "if-none-match", '"a"', True),
        ("PUT", "if-none-match", "*", False),
        ("GET", "if-none-match", '"a"', False),
        ("GET", "if-modified-since", "Sun, 22 Nov 2026 00:00:00 GMT", False),
    ],
)
def test_a_tag_of_a_record_that_is_not_released_is_refused(
    method: str, name: str, value: str, refused: bool
) -> None:
    """Where it could only be left out against the caller's will; ``*`` tells nothing."""
    if not refused:
        check_tags(method, ((name, value),))
        return
    with pytest.raises(Problem) as caught:
        check_tags(method, ((name, value),))
    assert (caught.value.code, caught.value.where) == (Code.FIELD_NOT_RELEASED, f"header.{name}")


def test_a_part_that_nobody_asked_for_is_refused() -> None:
    """206 answers Range alone (RFC 9110 section 15.3.7)."""
    check_part(206, (("range", "bytes=0-1"),))
    check_part(200, ())
    with pytest.raises(Problem) as caught:
        check_part(206, ())
    assert caught.value.code is Code.BACKEND_NONSENSE


@pytest.mark.parametrize("kind", ["application/pdf", "multipart/byteranges; boundary=x"])
def test_a_part_passes_as_it_is(kind: str) -> None:
    """Where 200 or 206 is declared; the contract says nothing of parts."""
    headers = (("content-type", kind), ("content-range", "bytes 0-1/9"))
    assert operation(_200=PDF).check_response(206, headers, b"%P") is None
    assert operation(_206=PDF).check_response(206, headers, b"%P") is None
    with pytest.raises(Problem):
        operation(_404=PDF).check_response(206, headers, b"%P")


@pytest.mark.parametrize("status", [304, 412, 416])
def test_answers_to_conditions_need_not_be_declared(status: int) -> None:
    """They are HTTP's own, not the service's."""
    assert operation(_200=JSON).check_response(status, (), b"") is None


@pytest.mark.parametrize("restricted", [False, True])
def test_what_servers_tell_each_other_does_not_reach_a_backend(restricted: bool) -> None:
    """Neither the proof of a message nor that it is a repeat."""
    names = withheld(operation(_200=PDF), False, restricted)
    assert names >= {"signature", "signature-input", "content-digest", "exchange-repeat"}
