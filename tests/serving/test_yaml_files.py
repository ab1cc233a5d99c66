"""YAML that people write."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

import pytest
import yaml

from serving.yaml_files import read_own, read_yaml

BOMB = "a: &a [1,1]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)
)


def test_aliases_and_merges_are_read() -> None:
    """What people use of YAML is there; a merged value may be replaced."""
    text = b"base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  a: 3\nagain: *base\n"
    assert read_yaml(text) == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 3, "b": 2},
        "again": {"a": 1, "b": 2},
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "x: [{a: 1, b: 2, a: 1}]",
        BOMB,
        "a: &a [*a]",
        "[" * 5000,
        "a: 2026-99-99",
        "a: !!python/object/apply:os.system [ls]",
        "a: [",
        "\ud800".encode("utf-16", "surrogatepass").decode("latin-1"),
    ],
)
def test_whatever_is_wrong_is_one_kind_of_error(text: str) -> None:
    """A key twice, a bomb, a circle, depths, dates that are none, foreign tags, nonsense."""
    with pytest.raises(yaml.YAMLError):
        read_yaml(text.encode("latin-1"))


@pytest.mark.parametrize(
    "document",
    [
        files("registry").joinpath("http/openapi.yaml"),
        *(one for one in files("mediator").joinpath("apis").iterdir() if one.name.endswith("yaml")),
    ],
    ids=lambda document: document.name,
)
def test_our_own_documents_read_alike(document: Traversable) -> None:
    """What is read quickly because it is ours is as strict as what people write."""
    data = document.read_bytes()
    assert read_own(data) == read_yaml(data) != {}
