"""What other people's witnesses signed: cosignatures of a public log, under keys that they publish.

A checkpoint of the certificate transparency log Arche 2025h1 (staging), cosigned by four public
witnesses of May 2026, which run other software than ours (in Go).
"""

from __future__ import annotations

import pytest

from exchange.log.checkpoint import open_checkpoint
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.policy import parse_policy
from exchange.problems import Code, Problem

LOG = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
WITNESSES = {
    "remora": "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "stagemole": "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    "smartit": "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "garden": "transparency.dev/DEV:witness-little-garden+d8042a87"
    "+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
}
CHECKPOINT = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501


def test_a_public_log_s_checkpoint_is_read() -> None:
    """Its Ed25519 line is verified; that in the form of RFC 6962 is of another kind of key."""
    checkpoint = open_checkpoint(CHECKPOINT.encode(), VerifierKey.parse(LOG))
    assert (checkpoint.origin, checkpoint.size) == (LOG.partition("+")[0], 1432088532)


@pytest.mark.parametrize("name", WITNESSES)
def test_a_public_witness_s_cosignature_is_verified(name: str) -> None:
    """And not over another size, nor at another time."""
    key = VerifierKey.parse(WITNESSES[name])
    assert open_cosignature(parse_note(CHECKPOINT.encode()), key).timestamp == 1779573024
    for changed in (
        CHECKPOINT.replace("\n1432088532\n", "\n1432088533\n"),
        CHECKPOINT.replace("AAAABqEiEg", "AAAABqEiEh"),
    ):
        with pytest.raises(Problem) as refused:
            open_cosignature(parse_note(changed.encode()), key)
        assert refused.value.code is Code.INVALID_NOTE


@pytest.mark.parametrize(("quorum", "met"), [("3", True), ("all", False)])
def test_a_policy_of_public_witnesses_is_judged(quorum: str, met: bool) -> None:
    """Three of five cosigned, not all: the fifth is a witness that did not."""
    fifth = "rgdd.se/poc-witness+db03732e+BCjJKlo6BU0xfIb8LutqerIFTWIXEA0L5n3tW3QyPFgG"
    witnesses = WITNESSES | {"fifth": fifth}
    lines = [f"log {LOG}", *(f"witness {name} {key}" for name, key in witnesses.items())]
    lines += [f"group public {quorum} {' '.join(witnesses)}", "quorum public", ""]
    policy = parse_policy("\n".join(lines).encode())
    assert policy.is_met(CHECKPOINT.encode()) == met
