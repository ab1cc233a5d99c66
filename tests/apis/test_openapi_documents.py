"""The project's own HTTP APIs keep their OpenAPI documents, whatever they are asked, by whomever.

Each document is served by the API itself, is linted, and drives requests that schemathesis makes:
good ones, odd ones and wrong ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.instance.running import SCOPES, RunningInstance
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld, exchange, wait_published

# What every API of ours must keep, whatever comes.
KEPT = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 10
FEW = 4
"""Of the configuration API, whose documents take long to make up."""
OF_A_SERVER = {
    "admin": ("admin", ""),
    "audit": ("admin", "/audit"),
    "directory": ("http", "/govstack"),
    "once-only": ("http", "/once-only"),
}
DOCUMENTS = (*OF_A_SERVER, "configuration", "registry")
# Requests that fit the schema and are refused all the same: what no schema can say.
REFUSED_BY_DESIGN = {
    "createIMconf": "an instance is made once, and as the domain and instance that it is",
    "updateIMconf": "an instance stays what it is; what rights and URLs name must be there",
    "replaceIMconf": "an instance stays what it is; what rights and URLs name must be there",
    "getAllowed": "the handle of a page is one that a page before gave",
    "setAllowed": "services and applications that are named must be there",
    "setDenied": "services and applications that are named must be there",
}


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    """A world whose journals hold something."""
    with small_world() as built:
        for code in ("P-1", "P-2", "BROKEN", "MISSING"):
            built.call(f"/projects/{code}")
        wait_published(built.mof)
        yield built


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """An instance without members."""
    running = RunningInstance(tmp_path_factory.mktemp("api") / "instance")
    running.start()
    running.make("POST", {"domain": "sandbox.example", "instance": "LA"}, "?init=true")
    yield running
    assert running.end() == 0


@pytest.fixture
def base(request: pytest.FixtureRequest, name: str) -> str:
    """Where an API is."""
    if name == "registry":
        registry: SmallWorld = request.getfixturevalue("world")
        return f"{registry.world.registry_url}/api/v1"
    if name not in OF_A_SERVER:
        running: RunningInstance = request.getfixturevalue("instance")
        return running.url
    listener, path = OF_A_SERVER[name]
    world: SmallWorld = request.getfixturevalue("world")
    return f"{world.mof.url(listener)}{path}"


def document(base: str) -> dict[str, Any]:
    """An API's document as it serves it."""
    answer = exchange(base, "GET", f"{urlsplit(base).path}/openapi.json", {})
    assert answer.status == 200
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_well_formed(base: str, name: str) -> None:
    """Each is a valid OpenAPI document; each operation says who it is and how it fails, but for
    those of the configuration API that are for everybody and cannot fail."""
    found = document(base)
    validate(found)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "put", "post", "patch", "delete"):
                place = f"{method} {path}"
                assert operation["operationId"], place
                assert operation["summary"], place
                told = operation["responses"].keys()
                open_to_all = name == "configuration" and operation["security"] == []
                assert open_to_all or {"default", "400"} & told, place


def operations(base: str) -> Iterator[Any]:
    """The operations of an API, for schemathesis."""
    schema = schemathesis.openapi.from_dict(document(base))
    schema.config.update(base_url=base)
    for found in schema.get_all_operations():
        yield found.ok()


def ask(operation: Any, mode: GenerationMode, examples: int, check: Callable[[Any], None]) -> None:
    """Let schemathesis make requests of one operation."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def each(case: Any) -> None:
        check(case)

    with suppress(Unsatisfiable):  # an operation that nothing can be wrong with
        each()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", OF_A_SERVER)
def test_whatever_is_asked(base: str, name: str, mode: GenerationMode) -> None:
    """No request, good or wrong, gets a 500 or an answer that the document does not describe."""
    tried = 0

    def check(case: Any) -> None:
        nonlocal tried
        tried += 1
        case.call_and_validate(checks=KEPT)

    for operation in operations(base):
        ask(operation, mode, EXAMPLES, check)
    assert tried >= EXAMPLES


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", ["configuration"])
def test_whatever_is_asked_with_the_right_scope(
    instance: RunningInstance, base: str, name: str, mode: GenerationMode
) -> None:
    """As of the other APIs; and what fits the schema is taken, but where a schema cannot say it."""
    tried = set()
    for operation in operations(base):
        call = operation.definition.raw
        checks = list(KEPT)
        if mode is GenerationMode.POSITIVE and call["operationId"] not in REFUSED_BY_DESIGN:
            checks.append(positive_data_acceptance)
        if call["operationId"] == "checkIMconf":
            checks.remove(schemathesis.checks.not_a_server_error)  # 500 tells what is not well yet

        def check(case: Any, call: Any = call, checks: Any = checks) -> None:
            tried.add(call["operationId"])
            scopes = [scope for need in call["security"] for scope in need.get("auth", ())]
            bearer = instance.bearer(*scopes) if scopes else ""
            headers = {"Authorization": f"Bearer {bearer}"} if scopes else {}
            case.call_and_validate(checks=checks, headers=headers)

        ask(operation, mode, FEW, check)
    assert tried >= REFUSED_BY_DESIGN.keys()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", ["registry"])
def test_whatever_is_asked_of_the_registry(
    world: SmallWorld, base: str, name: str, mode: GenerationMode
) -> None:
    """As of the other APIs, by its operator and by nobody; whom nobody knows acts in nothing."""
    key = (world.world.directory / "registry/offline/operator-api-key").read_text().strip()
    tried = set()
    for operation in operations(base):
        call = operation.definition.raw

        def check(case: Any, call: Any = call) -> None:
            tried.add(call["operationId"])
            case.call_and_validate(checks=KEPT, headers={"Authorization": f"Bearer {key}"})
            without = case.call_and_validate(checks=KEPT)
            if call.get("security") != [] and without.status_code != 404:
                assert without.status_code in (400, 401, 405, 422)

        ask(operation, mode, FEW, check)
    assert {"submit", "order", "propose", "approve", "addKey"} <= tried


@pytest.mark.parametrize("name", ["configuration"])
def test_whoever_may_not_learns_nothing(instance: RunningInstance, base: str, name: str) -> None:
    """Without a token 401, with all scopes but the wanted one 403, whatever is asked."""
    before = instance.call("GET", "/api/v1/config").headers["etag"]
    guarded = [one for one in operations(base) if one.definition.raw["security"]]
    assert len(guarded) == 8
    for operation in guarded:
        ((need,),) = [one["auth"] for one in operation.definition.raw["security"]]
        others = instance.bearer(*(scope for scope in SCOPES if scope != need))

        def check(case: Any, others: str = others) -> None:
            without = case.call_and_validate(checks=KEPT)
            wrong = case.call_and_validate(
                checks=KEPT, headers={"Authorization": f"Bearer {others}"}
            )
            assert (without.status_code, wrong.status_code) == (401, 403)

        ask(operation, GenerationMode.POSITIVE, 2, check)
    assert instance.call("GET", "/api/v1/config").headers["etag"] == before


def test_what_is_no_request_is_a_problem_too(instance: RunningInstance) -> None:
    """A request line that is too long is answered in the one form of problems."""
    answer = instance.call("GET", f"/api/v1/config?{'a' * 9000}")
    assert (answer.status, answer.json()["type"]) == (400, "InvalidRequest")
