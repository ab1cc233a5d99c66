"""Documents of instances and members."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from exchange.registrations import (
    RESERVED_SERVICE_CODES,
    MemberRecord,
    ServerRecord,
    TimestampAuthority,
    format_instance,
    format_member,
    is_schema_target,
    parse_instance,
    parse_member,
)
from tests.registry.simulator import MOF, MPI, authority, instance_record, member_record

Change = Callable[[dict[str, Any]], None]
CERTIFICATE = authority().authorities[0]


def test_a_member_reads_back_the_same() -> None:
    """parse and format are inverse, and there is one canonical form."""
    record = member_record(MPI)
    data = format_member(record)
    assert parse_member(data, MPI) == record
    assert format_member(parse_member(data, MPI)) == data


def test_a_server_may_name_the_book_that_it_shares() -> None:
    """The name is written when there is one; a document without it keeps its bytes."""
    record = member_record(MPI)
    assert b"shares" not in format_member(record)
    server = replace(record.servers[0], shares="mpi-1")
    sharing = replace(record, servers=(server,))
    assert parse_member(format_member(sharing), MPI) == sharing


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("LA/GOV/MPI/ss1", None), ("LA/GOV/MPI/ss1", None), True),
        (("LA/GOV/MPI/ss1", None), ("LA/GOV/MPI/ss2", None), False),
        (("LA/GOV/MPI/ss1", "a"), ("LA/GOV/MPI/ss2", "a"), True),
        (("LA/GOV/MPI/ss1", "a"), ("LA/GOV/MPI/ss2", "b"), False),
        (("LA/GOV/MPI/ss1", "a"), ("LA/GOV/MPI/ss2", None), False),
        (("LA/GOV/MPI/ss1", "a"), ("LA/GOV/MOF/ss1", "a"), False),
    ],
)
def test_servers_of_one_member_share_a_book_by_its_name(
    one: tuple[str, str | None], other: tuple[str, str | None], shared: bool
) -> None:
    """The name is the member's own: two members that use the same one share nothing."""
    first, second = (
        ServerRecord(ServerId.parse(name), "https://h", (), None, book)
        for name, book in (one, other)
    )
    assert first.shares_book_with(second) is second.shares_book_with(first) is shared


def test_an_instance_reads_back_the_same() -> None:
    """parse and format are inverse, and there is one canonical form."""
    record = instance_record()
    record = type(record)(
        record.instance,
        record.environment,
        record.name,
        record.authorities,
        (TimestampAuthority("http://127.0.0.1:1/tsa", CERTIFICATE),),
    )
    data = format_instance(record)
    assert parse_instance(data) == record
    assert format_instance(parse_instance(data)) == data


def put(pointer: str, value: object) -> Change:
    """Set the value at a pointer."""

    def change(document: dict[str, Any]) -> None:
        *path, last = pointer.strip("/").split("/")
        target: Any = document
        for part in path:
            target = target[int(part)] if part.isdigit() else target[part]
        target[int(last) if last.isdigit() else last] = value

    return change


def twice(pointer: str) -> Change:
    """Repeat the only item of a list."""

    def change(document: dict[str, Any]) -> None:
        document[pointer] = document[pointer] * 2

    return change


