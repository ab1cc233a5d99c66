"""Evidence for somebody without Saphan: containers that a shell checks with stock openssl."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ReasonFlags

from certs.authority import create_development_pki
from certs.issue import Issuer
from certs.responder import respond
from certs.revocation import Revoked, make_crl
from console.cli.main import main
from exchange.evidence import asic
from exchange.evidence.revocation import format_ocsp_request
from exchange.journal.entries import Entry, Erased, Kind, Side, parse_entry
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from mediator.journal.erasures import Erasure, carry_out
from mediator.journal.export import (
    SCRIPT,
    Revocations,
    make_export,
    read_export,
    signed,
    unsigned,
    verify_export,
    write_export,
)
from mediator.journal.export.contents import DESCRIPTION, ROOTS
from mediator.journal.keyring import KeyRing
from tests.journal.exchanges import BODY, MOF, MPI, WITNESS_KEY, World
from tests.journal.world import QUICK, journal_in

Files = dict[str, bytes]
_TOOLS = tuple(
    next(line for line in SCRIPT.splitlines() if line.startswith("TOOLS="))[7:-1].split()
)
needs_busybox = pytest.mark.skipif(
    shutil.which("busybox") is None, reason="busybox is not installed"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two servers' journals with three exchanges, anchored."""
    made = World(tmp_path_factory.mktemp("ຫຼັກຖານ"))
    for number in range(3):
        asyncio.run(made.exchange(number, nonce=f"{number}-q83vEjRWeJCrze8SNFZ4kA"))
    made.anchor()
    return made


@pytest.fixture(scope="module")
def files(world: World) -> Files:
    """The evidence of one exchange of both sides, not signed as a whole."""
    return make_export(world.chosen(1), world.around())


@pytest.fixture(scope="module")
def container(world: World, files: Files) -> Path:
    """The same in a container that MOF signed, with a time-stamp."""
    path = world.directory / "ໂຄງການ ສະພານ.asice"
    write_export(files, path, world.signer(), world.now)
    return path


