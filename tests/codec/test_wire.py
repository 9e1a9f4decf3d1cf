"""codec/wire: every packet survives the trip, nothing malformed gets in."""

import contextlib
import random
import zlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import IMPUTE, LAYOUTS, FrameHeader, VideoFormat
from lrae.codec.wire import (
    DATA_OVERHEAD,
    HANDSHAKE,
    MTU,
    PROTOCOL_VERSION,
    Alive,
    Bye,
    Config,
    DataPacket,
    Feedback,
    Hello,
    Kind,
    PlainEnvelope,
    Stats,
    VersionError,
    parse_packet,
    seal_packet,
)
from lrae.codec.wire.control import PADDING
from lrae.codec.wire.envelope import MAX_JUMP
from lrae.codec.wire.feedback import WHOLE, bitmap, indices
from lrae.codec.wire.parity import Parity
from lrae.codec.wire.serial import WRAP, difference, unwrap, wrap
from lrae.errors import WireError

layouts = st.integers(0, len(LAYOUTS) - 1)
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=80).filter(str.isprintable)
NONCES = st.binary(min_size=16, max_size=16)


@st.composite
def data_packets(draw):
    number, intra = draw(U32), draw(st.booleans())
    packets = draw(st.integers(1, 64))
    reference = 0 if intra else wrap(number - draw(st.integers(1, 255)))
    header = FrameHeader(number, intra, draw(st.integers(0, 63)), packets, draw(layouts), reference)
    index = draw(st.integers(0, packets - 1))
    payload = draw(st.binary(max_size=MTU - DATA_OVERHEAD))
    return DataPacket.single(draw(U16), draw(U32), header, index, payload, draw(st.integers(0, 255)))


@st.composite
def feedbacks(draw):
    covered = draw(st.integers(0, 255))
    arrived = draw(st.integers(0, 2**covered - 1)) | 1 if covered else 0
    times = st.lists(st.integers(-(2**31), 2**31), max_size=min(255, max(0, arrived.bit_count() - 1)))
    return Feedback(
        draw(U16), draw(st.booleans()), draw(U16), draw(U16), draw(U16), draw(U16),
        tuple(draw(st.lists(st.integers(WHOLE, 2**64 - 1), max_size=16))), covered, arrived, tuple(draw(times)),
    )  # fmt: skip


formats = st.builds(
    VideoFormat, st.integers(16, 4096), st.integers(16, 4096),
    st.fractions(Fraction(1, 10), 1000, max_denominator=100_000), st.sampled_from(["tv", "pc"]),
    st.sampled_from(["bt709", "smpte170m", "unknown"]),
)  # fmt: skip
configs = st.builds(
    Config, U16, formats, st.sampled_from(["s", "m", "my-model.v2"]),
    st.from_regex("[0-9a-f]{16}", fullmatch=True), NONCES, NONCES, NONCES, st.integers(0, 64), layouts, U32,
    st.booleans(), st.sampled_from(IMPUTE),
)  # fmt: skip
hellos = st.one_of(
    st.builds(Hello, U16, st.just("sender"), TEXT, NONCES, padding=st.binary(max_size=PADDING)),
    st.builds(Hello, U16, st.just("receiver"), TEXT, NONCES, NONCES, st.integers(0, 60_000)),
    st.builds(Hello, U16, st.just("receiver"), TEXT),
)
byes = st.builds(Bye, U16, st.integers(0, 4), NONCES, TEXT, U32)
stats = st.builds(Stats, U16, *[st.integers(0, 2**53)] * 6)
packets = st.one_of(data_packets(), feedbacks(), configs, hellos, byes, stats, st.builds(Alive, U16))

ONE_OF_EACH = [
    DataPacket.single(7, 2, FrameHeader(9, False, 30, 4, 0, 8), 3, b"payload", 20),
    Feedback(7, True, 5, 1, 2, 9, (3, 0, WHOLE, 2**63), 4, 0b1011, (5, -7)),
    Config(7, VideoFormat(448, 256), "m", "0123456789abcdef"),
    Hello(7, "sender", "lrae 0.1.0", bytes(16), padding=bytes(40)),
    Hello(7, "receiver", "lrae 0.1.0", bytes(16), bytes(16), 150),
    Stats(7, 1, 2, 3, 4, 5, 6),
    Bye(7, 0, bytes(16), "end", 100),
    Alive(7),
]


def seal(packet, counter=0):
    return seal_packet(packet, PlainEnvelope(counter))


def parse(data):
    return parse_packet(PlainEnvelope().unseal(data))


def crc(body):
    return bytes(body) + zlib.crc32(body).to_bytes(4)


