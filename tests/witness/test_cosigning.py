"""A journal and its witnesses: cosignatures come by themselves, and a fork or a rollback is seen.

Real sockets, real journals; a fork is made as it happens: a copy of the journal goes on with other
entries, signed by the same key.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.log.checkpoint import open_checkpoint
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import parse_note
from exchange.log.policy import Policy, any_of
from exchange.problems import Code, Problem
from mediator.journal.anchors import AnchorReader
from mediator.journal.verify import verify
from mediator.witness.known import Asked
from mediator.witness.misbehaviour import Misdeed, described, judge
from mediator.witness.settings import WitnessSettings
from serving.clock import SystemClock
from tests.journal.world import (
    ORIGIN,
    VERIFIER,
    assert_good,
    head_of,
    until,
    write,
)
from tests.witness.world import (
    PATIENT,
    asked_of,
    code_of,
    cosigned_journal,
    remembered,
    submit,
    witness_in,
)


async def test_anchors_are_cosigned_by_a_quorum(tmp_path: Path) -> None:
    """Each witness cosigns the newest anchor; the lines verify by their keys, the journal too."""
    async with witness_in(tmp_path / "w1") as one, witness_in(tmp_path / "w2", "w2") as two:
        asked = [asked_of(one, "w1"), asked_of(two, "w2")]
        async with cosigned_journal(tmp_path / "j", asked, quorum=2) as cosigned:
            await cosigned.record(*range(5))
            await cosigned.witnessed()
            await cosigned.record(*range(5, 300))
            await cosigned.witnessed()
            anchor = cosigned.journal.anchors.covering(
                0, quorum=any_of({w.name: w.key for w in asked}, 2)
            )
            assert anchor is not None
            for witness in asked:
                open_cosignature(parse_note(anchor.checkpoint), witness.key)
            for witness in asked:
                known = await remembered(witness, ORIGIN, VERIFIER)
                assert known is not None
                assert known.size >= 300
    assert_good(tmp_path / "j", 300)


async def test_an_outage_of_a_witness_is_made_good_with_one_anchor(tmp_path: Path) -> None:
    """While no witness answers, records go on and health tells; then the newest anchor covers all.

    The witness comes back at its address after entries and anchors without a quorum.
    """
    async with witness_in(tmp_path / "w1") as first:
        asked = asked_of(first)
        address = f"127.0.0.1:{first.listener.port}"
    async with cosigned_journal(tmp_path / "j", [asked]) as cosigned:
        for number in range(5):
            await cosigned.record(number)
            size = number + 1
            await until(lambda: cosigned.journal.anchors.latest_size >= size, 30)  # noqa: B023
        await until(lambda: cosigned.cosigning.standings["w1"].failures > 1, 30)
        await until(lambda: cosigned.cosigning.waiting_s > 0, 30)
        told = cosigned.cosigning.describe()
        assert not told["ok"]
        assert "PeerUnreachable" in told["witnesses"][0]["problem"]
        async with witness_in(tmp_path / "w1", listen=address):
            await cosigned.witnessed()
            assert cosigned.cosigning.describe()["ok"]
            assert cosigned.cosigning.standings["w1"].failures == 0
        lacking = [a.size for a in cosigned.journal.anchors.all() if not a.cosignatures]
        assert lacking == [1, 2, 3, 4]
        covering = cosigned.journal.anchors.covering(0, quorum=any_of({"w1": asked.key}, 1))
        assert covering is not None
        assert covering.size == 5


async def test_a_restart_in_a_long_outage_knows_since_when_a_quorum_is_missing(
    tmp_path: Path,
) -> None:
    """The last anchor with a quorum is looked for behind any number without one."""
    async with witness_in(tmp_path / "w1") as first:
        asked = asked_of(first)
        address = f"127.0.0.1:{first.listener.port}"
        async with cosigned_journal(tmp_path / "j", [asked]) as cosigned:
            await cosigned.record(0)
            await cosigned.witnessed()
            covered = cosigned.journal.size
    brief = replace(PATIENT, hold_s=0.1)
    async with cosigned_journal(tmp_path / "j", [asked], settings=brief) as cosigned:
        for size in range(covered + 1, covered + 71):
            await cosigned.record(size)
            await until(lambda: cosigned.journal.anchors.latest_size >= size, 30)  # noqa: B023
    async with cosigned_journal(tmp_path / "j", [asked], settings=brief) as cosigned:
        await until(lambda: cosigned.cosigning.waiting_s > 0, 30)
        assert cosigned.cosigning.describe()["witnessed_size"] == covered
        since = cosigned.journal.anchors.after(covered)
        assert since is not None
        assert cosigned.cosigning.quorum is not None
        assert cosigned.cosigning.quorum.since == since.at
        async with witness_in(tmp_path / "w1", listen=address):
            await cosigned.witnessed()


async def test_who_is_asked_anew_is_not_late_for_what_was_before(tmp_path: Path) -> None:
    """Another set of witnesses counts from when it was sought, not from the log's first anchor."""
    async with witness_in(tmp_path / "w1") as one:
        now = [asked_of(one, "w1")]

        def sought() -> tuple[list[Asked], Policy]:
            return list(now), any_of({one.name: one.key for one in now}, 1)

        async with cosigned_journal(tmp_path / "j", now, sought=sought) as cosigned:
            await cosigned.record(1)
            await cosigned.witnessed()
            async with witness_in(tmp_path / "w2", "w2") as two:
                now[:] = [asked_of(two, "w2")]
            changed = SystemClock().unix()
            await cosigned.record(2)
            await until(lambda: [*cosigned.cosigning.standings] == ["w2"], 30)
            await until(lambda: cosigned.cosigning.waiting_s > 0, 30)
            assert cosigned.cosigning.quorum is not None
            assert (cosigned.cosigning.quorum.since or 0.0) >= changed


