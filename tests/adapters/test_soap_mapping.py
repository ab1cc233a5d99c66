"""Mappings of SOAP services: what does not agree with the WSDL is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from lxml import etree
from openapi_spec_validator import OpenAPIV31SpecValidator

import schemas
from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.documents import Documents
from adapters.soap.messages import Version, format_call
from adapters.soap.requests import plan
from adapters.soap.wrapping import Wrapped
from adapters.soap.wsdl import read_contract
from console.cli.adapter import adapter
from console.reference_world.trade_portal import FOLDER
from console.reference_world.trade_portal.service import TradePortal
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.every_type import NAMESPACE, write_wsdl, wsdl
from tests.adapters.trade import MAPPING, wrapped

TEXT = MAPPING.read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("  kind: soap", "  kind: soap\n  url: x", "/source/url", "unknown key"),
        ("../trade_portal/trade.wsdl", "none.wsdl", "/source", "cannot be read"),
        ("../trade_portal/trade.wsdl", "${WSDL}", "/source/wsdl", "part of the mapping"),
        ("${TRADE_PORTAL_URL}", "ftp://x", "/source/address", "http"),
        ("  zone:", "  port: None\n  zone:", "/source", "there is no port"),
        ("  zone:", "  decimals: floats\n  zone:", "/source/decimals", "not one of"),
        ("  zone:", "  token: abc\n  zone:", "/source/token", "environment"),
        ("  zone:", "  wsse: {user: a, password: b}\n  zone:", "/password", "environment"),
        ("  zone:", "  basic: {user: a}\n  zone:", "/source/basic", "missing"),
        ("call: GetTariff", "call: DropTariff", "/call", "no operation"),
        ("member: hs,", "member: code,", "/hs_code/member", "has no member 'code'; it has: hs"),
        ("direction: filter.direction", "direction: filter", "/direction", "no single value"),
        ("most: most", "fields: most", "/fields", "cannot be declared"),
        ("most: most", "most: filter.hsCode", "/procedures", "given twice"),
        ("fixed: {language: lo}", "cache_s: 1", "/procedures", "needs language"),
        ("fixed: {language: lo}", "fixed: {language: lo, most: x}", "/fixed/most", "whole number"),
        ("answer: procedures.procedure", "answer: procedures", "/procedures", "one value"),
        ("answer: procedures.procedure", "answer: total", "/procedures", "one value"),
        ("answer: line", "answer: line.line", "/tariff", "a list"),
        ("answer: procedure\n", "answer: procedure.step.number\n", "code}", "no members"),
        ("{UnknownProcedure: not_found}", "{UnknownProcedure: lost}", "/faults", "not one of"),
        ("/procedures/{code}:", "/procedures/{key}:", "{key}", "no parameter"),
        ("/tariff/{hs_code}:", "/procedures/{hs_code}:", "/endpoints", "two endpoints"),
        ("example: EXP-COF-01", "required: false", "/required", "needs it"),
        ('example: "0901"', "example: x", "/example", "form"),
        ("body: enquiry", "body: other", "/body", "no member"),
        ("body: enquiry", "cache_s: 3", "/cache_s", "no meaning"),
        ("cache_s: 300", "body: .", "/body", "no meaning"),
        ("method: POST", "method: PUT", "/method", "not one of"),
    ],
)
def test_what_does_not_agree_with_the_wsdl_is_refused(
    old: str, new: str, place: str, words: str
) -> None:
    """Before the service is asked, and before anything is published."""
    assert old in TEXT
    with pytest.raises(Problem) as caught:
        wrapped(text=TEXT.replace(old, new, 1))
    assert caught.value.code is Code.INVALID_MAPPING
    assert caught.value.where.startswith("trade-portal.yaml:")
    assert place in caught.value.where
    assert words in caught.value.detail


def test_a_missing_name_of_the_environment_is_told_when_the_source_is_opened() -> None:
    """Reading the mapping and its document need no secrets."""
    wrapping = wrapped()
    assert wrapping.document("trade-procedures", {})
    with pytest.raises(Problem) as caught:
        wrapping.open({}, Path())
    assert "TRADE_PORTAL_URL" in caught.value.detail


@pytest.mark.parametrize("code", ["trade-procedures", "trade-enquiries"])
def test_the_document_is_openapi_and_a_contract(code: str) -> None:
    """A foreign validator takes it, the mediator's contracts compile it, twice the same bytes."""
    shared = schemas.load_all()
    document = wrapped().document(code, shared)
    assert document == wrapped().document(code, shared)
    assert Contract.compile(document, shared)
    alone = wrapped().document(code, {})
    OpenAPIV31SpecValidator(orjson.loads(alone)).validate()


def test_an_operation_of_every_type_can_be_shown(tmp_path: Path) -> None:
    """Its document is a contract, too: choices, recursion, lists, attributes."""
    write_wsdl(tmp_path)
    path = _scan(tmp_path, "every.wsdl")
    document = kinds.read(path).document("every", {})
    OpenAPIV31SpecValidator(orjson.loads(document)).validate()
    assert Contract.compile(document, {})


