"""Who has no key or no token gets silence and a counter, whatever he says, and changes nothing."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import socket
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import (
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
    Stats,
    seal_packet,
)
from lrae.codec.wire.control import PADDING
from lrae.codec.wire.keys import NoKey, SharedKey, write_key
from lrae.errors import WireError
from lrae.experiments.null_stream import decode_nothing
from lrae.receiver import main as recv
from lrae.receiver.session import ReceiverSession

SECRET, OTHER = SharedKey(bytes(32)), SharedKey(b"\1" * 32)
OURS, ANOTHER = PROTOCOL_VERSION << 4, PROTOCOL_VERSION + 1 << 4
STREAM, HERE, THERE = 5, ("192.0.2.1", 1000), ("198.51.100.7", 2000)


def _crc(head):
    """A datagram with a right CRC at its end."""
    return head + zlib.crc32(head).to_bytes(4)


def damaged(data, rng):
    """One to three bytes after the first changed."""
    data = bytearray(data)
    for at in rng.sample(range(1, len(data)), min(3, len(data) - 1)):
        data[at] ^= rng.randrange(1, 256)
    return bytes(data)


DATA = DataPacket.single(STREAM, 0, FrameHeader(0, True, 30, 3), 0, b"x" * 300, 255)

# what anybody can do without the key: datagram and generator of random numbers -> datagram, and a reason that it gets
BY_ANYBODY = {
    "garbage": (lambda data, rng: rng.randbytes(rng.randrange(60)), "version"),
    "empty": (lambda data, rng: b"", "malformed"),
    "truncated": (lambda data, rng: data[: rng.randrange(len(data))], "malformed"),
    "longer": (lambda data, rng: data + rng.randbytes(9), "damage"),
    "oversized": (lambda data, rng: data[:3] + bytes(MTU), "malformed"),
    "damaged": (damaged, "damage"),
    "other version": (lambda data, rng: _crc(bytes([ANOTHER | 1]) + data[1:60]), "version"),
    "unknown type": (lambda data, rng: _crc(bytes([OURS | 15]) + data[1:60]), "malformed"),
    "bomb": (lambda data, rng: _crc(bytes([OURS | 5]) + data[1:7] + b"\x91" * 1000), "damage"),
}
REASONS = {"malformed", "version", "key", "replayed", "unknown-stream", "other-stream", "unexpected"}


def strangers_packets(keys):
    """What somebody without a token can say, with the key and without."""
    hand, session = keys.handshake("sender"), keys.session(bytes(16), bytes(16), STREAM, "sender")
    config = Config(STREAM, VideoFormat(448, 256), "m", "0" * 16)
    packets = [
        Hello(STREAM, "sender", "", bytes(16)),
        Hello(STREAM, "sender", "x" * 160, bytes(16)),
        Hello(STREAM, "sender", "lrae", bytes(16), padding=bytes(PADDING)),
        Hello(STREAM, "receiver", "lrae"),
        config,
        Bye(STREAM, 0),
        Bye(STREAM, 0, bytes(16), "x" * 160),
    ]
    yield from (seal_packet(packet, hand) for packet in packets)
    packets = DATA, Alive(STREAM), Stats(STREAM, *[0] * 6), Feedback(STREAM)
    yield from (seal_packet(packet, session) for packet in packets)
    yield session.seal(Kind.PARITY, STREAM, bytes(20))
    for size in (0, 1, 5, 7, 10, 20, 40, 100, 1180):
        for version in (ANOTHER, OURS):
            yield _crc(bytes([version | 1]) + bytes(size))


@pytest.mark.parametrize("name", BY_ANYBODY)
def test_nonsense_from_anybody_is_counted_and_changes_nothing(World, keys, name):
    make, reason = BY_ANYBODY[name]
    count = 0

    def attack(world, data, up):
        nonlocal count
        bad = make(data, world.rng)
        if up:
            world.receiver.receive_datagram(bad, THERE, world.now)
            world.receiver.receive_datagram(bad, HERE, world.now)
        else:
            world.sender.receive_datagram(bad, None, world.now)
        count += 2 if up else 1

    world = World(keys, attack=attack)
    world.run(5)
    counts = world.receiver.counts + world.sender.counts
    if reason == "damage" or (reason == "version" and name == "garbage" and not keys.secret):
        reason = "key" if keys.secret else "malformed"
    assert sum(counts.values()) == count > 300
    assert set(counts) <= REASONS and counts[reason] > 20
    world.assert_untouched()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(SECRET, OTHER), (NoKey(), SECRET), (SECRET, NoKey())], ids=["other", "none", "not-expected"]
)
def test_a_wrong_key_gets_nothing_but_silence_and_a_counter(World, ours, theirs):
    answers, calls = [], []

    def attack(world, data, up):
        (calls if up else answers).append(data)

    world = World(ours, receiver_keys=theirs, attack=attack)
    world.run(10)
    assert len(calls) > 5 and not answers and not world.to_stranger
    assert world.receiver.counts == {"key" if theirs.secret else "malformed": len(calls)}
    assert not world.seen and not world.events


def test_of_another_version_a_program_with_a_key_says_nothing_either(World):
    world = World(SECRET)
    for _ in range(100):
        world.receiver.receive_datagram(_crc(bytes([ANOTHER | 1]) + bytes(60)), THERE, world.now)
        world.sender.receive_datagram(_crc(bytes([ANOTHER | 1]) + bytes(60)), None, world.now)
    world.run(0.5)
    assert world.receiver.counts["version"] == 100 and not world.to_stranger
    assert "Notice" not in world.seen and not any(type(e).__name__ == "Notice" for e in world.events)


def test_twenty_thousand_forged_datagrams_are_all_counted_and_raise_nothing(World, keys):
    world, rng = World(keys, seconds=60.0), random.Random(5)
    world.run(0.5)
    kinds, total = list(Kind), 0
    forged = OTHER if keys.secret else keys
    envelopes = forged.handshake("sender"), forged.session(bytes(16), bytes(16), STREAM, "sender")
    before = sum(world.receiver.counts.values())
    for _ in range(20_000):
        kind = rng.choice(kinds)
        body = rng.randbytes(rng.randrange(60))
        data = envelopes[kind not in HANDSHAKE].seal(kind, rng.randrange(1 << 16), body)
        world.receiver.receive_datagram(data, THERE, world.now)
        total += 1
    assert sum(world.receiver.counts.values()) - before == total
    assert world.receiver.counts["key" if keys.secret else "malformed"] > 0
    world.run(0.5)
    assert world.seen["StreamEnded"] == 0 and world.seen["partial"] == world.seen["lost"] == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([NoKey(), SECRET]))
def test_no_envelope_raises_anything_but_wire_errors(data, keys):
    for envelope in (keys.handshake("sender"), keys.session(bytes(16), bytes(16), 1, "receiver")):
        try:
            envelope.unseal(data)
        except WireError as error:
            assert error.reason in {"malformed", "version", "key", "replayed"}


@pytest.mark.parametrize("running", [False, True])
def test_no_answer_to_a_stranger_is_longer_than_its_cause(World, keys, running):
    world = World(keys, seconds=10.0)
    if running:
        world.run(1)
    receiver, answered = world.receiver, 0
    receiver.datagrams_to_send(world.now)
    for data in strangers_packets(keys):
        world.now += 0.15  # beyond what limits the rate of some answers
        receiver.datagrams_to_send(world.now)
        receiver.receive_datagram(data, THERE, world.now)
        said = [d for d, address in receiver.datagrams_to_send(world.now) if address == THERE]
        assert sum(map(len, said)) <= len(data) and len(said) <= 1
        answered += len(said)
    assert answered >= 1 and receiver.counts["amplification"] >= 1


def test_floods_of_hellos_configs_and_strange_streams_leave_memory_where_it_was(keys):
    receiver, rng = ReceiverSession(0.15, keys), random.Random(1)
    hand = keys.handshake("sender")
    config = Config(0, VideoFormat(448, 256), "m", "0" * 16)

    def flood(count):
        for n in range(count):
            address = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", rng.randrange(1 << 16))
            stream = rng.randrange(1 << 16)
            now = 100 + n * 1e-3
            packet = Hello(stream, "sender", "flood", rng.randbytes(16), padding=bytes(PADDING))
            for data in (
                seal_packet(packet, hand),
                hand.seal(Kind.CONFIG, stream, config.body()),
                hand.seal(Kind.BYE, stream, Bye(stream, 0, rng.randbytes(16)).body()),
                keys.session(b"", b"", stream, "sender").seal(Kind.DATA, stream, DATA.body()),
                _crc(bytes([rng.randrange(48, 256)]) + rng.randbytes(12)),
            ):
                receiver.receive_datagram(data, address, now)
            if n % 50 == 0:
                receiver.datagrams_to_send(now)
                decode_nothing(receiver, now)

    flood(300)
    gc.collect()
    tracemalloc.start()
    flood(1500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 150_000  # the datagrams that wait to be sent, and no more
    assert len(receiver.counts) < 12 and receiver.counts["token"] == 1800


def test_without_a_key_a_session_belongs_to_its_address(World):
    world = World(NoKey())
    world.run(1)
    envelope = NoKey().session(b"", b"", STREAM, "sender")
    envelope.counter = 10_000
    for n in range(50):
        forged = seal_packet(DataPacket.single(STREAM, n, FrameHeader(1000 + n, True, 30, 1), 0, b"x"), envelope)
        world.receiver.receive_datagram(forged, THERE, world.now)
    world.run(4)
    world.assert_untouched()
    assert world.receiver.counts["other-stream"] == 50


def test_without_a_key_a_receiver_listens_on_loopback_only_unless_told(capsys, tmp_path):
    write_key(tmp_path / "key")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert recv.main(["--listen", f"0.0.0.0:{port}"]) == 1
    said = capsys.readouterr().err
    assert "--key" in said and "--insecure" in said and said.count("\n") == 1

    async def listens(*options):
        task = asyncio.create_task(recv.receive(recv.build_parser().parse_args([*options, "--quiet"])))
        done, _ = await asyncio.wait([task], timeout=0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return not done

    for options in (
        [f"0.0.0.0:{port}", "--insecure"],
        [f"0.0.0.0:{port}", "--key", str(tmp_path / "key")],
        [f"127.0.0.1:{port}"],
        [f"localhost:{port}"],
    ):
        assert asyncio.run(listens("--listen", *options)), options


def test_the_security_page_names_every_reason_under_which_datagrams_are_counted():
    root = Path(__file__).parents[2]
    text = "".join(
        (root / name).read_text()
        for name in ("receiver/session.py", "receiver/reception.py", "receiver/jitter.py", "sender/session.py",
                     "codec/wire/envelope.py", "lrae/errors.py")
    )  # fmt: skip
    found = set(re.findall(r'(?:return|reason =|_counts\[|counts\[) ?"([a-z-]+)"', text))
    page = (root / "docs" / "security.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \| (?:both|sender|receiver) \|", page, re.M)
    assert len(found) > 15 and found == set(listed)
