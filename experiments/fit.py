"""`lrae-replay fit`: a loss model for a recorded trace, as --loss takes it, and how well it fits."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lrae.channel.loss_fit import WINDOWS, Fitted, burst_lengths, fit_loss, window_deviation
from lrae.channel.loss_trace import read_loss_trace
from lrae.errors import ConfigError

BURSTS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, None))  # lengths, from and to
MAX_PACKETS = 1_000_000  # a minute or two


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("fit", help="a loss model for a recorded trace, as --loss takes it")
    sub.set_defaults(run=run_fit)
    sub.add_argument("trace", metavar="FILE", help="0/1 per packet, or CSV with a column 'lost'")
    sub.add_argument("--json", type=Path, metavar="OUT", help="write the result here")


def run_fit(args: argparse.Namespace, console: Console) -> dict:
    """Fit and print. Raises TraceError, ConfigError."""
    pattern = read_loss_trace(args.trace).pattern
    if len(pattern) > MAX_PACKETS:
        raise ConfigError(f"{args.trace}: {len(pattern)} packets are too many for a fit, {MAX_PACKETS} are enough")
    result = fit_report(np.frombuffer(pattern, np.uint8))
    for table in fit_tables(result, args.trace):
        console.print(table)
    console.print(f"--loss {result['loss']}", highlight=False)
    return result


def fit_report(lost: np.ndarray) -> dict:
    """JSON-ready. lost: 0/1 [n].

    loss: the model with the lowest BIC, in the text of --loss. models: all that were fitted, the best first. lost: of
    `packets`. mean_burst, longest_burst: packets. bursts: share of the bursts of so many packets, measured and by the
    best model; distance: the largest difference of the two distribution functions. deviation: standard deviation of
    the share lost of so many packets in a row, likewise (measured: None where the trace has not two such windows).
    """
    models = fit_loss(lost)
    best, lengths = models[0].model, _run_lengths(lost)
    longest = int(lengths.max(initial=0))
    beyond = burst_lengths(best, max(longest, BURSTS[-1][0]))  # P(longer than k)
    measured = _longer_than(lengths, len(beyond))
    return {
        "loss": str(best),
        "packets": int(lost.size),
        "lost": float(lost.mean()),
        "mean_burst": float(lengths.mean()) if lengths.size else 0.0,
        "longest_burst": longest,
        "models": [_model_row(fitted) for fitted in models],
        "bursts": [
            {"from": a, "to": b, "measured": _between(measured, a, b), "fitted": _between(beyond, a, b)}
            for a, b in BURSTS
        ],
        "distance": float(np.abs(measured - beyond).max()) if lengths.size else 0.0,
        "deviation": [
            {"packets": window, "measured": _deviation(lost, window), "fitted": window_deviation(best, window)}
            for window in WINDOWS
        ],
    }


def _model_row(fitted: Fitted) -> dict:
    row = asdict(fitted) | {"model": str(fitted.model)}
    return row | {"lost": fitted.model.mean, "mean_burst": fitted.model.mean_burst}


def _run_lengths(lost: np.ndarray) -> np.ndarray:
    """Packets of each run of losses."""
    edges = np.diff(np.concatenate([[0], lost, [0]]).astype(np.int8))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


def _longer_than(lengths: np.ndarray, count: int) -> np.ndarray:
    """Share of the runs that are longer than k, k = 0 … count - 1."""
    if not lengths.size:
        return np.zeros(count)
    return 1 - np.cumsum(np.bincount(lengths, minlength=count)) / lengths.size


def _between(beyond: np.ndarray, first: int, last: int | None) -> float:
    return float(beyond[first - 1] - (0.0 if last is None else beyond[last]))


def _deviation(lost: np.ndarray, window: int) -> float | None:
    """Over all windows, overlapping."""
    if lost.size < 2 * window:
        return None
    total = np.concatenate([[0], np.cumsum(lost, dtype=np.int64)])
    return float(np.std(total[window:] - total[:-window]) / window)


def fit_tables(result: dict, name: str) -> list[Table]:
    """Models; bursts; windows."""
    facts = f"{result['packets']} packets, {result['lost']:.2%} lost, bursts of {result['mean_burst']:.2f} on average"
    models = Table(title=f"{name}: {facts}", title_justify="left")
    for column in ("model", "--loss", "lost", "mean burst", "log likelihood", "BIC"):
        models.add_column(column, justify="left" if column in ("model", "--loss") else "right", no_wrap=True)
    for row in result["models"]:
        figures = f"{row['lost']:.2%}", f"{row['mean_burst']:.2f}", f"{row['log_likelihood']:.1f}", f"{row['bic']:.1f}"
        models.add_row(row["name"], row["model"], *figures)
    bursts = Table(title=f"Lengths of bursts (largest difference {result['distance']:.3f})", title_justify="left")
    windows = Table(title="Standard deviation of the loss rate", title_justify="left")
    for table, first in ((bursts, "packets"), (windows, "over packets")):
        for column in (first, "measured", "fitted"):
            table.add_column(column, justify="right")
    for row in result["bursts"]:
        several = f"{row['from']}" if row["to"] == row["from"] else f"{row['from']} to {row['to'] or '…'}"
        bursts.add_row(several, f"{row['measured']:.2%}", f"{row['fitted']:.2%}")
    for row in result["deviation"]:
        measured = "" if row["measured"] is None else f"{row['measured']:.2%}"
        windows.add_row(str(row["packets"]), measured, f"{row['fitted']:.2%}")
    return [models, bursts, windows]
