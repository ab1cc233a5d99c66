"""Rules of exchange.agreements.mandate, and of agreements of kind audit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from exchange.agreements import Kind, Mandate, format_agreement, parse_agreement
from exchange.problems import Code, Problem

BASIS = {"en": "Law on State Inspection", "lo": "ກົດໝາຍວ່າດ້ວຍການກວດກາລັດ"}
DOCUMENT: dict[str, Any] = {
    "id": "sia-mpi-2026",
    "version": 1,
    "kind": "audit",
    "title": {"en": "Inspection of exchanges", "lo": "ການກວດກາການແລກປ່ຽນ"},
    "provider": "LA/GOV/MPI",
    "consumer": "LA/GOV/SIA/inspection",
    "grants": [
        {
            "service": "LA/GOV/MPI/auditing/journal",
            "endpoints": [{"method": "GET", "path": "/entries"}],
            "fields": ["*"],
        }
    ],
    "mandate": {
        "legal_basis": BASIS,
        "period": {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
        "fields": ["client", "service", "status"],
        "organisations": ["LA/GOV/MOF"],
    },
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_until": "2027-06-01T00:00:00Z",
}


def _parsed(change: Callable[[dict[str, Any]], object] = lambda document: None) -> Any:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return parse_agreement(json.dumps(document).encode())


def _mandate(**changes: Any) -> Mandate:
    mandate = _parsed(lambda document: document["mandate"].update(changes)).mandate
    assert mandate is not None
    return mandate  # type: ignore[no-any-return]


def _put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def test_the_canonical_form_is_read_back() -> None:
    """What is sealed holds every member of the mandate, lists sorted, and reads back the same."""
    agreement = _parsed()
    assert agreement.kind is Kind.AUDIT
    written = format_agreement(agreement)
    assert parse_agreement(written) == agreement
    assert json.loads(written)["mandate"] == {
        **DOCUMENT["mandate"],
        "services": [],
        "subjects": False,
        "hidden": False,
    }


def test_an_agreement_of_kind_exchange_says_nothing_of_a_mandate() -> None:
    """So what was sealed before there were mandates is the same bytes."""

    def change(document: dict[str, Any]) -> None:
        del document["mandate"]
        document["kind"] = "exchange"
        document["grants"][0]["service"] = "LA/GOV/MPI/oda-mis/projects"

    agreement = _parsed(change)
    assert agreement.kind is Kind.EXCHANGE
    assert (
        not {"kind", "mandate", "disclosure_delay_days"}
        & json.loads(format_agreement(agreement)).keys()
    )


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_put("kind", value="exchange"), "#"),
        (_put("kind", value="spying"), "#/kind"),
        (lambda document: document.pop("mandate"), "#"),
        (lambda document: document.pop("kind"), "#"),
        (_put("grants", 0, "service", value="LA/GOV/MPI/oda-mis/x"), "#/grants/0/service"),
        (_put("grants", 0, "fields", value=["/entries"]), "#/grants/0/fields"),
        (_put("mandate", "fields", value=["colour"]), "#/mandate/fields/0"),
        (_put("mandate", "fields", value=[]), "#/mandate/fields"),
        (_put("mandate", "period", value={}), "#/mandate/period"),
        (
            _put("mandate", "period", "until", value="2025-01-01T00:00:00Z"),
            "#/mandate/period/until",
        ),
        (_put("mandate", "organisations", value=["MOF"]), "#/mandate/organisations/0"),
        (_put("mandate", "subjects", value="yes"), "#/mandate/subjects"),
        (_put("mandate", "secrets", value=True), "#/mandate"),
        (_put("disclosure_delay_days", value=-1), "#/disclosure_delay_days"),
    ],
)
def test_what_is_no_mandate_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], object], place: str
) -> None:
    """Kind, mandate and the granted application go together, and each member is of its form."""
    with pytest.raises(Problem) as refused:
        _parsed(change)
    assert refused.value.code is Code.AGREEMENT_INVALID
    assert refused.value.where == f"agreement{place}"


def test_auditing_is_granted_by_mandates_alone() -> None:
    """An agreement without a mandate cannot open the journal."""

    def change(document: dict[str, Any]) -> None:
        del document["mandate"], document["kind"]

    with pytest.raises(Problem) as refused:
        _parsed(change)
    assert refused.value.where == "agreement#/grants/0/service"


@pytest.mark.parametrize(
    ("fields", "name", "shown"),
    [
        (["client"], "client", True),
        (["client"], "at", True),
        (["client"], "service", False),
        (["*"], "service", True),
        (["*"], "content", False),
        (["*", "content"], "content", True),
    ],
)
def test_what_is_shown(fields: list[str], name: str, shown: bool) -> None:
    """A named field, and the three that place an entry; all but the content with a star."""
    assert _mandate(fields=fields).shows(name) is shown


@pytest.mark.parametrize(
    ("condition", "where"),
    [("purpose", "query.purpose"), ("outcome", "query.outcome"), ("member", None), ("since", None)],
)
def test_what_is_not_shown_cannot_be_looked_for(condition: str, where: str | None) -> None:
    """A search tells of the fields that its conditions are about."""
    mandate = _mandate()
    if where is None:
        mandate.check_conditions([condition])
        return
    with pytest.raises(Problem) as refused:
        mandate.check_conditions([condition])
    assert (refused.value.code, refused.value.where) == (Code.FIELD_NOT_RELEASED, where)


def test_nobody_is_asked_about_without_the_right() -> None:
    """A mandate allows to ask by subject only where it says so."""
    _mandate(subjects=True).check_subject()
    with pytest.raises(Problem) as refused:
        _mandate().check_subject()
    assert refused.value.code is Code.OUTSIDE_MANDATE


BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
BEFORE, WITHIN, AFTER = (datetime(year, 6, 1, tzinfo=UTC) for year in (2025, 2026, 2027))


@pytest.mark.parametrize(
    ("since", "until", "period"),
    [
        (None, None, (BEGIN, END)),
        (WITHIN, None, (WITHIN, END)),
        (None, WITHIN, (BEGIN, WITHIN)),
        (BEGIN, END, (BEGIN, END)),
    ],
)
def test_what_is_left_open_of_a_period_is_the_mandates(
    since: datetime | None, until: datetime | None, period: object
) -> None:
    """A search without a beginning or an end has those of the mandate."""
    assert _mandate().period(since, until) == period


@pytest.mark.parametrize(
    ("since", "until", "where"),
    [
        (BEFORE, None, "query.since"),
        (None, AFTER, "query.until"),
        (END, None, "query.since"),
        (None, BEGIN, "query.until"),
    ],
)
def test_a_period_beyond_the_mandate_is_refused(
    since: datetime | None, until: datetime | None, where: str
) -> None:
    """And not cut in silence: the auditor would take a part for the whole."""
    with pytest.raises(Problem) as refused:
        _mandate().period(since, until)
    assert (refused.value.code, refused.value.where) == (Code.OUTSIDE_MANDATE, where)
