"""receiver/player and presenter: late packets mend the state, frames reach the outputs in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrae import codec
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.codec.wire import Config
from lrae.codec.y4m import Y4mReader
from lrae.errors import ModelError, SinkError
from lrae.receiver.events import FrameDue
from lrae.receiver.jitter import MENDABLE, ReadyFrame
from lrae.receiver.player import Player
from lrae.receiver.presenter import MAX_HELD, Presenter

K = 3


@pytest.fixture
def world(monkeypatch, fake_codec, small_format, picture):
    """world(count) -> (config, frames whole, states of a decoder that gets them whole)."""
    fake = fake_codec(small_format)
    monkeypatch.setattr(codec, "make_decoder", lambda *_: fake)

    def make(count):
        state, frames, states = fake.initial_state(), [], []
        for n in range(count):
            encoded, state = fake.encode(state, picture(n), n, 30, EncodeHints(intra=n == 0, packets=K))
            frames.append(ReadyFrame(n, encoded.header, dict(enumerate(encoded.payloads)), n / 30, 0.02))
            states.append(state)
        return Config(7, small_format, "m", fake.model_hash, realtime=False), frames, states

    return make


def with_only(frame, indices):
    payloads = {i: frame.payloads[i] for i in sorted(indices)}
    return replace(frame, header=frame.header if payloads else None, payloads=payloads)


def prepared(config):
    player = Player(["null"], None, "cpu")
    player.prepare(config)
    return player


def test_a_frame_mended_makes_the_state_what_it_would_have_been(world):
    config, frames, states = world(6)
    player = prepared(config)
    for frame in frames:
        player.decode(with_only(frame, {0, 2}) if frame.number == 3 else frame)
    assert not np.array_equal(player._decoder.state, states[5])
    assert player.mend([frames[3]]) == {3: frozenset(range(K))}
    assert np.array_equal(player._decoder.state, states[5])
    assert player.mend([frames[3]]) == {3: frozenset(range(K))}, "and may be so again"
    assert np.array_equal(player._decoder.state, states[5])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.frozensets(st.integers(0, K - 1)), st.integers(1, MENDABLE - 1)), max_size=12))
def test_whatever_is_mended_within_reach_the_state_ends_as_if_nothing_had_been_lost(world, fates):
    config, frames, states = world(len(fates) + MENDABLE)
    player, due = prepared(config), {}
    for frame in frames:
        used, after = fates[frame.number - 1] if 0 < frame.number <= len(fates) else (frozenset(range(K)), 1)
        shown = player.decode(with_only(frame, used))
        assert shown.decoded.used == used
        if len(used) < K:
            due.setdefault(min(frame.number + after, len(frames) - 1), []).append(frame)
        mended = due.pop(frame.number, [])
        assert set(player.mend(mended)) == {frame.number for frame in mended}
    assert np.array_equal(player._decoder.state, states[-1])


def test_what_is_too_far_back_or_before_a_gap_is_left_alone(world):
    config, frames, _ = world(12)
    player = prepared(config)
    for frame in frames[: MENDABLE + 1]:
        player.decode(with_only(frame, {0}))
    before = player._decoder.state
    assert player.mend([frames[0]]) == {}
    player.decode(frames[9])
    assert player.mend([frames[4]]) == {}
    assert player.mend([]) == {}
    assert not np.array_equal(before, player._decoder.state)


def test_a_decoder_too_slow_for_it_mends_nothing(world):
    config, frames, _ = world(4)
    player = prepared(replace(config, realtime=True, format=replace(config.format, fps=Fraction(1000))))
    for frame in frames:
        player.decode(frame)
    player._seconds = 0.0003
    assert player.mend([frames[1]]) == {1: frozenset(range(K))}
    player._seconds = 0.0004
    assert player.mend([frames[1]]) == {}


def test_other_weights_than_the_senders_are_refused(world):
    config, _, _ = world(0)
    with pytest.raises(ModelError, match="differ"):
        prepared(replace(config, model_hash="f" * 16))


def present(player, config, frames, realtime):
    """What an asyncio shell does with frames that are due at once; numbers in the order of showing."""
    shown = []

    async def main():
        presenter = Presenter(player, 0.05, lambda due, *_: shown.append(due.frame.number))
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(presenter.run())
                await presenter.start(config.format, realtime)
                for frame in frames:
                    await presenter.put(FrameDue(frame, None, asyncio.get_running_loop().time()), player.decode(frame))
                await presenter.drained()
                task.cancel()
        finally:
            await presenter.close()

    asyncio.run(main())
    return shown


@pytest.mark.parametrize("realtime", [False, True])
def test_every_frame_reaches_the_outputs_once_and_in_order(world, tmp_path, picture, realtime):
    config, frames, _ = world(MAX_HELD + 8)
    player = Player(["null", str(tmp_path / "out.y4m")], None, "cpu")
    player.prepare(config)
    closer = [replace(frame, capture=frame.number / 1000) for frame in frames]
    assert present(player, config, closer, realtime) == [frame.number for frame in frames]
    with (tmp_path / "out.y4m").open("rb") as stream:
        for frame, written in zip(frames, Y4mReader(stream), strict=True):
            assert np.array_equal(written.y, picture(frame.number).y)


def test_an_output_that_fails_ends_the_presentation_with_its_error(world, monkeypatch):
    config, frames, _ = world(MAX_HELD + 8)
    player = prepared(config)

    def fail(*_):
        raise SinkError("full")

    monkeypatch.setattr(player, "show", fail)
    with pytest.raises(ExceptionGroup) as caught:
        present(player, config, frames, False)
    assert caught.group_contains(SinkError, match="full")


def test_outputs_stay_open_from_one_stream_to_the_next(world, tmp_path):
    config, frames, _ = world(2)
    player = Player([str(tmp_path / "out.y4m")], None, "cpu")
    player.prepare(config)
    player.open(config.format)
    player.show(player.decode(frames[0]))
    player.prepare(config)
    player.open(VideoFormat(16, 16))
    player.show(player.decode(frames[0]))
    player.close()
    with (tmp_path / "out.y4m").open("rb") as stream:
        assert len(list(Y4mReader(stream))) == 2
