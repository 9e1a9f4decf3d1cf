"""Loss models fitted to a recorded pattern: maximum likelihood, the number of parameters chosen by BIC.

Independent loss and Gilbert's simple chain (good loses nothing, bad everything) have closed forms. Gilbert's chain with
a loss rate in the bad state and Gilbert-Elliott's are hidden Markov models, fitted by Baum-Welch (Rabiner, "A tutorial
on hidden Markov models", Proc. IEEE 1989, section III.C). How well a model fits is told by the lengths of bursts and by
the variation of the loss rate over windows, which Hasslinger and Hohlfeld ("The Gilbert-Elliott model for packet loss
in real time services on the Internet", MMB 2008) match instead of the likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrae.channel.loss import Bernoulli, GilbertElliott, LossModel

MAX_STEPS, TRIAL_STEPS = 300, 12
ENOUGH = 3e-3  # nats of log likelihood: a Baum-Welch step that gains less is the last
STAYS = (3.0, 30.0, 300.0)  # datagrams in the bad state on average, to begin with
WINDOWS = (10, 100, 1000)  # datagrams
TINY = 1e-300  # in place of a probability of 0 that is divided by

Values = tuple[float, float, float, float]  # of a GilbertElliott, in its order


@dataclass(frozen=True)
class Fitted:
    """model: a LossModel. parameters: how many were fitted. log_likelihood: nats. bic: the lower, the better."""

    name: str
    model: LossModel
    parameters: int
    log_likelihood: float
    bic: float


def fit_loss(lost: np.ndarray) -> list[Fitted]:
    """Models of a pattern (bool or 0/1 [n], in the order sent, n >= 1), the one with the lowest BIC first.

    A pattern without a loss, or with nothing else, has only the first model. The parameters are rounded to four digits.
    """
    lost = np.asarray(lost, np.uint8)
    mean = float(lost.mean())
    models: list[tuple[str, LossModel, int]] = [("independent", Bernoulli(_rounded(mean)), 1)]
    if 0 < mean < 1:
        chain = _Chain(lost)
        after_good, after_bad = (int(np.count_nonzero(lost[:-1] == state)) for state in (0, 1))
        begins, ends = (int(np.count_nonzero(np.diff(lost.astype(np.int8)) == step)) for step in (1, -1))
        p, r = begins / max(1, after_good), ends / after_bad if after_bad else 1.0
        models.append(("simple Gilbert", _model((max(p, 1 / lost.size), max(r, 1 / lost.size), 0.0, 1.0)), 2))
        models.append(("Gilbert", _model(_baum_welch(chain, mean, 0.0)), 3))
        models.append(("Gilbert-Elliott", _model(_baum_welch(chain, mean, mean / 3)), 4))
    found = []
    for name, model, parameters in models:
        likelihood = log_likelihood(lost, model)
        found.append(Fitted(name, model, parameters, likelihood, parameters * math.log(lost.size) - 2 * likelihood))
    return sorted(found, key=lambda fitted: fitted.bic)


def log_likelihood(lost: np.ndarray, model: Bernoulli | GilbertElliott) -> float:
    """Nats."""
    if isinstance(model, Bernoulli):
        count = int(np.count_nonzero(lost))
        return sum(n * math.log(p) if n else 0.0 for n, p in ((count, model.p), (len(lost) - count, 1 - model.p)))
    return _Chain(np.asarray(lost, np.uint8)).expect(_values(model))[0]


def as_chain(model: Bernoulli | GilbertElliott) -> GilbertElliott:
    """Independent loss as a chain that never leaves the good state."""
    return GilbertElliott(0.0, 1.0, model.p, model.p) if isinstance(model, Bernoulli) else model


def burst_lengths(model: Bernoulli | GilbertElliott, longest: int) -> np.ndarray:
    """P(a run of losses is longer than k), k = 0 … longest."""
    ge = as_chain(model)
    if ge.mean == 1:
        return np.ones(longest + 1)
    moves, loss = _moves(_values(ge)), np.array([ge.loss_good, ge.loss_bad])
    state = np.array([1 - ge.share_bad, ge.share_bad]) * (1 - loss) @ moves * loss  # arrived, then lost
    result = np.empty(longest + 1)
    for length in range(longest + 1):
        result[length] = state.sum()
        state = state @ moves * loss
    return result / result[0] if result[0] else result


def window_deviation(model: Bernoulli | GilbertElliott, window: int) -> float:
    """Standard deviation of the share lost of `window` datagrams in a row (Hasslinger and Hohlfeld 2008, section 3)."""
    ge = as_chain(model)
    shared = ge.share_bad * (1 - ge.share_bad) * (ge.loss_bad - ge.loss_good) ** 2
    distance = np.arange(1, window)
    decay = (1.0 - ge.p_good_to_bad - ge.p_bad_to_good) ** distance
    variance = window * ge.mean * (1 - ge.mean) + 2 * shared * float((window - distance) @ decay)
    return math.sqrt(max(0.0, variance)) / window


def _rounded(value: float) -> float:
    return min(1.0, float(f"{value:.4g}"))


def _values(model: GilbertElliott) -> Values:
    return model.p_good_to_bad, model.p_bad_to_good, model.loss_good, model.loss_bad


def _model(values: Values) -> GilbertElliott:
    """The state that loses less is the good one."""
    p, r, good, bad = map(_rounded, values)
    return GilbertElliott(p, r, good, bad) if good <= bad else GilbertElliott(r, p, bad, good)


def _moves(values: Values) -> np.ndarray:
    p, r = values[:2]
    return np.array([[1 - p, p], [r, 1 - r]])


def _baum_welch(chain: _Chain, mean: float, loss_good: float) -> Values:
    """From several beginnings, the likeliest one to its end. A loss of exactly 0 in the good state stays 0."""
    loss_bad = min(0.95, max(3 * mean, 0.5))
    share = 0.2 if loss_good else mean / loss_bad
    trials = []
    for stay in STAYS:
        r = 1 / stay
        trials.append(_climb(chain, (min(0.5, r * share / (1 - share)), r, loss_good, loss_bad), TRIAL_STEPS))
    best = max(trials)
    return _climb(chain, best[1], MAX_STEPS)[1]


def _climb(chain: _Chain, values: Values, steps: int) -> tuple[float, Values]:
    """(log likelihood before the last step, parameters) after so many steps of expectation and maximisation, or fewer,
    where they gain no more."""
    before = -math.inf
    for _ in range(steps):
        likelihood, moved, could, datagrams = chain.expect(values)
        if likelihood - before < ENOUGH:
            break
        before = likelihood
        moves, loss = moved / np.maximum(could, TINY), datagrams[0] / np.maximum(datagrams[1], TINY)
        values = (*moves.tolist(), *loss.tolist())
    return before, values


class _Chain:
    """Forward and backward recursions over a pattern, cut into blocks that are walked through side by side.

    A recursion of n steps in numpy would be n Python steps. So: what each block makes of either state first, for all
    blocks at once; then the states from block to block; then within all blocks at once. About 4 sqrt(n) Python steps.
    States are probabilities of the bad one, of the past alone (forward) or in favour of the future (backward).
    """

    def __init__(self, lost: np.ndarray) -> None:
        self._count = lost.size
        length = max(1, math.isqrt(self._count) // 2)  # a step over all blocks costs more than one over one
        blocks = -(-self._count // length)
        padded = np.full(blocks * length, 2, np.uint8)  # 2: nothing observed, which says nothing
        padded[: self._count] = lost
        self._seen = np.ascontiguousarray(padded.reshape(blocks, length).T)  # [length, blocks]
        self._lost = lost == 1

    def expect(self, values: Values) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """(log likelihood, expected moves [from good, from bad], datagrams that could move [from good, from bad],
        datagrams lost and all datagrams, by state [lost or all, good or bad])."""
        p, r, loss_good, loss_bad = values
        good = np.array([1 - loss_good, loss_good, 1.0])[self._seen]  # P(what was seen | state)
        bad = np.array([1 - loss_bad, loss_bad, 1.0])[self._seen]
        enter, leave = self._between_blocks(values, good, bad)
        past, scales = self._forward(values, good, bad, enter)
        future = self._backward(values, good, bad, leave)
        come = p + (1 - p - r) * past  # bad, before the datagram was seen
        in_good, in_bad = good * (1 - come) * (1 - future), bad * come * future
        total = np.maximum(in_good + in_bad, TINY)
        is_bad = self._flat(in_bad / total)
        worse = self._flat(p * (1 - past) * bad * future / total)[1:]  # before the first datagram nothing moved
        better = self._flat(r * past * good * (1 - future) / total)[1:]
        bads = np.array([[is_bad[self._lost].sum()], [is_bad.sum()]])
        counts = np.array([[np.count_nonzero(self._lost)], [self._count]])
        stayed = is_bad[:-1].sum()
        return (
            float(np.log(self._flat(scales)).sum()),
            np.array([worse.sum(), better.sum()]),
            np.array([self._count - 1 - stayed, stayed]),
            np.hstack([counts - bads, bads]),
        )

    def _flat(self, by_block: np.ndarray) -> np.ndarray:
        return by_block.T.reshape(-1)[: self._count]

    def _between_blocks(self, values: Values, good: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States before each block (forward) and after it (backward)."""
        p, r = values[:2]
        blocks = good.shape[1]
        state = np.repeat([[0.0], [1.0]], blocks, 1)  # either begins in good or in bad
        weight = np.full((2, blocks), 0.5)  # likelihood of the block so far, of the two in proportion
        for at_good, at_bad in zip(good, bad, strict=True):
            state, scale = _step(state, p, r, at_good, at_bad)
            weight *= scale
            weight /= np.maximum(weight.sum(0), TINY)
        from_good, from_bad = weight.tolist()
        ends_good, ends_bad = state.tolist()  # bad at its end, after each beginning
        enter, leave = [], []
        past, future = p / (p + r) if p + r else 0.0, 0.5
        for block in range(blocks):
            enter.append(past)
            a, b = (1 - past) * from_good[block], past * from_bad[block]
            past = (a * ends_good[block] + b * ends_bad[block]) / max(a + b, TINY)
        for block in range(blocks - 1, -1, -1):
            leave.append(future)
            a = from_good[block] * ((1 - ends_good[block]) * (1 - future) + ends_good[block] * future)
            b = from_bad[block] * ((1 - ends_bad[block]) * (1 - future) + ends_bad[block] * future)
            future = b / max(a + b, TINY)
        return np.array(enter), np.array(leave[::-1])

    @staticmethod
    def _forward(
        values: Values, good: np.ndarray, bad: np.ndarray, enter: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(state before each datagram, likelihood of what was seen given all before) [length, blocks]."""
        p, r = values[:2]
        past, scales = np.empty_like(good), np.empty_like(good)
        state = enter
        for index in range(len(good)):
            past[index] = state
            state, scales[index] = _step(state, p, r, good[index], bad[index])
        return past, scales

    @staticmethod
    def _backward(values: Values, good: np.ndarray, bad: np.ndarray, leave: np.ndarray) -> np.ndarray:
        """State after each datagram, by what came later [length, blocks]."""
        p, r = values[:2]
        future = np.empty_like(good)
        state = leave
        for index in range(len(good) - 1, -1, -1):
            future[index] = state
            if_good, if_bad = good[index] * (1 - state), bad[index] * state
            from_bad = r * if_good + (1 - r) * if_bad
            state = from_bad / np.maximum((1 - p) * if_good + p * if_bad + from_bad, TINY)
        return future


def _step(
    state: np.ndarray, p: float, r: float, good: np.ndarray, bad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(probability of the bad state after a datagram was seen, likelihood of what was seen)."""
    come = (1 - p - r) * state + p
    scale = np.maximum(come * (bad - good) + good, TINY)
    return come * bad / scale, scale
