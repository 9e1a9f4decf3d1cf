"""The encoding thread: the newest picture, only for somebody, never ahead of who sends."""

import queue
import threading

import pytest

from lrae.codec.types import VideoFormat
from lrae.receiver.broadcast import worker as module
from lrae.receiver.broadcast.worker import EncodeWorker

H264 = frozenset({"h264"})


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Still pictures are not repeated, so that every one encoded has its cause."""
    monkeypatch.setattr(module, "STILL_EVERY", 3600.0)


@pytest.fixture
def start():
    made = []

    def make():
        out = queue.Queue()
        worker = EncodeWorker(30.0, 1_000_000, out.put)
        made.append(worker)
        return worker, out

    yield make
    for worker in made:
        worker.close()
    assert not [t for t in threading.enumerate() if t.name == "broadcast"]


def test_nothing_is_encoded_and_no_thread_runs_while_nobody_looks(start, flat):
    worker, out = start()
    for number in range(10):
        worker.show(flat(50), number / 30)
    assert out.empty() and not worker.counts["frames"]
    assert not [t for t in threading.enumerate() if t.name == "broadcast"]


def test_who_comes_gets_the_picture_that_was_there_already_as_a_key_frame(start, flat):
    worker, out = start()
    worker.show(flat(50), 0.0)
    worker.want(H264)
    assert out.get(timeout=10)["h264"].key


def test_while_the_taker_is_slow_pictures_are_replaced_and_not_queued(start, flat):
    worker, out = start()
    worker.want(H264)
    worker.show(flat(50), 0.0)
    first = out.get(timeout=10)["h264"].packet
    for number in range(1, 101):
        worker.show(flat(50 + number % 2), number / 30)
    assert out.empty()
    worker.taken()
    second = out.get(timeout=10)["h264"].packet
    assert worker.counts["newer"] == 99
    assert second.pts > first.pts
    assert out.empty()


def test_key_frames_come_no_faster_than_they_may_however_many_ask(start, flat, monkeypatch):
    monkeypatch.setattr(module, "KEY_EVERY", 3600.0)
    worker, out = start()
    worker.want(H264)
    worker.want_key("h264")
    for number in range(20):
        worker.show(flat(60 + number), number / 30)
        out.get(timeout=10)
        worker.want_key("h264")
        worker.taken()
    assert worker.counts["frames"] == 20
    assert worker.counts["keys"] == 1


def test_a_still_picture_is_encoded_again_for_who_needs_a_key_frame(start, flat, monkeypatch):
    monkeypatch.setattr(module, "KEY_EVERY", 0.05)
    worker, out = start()
    worker.want(H264)
    worker.show(flat(60), 0.0)
    ticks = [out.get(timeout=10)["h264"].packet.pts]
    for _ in range(3):
        worker.taken()
        worker.want_key("h264")
        again = out.get(timeout=10)["h264"]
        assert again.key
        ticks.append(again.packet.pts)
    assert ticks == sorted(set(ticks))


def test_a_still_picture_is_sent_again_now_and_then_and_costs_next_to_nothing(start, flat, monkeypatch):
    monkeypatch.setattr(module, "STILL_EVERY", 0.02)
    worker, out = start()
    worker.want(H264)
    worker.show(flat(60), 0.0)
    made = [out.get(timeout=10)["h264"]]
    for _ in range(5):
        worker.taken()
        made.append(out.get(timeout=10)["h264"])
    assert [picture.key for picture in made] == [True] + 5 * [False]
    assert all(picture.packet.size < 100 for picture in made[2:])


def test_two_codecs_share_the_pictures_and_end_when_nobody_uses_them(start, flat):
    worker, out = start()
    worker.want(frozenset({"h264", "vp8"}))
    worker.show(flat(60), 0.0)
    assert set(out.get(timeout=10)) == {"h264", "vp8"}
    worker.want(frozenset({"vp8"}))
    worker.taken()
    worker.show(flat(61), 0.1)
    assert set(out.get(timeout=10)) == {"vp8"}


def test_another_size_goes_on_with_a_key_frame(start, flat):
    worker, out = start()
    worker.want(H264)
    for number, size in enumerate(((64, 48), (64, 48), (128, 96), (33, 31))):
        if size == (128, 96):
            worker.expect(VideoFormat(128, 96))
        worker.show(flat(60, 0.0, size), number / 30)
        assert out.get(timeout=10)["h264"].key == (number != 1)
        worker.taken()


def test_a_picture_that_cannot_be_encoded_is_counted_and_the_next_one_is_shown(start, flat):
    worker, out = start()
    worker.want(H264)
    worker.show(flat(60, 0.0, (64, 0)), 0.0)
    assert out.get(timeout=10) == {}
    worker.taken()
    worker.show(flat(60), 0.1)
    assert "h264" in out.get(timeout=10)
    assert worker.counts["failed"] == 1


def test_after_close_pictures_go_nowhere(start, flat):
    worker, out = start()
    worker.want(H264)
    worker.close()
    worker.close()
    worker.show(flat(60), 0.0)
    worker.want(H264)
    assert out.empty()
