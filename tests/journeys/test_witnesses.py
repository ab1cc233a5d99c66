"""Servers witness each other's journals: real servers, over the link, with nothing configured."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from console.cli.main import main
from console.reference_world.processes import health
from console.reference_world.standing import RunningServer
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import VerifierKey, open_note, parse_note
from mediator.journal.anchors import AnchorReader
from mediator.own_keys import log_keys, origin_of
from mediator.witness.state import WitnessState
from tests.world import small
from tests.world.small import SmallWorld


def keys(server: RunningServer) -> tuple[VerifierKey, VerifierKey]:
    return log_keys(server.journal.parent, server.plan.id)


def wait(condition: Callable[[], Any], timeout_s: float = 30) -> Any:
    """What a condition gives as soon as it gives something."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def cosigned(server: RunningServer, size: int) -> Any:
    """An anchor of at least this size with a cosignature."""
    reader = AnchorReader.open(server.journal)
    try:
        newest = reader.latest()
        return newest if newest and newest.size >= size and newest.cosignatures else None
    finally:
        reader.close()


def test_two_servers_cosign_each_other(shared_world: SmallWorld) -> None:
    """Each anchor carries the other's line; any verifier can check it: here with nothing of ours
    but the two keys of the registry, by the text of C2SP tlog-cosignature."""
    assert shared_world.call().status == 200
    for server, other in (
        (shared_world.mof, shared_world.mpi),
        (shared_world.mpi, shared_world.mof),
    ):
        checks: Any = health(f"{server.url('admin')}/healthz")["checks"]
        anchor = wait(lambda: cosigned(server, checks["journal"]["entries"]))  # noqa: B023
        text, _, lines = anchor.checkpoint.decode().rpartition("\n\n")
        by_name = dict(line.split(" ")[1:] for line in lines.strip().split("\n"))
        assert list(by_name) == [origin_of(server.plan.id), f"{other.plan.id}/witness"]
        _verify_with_nothing_of_ours(text + "\n", *by_name.values(), keys(server), keys(other))
        memory = WitnessState(other.journal.parent / "witness.sqlite")
        known = memory.known(origin_of(server.plan.id))
        memory.close()
        assert known is not None
        assert known.checkpoint.size >= anchor.size


def _verify_with_nothing_of_ours(
    text: str,
    log_line: str,
    witness_line: str,
    of_log: tuple[VerifierKey, VerifierKey],
    of_witness: tuple[VerifierKey, VerifierKey],
) -> None:
    import hashlib

    for vkey, line, kind in ((of_log[0], log_line, 1), (of_witness[1], witness_line, 4)):
        name, _, material = str(vkey).split("+", 2)
        public = base64.b64decode(material)
        assert public[0] == kind
        raw = base64.b64decode(line)
        assert raw[:4] == hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
        message = text.encode()
        signature = raw[4:]
        if kind == 4:
            at = int.from_bytes(raw[4:12], "big")
            assert abs(at - time.time()) < 3600
            message = f"cosignature/v1\ntime {at}\n{text}".encode()
            signature = raw[12:]
        Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature, message)


def test_health_and_administration_tell(shared_world: SmallWorld) -> None:
    """Who was asked, up to where a quorum cosigned, and that the registry lists the right keys."""
    server = shared_world.mof
    checks: Any = health(f"{server.url('admin')}/healthz")["checks"]
    wait(lambda: cosigned(server, checks["journal"]["entries"]))
    found: Any = wait(
        lambda: (
            (now := health(f"{server.url('admin')}/healthz")["checks"]["witnesses"])[
                "witnessed_size"
            ]
            and now
        )
    )
    assert found["ok"]
    assert found["registered"]
    assert (found["asked"], found["failing"], found["misbehaviour"]) == (1, [], 0)
    metrics = small.exchange(server.url("admin"), "GET", "/metrics", {}).body.decode()
    assert "saphan_quorum_waiting_seconds 0.0" in metrics


def test_only_registered_servers_reach_a_witness_over_the_link(shared_world: SmallWorld) -> None:
    """The witness is on the listener for servers: who shows no certificate does not come in."""
    context = ssl.create_default_context(cafile=str(shared_world.world.authorities))
    host, port = "127.0.0.1", shared_world.mpi.ports["peer"]
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    try:
        connection.request("POST", "/witness/add-checkpoint", b"old 0\n\n")
        answered = connection.getresponse().status
    except (ssl.SSLError, OSError, http.client.HTTPException):
        answered = 0
    finally:
        connection.close()
    assert answered == 0


