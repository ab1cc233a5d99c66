"""Rules of exchange.paths: one path means one template, as it does to the backend."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.contracts.paths import PathTable, variables
from exchange.problems import Code, Problem


def table(*templates: str) -> PathTable[str]:
    found: PathTable[str] = PathTable()
    for template in templates:
        found.add(template, template)
    return found


ROUTES = table(
    "/", "/projects", "/projects/", "/projects/{code}", "/projects/latest",
    "/projects/{code}/disbursements", "/projects/latest/{year}", "/{list}/by-province/{province}",
    "/ແຂວງ", "/a/{x}/c", "/a/b/{y}", "/files/{x}/{y}/{z}",
)  # fmt: skip

FOUND = [
    ("", "/", {}),
    ("/", "/", {}),
    ("/projects", "/projects", {}),
    ("/projects/", "/projects/", {}),
    ("/projects/LA-1", "/projects/{code}", {"code": "LA-1"}),
    ("/projects/latest", "/projects/latest", {}),
    ("/projects/l%61test", "/projects/latest", {}),
    ("/projects/Latest", "/projects/{code}", {"code": "Latest"}),
    ("/projects/latest/disbursements", "/projects/latest/{year}", {"year": "disbursements"}),
    ("/projects/%E0%BA%81", "/projects/{code}", {"code": "ກ"}),
    ("/projects/a%20b", "/projects/{code}", {"code": "a b"}),
    ("/projects/a+b", "/projects/{code}", {"code": "a+b"}),
    ("/projects/%2520", "/projects/{code}", {"code": "%20"}),
    ("/projects/a%3Bb", "/projects/{code}", {"code": "a;b"}),
    ("/" + quote("ແຂວງ"), "/ແຂວງ", {}),
    ("/a/b/c", "/a/b/{y}", {"y": "c"}),
    ("/a/x/c", "/a/{x}/c", {"x": "x"}),
    ("/projects/by-province/LA-AT", "/{list}/by-province/{province}",
     {"list": "projects", "province": "LA-AT"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "template", "values"), FOUND)
def test_found(path: str, template: str, values: dict[str, str]) -> None:
    """Concrete segments win from the left (OpenAPI 3.1.1 section 4.8.8.2), compared decoded."""
    assert ROUTES.find(path) == (template, values)


REFUSED = [
    "projects", "/nothing/here", "/projects//", "//", "//projects", "/projects/.", "/projects/..",
    "/projects/%2e%2e", "/projects/%2E", "/projects/a%2Fb", "/projects/a%5Cb",
    "/projects/%252e%252e", "/projects/a%252Fb", "/projects/a%255cb", "/projects/a%2500",
    "/projects/a\\b",
    "/projects/a;v=1", "/projects/latest;x", "/projects/%00", "/projects/a%0Ab", "/projects/%FF",
    "/projects/%C0%AF", "/projects/%zz", "/projects/%4", "/projects/ກ", "/projects/a b",
    "/projects/a?b", "/projects/a#b", "/projects/{code}", "/a/b", "/a/b/c/d", "/" + "a/" * 70,
    "/projects/" + "a" * 9000, "/files/a//c", "/projects/latest\n",
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_refused(path: str) -> None:
    """What no template means, and what two servers could read in two ways."""
    with pytest.raises(Problem) as caught:
        ROUTES.find(path)
    assert caught.value.code is Code.UNKNOWN_ENDPOINT


@pytest.mark.parametrize(
    "template",
    ["", "a", "/{a", "/a}", "/{}", "/a{b}", "/{a}.json", "/{a}{b}", "//", "/a//b", "/{a}/{a}",
     "/a?b", "/a#b", "/..", "/a/%2e", "/a;b", "/a%2Fb", "/" + "x/" * 70],
)  # fmt: skip
def test_bad_templates(template: str) -> None:
    """A template is made of whole segments, each literal or one variable."""
    with pytest.raises(ValueError, match=r".+"):
        variables(template)


def test_equal_templates() -> None:
    """Templates that differ only in names of variables are identical (section 4.8.8.2)."""
    with pytest.raises(ValueError, match=r"/a/\{b\}"):
        table("/a/{b}", "/a/{c}")
    with pytest.raises(ValueError, match="/b"):
        table("/b", "/%62")


SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}", "{z}", "ກ"])
TEMPLATES = st.lists(SEGMENTS, min_size=1, max_size=4, unique=True).map(
    lambda parts: "/" + "/".join(parts)
)


def obvious(templates: list[str], path: str) -> tuple[str, dict[str, str]] | None:
    """Try every template; prefer the one whose first templated segment comes last, and so on."""
    segments = [unquote(part) for part in path.split("/")[1:]]
    fits = []
    for template in templates:
        parts = template.split("/")[1:]
        values = {
            part[1:-1]: segment
            for part, segment in zip(parts, segments, strict=False)
            if part.startswith("{")
        }
        if len(parts) == len(segments) and all(
            segment if part.startswith("{") else part == segment
            for part, segment in zip(parts, segments, strict=True)
        ):
            fits.append(([part.startswith("{") for part in parts], template, values))
    return min(fits)[1:] if fits else None


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(TEMPLATES, min_size=1, max_size=8),
    st.lists(st.sampled_from(["a", "b", "c", "%61", "%E0%BA%81", ""]), min_size=1, max_size=4),
)
def test_the_table_agrees_with_trying_everything(templates: list[str], parts: list[str]) -> None:
    """The trie finds what an obvious search through all templates finds."""
    known: dict[str, str] = {}
    for template in templates:
        shape = "/".join("{}" if part.startswith("{") else part for part in template.split("/"))
        known.setdefault(shape, template)
    path = "/" + "/".join(parts)
    routes = table(*known.values())
    expected = obvious(list(known.values()), path)
    if expected is None:
        with pytest.raises(Problem):
            routes.find(path)
    else:
        assert routes.find(path) == expected
