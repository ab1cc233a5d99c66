"""The continuity of members' keys."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Delegations, SuccinctRoles, Targets

from exchange.documents import Node
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registry.continuity import (
    Pin,
    Statement,
    check_continuity,
    format_statements,
    parse_statements,
)
from exchange.registry.delegations import (
    continuity_target,
    delegated_role,
    read_delegations,
    role_name,
)
from exchange.registry.key_sets import KeySet, format_keys, parse_keys, role_keys
from registry.publication.signers import key_set, new_signer
from tests.registry.simulator import MOF, MPI

A, B, C, D = (new_signer() for _ in range(4))
ROOT = [new_signer() for _ in range(3)]
ROOT_KEYS = key_set(ROOT, 2)
CODES = st.text("AZaz09'()+,-.=?", min_size=1, max_size=8).filter(lambda code: code.strip("."))


def keys(*signers: CryptoSigner, threshold: int = 1) -> KeySet:
    return key_set(signers, threshold)


def change(
    number: int,
    before: CryptoSigner,
    after: CryptoSigner,
    *by: CryptoSigner,
    member: MemberId = MPI,
) -> Statement:
    """Statement ``number``: before → after, signed by ``by`` (else by the old key)."""
    return Statement(member, number, keys(before), keys(after), ()).sign(by or (before,))


def check(pin: Pin | None, offered: KeySet, *statements: Statement) -> Pin:
    return check_continuity(MPI, pin, offered, statements, ROOT_KEYS)


def broken(pin: Pin, offered: KeySet, *statements: Statement) -> bool:
    with pytest.raises(Problem) as caught:
        check(pin, offered, *statements)
    assert caught.value.where == "LA/GOV/MPI"
    return caught.value.code is Code.CONTINUITY_BROKEN


def test_the_first_keys_are_pinned() -> None:
    """A member never seen is trusted as the registry delegates to it."""
    assert check(None, keys(A)) == Pin(keys(A), 0)
    assert check(None, keys(B), change(1, A, B)) == Pin(keys(B), 1)


def test_the_same_keys_need_no_statement() -> None:
    """Nothing changed, nothing to prove; the order of keys does not matter."""
    pin = Pin(keys(A, B, threshold=2), 3)
    assert check(pin, keys(B, A, threshold=2)) is pin


def test_other_keys_without_statement_break_continuity() -> None:
    """Two of three targets keys can delegate to any key: clients do not follow."""
    assert broken(Pin(keys(A), 0), keys(B))


def test_the_old_key_hands_over() -> None:
    """A statement signed by the old key is followed."""
    assert check(Pin(keys(A), 0), keys(B), change(1, A, B)) == Pin(keys(B), 1)


def test_a_chain_is_followed_from_where_the_client_stands() -> None:
    """A client that slept through several changes follows all of them."""
    chain = (change(1, A, B), change(2, B, C), change(3, C, D))
    assert check(Pin(keys(A), 0), keys(D), *chain) == Pin(keys(D), 3)
    assert check(Pin(keys(B), 1), keys(D), *chain) == Pin(keys(D), 3)
    assert check(Pin(keys(A), 0), keys(B), *chain) == Pin(keys(B), 1)


@pytest.mark.parametrize(
    "statements",
    [
        (change(1, A, B, B),),
        (change(1, A, B, C),),
        (change(1, A, B, ROOT[0]),),
        (change(1, A, C),),
        (change(2, A, B),),
        (change(1, C, B),),
        (change(1, A, B, member=MOF),),
        (change(1, A, C), change(3, C, B)),
        (change(1, A, C), change(2, C, B, A)),
        (Statement(MPI, 1, keys(A), keys(B), ()),),
        (Statement(MPI, 1, keys(A), keys(B), change(1, A, C).signatures),),
        (Statement(MPI, 1, keys(A), keys(B), change(2, A, B).signatures),),
    ],
)
def test_a_false_statement_breaks_continuity(statements: tuple[Statement, ...]) -> None:
    """Wrong signer, too few root keys, other keys, a gap, another member, a moved signature."""
    assert broken(Pin(keys(A), 0), keys(B), *statements)


def test_an_old_statement_is_not_played_again() -> None:
    """A → B, B → A, and then the first statement once more: the number is used up."""
    first, back = change(1, A, B), change(2, B, A)
    pin = check(Pin(keys(A), 0), keys(B), first)
    pin = check(pin, keys(A), first, back)
    assert pin == Pin(keys(A), 2)
    assert broken(pin, keys(B), first)
    assert broken(pin, keys(B), first, back)


def test_the_root_threshold_vouches_for_a_lost_key() -> None:
    """Two of three root keys do, the same key twice does not."""
    statement = Statement(MPI, 1, keys(A), keys(B), ())
    assert check(Pin(keys(A), 0), keys(B), statement.sign(ROOT[1:])) == Pin(keys(B), 1)
    assert broken(Pin(keys(A), 0), keys(B), statement.sign([ROOT[0], ROOT[0]]))


def test_as_many_old_keys_sign_as_had_to() -> None:
    """A member with a threshold of two hands over with two."""
    pin = Pin(keys(A, B, threshold=2), 0)
    statement = Statement(MPI, 1, pin.keys, keys(C), ())
    assert broken(pin, keys(C), statement.sign([A]))
    assert check(pin, keys(C), statement.sign([A, B])) == Pin(keys(C), 1)


def test_another_threshold_is_another_set_of_keys() -> None:
    """Lowering a threshold is a change of keys."""
    assert broken(Pin(keys(A, B, threshold=2), 0), keys(A, B, threshold=1))


def test_a_key_id_is_not_a_key() -> None:
    """The registry may write any key id over another key: values are compared."""
    evil = SSlibKey(A.public_key.keyid, "ed25519", "ed25519", B.public_key.keyval)
    assert broken(Pin(keys(A), 0), KeySet((evil,), 1))


# --------------------------------------------------------------------------------------- form


def test_statements_read_back_the_same() -> None:
    """Form and signature survive the file."""
    statements = (change(1, A, B), change(2, B, C))
    data = format_statements(statements)
    assert parse_statements(data, MPI) == statements
    assert check(Pin(keys(A), 0), keys(C), *parse_statements(data, MPI)).number == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("saphan-key-change", "other"),
        lambda text: text.replace("LA/GOV/MPI", "LA/GOV/MOF"),
        lambda text: text.replace('"number":1', '"number":0'),
        lambda text: text.replace('"number":1', '"number":1.0'),
        lambda text: text.replace('"threshold":1', '"threshold":2'),
        lambda text: text.replace("ed25519", "rsa"),
        lambda text: text.replace('"sig":"', '"sig":"Z'),
        lambda text: text.replace('"statements":[', '"statements":[],"more":['),
        lambda _: '{"statements":[]}',
    ],
)
def test_malformed_statements_are_refused(edit: Callable[[str], str]) -> None:
    """Another type, member, number, threshold, kind of key, or encoding."""
    data = edit(format_statements([change(1, A, B)]).decode()).encode()
    with pytest.raises(Problem) as caught:
        parse_statements(data, MPI)
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_a_key_under_two_spellings_is_refused() -> None:
    """Otherwise one key could meet a threshold of two."""
    public = A.public_key.keyval["public"]
    twice = {
        "aa": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}},
        "bb": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public.upper()}},
    }
    for members in (twice, {"aa": twice["aa"], "bb": twice["aa"]}):
        with pytest.raises(Problem):
            parse_keys(Node({"keys": members, "threshold": 2}, "keys", ""))


def test_p256_keys_sign_too() -> None:
    """A token that knows only P-256 can hold a member's key."""
    signer = CryptoSigner.generate_ecdsa()
    pair = keys(signer)
    assert parse_keys(Node(format_keys(pair), "keys", "")) == pair
    assert check(Pin(keys(A), 0), pair, change(1, A, signer)).number == 1
    rsa = CryptoSigner.generate_rsa(size=2048)
    role = delegated_role(MPI, keys(rsa))
    with pytest.raises(Problem):
        role_keys(role, {rsa.public_key.keyid: rsa.public_key})


