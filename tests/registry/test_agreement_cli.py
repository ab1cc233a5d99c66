"""`saphan agreement`, as a person types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs.authority import create_development_pki
from console.cli.main import main
from exchange.agreements import (
    Agreement,
    Limits,
    Quota,
    open_revocation,
    parse_agreement,
    read_agreement,
)
from exchange.identifiers import MemberId


class Office:
    """Three members with seals, and the folder of the provider's pinned agreements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pinned = folder / "pinned"
        now = datetime.now(UTC)
        authority = create_development_pki(folder / "pki", "LA", at=now - timedelta(days=1))
        for code in ("MPI", "MOF", "MOH"):
            issued = authority.issue_seal(MemberId("LA", "GOV", code), at=now)
            issued.write(folder / f"{code}.pem", folder / f"{code}.key.pem")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["agreement", *words])

    def draft(self, consumer: str, *more: str, service: str = "LA/GOV/MPI/oda/x") -> Path:
        path = self.folder / "draft.json"
        words = ["--consumer", f"LA/GOV/{consumer}/budget", "--service", service]
        words += ["--endpoint", "GET /x", "--purpose", "p", "--legal-basis", "l"]
        result = self.run("draft", *words, *more, "-o", str(path))
        assert result.exit_code == 0, result.output
        return path

    def pin(self, consumer: str, version: int = 1) -> Result:
        """Draft as ``x``, seal by both, pin."""
        path = self.draft(consumer, "--id", "x")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
        for code in ("MPI", consumer):
            key = ["--certificate", f"{self.folder / code}.pem"]
            key += ["--key", f"{self.folder / code}.key.pem"]
            assert self.run("seal", str(path), *key, "-o", str(path)).exit_code == 0
        ca = str(self.folder / "pki/authorities.pem")
        return self.run("pin", str(path), "--to", str(self.pinned), "--ca", ca)

    @property
    def in_force(self) -> tuple[str, int]:
        found, _ = read_agreement((self.pinned / "x.jws").read_bytes())
        return found.consumer.member_code, found.version


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_pinning_pushes_out_only_what_it_follows(office: Office) -> None:
    """The next version does; an older one, and another pair's of the same name, do not."""
    for version in (1, 2, 2):
        assert office.pin("MOF", version).exit_code == 0
    for refused in (office.pin("MOF", 1), office.pin("MOH", 3)):
        assert refused.exit_code == 1
        assert "nothing was pinned" in refused.output
    assert office.in_force == ("MOF", 2)


def test_a_damaged_file_is_replaced(office: Office) -> None:
    """It opens nothing, so nothing is lost."""
    office.pinned.mkdir()
    (office.pinned / "x.jws").write_bytes(b"{}")
    assert office.pin("MOF").exit_code == 0
    assert office.in_force == ("MOF", 1)


@pytest.mark.parametrize("service", ["LA/GOV/M.P+I/oda/x%3Fy", f"LA/GOV/MPI/oda/{'long-' * 30}x"])
def test_a_name_is_made_of_any_parties(office: Office, service: str) -> None:
    """Identifiers hold characters that names of agreements do not."""
    parse_agreement(office.draft("MOF", service=service).read_bytes())


def test_a_draft_in_yaml_says_each_thing_once(office: Office) -> None:
    """Who seals a key that comes twice seals what nobody read."""
    path = office.folder / "draft.yaml"
    path.write_text("id: a\nid: b\n")
    key = ["--certificate", f"{office.folder}/MPI.pem", "--key", f"{office.folder}/MPI.key.pem"]
    result = office.run("seal", str(path), *key, "-o", str(office.folder / "out"))
    assert result.exit_code == 1
    assert "comes twice" in result.output
    assert not (office.folder / "out").exists()


def test_limits_are_drafted_and_shown(office: Office) -> None:
    """Quota and limits stand in the draft as they were asked for, and people can read them."""
    path = office.draft(
        "MOF", "--per-day", "9", "--per-second", "2", "--limit", "exchange_s=20", "--limit",
        "concurrent=4",
    )  # fmt: skip
    drafted = parse_agreement(path.read_bytes())
    assert drafted.quota == Quota(per_day=9, per_second=2)
    assert drafted.limits == Limits(concurrent=4, exchange_s=20)
    shown = office.run("show", str(path)).output
    assert "quota:    per_day 9, per_second 2" in shown
    assert "limits:   concurrent 4, exchange_s 20" in shown


def test_a_draft_may_be_without_purposes(office: Office) -> None:
    """Applications that speak X-Road name none; a purpose without its legal basis is none."""
    path = office.folder / "draft.json"
    words = ["--consumer", "LA/GOV/MOF/budget", "--service", "LA/GOV/MPI/oda/x"]
    words += ["--endpoint", "GET /x", "-o", str(path)]
    for half in (["--purpose", "p"], ["--legal-basis", "l"]):
        assert office.run("draft", *words, *half).exit_code == 2
        assert not path.exists()
    result = office.run("draft", *words)
    assert "need not name a purpose" in result.output
    assert parse_agreement(path.read_bytes()).purposes == ()


