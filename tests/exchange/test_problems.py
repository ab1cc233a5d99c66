"""Rules of exchange.problems."""

from __future__ import annotations

import re

import pytest

from exchange.problems import CATALOGUE, Blame, Code, Entry, Problem, Side, Text

CODES = list(Code)
# One term for one thing, in every message: what people learn on one screen helps on the next.
TERMS = {
    r"\bcertificates?\b": "ໃບຢັ້ງຢືນ",
    r"\bsignature\b": "ລາຍເຊັນ",
    r"\bagreement\b": "ຂໍ້ຕົກລົງ",
    r"\bproviders?\b": "ຜູ້ໃຫ້ບໍລິການ",
    r"\bsecurity servers?\b": "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພ",
    r"\bregistry\b": "ທະບຽນກາງ",
    r"\bjournal\b": "ບັນທຶກ",
    r"\bmember\b": "ສະມາຊິກ",
    r"\bapplication\b": "ແອັບພລິເຄຊັນ",
    r"\bpurpose\b": "ຈຸດປະສົງ",
    r"\bquota\b": "ໂຄຕາ",
    r"\bdirectory\b": "ສາລະບານ",
}


def sentences(entry: Entry) -> list[Text]:
    return [entry.cause, entry.remedy]


def test_every_code_is_in_the_catalogue() -> None:
    """A Problem of any code can be raised and explained."""
    assert set(CATALOGUE) == set(Code)


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained_in_both_languages(code: Code) -> None:
    """Cause and remedy are whole sentences in English and in Lao script, and none is left to do."""
    for text in sentences(CATALOGUE[code]):
        assert re.fullmatch(r"[A-Z].*[.]", text.en, re.DOTALL), text.en
        assert text.en.isascii()
        assert text.lo.endswith("."), text.lo
        lao = sum("\u0e80" <= character <= "\u0eff" for character in text.lo)
        assert lao >= 15, text.lo
        assert lao > 0.3 * len(re.sub(r"/?\{\w+\}", "", text.lo)), text.lo
        assert "TODO" not in text.en + text.lo


@pytest.mark.parametrize("code", CODES)
def test_lao_is_written_in_one_way(code: Code) -> None:
    """Only Lao and ASCII characters, no vowel without its consonant, tone marks before AM."""
    for text in sentences(CATALOGUE[code]):
        assert re.fullmatch(r"[\u0e81-\u0edf\x20-\x7e]+", text.lo), text.lo
        assert not re.search(r"(?:^|[\x20-\x7e])[\u0eb0-\u0ebc\u0ec8-\u0ecd]", text.lo), text.lo
        assert "\u0ecd\u0eb2" not in text.lo, text.lo  # AM has a character of its own
        assert not re.search(r"\u0ecd[\u0ec8-\u0ecb]\u0eb2", text.lo), text.lo


@pytest.mark.parametrize("code", CODES)
def test_one_term_for_one_thing(code: Code) -> None:
    """Where the English sentence has a term of the glossary, the Lao sentence has its word."""
    for text in sentences(CATALOGUE[code]):
        for english, lao in TERMS.items():
            if re.search(english, re.sub(r"\{\w+\}", "", text.en)):
                assert lao in text.lo, (text.en, text.lo)


@pytest.mark.parametrize("code", CODES)
def test_what_must_be_typed_is_the_same_in_both_languages(code: Code) -> None:
    """Header names, commands, paths and file names are not translated."""
    typed = r"\b(?:X-[A-Za-z-]+|Exchange-\w+|Content-\w+|Retry-After|RFC \d+|getOpenAPI|OpenAPI)\b"
    literal = rf"{typed}|/r1/\S+|\{{\w+\}}|docs/\w+\.md|saphan [a-z ]+ (?:verify|check)|/healthz"
    for text in sentences(CATALOGUE[code]):
        for word in re.findall(literal, text.en):
            assert word.rstrip(".") in text.lo, (word, text.lo)


@pytest.mark.parametrize("code", CODES)
def test_the_status_fits_the_blame(code: Code) -> None:
    """RFC 9110 section 15: who broke the rules shows in the class of the status."""
    entry = CATALOGUE[code]
    assert 400 <= entry.status <= 599
    if entry.blame in {Blame.PROVIDER, Blame.NETWORK}:
        assert entry.status >= 500
    if entry.blame is Blame.CALLER:
        assert entry.status < 500
    if entry.retryable:
        assert entry.status in {403, 429, 502, 503, 504}


def test_names_are_camel_case_and_unique() -> None:
    """PR-REST: an error type is a prefix and CamelCase names; clients match them as they are."""
    values = [code.value for code in Code]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", value) for value in values)


@pytest.mark.parametrize(
    ("side", "code", "error_type"),
    [
        (Side.PROVIDER, Code.ACCESS_DENIED, "Server.ServerProxy.AccessDenied"),
        (Side.CONSUMER, Code.UNKNOWN_MEMBER, "Server.ClientProxy.UnknownMember"),
        (Side.CONSUMER, Code.REGISTRY_STATE_EXPIRED, "Server.ClientProxy.OutdatedGlobalConf"),
    ],
)
def test_x_road_clients_recognise_the_types(side: Side, code: Code, error_type: str) -> None:
    """The names that X-Road publishes keep working."""
    assert f"{side}.{code}" == error_type


def test_a_problem_says_code_place_and_particulars() -> None:
    """The text of a Problem is for logs; without particulars it is the cause."""
    problem = Problem(Code.INVALID_HEADER, where="x-road-id", detail="it appears twice")
    assert str(problem) == "InvalidHeader at x-road-id: it appears twice"
    bare = Problem(Code.NOT_FOUND)
    assert str(bare) == f"NotFound: {CATALOGUE[Code.NOT_FOUND].cause.en}"
    assert (bare.where, bare.detail, bare.facts) == ("", "", {})


def test_a_raiser_may_know_better_than_the_catalogue() -> None:
    """Status and retryability come from the catalogue unless they are given."""
    entry = CATALOGUE[Code.PEER_TIMEOUT]
    assert (Problem(Code.PEER_TIMEOUT).status, Problem(Code.PEER_TIMEOUT).retryable) == (
        entry.status,
        entry.retryable,
    )
    own = Problem(Code.PEER_TIMEOUT, status=503, retryable=False)
    assert (own.status, own.retryable, own.blame) == (503, False, entry.blame)


def test_facts_are_the_problem_s_own() -> None:
    """Changing what was handed in does not change the Problem."""
    facts = {"limit": 5}
    problem = Problem(Code.QUOTA_EXCEEDED, facts=facts)
    facts["limit"] = 6
    assert problem.facts == {"limit": 5}
