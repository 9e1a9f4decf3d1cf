"""sender/fec_policy: parity where it costs less than what it saves, none elsewhere; its model is what the codes do."""

import random
from collections import Counter, deque
from itertools import islice, pairwise

import numpy as np
import pytest

from lrae.channel.loss import GE_PRESETS, Bernoulli, GilbertElliott
from lrae.codec.fec import MAX_WINDOW, FecDecoder, FecEncoder, Plan
from lrae.sender.fec_policy import (
    HEADERS,
    MEMORY,
    PARITY_HEADERS,
    AdaptiveFec,
    FrameSizes,
    price_of_bits,
    price_of_loss,
)
from lrae.sender.fec_replay import replay

EVEN = 1000  # bytes of a packet where all are alike
LONG, SHORT = dict(rtt=0.2, deadline=0.15, interval=1 / 30), dict(rtt=0.02, deadline=0.15, interval=1 / 30)


def pattern(model, count=MEMORY, seed=0):
    return np.fromiter(islice(model.outcomes(random.Random(seed)), count), bool, count)


def chosen(model, packets=8, policy=None, **path):
    policy = policy or AdaptiveFec()
    policy.observe(pattern(model).tolist())
    policy.plan([EVEN] * packets, **(path or LONG))
    return policy


def really_lost(lost, packets, parity, window, slack):
    """The same frames through the codes themselves."""
    encoder, decoder, at = FecEncoder(), FecDecoder(), 0
    plan = Plan("streaming" if window > 1 else "block", parity, window)
    frames = len(lost) // (packets + parity)
    missing = set()
    for number in range(frames):
        media = [bytes((number % 256, i)) for i in range(packets)]
        made = encoder.add(number, media, plan)
        found = []
        for index, packet in enumerate(media):
            if lost[at + index]:
                missing.add((number, index))
            else:
                found += decoder.add(number, index, packet)
        for index, packet in enumerate(made, packets):
            if not lost[at + index]:
                found += decoder.add_parity(packet)
        at += packets + parity
        missing -= {(got.number, got.index) for got in found if number - got.number <= slack}
    by_frame = Counter(number for number, _ in missing)
    return len(missing) / (frames * packets), sum((gone / packets) ** 0.5 for gone in by_frame.values()) / frames


def replayed(lost, packets, share, window, slack, since=0):
    """(share of the packets that stay lost, damage)."""
    counts = replay(lost, packets, np.array([share]), np.array([window]), slack, np.array([since]))
    frames, left, damage = counts[0, 0]
    return left / (frames * packets), damage / frames


MODELS = (Bernoulli(0.1), Bernoulli(0.3), Bernoulli(0.4), GE_PRESETS["tambur"], GilbertElliott(0.03, 0.2, 0, 1))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "packets, parity, window, slack", [(4, 1, 1, 3), (4, 2, 1, 0), (4, 1, 4, 3), (6, 2, 3, 1), (4, 4, 5, 3)]
)
def test_the_model_of_the_codes_is_close_to_the_codes(model, packets, parity, window, slack):
    lost = pattern(model, 1500)
    model_says = replayed(lost, packets, parity / packets, window, slack)
    assert model_says == pytest.approx(really_lost(lost, packets, parity, window, slack), abs=0.012)


def test_without_parity_everything_stays_lost_and_a_burst_does_less_damage():
    lost = pattern(Bernoulli(0.2))
    damage = np.sqrt(lost.reshape(-1, 4).mean(axis=1)).mean()
    assert replayed(lost, 4, 0.0, 1, 3) == pytest.approx((lost.mean(), damage))
    assert replayed(lost, 4, 0.0, 1, 3, since=800)[0] == pytest.approx(lost[800:].mean())
    burst = replayed(np.sort(lost), 4, 0.0, 1, 3)
    assert burst == pytest.approx((lost.mean(), lost.mean()), abs=0.004)
    assert price_of_bits(0) == price_of_loss(0) == 0
    assert price_of_bits(1.0) == pytest.approx(2.3)
    assert price_of_loss(burst[1]) < 0.7 * price_of_loss(damage)


def test_a_little_parity_before_anything_is_known_and_none_where_little_is_lost():
    policy = AdaptiveFec()
    plan = policy.plan([EVEN] * 8, None, 0.15, 1 / 30)
    assert (plan.scheme, plan.parity) == ("block", 6), "all others build on the first frame"
    assert policy.plan([EVEN] * 8, None, 0.15, 1 / 30).parity == 4
    for model in (Bernoulli(0), Bernoulli(0.001), GilbertElliott(0.0003, 0.125, 0, 1)):
        assert chosen(model).share == 0
    assert chosen(Bernoulli(0.02)).share <= 1 / 4


