"""Checkpoints, cosignatures and stand-alone proofs (C2SP), byte for byte."""

from __future__ import annotations

import base64
import struct
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from exchange.log import checkpoint, cosignature, merkle, notes, proof
from exchange.problems import Code, Problem
from tests.exchange.test_merkle import LEAVES, ROOTS, reader
from tests.exchange.test_notes import SUMDB, SUMDB_VKEY

BEHIND_THE_SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
)
COSIGNED = BEHIND_THE_SOFA + (
    "\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcy"
    "v2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2"
    "oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "example.com/log"
VERIFIER = notes.VerifierKey.of(ORIGIN, KEY.public_key())


def note_of(size: int) -> bytes:
    return checkpoint.sign_checkpoint(checkpoint.Checkpoint(ORIGIN, size, ROOTS[size]), KEY)


def test_the_specification_s_example_is_read() -> None:
    """The example of tlog-checkpoint has origin, size and root on three lines."""
    found = checkpoint.parse_text(notes.parse_note(COSIGNED.encode()).text)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert str(found) == BEHIND_THE_SOFA


def test_a_real_checkpoint_of_a_foreign_log_opens() -> None:
    """The Go checksum database's origin is not its key's name, so the origin is named."""
    key = notes.VerifierKey.parse(SUMDB_VKEY)
    found = checkpoint.open_checkpoint(SUMDB.encode(), key, "go.sum database tree")
    assert found.size == 63096908
    with pytest.raises(Problem) as caught:
        checkpoint.open_checkpoint(SUMDB.encode(), key)
    assert caught.value.code is Code.INVALID_NOTE


def test_a_signed_checkpoint_opens() -> None:
    """Signing and opening are inverse; the key's name is the origin."""
    assert checkpoint.open_checkpoint(note_of(5), VERIFIER).root == ROOTS[5]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n",
        "o\n1\n",
        f"o\n1\n{base64.b64encode(bytes(32)).decode()}",
        f"o\n01\n{base64.b64encode(bytes(32)).decode()}\n",
        f"o\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"o\n1_0\n{base64.b64encode(bytes(32)).decode()}\n",
        f"o\n9223372036854775808\n{base64.b64encode(bytes(32)).decode()}\n",
        f"\n1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"o\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"o\n1\n{base64.b64encode(bytes(32)).decode()}\n\n",
        f"o\n1\n{base64.b64encode(bytes(32)).decode().rstrip('=')}\n",
        f"o\n0\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    """Each line has one spelling; the empty tree has one root; no empty extension lines."""
    with pytest.raises(Problem) as caught:
        checkpoint.parse_text(text)
    assert caught.value.code is Code.INVALID_NOTE


@given(
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(categories=("L", "N", "P")), min_size=1), max_size=3),
)
def test_checkpoints_print_back(origin: str, size: int, root: bytes, extra: list[str]) -> None:
    """Formatting and parsing are inverse, extension lines included."""
    value = checkpoint.Checkpoint(origin, size, root, tuple(extra))
    assert checkpoint.parse_text(str(value)) == value


def test_the_cosignature_example_has_its_time_and_key_id() -> None:
    """The example of tlog-cosignature carries a big-endian time in front of 64 bytes."""
    line = notes.parse_note(COSIGNED.encode()).signatures[1]
    assert line.key_id.hex() == "8d66cf3f"
    assert struct.unpack_from(">Q", line.signature) == (1679315147,)
    assert len(line.signature) == 72


def test_the_message_of_a_cosignature_is_the_specification_s() -> None:
    """The signed bytes are the header line, the time line and the note text."""
    assert cosignature.message(BEHIND_THE_SOFA, 1679315147) == (
        b"cosignature/v1\ntime 1679315147\n" + BEHIND_THE_SOFA.encode()
    )


def test_a_cosignature_verifies_and_covers_text_and_time() -> None:
    """A cosignature opens with its key; another text, time, name or key refuses it."""
    witness = Ed25519PrivateKey.generate()
    line = cosignature.cosign(BEHIND_THE_SOFA, "witness.example/w", witness, 1_700_000_000)
    public = witness.public_key().public_bytes_raw()
    name = b"witness.example/w\n\x04"
    assert line.key_id == sha256(name + public).digest()[:4]
    key = notes.VerifierKey.of("witness.example/w", witness.public_key(), 4)
    assert notes.VerifierKey.parse(str(key)) == key
    note = notes.Note(BEHIND_THE_SOFA, (line,))
    assert cosignature.open_cosignature(note, key).timestamp == 1_700_000_000
    later = struct.pack(">Q", 1_700_000_001) + line.signature[8:]
    for bad_note, bad_key in [
        (notes.Note(BEHIND_THE_SOFA.replace("sofa", "wall"), (line,)), key),
        (notes.Note(BEHIND_THE_SOFA, (notes.NoteSignature(line.name, line.key_id, later),)), key),
        (notes.Note(BEHIND_THE_SOFA, (notes.NoteSignature(line.name, line.key_id, b"x"),)), key),
        (notes.Note(BEHIND_THE_SOFA, ()), key),
        (note, notes.VerifierKey.of("witness.example/v", witness.public_key(), 4)),
        (note, notes.VerifierKey.of("witness.example/w", witness.public_key())),
    ]:
        with pytest.raises(Problem) as caught:
            cosignature.open_cosignature(bad_note, bad_key)
        assert caught.value.code is Code.INVALID_NOTE


def test_a_cosignature_is_no_signature_of_the_log() -> None:
    """A checkpoint with a cosignature alone is not signed by the log."""
    text = str(checkpoint.Checkpoint(ORIGIN, 1, ROOTS[1]))
    note = notes.Note(text, (cosignature.cosign(text, ORIGIN, KEY, 1),))
    with pytest.raises(Problem):
        checkpoint.open_checkpoint(bytes(note), VERIFIER)


def log_proof(index: int, size: int, extra: bytes | None = None) -> proof.LogProof:
    path = merkle.prove_inclusion(index, size, reader(LEAVES))
    return proof.LogProof(index, path, note_of(size), extra)


def test_a_proof_file_is_written_line_by_line() -> None:
    """Header, extra, index, hashes from the leaf up, blank line, checkpoint as it is."""
    lines = proof.format_proof(log_proof(5, 8, b"why")).split(b"\n")
    assert lines[:3] == [b"c2sp.org/tlog-proof@v1", b"extra d2h5", b"index 5"]
    assert [base64.b64decode(line).hex()[:4] for line in lines[3:6]] == ["bc1a", "ca85", "d37e"]
    assert lines[6] == b""
    assert b"\n".join(lines[7:]) == note_of(8)


@pytest.mark.parametrize("size", range(1, 9))
def test_proof_files_check_for_their_entry_only(size: int) -> None:
    """Every entry's proof checks for that entry and for no other."""
    for index in range(size):
        parsed = proof.parse_proof(proof.format_proof(log_proof(index, size)))
        assert proof.check_proof(parsed, LEAVES[index], VERIFIER).size == size
        with pytest.raises(Problem):
            proof.check_proof(parsed, LEAVES[index] + b"x", VERIFIER)


GOOD = proof.format_proof(log_proof(5, 8))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD.replace(b"@v1", b"@v2"),
        GOOD.replace(b"index 5", b"index 05"),
        GOOD.replace(b"index 5", b"index -5"),
        GOOD.replace(b"index 5\n", b""),
        GOOD.replace(b"index 5", b"extra x\nindex 5"),
        GOOD.replace(b"index 5\n", b"index 5\nAAAA\n"),
        GOOD.replace(b"index 5\n", b"index 5\n" + (b"A" * 43 + b"=\n") * 70),
        GOOD[: GOOD.index(b"\n\n") + 2],
        "é".encode() + GOOD,
    ],
)
def test_malformed_proof_files_are_refused(data: bytes) -> None:
    """Another header, sloppy numbers and base64, hashes that are none, no checkpoint."""
    with pytest.raises(Problem) as caught:
        proof.parse_proof(data)
    assert caught.value.code in {Code.INVALID_PROOF, Code.INVALID_NOTE}


@given(st.binary(max_size=300))
def test_whatever_parses_as_a_proof_prints_back(data: bytes) -> None:
    """A proof file has one spelling."""
    for candidate in (data, GOOD[:23] + data, GOOD[:-40] + data):
        try:
            parsed = proof.parse_proof(candidate)
        except Problem:
            continue
        assert proof.format_proof(parsed) == candidate
