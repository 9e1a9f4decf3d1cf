"""Whatever is lost, and whatever becomes of the news of it: what the sender takes for known is the receiver's state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrae.codec import make_decoder, make_encoder
from lrae.sender import encoding
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.source import open_source

K = 3
EVERYTHING = frozenset(range(K))
FIRST = (1 << 32) - 5  # the numbers wrap around
FIXTURES = [HealthCheck.function_scoped_fixture]


@dataclass(frozen=True)
class Fate:
    """Of one frame: payloads that arrive, delay of each copy of its feedback, a wish, a lie about another frame, and
    late payloads of an earlier frame (how many frames back, payloads)."""

    arrived: frozenset[int] = EVERYTHING
    delays: tuple[int, ...] = (0,)
    intra: bool = False
    lie: tuple[int, frozenset[int]] | None = None
    late: tuple[int, frozenset[int]] | None = None


def fates(shortest: int, longest: int):
    return st.lists(
        st.builds(
            Fate,
            st.frozensets(st.integers(0, K - 1)) | st.just(EVERYTHING),
            st.sampled_from([(0,)] * 9 + [(1,), (3, 1), (5,), (0, 0), ()]),
            st.sampled_from([False] * 5 + [True]),
            st.none() | st.tuples(st.integers(FIRST, 2**32 + 40), st.frozensets(st.integers(0, 63), max_size=4)),
            st.none() | st.tuples(st.integers(1, 4), st.frozensets(st.integers(0, K - 1))),
        ),
        min_size=shortest,
        max_size=longest,
    )


class World:
    """A sender, its receiver, and the news on its way. states: the receiver's, before and after each frame."""

    def __init__(self, encoder, decoder, frames, **options):
        self.encoder, self.decoder, self.frames = encoder, decoder, frames
        self.sender = FrameEncoder(encoder, 22, K, first_number=FIRST, **options)
        self.states, self.sent, self.payloads, self.used = [decoder.initial_state()], [], [], []
        self.told, self.mail = {}, {}

    def step(self, fate: Fate):
        n = len(self.sent)
        arriving = self.mail.pop(n, [])
        for m, used in arriving:
            self.told[m] = self.told.get(m, frozenset()) | used
        news = [(self.sent[m].header.number, used) for m, used in arriving]
        if fate.lie and not (fate.lie[0] in {e.header.number for e in self.sent} and fate.lie[1] <= EVERYTHING):
            news.insert(0, fate.lie)
        encoded = self.sender.encode(next(self.frames), News(tuple(news), fate.intra, loss=0.3))
        self.sent.append(encoded)
        self.payloads.append({i: p for i, p in enumerate(encoded.payloads) if i in fate.arrived})
        self.used.append(frozenset())
        self.states.append(None)
        self._decode(n)
        reported = [n]
        if fate.late and fate.late[0] <= n and fate.late[1] - self.payloads[n - fate.late[0]].keys():
            m = n - fate.late[0]
            self.payloads[m] |= {i: self.sent[m].payloads[i] for i in fate.late[1]}
            self._decode(m)
            reported.append(m)
        for delay in fate.delays:
            self.mail.setdefault(n + 1 + delay, []).extend((m, self.used[m]) for m in reported)

    def _decode(self, first):
        """Frames from `first` on, once more."""
        for m in range(first, len(self.sent)):
            payloads = self.payloads[m]
            header = self.sent[m].header if payloads else None
            decoded, self.states[m + 1] = self.decoder.decode(self.states[m], header, payloads)
            self.used[m] = decoded.used

    def settled(self) -> int | None:
        """How many frames are known: all are told back to the start or to an intra frame that arrived whole. None
        where that ends before the newest intra frame, which makes what was before it irrelevant, and where the sender
        must be wrong, as it has not heard yet that a frame since was mended."""
        settled = whole = 0
        for n, encoded in enumerate(self.sent):
            told = self.told.get(n)
            if encoded.header.intra and told is not None and len(told) == encoded.header.packets:
                settled, whole = n, n
            if told is not None and n == settled:
                settled = n + 1
        newest = max(n for n, encoded in enumerate(self.sent) if encoded.header.intra)
        outdated = any(told != self.used[n] for n, told in self.told.items() if n >= whole)
        return settled if settled > newest and not outdated else None

    def kept(self) -> int:
        """How many frames the sender has settled."""
        return len(self.sent) - len(self.sender.reference)


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(fates(12, 40), st.sampled_from([None, 0, 3]))
def test_what_is_known_is_the_receivers_state(fake_codec, small_format, picture, frames, patience):
    codec = fake_codec(small_format)
    world = World(codec, codec, map(picture, range(100)), patience=patience)
    for fate in frames:
        world.step(fate)
        if world.settled() is not None:
            assert world.kept() == world.settled()
            assert np.array_equal(world.sender.reference.oldest, world.states[world.settled()])


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURES)
@given(fates(8, 30), st.integers(1, 6))
def test_a_sender_that_has_forgotten_too_much_is_soon_in_step_again(
    monkeypatch, fake_codec, small_format, picture, frames, limit
):
    monkeypatch.setattr(encoding, "HISTORY_FRAMES", (limit, limit))
    codec = fake_codec(small_format)
    world = World(codec, codec, map(picture, range(100)))
    for fate in frames:
        world.step(fate)
        assert len(world.sender.reference) <= limit
    for _ in range(8 + 3 * limit):
        world.step(Fate())
    assert np.array_equal(world.sender.reference.state, world.states[-1])
    assert not world.sender.reference.forgotten


@lru_cache(maxsize=1)
def learned():
    source = open_source("synthetic:136x80@30x12")
    return make_encoder("m", source.format, "cpu"), make_decoder("m", source.format, "cpu"), tuple(source)


def equal(a, b) -> bool:
    """Bit by bit."""

    def tensors(s):
        recall = () if s.recall is None else (s.recall.h, s.recall.c)
        return [t.float().numpy() for t in (s.packed, s.memory, s.picture, *recall)]

    same = all(np.array_equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))
    moved = [None if s.motion is None else s.motion.vectors.tolist() for s in (a, b)]
    return same and np.array_equal(a.luma, b.luma) and moved[0] == moved[1] and a.number == b.number


@settings(max_examples=6, deadline=None)
@given(fates(4, 9), st.sampled_from([None, 0]))
def test_the_learned_codec_knows_its_receiver_bit_by_bit(frames, patience):
    encoder, decoder, pictures = learned()
    world = World(encoder, decoder, iter(pictures), patience=patience)
    for fate in frames:
        world.step(fate)
    for _ in range(2):
        world.step(Fate())
    if world.settled() is not None:
        assert world.kept() == world.settled()
        assert equal(world.sender.reference.oldest, world.states[world.settled()])
