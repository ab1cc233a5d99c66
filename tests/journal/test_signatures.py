"""Every signature that can be verified is; what cannot be is counted, and never taken for good."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from cryptography.x509 import ReasonFlags

from certs.authority import create_development_pki
from certs.revocation import Revoked, make_crl
from console.cli.main import main
from exchange.evidence.revocation import check_crl
from exchange.journal.entries import Entry, Kind
from exchange.journal.sealed_parts import SealedPart
from exchange.keys import SigningKey
from exchange.problems import Code, Problem
from mediator.journal.evidence import EvidenceStore
from mediator.journal.recovery import LOCK
from mediator.journal.verify import Verdict, Verified, verify
from mediator.journal.verify.signatures import Signed, Signers
from mediator.journal.verify.signers import find_signers
from mediator.journal.verify.state import read_state, write_state
from mediator.journal.verify.stated import stated_of
from tests.journal.exchanges import MOF, MPI, Tell, World
from tests.journal.test_what_is_signed import SIGNED, Records
from tests.journal.world import QUICK, entry, journal_in

ALGORITHMS = ("ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512")


def signers(world: World, **changes: Any) -> Signers:
    """All certificates of a world."""
    found = find_signers(
        world.directory / "nowhere",
        certificates={
            world.key_of(member).keyid: world.seals[member].certificate for member in (MOF, MPI)
        },
        authorities=world.pki.authorities,
    )
    return replace(found.signers, **changes)


def told(world: World, tell: Tell | None = None, member: Any = MOF) -> Verdict:
    """What verification says of one exchange, of which servers made what ``tell`` does."""
    asyncio.run(world.exchange(1, **({"tell": tell} if tell else {})))
    return verify(world.journals[member], signers=signers(world))


def of(kind: Kind, lie: Tell) -> Tell:
    return lambda entry, part: lie(entry, part) if entry.kind is kind else (entry, part)


def signed_anew(key: SigningKey, old: str, new: str) -> Tell:
    """Other parameters, and a right signature over them."""

    def lie(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        base = part.base.replace(old.encode(), new.encode())
        assert base != part.base
        if entry.certificate is not None and entry.certificate == old:
            entry = entry._replace(certificate=new)
        return entry, part._replace(base=base, signature=key.sign(base))

    return lie


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("member", [MOF, MPI], ids=["consumer", "provider"])
def test_honest_signatures_verify(tmp_path: Path, algorithm: str, member: Any) -> None:
    """Of request and answer, on both sides."""
    verdict = told(World(tmp_path, algorithm=algorithm), member=member)
    assert verdict.findings == ()
    assert verdict.signed == Signed(verified=2)


def test_of_every_kind_of_record_the_signature_verifies(tmp_path: Path) -> None:
    """All that servers record: those of signed messages are verified, of others none is missed."""
    line = ("x-road-request-id", "5f0c")
    records = Records(World(tmp_path, asked=(line,), answered=(line,)))
    asyncio.run(records.write())
    verdict = verify(records.directory, signers=signers(records.world))
    assert verdict.findings == ()
    assert verdict.signed == Signed(verified=len(SIGNED))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.RESPONSE])
def test_random_bytes_are_no_signature(tmp_path: Path, algorithm: str, kind: Kind) -> None:
    """Over a right signature base; without certificates they pass, and are said not to be
    verified."""

    def lie(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        return entry, part._replace(signature=bytes(reversed(part.signature)))

    world = World(tmp_path, algorithm=algorithm)
    verdict = told(world, of(kind, lie))
    (found,) = verdict.findings
    index = 0 if kind is Kind.REQUEST else 1
    assert (found.code, found.index) == (Code.INVALID_SIGNATURE, index)
    assert found.file.startswith("segments/")
    blind = verify(world.journals[MOF], signers=Signers())
    assert blind.good
    assert blind.signed == Signed(without_certificate=2)


@pytest.mark.parametrize("signature", [b"\x00", bytes(64), bytes(1 << 16)])
def test_a_signature_of_any_length_is_judged(tmp_path: Path, signature: bytes) -> None:
    """Nothing that a record may hold stops the verification."""
    lie = of(Kind.REQUEST, lambda entry, part: (entry, part._replace(signature=signature)))
    (found,) = told(World(tmp_path), lie).findings
    assert found.code is Code.INVALID_SIGNATURE


def test_the_algorithm_is_that_of_the_key(tmp_path: Path) -> None:
    """A message that states another than its key's is one that no server opens."""
    world = World(tmp_path)
    lie = signed_anew(world.key_of(MPI), 'ecdsa-p256-sha256";tag="saphan-resp',
                      'ed25519";tag="saphan-resp')  # fmt: skip
    (found,) = told(world, of(Kind.RESPONSE, lie)).findings
    assert (found.code, found.index) == (Code.INVALID_SIGNATURE, 1)
    assert "ed25519" in found.detail


