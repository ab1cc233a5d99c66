"""The witness protocol's messages and rules (C2SP tlog-witness), against a slow, obvious tree."""

from __future__ import annotations

import base64
import contextlib
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.log.checkpoint import Checkpoint, parse_text, sign_checkpoint
from exchange.log.cosignature import cosign
from exchange.log.merkle import EMPTY_ROOT
from exchange.log.notes import COSIGNATURE_ED25519, Note, VerifierKey, parse_note, sign_note
from exchange.log.witness import (
    MAX_PROOF_LINES,
    Submission,
    check_growth,
    format_size,
    format_submission,
    open_submission,
    origin_hash,
    parse_submission,
    proves_fork,
    read_cosignatures,
    read_size,
)
from exchange.problems import Code, Problem

ORIGIN = "log.example/journal"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS_KEY = VerifierKey.of("w.example", WITNESS.public_key(), COSIGNATURE_ED25519)
LOGS = {ORIGIN: [VerifierKey.of(ORIGIN, KEY.public_key())]}
# The request in the text of tlog-witness.
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501


def leaves(count: int, branch: int = 0, fork_at: int = 10**9) -> list[bytes]:
    """Hashes of leaves; those from ``fork_at`` on depend on the branch."""
    return [
        sha256(b"\0" + bytes([n, branch if n >= fork_at else 0])).digest() for n in range(count)
    ]


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def proof(m: int, hashes: list[bytes], *, whole: bool = True) -> tuple[bytes, ...]:
    """RFC 6962 section 2.1.2, word for word."""
    n = len(hashes)
    if m == n:
        return () if whole else (mth(hashes),)
    k = 1 << (n - 1).bit_length() - 1
    if m <= k:
        return (*proof(m, hashes[:k], whole=whole), mth(hashes[k:]))
    return (*proof(m - k, hashes[k:], whole=False), mth(hashes[:k]))


def submission(
    old: int, hashes: list[bytes], path: tuple[bytes, ...] | None = None, root: bytes | None = None
) -> Submission:
    head = Checkpoint(ORIGIN, len(hashes), root or mth(hashes))
    text = "".join(f"{x}\n" for x in (ORIGIN, head.size, base64.b64encode(head.root).decode()))
    if path is None:
        path = proof(old, hashes) if 0 < old <= len(hashes) else ()
    return Submission(old, path, sign_note(text, ORIGIN, KEY))


def status(given: Submission, known: Checkpoint | None) -> int:
    """What a witness answers."""
    try:
        check_growth(given, open_submission(given, LOGS), known)
    except Problem as problem:
        return problem.status
    return 200


def head(hashes: list[bytes]) -> Checkpoint:
    return Checkpoint(ORIGIN, len(hashes), mth(hashes))


def test_the_request_of_the_specification_is_read_and_printed_back() -> None:
    """The example: four hashes, two signatures, and the same bytes again."""
    read = parse_submission(EXAMPLE.encode())
    assert (read.old_size, len(read.proof), read.origin) == (
        20852014,
        4,
        "example.com/behind-the-sofa",
    )
    assert parse_text(read.note.text).size == 20852163
    assert len(read.note.signatures) == 2
    assert format_submission(read) == EXAMPLE.encode()


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
@example(known=8, size=12, old=8, fork_at=4)
@example(known=8, size=8, old=8, fork_at=7)
@example(known=0, size=5, old=0, fork_at=0)
def test_growth_is_cosigned_and_nothing_else(known: int, size: int, old: int, fork_at: int) -> None:
    """With an honest proof: 200 exactly when the old size is the known one and the log only grew.

    The submitted log differs from the known one from ``fork_at`` on, which may be behind both.
    """
    before, now = leaves(known), leaves(size, 1, fork_at)
    answer = status(submission(old, now), head(before) if known else None)
    if old > size:
        assert answer == 400
    elif old != known:
        assert answer == 409
    else:
        assert answer == (200 if now[:known] == before else 422)


