"""What encoder and decoder remember between frames: an explicit value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lrae.codec.motion_field import MotionField
from lrae.codec.tiles import Rectangle


@dataclass(frozen=True, eq=False)
class State:
    """packed: the last picture, fp32 [1,96,H/8,W/8]; memory: [1,m,H/8,W/8]; picture: the same as planes, fp32
    [3/2 H,W]: rows of Y, then rows of U and V by turns, values as in packed; luma: its Y, uint8 [H,W];
    motion: the last frame's field, None after an intra frame; number and q: the last frame's;
    recall: the imputer's memory, None without imputer."""

    packed: torch.Tensor
    memory: torch.Tensor
    picture: torch.Tensor
    luma: np.ndarray
    motion: MotionField | None = None
    number: int = -1
    q: int = 32
    recall: Recall | None = None


@dataclass(frozen=True, eq=False)
class Recall:
    """What the imputer remembers: its ConvLSTM's h and c, fp32 [1,M,H/16,W/16]."""

    h: torch.Tensor
    c: torch.Tensor


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """The quantised content of one frame, or of one region of it, as it comes out of entropy decoding.

    classes: uint8 [rows·columns]; levels: int16 [rows·columns, CHANNELS], zero where not received.
    motion: inter frames only. base: intra frames only, int16 [3, rows, columns] (codec/intra_base.py).
    patches: tiles of an inter frame that are coded without prediction, each an intra CodedFrame of its own.
    filters: uint8 [rows, columns], the loop filter of each position (0: none); None: no filter anywhere.
    spare: motion to fall back on, which travels beside another region (codec/spare.py).
    missing: float32 [rows, columns], the share of each position's levels that did not arrive, 1 where class and
        base did not arrive either; None: all arrived. unmoved: bool [2·rows, 2·columns], where no motion arrived.
    """

    intra: bool
    q: int
    classes: np.ndarray | None = None  # None only while the encoder has not chosen yet
    levels: np.ndarray | None = None
    motion: MotionField | None = None
    base: np.ndarray | None = None
    patches: tuple[tuple[Rectangle, CodedFrame], ...] = ()
    filters: np.ndarray | None = None
    spare: Spare | None = None
    missing: np.ndarray | None = None
    unmoved: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Spare:
    """A second, often coarser description of the motion of some tiles.

    motion: the whole picture's field, right where `tiles` (bool [tile rows, tile columns]) says so.
    """

    motion: MotionField
    tiles: np.ndarray
