"""The loop on the wall clock: callers never wait, close() leaves nothing behind, codecs in processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
import time

import numpy as np
import pytest

from lrae.codec.types import Frame
from lrae.webrtc.ends import BARE, IMPUTED, H264Decoding, H264Encoding
from lrae.webrtc.ends_lrae import LraeDecoding, LraeEncoding
from lrae.webrtc.loop import Loop, make_ends
from lrae.webrtc.pipeline import H264, LRAE
from lrae.webrtc.situation import Situation

SIZE, PATIENCE = (64, 48), 60.0
SITUATION = Situation(bitrate_kbps=2000, delay_ms=0)


def frame(number):
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    half = np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
    return Frame((128 + 60 * np.sin((x + number) / 7) * np.cos(y / 5)).astype(np.uint8), half, half)


def play(loop, until, fps=30):
    """Offers frames until `until()`; whether that came true in time."""
    start = time.monotonic()
    for number in range(int(PATIENCE * fps)):
        loop.offer(frame(number), time.monotonic())
        if until():
            return True
        time.sleep(1 / fps)
        if time.monotonic() > start + PATIENCE:
            break
    return False


@pytest.fixture
def ends(fake_codec):
    """Codecs in threads, LRAE's being the small exact one."""

    def make(video, rate):
        lrae = [{impute: fake_codec(video) for impute in (IMPUTED, BARE)} for _ in range(2)]
        return {
            LRAE: (LraeEncoding(lrae[0], rate), LraeDecoding(lrae[1])),
            H264: (H264Encoding(video, rate), H264Decoding(video)),
        }

    return make


def test_pictures_and_statistics_come_and_close_leaves_no_thread(ends):
    before, pictures, stats = set(threading.enumerate()), [], []
    loop = Loop(SIZE, 30, SITUATION, pictures.append, stats.append, ends=ends)
    assert play(loop, lambda: sum(s["state"][LRAE] == "whole" for s in stats[-100:]) > 10)
    loop.close()
    loop.close()
    assert set(threading.enumerate()) <= before and not loop.problem
    assert [p.number for p in pictures] == sorted({p.number for p in pictures})
    assert pictures[-1].lrae.size == pictures[-1].conventional.size == pictures[-1].source.size == SIZE
    loop.offer(frame(0), time.monotonic())
    loop.set(Situation())
    loop.drop()


def test_a_slow_viewer_costs_instants_and_nobody_waits(ends):
    seen, slow = [], threading.Event()

    def show(pictures):
        seen.append(pictures.number)
        slow.wait(0.5)

    loop = Loop(SIZE, 30, SITUATION, show, lambda stats: None, ends=ends)
    longest = 0.0
    for number in range(45):
        start = time.thread_time()
        loop.offer(frame(number), time.monotonic())
        longest = max(longest, time.thread_time() - start)
        time.sleep(1 / 30)
    assert play(loop, lambda: len(seen) >= 2)
    slow.set()
    loop.close()
    assert len(loop._reports) <= 2


def test_controls_of_a_running_loop_act(ends):
    stats = []
    loop = Loop(SIZE, 30, SITUATION, lambda pictures: None, stats.append, ends=ends)
    assert play(loop, lambda: stats and stats[-1]["state"][LRAE] == "whole")
    loop.set(Situation(loss=1.0))
    assert play(loop, lambda: set(stats[-1]["state"].values()) == {"frozen"} and stats[-1]["situation"]["loss"] == 1)
    loop.set(SITUATION)
    assert play(loop, lambda: set(stats[-1]["state"].values()) == {"whole"})
    loop.drop(0.5)
    assert play(loop, lambda: stats[-1]["stall_ms"][LRAE] > 200)
    assert play(loop, lambda: stats[-1]["stall_ms"][LRAE] == 0)
    loop.close()


def test_frames_of_another_size_are_refused(ends):
    loop = Loop((32, 32), 30, SITUATION, lambda pictures: None, lambda stats: None, ends=ends)
    with pytest.raises(ValueError, match="not"):
        loop.offer(frame(0), 0.0)
    loop.close()


def test_lrae_runs_in_processes_that_end_with_the_loop():
    stats = []
    loop = Loop(SIZE, 30, SITUATION, lambda pictures: None, stats.append)
    children = multiprocessing.active_children()
    assert len(children) >= 2
    assert play(loop, lambda: stats and stats[-1]["state"][LRAE] == "whole")
    loop.close()
    assert not set(children) & set(multiprocessing.active_children())


def test_a_codec_process_that_dies_is_told_and_replaced(monkeypatch):
    monkeypatch.setattr("lrae.webrtc.loop.AGAIN", 0.3)
    stats = []
    loop = Loop(SIZE, 30, SITUATION, lambda pictures: None, stats.append)
    time.sleep(0.1)
    first = loop._ends[LRAE][0]._remote._process
    first.kill()
    assert play(loop, lambda: loop._ends[LRAE][0]._remote._process is not first)
    assert play(loop, lambda: stats and stats[-1]["state"][LRAE] == "whole")
    assert not loop.problem
    loop.close()


def test_a_codec_that_refuses_is_told_and_nothing_hangs():
    def ends(video, rate):
        return make_ends(video, rate, model="no-such-model")

    stats = []
    loop = Loop(SIZE, 30, SITUATION, lambda pictures: None, stats.append, ends=ends)
    assert play(loop, lambda: loop.problem)
    assert "no-such-model" in loop.problem and not multiprocessing.active_children()[2:]
    loop.close()