def test_the_last_checkpoint_that_was_cosigned_can_be_read(shared_world: SmallWorld) -> None:
    """By a server, with the standard library's client: the log's line and the witness's."""
    server, witness = shared_world.mof, shared_world.mpi
    wait(lambda: cosigned(server, 1))
    hashed = hashlib.sha256(origin_of(server.plan.id).encode()).hexdigest()
    shown = _link(server, witness, "GET", f"/witness/{hashed}/checkpoint")
    assert shown.status == 200
    note = parse_note(shown.body)
    assert open_note(note, [keys(server)[0]])
    assert open_cosignature(note, keys(witness)[1]).timestamp > 0
    assert _link(server, witness, "GET", f"/witness/{'0' * 64}/checkpoint").status == 404
    assert _link(server, witness, "GET", "/witness/add-checkpoint").status == 405
    problem = _link(server, witness, "GET", "/witness/else")
    assert problem.status == 404
    assert json.loads(problem.body)["type"].endswith("NotFound")


def test_a_server_cosigns_the_registry_s_log(shared_world: SmallWorld) -> None:
    """The registry, which is no server, asks it at ``listen.witness``, over TLS, like anybody who
    has a log cosigned; the log's key is known from the instance's description."""
    witness, world = shared_world.mpi, shared_world.world
    folder = world.directory / "registry"
    settings = folder / "registry.yaml"
    before = settings.read_text()
    key = keys(witness)[1]
    (folder / "witnesses.policy").write_text(
        f"witness mpi {key} https://{witness.plan.listen['witness']}/witness\nquorum mpi\n"
    )
    changes = {"witnesses": "witnesses.policy", "witness_ca": str(world.authorities)}
    settings.write_text(yaml.safe_dump(yaml.safe_load(before) | changes))

    def head() -> Any:
        note = parse_note((folder / "public" / "log" / "checkpoint").read_bytes())
        return note if len(note.signatures) > 1 else None

    world.registry.stop()
    try:
        world.registry.start()
        world.registry.wait_ready()
        note = wait(head)
    finally:
        world.registry.stop()
        settings.write_text(before)
        world.registry.start()
        world.registry.wait_ready()
    assert open_cosignature(note, key).timestamp > 0
    memory = WitnessState(witness.journal.parent / "witness.sqlite")
    known = memory.known("LA/registry")
    memory.close()
    assert known is not None
    assert known.note.text == note.text


def _link(
    server: RunningServer, to: RunningServer, method: str, target: str, body: bytes = b""
) -> small.Answer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(server.folder.parents[1] / "pki" / "authorities.pem")
    context.load_cert_chain(server.folder / "auth.pem", server.folder / "auth.key")
    return small.exchange(to.url("peer"), method, target, {}, body or None, context)


def test_the_operator_s_commands_tell_the_keys_and_the_witnesses(shared_world: SmallWorld) -> None:
    """`mediator keys` prints what the registry lists; `mediator witnesses` asks the server."""
    server, other = shared_world.mof, shared_world.mpi
    wait(lambda: cosigned(server, 1))
    runner, settings = CliRunner(), str(server.folder / "server.yaml")
    printed = json.loads(runner.invoke(main, ["mediator", "keys", settings, "--json"]).stdout)
    assert printed == dict(zip(("journal", "witness"), map(str, keys(server)), strict=True))
    found = wait(
        lambda: (
            (told := json.loads(_witnesses(runner, settings, "--json")))["witnessed_size"] and told
        )
    )
    assert (found["journal"], found["witness"]) == (printed["journal"], printed["witness"])
    assert [row["name"] for row in found["witnesses"]] == [str(other.plan.id)]
    assert f"{other.plan.id}: cosigned" in _witnesses(runner, settings)
    assert small.exchange(server.url("admin"), "GET", "/misbehaviour", {}).json == {
        "misbehaviour": []
    }


def _witnesses(runner: CliRunner, settings: str, *more: str) -> str:
    done = runner.invoke(main, ["mediator", "witnesses", settings, *more])
    assert done.exit_code == 0
    return done.stdout


def test_servers_tell_each_other_which_registry_they_see(shared_world: SmallWorld) -> None:
    """The head of the registry's log that a server accepted is read as witnesses' heads are, and
    both servers accepted one that the registry's own key signed."""
    registry = small.exchange(shared_world.world.registry_url, "GET", "/log/checkpoint", {})
    text = registry.body.decode().rpartition("\n\n")[0]
    name = text.partition("\n")[0]
    assert name == "LA/registry"
    hashed = hashlib.sha256(name.encode()).hexdigest()
    shown = _link(shared_world.mof, shared_world.mpi, "GET", f"/witness/{hashed}/checkpoint")
    assert shown.status == 200
    note = parse_note(shown.body)
    assert note.text.startswith(f"{name}\n")
    accepted = json.loads((shared_world.mpi.journal.parent / "registry/accepted.json").read_text())
    assert accepted["log"]["note"].encode() == shown.body
