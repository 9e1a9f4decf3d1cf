"""The report's plots of rows: quality against loss with its crossover, rate and quality, delay, freezes, actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from lrae.experiments.replay.report_compare import Cell, Contest
from lrae.experiments.replay.report_rates import RateCurves
from lrae.experiments.replay.report_rows import LRAE, RESENT
from lrae.experiments.replay.report_style import (
    SIZE,
    Picture,
    colour,
    label_ends,
    legend_below,
    line_style,
    name_of,
    plotting,
)
from lrae.experiments.replay.table import ACCURACY

MEASURES = {"psnr_yuv": "PSNR-YUV 6:1:1, dB", "ssim_db": "SSIM, dB", "ms_ssim": "MS-SSIM", "vmaf": "VMAF"}
SHORT = {"none": "no FEC", "block": "RS", "streaming": "str."}
WIDE = (7.6, 4.4)
PLAIN = "without FEC"
BAR_LOSSES = 5  # so many groups of bars fit


def percent(rate: float) -> str:
    """A loss rate for people."""
    return f"{rate * 100:.3g} %"


def tell_crossover(rate: float | None) -> str:
    """A crossover for people."""
    if rate is None:
        return "never ahead"
    return "ahead everywhere" if rate == 0 else f"ahead from {percent(rate)}"


def measure_name(measure: str) -> str:
    """Of one of QUALITY, without its unit."""
    return MEASURES[measure].partition(",")[0]


def main_plot(contest: Contest, folder: Path, name: str) -> Picture:
    """quality_plot() with the best codec and its redundancy under each rate; without them on a narrow screen."""
    broad = quality_plot(contest, folder, name, wide=True)
    narrow = quality_plot(contest, None, f"{name}-narrow")
    svg = f"<div class=broad>{broad.svg}</div><div class=narrow>{narrow.svg}</div>"
    return replace(broad, svg=svg)


def quality_plot(contest: Contest, folder: Path | None, name: str, wide: bool = False) -> Picture:
    """Quality over loss by codec, the best redundancy of each, and where LRAE takes the lead."""
    rate = contest.crossover
    best = [cell.best_other() for cell in contest.cells]
    plain = [(cell.rate, entry.value) for cell in contest.cells if (entry := cell.unprotected())]
    with plotting(folder, name, size=WIDE if wide else SIZE) as (axes, result):
        loss_axis(axes, contest.rates)
        shade_leads(axes, contest)
        ends = {}
        if len(plain) > 1:
            axes.plot(*bent(*zip(*plain, strict=True)), color=colour(PLAIN), linestyle=":", linewidth=1.6, zorder=2)
            ends[PLAIN] = plain[-1]
        for codec in contest.codecs:
            rates, entries = contest.curve(codec)
            ends[codec] = draw_curve(axes, codec, rates, [entry.value for entry in entries])
        axes.set(ylabel=MEASURES[contest.measure])
        if wide:
            axes.set_xticks(contest.rates, [tick_of(cell) for cell in contest.cells], linespacing=1.25, fontsize=7.5)
            axes.set_xlabel("lost packets, %; below it the best conventional codec there and its redundancy")
        axes.set_title(f"{contest.condition}\nLRAE {tell_contest(contest)}")
        if rate is not None and rate > contest.rates[0]:
            height = float(np.interp(rate, contest.rates, [entry.value for entry in best]))
            mark_crossover(axes, rate, height)
        label_ends(axes, ends)
    caption = (
        f"{measure_name(contest.measure)} of what was on screen against the rate of independent loss, at equal total "
        f"bits ({contest.condition}), mean over {_sequences(contest)}. Each conventional codec has its best redundancy "
        "at each loss rate in hindsight; the grey band follows the best of them, the dotted line the best of them "
        "without parity. Coloured: where LRAE is ahead of all. Between measured rates quality is interpolated linearly "
        "in the loss rate, which bends on this axis."
    )
    if interval := contest.crossover_interval():
        ends_text = " to ".join("never" if end is None else percent(end) for end in interval)
        caption += f" 90 % interval of the crossover, over sequences: {ends_text}."
    return Picture(name, f"{measure_name(contest.measure)} against loss", result["svg"], caption, wide=wide)


def tell_contest(contest: Contest) -> str:
    """Where LRAE is ahead; if nowhere, where it is the least behind."""
    if contest.crossover is not None:
        return tell_crossover(contest.crossover)
    nearest = max(contest.cells, key=lambda cell: cell.lead)
    told = "ahead" if nearest.lead > 0 else "closest"
    return f"not ahead at the highest loss; {told} at {percent(nearest.rate)}: {nearest.lead:+.2f}"


def shade_leads(axes, contest: Contest) -> None:
    """A band along the best conventional codec, and colour between it and LRAE where that is ahead."""
    x, best = bent(contest.rates, [cell.best_other().value for cell in contest.cells])
    _, ours = bent(contest.rates, [cell.oracle(LRAE).value for cell in contest.cells])
    axes.plot(x, best, color=colour("shade"), linewidth=6, zorder=1)
    ahead = {"where": ours > best, "interpolate": True}
    axes.fill_between(x, best, ours, **ahead, color=colour(LRAE), alpha=0.18, linewidth=0, zorder=0)


def tick_of(cell: Cell) -> str:
    """Loss rate, the best conventional codec and its redundancy, a line each; NACK where some have gone without."""
    best = cell.best_other()
    others = [entry.redundancy.endswith(RESENT) for entry in cell.entries if entry.codec != LRAE]
    code, _, share = best.redundancy.removesuffix(RESENT).partition(":")
    nack = "NACK" if best.redundancy.endswith(RESENT) and not all(others) else ""
    words = [f"{cell.rate * 100:g}", name_of(best.codec), SHORT.get(code, code), share and f"{share} %", nack]
    return "\n".join(filter(None, words))


def loss_axis(axes, rates: Sequence[float]) -> None:
    """Square-root scale: the small rates, where it is decided, get room."""
    axes.set_xscale("function", functions=(lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * x**2))
    axes.set_xticks(rates, [f"{rate * 100:g}" for rate in rates])
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.0004 * max(rates), max(rates) * 1.02)
    axes.set_xlabel("lost packets, %")


def bent(rates: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """A polyline that is straight on a linear axis, as points for the square-root axis."""
    if len(rates) < 2:
        return np.array(rates), np.array(values)
    fine = np.unique(np.concatenate([np.linspace(a, b, 20) for a, b in pairwise(rates)]))
    return fine, np.interp(fine, rates, values)


def draw_curve(axes, codec: str, rates: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Line and markers; its right end."""
    style = line_style(codec)
    axes.plot(*bent(rates, values), **{**style, "marker": ""})
    axes.plot(rates, values, **{**style, "linestyle": ""})
    return rates[-1], values[-1]


