"""The documentation is true: its references are made from the code, its links and paths exist."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import click
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from console.cli.main import COMMANDS
from exchange.agreements import parse_agreement
from exchange.identifiers import MemberId
from exchange.journal.entries import Entry, Kind, Side, parse_entry
from exchange.keys import Algorithm, VerifyingKey
from exchange.log.checkpoint import open_checkpoint
from exchange.log.notes import VerifierKey
from exchange.messages.digest import check_content_digest
from exchange.messages.envelope import (
    Opened,
    RequestHead,
    ResponseHead,
    open_request,
    open_response,
)
from exchange.problems import CATALOGUE, Code
from mediator.administration.metrics import Metrics
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.settings import ServerSettings
from serving.settings import load, table
from tests.docs.generate import PAGES, ROOT, load_command, options_of, walk

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TOP = {path.name for path in ROOT.iterdir()}

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^()\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_PATH = re.compile(r"[A-Za-z.][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*/?")
_PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b(?!\.md)")  # schemas/examples/NAME.json
_LAO = re.compile(r"[\u0e80-\u0eff]")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as common renderers make them."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def _paths(document: Path) -> Iterator[str]:
    """What stands in backticks and looks like a path of this repository."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for code in _CODE.findall(text):
        path = code.partition("::")[0]
        if not _PATH.fullmatch(path) or "/" not in path or _PLACEHOLDER.search(path):
            continue
        if path.split("/")[0] in TOP:
            yield path


