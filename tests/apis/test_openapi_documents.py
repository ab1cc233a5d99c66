"""The project's own HTTP APIs keep their OpenAPI documents, whatever they are asked.

Each document is served by the API itself, is linted, and drives requests that schemathesis makes:
good ones, odd ones and wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.world.fixtures import small_world
from tests.world.small import SmallWorld, exchange, wait_published

# What every API of ours must keep, whatever comes.
KEPT = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 25
DOCUMENTS = {
    "admin": ("admin", ""),
    "audit": ("admin", "/audit"),
    "directory": ("http", "/govstack"),
}


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    """A world whose journals hold something."""
    with small_world() as built:
        for code in ("P-1", "P-2", "BROKEN", "MISSING"):
            built.call(f"/projects/{code}")
        wait_published(built.mof)
        yield built


def document(world: SmallWorld, name: str) -> dict[str, Any]:
    """An API's document as it serves it."""
    listener, base = DOCUMENTS[name]
    answer = exchange(world.mof.url(listener), "GET", f"{base}/openapi.json", {})
    assert answer.status == 200
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_well_formed(world: SmallWorld, name: str) -> None:
    """Each is a valid OpenAPI document; each operation says who it is and how it fails."""
    found = document(world, name)
    validate(found)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "put", "post", "patch", "delete"):
                place = f"{method} {path}"
                assert operation["operationId"], place
                assert operation["summary"], place
                assert "default" in operation["responses"], place


def operations(world: SmallWorld, name: str) -> Iterator[Any]:
    """The operations of an API, for schemathesis."""
    listener, base = DOCUMENTS[name]
    schema = schemathesis.openapi.from_dict(document(world, name))
    schema.config.update(base_url=f"{world.mof.url(listener)}{base}")
    for found in schema.get_all_operations():
        yield found.ok()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_whatever_is_asked(world: SmallWorld, name: str, mode: GenerationMode) -> None:
    """No request, good or wrong, gets a 500 or an answer that the document does not describe."""
    tried = 0
    for operation in operations(world, name):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(checks=KEPT)

        with suppress(Unsatisfiable):  # an operation that nothing can be wrong with
            ask()
    assert tried >= EXAMPLES
