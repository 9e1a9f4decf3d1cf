"""How the report's pictures look: one colour-blind-safe palette, drawn once, shown in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lrae.errors import ConfigError, SinkError
from lrae.experiments.replay.report_rows import LRAE

# Okabe and Ito, "Color Universal Design" (2008), a little darker on white and lighter on black; by role (light, dark)
PALETTE = {
    "ink": ("#1b1b1d", "#e8e8ea"),
    "faint": ("#6b6b70", "#a0a0a6"),
    "grid": ("#e3e3e6", "#333338"),
    "shade": ("#d0d0d4", "#48484e"),
    LRAE: ("#d24b00", "#ff8c4b"),
    "h264": ("#0072b2", "#56a8e0"),
    "h264-ir": ("#5b6fd6", "#98a6ff"),
    "h265": ("#00916a", "#2fc79b"),
    "vp8": ("#b8860b", "#e6b422"),
    "vp9": ("#a6478a", "#e08cc4"),
    "av1": ("#3f9fcf", "#8fd3f7"),
}
SPARE = ("#57606a", "#8c959f")
MARKERS = {LRAE: "o", "h264": "s", "h264-ir": "x", "h265": "^", "vp8": "D", "vp9": "v", "av1": "P"}
NAMES = {
    LRAE: "LRAE",
    "h264": "H.264",
    "h264-ir": "H.264 intra refresh",
    "h265": "H.265",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
}
SIZE = (4.8, 3.5)  # inches: at the width of a phone its text is still 9 px
MARGIN = 6  # points between direct labels


def colour(role: str) -> str:
    """As drawn, that is in light."""
    return PALETTE.get(role, SPARE)[0]


def name_of(codec: str) -> str:
    """For people."""
    return NAMES.get(codec, codec)


def style_css() -> str:
    """The palette as custom properties, for both colour schemes."""
    roles = {**PALETTE, "spare": SPARE}
    light, dark = (";".join(f"--{role}:{pair[i]}" for role, pair in roles.items()) for i in (0, 1))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


@dataclass
class Picture:
    """A plot for the page. svg: colours as custom properties. name: of its PNG, without suffix. caption: what it
    shows. wide: takes the whole width of the page."""

    name: str
    title: str
    svg: str
    caption: str
    wide: bool = False


@contextmanager
def plotting(folder: Path | None, name: str, rows: int = 1, size: tuple[float, float] = SIZE, **kwargs) -> Iterator:
    """Yields (axes, result): draw on the axes (a list if there are several rows); afterwards result["svg"] is the
    picture for the page and FOLDER/NAME.png is written, if there is a folder. ConfigError: no matplotlib; SinkError:
    not writable."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("a report needs the bench extra: pip install matplotlib bjontegaard") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    result: dict[str, str] = {}
    with matplotlib.rc_context(_settings(name)):
        figure, axes = pyplot.subplots(rows, 1, figsize=size, layout="constrained", **kwargs)
        try:
            yield axes, result
            if folder:
                figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white")
            stream = io.StringIO()
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            result["svg"] = _themed(stream.getvalue())
        except OSError as error:
            raise SinkError(f"{folder / name}.png: {error.strerror}") from error
        finally:
            pyplot.close(figure)


def _settings(name: str) -> dict:
    ink, faint = colour("ink"), colour("faint")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": faint,
        "axes.labelcolor": faint,
        "axes.titlecolor": ink,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": colour("grid"),
        "grid.linewidth": 0.8,
        "text.color": ink,
        "xtick.color": faint,
        "ytick.color": faint,
        "lines.linewidth": 1.4,
        "lines.markersize": 4,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }


def _themed(svg: str) -> str:
    """Inline SVG whose colours follow the page's scheme and whose size follows the column's width."""
    svg = svg[svg.index("<svg") :]
    for role, (light, _) in {**PALETTE, "spare": SPARE}.items():
        svg = svg.replace(light, f"var(--{role})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", svg)
    head, body = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} width="100%" role="img">{body}'


def line_style(codec: str) -> dict:
    """Keyword arguments of plot()."""
    ours = codec == LRAE
    return {
        "color": colour(codec),
        "marker": MARKERS.get(codec, "x"),
        "linewidth": 2.6 if ours else 1.3,
        "markersize": 5 if ours else 3.6,
        "zorder": 4 if ours else 3,
    }


def label_ends(axes, ends: dict[str, tuple[float, float]]) -> None:
    """Names at the right ends of curves, pushed apart so that none covers another. ends: (x, y) by codec."""
    axes.figure.draw_without_rendering()
    points_per_unit = axes.transData.transform([(0, 1), (0, 0)])
    scale = (points_per_unit[0, 1] - points_per_unit[1, 1]) * 72 / axes.figure.dpi
    order = sorted(ends, key=lambda codec: ends[codec][1])
    heights = spread([ends[codec][1] * scale for codec in order], 10)
    for codec, height in zip(order, heights, strict=True):
        x, y = ends[codec]
        axes.annotate(
            name_of(codec),
            (x, y),
            xytext=(MARGIN, height - y * scale),
            textcoords="offset points",
            color=colour(codec),
            fontsize=8.5,
            fontweight="bold" if codec == LRAE else "normal",
            va="center",
            annotation_clip=False,
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Rising heights, moved as little as keeps them `least` apart: neighbours that are too close share one middle."""
    groups: list[list[float]] = []  # [middle, members]
    for height in heights:
        groups.append([height, 1])
        while len(groups) > 1:
            (a, n), (b, m) = groups[-2:]
            if b - a >= least * (n + m) / 2:
                break
            groups[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return [middle + least * (i - (count - 1) / 2) for middle, count in groups for i in range(int(count))]


def legend_below(axes, codecs: Sequence[str], patch: bool = False) -> None:
    """Codecs in a row under the plot, where labels at curves would cover each other."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def handle(codec: str):
        if patch:
            return Patch(color=colour(codec), label=name_of(codec))
        return Line2D([], [], label=name_of(codec), **line_style(codec))

    handles = [handle(codec) for codec in codecs]
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=6, columnspacing=1.0, handlelength=1.2)
