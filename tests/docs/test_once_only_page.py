"""What docs/once-only.md shows is what is read."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import orjson

from exchange.contracts.contract import Contract
from exchange.documents import format_document
from exchange.once_only.elements import parse_elements
from exchange.once_only.evidence_requests import Reason
from serving.yaml_files import read_yaml

PAGE = Path(__file__).parents[2].joinpath("docs/once-only.md").read_text("utf-8")
JSON = (("content-type", "application/json"),)


def test_the_elements_of_the_page_are_elements() -> None:
    """They parse as the registry parses them."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = parse_elements(format_document(read_yaml(block.encode())))
    assert [one.id for one in found.elements] == ["person.birth-date", "person.is-adult"]


def test_the_requests_of_the_page_keep_the_document() -> None:
    """Evidence request and decision are judged by the document that the API is."""
    document = files("mediator").joinpath("apis/once-only.yaml").read_bytes()
    contract = Contract.compile(orjson.dumps(read_yaml(document)), {})
    headers = (*JSON, ("x-road-client", "LA/GOV/DGC/e-services"))
    for path, block in (
        ("/evidence", r"LA/GOV/DGC/e-services\n\n(.*?)```"),
        ("/evidence/00000000-0000-0000-0000-000000000000/decision", r"/decision\n(.*?)```"),
    ):
        (body,) = re.findall(block, PAGE, re.DOTALL)
        match = contract.find("POST", path)
        match.operation.check_request(match, "", headers, body.encode())


def test_the_page_tells_every_reason() -> None:
    """A portal must have something to say to each."""
    for reason in Reason:
        assert f"| `{reason}` |" in PAGE