# Scans.


def _scan(folder: Path, source: str) -> Path:
    path = folder / "mapping.yaml"
    result = CliRunner().invoke(adapter, ["scan", str(folder / source), "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path


def test_what_a_scan_proposes_answers_as_it_is(tmp_path: Path) -> None:
    """From a WSDL to an answering service: no line need be written."""
    with TradePortal() as portal:
        url = f"{portal.address}?wsdl"
        path = tmp_path / "new" / "mapping.yaml"
        result = CliRunner().invoke(
            adapter, ["scan", url, "--service", "trade", "-o", str(tmp_path / "new")]
        )
        assert result.exit_code == 0, result.output
        assert "unsure: SubmitEnquiry" in result.output
        assert {one.name for one in path.parent.iterdir()} == {
            "mapping.yaml", "mapping.kept-wsdl.json", "trade.openapi.json", "records.schema.json",
            "test-data.json",
        }  # fmt: skip
        checked = CliRunner().invoke(
            adapter, ["check", str(path), "--rows", "--with", "code=EXP-COF-01",
                      "--with", "hs=0901", "--with", "language=lo", "--json"]
        )  # fmt: skip
        assert checked.exit_code == 0, checked.output or checked.exception
        assert json.loads(checked.stdout)["findings"] == []
        tried = CliRunner().invoke(adapter, ["try", str(path), "/procedure/EXP-COF-01", "--json"])
        assert json.loads(tried.stdout)["body"]["authority"] == "MAF"


def test_a_scan_makes_up_records_of_the_types_of_a_wsdl(tmp_path: Path) -> None:
    """They keep the schema that is handed out, and can be sent as bodies; a seed makes the same."""
    write_wsdl(tmp_path)
    for name in ("first", "second"):
        result = CliRunner().invoke(
            adapter, ["scan", str(tmp_path / "every.wsdl"), "-o", str(tmp_path / name)]
        )
        assert result.exit_code == 0, result.output
    written = (tmp_path / "first" / "test-data.json").read_bytes()
    assert written == (tmp_path / "second" / "test-data.json").read_bytes()
    schema = orjson.loads((tmp_path / "first" / "records.schema.json").read_bytes())
    records = orjson.loads(written)["Ask"]
    assert len(records) == 20
    contract = read_contract(Documents(str(tmp_path / "every.wsdl")))
    asked = contract.operations["Ask"].input
    for record in records:
        Draft202012Validator({**schema, "$ref": "#/$defs/Ask"}).validate(record)
        record.pop("amount", None)  # may be null, which answers say and bodies cannot
        format_call(Version.SOAP_11, asked, record, contract.types)


def test_a_scan_proposes_reading_operations_and_comments_on_the_others(tmp_path: Path) -> None:
    """What may change something is opened by the owner, not by a guess."""
    for name in ("trade.wsdl", "trade.xsd"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    text = _scan(tmp_path, "trade.wsdl").read_text("utf-8")
    assert "wsdl: trade.wsdl\n" in text
    assert "      #/submit-enquiry:" in text
    wrapping = kinds.read(tmp_path / "mapping.yaml")
    assert [one.path for one in wrapping.services["trade"].endpoints] == [  # type: ignore[attr-defined]
        "/procedures", "/procedure/{code}", "/tariff/{hs}"
    ]  # fmt: skip
    # Without the sign of a comment it is a right endpoint.
    opened = tmp_path / "opened.yaml"
    opened.write_text(text.replace("      #", "      "), "utf-8")
    assert "/submit-enquiry" in kinds.read(opened).document("trade", {}).decode()


def test_an_operation_that_is_named_is_proposed_as_it_is(tmp_path: Path) -> None:
    """Whoever names one has decided; then it alone is in the mapping."""
    for name in ("trade.wsdl", "trade.xsd"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    result = CliRunner().invoke(
        adapter,
        ["scan", str(tmp_path / "trade.wsdl"), "--table", "SubmitEnquiry", "--table", "GetTariff"],
    )
    found = parse(result.stdout.encode(), "proposal", tmp_path)
    endpoints = found.entries()["services"].entries()["trade"].entries()["endpoints"].entries()
    assert [*endpoints] == ["/tariff/{hs}", "/submit-enquiry"]


def test_a_scan_marks_what_is_likely_personal(tmp_path: Path) -> None:
    """By the names of the members, in the form that XML has them."""
    schema = (
        f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' targetNamespace='{NAMESPACE}'>"
        "<xs:element name='Ask'><xs:complexType><xs:sequence>"
        "<xs:element name='FirstName' type='xs:string'/>"
        "<xs:element name='apiKey' type='xs:string'/>"
        "<xs:element name='office' type='xs:string'/></xs:sequence></xs:complexType></xs:element>"
        "</xs:schema>"
    )
    write_wsdl(tmp_path, wsdl(schema))
    result = CliRunner().invoke(adapter, ["scan", str(tmp_path / "every.wsdl"), "--json"])
    told = {(one["place"], one["code"]) for one in json.loads(result.stdout)["unsure"]}
    assert told >= {("Ask.FirstName", "personal-data"), ("Ask.apiKey", "secret")}
    assert not any("office" in place for place, _ in told)


def test_a_scan_takes_the_first_of_several_ports_and_tells_the_others(tmp_path: Path) -> None:
    """A mapping is of one port; which, is the owner's to say."""
    text = wsdl()
    second = text[text.index("<portType") : text.index("<service")]
    for name in ("Port", "Binding"):
        second = second.replace(f'"{name}"', f'"Other{name}"').replace(
            f"e:{name}", f"e:Other{name}"
        )
    port = (
        '<port name="Second" binding="e:OtherBinding"><soap:address location="http://a/"/></port>'
    )
    text = text.replace("<service", f"{second}<service").replace("</service>", f"{port}</service>")
    write_wsdl(tmp_path, text)
    path = _scan(tmp_path, "every.wsdl")
    assert "\n  port: Port\n" in path.read_text("utf-8")
    assert "other ports, which are left out: Second" in path.read_text("utf-8")
    path.write_text(path.read_text("utf-8").replace("  port: Port\n", ""), "utf-8")
    with pytest.raises(Problem, match="several ports"):
        kinds.read(path)


def test_an_object_that_needs_nothing_is_sent_empty(tmp_path: Path) -> None:
    """A wrapper of an optional list, as .NET has them; one that needs itself is refused."""
    schema = (
        f"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns:e='{NAMESPACE}'"
        f" targetNamespace='{NAMESPACE}'><xs:complexType name='Jobs'><xs:sequence>"
        "<xs:element name='job' type='xs:string' minOccurs='0' maxOccurs='unbounded'/>"
        "</xs:sequence></xs:complexType><xs:complexType name='Endless'><xs:sequence>"
        "<xs:element name='inner' type='e:Endless'/></xs:sequence></xs:complexType>"
        "<xs:element name='Ask'><xs:complexType><xs:sequence>"
        "<xs:element name='jobs' type='e:Jobs'/></xs:sequence></xs:complexType></xs:element>"
        "</xs:schema>"
    )
    text = (
        "saphan_mapping: 1\napplication: LA/GOV/A/b\ntitle: {en: A, lo: A}\n"
        "source: {kind: soap, wsdl: every.wsdl}\nservices:\n  a:\n    title: {en: A, lo: A}\n"
        "    endpoints:\n      /a: {operation: one, call: Ask, title: {en: A, lo: A}}\n"
    )
    write_wsdl(tmp_path, wsdl(schema))
    found = kinds.read_node(parse(text.encode(), "a.yaml", tmp_path))
    assert isinstance(found, Wrapped)
    (endpoint,) = found.mapping.services["a"].endpoints
    body = etree.fromstring(plan(endpoint, found.mapping.types, {}, "", b"").envelope)[0]
    assert [one.tag for one in body[0]] == ["jobs"]
    write_wsdl(
        tmp_path, wsdl(schema.replace("name='jobs' type='e:Jobs'", "name='x' type='e:Endless'"))
    )
    with pytest.raises(Problem, match="the message needs x"):
        kinds.read_node(parse(text.encode(), "a.yaml", tmp_path))


def test_an_operation_of_several_parts_is_refused_and_told(tmp_path: Path) -> None:
    """Parts beside each other in the body: the scan leaves it out, a mapping may not name it."""
    second = '<message name="Ask"><part name="more" element="e:shared"/>'
    write_wsdl(tmp_path, wsdl().replace('<message name="Ask">', second))
    text = (
        "saphan_mapping: 1\napplication: LA/GOV/A/b\ntitle: {en: A, lo: A}\n"
        "source: {kind: soap, wsdl: every.wsdl}\nservices:\n  a:\n    title: {en: A, lo: A}\n"
        "    endpoints:\n      /a: {operation: one, call: Ask, title: {en: A, lo: A}}\n"
    )
    with pytest.raises(Problem, match="several parts") as caught:
        kinds.read_node(parse(text.encode(), "a.yaml", tmp_path))
    assert caught.value.where.endswith("/call")
    result = CliRunner().invoke(adapter, ["scan", str(tmp_path / "every.wsdl")])
    assert isinstance(result.exception, Problem)
    assert "several parts" in result.exception.detail


def test_a_wsdl_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A person gets a problem, not the library's trace."""
    write_wsdl(tmp_path, "<a/>")
    for source in ("every.wsdl", "none.wsdl"):
        result = CliRunner().invoke(adapter, ["scan", str(tmp_path / source)])
        assert isinstance(result.exception, Problem)
        assert result.exception.code is Code.NOT_FOUND
