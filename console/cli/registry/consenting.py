"""`saphan registry consent`: a consumer agrees to what an open request breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from console.cli.agreement.files import certificates, private_key
from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE, registry
from console.cli.registry.shared import client_of, tell
from exchange.certificates.names import member_of
from exchange.identifiers import ServiceId
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from exchange.registrations import member_target, parse_member
from exchange.registry.consents import digest_of, seal_consent
from registry.http.client import RegistryClient
from registry.requests.lifecycle import Kind
from registry.requests.orders import parse_proposal
from registry.requests.submissions import parse_submission


@registry.command()
@click.argument("number", type=int)
@click.option("--certificate", type=FILE, required=True, help="Seal certificate (PEM).")
@click.option("--key", type=FILE, required=True, help="Its private key (PEM).")
@click.option("--dry-run", is_flag=True, help="Only show what would be consented to.")
@CLIENT
@JSON
def consent(
    number: int,
    certificate: Path,
    key: Path,
    dry_run: bool,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Consent, with a member's seal, to what request NUMBER breaks for that member."""
    client = client_of(url, api_key)
    leaf = certificates(certificate, "--certificate")[0]
    member = str(member_of(leaf))
    asked = [one for one in client.get(f"submissions/{number}")["breaking"]
             if member in one["missing"]]  # fmt: skip
    if not asked:
        raise Problem(
            Code.CONFLICT,
            where=f"submissions/{number}",
            detail=f"it lacks no consent of {member}",
        )
    handed_in = _Request(client, number)
    seal = signing_key(private_key(key), leaf)
    given = []
    for one in asked:
        before, after = handed_in.step(one["of"], one["before"])
        if (digest_of(before), digest_of(after)) != (one["before"], one["after"]):
            raise Problem(
                Code.DIGEST_MISMATCH,
                where=f"submissions/{number}",
                detail=f"the registry tells another change of {one['of']} than it shows",
            )
        given.append(seal_consent(one["of"], before, after, seal, leaf))
    lines = [line for one in asked for line in _lines(one)]
    if dry_run:
        tell({"of": [one["of"] for one in asked], "dry": True}, as_json, *lines,
             "Nothing was handed in (dry run).")  # fmt: skip
        return
    row = client.consent(number, given)
    tell(row, as_json, *lines, f"{member} consents to request {number}.")


class _Request:
    """What an open request brings, and what is published now."""

    def __init__(self, client: RegistryClient, number: int) -> None:
        self._client = client
        self._body = client.body(number)
        self._kind = Kind(client.get(f"submissions/{number}")["kind"])

    def step(self, of: str, known: str) -> tuple[bytes, bytes]:
        """The published document of a service or a schema, and the one that is handed in.

        Args:
            known: the SHA-256 of the published one.
        """
        if self._kind is Kind.OWN:
            proposal = parse_proposal(self._body)
            return self._client.target(proposal.path, known), proposal.data or b""
        service = ServiceId.parse(of)
        submission = parse_submission(self._body)
        record = parse_member(submission.files["member.json"], submission.member)
        after = next((one for one in record.services if one.id == service), None)
        sent = {member_target(record.member, name): data for name, data in submission.files.items()}
        return (
            self._client.openapi(service),
            b"" if after is None else sent.get(after.openapi_target or "", b""),
        )


def _lines(asked: dict[str, Any]) -> list[str]:
    ends = " (it is to go)" if asked["ends"] else ""
    return [
        f"{asked['of']}{ends}",
        *(
            f"  {one['where']}  {one['why']['en']}\n    {one['why']['lo']}"
            for one in asked["breaks"]
        ),
    ]