def test_parity_where_many_single_packets_are_lost_and_no_retransmission_is_in_time():
    policy = chosen(Bernoulli(0.2))
    assert policy.share > 0 and policy.cost < price_of_loss(replayed(pattern(Bernoulli(0.2)), 8, 0.0, 1, 3)[1]) - 1
    assert policy.plan([EVEN] * 8, **LONG).parity == round(8 * policy.share)


def test_no_parity_where_retransmission_does_it_for_less():
    assert chosen(Bernoulli(0.15), packets=2, **SHORT).share == 0
    near = dict(SHORT, rtt=0.09)
    assert chosen(Bernoulli(0.3), policy=AdaptiveFec(retransmit=False), **near).share > 0


def test_uneven_packets_make_parity_dearer():
    sizes = FrameSizes()
    for _ in range(4):
        sizes.add([400, 600]), sizes.add([1000, 1000])
    assert sizes.packets == 2
    assert sizes.longer(1) == pytest.approx((800 + PARITY_HEADERS) / (750 + HEADERS))
    assert sizes.longer(2) == pytest.approx((1000 + PARITY_HEADERS) / (750 + HEADERS))
    policy = AdaptiveFec()
    for number in range(48):
        policy.plan([100] if number % 4 else [1000], **LONG)
    uneven, even = chosen(Bernoulli(0.25), 1, policy), chosen(Bernoulli(0.25), 1)
    assert uneven.cost > even.cost + 0.2


def test_the_deadline_bounds_the_window():
    for deadline, most in ((0.04, 2), (0.1, 4), (0.15, 5), (5.0, MAX_WINDOW)):
        assert chosen(Bernoulli(0.2), rtt=9.0, deadline=deadline, interval=1 / 30).window <= most
    policy = chosen(Bernoulli(0.25), packets=1)
    assert policy.window > 1, "one packet a frame: parity of several frames together is the cheaper one"
    assert policy.plan([EVEN], 0.2, 0.04, 1 / 30).window == 1


def test_the_choice_does_not_flap():
    policy, plans = AdaptiveFec(), []
    for lost in pattern(Bernoulli(0.12), 12_000, seed=3).reshape(-1, 10):
        policy.observe(lost.tolist())
        policy.plan([EVEN] * 8, **LONG)
        plans.append((policy.share, policy.window))
    changes = sum(a != b for a, b in pairwise(plans))
    assert changes <= 20


def test_parity_goes_when_the_losses_end():
    policy = chosen(Bernoulli(0.2))
    assert policy.share > 0
    policy.observe([False] * MEMORY)
    assert policy.plan([EVEN] * 8, **LONG) == Plan()


def run(losses, seed, packets=2, news=5):
    """Parity per packet of each frame. losses: rate of each; frames' fates become known `news` frames later."""
    policy, rng = AdaptiveFec(retransmit=False), np.random.default_rng(seed)
    told, shares = deque(), []
    for loss in losses:
        if len(told) >= news:
            policy.observe(told.popleft())
        plan = policy.plan([EVEN] * packets, **LONG)
        told.append((rng.random(packets + plan.parity) < loss).tolist())
        shares.append(plan.parity / packets)
    return shares


@pytest.mark.parametrize("before, after", [(0.0, 0.4), (0.4, 0.0), (0.05, 0.45)])
def test_a_path_that_has_become_another_is_followed_within_about_a_second(before, after):
    shares = np.mean([run([before] * 300 + [after] * 200, seed)[300:] for seed in range(6)], axis=0)
    soon, later = shares[35:45].mean(), shares[100:].mean()
    assert soon > 0.7 * later > 0.7 if after else soon < 0.2


def test_bursts_that_are_over_before_parity_can_act_do_not_bring_parity():
    bursts = [0.0] * 150 + [1.0] * 12
    assert np.mean(run(12 * bursts, 1)[4 * len(bursts) :]) < 0.05


def test_a_share_is_kept_on_average():
    policy = AdaptiveFec()
    policy.share, policy.window = 1 / 8, 4
    policy._slack = 3
    policy.plan([EVEN], **LONG)  # the first frame is another matter
    assert sum(policy.plan([EVEN] * 3, **LONG).parity for _ in range(80)) == 30
