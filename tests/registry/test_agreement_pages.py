"""An agreement as officials read it: whole, in both languages, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.agreements.articles import TOLD, articles
from console.agreements.rendering import Language, digest_of, page, plain_text
from console.cli.main import main
from exchange.agreements import Agreement, format_agreement, parse_agreement
from tests.exchange.test_agreements import DOCUMENT

HOSTILE = "<script>alert('x')</script>&\"{{7*7}}"
BASES = ["explicit", "statutory"]
FULL: dict[str, Any] = {
    **DOCUMENT,
    "title": {"en": f"Aid {HOSTILE}", "lo": "ການຊ່ວຍເຫຼືອ"},
    "subject": "required",
    "group": "offices",
    "purposes": [DOCUMENT["purposes"][0] | {"request_basis": ["explicit"]}],
    "limits": {"concurrent": 4, "exchange_s": 20},
    "retention": {"keep": "headers", "days": 365},
    "disclosure_delay_days": 90,
}
FULL["grants"] = [
    {**FULL["grants"][0], "rows": {"province": ["LA-VT", "ແຂວງ<b>"]}, "request_basis": BASES},
    *FULL["grants"][1:],
]
AGREEMENT = parse_agreement(json.dumps(FULL).encode())
MANDATE = parse_agreement(
    json.dumps(
        {
            **{key: DOCUMENT[key] for key in ("id", "version", "title", "provider", "consumer")},
            "kind": "audit",
            "grants": [
                {
                    "service": "LA/GOV/MPI/auditing/journal",
                    "endpoints": [{"method": "GET", "path": "/entries"}],
                    "fields": ["*"],
                }
            ],
            "mandate": {
                "legal_basis": {"en": "Law on inspection", "lo": "ກົດໝາຍວ່າດ້ວຍການກວດກາ"},
                "period": {"from": "2026-01-01T00:00:00Z", "until": None},
                "fields": ["client", "service"],
                "organisations": ["LA/GOV/MOH"],
                "services": ["LA/GOV/MPI/oda-mis/projects"],
                "subjects": True,
                "hidden": True,
            },
            "valid_from": DOCUMENT["valid_from"],
            "valid_until": DOCUMENT["valid_until"],
        }
    ).encode()
)


class Page(HTMLParser):
    """The texts of a page by the language that they are marked with, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def leaves(value: Any) -> list[str]:
    """Every value of a document, as it is written there."""
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [] if value is None else [str(value)]


# What the articles say in words of their own.
IN_WORDS = {"bodies", "headers", "required", "*", "provider", "consumer", "audit", "True", "False"}


def test_every_member_has_its_article() -> None:
    """A member that comes to agreements must be told to those who sign them."""
    assert TOLD.keys() == {
        field.name for field in dataclasses.fields(Agreement) if not field.name.startswith("_")
    }
    keys = {article.key for article in articles(AGREEMENT)} | {"mandate"}
    assert set(TOLD.values()) <= keys


@pytest.mark.parametrize("agreement", [AGREEMENT, MANDATE])
def test_nothing_of_the_document_is_left_out(agreement: Agreement) -> None:
    """Each value that the parties seal stands on the page and in the text, in both languages."""
    told = " ".join(Page(page(agreement, Language.BOTH)).texts)
    text = "\n".join(plain_text(agreement, Language.BOTH))
    plain = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", f"{told}")
    for value in leaves(json.loads(format_agreement(agreement))):
        shown = re.sub(r"^([0-9-]{10})T([0-9:]{8})Z$", r"\1 \2 UTC", value)
        assert value in IN_WORDS or shown in plain or value in plain, value
    for value in (str(agreement.provider), str(agreement.consumer), digest_of(agreement)):
        assert value in text


def test_what_parties_write_is_text() -> None:
    """No markup, no script and no template of a document becomes the page's."""
    made = Page(page(AGREEMENT, Language.BOTH))
    assert not {"script", "b", "img", "a"} & set(made.tags)
    assert f"Aid {HOSTILE}" in "".join(made.texts)


@pytest.mark.parametrize(("language", "left_out"), [("en", "ໄລຍະເວລາທີ່ມີຜົນ"), ("lo", "Validity")])
def test_one_language_is_told_alone(language: str, left_out: str) -> None:
    """And the page says which one it is in, for screen readers and printers."""
    made = page(AGREEMENT, Language(language))
    assert left_out not in made
    assert f'<html lang="{language}">' in made
    assert left_out not in "\n".join(plain_text(AGREEMENT, Language(language)))
    assert left_out in page(AGREEMENT, Language.BOTH)


def test_the_command_prints_it(tmp_path: Any) -> None:
    """Of a draft or of a sealed file; one form at a time."""
    file = tmp_path / "agreement.json"
    file.write_text(json.dumps(FULL))
    shown = CliRunner().invoke(main, ["agreement", "show", str(file), "--html", "--language", "lo"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("<!DOCTYPE html>")
    text = CliRunner().invoke(main, ["agreement", "show", str(file), "--text"])
    assert digest_of(AGREEMENT) in text.output
    both = CliRunner().invoke(main, ["agreement", "show", str(file), "--html", "--json"])
    assert both.exit_code == 2


@pytest.mark.parametrize("language", ["en", "lo"])
def test_the_page_fits_in_a_browser(tmp_path: Path, language: str) -> None:
    """In a narrow window nothing is wider than it, whatever parties write, as a browser lays it
    out; only where Chromium is found."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium here: how the page looks is not checked")
    words = {"en": "pneumono" * 30, "lo": "ການຊ່ວຍເຫຼືອ" * 20}
    grants = [{**FULL["grants"][0], "rows": {"province": ["x" * 190]}}]
    document = {**FULL, "title": words, "grants": grants}
    made = page(parse_agreement(json.dumps(document).encode()), Language(language))
    script = (
        "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth"
        "</script></body>"
    )
    file = tmp_path / "page.html"
    file.write_text(made.replace("</body>", script))
    words_of_it = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    done = subprocess.run(
        [*words_of_it, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout.decode())
    assert found is not None, done.stderr
    assert int(found[1]) <= int(found[2])
