"""The bounds of an exchange's phases, against a model that keeps the whole story."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from serving.waits import UNBOUNDED, Phase, Waits, Watch

STEPS = st.lists(
    st.tuples(
        st.floats(0, 10),
        st.sampled_from(["went", "written", "came"]),
        st.integers(1, 10_000),
    ),
    max_size=20,
)
BOUNDS = st.floats(0.1, 100)


@given(BOUNDS, BOUNDS, st.floats(1, 1e6), BOUNDS, STEPS)
def test_due_is_what_the_story_says(
    first_byte_s: float,
    stall_s: float,
    floor: float,
    timeout_s: float,
    steps: list[tuple[float, str, int]],
) -> None:
    """Whole: from the begin, with what moved. Phase: from the last event that counts for it."""
    waits = Waits(first_byte_s=first_byte_s, stall_s=stall_s, floor_bytes_per_s=floor)
    now = 1000.0
    watch = Watch(waits, timeout_s, now)
    watch.begin(now)
    story = [(now, "begin", 0)]
    for after, event, size in steps:
        now += after
        if event == "written":
            watch.written(now)
        elif event == "went":
            watch.went(now, size)
        else:
            watch.came(now, size)
        story.append((now, event, size if event != "written" else 0))
    names = [event for _, event, _ in story]
    whole = 1000.0 + timeout_s + sum(size for *_, size in story) / floor
    if "came" in names:
        phase = Phase.ANSWER
        since = max(at for at, event, _ in story[names.index("came") :] if event != "written")
        bound = stall_s
    elif "written" in names:
        phase, since, bound = Phase.FIRST_BYTE, story[names.index("written")][0], first_byte_s
    else:
        phase, since, bound = Phase.SEND, story[-1][0], stall_s
    assert watch.phase is phase
    assert watch.due == min(whole, since + bound)
    assert watch.bound[0] in ("exchange_s", "first_byte_s", "stall_s")


@given(BOUNDS, st.floats(1, 1e6), st.floats(1.0, 10.0), st.integers(1, 200))
def test_a_transfer_above_the_floor_is_never_over(
    timeout_s: float, floor: float, faster: float, seconds: int
) -> None:
    """However long it is: what moves at the floor rate or faster keeps ahead of its bound."""
    watch = Watch(Waits(stall_s=2.0, floor_bytes_per_s=floor), timeout_s, 0.0)
    watch.begin(0.0)
    for second in range(1, seconds + 1):
        watch.came(second, math.ceil(floor * faster))
        assert watch.due > second


def test_a_request_that_is_sent_again_begins_again() -> None:
    """The phases of the first attempt are forgotten; the time of the whole is not."""
    watch = Watch(Waits(first_byte_s=5, stall_s=3, floor_bytes_per_s=1), 60, 0.0)
    watch.begin(0.0)
    watch.went(1.0, 30)
    watch.written(1.0)
    watch.begin(4.0)
    assert (watch.phase, watch.due) == (Phase.SEND, 7.0)
    watch.written(59.0)
    assert (watch.due, watch.bound) == (60, ("exchange_s", 60))


def test_without_bounds_only_the_whole_counts() -> None:
    """The default bounds no phase, and bytes give no time."""
    watch = Watch(UNBOUNDED, 9, 0.0)
    watch.begin(0.0)
    watch.came(5.0, 10**9)
    assert watch.due == 9
