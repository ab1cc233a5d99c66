"""`saphan adapter add`: what stands in a person's files stays, and what is missing comes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from console.cli.adding import file_with
from console.cli.main import main
from console.cli.yaml_lists import add_items
from exchange.problems import Code, Problem

MEMBER = """\
member: LA/GOV/MOES
# who we are
name: {en: Education, lo: ສຶກສາ}
applications:
  - id: LA/GOV/MOES/old  # stays
    name: {en: Old, lo: ເກົ່າ}

# what we offer
services: []
"""
SERVER = "server: LA/GOV/MOES/ss1\nlisten: {peer: '127.0.0.1:5601'}\n"
ADD = "saphan adapter add x/mapping.yaml --member member.yaml --server ss1.yaml"


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scanned database, a description and settings."""
    database = sqlite3.connect(tmp_path / "x.db")
    database.execute("CREATE TABLE book (id INTEGER PRIMARY KEY)")
    database.close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "member.yaml").write_text(MEMBER, "utf-8")
    (tmp_path / "ss1.yaml").write_text(SERVER)
    (tmp_path / "ss1.yaml").chmod(0o600)
    done = saphan("scan", "sqlite:///x.db", "--application", "LA/GOV/MOES/library", "-o", "x")
    assert done.exit_code == 0, done.output
    return tmp_path


def saphan(*words: str) -> Result:
    return CliRunner().invoke(main, ["adapter", *words])


def add() -> Result:
    return saphan("add", "x/mapping.yaml", "--member", "member.yaml", "--server", "ss1.yaml")


def test_what_is_missing_is_added_and_the_rest_stays(office: Path) -> None:
    """Comments, order and rights of the files; the paths lead to the mapping and the contract."""
    assert add().exit_code == 0
    text = (office / "member.yaml").read_text("utf-8")
    application = "  - id: LA/GOV/MOES/library\n    name:\n      en: library\n      lo: library\n"
    application += "    servers:\n    - LA/GOV/MOES/ss1\n"
    service = "[{id: LA/GOV/MOES/library/x, title: {en: x, lo: x}, openapi: x/x.openapi.json}]"
    assert text == MEMBER.replace("ເກົ່າ}\n", f"ເກົ່າ}}\n{application}").replace("[]", service)
    settings = (office / "ss1.yaml").read_text()
    added = "services:\n  - id: LA/GOV/MOES/library/x\n    adapter: x/mapping.yaml\n"
    assert settings == SERVER + added
    assert (office / "ss1.yaml").stat().st_mode & 0o777 == 0o600
    assert (office / "x" / "x.openapi.json").stat().st_size


