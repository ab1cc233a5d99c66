"""Handing in what a member signed, with the proofs of keys that lie on other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cryptography import x509

from console.cli.agreement.files import certificates, private_key, write
from console.cli.options import JSON
from console.cli.registry.group import FILE, registry
from console.cli.registry.shared import now, tell
from exchange.certificates.reading import fingerprint_of, parse_certificates
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.http.client import RegistryClient
from registry.offline import prepared
from registry.offline.member import Described, MemberFolder
from registry.requests.possession import PrivateKey, prove_digest
from registry.requests.submissions import Submission

PROOF = click.option(
    "--proof",
    "proofs",
    type=FILE,
    multiple=True,
    help="Proof of a key on another machine (saphan registry prove), over what was signed before; "
    "may be given again.",
)


def hand_in(
    client: RegistryClient,
    home: MemberFolder,
    described: Described,
    published_version: int,
    *,
    note: str,
    asks: bool,
    proofs: tuple[Path, ...],
    replaces: int | None = None,
) -> Any:
    """Sign what is described and hand it in; with proofs, hand in what was signed for them.

    Raises:
        Problem: ``InvalidSignatureValue`` when the key of a new certificate is not here, nor a
            proof of it: what was signed is kept then, and the way on is told; or what the registry
            says.
    """
    if proofs:
        submission = prepared.taken(home.directory, described, published_version, proofs)
    else:
        submission = home.sign(described, published_version, now(), note)
    lacking = prepared.unproven(submission, _published(client, described.member))
    if lacking:
        path = prepared.keep(home.directory, submission)
        raise _unproven(submission, lacking, path)
    row = client.submit(submission, replaces=replaces, asks=asks)
    prepared.drop(home.directory)
    return row


@registry.command()
@click.argument("certificate", type=FILE)
@click.option("--key", type=FILE, help="Its private key (PEM); else the one beside it.")
@click.option("--member", "member_text", required=True, help="Whose it is, such as LA/GOV/MPI.")
@click.option(
    "--role", required=True, metavar="SHA256", help="What was signed, as `saphan apply` tells it."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write."
)
@JSON
def prove(
    certificate: Path,
    key: Path | None,
    member_text: str,
    role: str,
    output: Path,
    as_json: bool,
) -> None:
    """Prove, on the machine where the key of CERTIFICATE lies, that a member holds it."""
    from registry.requests.possession import key_beside

    leaf = certificates(certificate, "CERTIFICATE")[0]
    member = MemberId.parse(member_text, "--member")
    found: PrivateKey | None = key_beside(certificate) if key is None else private_key(key)
    if found is None:
        raise click.UsageError(f"no key lies beside {certificate}: name it with --key")
    if len(role) != 64 or set(role) - set("0123456789abcdef"):
        raise click.UsageError("--role is a SHA-256 of 64 digits 0 to 9 and a to f")
    write(output, prove_digest(member, leaf, role, found))
    tell(
        {"file": str(output), "certificate": fingerprint_of(leaf), "member": str(member)},
        as_json,
        f"{output} proves that {member} holds the key of {fingerprint_of(leaf)[:16]}….",
        f"Next, where the member signs: saphan apply FILE --proof {output.name}",
    )


def _published(client: RegistryClient, member: MemberId) -> list[x509.Certificate]:
    """The certificates that the registry shows of a member."""
    try:
        document = client.get(f"members/{member}")["document"]
    except Problem as problem:
        if problem.code is Code.UNKNOWN_MEMBER:
            return []
        raise
    texts = [*document["seal_certificates"]]
    texts += [text for server in document["servers"] for text in server["auth_certificates"]]
    return [parse_certificates(text.encode())[0] for text in texts]


def _unproven(submission: Submission, lacking: tuple[x509.Certificate, ...], path: Path) -> Problem:
    digest = prepared.role_digest(submission)
    names = "; ".join(
        f"{one.subject.rfc4514_string()[:120]} ({fingerprint_of(one)[:16]}…)" for one in lacking
    )
    return Problem(
        Code.INVALID_SIGNATURE,
        where="--proof",
        detail=f"not handed in: the keys of {names} are not here. What was signed waits in {path}. "
        f"Where such a key lies: saphan registry prove CERTIFICATE.pem --role {digest} "
        f"--member {submission.member} -o NAME.proof; then here the same command again, with "
        "--proof NAME.proof",
        facts={
            "role": digest,
            "member": str(submission.member),
            "certificates": [fingerprint_of(one) for one in lacking],
        },
        status=422,
    )
