"""Starts the test harness's listener, which is never on by default."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network

from exchange.problems import Code, Problem, Side
from exchange.trust import RegistryState
from mediator import xroad
from mediator.background import background_tasks
from mediator.consumer import Consumer
from mediator.gate import Gate
from mediator.govstack.allowed import AllowedMethods
from mediator.govstack.harness import Harness
from mediator.own_keys import read_file
from mediator.settings import ServerSettings
from mediator.view import RegistryView
from serving.clock import Clock
from serving.listener import Listener, OnMalformed, is_loopback, listen, split_address

_WHERE = "listen.govstack_harness"


async def listen_harness(
    settings: ServerSettings,
    stack: AsyncExitStack,
    view: RegistryView,
    consumer: Consumer,
    gate: Gate,
    clock: Clock,
    on_malformed: OnMalformed,
) -> Listener | None:
    """The harness's listener, or None when its address is not set.

    Raises:
        Problem: ``InvalidSettings`` for an address beyond loopback without ``http_networks``, or
            what a registry of ``harness_registries`` says of itself.
    """
    address = settings.listen.govstack_harness
    if address is None:
        return None
    host, _ = split_address(address, _WHERE)
    if not (is_loopback(host) or settings.listen.http_networks):
        raise Problem(
            Code.INVALID_SETTINGS,
            where=_WHERE,
            detail="plain text beyond loopback needs listen.http_networks",
        )
    further = await _follow(settings, stack, clock)
    harness = Harness(
        states=partial(_states, view, further),
        entrance=xroad.Entrance(
            {
                item.id: xroad.LocalApplication(item.id, item.mode, frozenset())
                for item in settings.applications
            },
            tuple(map(ip_network, settings.listen.http_networks)),
        ),
        allowed=AllowedMethods(consumer, gate),
    )
    listener = await listen(
        harness.handle,
        address,
        where=_WHERE,
        side=Side.CONSUMER,
        drain_s=1.0,
        max_line_bytes=settings.limits.url_max_bytes,
        max_connections=settings.limits.listener_connections,
        on_malformed=on_malformed,
    )
    stack.push_async_callback(listener.stop)
    return listener


async def _follow(
    settings: ServerSettings, stack: AsyncExitStack, clock: Clock
) -> tuple[RegistryView, ...]:
    """Views of the further registries, kept fresh until the stack unwinds."""
    views = []
    for registry in settings.harness_registries:
        root = read_file(registry.root, "harness_registries.root")
        view = await RegistryView.open(
            registry.url,
            root,
            settings.directory / "harness" / hashlib.sha256(root).hexdigest()[:16],
            poll_s=registry.poll_s,
            grace_s=registry.grace_s,
            clock=clock,
        )
        stack.push_async_callback(view.close)
        views.append(view)
    background = await stack.enter_async_context(background_tasks())
    for view in views:
        background.start(view.run())
    return tuple(views)


def _states(own: RegistryView, further: Sequence[RegistryView]) -> Iterator[RegistryState]:
    """The states in force, this server's own first, which must be."""
    yield own.state
    for view in further:
        with suppress(Problem):
            yield view.state
