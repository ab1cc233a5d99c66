"""The small world as a fixture: built once for all tests that only call it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from console.reference_world.processes import free_ports
from console.reference_world.world import World
from exchange.identifiers import ServiceId
from exchange.problems import Text
from tests.world import small
from tests.world.backend import Backend


@contextmanager
def small_world(**limits: object) -> Iterator[small.SmallWorld]:
    """Build, start and end a small world in a folder of its own."""
    agreements = (
        small.agreement("mof-mpi"),
        small.agreement("vault-mpi", small.VAULT),
        small.agreement("web-mpi", small.WEB),
    )
    with world_of(agreements, limits=limits) as built:
        yield built


@contextmanager
def world_of(
    agreements: Iterable[Mapping[str, Any]],
    *,
    limits: Mapping[str, Any] | None = None,
    services: Mapping[ServiceId, Mapping[str, Any]] | None = None,
    calls: Iterable[Mapping[str, Any]] = (),
    witnesses: Mapping[str, Any] | None = None,
    provider: Mapping[str, Mapping[str, Any]] | None = None,
    further: bool = False,
) -> Iterator[small.SmallWorld]:
    """A small world with these agreements; ``services`` change settings of MPI's services, and
    ``calls`` are MOF's bounds of calls to them, ``witnesses`` MOF's settings of these, ``provider``
    changes groups of MPI's settings; ``further`` adds :data:`small.MOES` to MOF's server, which
    offers MPI's service under its own name."""
    backend = Backend()
    backend.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            # Authorities that are older than the certificates which tests let expire.
            long_ago = datetime.now(UTC) - timedelta(days=90)
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"), authorities_since=long_ago)
            mof, mpi = small.plans(folder, backend.port, *free_ports(1), limits=limits)
            if further:
                mof = replace(mof, members=(*mof.members, small.taking_over(mpi)))
            world.add_server(
                replace(
                    mof,
                    settings={
                        **mof.settings,
                        "calls": list(calls),
                        "witnesses": dict(witnesses or {}),
                    },
                )
            )
            own = {
                name: {**mpi.settings.get(name, {}), **more}
                for name, more in (provider or {}).items()
            }
            mpi = replace(mpi, settings={**mpi.settings, **own})
            world.add_server(small.changed(mpi, services or {}))
            built = small.SmallWorld(world, backend)
            for agreement in agreements:
                world.agree(agreement)
            world.start()
            yield built
        finally:
            backend.released.set()
            world.close()
            backend.stop()


@pytest.fixture(scope="session")
def shared_world() -> Iterator[small.SmallWorld]:
    """A small world that tests may call but not stop or break."""
    with small_world() as built:
        yield built