def mark_crossover(axes, rate: float, height: float) -> None:
    """A line down to the axis and a ring where the curves cross."""
    low = axes.get_ylim()[0]
    axes.plot([rate, rate], [low, height], color=colour("ink"), linewidth=1, linestyle=(0, (4, 2)), zorder=5)
    axes.set_ylim(bottom=low)
    axes.plot([rate], [height], marker="o", markersize=11, markerfacecolor="none", color=colour("ink"), zorder=6)
    axes.annotate(
        percent(rate), (rate, low), xytext=(4, 5), textcoords="offset points", fontweight="bold", fontsize=9, zorder=7
    )


def rate_plot(curves: RateCurves, folder: Path, name: str) -> Picture:
    """Rate and quality without loss."""
    with plotting(folder, name) as (axes, result):
        axes.set_xscale("log")
        ticks = sorted({round(x) for points in curves.points.values() for x, _ in points})
        for codec, points in curves.points.items():
            axes.plot(*zip(*points, strict=True), **line_style(codec))
        wanted = sorted(curves.bitrates)
        axes.set_xticks(wanted or ticks, [f"{tick:g}" for tick in wanted or ticks])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="all datagrams, kbit/s", ylabel=MEASURES[curves.measure])
        axes.set_title(f"No loss, {curves.path}")
        label_ends(axes, {codec: points[-1] for codec, points in curves.points.items()})
    against = ", ".join(f"{name_of(codec)} {told}" for codec, told in curves.verdicts.items())
    caption = (
        f"{measure_name(curves.measure)} against the bits on the wire, headers included, without loss "
        f"({curves.path}), mean over {plural(len(curves.sequences), 'sequence')}. Bits that LRAE takes more or less at "
        f"equal quality (BD-rate, not extrapolated): {against}."
    )
    return Picture(name, f"{measure_name(curves.measure)} without loss", result["svg"], caption)