@settings(max_examples=500)
@given(packets, U32)
def test_every_packet_parses_back_to_itself(packet, counter):
    data = seal(packet, counter)
    assert len(data) == len(packet.body()) + PlainEnvelope.overhead <= MTU
    opened = PlainEnvelope().unseal(data)
    assert (opened.kind, opened.stream) == (packet.KIND, packet.stream)
    assert opened.counter == (0 if packet.KIND in HANDSHAKE else counter)
    assert parse_packet(opened) == packet
    assert seal(parse(data), counter) == data


@settings(max_examples=300)
@given(packets, st.data())
def test_any_flipped_bit_or_cut_is_a_wire_error(packet, data):
    good = seal(packet)
    bad = bytearray(good)
    at = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[at // 8] ^= 1 << at % 8
    for wrong in (bytes(bad), good[: data.draw(st.integers(0, len(good) - 1))]):
        with pytest.raises(WireError):
            parse(wrong)


def test_twenty_thousand_mutated_packets_with_a_right_crc_raise_nothing_but_wire_errors():
    rng = random.Random(1)
    seeds = [seal(packet)[:-4] for packet in ONE_OF_EACH]
    accepted = 0
    for _ in range(20_000):
        body = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.3:
            body = body[: rng.randrange(len(body))]
        elif rng.random() < 0.3:
            body += rng.randbytes(rng.randrange(8))
        with contextlib.suppress(WireError):
            packet = parse(crc(body))
            accepted += 1
            if not isinstance(packet, Parity):
                seal(packet)
    assert accepted > 0


@settings(max_examples=500)
@given(st.sampled_from(list(Kind)), st.binary(max_size=200))
def test_a_sealed_body_of_noise_is_a_packet_or_a_wire_error(kind, body):
    opened = PlainEnvelope().unseal(PlainEnvelope().seal(kind, 1, body))
    with contextlib.suppress(WireError):
        parse_packet(opened)
    with contextlib.suppress(WireError):
        Parity.parse_body(opened.body)


def test_a_peer_of_another_version_is_told_apart_from_garbage():
    body = bytearray(seal(Hello(7, "sender", "x", bytes(16)))[:-4])
    body[0] = (PROTOCOL_VERSION + 1) << 4 | body[0] & 15
    with pytest.raises(VersionError) as caught:
        parse(crc(body))
    assert caught.value.version == PROTOCOL_VERSION + 1
    with pytest.raises(WireError) as caught:
        parse(bytes(body) + b"\0\0\0\0")
    assert not isinstance(caught.value, VersionError)


def test_parity_has_a_body_of_its_own_and_unknown_types_have_none():
    with pytest.raises(WireError, match="PARITY"):
        parse(PlainEnvelope().seal(Kind.PARITY, 1, b"\0" * 20))
    with pytest.raises(WireError, match="unknown"):
        parse(crc(bytes([PROTOCOL_VERSION << 4 | 15]) + bytes(20)))


def test_counters_count_what_belongs_to_the_session_and_wrap_around():
    sender, receiver = PlainEnvelope(WRAP - 2), PlainEnvelope()
    seen = []
    for packet in (Alive(7), ONE_OF_EACH[0], Hello(7, "sender", "x", bytes(16)), Alive(7), Alive(7)):
        opened = receiver.unseal(seal_packet(packet, sender))
        seen += [opened.counter] if opened.kind not in HANDSHAKE else []
    assert seen == [WRAP - 2, WRAP - 1, WRAP, WRAP + 1]
    assert sender.counter == WRAP + 2


@given(st.integers(0, WRAP - 1), st.integers(0, WRAP - 1))
def test_a_counter_that_jumps_is_refused_and_does_not_move_the_others(first, second):
    receiver = PlainEnvelope()
    receiver.unseal(seal(Alive(7), first))
    if abs(difference(second, first)) > MAX_JUMP:
        with pytest.raises(WireError, match="jumps"):
            receiver.unseal(seal(Alive(7), second))
    else:
        assert wrap(receiver.unseal(seal(Alive(7), second)).counter) == second
    assert receiver.unseal(seal(Alive(7), wrap(first + 1))).counter == first + 1


def test_a_datagram_longer_than_the_mtu_is_not_made_and_not_taken():
    with pytest.raises(ValueError, match="MTU"):
        PlainEnvelope().seal(Kind.DATA, 1, bytes(MTU))
    with pytest.raises(WireError, match="longer"):
        PlainEnvelope().unseal(crc(bytes([PROTOCOL_VERSION << 4 | 1]) + bytes(MTU)))


def test_bitmaps_name_payloads():
    assert bitmap([0, 2, 2]) == 5 and indices(5) == {0, 2} and indices(0) == set()
    assert indices(bitmap([63])) == {63}


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**40))
def test_serial_numbers_wrap_and_unwrap(step, near):
    assert difference(wrap(near + step), wrap(near)) == step
    assert unwrap(wrap(near + step), near) == near + step