def check(path: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as it is in every export, in a strict POSIX shell."""
    return subprocess.run(
        ["sh", "-s", "--", *options, path], input=SCRIPT, capture_output=True, text=True,
        check=False, timeout=120, cwd=path.parent,
    )  # fmt: skip


def checked(path: Path, *options: str | Path, tools: Path) -> subprocess.CompletedProcess[str]:
    """Run the script where ``tools`` is all that a machine has."""
    return subprocess.run(
        [tools / "sh", "-s", "--", *options, path], input=SCRIPT, capture_output=True, text=True,
        check=False, timeout=120, cwd=path.parent, env={"PATH": str(tools)},
    )  # fmt: skip


def machine(folder: Path, *lacks: str) -> Path:
    """A machine with the tools that the script names, but for ``lacks``; its unzip knows no -Z."""
    folder.mkdir()
    for name in {"sh", *_TOOLS} - {"unzip", *lacks}:
        (folder / name).symlink_to(which(name))
    if "unzip" not in lacks:
        unzip = folder / "unzip"
        unzip.write_text(f'#!/bin/sh\ncase $1 in -Z*) exit 1 ;; esac\nexec {which("unzip")} "$@"\n')
        unzip.chmod(0o755)
    return folder


def which(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found


def faults(path: Path, *options: str | Path) -> str:
    """What the script finds wrong; it must exit with 1 then."""
    done = check(path, *options)
    found = "\n".join(line for line in done.stdout.splitlines() if line.startswith("BAD"))
    assert done.returncode == (1 if found else 0), done.stdout + done.stderr
    return found


def findings(path: Path) -> dict[str, Code]:
    return {finding.file: finding.code for finding in verify_export(path).findings}


def folder_of(files: Files, target: Path) -> Path:
    for name, data in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return target


def test_a_shell_verifies_a_container(world: World, container: Path) -> None:
    """Every claim of the container by stock tools, with authorities and keys of the verifier."""
    keys = [str(choice.journal.key) for choice in world.chosen(1)]
    options = [text for key in {*keys, str(WITNESS_KEY)} for text in ("-k", key)]
    done = check(container, "-c", world.root, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert sum("(inclusion proof)" in line for line in lines) == 4
    assert sum("its content is what the entry commits to" in line for line in lines) == 4
    assert sum("(RFC 9421)" in line for line in lines) == 4
    assert sum(f"is the body that was signed ({len(BODY)} bytes)" in line for line in lines) == 2
    assert sum("answers the request" in line for line in lines) == 4
    assert sum("(cosignature)" in line for line in lines) == 2
    assert sum("(RFC 3161)" in line for line in lines) == 3
    assert sum("trusted when it signed" in line for line in lines) == 4
    assert any("CAdES: the container is signed by" in line for line in lines)
    assert all("was revoked" in line for line in lines if line.startswith("NOTE"))


def test_saphan_verifies_a_container(world: World, container: Path) -> None:
    """The same by `saphan audit verify`, from the file alone."""
    verdict = verify_export(container, authorities=world.pki.authorities)
    assert verdict.findings == ()
    assert (verdict.entries, verdict.opened, verdict.signatures) == (4, 4, 4)
    assert (verdict.tokens, verdict.cosignatures) == (2, 2)
    assert verdict.signed_by == "LA/GOV/MOF, CAdES-B-T"
    result = _run("verify", container, "--ca", world.authorities)
    assert "the whole is signed by LA/GOV/MOF, CAdES-B-T, stamped" in result.output


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa-pss-sha512"])
def test_seals_of_every_kind_are_verified(tmp_path: Path, algorithm: str) -> None:
    """RSA as openssl's cms knows it; Ed25519, which openssl 3.0's does not know, taken apart."""
    world = World(tmp_path, algorithm)
    asyncio.run(world.exchange(0))
    path = tmp_path / "e.asice"
    made = make_export(world.chosen(0, [MPI])[:1], world.around())
    write_export(made, path, world.signer(MPI), world.now)
    assert faults(path, "-c", world.root) == ""
    assert verify_export(path).findings == ()


def test_a_flipped_byte_in_any_file_is_named(world: World, files: Files, tmp_path: Path) -> None:
    """By the script and by Saphan: every file that was changed; also what is missing or added."""
    whole = signed(files, world.signer(stamped=False), world.now)
    changed = {name: _flip(data) if data else b"x" for name, data in files.items()}
    del changed[DESCRIPTION]  # without it there is nothing to verify; it has its own test
    path = folder_of(whole | changed | {"extra.txt": b""}, tmp_path / "changed")
    found = faults(path)
    assert [name for name in (*changed, "extra.txt") if f"BAD   {name}: " not in found] == []
    assert findings(path).keys() >= {*changed, "extra.txt"}
    for name in changed:
        (path / name).unlink()
    found = faults(path)
    assert [name for name in changed if f"BAD   {name}: " not in found] == []
    assert findings(path).keys() >= changed.keys()


def test_one_flipped_byte_is_one_finding(world: World, files: Files, tmp_path: Path) -> None:
    """A file that nothing but the manifest speaks of, and one that much depends on."""
    whole = signed(files, world.signer(stamped=False), world.now)
    for name in ("README.txt", "verify.sh", DESCRIPTION, "entries/0-2/entry.json", ROOTS):
        path = folder_of(whole | {name: _flip(files[name])}, tmp_path / name.replace("/", "-"))
        try:
            assert name in findings(path)
        except Problem as problem:
            assert problem.where == name  # noqa: PT017  # of one of several


@pytest.mark.parametrize("name", [asic.MIMETYPE_FILE, asic.MANIFEST, asic.SIGNATURE])
def test_what_holds_the_container_together_is_checked(
    world: World, files: Files, tmp_path: Path, name: str
) -> None:
    """A changed or missing mimetype, manifest or signature is named by both."""
    whole = signed(files, world.signer(), world.now)
    for number, data in enumerate((_flip(whole[name]), b"")):
        path = folder_of(whole | {name: data}, tmp_path / str(number))
        assert faults(path) != ""
        assert name in findings(path)


def test_another_signer_is_not_trusted(world: World, files: Files, tmp_path: Path) -> None:
    """A container that a stranger signed and stamped fails against the verifier's authorities."""
    stranger = create_development_pki(tmp_path / "pki", "LA", at=world.now)
    seal = stranger.issue_seal(MOF, at=world.now)
    signer = replace(
        world.signer(stamped=False),
        key=signing_key(seal.private_key, seal.certificate),
        certificate=seal.certificate,
        authorities=tuple(stranger.authorities),
    )
    path = folder_of(signed(files, signer, world.now), tmp_path / "e")
    assert "is not a good CAdES signature" in faults(path, "-c", world.root)
    assert findings(path) == {asic.SIGNATURE: Code.INVALID_DOCUMENT}


def _body(files: Files) -> Files:
    return {"entries/0-3/body.bin": files["entries/0-3/body.bin"].replace(b"LP", b"VT")}


def _exchanged(files: Files) -> Files:
    """The sealed part of the request as that of the answer."""
    return {
        name.replace("0-2", "0-3"): data
        for name, data in files.items()
        if name.startswith("entries/0-2/") and "entry.json" not in name and "proof" not in name
    }


def _entry(files: Files) -> Files:
    data = files["entries/0-3/entry.json"].replace(b'"status":200', b'"status":404')
    return {"entries/0-3/entry.json": data}


def _index(files: Files) -> Files:
    data = files["entries/0-3/proof.tlog-proof"]
    return {"entries/0-3/proof.tlog-proof": data.replace(b"index 3", b"index 2")}


def _checkpoint(files: Files) -> Files:
    """A log with another size, under the old signature, in the proofs too."""
    old = files["logs/0/checkpoint"]
    new = old.replace(b"journal\n6\n", b"journal\n7\n", 1)
    assert old != new
    return {name: data.replace(old, new) for name, data in files.items() if old in data}


def _cosignature(files: Files) -> Files:
    """The cosignature of the other log's checkpoint."""
    old = files["logs/0/checkpoint"]
    new = old[: old.rindex("—".encode())] + _last_line(files["logs/1/checkpoint"])
    return {name: data.replace(old, new) for name, data in files.items() if old in data}


def _last_line(data: bytes) -> bytes:
    return data[data.rindex("—".encode()) :]


def _token(files: Files) -> Files:
    return {"logs/0/tokens/0.tst": files["logs/1/tokens/0.tst"]}


def _certificate(files: Files) -> Files:
    one, two = sorted(n for n in files if n.startswith("certificates/") and len(n) > 70)
    return {one: files[two], two: files[one]}


def _der(files: Files) -> Files:
    return {"entries/0-2/signature.der": files["entries/0-3/signature.der"]}


def _key(files: Files) -> Files:
    return {"entries/0-3/record.key": files["entries/0-2/record.key"]}


@pytest.mark.parametrize(
    "changes",
    [
        {_body: "0-3: head.json, base.txt", _cosignature: "auditor.example/witness is wrong",
         _token: "0.tst: is not over this checkpoint", _certificate: "is another certificate"},
        {_exchanged: "0-3/sealed.bin: has another digest", _checkpoint: "0/checkpoint: the sig",
         _index: "0-3/proof.tlog-proof: is of another entry"},
        {_entry: "0-3/proof.tlog-proof: does not lead to the root",
         _der: "0-2/signature.der: is not signature.bin", _key: "0-3: head.json, base.txt"},
    ],
)  # fmt: skip
def test_who_makes_the_export_cannot_change_what_others_signed(
    files: Files, tmp_path: Path, changes: dict[Callable[[Files], Files], str]
) -> None:
    """Changed evidence whose manifest is made anew: each check of the script and of Saphan's."""
    all_changed: Files = {}
    for number, change in enumerate(changes):
        changed = change(files)
        all_changed |= changed
        assert {name: files[name] for name in changed} != changed
        path = folder_of(unsigned(files | changed), tmp_path / str(number))
        assert findings(path).keys() & {*changed, "entries/0-3"}
    found = faults(folder_of(unsigned(files | all_changed), tmp_path / "all"))
    assert [says for says in changes.values() if says not in found] == []


def test_an_answer_belongs_to_its_request(world: World, tmp_path: Path) -> None:
    """Answers of another exchange are told from those of this one; a request alone needs none."""
    chosen = [world.chosen(1, [MOF])[0], world.chosen(2, [MOF])[1]]
    path = folder_of(unsigned(make_export(chosen, world.around())), tmp_path / "e")
    done = check(path)
    assert "NOTE  entries/0-5: the request that it answers is not here" in done.stdout
    assert any("entries/0-5: the request" in note for note in verify_export(path).notes)


def test_a_record_without_its_key_is_proven_all_the_same(world: World, tmp_path: Path) -> None:
    """What cannot be opened is said so, in two languages; entry, place and time still hold."""
    copy = tmp_path / "journal"
    shutil.copytree(world.journals[MPI], copy)
    shutil.rmtree(copy / "keys")
    copied = World.__new__(World)
    copied.__dict__.update(world.__dict__ | {"journals": {MPI: copy}})
    made = make_export(copied.chosen(1, [MPI]), world.around())
    assert "ເນື້ອໃນ" in made["entries/0-2/closed.txt"].decode()
    assert "entries/0-2/body.bin" not in made
    path = tmp_path / "e.asice"
    write_export(made, path, world.signer(MPI), world.now)
    done = check(path)
    assert done.returncode == 0, done.stdout
    assert "entries/0-2: its sealed part cannot be opened: key LA/GOV/MPI" in done.stdout
    assert "entries/0-2: is entry 2 of LA/GOV/MPI/journal (inclusion proof)" in done.stdout
    verdict = verify_export(path)
    assert (verdict.findings, verdict.entries, verdict.opened) == ((), 2, 0)


def test_an_erased_record_brings_the_entry_that_tells_of_it(world: World, tmp_path: Path) -> None:
    """Its content is gone for everybody; when, by which entry and on which ground is proven."""
    copy = tmp_path / "mpi" / "journal"
    shutil.copytree(world.journals[MPI], copy)
    copied = World.__new__(World)
    copied.__dict__.update(world.__dict__ | {"journals": {MPI: copy}})
    sealed = parse_entry(copied.chosen(1, [MPI])[1].journal.entry(3)).sealed
    assert sealed is not None
    erased = Erased(sealed.key, "court order 7/2026", (sealed.leaf,))

    async def erase() -> None:
        async with journal_in(copy, QUICK, "LA/GOV/MPI/journal") as journal:
            told = Entry(Kind.SYSTEM, Side.SERVER, world.now, event="erasure", erased=erased)
            await journal.record(told, MPI, None)

    asyncio.run(erase())
    assert carry_out(KeyRing(copy / "keys"), [Erasure(6, world.now, erased)])
    path = tmp_path / "e.asice"
    write_export(
        make_export(copied.chosen(1, [MPI]), world.around()), path, world.signer(), world.now
    )
    done = check(path)
    assert done.returncode == 0, done.stdout
    assert "entries/0-6: is entry 6 of LA/GOV/MPI/journal (inclusion proof)" in done.stdout
    assert "NOTE  entries/0-3: its sealed part cannot be opened: erased" in done.stdout
    assert "court order 7/2026 (entries/0-6)" in done.stdout
    verdict = verify_export(path)
    assert (verdict.findings, verdict.entries, verdict.opened) == ((), 3, 1)
    assert any("by entry 6; legal ground: court order 7/2026" in each for each in verdict.notes)


@pytest.mark.parametrize(
    ("kind", "after_s", "status"),
    [
        ("ocsp", None, "good"),
        ("ocsp", 60, "revoked later"),
        ("ocsp", -60, "revoked before"),
        ("crl", None, "good"),
        ("crl", -60, "revoked before"),
    ],
)
def test_what_authorities_said_of_a_certificate_is_checked(
    world: World, tmp_path: Path, kind: str, after_s: int | None, status: str
) -> None:
    """Stock openssl reads OCSP answers and CRLs: a seal revoked before it signed is a fault."""
    seal = world.seals[MOF].certificate
    keyid = world.key_of(MOF).keyid
    rows = []
    if after_s is not None:
        at = world.now + timedelta(seconds=after_s)
        rows = [Revoked(seal.serial_number, at, ReasonFlags.key_compromise)]
    said = _said(world, kind, rows)
    revocations = Revocations(**({"answers": (said,)} if kind == "ocsp" else {"lists": (said,)}))
    around = replace(
        world.around(), revocations=lambda name: revocations if name == keyid else Revocations()
    )
    made = make_export(world.chosen(0, [MPI])[:1], around)
    name = f"revocation/{keyid}.0.{kind}"
    path = folder_of(unsigned(made), tmp_path / "e")
    found = faults(path)
    if status == "revoked before":
        assert f"{name}: the certificate was revoked before it signed" in found
        assert findings(path)[name] is Code.CERTIFICATE_REVOKED
    else:
        assert (found, findings(path)) == ("", {})
    if status == "good":
        path = folder_of(unsigned(made | {name: _flip(said)}), tmp_path / "flipped")
        assert name in faults(path)
        assert name in findings(path)


@pytest.mark.parametrize(("kind", "days"), [("ocsp", 2), ("crl", 2), ("crl", -30)])
def test_what_was_said_at_another_time_is_noted(
    world: World, tmp_path: Path, kind: str, days: int
) -> None:
    """Good a month ago is no proof that the certificate was good when it signed."""
    name, path = _stated(world, tmp_path, kind, _said(world, kind, [], timedelta(days=days)))
    done = check(path)
    assert done.returncode == 0, done.stdout
    assert f"NOTE  {name}: is of a time more than" in done.stdout
    verdict = verify_export(path)
    assert verdict.findings == ()
    assert any(note.startswith(f"{name}: is of ") for note in verdict.notes)


def test_a_list_of_other_certificates_tells_nothing(world: World, tmp_path: Path) -> None:
    """One of several lists of the authority, but not the one that the certificate names."""
    issuer, at = world.pki.issuer, world.now
    there = x509.UniformResourceIdentifier("http://crl.example/2")
    scope = x509.IssuingDistributionPoint([there], None, False, False, None, False, False)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(at)
        .next_update(at + timedelta(days=1))
        .add_extension(scope, critical=True)
        .sign(issuer.private_key, hashes.SHA256())
    )
    said = made.public_bytes(serialization.Encoding.DER)
    name, path = _stated(world, tmp_path, "crl", said)
    assert f"{name}: is a list of other certificates" in faults(path)
    assert findings(path)[name] is Code.INVALID_REVOCATION_STATUS