def drop(key: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        del document[key]

    return change


MALFORMED: list[tuple[str, Change]] = [
    ("/member", put("member", "LA/GOV/MOF")),
    ("/member", put("member", "la/gov/mpi")),
    ("", drop("services")),
    ("", put("acl", [])),
    ("/name", put("name", "Ministry")),
    ("/name", put("name", {"en": "Ministry"})),
    ("/name/lo", put("name/lo", "")),
    ("/name/en", put("name/en", "x\u0007")),
    ("/seal_certificates/0", put("seal_certificates/0", "-----BEGIN CERTIFICATE-----\n")),
    ("/seal_certificates/0", put("seal_certificates/0", 7)),
    ("/seal_certificates", put("seal_certificates", ["x"] * 17)),
    ("/seal_certificates", twice("seal_certificates")),
    ("/servers", twice("servers")),
    ("/servers/0/id", put("servers/0/id", "LA/GOV/MOF/ss1")),
    ("/servers/0/id", put("servers/0/id", "LA/GOV/MPI/ss 1")),
    ("/servers/0/id", put("servers/0/id", "LA/GOV/MPI")),
    ("/servers/0/address", put("servers/0/address", "http://127.0.0.1:5501")),
    ("/servers/0/address", put("servers/0/address", "https://127.0.0.1:5501/")),
    ("/servers/0/address", put("servers/0/address", "https://127.0.0.1:5501?x")),
    ("/servers/0/address", put("servers/0/address", "https://user@127.0.0.1")),
    ("/servers/0/address", put("servers/0/address", "https://HOST")),
    ("/servers/0/address", put("servers/0/address", "https://h:99999")),
    ("/servers/0/address", put("servers/0/address", "https://h:080")),
    ("/servers/0/address", put("servers/0/address", "https://ສະພານ.la")),
    ("/servers/0/address", put("servers/0/address", "https://")),
    ("/servers/0/journal", put("servers/0/journal", 1)),
    ("/servers/0/shares", put("servers/0/shares", "")),
    ("/servers/0/shares", put("servers/0/shares", "two words")),
    ("/servers/0", put("servers/0", [])),
    ("/applications/0/id", put("applications/0/id", "LA/GOV/MOF/budget")),
    ("/applications/0/servers/0", put("applications/0/servers", ["TH/GOV/X/ss1"])),
    ("/applications/0/servers", put("applications/0/servers", ["LA/GOV/MPI/ss1"] * 2)),
    ("/applications", twice("applications")),
    ("/services", twice("services")),
    ("/services/0/id", put("services/0/id", "LA/GOV/MPI/other/projects")),
    ("/services/0/id", put("services/0/id", "LA/GOV/MOF/oda-mis/projects")),
    ("/services/0/type", put("services/0/type", "SOAP")),
    ("/services/0", put("services/0/type", "REST")),
    ("/services/0", put("services/0/openapi", None)),
    ("/services/0/openapi", put("services/0/openapi", "../openapi.json")),
    ("/services/0/openapi", put("services/0/openapi", "member.json")),
    ("/services/0/openapi", put("services/0/openapi", ".x.json")),
    ("/services/0/openapi", put("services/0/openapi", "x.yaml")),
    ("/services", put("services", {})),
]


@pytest.mark.parametrize(("pointer", "change"), MALFORMED)
def test_a_malformed_member_is_refused_with_its_place(pointer: str, change: Change) -> None:
    """Each way to be wrong gives InvalidDocument at the JSON pointer of what is wrong."""
    document = json.loads(format_member(member_record(MPI)))
    change(document)
    with pytest.raises(Problem) as caught:
        parse_member(json.dumps(document).encode(), MPI)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"LA/GOV/MPI/member.json#{pointer}"


@pytest.mark.parametrize(
    ("pointer", "change"),
    [
        ("/instance", put("instance", "L/A")),
        ("/environment", put("environment", "test")),
        ("/authorities", put("authorities", [])),
        ("/authorities/0", put("authorities/0", "x")),
        ("/timestamp_authorities/0", put("timestamp_authorities", [{}])),
        (
            "/timestamp_authorities/0/url",
            put("timestamp_authorities", [{"url": "file:///etc/passwd", "certificate": "x"}]),
        ),
        ("", put("root", "x")),
    ],
)
def test_a_malformed_instance_is_refused_with_its_place(pointer: str, change: Change) -> None:
    """Each way to be wrong gives InvalidDocument at the JSON pointer of what is wrong."""
    document = json.loads(format_instance(instance_record()))
    change(document)
    with pytest.raises(Problem) as caught:
        parse_instance(json.dumps(document).encode())
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"instance.json#{pointer}"


def test_two_certificates_in_one_pem_are_refused() -> None:
    """A text is one certificate in one form: nothing may hide behind it."""
    document = json.loads(format_member(member_record(MPI)))
    document["seal_certificates"] = [document["seal_certificates"][0] * 2]
    with pytest.raises(Problem) as caught:
        parse_member(json.dumps(document).encode(), MPI)
    assert caught.value.where.endswith("#/seal_certificates/0")


def test_a_document_of_another_member_is_refused() -> None:
    """The path under which a document was found decides whose it is."""
    with pytest.raises(Problem) as caught:
        parse_member(format_member(member_record(MPI)), MOF)
    assert caught.value.where == "LA/GOV/MOF/member.json#/member"


_DOCUMENT = format_member(member_record(MPI))


@given(st.integers(0, len(_DOCUMENT) - 1), st.binary(min_size=1, max_size=3))
@settings(max_examples=300)
def test_a_damaged_document_is_read_or_refused(position: int, garbage: bytes) -> None:
    """Whatever the damage, the outcome is a record or InvalidDocument."""
    data = _DOCUMENT[:position] + garbage + _DOCUMENT[position + len(garbage) :]
    outcome: MemberRecord | Problem
    try:
        outcome = parse_member(data, MPI)
    except Problem as problem:
        outcome = problem
    if isinstance(outcome, MemberRecord):
        assert parse_member(format_member(outcome), MPI) == outcome
    else:
        assert outcome.code is Code.INVALID_DOCUMENT


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("schemas/province.1.json", True),
        ("schemas/aid-project.12.json", True),
        ("schemas/province.json", False),
        ("schemas/../province.1.json", False),
        ("schemas/a/b.1.json", False),
        ("Schemas/province.1.json", False),
    ],
)
def test_schemas_have_one_form_of_path(path: str, expected: bool) -> None:
    """schemas/{name}.{major}.json, lower case."""
    assert is_schema_target(path) is expected


@pytest.mark.parametrize("code", sorted(RESERVED_SERVICE_CODES))
def test_a_reserved_service_code_is_refused(code: str) -> None:
    """What X-Road answers by itself cannot be the name of a service (PR-MREST)."""
    document = json.loads(format_member(member_record(MPI)))
    service = document["services"][0]
    service["id"] = f"{service['id'].rpartition('/')[0]}/{code}"
    with pytest.raises(Problem) as caught:
        parse_member(json.dumps(document).encode(), MPI)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where.endswith("#/services/0/id")


def test_the_application_that_answers_auditors_is_not_registered() -> None:
    """Every member has it from the start, so nobody can put services of his own behind it."""
    document = json.loads(format_member(member_record(MPI)))
    document["services"] = []
    document["applications"] = [document["applications"][0] | {"id": f"{MPI}/auditing"}]
    with pytest.raises(Problem) as caught:
        parse_member(json.dumps(document).encode(), MPI)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where.endswith("#/applications/0/id")
