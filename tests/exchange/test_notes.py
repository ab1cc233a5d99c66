"""Signed notes: the Go reference's vector, a real foreign checkpoint, and every wrong spelling.

``PeterNeumann`` is the key of golang.org/x/mod/sumdb/note; the checkpoint of sum.golang.org was
taken from a public go command's module cache. The note of C2SP signed-note's first page has no
published key: it must parse and print back.
"""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from exchange.log import notes
from exchange.problems import Code, Problem

VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
)
QUASIMODO = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFS"
    "QU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
SUMDB_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB = (
    "go.sum database tree\n63096908\n8lHrQPRYe4KT4WQ9/Qk8/taKnD6IRHbFgfN7vQE2Y54=\n\n"
    "— sum.golang.org Az3gri/oVBN1jAhNZ/iS+W31psFAWRT20/GyrhpU6taFwulQGetBkH5S7wpGXdS935jiIGiUUAXB"
    "VHzT/P6fYhqAmAk=\n"
)


def private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(SKEY.split("+", 4)[4])[1:])


def refused(code: Code, act: object, *arguments: object) -> Problem:
    with pytest.raises(Problem) as caught:
        act(*arguments)  # type: ignore[operator]
    assert caught.value.code is code
    return caught.value


def test_the_go_vector_is_made_byte_for_byte() -> None:
    """Ed25519 is deterministic: signing Go's text with Go's key gives Go's note."""
    assert bytes(notes.sign_note(TEXT, "PeterNeumann", private_key())) == NOTE.encode()


def test_the_go_vector_opens() -> None:
    """Go's note opens with Go's verifier key."""
    key = notes.VerifierKey.parse(VKEY)
    assert key == notes.VerifierKey.of("PeterNeumann", private_key().public_key())
    assert notes.open_note(notes.parse_note(NOTE.encode()), [key]) == TEXT


def test_a_real_foreign_checkpoint_opens() -> None:
    """A checkpoint of the Go checksum database verifies with its published key."""
    note = notes.parse_note(SUMDB.encode())
    notes.open_note(note, [notes.VerifierKey.parse(SUMDB_VKEY)])
    assert bytes(note) == SUMDB.encode()


def test_the_text_ends_at_the_last_blank_line() -> None:
    """A text may hold blank lines; the specification's example parses and prints back."""
    note = notes.parse_note(QUASIMODO.encode())
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert note.signatures[0].name == "quasimodo.example/salvatore"
    assert note.signatures[0].key_id.hex() == "367ba04b"
    assert bytes(note) == QUASIMODO.encode()


def test_no_mangled_verifier_key_is_accepted() -> None:
    """No substring of a verifier key, nor the key with one character changed, is a key."""
    for start in range(len(VKEY)):
        for end in range(start + 1, len(VKEY) + 1, 7 if start else 1):
            if (start, end) != (0, len(VKEY)):
                refused(Code.INVALID_NOTE, notes.VerifierKey.parse, VKEY[start:end])
    for at in range(len(VKEY)):
        changed = VKEY[:at] + chr(ord(VKEY[at]) + 1) + VKEY[at + 1 :]
        refused(Code.INVALID_NOTE, notes.VerifierKey.parse, changed)


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        VKEY + "\n",
        "x" * 2000,
    ],
)
def test_foreign_kinds_and_spellings_of_keys_are_refused(vkey: str) -> None:
    """A wrong length, an unknown type, upper-case hex and trailing bytes make no key."""
    refused(Code.INVALID_NOTE, notes.VerifierKey.parse, vkey)


SIGNATURE = NOTE[len(TEXT) + 1 :]


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        TEXT + "\n",
        TEXT + SIGNATURE,
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("—", "-"),
        NOTE.replace("— ", "—"),
        NOTE.replace("PeterNeumann ", "Peter Neumann "),
        NOTE.replace("PeterNeumann", "Peter+Neumann"),
        NOTE.replace("PeterNeumann", ""),
        NOTE.replace("PeterNeumann", "Peter\u00a0Neumann"),
        NOTE.replace("nAM=", "nAM"),
        NOTE.replace("nAM=", "nAN="),
        NOTE.replace("nAM=\n", "nAM= \n"),
        NOTE.replace("nAM=\n", "nAM=\r\n"),
        TEXT.replace("\n", "\t\n") + "\n" + SIGNATURE,
        TEXT + "\n" + SIGNATURE * 65,
        TEXT + "\n— PeterNeumann x08gow==\n",
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    """Missing blank line or newline, wrong dash, bad names, sloppy base64, control characters."""
    refused(Code.INVALID_NOTE, notes.parse_note, note.encode())