def _stated(world: World, folder: Path, kind: str, said: bytes) -> tuple[str, Path]:
    """An export with what was said of a request's signer: the file's name, and the folder."""
    keyid = world.key_of(MOF).keyid
    revocations = Revocations(**({"answers" if kind == "ocsp" else "lists": (said,)}))
    around = replace(
        world.around(), revocations=lambda name: revocations if name == keyid else Revocations()
    )
    made = make_export(world.chosen(0, [MPI])[:1], around)
    return f"revocation/{keyid}.0.{kind}", folder_of(unsigned(made), folder / "e")


def _said(
    world: World, kind: str, rows: list[Revoked], after: timedelta = timedelta(hours=1)
) -> bytes:
    at = world.now + after
    if kind == "crl":
        return make_crl(world.pki, rows, at)
    issued = world.pki.issue_ocsp(at=world.now)
    request = format_ocsp_request(world.seals[MOF].certificate, world.pki.issuer.certificate)
    responder = Issuer(issued.certificate, issued.private_key)
    return respond(request, world.pki.issuer.certificate, responder, rows, at)


def test_an_unsigned_export_says_so(world: World, tmp_path: Path) -> None:
    """Without a key no container; a zip or a folder that says that nobody vouches for the whole."""
    files = make_export(world.chosen(0, [MPI])[:1], world.around())
    with pytest.raises(Problem) as caught:
        write_export(files, tmp_path / "e.asice", None, world.now)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert "seal key" in caught.value.detail
    write_export(files, tmp_path / "e.zip", None, world.now)
    assert "ບໍ່ໄດ້ລົງລາຍເຊັນ" in read_export(tmp_path / "e.zip")["UNSIGNED.txt"].decode()
    assert "mimetype" not in read_export(tmp_path / "e.zip")
    done = check(tmp_path / "e.zip")
    assert (done.returncode, "NOT SIGNED" in done.stdout) == (0, True)
    assert verify_export(tmp_path / "e.zip").signed_by is None