async def test_one_dead_witness_delays_neither_the_others_nor_the_log(tmp_path: Path) -> None:
    """Each is asked at its own pace: two of three make the quorum, the third is told of."""
    async with witness_in(tmp_path / "w1") as one, witness_in(tmp_path / "w2", "w2") as two:
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with witness_in(tmp_path / "w3", "w3") as third:
            dead = Asked("w3", third.witness.key, None, f"http://127.0.0.1:{port}/witness")
        asked = [asked_of(one, "w1"), asked_of(two, "w2"), dead]
        quick = WitnessSettings(timeout_s=0.3, retry_max_s=0.1, hold_s=0.1)
        async with cosigned_journal(tmp_path / "j", asked, quorum=2, settings=quick) as cosigned:
            await cosigned.record(*range(10))
            await cosigned.witnessed()
            await until(lambda: cosigned.cosigning.standings["w3"].failures > 0, 30)
            assert cosigned.cosigning.describe()["ok"]
        silent.close()


async def test_the_set_of_witnesses_follows_what_is_sought(tmp_path: Path) -> None:
    """One that is named no more is not asked any more; a new one is."""
    async with witness_in(tmp_path / "w1") as one, witness_in(tmp_path / "w2", "w2") as two:
        now = [asked_of(one, "w1")]

        def sought() -> tuple[list[Asked], object]:
            return list(now), any_of({one.name: one.key for one in now}, 1)

        async with cosigned_journal(tmp_path / "j", now, sought=sought) as cosigned:  # type: ignore[arg-type]
            await cosigned.record(1)
            await cosigned.witnessed()
            now[:] = [asked_of(two, "w2")]
            await cosigned.record(2)
            await until(lambda: [*cosigned.cosigning.standings] == ["w2"], 30)
            await cosigned.record(3)
            await cosigned.witnessed()
            size = cosigned.journal.size
            cosigned_by_one = one.witness.cosigned
            await cosigned.record(4)
            await cosigned.witnessed(size + 1)
            assert one.witness.cosigned == cosigned_by_one


async def test_a_witness_that_lost_its_memory_is_led_on(tmp_path: Path) -> None:
    """It answers 409 with size zero, and cosigns from there: no operator is needed at the log."""
    async with witness_in(tmp_path / "w1") as first:
        asked = asked_of(first)
        address = f"127.0.0.1:{first.listener.port}"
        async with cosigned_journal(tmp_path / "j", [asked]) as cosigned:
            await cosigned.record(1, 2, 3)
            await cosigned.witnessed()
            await first.listener.stop()
            key = (tmp_path / "w1" / "witness.key").read_bytes()
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "witness.key").write_bytes(key)
            async with witness_in(tmp_path / "new", listen=address):
                await cosigned.record(4)
                await cosigned.witnessed()


