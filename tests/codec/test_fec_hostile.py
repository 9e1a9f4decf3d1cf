"""codec/fec and PARITY against anything: one WireError on the wire, nothing raised and nothing grown in the decoder."""

import contextlib
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.fec import MAX_PACKET, FecDecoder, FecEncoder, Parity, Plan
from lrae.codec.fec.decoder import MAX_EQUATIONS, MAX_FRAMES
from lrae.codec.wire.parity import BLOCK, MAX_WINDOW, PARITY_HEAD, STREAMING
from lrae.errors import WireError

numbers = st.integers(0, 2**32 - 1)
bitmaps = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 64).map(lambda k: (1 << k) - 1))
parities = st.builds(
    Parity, st.one_of(st.integers(-3, 12), numbers), st.integers(0, 2), st.integers(0, 255), st.integers(0, 255),
    st.lists(st.one_of(bitmaps, st.integers(0, 15)), min_size=1, max_size=MAX_WINDOW).map(tuple),
    st.binary(max_size=40),
)  # fmt: skip


@given(st.one_of(st.binary(max_size=60), parities.map(Parity.body)))
@settings(max_examples=500)
def test_any_bytes_parse_to_something_equal_or_raise_wire_error(data):
    with contextlib.suppress(WireError):
        parity = Parity.parse_body(data)
        assert parity.body() == data
        assert len(data) - len(parity.payload) <= PARITY_HEAD


@pytest.mark.parametrize(
    "change",
    [
        {"code": 2}, {"code": BLOCK, "covered": (1, 1)}, {"row": 64}, {"base": 192}, {"payload": b"1"},
        {"covered": ((1 << 64) - 1,) * 4}, {"covered": (5,) * 8}, {"covered": (1, 0)}, {"covered": (0,)},
        {"code": BLOCK, "row": 3, "base": 3}, {"code": BLOCK, "base": 65}, {"code": BLOCK, "base": 0},
    ],
)  # fmt: skip
def test_nonsense_is_one_wire_error(change):
    good = Parity(5, STREAMING, 1, 2, (1,), b"1234")
    assert Parity.parse_body(good.body()) == good
    with pytest.raises(WireError):
        Parity.parse_body(replace(good, **change).body())


def test_a_code_over_too_many_frames_or_a_bitmap_that_is_too_long_is_refused():
    good = Parity(5, STREAMING, 1, 2, (1,), b"1234").body()
    for head in (good[:4] + bytes((0x1F, 1, 2)), good[:7] + b"\x89", good[:7] + b"\x41", good[:7] + b"\x81\x01"):
        with pytest.raises(WireError):
            Parity.parse_body(head + bytes(20))


def test_the_number_on_the_wire_is_its_low_32_bits():
    parity = Parity(2**32 + 7, STREAMING, 1, 2, (1,), b"1234")
    assert Parity.parse_body(parity.body()).number == 7


@given(st.lists(st.one_of(parities, st.tuples(st.integers(-3, 12), st.integers(-1, 70), st.binary(max_size=30)))))
@settings(max_examples=200, deadline=None)
def test_the_decoder_takes_anything(items):
    fec = FecDecoder()
    for item in items:
        found = fec.add_parity(item) if isinstance(item, Parity) else fec.add(*item)
        assert all(0 <= index < 64 and len(packet) <= MAX_PACKET for _, index, packet in found)
    check_bounds(fec)


def check_bounds(fec):
    assert len(fec._frames) <= MAX_FRAMES and len(fec._equations) <= MAX_EQUATIONS
    assert sum(map(len, fec._frames.values())) == len(fec._packets) <= MAX_FRAMES * 64
    assert fec._missing == set().union(*(e.missing for e in fec._equations.values()))
    for equation in fec._equations.values():
        assert all((key in fec._packets) != (key in equation.missing) for key in equation.keys)


def test_a_flood_does_not_grow_the_decoder():
    rng, fec = random.Random(0), FecDecoder()
    for step in range(1500):
        number = rng.choice([rng.randrange(2**40), step, rng.randrange(64)])
        fec.add(number, rng.randrange(64), bytes(rng.randrange(40)))
        covered = tuple(rng.getrandbits(12) | 1 for _ in range(rng.randint(1, 8)))
        fec.add_parity(Parity(number, STREAMING, rng.randrange(64), rng.randrange(192), covered, rng.randbytes(30)))
        if step % 100 == 0:
            check_bounds(fec)
    check_bounds(fec)


@pytest.mark.parametrize("plan", [Plan("block", 2), Plan("streaming", 2, 3)])
def test_damaged_parity_yields_no_packet_is_counted_and_the_next_one_works(plan):
    rng = random.Random(1)
    packets = [rng.randbytes(20) for _ in range(3)]
    bad, good = FecEncoder().add(0, packets, plan)
    fec = FecDecoder()
    fec.add(0, 0, packets[0]), fec.add(0, 1, packets[1])
    assert fec.add_parity(replace(bad, payload=bytes(b ^ 0x55 for b in bad.payload))) == []
    assert fec.counts["refused"] == 1
    assert fec.add_parity(good) == [(0, 2, packets[2])]


def test_parity_shorter_than_a_packet_it_covers_is_refused_also_when_that_packet_comes_later():
    packets = [bytes(50), bytes(8), bytes(8)]
    [parity] = FecEncoder().add(0, packets, Plan("block", 1))
    short = replace(parity, payload=parity.payload[:20])
    for late in (False, True):
        fec = FecDecoder()
        steps = [lambda fec=fec: fec.add(0, 0, packets[0]), lambda fec=fec: fec.add_parity(short)]
        for step in reversed(steps) if late else steps:
            assert step() == []
        assert fec.add(0, 1, packets[1]) == []
        assert fec.counts["refused"] == 1


def test_a_bad_parity_among_good_ones_costs_those_it_was_combined_with_at_most():
    rng = random.Random(2)
    packets = [rng.randbytes(30) for _ in range(4)]
    parity = FecEncoder().add(0, packets, Plan("block", 4))
    fec = FecDecoder()
    fec.add(0, 0, packets[0]), fec.add(0, 1, packets[1])
    fec.add_parity(replace(parity[0], payload=rng.randbytes(32)))
    assert fec.add_parity(parity[1]) == [] and fec.counts["refused"] == 2
    assert fec.add_parity(parity[2]) == []
    assert sorted(fec.add_parity(parity[3])) == [(0, 2, packets[2]), (0, 3, packets[3])]
