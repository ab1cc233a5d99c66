"""What a scan hands back, whatever the kind of the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange.identifiers import ApplicationId


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked of a scan.

    Attributes:
        source: an address, a file or a folder; a path is relative to where the process runs.
        service: the code of the service to propose.
        folder: where the mapping will be: paths in it are relative to this.
        only: names of tables (operations, …); without them all.
        password_variable: what stands in the mapping for a password that ``source`` holds.
        progress: is told the number of things that were read.
        seed: what test data are made from; the same seed and source give the same.
        maps: files of font maps that text of the source may be in.
    """

    source: str
    application: ApplicationId
    service: str
    environ: Mapping[str, str]
    folder: Path
    only: Sequence[str] = ()
    password_variable: str = ""
    progress: Callable[[int], None] = lambda count: None
    seed: int = 1
    maps: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Unsure:
    """A doubt: its place, its code and what to look at."""

    place: str
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """A proposed mapping, how much of each thing is in it, and what is unsure about it.

    Where the kind of source lets it: ``schema``, a JSON Schema with each record in ``$defs``, and
    ``test_data``, made-up records by their names; or ``records``, the names of those in ``$defs``
    of which the schema says all that is known, so that test data can be made of it alone.
    """

    mapping: str
    counts: Mapping[str, int]
    unsure: Sequence[Unsure]
    password_hidden: bool = False
    schema: Mapping[str, Any] | None = None
    test_data: Mapping[str, Sequence[Any]] | None = None
    records: Sequence[str] = ()

    def as_dict(self, *, with_mapping: bool) -> dict[str, Any]:
        """For JSON; the mapping only when it was not written to a file."""
        told: dict[str, Any] = {"mapping": self.mapping} if with_mapping else {}
        unsure = [{"place": one.place, "code": one.code, "words": one.words} for one in self.unsure]
        return told | dict(self.counts) | {"unsure": unsure}