def test_an_auditor_signs_with_a_key_of_his_own(world: World, tmp_path: Path) -> None:
    """--seal-key and --seal-certificate: the container is his, and everything verifies."""
    key, certificate = world.files_of(world.seals[MOF], "auditor")
    (tmp_path / "c").mkdir()
    for seal in world.seals.values():
        world.files_of(seal, f"c{seal.certificate.serial_number}")
    shutil.copy(world.authorities, tmp_path / "c")
    for path in world.directory.glob("c*.pem"):
        shutil.copy(path, tmp_path / "c")
    target = tmp_path / "ຫຼັກຖານ.asice"
    options = ("--certificates", tmp_path / "c")
    done = _run(
        "export", world.journals[MPI], "--id", "LA-2", *options, "-o", target,
        "--seal-key", key, "--seal-certificate", certificate,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 signatures verified; LA/GOV/MOF, CAdES-B-B" in done.output
    assert target.stat().st_mode & 0o777 == 0o600
    assert faults(target, "-c", world.root) == ""
    for wrong in (("--seal-key", key), ("--seal-key", certificate, "--seal-certificate", key)):
        assert _run("export", world.journals[MPI], "2", "-o", tmp_path / "x", *wrong).exit_code


def test_a_damaged_container_is_named(container: Path, tmp_path: Path) -> None:
    """Cut short, overwritten, or no zip at all: a clear refusal by both, and nothing is left."""
    data = container.read_bytes()
    path = tmp_path / "e.asice"
    for damaged in (data[:-300], data[:2000] + b"\0" * 50 + data[2050:], b"", b"no zip"):
        path.write_bytes(damaged)
        assert str(path) in faults(path)
        with pytest.raises(Problem) as caught:
            verify_export(path)
        assert caught.value.code is Code.INVALID_DOCUMENT
        assert str(path) in caught.value.where


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "a b", "mimetype", "README.TXT"])
def test_the_script_refuses_archives_that_harm(files: Files, tmp_path: Path, name: str) -> None:
    """Names that lead elsewhere, and files that are there twice, end before unpacking."""
    path = tmp_path / "e.zip"
    path.write_bytes(asic.pack(unsigned(files)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
        archive.writestr(name, b"y")
    assert "e.zip: holds" in faults(path)
    big = tmp_path / "big.zip"
    with zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(257 << 20) if name == "a b" else b"")
    if name == "a b":
        assert "is larger than evidence is" in faults(big)


def changed(container: Path, target: Path, name: str = "entries/0-2/head.json") -> Path:
    """The container with a flipped byte in a file that no signature but the container's covers."""
    with zipfile.ZipFile(container) as archive:
        held = {each: archive.read(each) for each in archive.namelist()}
    target.write_bytes(asic.pack({**held, name: _flip(held[name])}))
    return target


def test_the_script_needs_the_tools_that_it_names(container: Path, tmp_path: Path) -> None:
    """And no others: not comm, which small systems lack, nor an unzip that lists by -Z."""
    tools = machine(tmp_path / "tools")
    done = checked(container, tools=tools)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.count("(inclusion proof)") == 4
    done = checked(changed(container, tmp_path / "x.asice", "README.txt"), tools=tools)
    assert done.returncode == 1
    assert "BAD   README.txt: is not what META-INF/ASiCManifest.xml says" in done.stdout


@pytest.mark.parametrize("lacking", ["unzip", "awk", "cmp", "sort", "xargs"])
def test_without_a_tool_the_script_judges_nothing(
    container: Path, tmp_path: Path, lacking: str
) -> None:
    """A check that cannot be made is neither passed nor failed: it says which tool is missing."""
    done = checked(container, tools=machine(tmp_path / "tools", lacking))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{lacking} is not there\n"


@needs_busybox
def test_busybox_alone_verifies(container: Path, tmp_path: Path) -> None:
    """All of it but openssl, which busybox does not have."""
    tools = tmp_path / "tools"
    tools.mkdir()
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        (tools / name).symlink_to(which("busybox"))
    (tools / "openssl").unlink(missing_ok=True)
    (tools / "openssl").symlink_to(which("openssl"))
    done = checked(container, tools=tools)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    done = checked(changed(container, tmp_path / "x.asice"), tools=tools)
    assert done.returncode == 1
    assert "BAD   entries/0-2/head.json" in done.stdout


@pytest.mark.parametrize("number", ["0 x", "0\nx", "໐"])
def test_a_record_that_the_manifest_cannot_name_is_found(
    world: World, files: Files, tmp_path: Path, number: str
) -> None:
    """A good one of another export, put into a folder under a name that no container holds."""
    folder = folder_of(unsigned(files), tmp_path / "evidence")
    assert not faults(folder)
    for name, data in make_export(world.chosen(2), world.around()).items():
        top, slash, rest = name.partition("/")
        if rest.startswith("0") and top in {"logs", "entries"}:
            target = folder / f"{top}{slash}{number}{rest[1:]}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    assert "holds names that evidence does not have" in faults(folder)
    with pytest.raises(Problem):
        verify_export(folder)


@pytest.mark.parametrize("number", [2 + (1 << 40), 10, "02"])
def test_a_record_under_another_number_is_found(
    files: Files, tmp_path: Path, number: int | str
) -> None:
    """Its path leads to the root all the same: the number is beyond the log, or spelt otherwise."""
    moved = {
        name.replace("entries/0-2/", f"entries/0-{number}/"): data for name, data in files.items()
    }
    proof = f"entries/0-{number}/proof.tlog-proof"
    moved[proof] = moved[proof].replace(b"index 2\n", f"index {number}\n".encode())
    path = folder_of(unsigned(moved), tmp_path / "e")
    assert f"{proof}: is of another entry or another checkpoint" in faults(path)


def test_who_gives_keys_believes_no_other_witness(
    world: World, container: Path, tmp_path: Path
) -> None:
    """A witness whose key stands in the evidence alone is told, and does not count."""
    logs = [choice.journal.key for choice in world.chosen(1)]
    done = check(container, *(text for key in logs for text in ("-k", str(key))))
    assert done.returncode == 0
    assert "(cosignature)" not in done.stdout
    assert f"witness {WITNESS_KEY.name} is none of the keys that you trust" in done.stdout
    verdict = verify_export(container, keys=logs)
    assert (verdict.findings, verdict.cosignatures) == ((), 0)
    assert any(WITNESS_KEY.name in note for note in verdict.notes)
    assert verify_export(container, keys=[*logs, WITNESS_KEY]).cosignatures == 2


def test_the_script_tells_wrong_usage(tmp_path: Path) -> None:
    """2 for what is not there or not understood, as the commands of Saphan do."""
    for arguments in ([], [tmp_path / "none"], ["-z", tmp_path], [tmp_path, tmp_path]):
        done = subprocess.run(
            ["sh", "-s", "--", *arguments], input=SCRIPT, capture_output=True, text=True,
            check=False, timeout=20, env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def _flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])
