"""BD-rate: how many more bits one codec needs than another at equal quality, over the range both reach."""

from __future__ import annotations

from collections.abc import Sequence

from lrae.errors import ConfigError

Curve = Sequence[tuple[float, float]]  # (rate, quality in dB), any order
METHOD = "akima"  # Herglotz et al. 2022: nearest to exhaustively sampled curves
MIN_POINTS = 4  # Akima's; also what the common test conditions ask for
MIN_OVERLAP = 0.5  # dB; less says nothing


def rising(curve: Curve) -> list[tuple[float, float]]:
    """The curve by rate, without the points that cost more and are not better."""
    points: list[tuple[float, float]] = []
    for rate, quality in sorted(curve):
        if not points or quality > points[-1][1]:
            points.append((rate, quality))
    return points


def bd_rate(anchor: Curve, test: Curve) -> float | None:
    """Percent more (+) or fewer (-) bits that `test` takes than `anchor` (Bjontegaard, VCEG-M33).

    Interpolated with Akima splines over the qualities that both reach. None: they overlap by less than
    MIN_OVERLAP dB, or a curve has fewer than MIN_POINTS rising points. ConfigError: package missing.
    """
    try:
        import bjontegaard
    except ImportError as error:
        raise ConfigError("BD-rate needs the bench extra: pip install bjontegaard") from error
    anchor, test = rising(anchor), rising(test)
    if min(len(anchor), len(test)) < MIN_POINTS:
        return None
    overlap = min(anchor[-1][1], test[-1][1]) - max(anchor[0][1], test[0][1])
    if overlap < MIN_OVERLAP:
        return None
    columns = [[point[axis] for point in curve] for curve in (anchor, test) for axis in (0, 1)]
    value = bjontegaard.bd_rate(*columns, method=METHOD, require_matching_points=False, min_overlap=0)
    return float(value)
