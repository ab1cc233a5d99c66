"""An exchange from application to backend and back, through two real servers."""

from __future__ import annotations

from tests.world import small
from tests.world.small import SmallWorld


def test_a_record_crosses_and_is_in_both_journals(shared_world: SmallWorld) -> None:
    """The answer holds the released fields only; four records tell of it, two on each side."""
    answer = shared_world.call(headers={"X-Road-Id": "journey-1"})
    assert answer.status == 200
    assert answer.json == {"code": "P-1", "title_en": "Rural roads", "title_lo": "ທາງຊົນນະບົດ"}
    assert answer.headers["x-road-id"] == "journey-1"
    assert answer.headers["x-road-service"] == str(small.PROJECTS)
    for server in (shared_world.mof, shared_world.mpi):
        hits = shared_world.hits(server, id="journey-1")
        assert [hit.kind for hit in hits] == ["request", "response"]
        assert {hit.request_id for hit in hits} == {answer.headers["x-road-request-id"]}