@pytest.mark.parametrize("known", [True, False], ids=["judged", "without authorities"])
def test_a_key_of_another_member_does_not_sign_for_this_one(tmp_path: Path, known: bool) -> None:
    """A provider cannot make up a request in its consumer's name with a key of its own."""
    world = World(tmp_path)
    theirs, own = world.key_of(MOF).keyid, world.key_of(MPI)
    asyncio.run(world.exchange(1, tell=of(Kind.REQUEST, signed_anew(own, theirs, own.keyid))))
    given = signers(world) if known else signers(world, authorities=())
    (found,) = verify(world.journals[MPI], signers=given).findings
    assert (found.code, found.index) == (Code.CERTIFICATE_MISMATCH, 0)
    assert found.detail == f"the key of {MPI} signed in the name of {MOF}"


def test_a_seal_of_another_authority_is_not_verified(tmp_path: Path) -> None:
    """Anybody can issue a certificate in any name: whose authority is not trusted vouches for
    nothing."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    other = create_development_pki(tmp_path / "other", "LA", at=world.now)
    ours = signers(world)
    given = find_signers(
        world.journals[MOF],
        certificates={world.key_of(m).keyid: world.seals[m].certificate for m in (MOF, MPI)},
        authorities=other.authorities,
    )
    verdict = verify(world.journals[MOF], signers=given.signers)
    assert verdict.good
    assert verdict.signed == Signed(unjudged=2)
    assert verify(world.journals[MOF], signers=ours).signed == Signed(verified=2)


def test_another_certificate_of_an_authority_does_not_seal(tmp_path: Path) -> None:
    """Such as that of its stamper, whose key signs a message here."""
    world = World(tmp_path)
    world.seals[MPI] = world.tsa
    (found,) = told(world).findings
    assert (found.code, found.index) == (Code.CERTIFICATE_UNTRUSTED, 1)


async def expired_world(directory: Path, after: timedelta) -> World:
    """Seals of one day; messages so long after their end."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    world = World(directory, now=now)
    for member in (MOF, MPI):
        world.seals[member] = world.pki.issue_seal(member, at=now, days=1)
    world.now = world.seals[MPI].certificate.not_valid_after_utc + after
    await world.exchange(1)
    return world


async def test_an_expired_certificate_of_the_other_side_is_found(tmp_path: Path) -> None:
    """No server opens what it signed; of its own side it is counted: it has no other."""
    world = await expired_world(tmp_path, timedelta(minutes=10))
    for member, index in ((MOF, 1), (MPI, 0)):
        verdict = verify(world.journals[member], signers=signers(world))
        (found,) = verdict.findings
        assert (found.code, found.index) == (Code.CERTIFICATE_EXPIRED, index)
        assert verdict.signed == Signed(expired=1)


async def test_a_certificate_ends_within_what_clocks_may_differ(tmp_path: Path) -> None:
    """The receiver judged by its own clock, which may have been behind the signer's."""
    world = await expired_world(tmp_path, timedelta(seconds=4))
    assert verify(world.journals[MPI], signers=signers(world)).findings == ()


def test_a_revoked_certificate_is_counted(tmp_path: Path) -> None:
    """From the moment on at which the authority revoked it; signatures of before are good."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    keyid, at = world.key_of(MPI).keyid, world.now.timestamp()
    for moment, expected in ((at, Signed(verified=1, revoked=1)), (at + 2, Signed(verified=2))):
        given = signers(world, revoked={keyid: moment})
        assert verify(world.journals[MOF], signers=given).signed == expected


def test_what_a_journal_keeps_of_certificates_is_used(tmp_path: Path) -> None:
    """Certificates about which an authority was asked, and that it revoked one."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    journal, at = world.journals[MOF], world.now
    issuer = world.pki.issuer.certificate
    store = EvidenceStore.create(journal)
    for member in (MOF, MPI):
        certificate = world.seals[member].certificate
        keyid = world.key_of(member).keyid
        gone = (
            [Revoked(certificate.serial_number, at, ReasonFlags.key_compromise)]
            if member is MPI
            else []
        )
        said = check_crl(make_crl(world.pki, gone, at), certificate, issuer, at)
        assert said.certificate == keyid
        store.keep(certificate, issuer, said, at.timestamp())
    store.close()
    found = find_signers(journal, authorities=[world.pki.root])
    assert found.sources == ("evidence.sqlite",)
    verdict = verify(journal, signers=found.signers)
    assert verdict.signed == Signed(verified=1, revoked=1)


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    given, keyid = signers(world), world.key_of(MPI).keyid
    rest = {name: der for name, der in given.certificates.items() if name != keyid}
    verdict = verify(world.journals[MOF], signers=replace(given, certificates=rest))
    assert verdict.good
    assert verdict.signed == Signed(verified=1, without_certificate=1)
    assert verdict.missing == (keyid,)