@pytest.mark.parametrize("limit", ["per_hour=3", "concurrent", "concurrent=-1", "exchange_s=໒"])
def test_a_limit_that_is_none_is_not_drafted(office: Office, limit: str) -> None:
    """What would not be held is refused when it is written, with the names that are known."""
    words = ["--consumer", "LA/GOV/MOF/budget", "--service", "LA/GOV/MPI/oda/x", "--purpose", "p"]
    words += ["--endpoint", "GET /x", "--legal-basis", "l", "-o", str(office.folder / "draft.json")]
    result = office.run("draft", *words, "--limit", limit)
    assert result.exit_code == 2
    assert "exchange_s" in result.output
    assert not (office.folder / "draft.json").exists()


def _mandate(office: Office, *more: str) -> Path:
    path = office.folder / "mandate.json"
    words = ["--auditor", "LA/GOV/MOF/inspection", "--organisation", "LA/GOV/MPI"]
    words += ["--legal-basis", "Law on State Inspection", "--from", "2026-01-01"]
    result = office.run("mandate", *words, *more, "--id", "x", "-o", str(path))
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize(
    ("options", "doors"),
    [
        ((), {"journal": 5}),
        (("--subjects",), {"journal": 5, "usage": 1}),
        (("--field", "*", "--field", "content", "--hidden"), {"journal": 7}),
        (("--usage-only",), {"usage": 1}),
    ],
)
def test_a_mandate_opens_what_it_needs(
    office: Office, options: tuple[str, ...], doors: dict[str, int]
) -> None:
    """The doors follow from what is shown, so that no mandate shows what it cannot be asked for."""
    drafted = parse_agreement(_mandate(office, *options).read_bytes())
    found = {grant.service.service_code: len(grant.endpoints) for grant in drafted.grants}
    assert found == doors


def test_a_mandate_is_sealed_and_pinned_like_an_agreement(office: Office) -> None:
    """By the auditor and the audited; `show` says what it shows."""
    path = _mandate(office, "--subjects", "--until", "2027-01-01")
    for code in ("MPI", "MOF"):
        key = ["--certificate", f"{office.folder / code}.pem"]
        key += ["--key", f"{office.folder / code}.key.pem"]
        assert office.run("seal", str(path), *key, "-o", str(path)).exit_code == 0
    ca = str(office.folder / "pki/authorities.pem")
    pinned = office.run("pin", str(path), "--to", str(office.pinned), "--ca", ca)
    assert pinned.exit_code == 0, pinned.output
    shown = office.run("show", str(office.pinned / "x.jws")).output
    assert "Law on State Inspection" in shown
    assert "before 2027-01-01T00:00:00Z" in shown
    assert "about persons: yes" in shown


def test_one_text_for_many_consumers(office: Office) -> None:
    """Each has an agreement of its own; sealed and pinned together, or none of them."""
    pattern, listed = office.draft("MOF", "--id", "offices"), office.folder / "consumers"
    listed.write_text("# offices\nLA/GOV/MOF/budget\nLA/GOV/MOH/reports\n\nLA/GOV/MOF/budget\n")
    drafts, sealed = office.folder / "drafts", office.folder / "sealed"
    made = office.run("group", str(pattern), "--consumers", str(listed), "-o", str(drafts))
    assert made.exit_code == 0, made.output
    files = sorted(drafts.iterdir())
    assert [file.name for file in files] == ["offices-mof-budget.json", "offices-moh-reports.json"]
    texts = [json.loads(file.read_text()) for file in files]
    assert {**texts[0], "id": "", "consumer": ""} == {**texts[1], "id": "", "consumer": ""}

    def seal(code: str, *each: Path) -> Result:
        key = ["--certificate", f"{office.folder / code}.pem"]
        key += ["--key", f"{office.folder / code}.key.pem", "-o", str(sealed)]
        return office.run("seal", *map(str, each), *key)

    def pin() -> Result:
        to = ["--to", str(office.pinned), "--ca", str(office.folder / "pki/authorities.pem")]
        return office.run("pin", *map(str, sorted(sealed.iterdir())), *to)

    assert seal("MOF", *files).exit_code == 1  # of one of them it is no party
    assert not sealed.exists()
    assert seal("MPI", *files).exit_code == 0
    assert seal("MOF", sealed / "offices-mof-budget.jws").exit_code == 0
    refused = pin()
    assert (refused.exit_code, office.pinned.exists()) == (1, False)
    assert seal("MOH", sealed / "offices-moh-reports.jws").exit_code == 0
    assert pin().exit_code == 0
    assert len(list(office.pinned.iterdir())) == 2