@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_proof_that_was_touched_is_refused(old: int, more: int, data: st.DataObject) -> None:
    """422 for a hash that was changed, left out, added or moved."""
    hashes = leaves(old + more)
    path = list(proof(old, hashes))
    act = data.draw(st.sampled_from(["change", "drop", "add", "turn"]))
    at = data.draw(st.integers(0, len(path) - 1))
    if act == "change":
        path[at] = sha256(path[at]).digest()
    elif act == "drop":
        del path[at]
    elif act == "add":
        path.insert(at, b"x" * 32)
    elif len(set(path)) > 1:
        path = [*path[1:], path[0]]
    else:
        path = []
    assert status(submission(old, hashes, tuple(path)), head(hashes[:old])) == 422


def test_a_proof_where_none_is_due_is_refused() -> None:
    """From size zero, and between equal sizes, the proof is empty (422 otherwise)."""
    hashes = leaves(5)
    assert status(submission(0, hashes, (b"x" * 32,)), None) == 422
    assert status(submission(5, hashes, (b"x" * 32,)), head(hashes)) == 422
    assert status(submission(5, hashes), head(hashes)) == 200  # to cosign again is allowed


def test_an_empty_tree_has_the_empty_root() -> None:
    """Size zero goes with the hash of the empty string, or it is 422."""
    assert status(submission(0, []), None) == 200
    assert status(submission(0, [], root=b"x" * 32), None) == 422


def test_only_the_logs_own_signature_counts() -> None:
    """404 for an unknown origin, 403 without a signature of a trusted key or with a wrong one."""
    good = submission(0, leaves(3))
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    stranger = sign_checkpoint(Checkpoint("other.example", 3, b"r" * 32), other)
    assert status(Submission(0, (), parse_note(stranger)), None) == 404
    by_other = sign_note(good.note.text, ORIGIN, other)
    assert status(Submission(0, (), by_other), None) == 403
    wrong = parse_note(bytes(good.note).replace(b"\n3\n", b"\n4\n"))
    assert status(Submission(0, (), wrong), None) == 403
    both = Note(good.note.text, by_other.signatures + good.note.signatures)
    assert status(Submission(0, (), both), None) == 200  # the unknown one is ignored
    spoilt = Note(good.note.text, good.note.signatures + wrong.signatures[:0] + _bad(good.note))
    assert status(Submission(0, (), spoilt), None) == 403


def _bad(note: Note) -> tuple[object, ...]:
    line = note.signatures[0]
    return (type(line)(line.name, line.key_id, bytes(64)),)


def test_extension_lines_are_cosigned_with_the_rest() -> None:
    """A checkpoint with extension lines is judged by its first three."""
    text = submission(0, leaves(3)).note.text + "extension\n"
    assert status(Submission(0, (), sign_note(text, ORIGIN, KEY)), None) == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("old ", "old  "),
        lambda text: text.replace("old ", "Old "),
        lambda text: text.replace("old 2", "old 02"),
        lambda text: text.replace("old 2", "old +2"),
        lambda text: text.replace("old 2", "old \u0662"),
        lambda text: text.replace("old 2", "old -2"),
        lambda text: text.replace("old 20852014", f"old {2**63}"),
        lambda text: text.replace("old 20852014\n", ""),
        lambda text: text.replace("PlRN", "PlR"),
        lambda text: text.replace("aw=\n", "aw= \n", 1),
        lambda text: text.replace("\n\nexample", "\nexample"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rpartition("— ")[0][:-1],
        lambda text: text[:-1],
        lambda text: text.partition("— ")[0],
        lambda text: "",
        lambda text: "old 0\n\n",
        lambda text: text + "x" * 300_000,
        lambda text: text.replace("old 20852014\n", "old 20852014\n" + ("A" * 43 + "=\n") * 60),
    ],
)
def test_what_is_malformed_is_refused_as_400(change: object) -> None:
    """Each rule of the request's form."""
    with pytest.raises(Problem) as caught:
        parse_submission(change(EXAMPLE).encode())  # type: ignore[operator]
    assert (caught.value.code, caught.value.status) == (Code.INVALID_REQUEST, 400)


