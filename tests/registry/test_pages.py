"""Rules of the directory's pages: complete, accessible, harmless, made again only when needed."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest

import schemas
from exchange.identifiers import MemberId
from exchange.once_only.elements import NO_ELEMENTS, format_elements, parse_elements
from exchange.registrations import MemberRecord, format_instance
from registry.directory.contents import Directory
from registry.directory.search import Kind
from registry.pages import FOLDER, Listed, Listing, Site, page_of, page_path
from registry.pages.site import page_name
from registry.pages.words import WORDS
from tests.registry.simulator import MOF, MPI, instance_record, member_files, member_record
from tests.registry.test_elements_published import element
from tests.registry.world import World

SERVICE = "LA/GOV/MPI/oda-mis/projects"
MARK = {
    "since": "2026-01-01",
    "until": "2027-01-01",
    "successor": f"{SERVICE}-2",
    "reason": {"en": "Replaced", "lo": "ຖືກແທນແລ້ວ"},
}


def listed(member: MemberId = MPI, version: int = 1, name: str = "Ministry") -> Listed:
    record = member_record(member, name=name)
    return Listed(version, record, member_files(record))


def listing(*members: Listed) -> Listing:
    return Listing(instance_record(), schemas.targets(), NO_ELEMENTS, members)


class Reading(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name == "href" and value]


def pages(folder: Path) -> dict[str, str]:
    below = folder / FOLDER
    return {str(file.relative_to(below)): file.read_text() for file in below.rglob("*.html")}


def test_every_page_is_there_in_both_languages(tmp_path: Path) -> None:
    """A page for each member, service, schema and code list, and one that leads to them."""
    Site(tmp_path).update(listing(listed(), listed(MOF)))
    found = pages(tmp_path)
    for language in ("lo", "en"):
        for one in (
            "index",
            "elements",
            "members/LA_GOV_MPI",
            "members/LA_GOV_MOF",
            "services/LA_GOV_MPI/LA_GOV_MPI_oda-mis_projects",
            "schemas/schemas.saphan.la_province_1",
            "code-lists/schemas.saphan.la_code-lists_province",
        ):
            assert f"{language}/{one}.html" in found
    assert "ອັດຕະປື" in found["lo/code-lists/schemas.saphan.la_code-lists_province.html"]
    assert "Attapeu" in found["en/code-lists/schemas.saphan.la_code-lists_province.html"]


def test_pages_are_accessible_and_lead_somewhere(tmp_path: Path) -> None:
    """Language, one main heading, captions, header cells with scope; every link has its page; no
    scripts and nothing from elsewhere."""
    Site(tmp_path).update(listing(listed()))
    found = pages(tmp_path)
    for path, text in found.items():
        page = Reading(text)
        names = [tag for tag, _ in page.tags]
        assert page.tags[0] == ("html", {"lang": path.partition("/")[0]})
        assert names.count("h1") == names.count("main") == 1
        assert names.count("table") == names.count("caption")
        assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
        assert not {"script", "img", "iframe", "form"} & set(names)
        for link in page.links:
            if not link.startswith("#"):
                target = (tmp_path / FOLDER / path).parent / link.partition("#")[0]
                assert target.resolve().is_file(), (path, link)


def test_texts_never_become_markup(tmp_path: Path) -> None:
    """What a member calls itself is shown as it is written."""
    evil = "<script>alert(1)</script>\"'&"
    Site(tmp_path).update(listing(listed(name=evil)))
    for text in pages(tmp_path).values():
        assert "<script" not in text
    assert "&lt;script&gt;" in pages(tmp_path)["en/index.html"]


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    """A change of one member leaves the pages of others alone; also after a restart."""
    site = Site(tmp_path)
    first, other = listed(), listed(MOF)
    assert site.update(listing(first, other)) == 3
    page = tmp_path / FOLDER / "en/members/LA_GOV_MOF.html"
    before = page.stat().st_mtime_ns
    assert Site(tmp_path).update(listing(first, other)) == 0
    assert Site(tmp_path).update(listing(listed(version=2, name="Another"), other)) == 1
    assert page.stat().st_mtime_ns == before
    assert "Another" in pages(tmp_path)["en/index.html"]


def test_who_leaves_is_not_shown(tmp_path: Path) -> None:
    """Pages of members and services that went are removed."""
    site = Site(tmp_path)
    site.update(listing(listed(), listed(MOF)))
    without: MemberRecord = replace(listed(version=2).record, services=())
    site.update(listing(Listed(2, without, {})))
    left = pages(tmp_path)
    assert not [path for path in left if "MOF" in path or "oda-mis_projects" in path]


def test_a_deprecated_operation_says_so(tmp_path: Path) -> None:
    """Since when, until when, what instead and why, in the page's language."""
    one = listed()
    path = next(path for path in one.files if "openapi" in path)
    document = json.loads(one.files[path])
    document["paths"]["/projects"]["get"]["x-saphan-deprecated"] = MARK
    files = {**one.files, path: json.dumps(document).encode()}
    Site(tmp_path).update(listing(Listed(1, one.record, files)))
    text = pages(tmp_path)["lo/services/LA_GOV_MPI/LA_GOV_MPI_oda-mis_projects.html"]
    assert "ຖືກແທນແລ້ວ" in text
    assert '<time datetime="2027-01-01">' in text


@pytest.mark.parametrize(
    "raw",
    [
        "../x.html",
        "lo/../x.html",
        "lo/.made.json",
        "lo//x.html",
        "%2e%2e/x.html",
        "lo/x.json",
        "/etc/passwd.html",
    ],
)
def test_no_path_leads_out(raw: str) -> None:
    """Only pages are handed out."""
    assert page_path(raw) is None


