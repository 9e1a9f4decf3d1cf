"""What the benchmarks show people: rich tables and a plot."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from lrae.experiments.plot import drawing
from lrae.experiments.rd import LRAE


def percent(value: float | None) -> str:
    """A BD-rate for people."""
    return "no overlap" if value is None else f"{value:+.1f} %"


def rd_tables(result: dict) -> list[Table]:
    """Points (means over clips), BD-rates, BD-rate by clip."""
    points = Table(title="Rate and quality, mean over clips", title_justify="left")
    points.add_column("codec", no_wrap=True)
    for column in ("q/CRF", "bpp", "wire bpp", "PSNR-YUV", "last 8", "SSIM dB"):
        points.add_column(column, justify="right")
    for codec, row in result["points"].items():
        for index, point in enumerate(row):
            points.add_row(
                codec if index == 0 else "",
                f"{point['setting']:g}",
                f"{point['bpp']:.4f}",
                f"{point['wire_bpp']:.4f}",
                f"{point['psnr_yuv']:.2f}",
                f"{point['psnr_end']:.2f}",
                f"{point['ssim_db']:.2f}",
                end_section=index == len(row) - 1,
            )
    anchors = list(result["bd_rate"])
    summary = Table(title="BD-rate of LRAE: bits at equal PSNR-YUV", title_justify="left")
    summary.add_column("")
    for anchor in anchors:
        summary.add_column(f"vs\n{anchor}", justify="right", no_wrap=True)
    rows = {
        "mean curve": "bd_rate",
        "mean curve, on the wire": "bd_rate_wire",
        "mean of clips": "bd_rate_clip_mean",
    }
    for label, key in rows.items():
        summary.add_row(label, *(percent(result[key][anchor]) for anchor in anchors))
    summary.add_section()
    for name, clip in result["clips"].items():
        summary.add_row(name, *(percent(clip["bd_rate"][anchor]) for anchor in anchors))
    return [points, summary]


def speed_tables(result: dict) -> list[Table]:
    """Frames per second; milliseconds by stage."""
    threads = result["threads"]
    counts = f"threads: torch {threads['torch']}, OpenCV {threads['opencv']}"
    title = f"Frames per second (median), q {result['q']}, {counts}"
    rates = Table(title=title, title_justify="left")
    for column in ("size", "encode", "decode", "encode P95", "decode P95", "entropy share", "bpp"):
        rates.add_column(column, justify="left" if column == "size" else "right")
    for size, fps in result["fps"].items():
        detail = result["detail"][size]
        rates.add_row(
            size,
            f"{fps['encode']:.1f}",
            f"{fps['decode']:.1f}",
            *(f"{detail[side]['p95_ms']:.1f} ms" for side in ("encode", "decode")),
            f"{detail['encode']['entropy_share']:.0%} / {detail['decode']['entropy_share']:.0%}",
            f"{detail['bpp']:.3f}",
        )
    stages = Table(title="Milliseconds by stage (median)", title_justify="left")
    stages.add_column("stage")
    for size in result["fps"]:
        stages.add_column(size, justify="right")
    for side in ("encode", "decode"):
        names = next(iter(result["detail"].values()))[side]["stages_ms"]
        for name in names:
            values = (detail[side]["stages_ms"].get(name, 0.0) for detail in result["detail"].values())
            stages.add_row(f"{side}: {name}", *(f"{value:.2f}" for value in values))
        totals = (detail[side]["median_ms"] for detail in result["detail"].values())
        stages.add_row(f"{side}: all", *(f"{value:.2f}" for value in totals), end_section=True)
    stages.caption = f"sessions: {result['session_us_per_packet']:.1f} µs a packet, both cores together"
    return [rates, stages]


def plot_rd(result: dict, path: Path) -> None:
    """Mean curves as a PNG (or what the suffix says). ConfigError, SinkError as drawing()."""
    with drawing(path) as axes:
        for codec, row in result["points"].items():
            style = {"linewidth": 2.5, "marker": "o"} if codec == LRAE else {"marker": "."}
            axes.plot([p["bpp"] for p in row], [p["psnr_yuv"] for p in row], label=codec, **style)
        axes.set(xscale="log", xlabel="bits per luma sample", ylabel="PSNR-YUV 6:1:1, dB")
        axes.set_title(f"No loss, mean over {len(result['clips'])} clips")
        axes.grid(True, which="both", alpha=0.3)
        axes.legend()
