"""sender/reference: whatever is lost, whenever it is told, the sender ends up with the receiver's state."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrae.codec.types import EncodeHints
from lrae.sender.reference import SETTLED, ReferenceTracker

K = 3


class Pair:
    """A tracker and the receiver that it thinks about."""

    def __init__(self, codec, picture, limit=48):
        self.codec, self.picture = codec, picture
        self.tracker = ReferenceTracker(codec.initial_state(), limit)
        self.sent, self.states = [], [codec.initial_state()]  # (encoded, used), the receiver's before and after each

    @property
    def number(self):
        return len(self.sent)

    @property
    def receiver(self):
        return self.states[-1]

    def send(self, used, intra=False):
        state = self.tracker.state
        encoded, after = self.codec.encode(
            state, self.picture(self.number), self.number, 30, EncodeHints(intra=intra, packets=K),
            self.tracker.number,
        )  # fmt: skip
        self.tracker.sent(encoded, after)
        self.states.append(self.codec.state_after(self.receiver, encoded, frozenset(used)))
        self.sent.append((encoded, frozenset(used)))

    def mend(self, number, more):
        """Payloads come late; returns all of that frame that the receiver has now."""
        encoded, used = self.sent[number]
        self.sent[number] = encoded, used | more
        for n in range(number, self.number):
            self.states[n + 1] = self.codec.state_after(self.states[n], *self.sent[n])
        return used | more

    def in_step(self):
        return np.array_equal(self.tracker.state, self.receiver)


payloads = st.frozensets(st.integers(0, K - 1))
# payloads that arrive, frames until that is told, whether to replay now; payloads that come late, how much later, and
# frames until that is told
losses = st.lists(
    st.tuples(payloads, st.integers(0, 8), st.booleans(), st.none() | payloads, st.integers(1, 4), st.integers(0, 8)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses)
def test_once_everything_is_confirmed_the_states_are_equal(fake_codec, small_format, picture, frames):
    pair = Pair(fake_codec(small_format), picture)
    pair.send(range(K), intra=True)
    pair.tracker.confirm(0, frozenset(range(K)))
    told = [(1 + i, used, 1 + i + delay) for i, (used, delay, *_) in enumerate(frames)]
    late = [(1 + i, more, 1 + i + age, delay) for i, (*_, more, age, delay) in enumerate(frames) if more]
    for used, _, resync_now, *_ in frames:
        pair.send(used)
        for number, more, when, delay in late:
            if when == pair.number - 1:
                told.append((number, pair.mend(number, more), when + delay))
        for number, mask, due in told:
            if due == pair.number - 1:
                pair.tracker.confirm(number, mask)
        if resync_now:
            pair.tracker.resync(pair.codec.state_after)
    for number, mask, due in told:
        if due >= pair.number:
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
    for less in ({1}, {0}, ()):
        pair.tracker.confirm(2, frozenset(less))
        assert pair.tracker.replay_cost == 0, "what was used once stays used"


def test_a_mend_is_believed_until_sixteen_frames_are_settled_after_it(fake_codec, small_format, picture):
    for since in (SETTLED - 1, SETTLED):
        pair = Pair(fake_codec(small_format), picture)
        pair.send(range(K), intra=True)
        pair.send({0})
        for _ in range(since):
            pair.send(range(K))
        for n, (_, used) in enumerate(pair.sent):
            pair.tracker.confirm(n, used)
        pair.tracker.resync(pair.codec.state_after)
        assert pair.in_step() and len(pair.tracker) == 0
        pair.tracker.confirm(1, pair.mend(1, frozenset(range(K))))
        believed = since < SETTLED
        assert pair.tracker.replay_cost == len(pair.tracker) == (since + 1) * believed
        pair.tracker.resync(pair.codec.state_after)
        assert pair.in_step() == believed and len(pair.tracker) == 0


def test_a_mend_that_is_told_before_its_loss_was_replayed_costs_nothing(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture)
    for n in range(4):
        pair.send({0} if n == 1 else range(K), intra=n == 0)
    pair.tracker.confirm(1, frozenset({0}))
    pair.tracker.confirm(1, pair.mend(1, frozenset(range(K))))
    assert pair.tracker.replay_cost == 0 and pair.in_step()


def test_an_intra_frame_that_is_mended_renews_the_state(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture, limit=4)
    for n in range(8):
        pair.send(range(K), intra=n == 0)
    pair.send({0, 1}, intra=True)
    pair.tracker.confirm(8, frozenset({0, 1}))
    pair.tracker.resync(pair.codec.state_after)
    assert pair.tracker.forgotten
    pair.tracker.confirm(8, pair.mend(8, frozenset(range(K))))
    assert not pair.tracker.forgotten
    assert pair.tracker.resync(pair.codec.state_after) == 1 and pair.in_step()


def test_frames_kept_for_a_mend_make_room_for_those_that_nothing_is_known_of(fake_codec, small_format, picture):
    pair = Pair(fake_codec(small_format), picture, limit=6)
    for n in range(6):
        pair.send(range(K), intra=n == 0)
        pair.tracker.confirm(n, frozenset(range(K)))
    for _ in range(6):
        pair.send({1})
        assert not pair.tracker.forgotten
    assert len(pair.tracker) == 6
    for n in range(6, 12):
        pair.tracker.confirm(n, frozenset({1}))
    pair.tracker.resync(pair.codec.state_after)
    assert pair.in_step()


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