_NAMED_TEST = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`")


@pytest.mark.parametrize(
    ("page", "default"),
    [("docs/x-road.md", "tests/journeys/test_x_road.py"), ("docs/auditors.md", "")],
)
def test_every_test_that_a_page_names_is_there(page: str, default: str) -> None:
    """A rule that is said to be held by a test is held by one: its file defines that function."""
    named = _NAMED_TEST.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    for file, test in named:
        source = (ROOT / (file or default)).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {test}\(", source, re.MULTILINE), f"{file}::{test}"


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = load_command(name)
        if command is not None:
            for path, found, _ in walk(name, command):
                yield path, found


@pytest.mark.parametrize("page", PAGES)
def test_pages_made_from_the_code_are_up_to_date(page: str) -> None:
    """Settings, commands and problems read as the code of today makes them."""
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), (
        "write them anew with: python -m tests.docs.generate"
    )


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row for each setting, with its default and its sentence."""
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for name, default, sentence in table(ServerSettings):
        assert f"| `{name}` | {default} | {sentence} |" in page
        assert sentence, f"{name} says nothing of itself"


def test_every_command_and_option_is_documented() -> None:
    """docs/commands.md has a heading for each command and a row for each option."""
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for path, command in _commands():
        assert re.search(rf"^#+ saphan {re.escape(path)}$", page, re.MULTILINE), path
        for spelling, _, _ in options_of(command):
            if spelling.startswith("-"):
                assert f"`{spelling}`".replace("|", "\\|") in page, f"{path} {spelling}"


def test_every_command_and_option_helps() -> None:
    """A command says what it does, and an option what it is for."""
    for path, command in _commands():
        assert command.help, f"saphan {path} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.name == "output", (
                    f"saphan {path} {parameter.opts[0]} has no help"
                )


def test_every_command_is_there() -> None:
    """What `saphan --help` lists can be called."""
    missing = [name for name in COMMANDS if load_command(name) is None]
    assert not missing


@pytest.mark.parametrize("code", Code)
def test_every_problem_is_documented_in_both_languages(code: Code) -> None:
    """docs/problems.md has each code with cause and remedy in English and Lao."""
    page = (ROOT / "docs/problems.md").read_text(encoding="utf-8")
    entry = CATALOGUE[code]
    assert f"\n## {code.value}\n" in page
    for text in (entry.cause.en, entry.cause.lo, entry.remedy.en, entry.remedy.lo):
        assert text in page
    assert _LAO.search(entry.cause.lo), "the cause is not in Lao"
    assert _LAO.search(entry.remedy.lo), "the remedy is not in Lao"


def test_operators_are_told_of_real_problems() -> None:
    """What docs/operators.md says to do when a problem is seen names codes that exist."""
    page = (ROOT / "docs/operators.md").read_text(encoding="utf-8")
    rows = page.partition("## What to do when")[2].splitlines()
    seen = [name for row in rows for name in _CODE.findall(row.split("|")[1] if "|" in row else "")]
    camel = {name for name in seen if re.fullmatch(r"[A-Z][A-Za-z]+", name)}
    assert camel
    assert camel <= {code.value for code in Code}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file that exists and, with #, a heading in it."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{target} leads nowhere"
        assert found.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor and found.suffix == ".md":
            assert anchor in _anchors(found), f"{target}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_named_files_exist(document: Path) -> None:
    """A path of this repository that a page names in backticks is there."""
    missing = [path for path in _paths(document) if not (ROOT / path).exists()]
    assert not missing


def test_every_document_is_in_the_index() -> None:
    """docs/README.md leads to every page in docs/ and to every decision."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = {
        (ROOT / "docs" / target.partition("#")[0]).resolve() for target in _LINK.findall(index)
    }
    pages = {path.resolve() for path in ROOT.glob("docs/**/*.md")} - {ROOT / "docs/README.md"}
    assert not {_name(path) for path in pages - linked}


def test_decisions_are_numbered_and_complete() -> None:
    """A decision has its own number, a status, and says what else was considered."""
    decisions = sorted(ROOT.glob("docs/adr/*.md"))
    numbers = [path.name.split("-")[0] for path in decisions]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch("[0-9]{4}", number) for number in numbers)
    for decision in decisions:
        text = decision.read_text(encoding="utf-8")
        for heading in (
            "## Context",
            "## Decision",
            "## Consequences",
            "## Alternatives considered",
        ):
            assert heading in text, f"{decision.name} lacks {heading}"


# ---------------------------------------------------------------- examples that must be true


def _blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page that are marked with ``language``."""
    found: list[list[str]] = []
    marked: str | None = None
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            marked = line[3:] if marked is None else None
            found += [[]] if marked == language else []
        elif marked == language:
            found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def _message(block: str) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    head, _, body = block.partition("\n\n")
    first, *lines = head.split("\n")
    fields = [line.partition(": ") for line in lines]
    return first, tuple((name, value) for name, _, value in fields), body.encode()


def test_the_example_on_the_wire_verifies() -> None:
    """docs/standards.md shows a request and an answer that our verifier accepts as they stand."""
    (request, response), keys = _blocks("docs/standards.md", "http"), []
    for pem in _blocks("docs/standards.md", "pem"):
        key = load_pem_public_key(pem.encode())
        assert isinstance(key, EllipticCurvePublicKey)
        keys.append(key)
    first, fields, body = _message(request)
    method, target, _ = first.split(" ")
    address = "https://" + dict(fields)["host"]
    end_to_end = tuple(field for field in fields if field[0] != "host")
    head = RequestHead(method, address + target, end_to_end)
    created = int(re.findall(r"created=(\d+)", request)[0])

    def find(keyid: str) -> VerifyingKey:
        place = 0 if keyid in request else 1
        return VerifyingKey(keyid, Algorithm.ECDSA_P256_SHA256, keys[place])

    opened: Opened = open_request(head, find, now=created)
    (base,) = [block for block in _blocks("docs/standards.md", "") if block.startswith('"@method"')]
    assert opened.base.decode() == base
    check_content_digest(dict(fields)["content-digest"], sha256(body).digest())

    first, fields, body = _message(response)
    status = int(first.split(" ")[1])
    end_to_end = tuple(field for field in fields if field[0] != "content-length")
    open_response(head, ResponseHead(status, end_to_end), find, now=created)
    check_content_digest(dict(fields)["content-digest"], sha256(body).digest())
    assert dict(fields)["content-length"] == str(len(body))


def test_the_example_of_an_entry_is_canonical() -> None:
    """docs/standards.md shows an entry that reads back as it stands."""
    entries = [b for b in _blocks("docs/standards.md", "json") if b.startswith('{"at"')]
    assert len(entries) == 1
    assert parse_entry(entries[0].encode()).endpoint == "/disbursements"


def test_the_example_of_a_checkpoint_verifies() -> None:
    """docs/standards.md shows a checkpoint that the verifier key beside it signed."""
    page = (ROOT / "docs/standards.md").read_text(encoding="utf-8")
    (note,) = [block for block in _blocks("docs/standards.md", "") if "\n\n— " in block]
    (key,) = re.findall(r"`(\S+/journal\+[0-9a-f]{8}\+\S+)`", page)
    assert open_checkpoint(f"{note}\n".encode(), VerifierKey.parse(key)).size == 2


def test_the_example_of_an_agreement_is_one() -> None:
    """docs/standards.md shows an agreement that can be sealed."""
    documents = [b for b in _blocks("docs/standards.md", "json") if '"grants"' in b]
    assert len(documents) == 1
    assert parse_agreement(documents[0].encode()).id == "mof-mpi-2026"


def test_the_example_of_settings_loads() -> None:
    """docs/operators.md shows settings that a server takes."""
    (text,) = [b for b in _blocks("docs/operators.md", "yaml") if "listen:" in b]
    settings = load(ServerSettings, yaml.safe_load(text), where="example")
    assert settings.services


def test_every_metric_is_documented() -> None:
    """docs/operators.md names each metric of a server."""
    page = (ROOT / "docs/operators.md").read_text(encoding="utf-8")
    for line in Metrics().text().decode().splitlines():
        if line.startswith("# TYPE "):
            name = line.split(" ")[2]
            assert f"`{name}`" in page or name.endswith("_created"), name


async def _journal(folder: Path, entries: int) -> Path:
    """A closed journal with this many entries."""
    directory = folder / "journal"
    journal = await Journal.open(
        directory,
        origin="LA/GOV/MPI/ss1/journal",
        signing_key=Ed25519PrivateKey.generate(),
        keyring=KeyRing(directory / "keys"),
    )
    member = MemberId.parse("LA/GOV/MPI")
    at = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
    await asyncio.gather(
        *(
            journal.record(
                Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=at, event=f"number {number}"), member
            )
            for number in range(entries)
        )
    )
    await journal.close()
    return directory


def _verify_with_stock_tools(folder: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    (script,) = _blocks("docs/auditors.md", "python")
    program = folder / "verify_log.py"
    program.write_text(script, encoding="utf-8")
    paths = (program, directory / "log", directory / "journal.json")
    command = [sys.executable, "-I", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("entries", [1, 256, 700])
async def test_stock_tools_verify_a_journal(tmp_path: Path, entries: int) -> None:
    """The program of docs/auditors.md, without Saphan, accepts what the journal published."""
    directory = await _journal(tmp_path, entries)
    done = _verify_with_stock_tools(tmp_path, directory)
    assert done.returncode == 0, done.stderr
    assert f"{entries} entries" in done.stdout


@pytest.mark.parametrize("name", ["tile/entries/001", "tile/0/001", "checkpoint"])
async def test_stock_tools_notice_a_changed_byte(tmp_path: Path, name: str) -> None:
    """The program of docs/auditors.md refuses a log in which one byte was changed."""
    directory = await _journal(tmp_path, 600)
    file = directory / "log" / name
    data = bytearray(file.read_bytes())
    place = data.index(b"number 300") + 9 if "entries" in name else len(data) // 2
    data[place] ^= 1
    file.write_bytes(data)
    done = _verify_with_stock_tools(tmp_path, directory)
    assert done.returncode != 0
    if "entries" in name:
        assert "entry 300 " in done.stderr


_SHELL = re.compile(
    r"^(?:```|~~~)(?:sh|console)\b[^\n]*\n(.*?)^(?:```|~~~)", re.MULTILINE | re.DOTALL
)
_FORMATS = {"key", "sealed"}  # `saphan key store v1` is the label of a format and no command
_SAPHAN = re.compile(r"(?:^|[|;&(] *|\$ *|\.venv/bin/)saphan (.*)")


def _shown_commands(document: Path) -> Iterator[str]:
    """What a page tells its reader to run of `saphan`: of its shell blocks and in backticks."""
    text = document.read_text(encoding="utf-8")
    lines = [
        line for block in _SHELL.findall(text) for line in block.replace("\\\n", " ").split("\n")
    ]
    for shown in (*lines, *_CODE.findall(_FENCE.sub("", text).replace("\n", " "))):
        found = _SAPHAN.search(shown)
        if found is not None and not shown.lstrip().startswith("#"):
            yield found[1]


def _wrong(shown: str) -> str | None:
    """What of a command line `saphan` does not have; None when all is there."""
    words = re.split(r" +", re.split(r" [#|<>&;]|[`;)]", shown)[0].strip())
    command: click.Command | None = load_command(words[0]) if words[0] in COMMANDS else None
    if command is None:
        no_name = words[0] in _FORMATS or not re.fullmatch(r"[a-z][a-z-]*", words[0])
        return None if no_name else words[0]
    words = words[1:]
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            return words[0]
        command, words = below, words[1:]
    if "…" in words[:1]:  # of several commands
        return None
    known = {"--help", "-h"} | {
        spelling
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        option = re.match(r"--?[a-z][a-z-]*", word)
        if option is not None and option[0] not in known:
            return f"{command.name} {option[0]}"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_command_that_a_page_shows_is_there(document: Path) -> None:
    """A reader who types it off meets no unknown command and no unknown option."""
    wrong = {shown: what for shown in _shown_commands(document) if (what := _wrong(shown))}
    assert not wrong
