"""Settings: a table, strictly read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from exchange.problems import Code, Problem
from mediator.settings import ConnectionMode, ServerSettings
from serving.settings import load, read, table

GOOD = """
server: LA/GOV/MOF/ss1
directory: data
address: https://127.0.0.1:5500
registry: {url: "http://127.0.0.1:1", root: root.json}
auth: {certificate: auth.pem, key: auth.key}
listen: {peer: "127.0.0.1:0"}
members:
  - id: LA/GOV/MOF
    seal: {certificate: seal.pem, key: seal.key}
applications:
  - {id: LA/GOV/MOF/budget, mode: http}
"""


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A settings file can be moved together with what it names."""
    file = tmp_path / "server.yaml"
    file.write_text(GOOD)
    settings = read(ServerSettings, file)
    assert settings.directory == tmp_path / "data"
    assert settings.applications[0].mode is ConnectionMode.HTTP
    assert settings.limits.concurrent > 0


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"colour": "red"}, "server.yaml.colour"),
        ({"server": None}, "server.yaml.server"),
        ({"server": "LA/GOV"}, "server.yaml.server"),
        ({"members": {}}, "server.yaml.members"),
        ({"registry": {"url": "x", "root": "y", "poll_s": "often"}}, "server.yaml.registry.poll_s"),
        ({"registry": {"url": "x", "root": "y", "poll_s": 0}}, "server.yaml.registry.poll_s"),
        ({"limits": {"read_s": float("nan")}}, "server.yaml.limits.read_s"),
        ({"limits": {"exchange_s": float("inf")}}, "server.yaml.limits.exchange_s"),
        ({"limits": {"read_s": 10**400}}, "server.yaml.limits.read_s"),
        ({"limits": {"concurrent": True}}, "server.yaml.limits.concurrent"),
        ({"limits": {"concurrent": 0}}, "server.yaml.limits.concurrent"),
        ({"address": "https://${NO_SUCH_VARIABLE_HERE}"}, "server.yaml.address"),
        (
            {"applications": [{"id": "LA/GOV/MOF/budget", "mode": "carrier-pigeon"}]},
            "server.yaml.applications[0].mode",
        ),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, object], where: str) -> None:
    """Unknown keys, wrong types and values out of range are refused with their place."""
    document = yaml.safe_load(GOOD) | change
    with pytest.raises(Problem) as caught:
        load(ServerSettings, document, where="server.yaml")
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, where)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00", ""])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is not a YAML mapping gets the code of settings, not a traceback."""
    file = tmp_path / "server.yaml"
    file.write_text(text)
    with pytest.raises(Problem) as caught:
        read(ServerSettings, file)
    assert caught.value.code is Code.INVALID_SETTINGS


def test_every_setting_has_a_sentence() -> None:
    """The table is the documentation."""
    rows = table(ServerSettings)
    assert len(rows) > 40
    assert all(sentence for _, _, sentence in rows)
