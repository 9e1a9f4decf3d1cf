"""The subcommands of lrae-bench that lose packets: loss, impute, recovery, progressive, utility."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lrae.codec.types import IMPUTE, LAYOUTS, MAX_PACKETS, TILES
from lrae.experiments import concealment, loss_rates, progressive, recovery, utility
from lrae.experiments.arguments import count, levels, names_of, rates
from lrae.experiments.clips import find_clips
from lrae.experiments.loss import Condition
from lrae.experiments.loss_rates import Variant
from lrae.experiments.loss_tables import (
    impute_tables,
    loss_tables,
    plot_loss,
    plot_progressive,
    progressive_tables,
    recovery_tables,
    utility_tables,
)
from lrae.experiments.pool import Setup

QS = (10, 22, 34)
RATES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
IMPUTE_QS, IMPUTE_RATES = (22,), (0.1, 0.2, 0.3, 0.5)
LONG = 200  # frames of the runs without feedback
VARIANTS = ("feedback", "no_feedback", "refresh", "no_imputer")
PLAIN = IMPUTE[0]  # the concealment of "no_imputer"


def add_commands(commands, common: argparse.ArgumentParser) -> None:
    """commands: what add_subparsers() gave; common: the options of every subcommand."""
    levelled = _parent("--q", type=levels, default=QS, help="comma-separated q, 0 to 63 (default 10,22,34)")
    jobs = _parent("--jobs", type=count, default=2, help="processes, a thread each (default 2)")
    packets = "packets per frame, more where a frame does not fit (default 4)"
    channel = _parent("--packets", type=_packets, default=4, metavar="K", help=packets)
    channel.add_argument("--layout", default=LAYOUTS[0], choices=LAYOUTS)
    channel.add_argument("--rtt", type=float, default=0.1, help="seconds until feedback is there (default 0.1)")
    split = _parent("--packets", type=_packets, default=8, metavar="K", help="packets per frame (default 8)")
    plot = {"type": Path, "metavar": "FILE.png"}

    sub = commands.add_parser("loss", parents=[common, levelled, jobs, channel], help="quality over loss rate, no FEC")
    sub.set_defaults(run=_command(_loss, loss_tables, plot_loss))
    sub.add_argument("--loss", type=rates, default=RATES, help="comma-separated rates of lost packets, 0 to below 1")
    variants = f"of {', '.join(VARIANTS)} (default: all that the layout allows)"
    sub.add_argument("--variants", type=names_of(VARIANTS), help=variants)
    sub.add_argument("--burst", action="store_true", help="also bursty losses of the same rates")
    without = f"frames of the runs without feedback (default {LONG})"
    sub.add_argument("--no-feedback-frames", type=count, default=LONG, metavar="N", help=without)
    sub.add_argument("--plot", **plot)

    sub = commands.add_parser("impute", parents=[common, jobs, channel], help="ablation of what stands in for losses")
    sub.set_defaults(run=_command(_impute, impute_tables))
    sub.add_argument("--q", type=levels, default=IMPUTE_QS, help="comma-separated q, 0 to 63 (default 22)")
    sub.add_argument("--loss", type=rates, default=IMPUTE_RATES, help="comma-separated rates (default .1,.2,.3,.5)")
    sub.add_argument("--names", type=names_of(IMPUTE), default=IMPUTE, help=f"of {', '.join(IMPUTE)}")

    sub = commands.add_parser(
        "recovery",
        parents=[common, levelled, jobs, channel],
        help="frames until a stream is well after a burst; replay time",
    )
    sub.set_defaults(run=_command(_recovery, recovery_tables))
    sub.add_argument("--seeds", type=count, default=3, help="bursts tried on each clip (default 3)")

    shared = [common, levelled, jobs, split]
    sub = commands.add_parser("progressive", parents=shared, help="quality of the first k of K packets")
    sub.set_defaults(run=_command(_progressive, progressive_tables, plot_progressive))
    sub.add_argument("--layouts", type=names_of(LAYOUTS), default=LAYOUTS, help=f"of {', '.join(LAYOUTS)}")
    sub.add_argument("--plot", **plot)

    sub = commands.add_parser("utility", parents=shared, help="what losing a packet does, against guesses")
    sub.set_defaults(run=_command(_utility, utility_tables))
    sub.add_argument("--classifier", default="actions", help="name of shipped weights or a file (default actions)")


def _parent(*option: str, **how) -> argparse.ArgumentParser:
    """An option that several subcommands have."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(*option, **how)
    return parser


def _packets(text: str) -> int:
    value = count(text)
    if value > MAX_PACKETS:
        raise argparse.ArgumentTypeError(f"at most {MAX_PACKETS} packets")
    return value


def _command(
    measure: Callable[[argparse.Namespace, Sequence[str], Setup], dict],
    tables: Callable[[dict], list[Table]],
    plot: Callable[[dict, Path], None] | None = None,
) -> Callable[[argparse.Namespace, Console], dict]:
    """A subcommand: measure the clips, print the tables, plot where asked for."""

    def run(args: argparse.Namespace, console: Console) -> dict:
        result = measure(args, find_clips(args.clips or "sample"), Setup(args.model, args.device, args.jobs))
        for table in tables(result):
            console.print(table)
        if plot and args.plot:
            plot(result, args.plot)
        return result

    return run


def _base(args: argparse.Namespace) -> Condition:
    return Condition(packets=args.packets, layout=args.layout, rtt=args.rtt)


def _variants(args: argparse.Namespace) -> list[Variant]:
    long = args.no_feedback_frames
    known = {
        "feedback": Variant("feedback"),
        "no_feedback": Variant("no_feedback", "none", frames=long),
        "refresh": Variant("refresh", "refresh", frames=long),
        "no_imputer": Variant("no_imputer", impute=PLAIN),
    }
    names = args.variants or [name for name in VARIANTS if name != "refresh" or args.layout == LAYOUTS[TILES]]
    return [known[name] for name in names]


def _loss(args: argparse.Namespace, clips: Sequence[str], setup: Setup) -> dict:
    base, variants = _base(args), _variants(args)
    return loss_rates.measure(clips, args.frames, args.q, args.loss, variants, burst=args.burst, base=base, setup=setup)


def _impute(args: argparse.Namespace, clips: Sequence[str], setup: Setup) -> dict:
    return concealment.measure(clips, args.frames, args.q, args.loss, args.names, base=_base(args), setup=setup)


def _recovery(args: argparse.Namespace, clips: Sequence[str], setup: Setup) -> dict:
    return recovery.measure(clips, args.frames, args.q, args.seeds, base=_base(args), setup=setup)


def _progressive(args: argparse.Namespace, clips: Sequence[str], setup: Setup) -> dict:
    return progressive.measure(clips, args.frames, args.q, args.packets, args.layouts, setup=setup)


def _utility(args: argparse.Namespace, clips: Sequence[str], setup: Setup) -> dict:
    return utility.measure(clips, args.frames, args.q, args.packets, classifier=args.classifier, setup=setup)
