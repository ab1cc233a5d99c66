"""The configuration API: GovStack's calls and scopes, its own document, and any input at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.contracts.contract import Contract
from tests.instance.running import SCOPES, Answer, RunningInstance, ask

CONFIG, STATUS = "/api/v1/config", "/api/v1/status"
ALLOW, DENY = "/api/v1/rights/allow", "/api/v1/rights/deny"
# Of GovStack's published file (IM 1.1.1): the call, its name, its scope, the answers it declares.
PUBLISHED = {
    ("get", CONFIG): ("listIMconf", "read:conf", {"200", "500"}),
    ("post", CONFIG): ("createIMconf", "write:conf", {"201", "400", "500"}),
    ("patch", CONFIG): ("updateIMconf", "write:conf", {"201", "400", "500"}),
    ("put", CONFIG): ("replaceIMconf", "create:conf", {"201", "400", "500"}),
    ("get", STATUS): ("checkIMconf", "read:conf", {"200", "500"}),
    ("get", ALLOW): ("getAllowed", "read:rights", {"200", "401"}),
    ("patch", ALLOW): ("setAllowed", "write:rights", {"200", "401"}),
    ("patch", DENY): ("setDenied", "write:rights", {"200", "401"}),
}
EMPTY = {"domain": "sandbox.example", "instance": "LA"}


class Checked:
    """An instance without members, each of whose answers is held against its own document."""

    def __init__(self, running: RunningInstance) -> None:
        self.running = running
        self.document: dict[str, Any] = ask("GET", f"{running.url}/openapi.json").json()
        self._contract = Contract.compile(json.dumps(self.document).encode(), {})

    def call(self, method: str, path: str, value: Any = None, **more: str) -> Answer:
        answer = self.running.call(method, path, value, **more)
        where = path.partition("?")[0]
        declared = self.document["paths"][where][method.lower()]["responses"]
        assert str(answer.status) in declared, (answer.status, answer.body)
        operation = self._contract.find(method, where).operation
        headers = tuple(answer.headers.items())
        if answer.status != 500 or where == STATUS:
            operation.check_response(answer.status, headers, answer.body)
        return answer


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    running = RunningInstance(tmp_path_factory.mktemp("api") / "instance")
    running.start()
    running.make("POST", EMPTY, "?init=true")
    yield Checked(running)
    assert running.end() == 0


def test_the_document_keeps_to_the_published_file(instance: Checked) -> None:
    """The same calls with the same names and scopes, and every answer that it declares."""
    paths = instance.document["paths"]
    for (method, path), (name, scope, answers) in PUBLISHED.items():
        call = paths[path][method]
        assert (call["operationId"], call["security"]) == (name, [{"auth": [scope]}])
        assert answers <= call["responses"].keys()
    flow = instance.document["components"]["securitySchemes"]["auth"]["flows"]["clientCredentials"]
    assert flow["scopes"].keys() == set(SCOPES)
    served = ask("GET", f"{instance.running.url}/openapi.yaml")
    assert yaml.safe_load(served.body) == instance.document


@pytest.mark.parametrize(("method", "path"), list(PUBLISHED))
def test_each_call_takes_its_scope_alone(instance: Checked, method: str, path: str) -> None:
    """All other scopes together do not do; without a token it is 401, with a challenge."""
    scope = PUBLISHED[method, path][1]
    url = instance.running.url + path
    without = ask(method.upper(), url)
    assert without.status == 401
    challenge = f'Bearer realm="saphan", scope="{scope}"'
    assert without.headers["www-authenticate"] == challenge
    others = instance.running.bearer(*(one for one in SCOPES if one != scope))
    refused = instance.call(method.upper(), path, bearer=others)
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    own = instance.call(method.upper(), path, bearer=instance.running.bearer(scope))
    # The status of an instance that is not well just now is 500.
    assert own.status in ((200, 500) if path == "/api/v1/status" else (200, 400))


def test_refused_acts_are_recorded_with_who_asked(instance: Checked) -> None:
    """A change that was refused is a line of the acts, for want of a scope or for mistakes."""
    acts = instance.running.directory / "acts.jsonl"
    before = len(acts.read_text().splitlines())
    reader = instance.running.bearer("read:conf")
    assert instance.call("PUT", CONFIG, EMPTY, bearer=reader).status == 403
    assert instance.call("PUT", CONFIG, {}).status == 400
    lines = [json.loads(line) for line in acts.read_text().splitlines()[before:]]
    assert [(one["client"], one["act"], one["outcome"]) for one in lines] == [
        ("only-read.conf", f"PUT {CONFIG}", "NotAuthorised"),
        ("everything", f"PUT {CONFIG}", "InvalidDocument"),
    ]


def test_media_types_are_chosen_and_checked(instance: Checked) -> None:
    """Accept chooses JSON or YAML by quality, else 406; Content-Type is one of them, else 415."""
    for accept, kind in (
        ("*/*", "application/json"),
        ("text/yaml", "text/yaml"),
        ("application/json;q=0.1, application/yaml", "application/yaml"),
        ("text/html, */*;q=0.1", "application/json"),
    ):
        answer = instance.call("GET", CONFIG, Accept=accept)
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert yaml.safe_load(answer.body) == EMPTY | {"members": []}
    assert instance.call("GET", CONFIG, Accept="text/html").status == 406
    for kind in ("text/plain", "application/xml", "application/json; charset=latin-1"):
        assert instance.call("PATCH", CONFIG, b"{}", Content_Type=kind).status == 415


def test_a_change_of_what_has_changed_since_is_refused(instance: Checked) -> None:
    """If-Match names the state that is to be changed (RFC 9110 section 13.1.1)."""
    tag = instance.call("GET", CONFIG).headers["etag"]
    changed = instance.call("PATCH", CONFIG, EMPTY, If_Match=tag)
    assert changed.status == 201
    assert instance.call("PATCH", CONFIG, EMPTY, If_Match=tag).status == 412
    assert instance.call("PUT", CONFIG, EMPTY, If_Match=changed.headers["etag"]).status == 201
    assert instance.call("PUT", CONFIG, EMPTY, If_Match="*").status == 201


def test_nothing_is_done_of_a_document_with_mistakes(instance: Checked) -> None:
    """A specification that cannot be fetched is a mistake at its place, and nothing changes."""
    before = instance.call("GET", CONFIG)
    service = {"id": "s", "specUrl": "http://127.0.0.1:1/x", "serviceUrl": "http://b.example/"}
    service["rights"] = [{"member": "M", "application": "a"}]  # type: ignore[assignment]
    application = {"id": "a", "services": [service]}
    member = {"name": "M", "class": "GOV", "code": "1", "applications": [application]}
    answer = instance.call("PATCH", CONFIG, EMPTY | {"members": [member]})
    assert (answer.status, answer.json()["type"]) == (400, "InvalidDocument")
    (mistake,) = answer.json()["mistakes"]
    assert mistake["pointer"] == "/members/0/applications/0/services/0/specUrl"
    many = [{"name": f"M{n}", "class": "GOV", "code": str(n)} for n in range(17)]
    answer = instance.call("PUT", CONFIG, EMPTY | {"members": many})
    assert answer.json()["mistakes"][0]["pointer"] == "/members"
    after = instance.call("GET", CONFIG)
    assert (after.body, after.headers["etag"]) == (before.body, before.headers["etag"])


def test_rights_of_services_that_are_not_there_are_mistakes(instance: Checked) -> None:
    """Allow and deny change nothing when a part of what they name does not exist."""
    item = {"memberClass": "GOV", "memberCode": "1", "applicationId": "a", "serviceId": "s"}
    for path in (ALLOW, DENY):
        answer = instance.call("PATCH", path, [{**item, "rights": []}, {}, 7])
        assert {one["pointer"] for one in answer.json()["mistakes"]} == {"/0", "/1", "/2"}
        assert instance.call("PATCH", path, []).status == 200
        assert instance.call("PATCH", path).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=0", "pageSize=1001", "pageSize=1_0", "pageSize=%E0%BB%91", "nextPageToken=",
        "nextPageToken=AAAA", "x=1", "memberCode=", "serviceId=a%20b", "pageSize=1&pageSize=1",
    ],
)  # fmt: skip
def test_queries_are_read_strictly(instance: Checked, query: str) -> None:
    """A size out of bounds or in another spelling, a handle of our own making, what is unknown."""
    assert instance.call("GET", f"{ALLOW}?{query}").status == 400


def test_the_token_endpoint_speaks_rfc_6749(instance: Checked) -> None:
    """Basic or form; wrong clients get 401 with a challenge, other faults 400; never cached."""
    url = f"{instance.running.url}/oauth/token"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, fields, status, error in (
        (b"grant_type=client_credentials", form, 401, "invalid_client"),
        (b"grant_type=client_credentials", form | {"Authorization": "Basic eDp5"}, 401,
         "invalid_client"),
        (b"grant_type=client_credentials", form | {"Authorization": "Basic !"}, 401,
         "invalid_client"),
        (b"client_id=a&client_id=b", form, 400, "invalid_request"),
        (b"\xff=\xff", form, 400, "invalid_request"),
        (b"{}", {"Content-Type": "application/json"}, 400, "invalid_request"),
    ):  # fmt: skip
        answer = ask("POST", url, body, fields)
        assert (answer.status, answer.json()["error"]) == (status, error)
        assert ("www-authenticate" in answer.headers) is (status == 401)
        assert answer.headers["cache-control"] == "no-store"
    metadata = ask("GET", f"{instance.running.url}/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == instance.running.url
    assert metadata["token_endpoint"] == url
    (key,) = ask("GET", metadata["jwks_uri"]).json()["keys"]
    assert (key["kty"], key["alg"], "d" in key) == ("EC", "ES256", False)


def test_bodies_and_paths_out_of_bounds_get_problems(instance: Checked) -> None:
    """More than 1 MiB, another method, another path: told in the one form of problems."""
    too_long = instance.call("PATCH", CONFIG, b'"' + b"x" * (1 << 20) + b'"')
    assert too_long.status == 413
    other = instance.running.call("DELETE", CONFIG)
    assert (other.status, other.json()["where"]) == (405, "method")
    assert "PATCH" in other.headers["allow"]
    assert instance.running.call("GET", "/nothing").json()["type"] == "NotFound"
    deep = instance.call("PATCH", CONFIG, b"[" * 100_000)
    assert deep.status == 400
    for bomb in (b"a: &a [x,x]\nb: &b [*a,*a]\n" * 2, b"- " * 50_000, b"&a [*a]", b"\xff\xfe\x00"):
        assert instance.call("PATCH", CONFIG, bomb, Content_Type="text/yaml").status == 400


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([call for call in PUBLISHED if call[1] != STATUS]),
    st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b"[{}]", b'{"members":[{}]}']),
    st.dictionaries(st.sampled_from(["init", "pageSize", "nextPageToken", "memberCode"]), _TEXT),
    st.sampled_from(["application/json", "text/yaml", "application/x-yaml", "x", ""]),
    st.sampled_from(["*/*", "text/yaml;q=x", "", ",;,", "application/json"]),
)
def test_no_input_is_an_error_of_ours(
    instance: Checked,
    call: tuple[str, str],
    body: bytes,
    query: dict[str, str],
    kind: str,
    accept: str,
) -> None:
    """Whatever is sent, the answer is declared and none of it is an internal error."""
    words = "&".join(f"{name}={quote(text)}" for name, text in query.items())
    method, path = call
    sent = None if method == "get" else body
    answer = instance.call(
        method.upper(), f"{path}?{words}", sent, Content_Type=kind, Accept=accept
    )
    assert answer.status < 500, answer.body
