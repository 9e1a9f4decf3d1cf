"""Fit the integer tables of the motion coder to fields that the search really chose on training clips."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from lrae.codec import motion
from lrae.codec.motion import MotionField
from lrae.codec.motion_coding import symbols
from lrae.codec.motion_tables import NEW, SHAPES, TOTAL, first_rows
from lrae.codec.reconstruct import move
from lrae.models.blocks import split

Counts = dict[str, np.ndarray]
DEAD_ZONE = 0.64  # rounding threshold, in steps


def fit(fields: Sequence[MotionField], sets: int = 4, rounds: int = 8) -> dict[str, np.ndarray]:
    """Tables for `fields`: name -> integer frequencies [sets, contexts, symbols], each row's sum 2^16.

    The sets are fitted like a vector quantiser: each frame goes to the set that codes it in the fewest bits.
    """
    counts = [count(field) for field in fields]
    totals = np.array([each["kind"][:, NEW].sum() for each in counts])
    chosen = np.searchsorted(np.quantile(totals, np.arange(1, sets) / sets), totals)
    for _ in range(rounds):
        tables = _tables(counts, chosen, sets)
        lengths = np.zeros((len(counts), sets))
        for name, table in tables.items():
            used = np.stack([each[name] for each in counts])
            lengths -= np.tensordot(used, np.log2(table / TOTAL), ((1, 2), (1, 2)))
        chosen = lengths.argmin(1)
    return _tables(counts, chosen, sets)


def count(field: MotionField) -> Counts:
    """How often each context and symbol is used: name -> [contexts, symbols]."""
    row, symbol = symbols(field).T
    firsts, result = first_rows(), {}
    for name, shape in SHAPES.items():
        here = (row >= firsts[name]) & (row < firsts[name] + shape[0])
        result[name] = np.zeros(shape)
        np.add.at(result[name], (row[here] - firsts[name], symbol[here]), 1)
    return result


def _tables(counts: list[Counts], chosen: np.ndarray, sets: int) -> dict[str, np.ndarray]:
    tables = {}
    for name in SHAPES:
        stacked = np.stack([each[name] for each in counts])
        by_set = np.stack([stacked[chosen == index].sum(0) for index in range(sets)])
        overall = by_set.sum((0, 1)) + 0.5
        pooled = by_set.sum(0) + 10 * overall / overall.sum()  # a context seen rarely leans on all contexts,
        smooth = by_set + 20 * (pooled / pooled.sum(-1, keepdims=True))  # a set seen rarely on all sets
        tables[name] = _integers(smooth)
    return tables


def _integers(weights: np.ndarray) -> np.ndarray:
    """Positive integers proportional to weights along the last axis, with the sum 2^16 exactly."""
    symbols = weights.shape[-1]
    share = weights / weights.sum(-1, keepdims=True)
    result = 1 + np.floor(share * (TOTAL - symbols)).astype(np.int64)
    rest = TOTAL - result.sum(-1)
    np.put_along_axis(
        result,
        result.argmax(-1)[..., None],
        np.take_along_axis(result, result.argmax(-1)[..., None], -1) + rest[..., None],
        -1,
    )
    return result


def fields_of(luma: Iterable[np.ndarray], step: float) -> Iterator[MotionField]:
    """The fields a closed loop at this quantiser step would send: luma only, 16x16 DCT, dead zone."""
    basis = cv2.dct(np.eye(16, dtype=np.float32), flags=cv2.DCT_ROWS).T
    reference = None
    for frame in luma:
        current = frame.astype(np.float32)
        if reference is None:
            prediction = np.full_like(current, 128)
        else:
            field = motion.search(frame, reference, step)
            prediction = _moved(reference, field)
            yield field
        reference = np.clip(prediction + _requantised(current - prediction, basis, step), 0, 255)


def _moved(luma: np.ndarray, field: MotionField) -> np.ndarray:
    """Luma alone, float32 [H, W] in grey levels, moved as the codec does."""
    grey = np.zeros((len(luma) // 2, luma.shape[1]), np.float32)
    return split(move(torch.from_numpy(np.concatenate((luma - 128, grey))), field))[0][0, 0].numpy() + 128


def _requantised(residual: np.ndarray, basis: np.ndarray, step: float) -> np.ndarray:
    height, width = residual.shape
    blocks = residual.reshape(height // 16, 16, width // 16, 16).transpose(0, 2, 1, 3)
    coefficients = basis @ blocks @ basis.T
    levels = np.floor(np.abs(coefficients) / step + 1 - DEAD_ZONE)
    blocks = basis.T @ (np.sign(coefficients) * levels * step) @ basis
    return blocks.transpose(0, 2, 1, 3).reshape(height, width)


def luma_of(path: Path, frames: int) -> list[np.ndarray]:
    """The first frames' luma, uint8, cropped to multiples of 16."""
    result = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.reformat(format="gray").to_ndarray()
            height, width = (side // 16 * 16 for side in plane.shape)
            result.append(np.ascontiguousarray(plane[:height, :width]))
            if len(result) == frames:
                break
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=24, help="frames per clip and step")
    parser.add_argument("--steps", type=float, nargs="+", default=[48, 24, 12, 6])
    parser.add_argument("--out", type=Path, default=Path("codec/motion_tables.json"))
    args = parser.parse_args()
    fields = []
    for path in args.clips:
        luma = luma_of(path, args.frames)
        for step in args.steps:
            fields.extend(fields_of(luma, step))
    write(fit(fields), args.out)


def write(tables: dict[str, np.ndarray], path: Path) -> None:
    """One context a line, so that a new fit reads as a diff."""
    entries = []
    for name, table in tables.items():
        sets = ["[" + ",\n ".join(json.dumps(row.tolist()) for row in rows) + "]" for rows in table]
        entries.append(f'"{name}": [' + ",\n".join(sets) + "]")
    path.write_text("{\n" + ",\n".join(entries) + "\n}\n")


if __name__ == "__main__":
    main()
