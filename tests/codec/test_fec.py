"""codec/fec: what the codes can recover comes back byte by byte, in any order of arrival; the rest is left alone."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.fec import MAX_PACKET, MAX_WINDOW, OVERHEAD, FecDecoder, FecEncoder, Parity, Plan, decoder
from lrae.codec.fec.coverage import protect, recovered
from lrae.codec.wire.parity import MAX_COLUMNS, MAX_ROWS
from lrae.codec.wire.serial import wrap

seeds = st.integers(0, 2**32 - 1)


def frame(rng, packets, longest=60):
    return [rng.randbytes(rng.randint(0, longest)) for _ in range(packets)]


class Stream:
    """Frames through an encoder: packets by (number, index), and all parity, over the wire and back."""

    def __init__(self):
        self.encoder, self.packets, self.parity = FecEncoder(), {}, []

    def send(self, number, packets, plan, worth=None):
        made = self.encoder.add(number, packets, plan, worth)
        self.packets.update(((number, index), packet) for index, packet in enumerate(packets))
        for parity in made:
            assert Parity.parse_body(parity.body()) == replace(parity, number=wrap(number))
            covered = [p for (n, i), p in self.packets.items() if 0 <= number - n < len(parity.covered)
                       and parity.covered[number - n] >> i & 1]  # fmt: skip
            assert len(parity.body()) <= max(map(len, covered)) + OVERHEAD
        self.parity += made
        return made

    def receive(self, lost, parity, order=None):
        """What a decoder recovers of the packets in `lost` from the rest and `parity`; order: a rng to shuffle them."""
        items = [(key, packet) for key, packet in self.packets.items() if key not in lost]
        items += [(None, p) for p in parity]
        if order is not None:
            order.shuffle(items)
        fec, found = FecDecoder(), {}
        for key, item in items:
            for got in fec.add_parity(item) if key is None else fec.add(*key, item):
                assert (got.number, got.index) not in found
                found[got.number, got.index] = got.packet
        assert all(self.packets[key] == packet for key, packet in found.items())
        return {key: packet for key, packet in found.items() if key in lost}  # not those that were merely slower


@given(st.integers(1, 12), st.integers(1, 8), st.data(), seeds)
@settings(max_examples=150, deadline=None)
def test_a_block_survives_as_many_losses_as_it_has_parity_and_not_one_more(count, parity, data, seed):
    rng = random.Random(seed)
    stream = Stream()
    made = stream.send(7, frame(rng, count), Plan("block", parity))
    everything = [(7, i) for i in range(count)] + made
    lost = data.draw(st.sets(st.integers(0, count + parity - 1)))
    lost_packets = {everything[i] for i in lost if i < count}
    arrived = [p for i, p in enumerate(made, count) if i not in lost]
    found = stream.receive(lost_packets, arrived, rng)
    assert set(found) == (lost_packets if len(lost_packets) <= len(arrived) else set())


def test_every_pattern_of_a_small_block():
    rng = random.Random(1)
    stream = Stream()
    made = stream.send(0, frame(rng, 5), Plan("block", 3))
    for pattern in itertools.product((False, True), repeat=8):
        lost = {(0, i) for i in range(5) if pattern[i]}
        parity = [p for i, p in enumerate(made, 5) if not pattern[i]]
        assert set(stream.receive(lost, parity)) == (lost if len(lost) <= len(parity) else set())


@given(st.integers(2, 5), st.data(), seeds)
@settings(max_examples=100, deadline=None)
def test_streaming_recovers_a_burst_as_soon_as_there_is_a_parity_for_each_loss(window, data, seed):
    rng = random.Random(seed)
    stream, number, numbers = Stream(), rng.choice([0, 2**32 - 3, -5]), []
    for _ in range(12):
        stream.send(number, frame(rng, rng.randint(1, 5)), Plan("streaming", rng.randint(0, 3), window))
        numbers.append(number)
        number += data.draw(st.sampled_from([1, 1, 1, 2, window]))
    first = data.draw(st.sampled_from(numbers))
    last = data.draw(st.sampled_from([n for n in numbers if first <= n < first + window]))
    burst = [key for key in stream.packets if first <= key[0] <= last]
    lost = set(data.draw(st.lists(st.sampled_from(burst), min_size=1, unique=True)))
    first, last = min(n for n, _ in lost), max(n for n, _ in lost)
    covering = [p for p in stream.parity if last <= p.number < first + window]
    kept = data.draw(st.lists(st.sampled_from(covering), unique_by=id)) if covering else []
    found = stream.receive(lost, kept, rng)
    if len(kept) >= len(lost):
        assert set(found) == lost


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_streaming_recovers_all_that_is_solvable_and_nothing_else(seed):
    rng = random.Random(seed)
    stream, window = Stream(), rng.randint(1, 5)
    for number in range(8):
        stream.send(number, frame(rng, rng.randint(1, 4)), Plan("streaming", rng.randint(0, 2), window))
    lost = {key for key in stream.packets if rng.random() < 0.4}
    parity = [p for p in stream.parity if rng.random() < 0.8]
    found = stream.receive(lost, parity, rng)
    assert set(found) == solvable(lost, parity)


def solvable(lost, parity):
    """By ranks of the whole system, with unit vectors appended: independent of how the decoder goes about it."""
    from lrae.codec.fec.gf256 import solve

    keys = sorted(lost)
    rows = []
    for p in parity:
        offsets, coefficients = decoder._line(p.code, p.row, p.base, p.covered)
        share = {(p.number + (o >> 6), o & 63): c for o, c in zip(offsets, coefficients, strict=True)}
        rows.append(bytes(share.get(key, 0) for key in keys))
    rows = tuple(row + bytes(i == j for j in range(len(rows))) for i, row in enumerate(rows))
    solution = solve(rows, len(keys)) if rows and keys else None
    return {keys[at] for at in solution.unknowns} if solution else set()


def test_a_frame_lost_whole_comes_back():
    rng = random.Random(3)
    stream = Stream()
    for number in range(4):
        stream.send(number, frame(rng, 3), Plan("streaming", 1, 4))
    lost = {(0, i) for i in range(3)}
    assert set(stream.receive(lost, [p for p in stream.parity if p.number > 0])) == lost


def test_plans_may_change_from_frame_to_frame():
    rng = random.Random(4)
    stream = Stream()
    plans = [Plan(), Plan("block", 2), Plan("streaming", 1, 3), Plan("streaming", 0, 8), Plan("streaming", 2, 2)]
    for number, plan in enumerate(plans):
        assert len(stream.send(number, frame(rng, 4), plan)) == plan.parity
    for number, losses in ((0, 1), (1, 2), (2, 1), (4, 2)):
        lost = {(number, i) for i in range(losses)}
        assert set(stream.receive(lost, stream.parity, rng)) == lost


def test_frame_numbers_may_jump_ahead_and_a_step_back_starts_afresh():
    rng = random.Random(5)
    stream, plan = Stream(), Plan("streaming", 1, 4)
    for number, covered in ((0, 1), (2, 3), (100, 1), (7, 1), (10**12, 1)):
        [parity] = stream.send(number, frame(rng, 3), plan)
        assert len(parity.covered) == covered
    lost = {(n, 0) for n in (2, 100, 7)}
    assert set(stream.receive(lost, stream.parity)) == lost


def test_the_numbers_of_rows_and_columns_stay_within_the_field():
    rng = random.Random(6)
    stream = Stream()
    for number in range(12):
        for parity in stream.send(number, frame(rng, 64, 5), Plan("streaming", 40, 8)):
            assert sum(map(int.bit_count, parity.covered)) <= MAX_COLUMNS
    for number in range(12):
        rows = [p.row for p in stream.parity if any(p.covered[p.number - number :][:1]) and p.number >= number]
        assert len(rows) == len(set(rows)) <= MAX_ROWS


def test_repeated_packets_and_parity_change_nothing():
    rng = random.Random(7)
    stream, fec = Stream(), FecDecoder()
    [a, b] = stream.send(0, frame(rng, 4), Plan("block", 2))
    for _ in range(3):
        assert fec.add(0, 0, stream.packets[0, 0]) == fec.add(0, 1, stream.packets[0, 1]) == []
        assert fec.add_parity(a) == []
    assert {got.index for got in fec.add_parity(b)} == {2, 3}
    assert fec.add_parity(a) == fec.add_parity(b) == fec.add(0, 3, b"other") == []
    assert fec.counts == {"recovered": 2, "spare": 4}


def test_forgotten_frames_still_help_but_are_not_reported():
    rng = random.Random(8)
    stream, fec = Stream(), FecDecoder()
    first = stream.send(0, frame(rng, 2), Plan("streaming", 1, 4))
    second = stream.send(1, frame(rng, 2), Plan("streaming", 1, 4))
    third = stream.send(2, frame(rng, 2), Plan("streaming", 1, 4))
    fec.forget(1)
    assert fec.add_parity(first[0]) == [] and fec.counts["late"] == 1
    for key in ((0, 1), (1, 0), (2, 0), (2, 1)):  # (0, 0) and (1, 1) are lost
        assert fec.add(*key, stream.packets[key]) == []
    assert fec.add_parity(second[0]) == []
    assert fec.add_parity(third[0]) == [(1, 1, stream.packets[1, 1])]


def test_no_plan_no_parity_and_an_empty_frame_is_fine():
    fec = FecEncoder()
    assert fec.add(0, [b"a"], Plan()) == []
    for number, scheme in enumerate(("block", "streaming"), 1):
        assert fec.add(number, [], Plan(scheme, 2)) == []
    with pytest.raises(ValueError):
        fec.add(9, [bytes(MAX_PACKET + 1)], Plan())
    with pytest.raises(ValueError):
        Plan("streaming", 1, MAX_WINDOW + 1)


def test_parity_goes_to_the_packets_of_worth_where_it_is_scarce():
    assert protect(4, 1, 1, 0.1, None) == protect(4, 1, 1, 0.1, [1, 1, 1, 1]) == [True] * 4
    assert protect(4, 4, 1, 0.1, [9, 0, 0, 0]) == [True] * 4
    assert protect(8, 1, 1, 0.1, [100, 1, 1, 1, 1, 1, 1, 1]) == [True] + [False] * 7
    stream = Stream()
    [parity] = stream.send(0, frame(random.Random(9), 8), Plan("block", 1), [1, 1, 1, 1, 1, 100, 1, 1])
    assert parity.covered == (1 << 5,)
    assert set(stream.receive({(0, 5), (0, 0)}, [parity])) == {(0, 5)}


@given(st.integers(2, 20), st.integers(1, 8), st.floats(0, 1), seeds)
@settings(max_examples=50, deadline=None)
def test_leaving_packets_out_never_lowers_the_worth_expected_to_be_recovered(packets, parity, loss, seed):
    rng = np.random.default_rng(seed)
    worth = rng.exponential(size=packets) ** 3
    kept = np.array(protect(packets, parity, 1, loss, worth))
    expected = worth[kept].sum() * recovered(int(kept.sum()), parity, loss)
    assert kept.any() and worth[kept].min() >= worth[~kept].max(initial=0)
    assert expected >= worth.sum() * recovered(packets, parity, loss) * 0.999
