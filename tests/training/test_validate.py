"""Two sets of weights are compared at equal bits, at every rate."""

from __future__ import annotations

import pytest

from lrae.training.init import bootstrap
from lrae.training.validate import LOSS, Point, as_rows, compare, show, validate

OLD = [Point(q, 0.01 * 2**i, 30.0 + 3 * i, float("nan")) for i, q in enumerate((10, 22, 34, 46))]


def moved(bits=1.0, quality=0.0):
    return [Point(p.q, p.bpp * bits, p.psnr + quality, p.lossy_psnr) for p in OLD]


def test_the_same_curve_gains_nothing_and_is_not_better():
    gains, bd, better = compare(OLD, OLD)
    assert gains == pytest.approx([0] * 4) and bd == pytest.approx(0, abs=1e-6) and not better


def test_half_the_bits_is_one_doubling_of_decibels_better_at_every_rate():
    gains, bd, better = compare(moved(bits=0.5), OLD)
    assert gains == pytest.approx([3] * 4), "the first point lies left of the old curve, which goes on straight"
    assert bd == pytest.approx(-50) and better


def test_more_quality_at_the_same_bits_counts_too():
    gains, bd, better = compare(moved(quality=0.5), OLD)
    assert gains == pytest.approx([0.5] * 4) and bd < -5 and better


def test_a_loss_at_one_rate_is_not_better_at_every_rate():
    mixed = [*moved(quality=1.0)[:3], moved(quality=-0.1)[3]]
    gains, bd, better = compare(mixed, OLD)
    assert gains == pytest.approx([1, 1, 1, -0.1]) and bd < 0 and not better


def test_curves_that_do_not_overlap_have_no_bd_rate(capsys):
    far = moved(quality=50)
    assert compare(far, OLD)[1:] == (None, True)
    show(far, OLD)
    assert "no overlap" in capsys.readouterr().out


def test_validation_measures_real_bytes_with_and_without_loss(tmp_path, write_video, clips):
    write_video(tmp_path / "clip.mkv", clips[0].pictures[:6])
    points = validate(bootstrap(), str(tmp_path), frames=6, quiet=True)
    assert [p.q for p in points] == [10, 22, 34, 46]
    assert [p.bpp for p in points] == sorted(p.bpp for p in points)
    assert [p.psnr for p in points] == sorted(p.psnr for p in points)
    assert all(15 < p.lossy_psnr < p.psnr for p in points), f"{LOSS:.0%} of the packets were lost"
    assert as_rows(points)[0] == {
        "q": 10, "bpp": points[0].bpp, "psnr": points[0].psnr, "lossy_psnr": points[0].lossy_psnr
    }  # fmt: skip
