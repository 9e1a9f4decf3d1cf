"""DATA packets of several payloads: both ways, and everything that is not one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.types import FrameHeader
from lrae.codec.wire import DATA_HEADER, MTU, PlainEnvelope, parse_packet, seal_packet
from lrae.codec.wire.data import ENTRY, DataPacket
from lrae.errors import WireError

HEADER = FrameHeader(350, False, 37, 6, 0, 349)
REST = 1023
ROOM = MTU - PlainEnvelope.overhead - DATA_HEADER


@st.composite
def bundled(draw):
    packets = draw(st.integers(1, 64))
    indices = draw(st.lists(st.integers(0, packets - 1), min_size=1, unique=True))
    most = max(0, ROOM // len(indices) - ENTRY)
    payloads = tuple((index, draw(st.binary(max_size=min(most, 1022)))) for index in indices)
    header = FrameHeader(350, False, draw(st.integers(0, 63)), packets, 0, 349)
    return DataPacket(7, 2, header, draw(st.integers(0, packets - 1)), payloads, draw(st.integers(0, 255)))


def body(*entries, index=1, last=False):
    """A body with these (payload's index, length that is said, bytes)."""
    head = bytearray(DataPacket(7, 2, HEADER, index, ((index, b""),), last=last).body())
    head[10] |= 0x80
    return bytes(head) + b"".join(struct.pack("!H", i << 10 | length) + data for i, length, data in entries)


@given(bundled())
def test_several_payloads_come_back_as_they_were(packet):
    data = seal_packet(packet, PlainEnvelope())
    assert len(data) <= MTU
    assert parse_packet(PlainEnvelope().unseal(data)) == packet


@given(bundled())
def test_a_packet_of_its_own_payload_has_no_entries_and_every_other_one_has(packet):
    alone = [index for index, _ in packet.payloads] == [packet.index]
    size = sum(len(payload) + ENTRY * (not alone) for _, payload in packet.payloads)
    assert len(packet.body()) == DATA_HEADER + size


@given(st.binary(max_size=200))
def test_any_bytes_are_one_packet_or_a_wire_error(rest):
    try:
        packet = DataPacket.parse_body(7, body() + rest)
    except WireError:
        return
    assert packet.body() == body() + rest


@given(bundled(), st.data())
def test_a_packet_cut_short_is_refused_or_shorter_at_its_end_only(packet, data):
    whole = packet.body()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = DataPacket.parse_body(7, cut)
    except WireError:
        return
    assert found.payloads[:-1] == packet.payloads[:-1]
    assert packet.payloads[-1][1].startswith(found.payloads[-1][1])


@pytest.mark.parametrize(
    "entries",
    [
        (),  # none
        ((2, 3, b"abc"),),  # none that is the last
        ((2, 3, b"abc"), (2, REST, b"d")),  # twice the same
        ((2, 3, b"abc"), (6, REST, b"d")),  # of six
        ((6, 3, b"abc"), (2, REST, b"d")),
        ((2, 9, b"abc"), (3, REST, b"d")),  # longer than what follows
        ((2, 3, b"abc"), (3, 1, b"")),
        ((1, REST, b"abc"),),  # the plain form is shorter
    ],
)
def test_entries_that_are_not_as_written_are_refused(entries):
    with pytest.raises(WireError):
        DataPacket.parse_body(7, body(*entries))


def test_half_an_entry_is_refused():
    with pytest.raises(WireError, match="truncated"):
        DataPacket.parse_body(7, body((2, 3, b"abc")) + b"\x0f")


def test_entries_are_what_the_document_says():
    packet = DataPacket.parse_body(7, body((4, 2, b"ab"), (0, REST, b"cde")))
    assert packet.index == 1 and packet.payloads == ((4, b"ab"), (0, b"cde"))


def test_a_cut_frame_has_no_bundles():
    with pytest.raises(WireError):
        DataPacket.parse_body(7, body((2, 1, b"a"), (3, REST, b"b"), last=True))
    with pytest.raises(ValueError, match="cut"):
        DataPacket(7, 2, HEADER, 0, ((0, b"a"), (1, b"b")), last=True).body()


@pytest.mark.parametrize("payloads", [(), ((0, bytes(1023)), (1, b"b"))])
def test_what_cannot_be_written_is_our_bug_and_says_so(payloads):
    with pytest.raises(ValueError, match="DATA"):
        DataPacket(7, 2, HEADER, 2, payloads).body()