def tail_delay_plot(contest: Contest, folder: Path, name: str) -> Picture:
    """P98 of the delay against loss."""
    with plotting(folder, name) as (axes, result):
        loss_axis(axes, contest.rates)
        ends = {}
        for codec in contest.codecs:
            rates, entries = contest.curve(codec)
            values = [entry.mean("delay_p98_ms") for entry in entries]
            known = [(rate, value) for rate, value in zip(rates, values, strict=True) if value is not None]
            if known:
                ends[codec] = draw_curve(axes, codec, *zip(*known, strict=True))
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        ticks = [tick for tick in (50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000) if low <= tick <= high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.set(ylabel="delay P98, ms")
        axes.set_title(str(contest.condition))
        legend_below(axes, list(ends))
    caption = (
        "From a frame's capture until it or a newer picture is on screen, 98th percentile of a session, mean over "
        f"{_sequences(contest)}; each codec with the redundancy that is best for {measure_name(contest.measure)}."
    )
    return Picture(name, "Tail of the delay against loss", result["svg"], caption)


def bar_plot(contest: Contest, folder: Path, name: str, column: str, label: str, scale=lambda entry, x: x) -> Picture:
    """Bars of a column by loss rate and codec. scale: (entry, mean of the column) -> what is drawn."""
    chosen = thinned(contest.cells, BAR_LOSSES)
    codecs = contest.codecs
    width = 0.84 / len(codecs)
    with plotting(folder, name) as (axes, result):
        for place, codec in enumerate(codecs):
            for group, cell in enumerate(chosen):
                if codec not in cell.codecs:
                    continue
                entry = cell.oracle(codec)
                value = entry.mean(column)
                x = group + (place - (len(codecs) - 1) / 2) * width
                if value is None:
                    axes.text(x, 0, "?", ha="center", va="bottom", fontsize=7, color=colour(codec))
                    continue
                height = scale(entry, value)
                axes.bar(x, height, width * 0.9, color=colour(codec), zorder=3)
                if codec == LRAE:
                    axes.annotate(
                        f"{height:.2g}", (x, height), xytext=(0, 2), textcoords="offset points",
                        ha="center", fontsize=7.5, fontweight="bold", color=colour(codec),
                    )  # fmt: skip
        axes.set_xticks(range(len(chosen)), [f"{cell.rate * 100:g}" for cell in chosen])
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, max(axes.get_ylim()[1] * 1.05, 0.1))
        axes.set(xlabel="lost packets, %", ylabel=label)
        axes.set_title(str(contest.condition))
        legend_below(axes, codecs, patch=True)
    caption = (
        f"{label[0].upper() + label[1:]}, mean over {_sequences(contest)}; each codec with the redundancy that is best "
        f"for {measure_name(contest.measure)}. The figure over a bar is LRAE's."
    )
    return Picture(name, label[0].upper() + label[1:], result["svg"], caption)


def thinned(cells: Sequence[Cell], most: int) -> list[Cell]:
    """At most so many of them, both ends among them."""
    if len(cells) <= most:
        return list(cells)
    return [cells[i] for i in np.unique(np.linspace(0, len(cells) - 1, most).round().astype(int))]


def accuracy_plot(contest: Contest, folder: Path, name: str) -> Picture | None:
    """Action accuracy against loss; None where no row has it."""
    curves = {}
    for codec in contest.codecs:
        pairs = [(rate, entry.mean(ACCURACY)) for rate, entry in zip(*contest.curve(codec), strict=True)]
        if known := [(rate, 100 * value) for rate, value in pairs if value is not None]:
            curves[codec] = known
    if not curves:
        return None
    with plotting(folder, name) as (axes, result):
        loss_axis(axes, contest.rates)
        ends = {codec: draw_curve(axes, codec, *zip(*points, strict=True)) for codec, points in curves.items()}
        axes.set(ylabel="actions named right, %")
        axes.set_title(str(contest.condition))
        label_ends(axes, ends)
    caption = f"Share of instants at which the action is named right, mean over {_sequences(contest)}."
    return Picture(name, "Action accuracy against loss", result["svg"], caption)


def process_plot(cells: Sequence[Cell], names: Sequence[str], folder: Path, name: str) -> Picture:
    """Processes that are no independent loss: a row each, a dot for each codec. names: of the processes."""
    measure, condition = cells[0].measure, cells[0].condition
    codecs = [LRAE, *sorted({codec for cell in cells for codec in cell.codecs} - {LRAE})]
    with plotting(folder, name, size=(SIZE[0], 1.4 + 0.42 * len(cells))) as (axes, result):
        for height, cell in enumerate(cells):
            values = {codec: cell.oracle(codec).value for codec in cell.codecs}
            axes.plot([min(values.values()), max(values.values())], [height] * 2, color=colour("shade"), zorder=1)
            for codec, value in values.items():
                style = {**line_style(codec), "linestyle": "", "markersize": 8 if codec == LRAE else 5}
                axes.plot([value], [height], **style)
        axes.set_yticks(range(len(cells)), names)
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=MEASURES[measure])
        axes.set_title(str(condition))
        legend_below(axes, codecs)
    caption = (
        f"{measure_name(measure)} under bursts and captured traces at equal total bits ({condition}); each "
        "conventional codec has its best redundancy for each process in hindsight."
    )
    return Picture(name, f"{measure_name(measure)} under bursts and traces", result["svg"], caption)


def plural(count: int, word: str) -> str:
    """Two sequences, one sequence."""
    return f"{count} {word}{'s' * (count != 1)}"


def _sequences(contest: Contest) -> str:
    counts = sorted({len(cell.sequences) for cell in contest.cells})
    runs = sorted({len(cell.oracle(LRAE).runs) // max(1, len(cell.sequences)) for cell in contest.cells})
    among = plural(counts[-1], "sequence") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} sequences"
    return f"{among} and {plural(runs[-1], 'seed')}"
