"""Settings of a registry: ``DIR/registry.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from registry.actors.sign_in import SignInSettings
from registry.publication.publishing import Terms
from registry.requests.lifecycle import parse_policy
from registry.requests.once_only import Policy
from serving.settings import read, setting

SETTINGS_FILE = "registry.yaml"
DATABASE = "registry.db"


@dataclass(frozen=True)
class RegistrySettings:
    """What an operator may change; the defaults suit servers that poll twice a minute."""

    timestamp_validity_s: int = setting(
        "How long servers may believe that nothing is newer; signed again at half of it.",
        default=3600,
        low=10,
        high=7 * 86400,
    )
    snapshot_validity_s: int = setting(
        "How long a snapshot is valid; signed again at half of it.",
        default=7 * 86400,
        low=20,
        high=90 * 86400,
    )
    approval: Mapping[str, str] = setting(
        "How many people must approve which kind of change: none, one or two, by `default` and by "
        "kinds such as `change server`; two are two others than who handed it in. What the offline "
        "keys sign needs one at least; disabling needs none unless you say so.",
        default_factory=dict,
    )
    sign_in: SignInSettings | None = setting(
        "Sign-in with OpenID Connect besides API keys.", default=None
    )
    once_only: Policy = setting(
        "What becomes of a service that asks people for a data element that another organisation "
        "gives: its submission is taken with a warning, or refused.",
        default=Policy.WARN,
    )
    minutes_per_field: float = setting(
        "Minutes that a person takes to fill in a field of a form and prove it, for the estimate "
        "of `saphan once meter`: have it measured at your counters.",
        default=0.5,
        low=0,
        high=60,
    )
    stop_within_s: int = setting(
        "How long requests under way may last when the registry stops.",
        default=10,
        low=1,
        high=300,
    )

    bundle_every_s: int = setting(
        "How long the bundle for servers that have everything to fetch stays before it is made "
        "anew, if anything changed.",
        default=3600,
        low=1,
        high=30 * 86400,
    )

    database: str = setting(
        "PostgreSQL database of the registry: postgresql://user@host/database (keep the password "
        "in PGPASSFILE); empty: SQLite, registry.db beside this file.",
        default="",
    )

    witnesses: str = setting(
        "Trust policy (C2SP tlog-policy) with the witnesses that cosign the registry's log, each "
        "with its address; a file, from this folder on.",
        default="",
    )
    witness_ca: str = setting(
        "Authorities (PEM) of witnesses with an https address, a file, from this folder on; empty: "
        "those of the system.",
        default="",
    )
    witness_timeout_s: int = setting(
        "How long a witness may take to cosign.", default=10, low=1, high=120
    )

    def place(self, directory: Path) -> Path | str:
        """Where the database of the registry in ``directory`` is."""
        return self.database or directory / DATABASE

    def terms(self) -> Terms:
        """The settings that the registrar needs."""
        return Terms(
            timedelta(seconds=self.timestamp_validity_s),
            timedelta(seconds=self.snapshot_validity_s),
            parse_policy(self.approval, f"{SETTINGS_FILE}.approval"),
            self.once_only,
            self.minutes_per_field,
        )


def read_settings(directory: Path) -> RegistrySettings:
    """The settings of the registry in ``directory``; defaults when there is no file.

    Raises:
        Problem: ``InvalidSettings``.
    """
    path = directory / SETTINGS_FILE
    return read(RegistrySettings, path) if path.exists() else RegistrySettings()
