"""sender/reference: whatever is lost, whenever it is told, the sender ends up with the receiver's state."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrae.codec.types import EncodeHints
from lrae.sender.reference import ReferenceTracker

K = 3


class Pair:
    """A tracker and the receiver that it thinks about."""

    def __init__(self, codec, picture, limit=48):
        self.codec, self.picture = codec, picture
        self.tracker = ReferenceTracker(codec.initial_state(), limit)
        self.receiver = codec.initial_state()
        self.number = 0

    def send(self, used, intra=False):
        state = self.tracker.state
        encoded, after = self.codec.encode(
            state, self.picture(self.number), self.number, 30, EncodeHints(intra=intra, packets=K),
            self.tracker.number,
        )  # fmt: skip
        self.tracker.sent(encoded, after)
        self.receiver = self.codec.state_after(self.receiver, encoded, frozenset(used))
        self.number += 1

    def in_step(self):
        return np.array_equal(self.tracker.state, self.receiver)


losses = st.lists(
    st.tuples(st.sets(st.integers(0, K - 1)).map(frozenset), st.integers(0, 8), st.booleans()),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses)
def test_once_everything_is_confirmed_the_states_are_equal(fake_codec, small_format, picture, frames):
    pair = Pair(fake_codec(small_format), picture)
    pair.send(range(K), intra=True)
    pair.tracker.confirm(0, frozenset(range(K)))
    told = [(1 + i, used, 1 + i + delay) for i, (used, delay, _) in enumerate(frames)]
    for used, _, resync_now in frames:
        pair.send(used)
        for number, mask, due in told:
            if due == pair.number - 1:
                pair.tracker.confirm(number, mask)
        if resync_now:
            pair.tracker.resync(pair.codec.state_after)
    for number, mask, _ in told:
        pair.tracker.confirm(number, mask)
    pair.tracker.resync(pair.codec.state_after)
    assert pair.in_step()
    assert not pair.tracker.needs_intra
    assert len(pair.tracker) == 0


def test_no_replay_where_everything_arrived(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture)
    for n in range(10):
        pair.send(range(K), intra=n == 0)
        pair.tracker.confirm(n, frozenset(range(K)))
    assert pair.tracker.replay_cost == 0
    assert len(pair.tracker) == 0
    assert pair.in_step()


def test_a_loss_costs_the_frames_since_and_only_once(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture)
    for n in range(6):
        pair.send({0} if n == 2 else range(K), intra=n == 0)
    pair.tracker.confirm(2, frozenset({0}))
    assert pair.tracker.replay_cost == 4
    assert pair.tracker.resync(pair.codec.state_after) == 4
    assert pair.tracker.resync(pair.codec.state_after) == 0
    assert pair.in_step()
    pair.tracker.confirm(2, frozenset({1}))
    assert pair.tracker.replay_cost == 0, "what was confirmed once never changes"


def test_a_history_that_is_gone_asks_for_an_intra_frame_when_feedback_returns(
    fake_codec, small_format, picture
):
    pair = Pair(fake_codec(small_format), picture, limit=4)
    for n in range(8):
        pair.send(range(K), intra=n == 0)
    assert len(pair.tracker) == 4
    assert not pair.tracker.needs_intra, "without feedback an intra frame would not help"
    pair.tracker.confirm(7, frozenset(range(K)))
    assert pair.tracker.needs_intra
    pair.send(range(K), intra=True)
    assert not pair.tracker.needs_intra
    assert pair.in_step()


def test_an_intra_frame_that_is_lost_whole_is_sent_again(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture)
    pair.send((), intra=True)
    pair.tracker.confirm(0, frozenset())
    assert pair.tracker.needs_intra


def test_an_intra_frame_that_arrived_in_part_is_replayed(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture)
    pair.send(range(K), intra=True)
    pair.send({2}, intra=True)
    pair.tracker.confirm(1, frozenset({2}))
    pair.tracker.resync(pair.codec.state_after)
    assert pair.in_step()
