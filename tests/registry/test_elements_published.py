"""Ask once in the registry: what may be entered, who is warned, who is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner

from console.cli.main import main
from exchange.problems import Code, Problem
from exchange.registrations import ELEMENTS_TARGET, openapi_file
from registry.offline.operator import sign_files
from registry.requests.once_only import Policy
from tests.registry.simulator import MPI, NOW, member_record, openapi_document
from tests.registry.test_registrar import OPERATOR, TERMS, Office
from tests.registry.world import World

SERVICE = "LA/GOV/MPI/oda-mis/projects"
OTHER = "LA/GOV/MOHA/civil-register/persons"


def element(identifier: str = "project.title", **changes: Any) -> dict[str, Any]:
    """An element whose source is the simulator's service."""
    text = {"en": "Title", "lo": "ຊື່"}
    source = {
        "service": SERVICE,
        "path": "/projects?code={subject}",
        "pointer": f"/{identifier.rpartition('.')[2]}",
    }
    return {
        "id": identifier,
        "version": 1,
        "name": text,
        "definition": text,
        "schema": {"type": "string"},
        "subject": "la-project",
        "source": source | changes.pop("source", {}),
        "legal_basis": text,
        "validity": "P1D",
        **changes,
    }


def asking(identifier: str = "person.birth-date") -> bytes:
    """A service whose POST asks for an element."""
    schema = {"properties": {"born": {"type": "string", "x-saphan-element": identifier}}}
    body = {"content": {"application/json": {"schema": schema}}}
    answers = {"responses": {"200": {"description": "done"}}}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Projects", "version": "1.0.0"},
            "paths": {"/projects": {"get": answers, "post": answers | {"requestBody": body}}},
        }
    )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A registrar with MPI's service published."""
    built = Office(tmp_path)
    built.approve(built.submit())
    yield built
    built.store.close()


def publish(office: Office, *elements: dict[str, Any]) -> None:
    """Publish a dictionary of these elements."""
    data = orjson.dumps({"elements": elements})
    signed = sign_files(office.own(), {ELEMENTS_TARGET: data}, office.targets_signers, NOW)
    office.registrar.publish_own(signed.targets, signed.files, OPERATOR, NOW)


def test_an_element_is_published_and_in_the_directory(office: Office) -> None:
    """Found by id and by a part of a Lao word."""
    publish(office, element())
    assert office.registrar.directory.element("project.title")["subject"] == "la-project"
    assert office.registrar.directory.element_list("ຊື່", "", 10)["items"]
    with pytest.raises(Problem) as caught:
        office.registrar.directory.element("project.absent")
    assert caught.value.code is Code.UNKNOWN_ELEMENT


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ({"service": OTHER}, "service"),
        ({"path": "/people/{subject}"}, "path"),
    ],
)
def test_a_source_must_be_there(office: Office, source: dict[str, str], place: str) -> None:
    """A source that nobody publishes, or without that endpoint, would leave people nowhere."""
    with pytest.raises(Problem) as caught:
        publish(office, element(source=source))
    assert caught.value.where == f"elements.json#/elements/0/source/{place}"


def test_a_second_source_is_refused_with_a_pointer_to_the_first(office: Office) -> None:
    """Nothing of it is published."""
    publish(office, element("project.code"), element())
    with pytest.raises(Problem) as caught:
        publish(office, element(version=2, source={"service": OTHER}), element("project.code"))
    assert caught.value.code is Code.ELEMENT_HAS_SOURCE
    assert caught.value.facts["first"] == "elements.json#/elements/1"
    assert len(office.registrar.directory.elements.elements) == 2


def test_whoever_asks_for_what_others_give_is_warned(office: Office) -> None:
    """By default: taken in, and told with the place; the same is told of what is published."""
    document = {openapi_file(member_record(MPI).services[0].id): asking("person.absent")}
    number = office.submit(files=document)
    (warning,) = office.registrar.advice(number, NOW)
    assert warning["code"] == Code.UNKNOWN_ELEMENT
    assert warning["place"].endswith("/schema/properties/born")
    assert warning["element"] == "person.absent"
    assert office.registrar.still_asked(NOW) == []
    office.approve(number)
    assert [one["service"] for one in office.registrar.still_asked(NOW)] == [SERVICE]


def test_a_source_that_goes_is_told(office: Office) -> None:
    """Who approves sees that an element would be left without its source."""
    publish(office, element())
    file = openapi_file(member_record(MPI).services[0].id)
    number = office.submit(files={file: openapi_document("/elsewhere")})
    (warning,) = office.registrar.advice(number, NOW)
    assert warning["element"] == "project.title"
    assert warning["place"] == "elements.json#/elements/0/source/path"


def test_by_setting_a_new_question_is_refused(tmp_path: Path) -> None:
    """It names what is wrong, and nothing is taken in; what was asked before stays a warning."""
    file = openapi_file(member_record(MPI).services[0].id)
    office = Office(tmp_path)
    office.approve(office.submit(files={file: asking("person.old")}))
    office.store.close()
    strict = Office(tmp_path, replace(TERMS, once_only=Policy.REFUSE))
    with pytest.raises(Problem) as caught:
        strict.submit(files={file: asking("person.new")})
    assert caught.value.code is Code.UNKNOWN_ELEMENT
    assert caught.value.where.startswith(f"{MPI}/{file}#/paths/~1projects/post/requestBody")
    assert strict.submit(files={file: asking("person.old")})
    strict.store.close()


async def test_elements_are_entered_by_command(world: World, tmp_path: Path) -> None:
    """From a file in YAML; the same id once more is refused, and taken with --replace."""
    await world.approve((await world.submit(MPI))["id"])
    file = tmp_path / "elements.yaml"
    file.write_text(yaml.safe_dump({"elements": [element()]}, allow_unicode=True), "utf-8")
    keys = world.opened.targets_keys[0].parent

    async def run(*more: str) -> Any:
        arguments = ["registry", "element-publish", str(file), "--keys", str(keys), *more]
        client = ["--registry", world.url, "--api-key", world.opened.operator_api_key]
        return await world.call(lambda: CliRunner().invoke(main, [*arguments, *client]))

    first = await run()
    assert first.exit_code == 0, first.output
    assert "1 elements" in first.output
    again = await run()
    assert again.exit_code == 1
    assert "elements.json#/elements/0" in again.output
    changed = element(version=2, validity="P2D")
    file.write_text(yaml.safe_dump([changed], allow_unicode=True), "utf-8")
    assert (await run("--replace")).exit_code == 0
    show = ["registry", "show", "project.title", "--registry", world.url]
    shown = await world.call(lambda: CliRunner().invoke(main, show))
    assert orjson.loads(shown.stdout)["version"] == 2
    assert (await world.call(lambda: world.operator.get("questions")))["items"] == []
    for wrong in ("[" * 9_999, "a: !!binary aGk=", "- {id: [x]}\n", "a: 1\na: 2\n"):
        file.write_text(wrong)
        refused = await run("--replace")
        assert refused.exit_code == 1
        assert "InvalidDocument" in refused.output