def test_63_lines_of_proof_are_read() -> None:
    """The longest proof that a client may send."""
    given = Submission(3, (b"x" * 32,) * MAX_PROOF_LINES, submission(0, leaves(4)).note)
    assert parse_submission(format_submission(given)) == given


@pytest.mark.parametrize("text", ["log\n", "log\nx\n", "log\n1\nAAAA\n", "log\n\n\n\n"])
def test_a_signed_note_that_is_no_checkpoint_is_malformed(text: str) -> None:
    """400, although the log signed it."""
    log = VerifierKey.of("log", KEY.public_key())
    with pytest.raises(Problem) as caught:
        open_submission(Submission(0, (), sign_note(text, "log", KEY)), {"log": [log]})
    assert caught.value.status == 400


@given(st.binary(max_size=300))
def test_any_bytes_are_a_submission_or_refused(data: bytes) -> None:
    """Nothing but a Problem comes out of foreign bytes; what is read prints back."""
    for body in (data, b"old 0\n\n" + data):
        with contextlib.suppress(Problem):
            assert format_submission(parse_submission(body)) == body


def test_the_reply_is_read_with_the_known_key_only() -> None:
    """Lines of unknown keys are ignored; a wrong one, none at all, or no time is refused."""
    note = submission(0, leaves(3)).note
    line = cosign(note.text, "w.example", WITNESS, 1700000000)
    foreign = cosign(note.text, "v.example", KEY, 1700000000)
    ((found, said),) = read_cosignatures(f"{foreign}{line}".encode(), note, [WITNESS_KEY])
    assert (found, said.timestamp) == (line, 1700000000)
    timeless = cosign(note.text, "w.example", WITNESS, 0)
    of_other = cosign(note.text + "x\n", "w.example", WITNESS, 1700000000)
    for body in (f"{foreign}", f"{timeless}", f"{of_other}", f"{line}{of_other}", "", "x\n"):
        with pytest.raises(Problem) as caught:
            read_cosignatures(body.encode(), note, [WITNESS_KEY])
        assert caught.value.code is Code.INVALID_NOTE


def test_a_reply_cannot_bring_a_text_of_its_own() -> None:
    """A body with a blank line would make another note; its cosignatures are of the one sent."""
    note = submission(0, leaves(3)).note
    other = note.text + "\n— x y\n"
    line = cosign(other, "w.example", WITNESS, 1700000000)
    with pytest.raises(Problem):
        read_cosignatures(f"— x y\n\n{line}".encode(), note, [WITNESS_KEY])


@pytest.mark.parametrize("body", [b"", b"5", b"05\n", b"5\n\n", b"-5\n", b"5 \n", b"9" * 30])
def test_a_size_is_one_canonical_line(body: bytes) -> None:
    """What a 409 carries; anything else is refused."""
    assert read_size(format_size(12345)) == 12345
    with pytest.raises(Problem):
        read_size(body)


def test_a_log_has_one_name_in_paths() -> None:
    """The lower-case hex SHA-256 of its origin."""
    assert origin_hash(ORIGIN) == sha256(ORIGIN.encode()).hexdigest()


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20), st.booleans())
@example(known=6, more=3, fork_at=3, garbled=False)
@example(known=8, more=3, fork_at=3, garbled=False)
@example(known=6, more=0, fork_at=3, garbled=False)
def test_a_fork_is_proven_by_its_own_proof_and_by_nothing_else(
    known: int, more: int, fork_at: int, garbled: bool
) -> None:
    """Two roots at one size, or an honest proof from the other beginning; never by garbage.

    Of sizes that are powers of two the proof lacks the old root, and proves nothing to others.
    """
    before, now = leaves(known), leaves(known + more, 1, fork_at)
    path = proof(known, now) if more else ()
    if garbled:
        path = tuple(sha256(sibling).digest() for sibling in path)
    forked = fork_at < known
    tells = more == 0 or (known & (known - 1) != 0 and not garbled)
    assert proves_fork(head(before), head(now), known, path) is (forked and tells)
    if known > 1:
        assert not proves_fork(head(before), head(now), known - 1, path) or more == 0
    assert not proves_fork(Checkpoint("other", known, b"x" * 32), head(now), known, path)
