"""docs/lao-text.md says what happens."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters.text import codec
from adapters.text.tables import TABLES
from console.cli.main import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "lao-text.md"
SECTION = DOCUMENT.read_text("utf-8")
CONSOLE = re.findall(r"```console\n\$ saphan (.*)\n((?:.*\n)*?)```", SECTION)

FONT_MAP = re.search(r"```yaml\n(saphan_font_map.*?)```", SECTION, re.DOTALL) or ("", "")

codec.register()


@pytest.mark.parametrize(("command", "printed"), CONSOLE)
def test_the_commands_print_what_is_said(
    command: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example is run over a list of names in a Lao font's encoding."""
    names = "ທ້າວ ສົມພອນ ວົງສາ\nນາງ ບຸນມີ ພົມມະຈັນ ບ້ານໂພນສີນວນ\n"
    (tmp_path / "names.txt").write_bytes(names.encode("lswin"))
    (tmp_path / "archive-font.yaml").write_text(FONT_MAP[1], "utf-8")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.partition(" > ")[0])
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    if ">" in command:
        assert done.stdout_bytes.decode() == names
        assert done.stderr == printed
    else:
        assert done.stdout.startswith(printed)


def test_the_session_in_python_is_true() -> None:
    """The lines after >>> give what is printed below them."""
    block = re.search(r"```pycon\n(.*?)```", SECTION, re.DOTALL)
    assert block is not None
    examples = doctest.DocTestParser().get_doctest(block[1], {}, "names", None, None)
    results = doctest.DocTestRunner(verbose=False).run(examples)
    assert results.attempted == 6
    assert results.failed == 0


def test_every_encoding_is_in_the_table() -> None:
    """Name and source of each; the examples were found at all."""
    assert len(CONSOLE) == 3
    for name in TABLES:
        assert f"| `{name}` |" in SECTION
