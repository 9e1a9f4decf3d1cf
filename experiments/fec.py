"""lrae-bench fec: how fast the codes are, and what parity leaves lost at which price."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lrae.codec.fec import FecDecoder, FecEncoder, Plan
from lrae.experiments import fec_loss
from lrae.experiments.arguments import count
from lrae.experiments.pool import progress

SIZE = 1200  # bytes of a packet, block code
STREAM = Plan("streaming", 2, 4)  # at 2 Mbit/s, 30 fps, 7 packets a frame: 29 %
STREAM_PACKETS, STREAM_SIZE = 7, 1190
FRAMES, WARM = 2200, 200  # of each; the first are not timed
ROUNDS = 10  # in which the rest is cut: the best round's median counts, so that other programs weigh less


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("fec", help="speed of the erasure codes; what parity leaves lost, without the codec")
    sub.set_defaults(run=run_fec, threads=None)
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.add_argument("--traces", type=Path, metavar="DIR", help="also these loss traces (any .csv or .txt below it)")
    sub.add_argument("--packets", type=count, default=4, metavar="K", help="packets per frame (default 4)")
    sub.add_argument("--frames", type=count, default=1500, help="frames of each run (default 1500)")
    slack = "frames that a recovered packet may be late (default 3)"
    sub.add_argument("--slack", type=int, choices=range(8), default=3, help=slack)


def typical(times: list[float]) -> float:
    """Seconds: the least median of ROUNDS."""
    return min(float(np.median(part)) for part in np.array_split(times, min(ROUNDS, len(times))))


def time_code(packets: int, size: int, plan: Plan, lost: Callable[[int], set[int]]) -> tuple[list[float], list[float]]:
    """Seconds per frame that (FecEncoder, FecDecoder) take. lost(number): which packets of a frame are."""
    rng, clock = random.Random(0), time.perf_counter
    media = [[rng.randbytes(size) for _ in range(packets)] for _ in range(8)]
    encoder, decoder = FecEncoder(), FecDecoder()
    encode_times, recover_times = [], []
    for number in range(FRAMES):
        frame, gone, found = media[number % 8], lost(number), []
        arrived = [(index, packet) for index, packet in enumerate(frame) if index not in gone]
        begin = clock()
        parity = encoder.add(number, frame, plan)
        encoded = clock()
        for index, packet in arrived:
            decoder.add(number, index, packet)
        for packet in parity:
            found += decoder.add_parity(packet)
        decoder.forget(number - 3)
        recover_times.append(clock() - encoded)
        encode_times.append(encoded - begin)
        if any(got.packet != media[got.number % 8][got.index] for got in found):
            raise RuntimeError("the code recovers something else")
    if decoder.counts["recovered"] != sum(len(lost(number)) for number in range(FRAMES)):
        raise RuntimeError("the code does not recover what it can")
    return encode_times[WARM:], recover_times[WARM:]


def speed() -> dict:
    """Media bytes per second and milliseconds per frame."""

    def random_four(packets: int, number: int) -> set[int]:
        return set(random.Random(number).sample(range(packets), 4))

    def rate(times: list[float], media: int) -> float:
        return round(media / typical(times) / 1e6, 1)

    patterns = [random_four(10, number) for number in range(FRAMES)]
    block_encode, block_recover = time_code(10, SIZE, Plan("block", 4), patterns.__getitem__)
    patterns_20 = [random_four(20, number) | random_four(20, number + FRAMES) for number in range(FRAMES)]
    big_encode, big_recover = time_code(20, SIZE, Plan("block", 8), patterns_20.__getitem__)
    # every 4th frame loses 4 of its 7 packets, which takes the parity of two frames
    encode, recover = time_code(
        STREAM_PACKETS, STREAM_SIZE, STREAM, lambda n: {0, 2, 3, 6} if n % 4 == 0 and n < FRAMES - 1 else set()
    )
    media, stream_media = 10 * SIZE, STREAM_PACKETS * STREAM_SIZE
    fours = [sum(recover[at : at + 4]) for at in range(0, len(recover), 4)]
    mending = recover[1::4]  # the frames whose parity brings packets back
    milliseconds = {
        name: {"median": round(typical(t) * 1e3, 3), "p99": round(float(np.quantile(t, 0.99)) * 1e3, 3)}
        for name, t in {
            "block_encode": block_encode,
            "block_recover": block_recover,
            "streaming_encode": encode,
            "streaming_recover": mending,
        }.items()
    }
    return {
        "mb_per_s": {
            "block_encode": rate(block_encode, media),
            "block_recover": rate(block_recover, media),
            "streaming_encode": rate(encode, stream_media),
            "streaming_recover": rate(fours, 4 * stream_media),
        },
        "mb_per_s_20_8": {
            "block_encode": rate(big_encode, 20 * SIZE),
            "block_recover": rate(big_recover, 20 * SIZE),
        },
        "ms_per_frame": milliseconds,
    }


def run_fec(args: argparse.Namespace, console: Console) -> dict:
    """`lrae-bench fec`: measure and print."""
    result = speed()
    console.print(speed_table(result))
    models, others = dict(fec_loss.MODELS), []
    if args.traces:
        found, others = fec_loss.trace_models(args.traces)
        models |= found
    runs: dict[str, dict] = {}
    with progress(len(models) * len(fec_loss.SCHEMES)) as step:
        for model, scheme, outcome in fec_loss.compare(models, args.packets, args.frames, args.slack):
            row = runs.setdefault(model, {"mean_burst": models[model].mean_burst, "schemes": {}})
            row["lost"] = outcome.lost
            kept = {"left": outcome.left, "damage": outcome.damage, "parity": outcome.parity, "cost_db": outcome.cost}
            row["schemes"][scheme] = kept
            step(f"{model}, {scheme}")
    result |= {"runs": runs, "skipped": others, "unequal": fec_loss.unequal(2 * args.packets, args.frames, args.slack)}
    result["regret_db"] = regret(runs)
    console.print(loss_table(runs))
    console.print(f"The policy against the best of the others, on average: {result['regret_db']:+.2f} dB of cost")
    console.print(unequal_table(result["unequal"]))
    return result


def regret(runs: dict) -> float:
    """dB by which the policy is behind the best fixed scheme in hindsight, in the mean of the loss processes."""
    costs = [{name: entry["cost_db"] for name, entry in row["schemes"].items()} for row in runs.values()]
    return float(np.mean([cost.pop("policy") - min(cost.values()) for cost in costs]))


def speed_table(result: dict) -> Table:
    """MB/s and milliseconds."""
    table = Table(title="Speed: media through the codes", title_justify="left")
    for column in ("", "MB/s", "ms per frame", "P99"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, rate in result["mb_per_s"].items():
        times = result["ms_per_frame"][name]
        table.add_row(name.replace("_", ", "), f"{rate:.0f}", f"{times['median']:.3f}", f"{times['p99']:.3f}")
    return table


def loss_table(runs: dict) -> Table:
    """Per loss process and scheme: dB, and what is left."""
    title = "Cost in dB (bold: within 0.1 dB of the least); packets still lost; the policy's share of parity"
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("lost, burst", max_width=24)
    for scheme in fec_loss.SCHEMES:
        table.add_column(scheme.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for model, row in runs.items():
        least = min(entry["cost_db"] for entry in row["schemes"].values())
        cells = []
        for scheme, entry in row["schemes"].items():
            style = "bold" if entry["cost_db"] <= least + 0.1 else "dim"
            parity = f"\n+{entry['parity']:.1%}" if scheme == "policy" else ""
            cells.append(f"[{style}]{entry['cost_db']:.2f}[/]\n{entry['left']:.1%}{parity}")
        table.add_row(f"{model}\n{row['lost']:.1%}, {row['mean_burst']:.1f}", *cells)
    return table


def unequal_table(rows: dict) -> Table:
    """Worth still lost with equal and unequal protection."""
    title = "Worth still lost (%), one packet of a frame having half of it: equal protection, unequal"
    table = Table(title=title, title_justify="left")
    table.add_column("loss process")
    for scheme in next(iter(rows.values())):
        table.add_column(scheme, justify="right")
    for model, row in rows.items():
        table.add_row(model, *(f"{100 * equal:.2f}  {100 * other:.2f}" for equal, other in row.values()))
    return table
