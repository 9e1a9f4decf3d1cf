"""From symbols to the picture: the part that sender and receiver both run (prediction and synthesis)."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from lrae.codec import conceal, impute, impute_kernels, intra_base, motion_field
from lrae.codec.loop_filter import LoopFilter
from lrae.codec.motion_field import CELL, MotionField
from lrae.codec.picture_kernels import add_residual, show
from lrae.codec.quantiser import dequantise
from lrae.codec.state import CodedFrame, Recall, State
from lrae.codec.tiles import Rectangle
from lrae.codec.types import IMPUTE
from lrae.codec.warp_kernels import SCRATCH, warp
from lrae.errors import ConfigError
from lrae.models.blocks import (
    BLOCK,
    CHROMA_GAIN,
    COEFFICIENTS,
    CORNERS,
    PACKED,
    clip,
    from_blocks,
    join,
    padded,
    split,
)
from lrae.models.imputer import describe
from lrae.models.rates import step_of
from lrae.models.store import Model
from lrae.models.tables import TRANSFORMS, ClassTables


class Reconstructor:
    """Prediction and synthesis of one model at one picture size, on one device."""

    def __init__(self, model: Model, width: int, height: int, device: torch.device, impute: str = "full"):
        if impute not in IMPUTE:
            raise ConfigError(f"unknown concealment {impute!r}: {', '.join(IMPUTE)}")
        self.impute = impute
        self.width, self.height = padded(width), padded(height)
        self.grid = self.height // BLOCK, self.width // BLOCK
        self.device, self.model = device, model
        self.network = copy.deepcopy(model.network).to(device, torch.bfloat16, memory_format=torch.channels_last)
        self.tables = model.tables
        self.linear = {kind: w.to(device) for kind, w in model.linear.items()}
        # for add_residual(): [TRANSFORMS, CHANNELS, COEFFICIENTS], and how far levels lie towards zero
        self._basis = {kind: w[:, CORNERS].transpose(1, 2).contiguous().numpy() for kind, w in model.linear.items()}
        self._points = {kind: reconstruction_points(tables) for kind, tables in model.tables.items()}

        self.loop_filter = None if model.loop_filter is None else LoopFilter(model.loop_filter.numpy())
        # inter branches that training has not touched add nothing: they are not run
        tails = self.network.g_c.tail, self.network.g_s.tail
        touched = any(bool(p.any()) for tail in tails for p in tail.parameters())
        self.idle = not touched and self.network.g_a is None
        self.imputer = None
        if self.network.imputer is not None and impute in ("still", "full"):
            self.imputer = self.network.imputer.float()
            # a few rows: not worth another device
            self._chooser = copy.deepcopy(self.imputer).to("cpu", torch.bfloat16, memory_format=torch.channels_last)

    def grey(self) -> State:
        """The state before any frame."""
        rows, columns = self.height // 8, self.width // 8
        memory = self.network.config.memory
        packed = torch.zeros(1, PACKED, rows, columns, device=self.device)
        memory = torch.zeros(1, memory, rows, columns, device=self.device)
        recall = None
        if self.imputer is not None:
            nothing = torch.zeros(1, self.imputer.memory, *self.grid, device=self.device)
            recall = Recall(nothing, nothing)
        luma = np.full((self.height, self.width), 128, np.uint8)
        picture = torch.zeros(12 * rows, 8 * columns, device=self.device)
        return State(packed, memory, picture, luma, recall=recall)

    def rate(self, q: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(q int64 [1], step fp32 [1]) on the device."""
        return torch.tensor([q], device=self.device), torch.tensor([step_of(q)], device=self.device)

    def after(self, state: State, coded: CodedFrame, number: int) -> State:
        """The state after a frame of which anything may be missing."""
        if coded.missing is None:
            return self.finish(state, coded, self.predict(state, coded), number)[1]
        # where nothing arrived, no neighbour tells how things move, and the network chooses worse than the last motion
        partly = not coded.intra and coded.unmoved is not None and coded.unmoved.any() and not coded.unmoved.all()
        if self.imputer is not None and partly:
            coded, moved = self.imputed(coded, state)
            return self.finish(state, coded, self.predict(state, coded, moved), number)[1]
        coded = conceal.fill(coded, state, self.impute)
        return self.finish(state, coded, self.predict(state, coded), number)[1]

    def imputed(self, coded: CodedFrame, state: State) -> tuple[CodedFrame, torch.Tensor]:
        """The frame with motion everywhere, and the last picture moved, packed: by what arrived and, where no motion
        did, as the imputer chooses."""
        look = self.look(coded, state)
        moved = _packed(look.blended(self._chooser, state.recall.h.cpu(), coded.unmoved)).to(self.device)
        return replace(coded, motion=MotionField(look.fields[conceal.CHANGE], coded.motion.size)), moved

    def look(self, coded: CodedFrame, state: State) -> impute.Look:
        """What the imputer chooses from. coded: not filled."""
        last = self.motion_before(state).vectors
        picture, still = state.picture.cpu().numpy(), _cells(state.packed.cpu())
        return impute.look(picture, still, coded.motion, coded.unmoved, last, coded.q)

    def motion_before(self, state: State) -> MotionField:
        """The last frame's motion; none after an intra frame."""
        return state.motion or MotionField.still(self.height, self.width)

    def motion_features(self, motion: MotionField, last: MotionField) -> torch.Tensor:
        """lrae.models.imputer.describe(), fp32 [1,3,h,w]."""
        if self.device.type == "cpu":
            vectors = map(np.ascontiguousarray, (motion.vectors, last.vectors))
            return torch.from_numpy(impute_kernels.describe(*vectors))[None]
        return describe(self.vectors(motion), self.vectors(last))

    def vectors(self, field: MotionField) -> torch.Tensor:
        """A field as fp32 [1,2,h,w], quarter-pel."""
        return torch.from_numpy(field.vectors).permute(2, 0, 1)[None].to(self.device).float()

    def predict(self, state: State, coded: CodedFrame, moved: torch.Tensor | None = None) -> tuple:
        """What the residual is added to: (ctx, features) of an inter frame, (base picture,) of an intra frame.
        moved: the last picture moved, where that is known already."""
        if coded.intra:
            return (self.base(coded.base, coded.q),)
        return self.context(state, coded.motion, coded.q, moved)

    def context(
        self, state: State, motion: MotionField, q: int, moved: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction of the next frame: (ctx fp32 [1,96,h,w], features)."""
        warped = move(state.picture, motion) if moved is None else moved
        if self.idle:
            return warped, state.memory  # finish() hands the memory on
        memory = warp_memory(state.memory, motion)
        return self.network.context(warped, memory, *self.rate(q))

    def base(self, base: np.ndarray, q: int) -> torch.Tensor:
        """The smooth picture of an intra frame's base, fp32 [1,96,h,w]."""
        means = base * intra_base.steps(q)[:, None, None]
        return intra_base.picture(torch.from_numpy(means)[None].to(self.device))

    def residual(self, coded: CodedFrame, grid: tuple[int, int] | None = None) -> torch.Tensor:
        """Levels to the packed residual picture, fp32 [1,96,h,w], of the whole picture or of a region's grid."""
        rows, columns = grid or self.grid
        if self.device.type == "cpu":
            cells = np.zeros((2 * rows, 2 * columns, PACKED), np.float32)
            self._add(coded, cells)
            return _packed(cells)
        kind = "intra" if coded.intra else "inter"
        values = dequantise(coded.levels, coded.classes, self.tables[kind]) * np.float32(step_of(coded.q))
        blocks = torch.zeros(len(values), COEFFICIENTS, device=self.device)
        transform = coded.classes % TRANSFORMS
        busy = (coded.levels != 0).any(1)
        for t in range(TRANSFORMS):
            where = np.flatnonzero(busy & (transform == t))
            if len(where):
                part = torch.from_numpy(values[where]).to(self.device)
                blocks[torch.from_numpy(where).to(self.device)] = part @ self.linear[kind][t].T
        return from_blocks(blocks, 1, rows, columns)

    def _add(self, coded: CodedFrame, cells: np.ndarray) -> np.ndarray:
        """Add the residual to a packed picture [h,w,96]. Returns its mean magnitude at each position, float32 [N]."""
        kind, levels = "intra" if coded.intra else "inter", np.ascontiguousarray(coded.levels)
        activity = np.empty(len(levels), np.float32)
        step = np.float32(step_of(coded.q))
        add_residual(
            levels, levels.view(np.int64), coded.classes, self._points[kind], step, self._basis[kind], cells, activity
        )
        return activity

    def finish(
        self, state: State, coded: CodedFrame, prediction: tuple, number: int, source: list[np.ndarray] | None = None
    ) -> tuple[CodedFrame, State]:
        """Synthesis: the frame, and the state after it. state: before it; prediction: what predict() gave, which
        becomes the picture, in place; source: the planes coded, uint8, if loop filters are still to be chosen."""
        if self.idle and not coded.intra and self.device.type == "cpu":
            packed, memory = prediction
            cells = _cells(packed)
            activity = torch.from_numpy(self._add(coded, cells)).reshape(1, 1, *self.grid)
            packed = _packed(cells)
        else:
            residual = self.residual(coded)
            activity = F.avg_pool2d(residual.abs().mean(1, keepdim=True), 2)
            if coded.intra:
                packed, memory = self.network.synthesis_intra(prediction[0], residual, *self.rate(coded.q))
            elif self.idle:
                packed, memory = prediction[0] + residual, prediction[1]
            else:
                packed, memory = self.network.synthesis(prediction[0], residual, prediction[1], *self.rate(coded.q))
        for where, patch in coded.patches:
            packed[0][:, 2 * where.top : 2 * where.bottom, 2 * where.left : 2 * where.right] = self.patch(patch, where)
        if coded.intra and coded.missing is not None:
            packed = conceal.keep(packed, coded, state)
        if self.loop_filter is not None and not coded.intra and (source is not None or coded.filters is not None):
            coded, packed = self.filtered(packed, coded, source)
        packed, picture, luma = shown(packed)
        recall = self.recall(state, coded, activity)
        return coded, State(packed, memory, picture, luma, coded.motion, number, coded.q, recall)

    def filtered(
        self, packed: torch.Tensor, coded: CodedFrame, source: list[np.ndarray] | None
    ) -> tuple[CodedFrame, torch.Tensor]:
        """A packed picture through the loop filters, on the CPU in place, and the frame with its filters."""
        cells = _cells(packed.cpu())
        if source is None:
            self.loop_filter(cells, coded)
        else:
            coded = replace(coded, filters=self.loop_filter.choose(cells, coded, source))
        return coded, _packed(cells).to(self.device)

    def recall(self, state: State, coded: CodedFrame, activity: torch.Tensor) -> Recall | None:
        """The imputer's memory after a frame; intra frames clear it. activity: mean magnitude of the residual at each
        position, fp32 [1,1,h/2,w/2]."""
        if self.imputer is None:
            return None
        h, c = state.recall.h, state.recall.c
        if coded.intra:
            return Recall(torch.zeros_like(h), torch.zeros_like(c))
        if self.impute == "full":
            h, c = self.imputer.recollect(self.remembered(state, coded, activity), h, c)
        return Recall(h, c)

    def remembered(self, state: State, coded: CodedFrame, activity: torch.Tensor) -> torch.Tensor:
        """What the imputer's memory sees of an inter frame, fp32 [1,REMEMBERED,h/2,w/2]."""
        missing = torch.zeros(1, 1, *self.grid, device=self.device)
        if coded.missing is not None:
            missing = torch.from_numpy(coded.missing)[None, None].to(self.device)
        motion = F.avg_pool2d(self.motion_features(coded.motion, self.motion_before(state)), 2)
        return torch.cat((activity / 8, motion, missing), 1)

    def patch(self, patch: CodedFrame, where: Rectangle) -> torch.Tensor:
        """The packed picture [96,h,w] of a tile coded without prediction."""
        residual = self.residual(patch, where.grid)
        return self.network.synthesis_intra(self.base(patch.base, patch.q), residual, *self.rate(patch.q))[0][0]

    def picture(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The planes of the padded picture, uint8."""
        chroma = (state.picture[self.height :] / CHROMA_GAIN + 128.5).to(torch.uint8).cpu().numpy()
        return state.luma, chroma[:, ::2], chroma[:, 1::2]


def shown(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A packed picture clipped, on the CPU in place, to what 8 bits can show; the same as State.picture; its luma."""
    if packed.device.type == "cpu":
        cells = _cells(packed)
        rows, columns, _ = cells.shape
        picture = np.empty((12 * rows, 8 * columns), np.float32)
        luma = np.empty((8 * rows, 8 * columns), np.uint8)
        show(cells, picture, luma)
        return _packed(cells), torch.from_numpy(picture), luma
    packed = clip(packed)
    y, u, v = split(packed)
    picture = torch.cat((y[0, 0], torch.stack((u[0, 0], v[0, 0]), -1).flatten(1)))
    return packed, picture, (y[0, 0] + 128.5).to(torch.uint8).cpu().numpy()


def move(picture: torch.Tensor, motion: MotionField, rows: np.ndarray | None = None) -> torch.Tensor:
    """Move a picture as State has it: packed [1,96,h,w], or, on the CPU, only some rows (int64) of it."""
    lines, columns = motion.size.shape
    if picture.device.type == "cpu":
        rows = np.arange(lines) if rows is None else rows
        cells = np.empty((len(rows), columns, PACKED), np.float32)
        warp(picture.numpy(), np.ascontiguousarray(motion.vectors), rows, np.empty(SCRATCH, np.float32), cells)
        return _packed(cells)
    luma, chroma = picture[: CELL * lines], picture[CELL * lines :].reshape(CELL // 2 * lines, -1, 2)
    fields = (torch.from_numpy(motion_field.dense(motion, cell))[None].to(picture.device) for cell in (8, 4))
    y = warp_torch(luma[None, None], next(fields), 8)
    uv = warp_torch(chroma.permute(2, 0, 1)[None], next(fields), 4)
    return join(y, uv[:, :1], uv[:, 1:])


def reconstruction_points(tables: ClassTables) -> np.ndarray:
    """How far levels 1 and larger ones of each class and channel lie towards zero, float32 [CLASSES, CHANNELS, 2]."""
    return np.concatenate((tables.shift, np.zeros((1, 2), np.float32)))[tables.rows]


def _cells(packed: torch.Tensor) -> np.ndarray:
    """A packed picture [1,96,h,w] on the CPU as float32 [h,w,96], the same memory where channels are last."""
    return packed.contiguous(memory_format=torch.channels_last)[0].permute(1, 2, 0).numpy()


def _packed(cells: np.ndarray) -> torch.Tensor:
    """The inverse of _cells."""
    return torch.from_numpy(cells).permute(2, 0, 1)[None]


def warp_torch(planes: torch.Tensor, field: torch.Tensor, cell: int) -> torch.Tensor:
    """The same for planes [B,C,H,W] and displacements [B,H,W,2] constant in cells of `cell` pixels."""
    sides = [motion_field.overlap(side, cell) for side in planes.shape[-2:]]
    (rows, row_weight), (columns, column_weight) = [
        (torch.from_numpy(other).to(field.device), torch.from_numpy(weight).to(field.device)) for other, weight in sides
    ]
    own = sample_torch(planes, field, "bicubic")
    vertical = sample_torch(planes, field[:, rows], "bilinear")
    horizontal = sample_torch(planes, field[:, :, columns], "bilinear")
    return own + row_weight[:, None] * (vertical - own) + column_weight * (horizontal - own)


def sample_torch(planes: torch.Tensor, field: torch.Tensor, mode: str) -> torch.Tensor:
    """planes [B,C,H,W] at p + field [B,H,W,2] (pixels, x then y); the border is repeated."""
    height, width = planes.shape[-2:]
    x = torch.arange(width, device=planes.device, dtype=torch.float32)
    y = torch.arange(height, device=planes.device, dtype=torch.float32)
    grid = torch.stack(
        ((x + field[..., 0]) * (2 / (width - 1)) - 1, (y[:, None] + field[..., 1]) * (2 / (height - 1)) - 1), -1
    )
    return F.grid_sample(planes, grid, mode, "border", align_corners=True)


def warp_memory(memory: torch.Tensor, motion: MotionField) -> torch.Tensor:
    """Move the memory [1,m,h,w], a value to each cell of the field, by the cells' vectors."""
    small = motion.vectors * np.float32(0.25 / motion_field.CELL)
    grid = torch.from_numpy(small)[None].to(memory.device)
    return sample_torch(memory.float(), grid, "bilinear").contiguous(memory_format=torch.channels_last)