def test_a_file_stays_where_it_is_with_its_ends_of_lines(office: Path) -> None:
    """A link stays a link to the file that is written; lines end as they did."""
    (office / "kept").mkdir()
    real = (office / "ss1.yaml").rename(office / "kept" / "ss1.yaml")
    (office / "ss1.yaml").symlink_to(real)
    crlf = MEMBER.replace("\n", "\r\n").encode()
    (office / "member.yaml").write_bytes(crlf)
    assert add().exit_code == 0
    assert (office / "ss1.yaml").is_symlink()
    assert "services" in real.read_text()
    lines = (office / "member.yaml").read_bytes().splitlines(keepends=True)
    assert len(lines) > len(crlf.splitlines())
    assert all(line.endswith(b"\r\n") for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of others")
def test_a_file_keeps_its_owner(office: Path) -> None:
    """The server reads its settings after root has added to them."""
    os.chown(office / "ss1.yaml", 65534, 65534)
    assert add().exit_code == 0
    known = (office / "ss1.yaml").stat()
    assert (known.st_uid, known.st_gid, known.st_mode & 0o777) == (65534, 65534, 0o600)


def test_adding_twice_is_adding_once(office: Path) -> None:
    """By their ids; nothing but the contract is written then."""
    add()
    before = [(office / name).read_text("utf-8") for name in ("member.yaml", "ss1.yaml")]
    done = add()
    assert done.exit_code == 0
    assert "member.yaml" not in done.stdout
    assert before == [(office / name).read_text("utf-8") for name in ("member.yaml", "ss1.yaml")]


def test_a_mapping_of_another_member_is_refused(office: Path) -> None:
    """Nothing is written."""
    path = office / "member.yaml"
    path.write_text(MEMBER.replace("member: LA/GOV/MOES", "member: LA/GOV/MOF"), "utf-8")
    before = path.read_text("utf-8")
    done = add()
    assert done.exit_code == 1
    assert "LA/GOV/MOF" in done.output
    assert path.read_text("utf-8") == before
    assert (office / "ss1.yaml").read_text() == SERVER


def test_what_are_no_settings_of_a_server_is_refused(office: Path) -> None:
    """Nothing is written."""
    (office / "ss1.yaml").write_text("listen: {}\n")
    done = add()
    assert done.exit_code == 1
    assert "server" in done.output
    assert (office / "member.yaml").read_text("utf-8") == MEMBER


def test_the_files_that_are_at_hand_are_named(office: Path) -> None:
    """Here and one folder below; two of a kind are none."""
    assert file_with("member", office) == office / "member.yaml"
    (office / "other").mkdir()
    (office / "other" / "member.yaml").write_text("member: LA/GOV/MOF\n")
    assert file_with("member", office) is None
    assert "--server ss1.yaml" in saphan("check", "x/mapping.yaml", "--rows").stderr


@pytest.mark.parametrize(
    ("command", "following"),
    [
        ("scan sqlite:///x.db", "saphan adapter check FILE --rows"),
        ("scan sqlite:///x.db -o new", "saphan adapter check new/mapping.yaml --rows"),
        ("check x/mapping.yaml", "saphan adapter check x/mapping.yaml --rows"),
        ("check x/mapping.yaml --rows", ADD),
        ("try x/mapping.yaml /book", ADD),
        ("try x/mapping.yaml /book/9", "saphan adapter check x/mapping.yaml --rows"),
        ("openapi x/mapping.yaml", ADD),
        ("drift x/mapping.yaml", "saphan adapter check x/mapping.yaml --rows"),
        (ADD.removeprefix("saphan adapter "), "saphan apply member.yaml --yes --wait"),
    ],
)
def test_each_command_says_the_next(office: Path, command: str, following: str) -> None:
    """As the last line of standard error, with names that can be typed."""
    done = saphan(*command.split())
    assert done.stderr.splitlines()[-1] == f"Next: {following}", done.output
    assert "Next:" not in done.stdout


@pytest.mark.parametrize("text", ["", "- a\n", "services: 1\n", "services: [a", "a: &x 1\nb: *y\n"])
def test_a_file_that_cannot_be_added_to_is_told(text: str, tmp_path: Path) -> None:
    """With what a person can write into it."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(Problem) as caught:
        add_items(path, {"services": [{"id": "A"}]})
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert "id: A" in caught.value.detail


_words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12)
_items = st.lists(st.dictionaries(st.sampled_from("abc"), _words, min_size=1), max_size=3)


@example(before={"first": "\xa0"}, item={"x": ""}, flow=False)
@given(
    before=st.fixed_dictionaries({"first": _words}, optional={"list": _items, "last": _items}),
    item=st.dictionaries(st.sampled_from("xyz"), _words, min_size=1),
    flow=st.sampled_from([None, True, False]),
)
def test_whatever_stands_there_one_item_is_added(
    before: dict[str, Any], item: dict[str, str], flow: bool | None, tmp_path_factory: Any
) -> None:
    """In block and flow style, in the middle and at the end; every line of before is there."""
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    text = "# begin\n" + yaml.safe_dump(before, allow_unicode=True, default_flow_style=flow)
    path.write_text(text, "utf-8")
    try:
        added = add_items(path, {"list": [item]}).decode()
    except Problem:
        assert "\n{" in text  # a whole file in flow style is a person's to change
        return
    assert yaml.safe_load(added) == before | {"list": [*before.get("list", []), item]}
    assert added.startswith("# begin\n")