@pytest.mark.parametrize("known", [6, 8])
async def test_a_fork_is_refused_and_the_proof_is_kept(tmp_path: Path, known: int) -> None:
    """Two copies of one journal go on with different entries: the witness cosigns one history.

    The second copy learns it before it signs anything, from the witness's word; nothing was forked.
    Of a size that is no power of two (6) both sides have a proof that convinces anybody.
    """
    ours, copy = tmp_path / "ours", tmp_path / "copy"
    async with witness_in(tmp_path / "w") as witness:
        asked = asked_of(witness)
        await write(ours, range(3))
        shutil.copytree(ours, copy)
        async with cosigned_journal(ours, [asked]) as cosigned:
            await cosigned.record(*range(3, known))
            await cosigned.witnessed()
        before = head_of(copy)
        async with cosigned_journal(copy, [asked]) as forked:
            await forked.record(*range(100, 120))
            await until(lambda: code_of(forked.journal.healthy) == Code.JOURNAL_FORKED, 30)
            await forked.record(200)  # traffic goes on
            assert forked.journal.size == 24
        assert head_of(copy) == before  # nothing was signed, not at the stop either
        assert [found.misdeed for found in forked.reported] == [Misdeed.ROLLBACK]
        assert described(forked.reported[0])["known_size"] == known
        assert await remembered(asked, ORIGIN, VERIFIER) == head_of(ours)
        # A copy that is made to sign all the same (no witness was reachable) is refused by all.
        async with cosigned_journal(copy, []) as alone:
            await alone.record(300)
            await until(lambda: alone.journal.published_size == alone.journal.size, 30)
        assert head_of(copy).size == 25
        async with cosigned_journal(copy, [asked]) as late:
            await until(lambda: code_of(late.journal.healthy) == Code.JOURNAL_FORKED, 30)
        (found,) = late.reported
        assert found.misdeed is Misdeed.FORK
        assert judge(found, [VERIFIER]) is (known == 6)


async def test_a_witness_keeps_the_proof_of_a_fork_whoever_shows_it(tmp_path: Path) -> None:
    """422 for the other history with its own honest proof: kept, once, and judged by the key alone.

    A stranger's garbage with a true checkpoint is refused, and accuses nobody.
    """
    ours, other = tmp_path / "ours", tmp_path / "other"
    async with witness_in(tmp_path / "w") as witness:
        asked = asked_of(witness)
        await write(ours, range(6))
        await write(other, range(100, 111))
        shown = (other / "log" / "checkpoint").read_bytes()
        assert (await submit(asked, 0, (), (ours / "log" / "checkpoint").read_bytes()))[0] == 200
        assert (await submit(asked, 6, (b"x" * 32,) * 4, shown))[0] == 422
        assert witness.witness.kept.all() == []
        from exchange.log import merkle
        from serving.log.tiles import TileFolder

        proof = merkle.prove_consistency(6, 11, TileFolder(other / "log").subtrees(11))
        for _ in range(2):
            assert (await submit(asked, 6, proof, shown))[0] == 422
        (found,) = witness.witness.kept.all()
        assert (found.misdeed, found.submitter) == (Misdeed.FORK, None)
        assert judge(found, [VERIFIER])
        with pytest.raises(Problem) as caught:
            judge(found, [])
        assert caught.value.code is Code.INVALID_NOTE
        # Two roots at one size prove it without any proof, even behind a 409.
        short = tmp_path / "short"
        await write(short, range(200, 206))
        again = (short / "log" / "checkpoint").read_bytes()
        assert (await submit(asked, 0, (), again))[0] == 409
        assert len(witness.witness.kept.all()) == 2
        # The honest history is cosigned on.
        await write(ours, range(6, 8))
        head = (ours / "log" / "checkpoint").read_bytes()
        honest = merkle.prove_consistency(6, 8, TileFolder(ours / "log").subtrees(8))
        assert (await submit(asked, 6, honest, head))[0] == 200


async def test_a_journal_set_back_to_an_old_copy_signs_nothing(tmp_path: Path) -> None:
    """All files restored from a backup: only a witness remembers. The right copy goes on."""
    journal, backup = tmp_path / "j", tmp_path / "backup"
    async with witness_in(tmp_path / "w") as witness:
        asked = asked_of(witness)
        await write(journal, range(5))
        shutil.copytree(journal, backup)
        async with cosigned_journal(journal, [asked]) as cosigned:
            await cosigned.record(*range(5, 9))
            await cosigned.witnessed()
        shutil.move(journal, tmp_path / "right")
        shutil.move(backup, journal)
        before = head_of(journal)
        async with cosigned_journal(journal, [asked]) as set_back:
            await set_back.record(500)
            await until(lambda: code_of(set_back.journal.healthy) == Code.JOURNAL_FORKED, 30)
            assert "size 9" in str(set_back.journal.healthy)
        assert head_of(journal) == before
        assert [found.misdeed for found in set_back.reported] == [Misdeed.ROLLBACK]
        async with cosigned_journal(tmp_path / "right", [asked]) as right:
            await right.record(9)
            await right.witnessed()
        assert right.reported == []
    assert_good(tmp_path / "right", 10)


