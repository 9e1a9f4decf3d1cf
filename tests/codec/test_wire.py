"""codec/wire: every packet survives the trip, nothing malformed gets in, the document's example is true."""

import contextlib
import random
import re
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import IMPUTE, LAYOUTS, FrameHeader, VideoFormat
from lrae.codec.wire import (
    DATA_OVERHEAD,
    MTU,
    Bye,
    Config,
    DataPacket,
    Feedback,
    Hello,
    Stats,
    VersionError,
    parse_packet,
)
from lrae.codec.wire.envelope import Kind, seal
from lrae.codec.wire.feedback import bitmap, indices
from lrae.codec.wire.serial import WRAP, difference, unwrap, wrap
from lrae.errors import WireError

layouts = st.integers(0, len(LAYOUTS) - 1)
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=80).filter(str.isprintable)


@st.composite
def data_packets(draw):
    number, intra = draw(U32), draw(st.booleans())
    packets = draw(st.integers(1, 64))
    reference = 0 if intra else wrap(number - draw(st.integers(1, 255)))
    header = FrameHeader(
        number, intra, draw(st.integers(0, 63)), packets, draw(layouts), reference
    )
    index = draw(st.integers(0, packets - 1))
    payload = draw(st.binary(max_size=MTU - DATA_OVERHEAD))
    return DataPacket(draw(U16), draw(U32), draw(U32), header, index, payload)


feedbacks = st.builds(
    Feedback, U16, st.booleans(), U32, U32, U32, U32, U32,
    st.lists(st.integers(0, 2**64 - 1), max_size=16).map(tuple),
)  # fmt: skip
formats = st.builds(
    VideoFormat, st.integers(16, 4096), st.integers(16, 4096),
    st.fractions(Fraction(1, 10), 1000, max_denominator=100_000), st.sampled_from(["tv", "pc"]),
    st.sampled_from(["bt709", "smpte170m", "unknown"]),
)  # fmt: skip
configs = st.builds(
    Config, U16, formats, st.sampled_from(["s", "m", "my-model.v2"]),
    st.from_regex("[0-9a-f]{16}", fullmatch=True), st.integers(0, 64), layouts, U32, st.booleans(),
    st.sampled_from(IMPUTE),
)  # fmt: skip
hellos = st.builds(Hello, U16, st.sampled_from(["sender", "receiver"]), TEXT)
byes = st.builds(Bye, U16, st.integers(0, 4), TEXT, U32)
stats = st.builds(Stats, U16, *[st.integers(0, 2**53)] * 6)
packets = st.one_of(data_packets(), feedbacks, configs, hellos, byes, stats)


@settings(max_examples=500)
@given(packets)
def test_every_packet_parses_back_to_itself(packet):
    data = bytes(packet)
    assert len(data) <= MTU
    assert parse_packet(data) == packet
    assert type(packet).parse(data) == packet
    assert bytes(parse_packet(data)) == data