def test_names_of_files_are_distinct_and_short() -> None:
    """No two identifiers share a page, and a very long one has one too."""
    names = ["a/b", "a_b", "a~5Fb", "a?b", "..", "x" * 999, "x" * 998]
    assert len({page_name(one) for one in names}) == len(names)
    assert max(len(page_name(one)) for one in names) < 210
    assert all(lo != en or lo == en for lo, en in WORDS.values())


def test_the_directory_lists_itself() -> None:
    """Before anything is loaded there is nothing to show."""
    directory = Directory()
    assert directory.listing() is None


async def test_the_registry_serves_pages_and_search(world: World) -> None:
    """A registered member is found by part of its Lao name, and has its page, which may run
    nothing."""
    await world.register(MPI)
    found = await world.call(lambda: world.operator.get("search", q="ກະຊ"))
    assert [(one["kind"], one["id"]) for one in found["items"]] == [
        ("member", str(MPI)),
        ("service", SERVICE),
    ]
    shown = world.running.registrar.directory.listing()
    assert shown is not None
    await world.call(lambda: Site(world.directory / "public").update(shown))

    def ask() -> tuple[str, str]:
        with urlopen(f"{world.url}/pages/en/members/LA_GOV_MPI.html") as answer:  # noqa: S310
            return answer.headers["Content-Security-Policy"], answer.read().decode()

    policy, text = await world.call(ask)
    assert policy.startswith("default-src 'none'")
    assert "<h1>Ministry</h1>" in text


def with_elements() -> Listing:
    """MPI's service and a shared schema mark an element; the schema refers to a code list."""
    described = element("project.title", legal_basis={"en": "Decree 5", "lo": "ດຳລັດ 5"})
    dictionary = parse_elements(orjson.dumps({"elements": [described]}))
    marked = {"type": "string", "title": "Name", "x-saphan-element": "project.title"}
    province = {"$ref": "https://schemas.saphan.la/code-lists/province"}
    schema = {
        "$id": "https://schemas.saphan.la/paper/1",
        "title": "Paper",
        "x-title-lo": "ເອກະສານ",
        "properties": {"name": marked, "province": province},
    }
    one = listed()
    (service,) = one.record.services
    document = json.loads(one.files[service.openapi_target or ""])
    answer = {"content": {"application/json": {"schema": {"$ref": schema["$id"]}}}}
    document["paths"]["/projects"]["get"] = {
        "parameters": [{"name": "title", "in": "query", "schema": marked}],
        "responses": {"200": answer},
    }
    files = {**one.files, service.openapi_target or "": orjson.dumps(document)}
    own = {**schemas.targets(), "schemas/paper.1.json": orjson.dumps(schema)}
    return Listing(instance_record(), own, dictionary, (replace(one, files=files),))


def test_data_elements_have_pages_that_others_lead_to(tmp_path: Path) -> None:
    """Definition, source and legal basis in both languages; schemas and services lead to it, and
    to the code lists and schemas that they refer to; no link leads nowhere."""
    Site(tmp_path).update(with_elements())
    found = pages(tmp_path)
    assert "Decree 5" in found["en/elements/project.title.html"]
    assert "ດຳລັດ 5" in found["lo/elements/project.title.html"]
    links = {path: Reading(text).links for path, text in found.items()}
    up = "../elements/project.title.html"
    assert up in links["en/schemas/schemas.saphan.la_paper_1.html"]
    assert (
        "../code-lists/schemas.saphan.la_code-lists_province.html"
        in (links["lo/schemas/schemas.saphan.la_paper_1.html"])
    )
    service = links["lo/services/LA_GOV_MPI/LA_GOV_MPI_oda-mis_projects.html"]
    assert f"../{up}" in service
    assert "../../schemas/schemas.saphan.la_paper_1.html" in service
    assert "../schemas/schemas.saphan.la_paper_1.html" in links["en/elements/project.title.html"]
    for path, found_links in links.items():
        for link in found_links:
            if not link.startswith("#"):
                target = (tmp_path / FOLDER / path).parent / link.partition("#")[0]
                assert target.resolve().is_file(), (path, link)


def test_nothing_leads_to_an_element_that_went(tmp_path: Path) -> None:
    """Its page goes, and the pages that led to it are made again."""
    site = Site(tmp_path)
    site.update(with_elements())
    site.update(replace(with_elements(), elements=NO_ELEMENTS, own=dict(with_elements().own)))
    found = pages(tmp_path)
    assert not any("elements/" in path for path in found)
    assert not any("elements/project" in text for text in found.values())


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        (Kind.MEMBER, str(MPI)),
        (Kind.SERVICE, SERVICE),
        (Kind.ELEMENT, "project.title"),
        (Kind.SCHEMA, "https://schemas.saphan.la/paper/1"),
        (Kind.CODE_LIST, "https://schemas.saphan.la/code-lists/province"),
    ],
)
def test_what_is_found_has_its_page(tmp_path: Path, kind: Kind, identifier: str) -> None:
    """The search tells the page of everything that it finds."""
    Site(tmp_path).update(with_elements())
    assert (tmp_path / FOLDER / "lo" / page_of(kind, identifier)).is_file()
    directory = Directory()
    listing = with_elements()
    own = {"instance.json": format_instance(listing.instance), **listing.own}
    own["elements.json"] = format_elements(listing.elements)
    directory.load_own(own)
    directory.put(MPI, 1, listing.members[0].files)
    (found,) = [
        one for one in directory.search(identifier, frozenset({kind}), 0, 50)["items"]
        if one["id"] == identifier
    ]  # fmt: skip
    assert found["page"] == page_of(kind, identifier)
