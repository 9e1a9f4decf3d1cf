"""What the benchmarks of loss show people: rich tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from lrae.experiments.plot import drawing

SHARES = ("extra_bits", "undecodable")
TITLES = {
    "psnr_drop": "PSNR-YUV lost, dB",
    "ssim_drop": "SSIM lost, dB",
    "extra_bits": "extra bits",
    "undecodable": "frames that show nothing new",
    "psnr_yuv": "PSNR-YUV, dB",
    "ssim_db": "SSIM, dB",
}


def cell(value: float | None, measure: str) -> str:
    """A figure for people."""
    if value is None:
        return "–"
    return f"{value:+.1%}" if measure == "extra_bits" else f"{value:.1%}" if measure in SHARES else f"{value:.2f}"


def make_table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """First column to the left, the others to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index > 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def loss_tables(result: dict) -> list[Table]:
    """A table for each measure: variants down, loss rates across; one for each q of the quality lost."""
    tables = []
    for measure in ("psnr_drop", "ssim_drop", "extra_bits", "undecodable"):
        for kind, part in (("independent", result), ("bursty", result.get("bursty"))):
            if part is not None:
                tables.append(_rates(f"{TITLES[measure]}: {kind} losses", part, measure, result["variants"]))
    for q, kinds in result["by_q"].items():
        tables.append(_rates(f"PSNR-YUV lost, dB: q {q}", kinds["independent"], "psnr_drop", result["variants"]))
    return tables


def key_of(measure: str, variant: str) -> str:
    """The key of a variant's measure in a result; "feedback" is the rule and has no suffix."""
    return measure if variant == "feedback" else f"{measure}_{variant}"


def _rates(title: str, part: dict, measure: str, variants: Sequence[str]) -> Table:
    rows = {variant: part[key_of(measure, variant)] for variant in variants}
    rates = list(rows[variants[0]])
    lines = [[v.replace("_", " "), *(cell(row.get(r), measure) for r in rates)] for v, row in rows.items()]
    return make_table(title, ("", *(f"{float(rate):.0%}" for rate in rates)), lines)


def plot_loss(result: dict, path: Path) -> None:
    """Quality over loss rate, a curve for each variant; bursty losses dashed. Errors as drawing()."""
    with drawing(path) as axes:
        for index, variant in enumerate(result["variants"]):
            for part, style in ((result, "-"), (result.get("bursty"), "--")):
                if part is None:
                    continue
                row = part[key_of("psnr_yuv", variant)]
                label = variant.replace("_", " ") + (", bursty" if style == "--" else "")
                axes.plot(
                    [100 * float(r) for r in row], list(row.values()), style, marker=".", color=f"C{index}", label=label
                )
        axes.set(xlabel="packets lost, %", ylabel="PSNR-YUV 6:1:1, dB")
        axes.grid(True, alpha=0.3)
        axes.legend()


def impute_tables(result: dict) -> list[Table]:
    """PSNR and SSIM by concealment over loss rate, with and without feedback; frames lost whole."""
    tables = []
    names = list(result["whole_frame_gain"])
    for resync, words in (("feedback", "with feedback"), ("none", "without feedback")):
        part = {f"{key}_{name}": row for name in names for key, row in result[resync][name].items()}
        for measure in ("psnr_yuv", "ssim_db"):
            tables.append(_rates(f"{TITLES[measure]}: {words}", part, measure, names))
    title = "A frame of which nothing arrived: dB above repeating the last"
    gain = result["whole_frame_gain"]
    rows = [[name, *(cell(gain[name][key], "psnr_yuv") for key in ("moving", "all"))] for name in names]
    return [*tables, make_table(title, ("", "moving clips", "all clips"), rows)]


def recovery_tables(result: dict) -> list[Table]:
    """Frames until a stream is well after a burst, by clip; times."""

    def shown(value: int | None) -> str:
        return "never" if value is None else str(value)

    rows = [
        [row["clip"], str(row["q"]), " ".join(map(shown, row["frames"])), str(row["target"]), f"{row['depth']:.2f}"]
        for row in result["runs"]
    ]
    title = f"Frames after a burst until within {result['within_db']:g} dB of no loss"
    table = make_table(title, ("clip", "q", "frames, by seed", "target", "dB lost at its end"), rows)
    table.caption = f"median {shown(result['recovery_frames'])}; later than the target: {result['late_share']:.0%}"
    times = result["times"]
    title = f"Milliseconds of CPU time (median) at {times['size']}, {times['threads']} torch threads"
    rows = [[key.removesuffix("_ms").replace("_", " "), f"{times[key]:.1f}"] for key in times if key.endswith("_ms")]
    return [table, make_table(title, ("", "ms"), rows)]


def progressive_tables(result: dict) -> list[Table]:
    """Quality over the first k of K packets, and how many of the bytes they are."""
    tables = []
    for measure, title in (("psnr_yuv", "PSNR-YUV, dB"), ("ssim_db", "SSIM, dB"), ("bytes", "Share of the bytes")):
        values = [layout[measure] for layout in result["layouts"].values()]
        shown = "{:.0%}" if measure == "bytes" else "{:.2f}"
        rows = [[str(k), *map(shown.format, row)] for k, row in enumerate(zip(*values, strict=True))]
        title = f"{title}: the first k of {result['packets']} packets"
        tables.append(make_table(title, ("k", *result["layouts"]), rows))
    return tables


def plot_progressive(result: dict, path: Path) -> None:
    """Quality over k and over the bytes that arrived, a curve for each layout. Errors as drawing()."""
    with drawing(path, columns=2) as (over_k, over_bytes):
        for name, layout in result["layouts"].items():
            over_k.plot(range(result["packets"] + 1), layout["psnr_yuv"], marker="o", label=name)
            over_bytes.plot([100 * share for share in layout["bytes"]], layout["psnr_yuv"], marker="o", label=name)
        over_k.set(xlabel=f"packets that arrived, the first of {result['packets']}", ylabel="PSNR-YUV 6:1:1, dB")
        over_bytes.set(xlabel="bytes that arrived, %", ylabel="PSNR-YUV 6:1:1, dB")
        for axes in (over_k, over_bytes):
            axes.grid(True, alpha=0.3)
            axes.legend()


def utility_tables(result: dict) -> list[Table]:
    """Rank correlations of every guess with every effect; times."""
    tables = []
    for key, words in (("rank", "all packets of a clip"), ("within", "the packets of a frame")):
        effects = list(next(iter(result[key].values())))
        rows = [[name, *(f"{values[effect]:.2f}" for effect in effects)] for name, values in result[key].items()]
        tables.append(make_table(f"Rank correlation with the effect of a loss: {words}", ("", *effects), rows))
    times = result["times"]
    tables[-1].caption = f"live: {times['utility_ms']:.2f} ms, {times['share']:.1%} of the time of encoding"
    return tables
