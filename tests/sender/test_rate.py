"""sender/rate: the chosen q brings a stream to its rate, whatever the content, and debts are paid back."""

from __future__ import annotations

import random

import pytest

from lrae.sender.rate import SKIP_SECONDS, RateControl

PIXELS, FPS = 448 * 256, 30


class Content:
    """Bits over q of a made-up codec, noisy, with its own slope and level."""

    def __init__(self, level, slope, seed=1):
        self.level, self.slope, self.rng = level, slope, random.Random(seed)

    def bits(self, q, intra):
        return self.level * (8 if intra else 1) * 2 ** ((q - 32) * self.slope + self.rng.gauss(0, 0.15))


def run(control, content, frames=300, every=1):
    total, qs = 0.0, []
    for n in range(frames):
        q = control.choose(n == 0, every / FPS)
        if q is None:
            qs.append(None)
            continue
        bits = content.bits(q, n == 0)
        control.update(n == 0, q, bits)
        total += bits
        qs.append(q)
    return total / frames * FPS / every, qs


@pytest.mark.parametrize("rate", [150_000, 400_000, 2_000_000])
@pytest.mark.parametrize("slope", [0.07, 0.09, 0.12])
@pytest.mark.parametrize("level", [3_000, 12_000])
def test_ten_seconds_come_within_a_twentieth_of_the_rate(rate, slope, level):
    achieved, qs = run(RateControl(rate, FPS, PIXELS), Content(level, slope))
    if None not in qs and min(qs[20:]) > 0 and max(qs[20:]) < 63:
        assert achieved == pytest.approx(rate, rel=0.05)
    else:
        assert achieved < rate * 1.05


def test_content_too_rich_for_the_rate_is_skipped_down_to_it():
    control = RateControl(50_000, FPS, PIXELS)
    achieved, qs = run(control, Content(100_000, 0.09), 900)
    assert None in qs
    assert achieved < 50_000 * (1 + SKIP_SECONDS / 10)


def test_content_that_needs_less_than_the_rate_gets_the_finest_q_and_saves_up_little():
    control = RateControl(10_000_000, FPS, PIXELS)
    achieved, qs = run(control, Content(1000, 0.09))
    assert set(qs[60:]) == {63}
    assert achieved < 10_000_000


def test_frames_that_an_encoder_is_too_slow_for_leave_their_bits_to_the_others():
    achieved, _ = run(RateControl(400_000, FPS, PIXELS), Content(12_000, 0.09), every=4)
    assert achieved == pytest.approx(400_000, rel=0.05)


def test_a_change_of_content_is_followed_within_a_second():
    control, content = RateControl(400_000, FPS, PIXELS), Content(6_000, 0.09)
    run(control, content, 100)
    content.level = 24_000
    spent, _ = run(control, content, 60)
    assert spent < 1.35 * 400_000
