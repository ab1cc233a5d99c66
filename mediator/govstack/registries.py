"""The registries that the test harness shows: this server's own, and further ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress

from exchange.problems import Problem
from exchange.trust.state import RegistryState
from mediator.background.tasks import background_tasks
from mediator.registry_copy.view import RegistryView
from mediator.settings import ServerSettings
from serving.clock import Clock
from serving.small_files import read_file

States = Callable[[], Iterator[RegistryState]]
"""The states in force, this server's own first, which must be."""


async def follow(
    settings: ServerSettings, stack: AsyncExitStack, own: RegistryView, clock: Clock
) -> States:
    """Keep views of the further registries fresh until the stack unwinds.

    Without an address for the harness none is followed.

    Raises:
        Problem: what a registry of ``harness_registries`` says of itself.
    """
    further: list[RegistryView] = []

    def states() -> Iterator[RegistryState]:
        yield own.state
        for view in further:
            with suppress(Problem):
                yield view.state

    if settings.listen.govstack_harness is None:
        return states
    for registry in settings.harness_registries:
        root = read_file(registry.root, where="harness_registries.root")
        view = await RegistryView.open(
            registry.url,
            root,
            settings.directory / "harness" / hashlib.sha256(root).hexdigest()[:16],
            poll_s=registry.poll_s,
            grace_s=registry.grace_s,
            clock=clock,
        )
        stack.push_async_callback(view.close)
        further.append(view)
    background = await stack.enter_async_context(background_tasks())
    for view in further:
        background.start(view.run())
    return states
