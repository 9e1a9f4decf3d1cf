"""codec/wire/secure: what is sealed opens once, at the other end, unchanged, and nothing else opens."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.wire.envelope import HANDSHAKE, MTU, KeyMismatch, Kind, PlainEnvelope, ReplayError, VersionError
from lrae.codec.wire.keys import SharedKey
from lrae.codec.wire.secure import REPLAY_WINDOW, HandshakeEnvelope, SecureEnvelope
from lrae.codec.wire.serial import WRAP
from lrae.errors import WireError

NONCE, TOKEN = bytes(range(16)), bytes(range(16, 32))
IN_SESSION = sorted(set(Kind) - HANDSHAKE)


def pair(key=bytes(32), stream=7):
    keys = SharedKey(key)
    return [keys.session(NONCE, TOKEN, stream, role) for role in ("sender", "receiver")]


@given(st.sampled_from(IN_SESSION), st.integers(0, 2**16 - 1), st.binary(max_size=MTU - SecureEnvelope.overhead))
def test_what_one_end_seals_the_other_opens(kind, stream, body):
    sender, receiver = pair()
    for ours, theirs in ((sender, receiver), (receiver, sender)):
        data = ours.seal(kind, stream, body)
        assert len(data) == len(body) + SecureEnvelope.overhead <= MTU
        opened = theirs.unseal(data)
        assert (opened.kind, opened.stream, opened.counter, bytes(opened.body)) == (kind, stream, 0, body)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.data())
def test_any_flipped_bit_or_cut_is_a_wire_error_and_changes_nothing(body, data):
    sender, receiver = pair()
    good = sender.seal(Kind.DATA, 7, body)
    bad = bytearray(good)
    at = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[at // 8] ^= 1 << at % 8
    for wrong in (bytes(bad), good[: data.draw(st.integers(0, len(good) - 1))], good + b"\0"):
        with pytest.raises(WireError):
            receiver.unseal(wrong)
    assert bytes(receiver.unseal(good).body) == body


@pytest.mark.parametrize("change", ["key", "stream", "nonce", "token", "direction"])
def test_another_key_stream_nonce_token_or_direction_is_a_key_mismatch(change):
    sender, receiver = pair()
    data = sender.seal(Kind.DATA, 7, b"body")
    other = {
        "key": lambda: pair(bytes(31) + b"\1")[1],
        "stream": lambda: pair(stream=8)[1],
        "nonce": lambda: SharedKey(bytes(32)).session(TOKEN, TOKEN, 7, "receiver"),
        "token": lambda: SharedKey(bytes(32)).session(NONCE, NONCE, 7, "receiver"),
        "direction": lambda: sender,
    }[change]()
    with pytest.raises(KeyMismatch):
        other.unseal(data)
    assert receiver.unseal(data).counter == 0


def test_a_datagram_opens_once_in_any_order_within_the_window():
    sender, receiver = pair()
    sealed = [sender.seal(Kind.DATA, 7, bytes([n % 256])) for n in range(REPLAY_WINDOW)]
    order = list(range(REPLAY_WINDOW))
    random.Random(1).shuffle(order)
    for n in order:
        assert receiver.unseal(sealed[n]).counter == n
    for n in order:
        with pytest.raises(ReplayError):
            receiver.unseal(sealed[n])


def test_what_has_fallen_out_of_the_window_is_refused_whether_it_was_here_or_not():
    sender, receiver = pair()
    sealed = [sender.seal(Kind.DATA, 7, b"") for _ in range(2 * REPLAY_WINDOW)]
    receiver.unseal(sealed[REPLAY_WINDOW])
    with pytest.raises(ReplayError):
        receiver.unseal(sealed[0])
    assert receiver.unseal(sealed[1]).counter == 1
    receiver.unseal(sealed[-1])
    assert receiver.unseal(sealed[REPLAY_WINDOW + 1]).counter == REPLAY_WINDOW + 1
    with pytest.raises(ReplayError):
        receiver.unseal(sealed[REPLAY_WINDOW - 1])


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3 * REPLAY_WINDOW), max_size=60))
def test_the_window_is_that_of_a_plain_set_of_counters(order):
    sender, receiver = pair()
    sealed = {}
    for n in sorted(set(order)):
        sender.counter = n
        sealed[n] = sender.seal(Kind.DATA, 7, b"")
    seen, newest = set(), 0
    for n in order:
        fresh = n not in seen and newest - n < REPLAY_WINDOW
        try:
            receiver.unseal(sealed[n])
            assert fresh
            seen.add(n)
            newest = max(newest, n)
        except ReplayError:
            assert not fresh


@pytest.mark.parametrize("start", [WRAP - 3, 5 * WRAP - 3])
def test_counters_go_on_beyond_32_bits_and_old_datagrams_do_not_open_again(start):
    sender, receiver = pair()
    for jump in range(0, start, WRAP // 2 - 1):  # bring the receiver near, as years of traffic would
        sender.counter = jump
        receiver.unseal(sender.seal(Kind.DATA, 7, b""))
    sender.counter = start
    sealed = [sender.seal(Kind.DATA, 7, b"") for _ in range(6)]
    assert [receiver.unseal(d).counter for d in sealed] == list(range(start, start + 6))
    for data in sealed:
        with pytest.raises(ReplayError):
            receiver.unseal(data)
    # the 32 bits come round again: the same head, another nonce
    sender.counter = start + WRAP
    assert sender.seal(Kind.DATA, 7, b"")[:7] == sealed[0][:7]
    assert sender.seal(Kind.DATA, 7, b"")[7:] != sealed[1][7:]


def test_a_first_counter_near_the_wrap_is_understood():
    sender, receiver = pair()
    sender.counter = WRAP - 2
    assert [receiver.unseal(sender.seal(Kind.DATA, 7, b"")).counter for _ in range(4)] == [
        WRAP - 2, WRAP - 1, WRAP, WRAP + 1,
    ]  # fmt: skip


def test_a_forged_counter_does_not_move_the_window():
    sender, receiver = pair()
    first, second = (sender.seal(Kind.DATA, 7, b"x") for _ in range(2))
    forged = first[:3] + b"\x7f\xff\xff\xff" + first[7:]
    with pytest.raises(KeyMismatch):
        receiver.unseal(forged)
    assert [receiver.unseal(d).counter for d in (first, second)] == [0, 1]


def test_other_versions_kinds_and_sizes_are_told_apart():
    sender, receiver = pair()
    good = sender.seal(Kind.DATA, 7, b"")
    with pytest.raises(VersionError):
        receiver.unseal(bytes([0x11]) + good[1:])
    unknown, plain = bytes([good[0] & 0xF0 | 15]) + good[1:], PlainEnvelope().seal(Kind.DATA, 7, b"")
    for bad in (unknown, good + bytes(MTU), b"", plain):
        with pytest.raises(WireError):
            receiver.unseal(bad)
    with pytest.raises(ValueError, match="MTU"):
        sender.seal(Kind.DATA, 7, bytes(MTU - SecureEnvelope.overhead + 1))


def handshakes(key=bytes(32)):
    return [SharedKey(key).handshake(role) for role in ("sender", "receiver")]


@given(st.sampled_from(sorted(HANDSHAKE)), st.integers(0, 2**16 - 1), st.binary(max_size=500))
def test_a_handshake_opens_at_the_other_end_as_often_as_it_comes(kind, stream, body):
    sender, receiver = handshakes()
    for ours, theirs in ((sender, receiver), (receiver, sender)):
        data = ours.seal(kind, stream, body)
        assert len(data) == len(body) + HandshakeEnvelope.overhead
        for _ in range(2):
            opened = theirs.unseal(data)
            assert (opened.kind, opened.stream, bytes(opened.body)) == (kind, stream, body)
        with pytest.raises(KeyMismatch):
            ours.unseal(data)  # reflected


@settings(max_examples=200)
@given(st.binary(max_size=60), st.data())
def test_a_damaged_handshake_is_a_wire_error(body, data):
    sender, receiver = handshakes()
    good = sender.seal(Kind.CONFIG, 7, body)
    bad = bytearray(good)
    at = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[at // 8] ^= 1 << at % 8
    for wrong in (bytes(bad), good[: data.draw(st.integers(0, len(good) - 1))]):
        with pytest.raises(WireError):
            receiver.unseal(wrong)
    with pytest.raises(KeyMismatch):
        handshakes(b"\1" * 32)[1].unseal(good)


def test_a_handshake_is_sealed_under_a_fresh_nonce_each_time():
    count = itertools.count()
    sender = SharedKey(bytes(32), lambda n: next(count).to_bytes(n)).handshake("sender")
    first, second = (sender.seal(Kind.HELLO, 7, b"same") for _ in range(2))
    assert first[7:] != second[7:]
    assert int.from_bytes(second[3:15]) == int.from_bytes(first[3:15]) + 1  # the nonce stands there, 12 bytes


def test_sessions_and_handshakes_do_not_open_each_other():
    (sender, receiver), (hello, heard) = pair(), handshakes()
    with pytest.raises(WireError):
        heard.unseal(sender.seal(Kind.DATA, 7, b""))
    with pytest.raises(WireError):
        receiver.unseal(hello.seal(Kind.BYE, 7, b""))
    with pytest.raises(ValueError, match="apart"):
        sender.seal(Kind.BYE, 7, b"")
    with pytest.raises(ValueError, match="session"):
        hello.seal(Kind.DATA, 7, b"")


def test_the_sealing_is_that_of_rfc_8439():
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    envelope = SecureEnvelope(b"\1" * 32, b"\2" * 32, counter=WRAP + 5)
    data = envelope.seal(Kind.DATA, 7, b"body")
    nonce = (WRAP + 5).to_bytes(12)
    assert ChaCha20Poly1305(b"\1" * 32).decrypt(nonce, data[7:], data[:7]) == b"body"