def test_a_list_of_consumers_is_read_strictly(office: Office) -> None:
    """A line that is no application is named by its number; two that would be called the same are
    refused."""
    pattern, listed = office.draft("MOF", "--id", "x" * 60), office.folder / "consumers"
    for text, told in (
        ("LA/GOV/MOF/budget\nLA/GOV/MOF\n", "consumers:2"),
        ("# none\n", "names 0 applications"),
        ("LA/GOV/MOF/budget\nLA/GOV/MOH/budget\n", "shorter id"),
    ):
        listed.write_text(text)
        words = ["group", str(pattern), "--consumers", str(listed), "-o", str(office.folder / "o")]
        result = office.run(*words)
        assert result.exit_code == 1
        assert told in result.output


def test_a_group_is_one_thing_to_every_command(office: Office) -> None:
    """Sealed, pinned, shown, renewed and revoked as a folder; what says something else is told; of
    two groups in a folder one is named."""
    listed = office.folder / "consumers"
    listed.write_text("LA/GOV/MOF/budget\nLA/GOV/MOH/reports\n")
    drafts, sealed = office.folder / "drafts", office.folder / "sealed"
    pattern = str(office.draft("MOF", "--id", "offices"))
    words = ["group", pattern, "--consumers", str(listed), "-o", str(drafts)]
    assert office.run(*words).exit_code == 0

    def seal(code: str, what: Path) -> Result:
        key = ["--certificate", f"{office.folder / code}.pem"]
        key += ["--key", f"{office.folder / code}.key.pem"]
        return office.run("seal", str(what), *key, "-o", str(sealed))

    def pin(what: Path) -> Result:
        to = ["--to", str(office.pinned), "--ca", str(office.folder / "pki/authorities.pem")]
        return office.run("pin", str(what), *to)

    def seal_all(folder: Path) -> None:
        assert seal("MPI", folder).exit_code == 0  # the provider, once
        for code, application in (("MOF", "budget"), ("MOH", "reports")):
            assert seal(code, sealed / f"offices-{code.lower()}-{application}.jws").exit_code == 0
        assert pin(sealed).exit_code == 0

    seal_all(drafts)
    assert office.pin("MOF").exit_code == 0  # x, of no group
    shown = json.loads(office.run("show", str(office.pinned), "--json").stdout)
    assert shown["group"] == "offices"
    told = [(one["consumer"], one["agreement"], one["seals"]) for one in shown["members"]]
    assert told == [
        ("LA/GOV/MOF/budget", "offices-mof-budget/1", 2),
        ("LA/GOV/MOH/reports", "offices-moh-reports/1", 2),
    ]
    text = office.run("show", str(office.pinned)).output
    assert "2 consumers" in text
    assert "says something else" not in text
    page = office.run("show", str(office.pinned), "--html").output
    for told in ("LA/GOV/MOF/budget", "offices-moh-reports/1", "A group of 2 agreements"):
        assert told in page
    lines = office.run("show", str(office.pinned), "--text", "--language", "en").output
    *_, first, second, digest = lines.splitlines()
    listed_lines = f"{first}\n{second}\n".encode()
    assert digest == f"SHA-256 {sha256(listed_lines).hexdigest()}"
    assert digest.removeprefix("SHA-256 ") in page
    renewed = office.folder / "renewed"
    words = ["renew", str(office.pinned), "--now", "--days", "30", "-o", str(renewed)]
    assert office.run(*words).exit_code == 0
    names = [(one.version, one.group) for one in map(_parsed, sorted(renewed.iterdir()))]
    assert names == [(2, "offices")] * 2
    seal_all(renewed)
    changed = json.loads((renewed / "offices-moh-reports.json").read_text()) | {"purposes": []}
    (renewed / "offices-moh-reports.json").write_text(json.dumps(changed))
    assert "reports: offices-moh-reports/2, seals: 0" in office.run("show", str(renewed)).output
    assert office.run("show", str(renewed)).output.count("says something else") == 1
    assert office.run("show", str(renewed), "--html").exit_code == 1
    other = {**changed, "id": "other", "group": "others"}
    (renewed / "other.json").write_text(json.dumps(other))
    assert "offices, others: choose with --group" in office.run("show", str(renewed)).output
    assert office.run("show", str(renewed), "--group", "others").exit_code == 0
    assert "holds no group none" in office.run("show", str(renewed), "--group", "none").output
    key = ["--certificate", f"{office.folder}/MPI.pem", "--key", f"{office.folder}/MPI.key.pem"]
    words = ["revoke", str(office.pinned), *key, "--reason", "over", "--to", str(office.pinned)]
    assert office.run(*words).exit_code == 0
    ended = [open_revocation(file.read_bytes())[0] for file in office.pinned.glob("*.revocation.*")]
    assert {(one.agreement, one.version) for one in ended} == {
        ("offices-mof-budget", 2),
        ("offices-moh-reports", 2),
    }
    refused = pin(sealed)
    assert (refused.exit_code, "nothing was pinned" in refused.output) == (1, True)


def _parsed(path: Path) -> Agreement:
    return parse_agreement(path.read_bytes())
