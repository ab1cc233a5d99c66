"""The documents of the once-only API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from exchange.documents import format_moment
from exchange.identifiers import ApplicationId
from exchange.once_only.elements import Element, describe
from exchange.once_only.evidence_requests import REASONS, Reason
from exchange.problems import Text
from mediator.once_only.allowance import Allowance
from mediator.once_only.values import Answered, Exchanged, Given, Missing


def source(element: Element, member_name: Text | None, known: Allowance) -> dict[str, Any]:
    """An element, who gives it, and whether the caller may have it as far as is known here."""
    described = describe(element)
    members = ("id", "version", "name", "definition", "schema", "subject", "legal_basis")
    service = element.source.service
    return {
        **{name: described[name] for name in members},
        "validity": described["validity"],
        "predicate_of": element.predicate_of,
        "source": {
            "service": str(service),
            "member": str(service.member),
            "name": None if member_name is None else member_name.as_dict(),
        },
        "allowed": known.allowed,
        "because": known.because,
    }


def evidence(answered: Answered, state: str, decide_within_s: int | None = None) -> dict[str, Any]:
    """All values and reasons."""
    client = answered.wanted.client
    told: dict[str, Any] = {
        "id": answered.wanted.id,
        "state": state,
        "at": format_moment(answered.at),
        "values": [_given(one, client) for one in answered.given],
        "missing": [_missing(one, client, answered.at) for one in answered.missing],
    }
    if decide_within_s is not None:
        told["decide_within_s"] = decide_within_s
    return told


def shown(answered: Answered) -> dict[str, Any]:
    """A preview as it is kept: what is told, and what a decision upon it is recorded with."""
    wanted = answered.wanted
    return {
        "told": evidence(answered, "preview"),
        "order": [element.id for element in wanted.elements],
        "purpose": wanted.purpose,
        "request": wanted.basis,
        "subject": wanted.subject,
    }


def decided(document: dict[str, Any], out: frozenset[str]) -> dict[str, Any]:
    """What is told of a preview (:func:`shown`) of which a person declined something."""
    told = document["told"]
    missing = {one["element"]: one for one in told["missing"]}
    for one in told["values"]:
        if one["element"] in out:
            missing[one["element"]] = {
                "element": one["element"],
                "reason": Reason.DECLINED.value,
                "message": REASONS[Reason.DECLINED].as_dict(),
                "source": one["source"],
            }
    return {
        **told,
        "state": "decided",
        "values": [one for one in told["values"] if one["element"] not in out],
        "missing": [missing[name] for name in document["order"] if name in missing],
    }


def _given(one: Given, client: ApplicationId) -> dict[str, Any]:
    return {
        "element": one.element.id,
        "version": one.element.version,
        "value": one.value,
        "source": str(one.element.source.service),
        "at": format_moment(one.at),
        "valid_until": format_moment(one.valid_until),
        "exchange": _exchange(one.exchange, client),
    }


def _missing(one: Missing, client: ApplicationId, at: datetime) -> dict[str, Any]:
    told: dict[str, Any] = {
        "element": one.element.id,
        "reason": one.reason.value,
        "message": REASONS[one.reason].as_dict(),
        "source": str(one.element.source.service),
    }
    if one.detail:
        told["detail"] = one.detail
    if one.code is not None:
        told["code"] = one.code
    if one.retry_after_s is not None:
        told["retry_after_s"] = one.retry_after_s
        told["until"] = format_moment(at + timedelta(seconds=one.retry_after_s))
    if one.exchange is not None:
        told["exchange"] = _exchange(one.exchange, client)
    return told


def _exchange(one: Exchanged, client: ApplicationId) -> dict[str, Any]:
    query = {
        "queryId": one.id,
        "xRoadInstance": client.instance,
        "memberClass": client.member_class,
        "memberCode": client.member_code,
        "subsystemCode": client.application_code,
    }
    return {"id": one.id, "request_id": one.request_id, "proof": f"/asic?{urlencode(query)}"}
