"""The once-only meter: who still asks, and how often facts were given instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner

from console.cli.main import main
from exchange.documents import format_document
from exchange.identifiers import ServerId, ServiceId
from exchange.problems import Code
from exchange.registrations import ELEMENTS_TARGET, openapi_file
from mediator.administration.metrics import Metrics
from mediator.message.counting import Counting
from mediator.message.records import Recorder
from mediator.once_only.service import COUNTED
from registry.offline.operator import sign_files
from registry.settings import SETTINGS_FILE
from serving.clock import SystemClock
from tests.journal.world import journal_in
from tests.registry.simulator import MOF, MPI, member_record
from tests.registry.test_elements_published import SERVICE, asking, element
from tests.registry.world import World, described


async def ask_people(world: World, wanted: str) -> dict[str, Any]:
    """Have MOF publish a service that asks for an element; what its submission was told."""
    record = member_record(MOF)
    file = openapi_file(record.services[0].id)
    what = described(record)
    what = replace(what, files={**what.files, file: asking(wanted)})
    signed = world.folder(MOF).sign(what, 0, world.clock.now())
    row = dict(await world.call(lambda: world.operator.submit(signed)))
    await world.approve(row["id"])
    return row


async def test_the_meter_tells_who_asks_and_what_was_reused(world: World, tmp_path: Path) -> None:
    """A service of others that asks is warned at its submission and told with the source; reuse is
    that of the journals, as `audit stats` counts it; the estimate is by the formula that is
    printed, with the minutes of the registry's setting."""
    await world.register(MPI)
    data = format_document({"elements": [element()]})
    signed = await world.call(
        lambda: sign_files(
            world.operator.own(),
            {ELEMENTS_TARGET: data},
            world.targets_signers,
            world.clock.now(),
        )
    )
    await world.call(lambda: world.operator.publish_own(signed))
    (warning,) = (await ask_people(world, "project.title"))["warnings"]
    assert (warning["code"], warning["source"]) == (Code.ASK_ONCE, SERVICE)
    journal = tmp_path / "journal"
    clock = SystemClock()
    async with journal_in(journal) as opened:
        recorder = Recorder(opened, ServerId.parse(f"{MOF}/ss1"), clock, Metrics(), 1024)
        counting = Counting(tmp_path / "counts.json", clock, recorder.counted)
        for element_id, times in (("project.title", 60), ("project.code", 4)):
            for _ in range(times):
                counting.count(ServiceId.parse(SERVICE), "budget", COUNTED, element_id)
        await counting.stop()

    async def run(*more: str) -> str:
        words = ["once", "meter", "--journal", str(journal), "--registry", world.url, *more]
        result = await world.call(lambda: CliRunner().invoke(main, words))
        assert result.exit_code == 0, result.output
        return result.stdout

    told = orjson.loads(await run("--json", "--minutes-per-field", "2"))
    assert (told["elements"], told["sources"]) == (1, 1)
    (asked,) = told["asking"]
    assert (asked["service"], asked["source"]) == (str(member_record(MOF).services[0].id), SERVICE)
    assert told["reused"] == [{"element": "project.title", "times": 60}]
    assert told["hours_saved"] == 2.0
    text = await run()
    for words in (f"ask {SERVICE}", "60 times", "About 0.5 hours saved", "0.5 minutes"):
        assert words in text
    settings = world.directory / SETTINGS_FILE
    written = settings.read_text().replace("minutes_per_field: 0.5", "minutes_per_field: 3.0")
    settings.write_text(written)
    await world.restart()
    assert "About 3.0 hours saved" in await run()  # the registry's setting
    stats = ["audit", "stats", str(journal), "--by", COUNTED, "--format", "json"]
    counted = CliRunner().invoke(main, stats)
    assert counted.exit_code == 0, counted.output
    rows = orjson.loads(counted.stdout)["rows"]
    assert [(row[COUNTED], row["count"]) for row in rows] == [("project.title", 60)]