@given(st.tuples(CODES, CODES, CODES))
def test_a_role_name_is_a_short_plain_name(codes: tuple[str, str, str]) -> None:
    """Role names become file names of clients: no slash, and short, whatever the codes."""
    for member in (MemberId(*codes), MemberId(*(code * 30 for code in codes))):
        assert "/" not in role_name(member)
        assert len(quote(role_name(member), "")) <= 150
        role = delegated_role(member, keys(A))
        targets = Targets(
            delegations=Delegations({A.public_key.keyid: A.public_key}, {role.name: role})
        )
        assert list(read_delegations(targets, member.instance)) == [member]


def targets_with(**changes: object) -> Targets:
    """Good delegations of one member, with attributes of its role changed."""
    role = delegated_role(MPI, keys(A))
    for name, value in changes.items():
        setattr(role, name, value)
    return Targets(delegations=Delegations({A.public_key.keyid: A.public_key}, {role.name: role}))


def test_good_delegations_are_read() -> None:
    """The one form gives the member and its keys."""
    assert read_delegations(targets_with(), "LA") == {MPI: keys(A)}
    assert read_delegations(Targets(), "LA") == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "LA~GOV~MOF"},
        {"name": "anything"},
        {"paths": ["LA/GOV/*/*"]},
        {"paths": ["LA/GOV/MPI/*", "LA/GOV/MOF/*"]},
        {"paths": None, "path_hash_prefixes": ["00"]},
        {"terminating": False},
        {"threshold": 2},
        {"keyids": []},
        {"keyids": ["00"]},
    ],
)
def test_a_delegation_in_another_form_spoils_the_metadata(changes: dict[str, object]) -> None:
    """Another name, wider paths, not terminating, keys that are not there."""
    with pytest.raises(Problem) as caught:
        read_delegations(targets_with(**changes), "LA")
    assert caught.value.code is Code.UNTRUSTED_METADATA


def test_succinct_roles_and_another_instance_spoil_the_metadata() -> None:
    """Forms of delegation that this registry never uses are refused."""
    with pytest.raises(Problem):
        read_delegations(targets_with(), "TH")
    succinct = SuccinctRoles([A.public_key.keyid], 1, 1, "bin")
    with pytest.raises(Problem):
        read_delegations(
            Targets(
                delegations=Delegations({A.public_key.keyid: A.public_key}, succinct_roles=succinct)
            ),
            "LA",
        )


def test_statements_have_a_place_of_their_own() -> None:
    """Statements stand among the registry's own targets, which members' roles cannot reach."""
    assert continuity_target(MPI) == "continuity/LA~GOV~MPI.json"