@settings(max_examples=300)
@given(packets, st.data())
def test_any_flipped_bit_or_cut_is_a_wire_error(packet, data):
    wire = bytearray(bytes(packet))
    at = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[at // 8] ^= 1 << at % 8
    with pytest.raises(WireError):
        parse_packet(bytes(wire))
    with pytest.raises(WireError):
        parse_packet(bytes(packet)[: data.draw(st.integers(0, len(wire) - 1))])


def test_twenty_thousand_mutated_packets_with_a_right_crc_raise_nothing_but_wire_errors():
    rng = random.Random(1)
    seeds = [
        bytes(DataPacket(7, 1, 2, FrameHeader(9, False, 30, 4, 0, 8), 3, b"payload")),
        bytes(Feedback(7, True, 5, 5, 1, 2, 9, (3, 0, 2**63))),
        bytes(Config(7, VideoFormat(448, 256), "m", "0123456789abcdef")),
        bytes(Hello(7, "sender", "lrae 0.1.0")),
        bytes(Stats(7, 1, 2, 3, 4, 5, 6)),
        bytes(Bye(7, 0, "end", 100)),
    ]
    accepted = 0
    for _ in range(20_000):
        body = bytearray(rng.choice(seeds)[:-4])
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.3:
            body = body[: rng.randrange(len(body))]
        elif rng.random() < 0.3:
            body += rng.randbytes(rng.randrange(8))
        data = bytes(body) + struct.pack("!I", zlib.crc32(body))
        try:
            bytes(parse_packet(data))
            accepted += 1
        except WireError:
            pass
    assert accepted > 0


@settings(max_examples=500)
@given(st.sampled_from(list(Kind)), st.binary(max_size=200))
def test_a_sealed_body_of_noise_is_a_packet_or_a_wire_error(kind, body):
    with contextlib.suppress(WireError):
        assert parse_packet(seal(kind, 1, body))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "../secret"},
        {"model": ""},
        {"model_hash": "0123456789ABCDEF"},
        {"packets": 65},
        {"packets": True},
        {"packets": 2.0},
        {"layout": 3},
        {"bitrate": -1},
        {"format": (15, 256, 30, 1, "tv", "bt709")},
        {"format": (448, 4097, 30, 1, "tv", "bt709")},
        {"format": (448, 256, 30, 0, "tv", "bt709")},
        {"format": (448, 256, 1001, 1, "tv", "bt709")},
        {"format": (448, 256, 30, 1, "xx", "bt709")},
        {"format": (448, 256, 30, 1, "tv", "\x1b[2J")},
        {"format": (448.0, 256, 30, 1, "tv", "bt709")},
        {"format": None},
        {"realtime": 1},
        {"impute": "best"},
        {"impute": 4},
        {"impute": ["full"]},
        {"surplus": 1},
        {"bitrate": msgpack.Timestamp(1)},
    ],
)
def test_a_config_with_a_wrong_type_or_range_is_refused(change):
    good = {
        "format": (448, 256, 30, 1, "tv", "bt709"), "model": "m", "model_hash": "0123456789abcdef",
        "packets": 0, "layout": 0, "bitrate": 400_000, "realtime": True,
        "impute": "full",
    }  # fmt: skip
    assert Config.parse(seal(Kind.CONFIG, 1, msgpack.packb(good))).format == VideoFormat(448, 256)
    with pytest.raises(WireError):
        Config.parse(seal(Kind.CONFIG, 1, msgpack.packb(good | change)))


def test_text_that_could_steer_a_terminal_is_refused():
    body = msgpack.packb({"code": 0, "reason": "\x1b]0;boo\x07", "next_frame": 0})
    with pytest.raises(WireError):
        Bye.parse(seal(Kind.BYE, 1, body))


def test_a_peer_of_another_version_is_told_apart_from_garbage():
    body = bytes(Hello(7, "sender", "x"))[:-4]
    body = bytes([2 << 4 | body[0] & 15]) + body[1:]
    with pytest.raises(VersionError) as caught:
        parse_packet(body + struct.pack("!I", zlib.crc32(body)))
    assert caught.value.version == 2
    with pytest.raises(WireError) as caught:
        parse_packet(body + b"\0\0\0\0")
    assert not isinstance(caught.value, VersionError)


def test_feedback_names_frames_oldest_first_across_the_wrap_of_frame_numbers():
    feedback = Feedback(1, newest=0, used=(bitmap([0, 2]), 0, bitmap([63])))
    named = [(n, indices(bits)) for n, bits in Feedback.parse(bytes(feedback)).frames()]
    assert named == [(WRAP - 2, frozenset({63})), (WRAP - 1, frozenset()), (0, frozenset({0, 2}))]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**40))
def test_serial_numbers_wrap_and_unwrap(step, near):
    assert difference(wrap(near + step), wrap(near)) == step
    assert unwrap(wrap(near + step), near) == near + step


def test_the_worked_examples_of_the_protocol_document_parse_to_what_it_says():
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    blocks = re.findall(r"```hex\n(.*?)```\s*```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 3
    for dump, said in blocks:
        data = bytes.fromhex(re.sub(r"#.*", "", dump))
        packet = eval(said, {k: v for k, v in globals().items() if k[0].isupper()})
        assert parse_packet(data) == packet
        assert bytes(packet) == data
