"""codec/wire/keys, tokens, keygen: key files, derived keys, and who may begin a stream."""

import base64
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.wire import keygen
from lrae.codec.wire.envelope import KeyMismatch, Kind, PlainEnvelope
from lrae.codec.wire.keys import NoKey, SharedKey, read_key, write_key
from lrae.codec.wire.tokens import EPOCH, MAX_USED, Tokens
from lrae.errors import ConfigError

KEY = bytes(range(32))
HERE, THERE = ("192.0.2.1", 5000), ("192.0.2.1", 5001)
NONCE = bytes(16)
posix = pytest.mark.skipif(os.name != "posix", reason="files have no modes here")


@pytest.fixture
def file(tmp_path):
    def make(text, mode=0o600):
        path = tmp_path / "key"
        path.write_bytes(text)
        path.chmod(mode)
        return path

    return make


def same(one, other):
    sealed = one.session(NONCE, NONCE, 1, "sender").seal(Kind.DATA, 1, b"x")
    return bytes(other.session(NONCE, NONCE, 1, "receiver").unseal(sealed).body) == b"x"


@pytest.mark.parametrize("text", [KEY.hex(), KEY.hex().upper() + "\n", " " + base64.b64encode(KEY).decode() + "\r\n"])
def test_a_key_is_read_from_hexadecimal_digits_or_base64(file, text):
    assert same(SharedKey(KEY), read_key(file(text.encode())))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not a key"),
        (b"password1", "not a key"),
        (b"\xff" * 32, "not a key"),
        (b"x" * 10_000, "not a key|bits"),
        (b"00" * 16, "128 bits"),
        (b"00" * 33, "264 bits"),
        (b"00" * 31 + b"0", "not a key|bits"),
        (base64.b64encode(KEY[:16]), "128 bits"),
    ],
)
def test_what_is_not_a_key_is_refused_in_one_line(file, text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read_key(file(text))
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_folder_are_config_errors(tmp_path):
    for path in (tmp_path / "none", tmp_path, "\0"):
        with pytest.raises(ConfigError, match="cannot read the key"):
            read_key(path)


@posix
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_a_key_that_others_may_read_or_write_is_refused(file, mode):
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(file(KEY.hex().encode(), mode))


@posix
def test_a_key_that_its_group_may_read_is_accepted(file):
    assert same(SharedKey(KEY), read_key(file(KEY.hex().encode(), 0o440)))


def test_keygen_writes_a_fresh_key_for_its_owner_and_keeps_what_is_there(tmp_path, capsys):
    path = tmp_path / "key"
    assert keygen.main([str(path)]) == 0
    first = path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert same(read_key(path), SharedKey(bytes.fromhex(first)))
    assert keygen.main([str(path)]) == 1
    assert "--force" in capsys.readouterr().err and path.read_text() == first
    path.chmod(0o644)
    assert keygen.main([str(path), "--force"]) == 0
    assert path.read_text() != first and same(read_key(path), read_key(path))
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_keygen_says_in_one_line_where_it_cannot_write(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    for arguments in ([str(tmp_path / "none" / "key")], [str(tmp_path / "folder"), "--force"], []):
        assert keygen.main(arguments) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="32 bytes"):
        SharedKey(b"short")


def test_a_write_takes_its_randomness_from_where_it_is_told(tmp_path):
    write_key(tmp_path / "key", entropy=lambda n: KEY[:n])
    assert (tmp_path / "key").read_text() == KEY.hex() + "\n"


def test_without_a_key_all_envelopes_are_plain_and_each_session_counts_anew():
    keys = NoKey()
    assert not keys.secret and SharedKey(KEY).secret
    assert isinstance(keys.handshake("sender"), PlainEnvelope)
    one, other = (keys.session(NONCE, NONCE, 1, "sender") for _ in range(2))
    one.seal(Kind.DATA, 1, b"")
    assert (one.counter, other.counter) == (1, 0)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_sessions_of_other_nonces_or_tokens_have_other_keys(nonce, token):
    keys = SharedKey(KEY)
    data = keys.session(nonce, token, 1, "sender").seal(Kind.DATA, 1, b"x")
    assert keys.session(nonce, token, 1, "receiver").unseal(data).counter == 0
    flipped = bytes([token[0] ^ 1]) + token[1:]
    with pytest.raises(KeyMismatch):
        keys.session(nonce, flipped, 1, "receiver").unseal(data)


def tokens(seed=1):
    return Tokens(lambda n: bytes([seed]) * n)


def test_a_token_is_good_for_its_address_stream_and_nonce_alone():
    t = tokens()
    token = t.issue(HERE, 5, NONCE, 100.0)
    assert len(token) == 16 and token == t.issue(HERE, 5, NONCE, 100.5)
    assert t.check(HERE, 5, NONCE, token, 100.0)
    assert not t.check(THERE, 5, NONCE, token, 100.0)
    assert not t.check(HERE, 6, NONCE, token, 100.0)
    assert not t.check(HERE, 5, b"\1" * 16, token, 100.0)
    assert not t.check(HERE, 5, NONCE, bytes(16), 100.0)
    assert not t.check(HERE, 5, NONCE, b"", 100.0)
    assert not tokens(2).check(HERE, 5, NONCE, token, 100.0)


@given(st.floats(0, 1e6), st.floats(0, 3 * EPOCH))
def test_a_token_is_good_for_one_epoch_and_not_for_two(issued, age):
    t = tokens()
    token = t.issue(HERE, 5, NONCE, issued)
    good = t.check(HERE, 5, NONCE, token, issued + age)
    assert good if age < EPOCH else (not good if age > 2 * EPOCH else True)


def test_a_used_token_begins_nothing_more_while_it_would_be_valid():
    t = tokens()
    token = t.issue(HERE, 5, NONCE, 9.0)
    assert t.check(HERE, 5, NONCE, token, 9.0)
    t.use(token)
    for now in (9.0, 10.0, 19.9, 20.1, 40.0):
        assert not t.check(HERE, 5, NONCE, token, now)


def test_used_tokens_are_forgotten_when_they_have_expired_and_never_too_early():
    t = tokens()
    for n in range(MAX_USED + 50):
        token = t.issue(HERE, 5, n.to_bytes(16), 1.0)
        if t.check(HERE, 5, n.to_bytes(16), token, 1.0):
            t.use(token)
    assert len(t._used) == MAX_USED
    assert not t.check(HERE, 5, bytes(16), t.issue(HERE, 5, bytes(16), 1.0), 1.0)  # used
    assert not t.check(HERE, 5, b"\2" * 16, t.issue(HERE, 5, b"\2" * 16, 12.0), 12.0)  # full
    assert t.check(HERE, 5, b"\2" * 16, t.issue(HERE, 5, b"\2" * 16, 21.0), 21.0)
    assert len(t._used) == 0