async def test_a_wiped_journal_with_the_old_key_signs_nothing(tmp_path: Path) -> None:
    """An empty journal of a log that signed before is seen, too."""
    async with witness_in(tmp_path / "w") as witness:
        asked = asked_of(witness)
        async with cosigned_journal(tmp_path / "j", [asked]) as cosigned:
            await cosigned.record(1, 2)
            await cosigned.witnessed()
        async with cosigned_journal(tmp_path / "new", [asked]) as wiped:
            await wiped.record(1)
            await until(lambda: code_of(wiped.journal.healthy) == Code.JOURNAL_FORKED, 30)
        assert not (tmp_path / "new" / "log" / "checkpoint").exists()
        (found,) = wiped.reported
        assert described(found)["shown_size"] == 0
        assert not judge(found)


async def test_without_an_answer_the_start_waits_only_so_long(tmp_path: Path) -> None:
    """Records are taken at once; checkpoints are signed when hold_s is over."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with witness_in(tmp_path / "w") as witness:
        deaf = Asked("w1", witness.witness.key, None, f"http://127.0.0.1:{port}")
    settings = WitnessSettings(timeout_s=300, hold_s=0.3)
    async with cosigned_journal(tmp_path / "j", [deaf], settings=settings) as cosigned:
        await cosigned.record(1)
        assert cosigned.journal.published_size == 0
        await until(lambda: cosigned.journal.published_size == 1, 30)
    silent.close()


async def test_a_stop_before_the_witnesses_were_heard_signs_nothing(tmp_path: Path) -> None:
    """What was recorded meanwhile is durable, and published by the next start."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with witness_in(tmp_path / "w") as witness:
        deaf = Asked("w1", witness.witness.key, None, f"http://127.0.0.1:{port}")
    async with cosigned_journal(tmp_path / "j", [deaf], settings=PATIENT) as cosigned:
        await cosigned.record(1, 2)
    assert not (tmp_path / "j" / "log" / "checkpoint").exists()
    await write(tmp_path / "j", range(3, 4))
    assert_good(tmp_path / "j", 3)
    silent.close()


ANSWERS = (
    b"200 OK\r\ncontent-length: 0\r\n\r\n",
    b"200 OK\r\ncontent-length: 8\r\n\r\n\xe2\x80\x94 x y\n",
    b"409 Conflict\r\ncontent-type: text/x.tlog.size\r\ncontent-length: 2\r\n\r\nx\n",
    b"409 Conflict\r\ncontent-type: text/x.tlog.size\r\ncontent-length: 2\r\n\r\n1\n",
    b"409 Conflict\r\ncontent-type: text/x.tlog.size\r\ncontent-length: 4\r\n\r\n999\n",
    b"422 No\r\ncontent-length: 0\r\n\r\n",
    b"500 No\r\ncontent-length: 0\r\n\r\n",
    b"307 No\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n",
    b"nonsense\r\n\r\n",
)


async def test_what_a_witness_may_say_wrongly_changes_nothing(tmp_path: Path) -> None:
    """No cosignature, a problem, another attempt later; never an accusation of the own log."""
    asked_for: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + ANSWERS[len(asked_for) % len(ANSWERS)])
        asked_for.append(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with witness_in(tmp_path / "w") as witness, witness_in(tmp_path / "b", "b") as other:
        port = server.sockets[0].getsockname()[1]
        bad = Asked("bad", other.witness.key, None, f"http://127.0.0.1:{port}/w")
        asked = [bad, asked_of(witness, "good")]
        async with cosigned_journal(tmp_path / "j", asked) as cosigned:
            await cosigned.record(1, 2, 3)
            await cosigned.witnessed()
            await until(lambda: len(asked_for) > 3 * len(ANSWERS), 60)
            assert cosigned.cosigning.standings["bad"].failures > 3
            assert cosigned.journal.healthy is None
            assert cosigned.reported == []
    server.close()
    assert verify(tmp_path / "j").good
    newest = AnchorReader.open(tmp_path / "j").latest()
    assert newest is not None
    assert open_checkpoint(newest.checkpoint, VERIFIER).size == 3
