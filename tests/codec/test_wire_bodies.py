"""codec/wire: what a packet may say, and that everything else is refused."""

from dataclasses import replace

import msgpack
import pytest

from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import (
    Bye,
    Config,
    DataPacket,
    Feedback,
    Hello,
    Kind,
    Opened,
    PlainEnvelope,
    parse_packet,
    seal_packet,
)
from lrae.codec.wire.control import PADDING
from lrae.codec.wire.data import capture_stamp, wait_stamp
from lrae.codec.wire.serial import WRAP
from lrae.errors import WireError


def there_and_back(packet):
    return parse_packet(PlainEnvelope().unseal(seal_packet(packet, PlainEnvelope())))


def test_msgpack_bombs_are_wire_errors():
    bombs = [
        b"\x91" * 1100,  # lists in lists
        b"\xdf\xff\xff\xff\xff",  # a map of 2^32 entries
        b"\xc6\xff\xff\xff\xff",  # 4 GB of bytes
        b"\x81\xc0\xc0", b"\x82\xa1a\xc0\xa1a\xc0", b"\xd4\x01\x00", b"\xc1", b"",
        b"\x81" * 1100, b"\xcf" + b"\xff" * 8, b"\x81\xa4code\xcb\x7f\xf8" + bytes(6),
    ]  # fmt: skip
    for kind in (Kind.HELLO, Kind.CONFIG, Kind.STATS, Kind.BYE, Kind.ALIVE):
        for bomb in bombs:
            with pytest.raises(WireError):
                parse_packet(Opened(kind, 1, 0, memoryview(bomb)))


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
        {"bitrate": float("nan")},
        {"format": (15, 256, 30, 1, "tv", "bt709")},
        {"format": (448, 4097, 30, 1, "tv", "bt709")},
        {"format": (448, 256, 30, 0, "tv", "bt709")},
        {"format": (448, 256, 1001, 1, "tv", "bt709")},
        {"format": (448, 256, 2**63, 2**53 - 1, "tv", "bt709")},
        {"format": (448, 256, 30, 1, "xx", "bt709")},
        {"format": (448, 256, 30, 1, "tv", "\x1b[2J")},
        {"format": (448.0, 256, 30, 1, "tv", "bt709")},
        {"format": None},
        {"realtime": 1},
        {"impute": "best"},
        {"impute": 4},
        {"impute": ["full"]},
        {"owner": b""},
        {"nonce": bytes(15)},
        {"token": "0" * 16},
        {"token": None},
        {"surplus": 1},
        {"bitrate": msgpack.Timestamp(1)},
    ],
)
def test_a_config_with_a_wrong_type_or_range_is_refused(change):
    good = {
        "format": (448, 256, 30, 1, "tv", "bt709"), "model": "m", "model_hash": "0123456789abcdef",
        "owner": bytes(16), "nonce": bytes(16), "token": bytes(16),
        "packets": 0, "layout": 0, "bitrate": 400_000, "realtime": True, "impute": "full",
    }  # fmt: skip
    assert Config.parse_body(1, memoryview(msgpack.packb(good))).format == VideoFormat(448, 256)
    with pytest.raises(WireError):
        Config.parse_body(1, memoryview(msgpack.packb(good | change)))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "proxy"},
        {"role": ["sender"]},
        {"nonce": b""},
        {"nonce": bytes(17)},
        {"token": bytes(1)},
        {"deadline": -1},
        {"deadline": 1.5},
        {"deadline": 60_001},
        {"padding": bytes(PADDING + 1)},
        {"padding": "x"},
        {"software": "a\nb"},
        {"software": "x" * 161},
        {"software": b"lrae"},
    ],
)
def test_a_hello_with_a_wrong_type_or_range_is_refused(change):
    good = {"role": "sender", "software": "x", "nonce": bytes(16), "token": b"", "deadline": 0, "padding": b""}
    assert Hello.parse_body(1, memoryview(msgpack.packb(good))) == Hello(1, "sender", "x", bytes(16))
    with pytest.raises(WireError):
        Hello.parse_body(1, memoryview(msgpack.packb(good | change)))


def test_text_that_could_steer_a_terminal_is_refused():
    good = {"code": 0, "token": bytes(16), "reason": "", "next_frame": 0}
    Bye.parse_body(1, memoryview(msgpack.packb(good)))
    for reason in ("\x1b]0;boo\x07", "a\nb", "\u202e", "x" * 161):
        with pytest.raises(WireError):
            Bye.parse_body(1, memoryview(msgpack.packb(good | {"reason": reason})))


def test_a_hello_of_a_sender_may_be_as_long_as_any_answer_to_it():
    software = "lrae 0.1.0"
    hello = Hello(7, "sender", software, bytes(16), padding=bytes(PADDING))
    answer = Hello(7, "receiver", software, bytes(16), bytes(16), 60_000)
    assert len(hello.body()) >= len(answer.body())


@pytest.mark.parametrize(
    ("at", "byte"),
    [
        (8, 64),  # index 0 of layout 0 -> layout 1 is fine with K = 4, so index:
        (8, 4),  # index 4 of 4
        (8, 0xC0),  # layout 3
        (9, 64),  # K = 65
        (9, 0x83),  # intra with a reference
        (10, 64),  # q
        (11, 0),  # inter without one
    ],
)
def test_data_headers_out_of_range_are_refused(at, byte):
    body = bytearray(DataPacket.single(7, 2, FrameHeader(9, False, 30, 4, 0, 8), 0, b"x").body())
    body[at] = byte
    if (at, byte) == (8, 64):
        assert DataPacket.parse_body(7, body).header.layout == 1
    else:
        with pytest.raises(WireError):
            DataPacket.parse_body(7, body)


def test_a_reference_too_far_back_is_our_bug_and_says_so():
    with pytest.raises(ValueError, match="out of reach"):
        DataPacket.single(7, 2, FrameHeader(300, False, 30, 4, 0, 8), 0, b"x").body()


def test_times_that_travel_are_rounded_in_the_safe_direction():
    assert [wait_stamp(s) for s in (-1.0, 0.0, 0.0001, 0.002, 0.0021, 0.51, 9.0)] == [0, 0, 1, 1, 2, 255, 255]
    assert capture_stamp(5000.0) == 5_000_000_000 % WRAP
    assert DataPacket.single(7, 2, FrameHeader(0, True, 30, 1), 0, b"", 25).wait_seconds == pytest.approx(0.05)


def test_feedback_that_contradicts_itself_is_refused():
    good = Feedback(1, counter=9, covered=4, arrived=0b1011, times=(1, 2))
    assert there_and_back(good) == good
    wrong = [
        replace(good, arrived=0b1010),  # the newest datagram is not here
        replace(good, covered=3, arrived=0b1011),  # beyond what is covered
        replace(good, covered=0, arrived=0),  # times of nothing
        replace(good, times=(1, 2, 3)),  # more times than arrivals
        replace(good, used=(1,) * 17),
        replace(good, used=(1 << 64,)),
        replace(good, hold=1 << 16),
    ]
    for feedback in wrong:
        with pytest.raises((WireError, OverflowError)):
            there_and_back(feedback)
    short = replace(good, times=())
    with_ones = bytearray(short.body())
    with_ones[-1] = 0b1111  # all here, for which there is a flag
    times = (b"\2\4\0", b"\2\x80", b"\2\x84\x80\x80\x80\x80\x01")  # one too many; truncated; too long
    for body in (with_ones, short.body()[:-1], *(short.body() + numbers for numbers in times)):
        with pytest.raises(WireError):
            Feedback.parse_body(1, memoryview(body))