async def test_what_is_closed_is_counted(tmp_path: Path) -> None:
    """Without keys, and where an entry was kept alone."""
    world = World(tmp_path)
    await world.exchange(1)
    journal = world.journals[MOF]
    async with journal_in(journal, QUICK, f"{MOF}/journal") as open_:
        await open_.record(entry(1), MOF, None)
    assert verify(journal, signers=signers(world)).signed == Signed(verified=2, not_kept=1)
    shutil.rmtree(journal / "keys")
    copy = tmp_path / "copy"
    shutil.copytree(journal, copy)
    (copy / LOCK).unlink()
    verdict = verify(copy, signers=signers(world))
    assert verdict.good
    assert verdict.signed == Signed(without_key=2, not_kept=1)


def test_the_parameters_of_foreign_servers_are_read(tmp_path: Path) -> None:
    """In any order; what states no key is refused."""
    world = World(tmp_path)
    _, sent = world.request(1, "a(b)c" * 5)
    ours = stated_of(sent.base)
    begin, _, rest = sent.base.decode().rpartition(";created=")
    params = f"created={rest}".split(";")
    for order in (params[::-1], params[1:] + params[:1]):
        assert stated_of(f"{begin};{';'.join(order)}".encode()) == ours
    with pytest.raises(Problem) as raised:
        stated_of(f"{begin};{';'.join(params[1:])}".encode())
    assert raised.value.code is Code.MALFORMED_SIGNATURE


@pytest.mark.parametrize("parameter", ["keyid", "alg"])
def test_a_signature_names_its_key(tmp_path: Path, parameter: str) -> None:
    """Without, nobody could be held to it: no server takes such a message, or signs one."""
    world = World(tmp_path)

    def lie(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        begin, _, rest = part.base.decode().rpartition(f";{parameter}=")
        base = f"{begin};{rest.partition(';')[2]}".encode()
        return entry._replace(certificate=None), part._replace(base=base)

    (found,) = told(world, of(Kind.REQUEST, lie)).findings
    assert (found.code, found.index) == (Code.MALFORMED_SIGNATURE, 0)


Run = Callable[..., Verdict]


async def test_a_state_tells_whether_signatures_were_part_of_it(tmp_path: Path) -> None:
    """A run that wants them reads again what a run without them had read; else it adds up."""
    world = World(tmp_path / "world")
    await world.exchange(1)
    journal, given = world.journals[MOF], signers(world)

    def stored(verified: Verified | None) -> Verified:
        assert verified is not None
        file = tmp_path / "state.json"
        write_state(file, {"x": verified})
        (text,) = orjson.loads(file.read_bytes())["logs"].values()
        assert ("signed" in text) == (verified.signed is not None)
        file.unlink()
        return verified

    without = stored(verify(journal).reached)
    assert without.signed is None
    later = verify(journal, since=without, signers=given)
    assert (later.since, later.signed) == (2, Signed(verified=2))
    await world.exchange(2)
    more = verify(journal, since=stored(later.reached), signers=given)
    assert (more.sealed, more.signed) == (2, Signed(verified=4))
    assert verify(journal, since=more.reached).reached == replace(without, **_place(more))
    nothing = verify(journal, since=more.reached, signers=given)
    assert (nothing.sealed, nothing.signed) == (0, Signed(verified=4))
    tree = verify(journal, since=more.reached, signers=given, tree_only=True)
    assert tree.signed is None
    assert tree.reached == more.reached


def _place(verdict: Verdict) -> dict[str, Any]:
    reached = verdict.reached
    assert reached is not None
    return {"note": reached.note, "edge": reached.edge, "records": reached.records}


def test_the_command_verifies_signatures(tmp_path: Path) -> None:
    """By default; what it could not verify, and where certificates are from, it says."""
    world = World(tmp_path / "world")
    asyncio.run(world.exchange(1))
    folder = tmp_path / "certificates"
    folder.mkdir()
    for member in (MOF, MPI):
        _, path = world.files_of(world.seals[member], member.member_code)
        shutil.move(path, folder)
    journal, state = str(world.journals[MOF]), str(tmp_path / "state.json")

    def run(*options: str) -> Any:
        done = CliRunner().invoke(main, ["audit", "verify", journal, "--json", *options])
        assert done.exit_code == 0, done.output
        return orjson.loads(done.output)["verdicts"][0]["signatures"]

    given = ["--certificates", str(folder), "--ca", str(world.authorities)]
    assert run("--no-signatures") is None
    assert run("--tree-only") is None
    assert run()["without_certificate"] == 2
    assert run(*given, "--state", state)["verified"] == 2
    (kept,) = read_state(Path(state)).values()
    assert kept.signed == Signed(verified=2)
    text = CliRunner().invoke(main, ["audit", "verify", journal]).output
    assert "0 signatures of messages were verified; NOT verified: 2 whose certificate" in text
    assert "--certificates" in text
    text = CliRunner().invoke(main, ["audit", "verify", journal, *given]).output
    assert "  2 signatures of messages were verified\n" in text
    text = CliRunner().invoke(main, ["audit", "verify", journal, "--no-signatures"]).output
    assert "  the signatures of its messages were not verified\n" in text
