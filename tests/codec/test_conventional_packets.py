"""Units of a coded frame in packets: whole where they fit, cut where not, and only whole ones come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.conventional.packets import is_banner, is_idr, pack, split_units, unpack

UNITS = st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=12)
ROOMS = st.integers(2, 60)


@given(UNITS, ROOMS)
def test_all_packets_give_all_bytes_back(units, room):
    packets = pack(units, room)
    assert all(2 <= len(packet) <= room for packet in packets)
    assert unpack(dict(enumerate(packets))) == (b"".join(units), frozenset(range(len(packets))))


@given(st.data(), UNITS, ROOMS)
def test_what_comes_back_of_some_packets_is_whole_units_in_order(data, units, room):
    units = [bytes([i]) * (1 + len(unit)) for i, unit in enumerate(units)]  # each knows its number
    packets = pack(units, room)
    kept = data.draw(st.sets(st.sampled_from(range(len(packets)))))
    joined, used = unpack({i: packets[i] for i in kept})
    assert used <= kept
    numbers = list(dict.fromkeys(joined))
    assert joined == b"".join(units[i] for i in numbers) and numbers == sorted(numbers)


@given(UNITS, st.integers(30, 60))
def test_a_unit_that_fits_a_packet_is_never_cut(units, room):
    for i, packet in enumerate(packets := pack(units, room)):
        if packet[0] != 3:  # a piece: nothing comes of it alone
            assert unpack({i: packet}) == (b"", frozenset())
    assert sum(packet[0] & 1 for packet in packets) <= len(units)
    if all(len(unit) < room for unit in units):
        assert all(packet[0] == 3 for packet in packets)


@given(st.dictionaries(st.integers(0, 63), st.binary(max_size=20)))
def test_any_payloads_at_all_are_taken(payloads):
    joined, used = unpack(payloads)
    assert used <= payloads.keys() and len(joined) <= sum(map(len, payloads.values()))


@given(st.binary(max_size=200))
def test_splitting_an_access_unit_loses_nothing_from_its_first_start_code_on(data):
    frame = b"\x00\x00\x01" + data
    assert b"".join(split_units(frame)) == frame


@pytest.mark.parametrize("code", [b"\x00\x00\x01", b"\x00\x00\x00\x01"])
def test_h264_units_are_told_apart(code):
    sequence, banner, idr, inter = (code + unit for unit in (b"\x67abc", b"\x06\x05abc", b"\x65abc", b"\x41abc"))
    assert split_units(sequence + banner + idr + inter) == [sequence, banner, idr, inter]
    assert [is_banner(unit) for unit in (sequence, banner, idr, inter, code)] == [False, True, False, False, False]
    assert [is_idr(unit) for unit in (sequence, banner, idr, inter, code)] == [False, False, True, False, False]
