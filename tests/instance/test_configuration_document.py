"""The configuration document: read with all its mistakes, merged and replaced as a model says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from console.instance.configuration import Configuration, Connection, Consumer, Service
from console.instance.drafts import MAX_RIGHTS, read
from console.instance.merging import settle
from console.instance.reading import Mistaken
from console.instance.writing import write
from exchange.problems import Code
from serving.yaml_files import read_yaml

KEYS = (("GOV", "A"), ("GOV", "B"), ("COM", "A"))
Model = dict[tuple[str, str], tuple[str, dict[str, tuple[str, dict[str, Any]]]]]


def service(name: str, number: int = 0, **more: Any) -> dict[str, Any]:
    urls = {
        "specUrl": f"https://specs.example/{number}",
        "serviceUrl": f"http://b.example/{number}",
    }
    return {"id": name, **urls, **more}


def document(*members: dict[str, Any]) -> dict[str, Any]:
    return {"domain": "d.example", "instance": "LA", "members": list(members)}


def mistakes(value: object, known: Configuration | None = None) -> dict[str, str]:
    """What is wrong with a document, by the pointer."""
    with pytest.raises(Mistaken) as caught:
        settle(read(value), known)
    assert (caught.value.code, caught.value.status) == (Code.INVALID_DOCUMENT, 400)
    return {one.pointer: one.detail for one in caught.value.mistakes}


# ---------------------------------------------------------------------------- documents and model


@st.composite
def drafts(draw: st.DrawFn) -> dict[str, Any]:
    """A document without rights."""
    members = []
    for number, key in enumerate(draw(st.lists(st.sampled_from(KEYS), unique=True))):
        member: dict[str, Any] = {
            "name": f"{'/'.join(key)} {draw(st.sampled_from('12'))}",
            "class": key[0],
            "code": key[1],
        }
        if draw(st.booleans()) or number == 0:
            member["applications"] = draw(st.lists(applications(), max_size=3, unique_by=_id))
        members.append(member)
    return document(*members)


def _id(value: dict[str, Any]) -> str:
    return str(value["id"])


@st.composite
def applications(draw: st.DrawFn) -> dict[str, Any]:
    application: dict[str, Any] = {"id": draw(st.sampled_from("xyz"))}
    if draw(st.booleans()):
        application["connection"] = draw(st.sampled_from(["http", "https", "mtls"]))
    if draw(st.booleans()):
        made = st.builds(service, st.sampled_from("st"), st.integers(0, 3))
        application["services"] = draw(st.lists(made, max_size=2, unique_by=_id))
    return application


def with_rights(draw: st.DataObject, value: dict[str, Any], whole: Model) -> dict[str, Any]:
    """The document with rights for applications that there are, in either spelling."""
    there = [(key, name) for key, (_, found) in whole.items() for name in found]
    for member in value["members"]:
        for application in member.get("applications", ()):
            for each in application.get("services", ()):
                if not there or not draw.draw(st.booleans()):
                    continue
                each["rights"] = [
                    {"member": whole[key][0], "application": name}
                    if draw.draw(st.booleans())
                    else {"memberClass": key[0], "memberCode": key[1], "applicationId": name}
                    for key, name in draw.draw(st.lists(st.sampled_from(there), max_size=3))
                ]
    return value


def merged(base: Model, value: dict[str, Any]) -> Model:
    """The slow, obvious way to merge: what is described is put over what was there."""
    whole: Model = copy.deepcopy(base)
    names = {key: name for key, (name, _) in whole.items()}
    names |= {(one["class"], one["code"]): one["name"] for one in value["members"]}
    keys = {name: key for key, name in names.items()}
    for member in value["members"]:
        key = (member["class"], member["code"])
        found = whole.get(key, ("", {}))[1]
        for application in member.get("applications", ()):
            before = found.get(application["id"], ("https", {}))
            services = before[1]
            for each in application.get("services", ()):
                rights = list(services.get(each["id"], [None, None, []])[2])
                for right in each.get("rights", ()):
                    if "member" in right:
                        whom = [*keys[right["member"]], right["application"]]
                    else:
                        codes = ("memberClass", "memberCode", "applicationId")
                        whom = [right[code] for code in codes]
                    if whom not in rights:
                        rights.append(whom)
                services[each["id"]] = [each["specUrl"], each["serviceUrl"], rights]
            found[application["id"]] = (application.get("connection", before[0]), services)
        whole[key] = (member["name"], found)
    return whole


def modelled(configuration: Configuration) -> Model:
    """A configuration as the model holds it."""

    def services(found: tuple[Service, ...]) -> dict[str, Any]:
        return {
            each.id: [
                each.spec_url,
                each.service_url,
                [[one.member_class, one.member_code, one.application] for one in each.rights],
            ]
            for each in found
        }

    return {
        member.key: (
            member.name,
            {
                application.id: (application.connection.value, services(application.services))
                for application in member.applications
            },
        )
        for member in configuration.members
    }


@given(st.data())
def test_merging_and_replacing_follow_the_model(data: st.DataObject) -> None:
    """PATCH puts what is described over what is there, PUT takes nothing but what is described;
    either twice is the same as once; what is written reads back the same, as JSON and as YAML."""
    first = data.draw(drafts())
    first = with_rights(data, first, merged({}, first))
    base = merged({}, first)
    known = settle(read(first))
    assert modelled(known) == base
    second = data.draw(drafts())
    patch = with_rights(data, json.loads(json.dumps(second)), merged(base, second))
    both = settle(read(patch), known)
    assert modelled(both) == merged(base, patch)
    assert settle(read(patch), both) == both
    alone = with_rights(data, json.loads(json.dumps(second)), merged({}, second))
    assert modelled(settle(read(alone))) == merged({}, alone)
    assert settle(read(write(both))) == both
    text = yaml.safe_dump(write(both), allow_unicode=True, sort_keys=False).encode()
    assert settle(read(read_yaml(text, texts=True))) == both


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
_KEYS = """domain instance members name class code applications id connection services specUrl
serviceUrl rights member application memberClass"""
KNOWN = st.sampled_from(_KEYS.split())
LIKELY = st.recursive(
    st.text(max_size=8) | st.sampled_from(["LA", "http://a.example/", "https", "[", "http://[x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN, inner, max_size=6),
    max_leaves=30,
)


@given(JSON | LIKELY)
def test_any_value_is_a_configuration_or_mistaken(value: object) -> None:
    """Whatever is decoded, it is read or refused with places that are in it or lack in it."""
    try:
        configuration = settle(read(value))
    except Mistaken as mistaken:
        for one in mistaken.mistakes:
            at: Any = value
            for token in one.pointer.split("/")[1:]:
                at = at[int(token)] if isinstance(at, list) else at[token]
    else:
        assert settle(read(write(configuration))) == configuration


@given(st.text(max_size=20).map(lambda text: [text, f"{text}\u2028\x85\ufeff", "no", "007", "~"]))
def test_names_survive_yaml(texts: list[str]) -> None:
    """A name that is taken is written so that it reads back the same."""
    for text in texts:
        value = document({"name": text, "class": "GOV", "code": "1"})
        try:
            known = settle(read(value))
        except Mistaken:
            continue
        dumped = yaml.safe_dump(write(known), allow_unicode=True).encode()
        assert settle(read(read_yaml(dumped, texts=True))) == known


# ------------------------------------------------------------------------------------- mistakes


def test_all_mistakes_are_told_at_once() -> None:
    """Each mistake has its place, and one does not hide another."""
    found = mistakes(
        {
            "domain": "not a domain",
            "instanse": "LA",
            "members": [
                {"name": "A", "class": "G V", "code": 7, "applications": {}},
                {
                    "name": "A\n",
                    "class": "GOV",
                    "code": "1",
                    "applications": [
                        {
                            "id": "x" * 81,
                            "connection": "smtp",
                            "services": [
                                {"id": "s", "specUrl": "ftp://a/", "serviceUrl": "http://u:p@a/"},
                                {"id": "s", "specUrl": "file:///a", "serviceUrl": "http://a/?q=1"},
                            ],
                        }
                    ],
                },
            ],
        }
    )
    services = "/members/1/applications/0/services"
    assert found.keys() == {
        "", "/domain", "/members/0/class", "/members/0/code", "/members/0/applications",
        "/members/1/name", "/members/1/applications/0/id", "/members/1/applications/0/connection",
        f"{services}/0/specUrl", f"{services}/0/serviceUrl", f"{services}/1",
        f"{services}/1/serviceUrl",
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "http://", "http:///path", "http://a b/", "http://${HOME}.example/", "http://a/#f",
        "http://[::1", "http://169.254.169.254/latest", "http://224.0.0.1/", "http://a:0/",
        "http://[::ffff:169.254.169.254]/latest", "http://2852039166/latest", "http://0xa9fea9fe/",
        "http://169.254.43518/", "http://169.254.169.254./",
        "http://a:99999/", "file:///etc/passwd", "gopher://a/", "http://user@a/", "", "//a/",
    ],
)  # fmt: skip
def test_backends_are_plain_addresses(url: str) -> None:
    """A backend is http or https with a host: no user, no fragment, no variable of settings files,
    no address of the link itself, on which clouds tell secrets."""
    member = {"name": "A", "class": "GOV", "code": "1"}
    member |= {"applications": [{"id": "a", "services": [service("s", serviceUrl=url)]}]}
    assert mistakes(document(member)).keys() == {"/members/0/applications/0/services/0/serviceUrl"}


def test_rights_name_applications_of_the_document_in_either_spelling() -> None:
    """By name, by codes, or both when they agree; nobody else, and not two at once."""
    rights: list[dict[str, str]] = [
        {"member": "A", "application": "x"},
        {"memberClass": "GOV", "memberCode": "1", "applicationId": "x"},
        {"member": "A", "memberClass": "GOV", "memberCode": "1", "application": "x"},
    ]
    wrong: list[dict[str, str]] = [
        {"member": "B", "application": "x"},
        {"member": "A", "application": "y"},
        {"member": "A", "application": "x", "applicationId": "z"},
        {"memberClass": "GOV", "applicationId": "x"},
        {"application": "x"},
        {"member": "A", "memberClass": "GOV", "memberCode": "2", "application": "x"},
    ]

    def value(items: list[dict[str, str]]) -> dict[str, Any]:
        applications = [{"id": "x", "services": [service("s", rights=items)]}]
        member = {"name": "A", "class": "GOV", "code": "1", "applications": applications}
        return document(member)

    known = settle(read(value(rights)))
    ((_, _, made),) = known.services()
    assert made.rights == (Consumer("GOV", "1", "x"),)
    at = "/members/0/applications/0/services/0/rights"
    for item in wrong:
        assert mistakes(value([item])).keys() == {f"{at}/0"}, item
    assert mistakes(value(rights * MAX_RIGHTS)).keys() == {at}


def test_a_renamed_member_keeps_its_rights() -> None:
    """Rights follow the codes, so a new name changes nothing but what is written."""
    right = {"member": "Old", "application": "x"}
    member = {"name": "Old", "class": "GOV", "code": "1"}
    member |= {"applications": [{"id": "x", "services": [service("s", rights=[right])]}]}
    known = settle(read(document(member)))
    renamed = settle(read(document({"name": "New", "class": "GOV", "code": "1"})), known)
    (_, _, made) = next(renamed.services())
    assert made.rights == (Consumer("GOV", "1", "x"),)
    written = write(renamed)["members"][0]["applications"][0]["services"][0]["rights"]
    assert written == [{"member": "New", "application": "x"}]


def test_a_document_of_another_instance_is_not_merged() -> None:
    """The code of an instance is part of every identifier in it, and stays."""
    known = settle(read(document()))
    other = {"domain": "d.example", "instance": "TH"}
    assert mistakes(other, known).keys() == {"/instance"}


def test_two_members_do_not_share_a_name() -> None:
    """Rights name members by their names; also when the other one was there before."""
    one = {"name": "A", "class": "GOV", "code": "1"}
    two = {"name": "A", "class": "GOV", "code": "2"}
    assert mistakes(document(one, two)).keys() == {"/members/1"}
    assert mistakes(document(two), settle(read(document(one)))).keys() == {"/members/0/name"}


def test_the_spelling_of_the_example_document_is_read() -> None:
    """spec_url and service_url, codes that look like numbers, and no connection: https."""
    text = b"""
domain: sample.example
instance: LA
members:
- name: Interior
  class: GOV
  code: 007
  applications:
  - id: 0
    services:
    - id: s
      spec_url: https://specs.example/a
      service_url: http://b.example/a
      rights:
      - {member: Interior, application: 0}
"""
    known = settle(read(read_yaml(text, texts=True)))
    ((member, application, made),) = known.services()
    assert (member.code, application.id, application.connection) == ("007", "0", Connection.HTTPS)
    assert (made.spec_url, made.rights) == (
        "https://specs.example/a",
        (Consumer("GOV", "007", "0"),),
    )
