"""The registry as a running service.

:func:`start` opens the registry in a folder and listens; :func:`serve` does so until it is told to
stop. A task of the service signs snapshot and timestamp again in time and clears away old files.

Order of stopping: no new connections; requests under way get ``stop_within_s``; the signing task
ends; the database closes. Nothing is lost by a kill: every act is one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from aiohttp import web

from exchange.problems import Code, Problem
from exchange.registry.endings import Told
from registry.actors.sign_in import SignIn
from registry.http.api import Api, not_http
from registry.pages import Site
from registry.publication.bundle import bundle_age_s, publish_bundle
from registry.publication.ceremony import PUBLIC, online_keys, open_log
from registry.publication.ending import next_step
from registry.publication.tree import Tree
from registry.registrar import Registrar
from registry.settings import RegistrySettings, read_settings
from registry.store import Store
from serving.clock import Clock, SystemClock
from serving.locks import locked
from serving.runner import Runner

LOCK_FILE = "registry.lock"
_PRUNE_EVERY = 3600
_PAGES_EVERY_S = 2.0
_FOLLOW_EVERY_S = 1.0
_BUNDLE_LOOK_S = 30.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RunningRegistry:
    """A registry that listens at ``url``."""

    url: str
    registrar: Registrar
    _runner: web.AppRunner
    _tasks: tuple[asyncio.Task[None], ...]
    _store: Store
    _open: contextlib.ExitStack

    async def stop(self) -> None:
        """Stop as the module says; idempotent."""
        await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._store.close)
        self._open.close()


async def start(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: RegistrySettings | None = None,
    clock: Clock | None = None,
) -> RunningRegistry:
    """Open the registry in ``directory`` and listen; port 0 takes a free one.

    Raises:
        Problem: ``NotFound`` when there is no registry, ``Conflict`` when another process serves
            it, ``InvalidSettings`` for its settings or an address that cannot be had.
    """
    clock = clock or SystemClock()
    settings = settings or read_settings(directory)
    store = await asyncio.to_thread(Store, settings.place(directory))
    opened = contextlib.ExitStack()
    try:
        opened.enter_context(_alone(directory))
        log_of = await asyncio.to_thread(open_log, store, directory, settings)
        tree = Tree(directory / PUBLIC, log_of)
        registrar = Registrar(store, tree, online_keys(directory), settings.terms())
        await asyncio.to_thread(registrar.start, clock.now())
        sign_in = None
        if settings.sign_in is not None:
            sign_in = SignIn(settings.sign_in, clock.unix)
        api = Api(registrar, store, tree, clock, sign_in)
        runner = Runner(api.application(), not_http, shutdown_timeout=settings.stop_within_s)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise Problem(
                Code.INVALID_SETTINGS,
                where="listen",
                detail=f"cannot listen on {host}:{port}: {error.strerror}",
            ) from error
    except BaseException:
        store.close()
        opened.close()
        raise
    address = runner.addresses[0]
    renewing = asyncio.create_task(_renew(api, registrar, settings, clock), name="renew")
    following = asyncio.create_task(_follow(api, registrar, store.is_shared), name="follow")
    pages = asyncio.create_task(_make_pages(api, registrar, Site(directory / PUBLIC)), name="pages")
    bundle = asyncio.create_task(
        _make_bundles(api, store, tree, directory / PUBLIC, settings.bundle_every_s), name="bundle"
    )
    url = f"http://{address[0]}:{address[1]}"
    log.info("registry_listens", url=url, directory=str(directory))
    return RunningRegistry(
        url, registrar, runner, (renewing, following, pages, bundle), store, opened
    )


def _alone(directory: Path) -> contextlib.AbstractContextManager[None]:
    """One process on a folder: each has a tree of its own, also when they share a database."""
    return locked(directory / LOCK_FILE, "another process serves this registry; stop it first")


@contextlib.contextmanager
def opened_alone(directory: Path, at: datetime) -> Iterator[tuple[Registrar, Store]]:
    """The registry in ``directory`` for acts of its operator, while no process serves it.

    Raises:
        Problem: as :func:`start`.
    """
    settings = read_settings(directory)
    with contextlib.closing(Store(settings.place(directory))) as store, _alone(directory):
        tree = Tree(directory / PUBLIC, open_log(store, directory, settings))
        registrar = Registrar(store, tree, online_keys(directory), settings.terms())
        registrar.start(at)
        yield registrar, store


async def serve(
    directory: Path,
    stop: asyncio.Event,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Run the registry until ``stop`` is set; ``on_ready`` gets its address."""
    running = await start(directory, host=host, port=port)
    try:
        on_ready(running.url)
        await stop.wait()
    finally:
        await running.stop()


async def _follow(api: Api, registrar: Registrar, is_shared: bool) -> None:
    """Show what other processes publish, soon after they did; tried again whatever fails."""
    is_away = False
    while is_shared:
        await asyncio.sleep(_FOLLOW_EVERY_S)
        try:
            await api.act(registrar.follow)
            is_away = False
        except Exception as error:
            if not is_away:
                log.warning("registry_cannot_follow", why=str(error))
            is_away = True


async def _make_pages(api: Api, registrar: Registrar, site: Site) -> None:
    """Make the pages for people of what changed, beside everything else."""
    failed = False
    try:
        while True:
            try:
                listing = await api.act(registrar.directory.listing)
                if listing is not None:
                    await asyncio.to_thread(site.update, listing)
                failed = False
            except Exception as error:
                if not failed:
                    log.warning("registry_cannot_make_pages", why=str(error))
                failed = True
            await asyncio.sleep(_PAGES_EVERY_S)
    finally:
        site.stop()


async def _make_bundles(api: Api, store: Store, tree: Tree, public: Path, every_s: int) -> None:
    """Make the bundle of what servers read, now and then, beside everything else."""
    failed = False
    while True:
        try:
            if await asyncio.to_thread(bundle_age_s, public) >= every_s:
                files = await api.act(lambda: tree.present(store, read_alone=True))
                if await asyncio.to_thread(publish_bundle, public, files):
                    log.info("registry_bundle_made", files=len(files))
            failed = False
        except Exception as error:
            if not failed:
                log.warning("registry_cannot_make_bundle", why=str(error))
            failed = True
        await asyncio.sleep(min(every_s, _BUNDLE_LOOK_S))


async def _renew(api: Api, registrar: Registrar, settings: RegistrySettings, clock: Clock) -> None:
    """Sign again in time; a failure is logged and tried again, the files already out stay good."""
    pause = max(1.0, min(60.0, settings.timestamp_validity_s / 8))
    rounds, told = 0, Told()
    while True:
        await asyncio.sleep(pause)
        rounds += 1
        try:
            if await api.act(lambda: registrar.renew(clock.now())):
                log.info("registry_renewed")
            if not await api.act(registrar.put_out_log):
                log.warning("registry_log_not_witnessed")
            ends = await api.act(registrar.all_ends)
            for role, within in told.news(ends, clock.now()).items():
                log.warning(
                    "registry_role_ends",
                    role=role,
                    ends=ends[role].at.isoformat(),
                    within_days=within,
                    next_step=next_step(role),
                )
            if rounds % max(1, int(_PRUNE_EVERY / pause)) == 0:
                await api.act(registrar.prune)
        except Exception:
            # The database or the disk is in trouble: /healthz tells when the word has expired.
            log.exception("registry_renewal_failed")
