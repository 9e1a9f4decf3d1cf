"""Viewers over real WebRTC on this machine: they see pictures, come and go, and cost one encoding."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from lrae.receiver.broadcast import Broadcast, OfferError
from lrae.receiver.broadcast import viewer as viewer_module
from lrae.receiver.broadcast import worker as worker_module


@pytest.fixture
def run(caplog):
    """run(test): a coroutine function that is given a Broadcast; afterwards nothing of it is left."""

    def go(test, **options):
        async def main():
            broadcast = Broadcast((64, 48), 50.0, **options)
            try:
                async with asyncio.timeout(30):
                    await test(broadcast)
            finally:
                await broadcast.close()
                await broadcast.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=5)
            assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]

        asyncio.run(main())
        assert not [t for t in threading.enumerate() if t.name == "broadcast"]
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]

    return go


def test_a_viewer_sees_pictures_advance(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast):
            viewer = await client().join(broadcast)
            levels = [await viewer.level() for _ in range(20)]
            assert len(set(levels)) > 10
            assert broadcast.stats()["codecs"] == {"h264": 1}
            await viewer.leave()

    run(test)


def test_a_second_viewer_joins_and_leaves_while_the_first_goes_on_with_one_encoding(run, client, feeding, until):
    async def test(broadcast):
        async with feeding(broadcast) as feed:
            first = await client().join(broadcast)
            await first.level()
            second = await client().join(broadcast)
            seen = [await second.level() for _ in range(10)]
            assert len(set(seen)) > 5
            before, shown = broadcast.stats(), feed.shown
            assert before["viewers"] == 2
            await asyncio.sleep(0.5)
            assert broadcast.stats()["frames"] - before["frames"] < 1.5 * (feed.shown - shown)
            await second.leave()
            await until(lambda: broadcast.stats()["ends"] == {"left": 1})
            seen = [await first.level() for _ in range(10)]
            assert len(set(seen)) > 5
            assert broadcast.stats()["viewers"] == 1
            await first.leave()
            await until(lambda: broadcast.stats()["viewers"] == 0)
            await asyncio.sleep(0.1)
            encoded = broadcast.stats()["frames"]
            await asyncio.sleep(0.2)
            assert broadcast.stats()["frames"] == encoded

    run(test)


def test_who_has_no_h264_gets_vp8_beside_the_others(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast):
            one, other = await client().join(broadcast), await client("VP8").join(broadcast)
            for viewer in (one, other):
                assert len({await viewer.level() for _ in range(10)}) > 5
            assert broadcast.stats()["codecs"] == {"h264": 1, "vp8": 1}
            await one.leave()
            await other.leave()

    run(test)


def test_a_late_viewer_of_a_still_picture_sees_it(run, client, flat):
    async def test(broadcast):
        broadcast.show(flat(77), 0.0)
        viewer = await client().join(broadcast)
        assert abs(await viewer.level() - 77) <= 2
        await viewer.leave()

    run(test)


def test_a_viewer_that_lost_its_place_asks_and_gets_a_key_frame(run, client, feeding, until, monkeypatch):
    monkeypatch.setattr(worker_module, "KEY_EVERY", 0.05)

    async def test(broadcast):
        async with feeding(broadcast):
            viewer = await client().join(broadcast)
            picture = await viewer.picture()
            keys = broadcast.stats()["keys"]
            ssrc = next(iter(viewer.receiver.getSynchronizationSources())).source
            await viewer.receiver._send_rtcp_pli(ssrc)
            await until(lambda: broadcast.stats()["keys"] > keys)
            assert picture.width == 64
            await viewer.leave()

    run(test)


def test_a_viewer_that_asks_for_key_frames_all_the_time_gets_few(run, client, feeding, monkeypatch):
    monkeypatch.setattr(worker_module, "KEY_EVERY", 0.0)
    monkeypatch.setattr(viewer_module, "ASKS", (3, 0.0))

    async def test(broadcast):
        async with feeding(broadcast):
            viewer = await client().join(broadcast)
            await viewer.picture()
            keys = broadcast.stats()["keys"]
            ssrc = next(iter(viewer.receiver.getSynchronizationSources())).source
            for _ in range(30):
                await viewer.receiver._send_rtcp_pli(ssrc)
                await viewer.picture()
            assert 1 <= broadcast.stats()["keys"] - keys <= 3
            await viewer.leave()

    run(test)


def test_the_picture_may_change_its_size_under_a_viewer(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast) as feed:
            viewer = await client().join(broadcast)
            assert (await viewer.picture()).width == 64
            feed.size = (96, 80)
            async with asyncio.timeout(10):
                while (await viewer.picture()).width != 96:
                    pass
            await viewer.leave()

    run(test)


def test_a_viewer_that_vanishes_without_a_word_is_let_go_and_the_others_do_not_notice(
    run, client, feeding, until, monkeypatch
):
    monkeypatch.setattr(viewer_module, "SILENCE", 2.0)
    monkeypatch.setattr(viewer_module, "LOOK", 0.1)

    async def test(broadcast):
        async with feeding(broadcast):
            stays, goes = await client().join(broadcast), await client().join(broadcast)
            await stays.level()
            await goes.level()
            goes.vanish()
            await until(lambda: broadcast.stats()["ends"] == {"silent": 1})
            assert len({await stays.level() for _ in range(20)}) > 10
            assert broadcast.stats()["viewers"] == 1
            await stays.leave()
            await goes.leave()

    run(test)


def test_an_offer_whose_maker_never_comes_is_let_go(run, client, until, monkeypatch):
    monkeypatch.setattr(viewer_module, "CONNECT", 0.3)
    monkeypatch.setattr(viewer_module, "LOOK", 0.1)

    async def test(broadcast):
        never = client()
        await broadcast.answer(await never.offer())
        assert broadcast.stats()["connecting"] == 1
        await until(lambda: broadcast.stats()["ends"] == {"never connected": 1})
        assert broadcast.stats()["connecting"] == 0
        await never.leave()

    run(test)


def test_a_viewer_can_be_hung_up_once(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast):
            viewer = await client().join(broadcast)
            await viewer.level()
            assert await broadcast.hang_up(viewer.id)
            assert broadcast.stats()["viewers"] == 0
            assert not await broadcast.hang_up(viewer.id)
            assert not await broadcast.hang_up("nobody")
            await viewer.leave()

    run(test)


def test_viewers_that_are_hung_up_while_they_connect_leave_nothing_behind(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast):
            for wait in (0.0, 0.01, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08):
                viewer = await client().join(broadcast)
                await asyncio.sleep(wait)
                assert await broadcast.hang_up(viewer.id)
                await viewer.leave()
        assert broadcast.stats()["viewers"] == broadcast.stats()["connecting"] == 0

    run(test)


def test_there_are_never_more_viewers_than_allowed(run, client, feeding):
    async def test(broadcast):
        async with feeding(broadcast):
            viewer = await client().join(broadcast)
            other = client()
            offer = await other.offer()
            with pytest.raises(OfferError) as caught:
                await broadcast.answer(offer)
            assert (caught.value.status, caught.value.retry_after is not None) == (503, True)
            assert broadcast.stats()["refused"] == {"503": 1}
            await broadcast.hang_up(viewer.id)
            await other.join(broadcast)
            await other.level()
            await viewer.leave()
            await other.leave()

    run(test, max_viewers=1)


def test_a_refused_offer_leaves_nothing_behind(run):
    async def test(broadcast):
        for _ in range(5):
            with pytest.raises(OfferError):
                await broadcast.answer("v=0")
        stats = broadcast.stats()
        assert (stats["connecting"], stats["viewers"], stats["refused"]) == (0, 0, {"400": 5})

    run(test)


def test_pictures_wait_no_longer_when_the_event_loop_is_busy(run, client, feeding, flat):
    """A loop that is held up for a second finds one picture waiting, the newest."""

    async def test(broadcast):
        viewer = await client().join(broadcast)
        broadcast.show(flat(40), 0.0)
        await viewer.picture()
        stop = threading.Event()
        for number in range(50):  # the loop runs nothing else meanwhile
            broadcast.show(flat(50 + number), 0.02 * number)
            stop.wait(0.02)
        levels = [await viewer.level()]
        while levels[-1] < 97:
            levels.append(await viewer.level())
        assert len(levels) <= 3
        await viewer.leave()

    run(test)


def test_close_says_goodbye_to_everybody(run, client, feeding, until):
    async def test(broadcast):
        async with feeding(broadcast):
            viewers = [await client().join(broadcast) for _ in range(3)]
            for viewer in viewers:
                await viewer.level()
            await broadcast.close()
            await until(lambda: all(v.connection.connectionState == "closed" for v in viewers))
            late = client()
            with pytest.raises(OfferError):
                await broadcast.answer(await late.offer())
            await late.leave()

    run(test)
