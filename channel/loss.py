"""Which datagrams a network loses: Bernoulli, Gilbert-Elliott, and the texts that name any loss process.

A model is an immutable value; `model.outcomes(rng)` is one run of it, an endless iterator that yields one
bool per datagram, True where the datagram is lost. A model whose losses follow the clock has `lost_at(rng)`
besides, a function of time (lrae.channel.loss_time). `str(model)` is what parse_loss reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from lrae.channel.loss_time import Rng, read_alphartc_loss, read_timed_losses
from lrae.channel.loss_trace import read_loss_trace
from lrae.channel.trace import shown
from lrae.errors import ConfigError


class LossModel(Protocol):
    @property
    def mean(self) -> float:
        """Share of datagrams lost in the long run, 0..1."""

    @property
    def mean_burst(self) -> float:
        """Mean length of a run of lost datagrams; 0 where nothing is lost, inf where everything is."""

    def outcomes(self, rng: Rng) -> Iterator[bool]: ...


def losses(model: LossModel, rng: Rng) -> Callable[[int], bool]:
    """One run of any model on a clock: asked once per datagram, in order, with ns since the link began."""
    if hasattr(model, "lost_at"):
        return model.lost_at(rng)
    outcomes = model.outcomes(rng)
    return lambda now: next(outcomes)


def check_probability(value: float, what: str) -> None:
    """Raises ConfigError unless 0 <= value <= 1."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{what} {value:g} is not between 0 and 1 (a percentage is written 20%)")


@dataclass(frozen=True)
class Bernoulli:
    """Every datagram is lost with the same probability, whatever happened to the others."""

    p: float = 0.0

    def __post_init__(self):
        check_probability(self.p, "loss probability")

    @property
    def mean(self) -> float:
        return self.p

    @property
    def mean_burst(self) -> float:
        if self.p == 0:
            return 0.0
        return 1 / (1 - self.p) if self.p < 1 else math.inf

    def outcomes(self, rng: Rng) -> Iterator[bool]:
        while True:
            yield rng.random() < self.p

    def __str__(self) -> str:
        return {0.0: "none", 1.0: "all"}.get(self.p, repr(self.p))


@dataclass(frozen=True)
class GilbertElliott:
    """Two states with a loss probability each; the state may change after every datagram.

    Gilbert, "Capacity of a burst-noise channel" (1960); Elliott, "Estimates of error rates for codes on
    burst-noise channels" (1963). A run starts in a state drawn from the stationary distribution, so the mean
    loss holds from the first datagram on.
    """

    p_good_to_bad: float
    p_bad_to_good: float
    loss_good: float
    loss_bad: float

    def __post_init__(self):
        check_probability(self.p_good_to_bad, "Gilbert-Elliott good-to-bad probability")
        check_probability(self.p_bad_to_good, "Gilbert-Elliott bad-to-good probability")
        check_probability(self.loss_good, "Gilbert-Elliott loss in the good state")
        check_probability(self.loss_bad, "Gilbert-Elliott loss in the bad state")

    @property
    def share_bad(self) -> float:
        """Long-run share of time in the bad state (0 if the states never change: a run then stays good)."""
        moves = self.p_good_to_bad + self.p_bad_to_good
        return self.p_good_to_bad / moves if moves else 0.0

    @property
    def mean(self) -> float:
        return (1 - self.share_bad) * self.loss_good + self.share_bad * self.loss_bad

    @property
    def mean_burst(self) -> float:
        # a burst ends where a lost datagram is followed by one that arrives
        good_next_arrives = (1 - self.p_good_to_bad) * (1 - self.loss_good) + self.p_good_to_bad * (
            1 - self.loss_bad
        )
        bad_next_arrives = self.p_bad_to_good * (1 - self.loss_good) + (1 - self.p_bad_to_good) * (
            1 - self.loss_bad
        )
        ends = (1 - self.share_bad) * self.loss_good * good_next_arrives
        ends += self.share_bad * self.loss_bad * bad_next_arrives
        if self.mean == 0:
            return 0.0
        return self.mean / ends if ends else math.inf

    def outcomes(self, rng: Rng) -> Iterator[bool]:
        bad = rng.random() < self.share_bad
        while True:
            yield rng.random() < (self.loss_bad if bad else self.loss_good)
            bad ^= rng.random() < (self.p_bad_to_good if bad else self.p_good_to_bad)

    def __str__(self) -> str:
        values = (self.p_good_to_bad, self.p_bad_to_good, self.loss_good, self.loss_bad)
        return "ge:" + ",".join(map(repr, values))


# Rudow et al., "Tambur: Efficient loss recovery for videoconferencing via streaming codes", NSDI 2023
GE_PRESETS = {"tambur": GilbertElliott(0.068, 0.852, 0.04, 0.5)}


_READERS = {"trace": read_loss_trace, "timed": read_timed_losses, "alphartc": read_alphartc_loss}


def parse_probability(text: str, what: str) -> float:
    """`0.2` or `20%` -> 0.2. Raises ConfigError; `what` names the setting in its text."""
    text = text.strip()
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ConfigError(f"{what} {shown(text)} is not a number between 0 and 1, nor a percentage") from None
    check_probability(value, what)
    return value


def parse_loss(text: str) -> LossModel:
    """`none`, `all`, `0.2`, `20%`, `ge:tambur`, `ge:P_GB,P_BG,LOSS_GOOD,LOSS_BAD`, `trace:FILE` (datagram by
    datagram), `timed:FILE` (by the clock) or `alphartc:FILE` (loss rates by the clock).

    Raises ConfigError if the text is none of these, TraceError if the file is not such a trace.
    """
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if text in ("none", "all"):
        return Bernoulli(float(text == "all"))
    if colon and kind in _READERS:
        return _READERS[kind](rest)
    if colon and kind == "ge":
        if rest in GE_PRESETS:
            return GE_PRESETS[rest]
        numbers = rest.split(",")
        if len(numbers) != 4:
            raise ConfigError(
                f"loss {shown(text)}: expected ge:P_GOOD_TO_BAD,P_BAD_TO_GOOD,LOSS_GOOD,LOSS_BAD "
                f"or ge:{'|'.join(GE_PRESETS)}"
            )
        return GilbertElliott(*(parse_probability(number, "Gilbert-Elliott value") for number in numbers))
    if not re.match(r"[-+.\d]", text):
        raise ConfigError(
            f"loss {shown(text)}: expected none, all, a probability (0.2 or 20%), ge:…, trace:FILE, timed:FILE"
            " or alphartc:FILE"
        )
    return Bernoulli(parse_probability(text, "loss probability"))
