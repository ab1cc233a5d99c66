"""Trust policies: C2SP tlog-policy's grammar, its rules of names, and what a quorum is."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.cosignature import cosign
from exchange.log.notes import COSIGNATURE_ED25519, Note, VerifierKey, parse_note, sign_note
from exchange.log.policy import Group, Party, Policy, any_of, parse_policy
from exchange.problems import Code, Problem

ORIGIN = "log.example/journal"


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def witness_key(number: int) -> VerifierKey:
    return VerifierKey.of(f"w.example/{number}", key(number).public_key(), COSIGNATURE_ED25519)


LOG = VerifierKey.of(ORIGIN, key(200).public_key())
W = [witness_key(number) for number in range(10)]
EXAMPLE = f"""
# the specification's example, with keys
log {LOG}

witness X1 {W[1]}
witness X2\t {W[2]}\thttps://x2.example/witness
  witness X3 {W[3]}\t
group X-witnesses 2 X1 X2 X3

witness Y1 {W[4]}
witness Y2 {W[5]}
witness Y3 {W[6]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def checkpoint(*cosigners: int, log: int = 200, origin: str = ORIGIN) -> bytes:
    note = parse_note(sign_checkpoint(Checkpoint(origin, 7, b"r" * 32), key(log)))
    lines = tuple(cosign(note.text, f"w.example/{n}", key(n), 1700000000) for n in cosigners)
    return bytes(Note(note.text, note.signatures + lines))


def refused(text: str | bytes) -> str:
    with pytest.raises(Problem) as caught:
        parse_policy(text if isinstance(text, bytes) else text.encode())
    assert caught.value.code is Code.INVALID_DOCUMENT
    return caught.value.where


def test_the_example_of_the_specification() -> None:
    """Groups of groups; comments, blank lines, tabs and leading spaces are allowed; URLs kept."""
    policy = parse_policy(EXAMPLE.encode())
    assert policy.logs == (Party(LOG),)
    assert policy.witnesses["X2"] == Party(W[2], "https://x2.example/witness")
    assert policy.groups["X-and-Y"] == Group(2, ("X-witnesses", "Y-witnesses"))
    assert policy.is_quorum(frozenset({"X1", "X3", "Y2"}))
    assert not policy.is_quorum(frozenset({"X1", "X2", "X3"}))
    assert not policy.is_quorum(frozenset({"X1", "Y1", "Y2", "Y3"}))
    assert parse_policy(str(policy).encode()) == policy


def test_a_checkpoint_is_judged_by_its_log_and_its_cosigners() -> None:
    """check() returns what a known log signed and a quorum cosigned, and nothing else."""
    policy = parse_policy(EXAMPLE.encode())
    assert policy.check(checkpoint(1, 2, 4)) == Checkpoint(ORIGIN, 7, b"r" * 32)
    assert policy.is_met(checkpoint(1, 2, 4))
    assert not policy.is_met(checkpoint(1, 2))
    for data, code in (
        (checkpoint(1, 2), Code.NOT_WITNESSED),
        (checkpoint(), Code.NOT_WITNESSED),
        (checkpoint(1, 2, 4, log=201), Code.INVALID_NOTE),
        (checkpoint(1, 2, 4, origin="another.example"), Code.INVALID_NOTE),
        (b"nothing", Code.INVALID_NOTE),
    ):
        with pytest.raises(Problem) as caught:
            policy.check(data)
        assert caught.value.code is code


def test_a_log_speaks_for_itself_alone() -> None:
    """A key signs for the log of its name: one log of the policy cannot make heads of another."""
    other = VerifierKey.of("other.example", key(201).public_key())
    policy = parse_policy(f"log {LOG}\nlog {other}\nquorum none\n".encode())
    text = str(Checkpoint(ORIGIN, 7, b"r" * 32))
    forged = bytes(sign_note(text, "other.example", key(201)))
    with pytest.raises(Problem) as caught:
        policy.check(forged)
    assert caught.value.code is Code.INVALID_NOTE
    both = Note(text, (*parse_note(forged).signatures, *parse_note(checkpoint()).signatures))
    assert policy.check(bytes(both)).origin == ORIGIN


def test_a_wrong_line_of_a_known_witness_spoils_the_note() -> None:
    """As the signed-note format wants it; one of an unknown witness is passed over."""
    policy = any_of({"a": W[1], "b": W[2]}, 1)
    note = parse_note(checkpoint(1))
    of_other = parse_note(checkpoint(2)).text.replace("7", "8")
    wrong = cosign(of_other, "w.example/2", key(2), 1700000000)
    assert not policy.is_met(bytes(Note(note.text, (*note.signatures, wrong))))
    unknown = cosign(of_other, "w.example/9", key(9), 1700000000)
    assert policy.is_met(bytes(Note(note.text, (*note.signatures, unknown))))


def test_quorum_none_asks_for_nothing() -> None:
    """The predefined name makes a policy without witnesses; it is no name of a member."""
    policy = parse_policy(b"quorum none\n")
    assert not policy.demands
    assert policy.is_met(checkpoint())
    assert policy.check(checkpoint(log=201)).origin == ORIGIN  # the log is known from elsewhere
    assert refused(f"witness none {W[1]}\nquorum none\n") == "policy, line 1"
    assert refused("group g any none\nquorum none\n") == "policy, line 1"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        (f"log {LOG}\n", None),
        ("quorum none", 1),
        ("quorum none\nquorum none\n", 2),
        ("quorum later\n", 1),
        (f"quorum w\nwitness w {W[1]}\n", 1),
        ("log\nquorum none\n", 1),
        ("LOG x\nquorum none\n", 1),
        (f"log {LOG} url more\nquorum none\n", 1),
        (f"log {W[1]}\nquorum none\n", 1),
        (f"witness w {LOG}\nquorum none\n", 1),
        (f"log {str(LOG)[:-4]}\nquorum none\n", 1),
        (f"log {LOG}\nlog {LOG}\nquorum none\n", 2),
        (f"witness a {W[1]}\nwitness b {W[1]}\nquorum none\n", 2),
        (f"witness a {W[1]}\nwitness a {W[2]}\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup a any a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g any\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g 0 a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g 2 a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g 01 a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g some a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g any a a\nquorum none\n", 2),
        (f"witness a {W[1]}\ngroup g any a\ngroup h any a\nquorum none\n", 3),
        (f"group g any a\nwitness a {W[1]}\nquorum none\n", 1),
        ("group g any g\nquorum none\n", 1),
        ("quorum none\r\n", 1),
        ("quorum none\n\x0b\n", 2),
        ("# \x7f\nquorum none\n", 1),
        ("quorum\u00a0none\n", 1),
        ("quorum none # why\n", 1),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(text: str, line: int | None) -> None:
    """Every rule of the file's syntax and structure; only space and tab divide items."""
    assert refused(text) == ("policy" if line is None else f"policy, line {line}")


def test_the_same_key_under_another_name_is_a_duplicate() -> None:
    """Duplicate are keys with the same public key, whatever name and key id they carry."""
    again = VerifierKey(f"{W[1].name}/again", COSIGNATURE_ED25519, W[1].public)
    assert refused(f"witness a {W[1]}\nwitness b {again}\nquorum none\n") == "policy, line 2"


def test_names_are_octets() -> None:
    """K and the Kelvin sign are different names; what is not UTF-8 is a name, too."""
    text = f"witness K {W[1]}\nwitness \u212a {W[2]}\n".encode()
    text += b"witness \xff " + f"{W[3]}\n".encode() + b"group g all K \xff\nquorum g\n"
    policy = parse_policy(text)
    assert len(policy.witnesses) == 3
    assert policy.is_met(checkpoint(1, 3))
    assert not policy.is_met(checkpoint(2, 3))
    refused(b"log \xff" + str(LOG).encode() + b"\nquorum none\n")


def test_a_policy_of_the_recommended_size_is_taken() -> None:
    """At least 32 logs, 32 witnesses and 32 groups (here 100 each)."""
    lines = [f"log {VerifierKey.of(f'l{n}', key(n + 100).public_key())}" for n in range(100)]
    lines += [f"witness w{n} {witness_key(n)}" for n in range(100)]
    lines += ["group g0 any w0"] + [f"group g{n} 2 w{n} g{n - 1}" for n in range(1, 100)]
    policy = parse_policy(("\n".join([*lines, "quorum g99"]) + "\n").encode())
    assert policy.is_quorum(frozenset(f"w{n}" for n in range(100)))
    assert not policy.is_quorum(frozenset(f"w{n}" for n in range(1, 100)))


@given(st.integers(0, 6), st.integers(0, 8), st.sets(st.integers(0, 7)))
def test_any_of_wants_so_many_or_all_there_are(count: int, least: int, present: set[int]) -> None:
    """The default policy: so many of the known witnesses, all when they are fewer."""
    policy = any_of({f"w{n}": W[n] for n in range(count)}, least)
    names = frozenset(f"w{n}" for n in present)
    here = len([n for n in present if n < count])
    assert policy.is_quorum(names) == (here >= min(least, count))
    assert parse_policy(str(policy).encode()) == policy


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    witnesses = {f"w{n}": Party(W[n], draw(st.sampled_from([None, "u"]))) for n in range(6)}
    free = [*witnesses]
    groups: dict[str, Group] = {}
    for number in range(draw(st.integers(0, 4))):
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True)) if free else []
        if members:
            free = [name for name in free if name not in members] + [f"g{number}"]
            groups[f"g{number}"] = Group(draw(st.integers(1, len(members))), tuple(members))
    quorum = draw(st.sampled_from(["none", *witnesses, *groups]))
    return Policy((Party(LOG),), witnesses, groups, quorum)


@given(policies(), st.sets(st.integers(0, 6)))
def test_a_quorum_is_what_its_definition_says(policy: Policy, present: set[int]) -> None:
    """Against the definition taken word for word, from the top down; and it prints back."""

    def witnessed(name: str) -> bool:
        if name in policy.groups:
            group = policy.groups[name]
            return len([m for m in group.members if witnessed(m)]) >= group.least
        return name in {f"w{n}" for n in present}

    expected = policy.quorum == "none" or witnessed(policy.quorum)
    assert policy.is_quorum(frozenset(f"w{n}" for n in present)) is expected
    assert parse_policy(str(policy).encode()) == policy


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_a_policy_or_refused(data: bytes) -> None:
    """Nothing but a Problem comes out of foreign bytes."""
    with contextlib.suppress(Problem):
        policy = parse_policy(data + b"\nquorum none\n")
        assert policy.quorum == "none"
