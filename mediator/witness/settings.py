"""Settings of witnessing, for a server and for a witness that runs alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.logs import LogLevel
from serving.settings import setting


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Who cosigns this server's log, and whose logs it cosigns."""

    policy: Path | None = setting(
        "trust policy (C2SP tlog-policy) that names the witnesses of this server's log; without it "
        "servers of other members in the registry are asked",
        default=None,
    )
    peers: int = setting(
        "without a policy: so many servers of other members are asked; 0 asks none",
        default=3,
        low=0,
        high=32,
    )
    quorum: int = setting(
        "without a policy: so many of them must cosign (all, when there are fewer)",
        default=2,
        low=0,
        high=32,
    )
    ca: Path | None = setting(
        "authorities (PEM) of witnesses with an https address; the system's if not given",
        default=None,
    )
    timeout_s: float = setting(
        "seconds for one request to a witness", default=10.0, low=0.1, high=300
    )
    retry_max_s: float = setting(
        "longest wait before a witness that failed is asked again", default=60.0, low=0.1, high=3600
    )
    hold_s: float = setting(
        "seconds for which a start waits for the witnesses' word on what was signed before, with "
        "its checkpoints and with nothing else",
        default=5.0,
        low=0,
        high=300,
    )
    alarm_s: float = setting(
        "seconds without a quorum after which health says degraded", default=300.0, low=0
    )
    logs: tuple[str, ...] = setting(
        "verifier keys of further logs that this server witnesses, besides those of the registry",
        default=(),
    )


@dataclass(frozen=True, slots=True)
class WitnessTls:
    """A certificate (PEM, leaf first) and its private key."""

    certificate: Path = setting("certificate file, PEM, leaf first")
    key: Path = setting("private key file, PEM")


@dataclass(frozen=True, slots=True)
class LoneWitnessSettings:
    """A witness that runs alone (``saphan witness``)."""

    name: str = setting("name of its key, such as witness.audit.example/1; no spaces, no plus sign")
    directory: Path = setting("folder for its key, its memory and proofs of misbehaviour")
    listen: str = setting("address as host:port", default="127.0.0.1:0")
    tls: WitnessTls | None = setting("serve https with this certificate", default=None)
    policy: Path | None = setting(
        "trust policy (C2SP tlog-policy) whose logs are witnessed", default=None
    )
    logs: tuple[str, ...] = setting("verifier keys of further logs that are witnessed", default=())
    log_level: LogLevel = setting("debug, info, warning or error", default=LogLevel.INFO)
