"""Fitted loss models: simulated ones come back, and the recursions are those of their definition."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lrae.channel.loss import Bernoulli, GilbertElliott, parse_loss
from lrae.channel.loss_fit import burst_lengths, fit_loss, log_likelihood, window_deviation


def run(model, count, seed=1):
    return np.fromiter(itertools.islice(model.outcomes(random.Random(seed)), count), bool, count)


def fitted(lost, name):
    return next(found.model for found in fit_loss(lost) if found.name == name)


@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])  # a fit takes too long to shrink
@given(st.floats(0.01, 0.03), st.floats(0.04, 0.2), st.floats(0.0, 0.02), st.floats(0.6, 0.95), st.integers(0, 99))
def test_a_long_simulated_trace_gives_its_parameters_back(p, r, good, bad, seed):
    model = GilbertElliott(p, r, good, bad)
    found = fitted(run(model, 40_000, seed), "Gilbert-Elliott")
    assert found.p_good_to_bad == pytest.approx(p, rel=0.25)
    assert found.p_bad_to_good == pytest.approx(r, rel=0.25)
    assert found.loss_good == pytest.approx(good, abs=0.005)
    assert found.loss_bad == pytest.approx(bad, abs=0.08)
    assert found.mean == pytest.approx(model.mean, rel=0.15)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0.1", "independent"),
        ("ge:0.02,0.3,0,1", "simple Gilbert"),
        ("ge:0.03,0.25,0,0.7", "Gilbert"),
        ("ge:0.01,0.05,0.01,0.6", "Gilbert-Elliott"),
    ],
)
def test_no_more_parameters_are_taken_than_the_trace_needs(text, name):
    model = parse_loss(text)
    best, *rest = fit_loss(run(model, 25_000))
    assert best.name == name
    assert best.model.mean == pytest.approx(model.mean, rel=0.1)
    assert best.model.mean_burst == pytest.approx(model.mean_burst, rel=0.1)
    assert all(best.bic <= other.bic for other in rest)
    assert parse_loss(str(best.model)) == best.model


def likelihood_by_definition(lost, ge):
    """The forward recursion, datagram by datagram."""
    moves = np.array([[1 - ge.p_good_to_bad, ge.p_good_to_bad], [ge.p_bad_to_good, 1 - ge.p_bad_to_good]])
    loss = np.array([ge.loss_good, ge.loss_bad])
    state, total = np.array([1 - ge.share_bad, ge.share_bad]), 0.0
    for index, one in enumerate(lost):
        state = (state if index == 0 else state @ moves) * (loss if one else 1 - loss)
        total += math.log(state.sum())
        state /= state.sum()
    return total


SHARE = st.floats(0.01, 0.99)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=80), st.builds(GilbertElliott, SHARE, SHARE, SHARE, SHARE))
def test_the_likelihood_is_that_of_the_forward_recursion(lost, model):
    assert log_likelihood(np.array(lost), model) == pytest.approx(likelihood_by_definition(lost, model), abs=1e-6)


def test_the_likelihood_of_independent_loss_is_the_same_either_way():
    lost = run(Bernoulli(0.2), 1000)
    chain = GilbertElliott(0.3, 0.4, 0.2, 0.2)
    assert log_likelihood(lost, Bernoulli(0.2)) == pytest.approx(log_likelihood(lost, chain))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_any_pattern_has_a_fit_that_loss_accepts(lost):
    for found in fit_loss(np.array(lost)):
        assert math.isfinite(found.bic) and 0 <= found.model.mean <= 1
        assert parse_loss(str(found.model)) == found.model


@pytest.mark.parametrize(("lost", "text"), [([0] * 50, "none"), ([1] * 50, "all")])
def test_nothing_and_everything_lost_are_what_they_are(lost, text):
    (only,) = fit_loss(np.array(lost))
    assert str(only.model) == text and only.bic == pytest.approx(math.log(50))


@pytest.mark.parametrize("text", ["0.3", "ge:0.05,0.25,0.01,0.8", "ge:tambur"])
def test_burst_lengths_and_deviations_are_those_of_simulated_runs(text):
    model, lost = parse_loss(text), run(parse_loss(text), 200_000, 3)
    edges = np.diff(np.concatenate([[0], lost, [0]]).astype(np.int8))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    beyond = burst_lengths(model, 12)
    assert beyond == pytest.approx([(lengths > k).mean() for k in range(13)], abs=0.01)
    assert beyond[0] == 1
    for window in (10, 100):
        shares = lost[: lost.size // window * window].reshape(-1, window).mean(1)
        assert window_deviation(model, window) == pytest.approx(shares.std(), rel=0.06)
