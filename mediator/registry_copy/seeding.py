"""A server's first copy of the registry out of a bundle, without a network."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from exchange.trust.state import RegistryState
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.accepted import FILES
from mediator.registry_copy.bundle import BundleFetcher
from mediator.registry_copy.log import FollowedLog
from mediator.settings import ServerSettings
from mediator.witness.known import read_policy
from serving.small_files import read_file


def seed(settings: ServerSettings, path: Path, at: datetime) -> RegistryState:
    """Take the registry's state out of the bundle at ``path``, verified like a download.

    A copy that is there already goes on from where it is; an older bundle is refused then.

    Raises:
        Problem: ``InvalidDocument`` for what is no bundle; as
            :meth:`mediator.registry_copy.RegistryCopy.synchronise`.
    """
    registry = settings.registry
    root = read_file(registry.root, where="registry.root")
    policy = read_policy(registry.policy, "registry.policy") if registry.policy else None
    settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = settings.directory / "registry"
    fetcher = BundleFetcher(path, registry.url, folder / FILES)
    copy = RegistryCopy(
        folder,
        registry.url,
        root,
        fetcher,
        timedelta(seconds=registry.grace_s),
        log=FollowedLog(fetcher, policy, str(settings.server)),
    )
    copy.load(at)
    copy.synchronise(at)
    state = copy.state
    assert state is not None  # noqa: S101  # it was synchronised
    return state