def test_not_utf8_is_refused() -> None:
    """A note is UTF-8."""
    refused(Code.INVALID_NOTE, notes.parse_note, b"\xff" + NOTE.encode())


def test_a_note_without_a_known_signature_is_refused() -> None:
    """Signatures by unknown keys are ignored, so that alone they open nothing."""
    other = notes.VerifierKey.of("PeterNeumann", Ed25519PrivateKey.generate().public_key())
    refused(Code.INVALID_NOTE, notes.open_note, notes.parse_note(NOTE.encode()), [other])
    refused(Code.INVALID_NOTE, notes.open_note, notes.parse_note(NOTE.encode()), [])


def test_unknown_signatures_beside_a_good_one_are_ignored() -> None:
    """Sixteen lines and more of others do not hinder a good signature."""
    stranger = Ed25519PrivateKey.generate()
    lines = [notes.sign_note(TEXT, f"s{n}.example", stranger).signatures[0] for n in range(16)]
    note = notes.parse_note((NOTE + "".join(map(str, lines))).encode())
    assert notes.open_note(note, [notes.VerifierKey.parse(VKEY)]) == TEXT


def test_one_bad_signature_of_a_known_key_refuses_the_note() -> None:
    """A good signature does not make up for a bad one of a known key."""
    key = notes.VerifierKey.parse(VKEY)
    bad = notes.NoteSignature(key.name, key.id, bytes(64))
    good = notes.parse_note(NOTE.encode())
    for signatures in ((bad, *good.signatures), (*good.signatures, bad)):
        refused(Code.INVALID_NOTE, notes.open_note, notes.Note(TEXT, signatures), [key])


def test_every_changed_byte_of_the_text_is_noticed() -> None:
    """The signature covers the whole text, its last newline included."""
    key = notes.VerifierKey.parse(VKEY)
    for at in range(len(TEXT) - 1):
        changed = TEXT[:at] + ("X" if TEXT[at] != "X" else "Y") + TEXT[at + 1 :]
        note = notes.parse_note((changed + NOTE[len(TEXT) :]).encode())
        refused(Code.INVALID_NOTE, notes.open_note, note, [key])


NAMES = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="+"), min_size=1, max_size=20
)
LINES = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), min_codepoint=32), max_size=30), min_size=1
)


@given(LINES, NAMES, st.binary(min_size=5, max_size=80))
def test_what_is_formatted_parses_to_itself(lines: list[str], name: str, data: bytes) -> None:
    """Parsing and printing are inverse for every text, name and signature."""
    text = "".join(f"{line}\n" for line in lines)
    note = notes.Note(text, (notes.NoteSignature(name, data[:4], data[4:]),))
    if name.isprintable():
        assert notes.parse_note(bytes(note)) == note


@given(st.binary(max_size=200))
def test_whatever_parses_prints_back(data: bytes) -> None:
    """Whatever is accepted is accepted in one spelling."""
    for candidate in (data, NOTE.encode()[: len(TEXT) + 1] + data):
        try:
            note = notes.parse_note(candidate)
        except Problem as problem:
            assert problem.code is Code.INVALID_NOTE  # noqa: PT017
        else:
            assert bytes(note) == candidate


@pytest.mark.parametrize(
    "text", ["", "00", "01", "+1", "-1", " 1", "1_0", "٣", "1.0", "9" * 19, "x"]
)
def test_numbers_have_one_spelling(text: str) -> None:
    """Signs, spaces, leading zeroes, underscores, foreign digits and 2**63 are no numbers."""
    refused(Code.INVALID_NOTE, notes.decode_number, text, "n")


def test_only_text_is_signed() -> None:
    """A text without its final newline, or with control characters, is not signed."""
    for text in ("x", "x\r\n", "\x00\n"):
        refused(Code.INVALID_NOTE, notes.sign_note, text, "n", private_key())
