"""A plot in a file: matplotlib where it is installed, one-line errors where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrae.errors import ConfigError, SinkError


@contextmanager
def drawing(path: Path, columns: int = 1) -> Iterator:
    """Axes (a list of them if there are several columns) to draw on; saved as the suffix says.

    ConfigError: no matplotlib; SinkError: not writable.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("a plot needs the bench extra: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (7, 5) if columns == 1 else (5 * columns, 4)
    figure, axes = pyplot.subplots(1, columns, figsize=size, layout="constrained")
    try:
        yield axes
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise SinkError(f"{path}: {error}") from error
    finally:
        pyplot.close(figure)
