"""One training step: four frames of every stream through the real quantiser, and a batch of intra pictures.

The gradient of the code length. The quantiser picks the level that minimises (u − û)² + λ·bits, a minimum over
levels, so that by the envelope theorem the gradient of the whole cost with respect to the coefficient u is
2(u − û): the gradient of the distortion with the dequantised residual held constant. Neither an interpolated
code length nor a straight-through estimator is needed, and the rate is in the loss exactly.
"""

from __future__ import annotations

import numpy as np
import torch

from lrae.codec import intra_base, motion_field
from lrae.codec.quantiser import Quantiser, dequantise, whole
from lrae.codec.reconstruct import sample_torch, warp_torch
from lrae.models.blocks import clip, from_blocks, pack, to_blocks, unpack
from lrae.models.network import LraeNetwork
from lrae.models.rates import frame_q, step_of
from lrae.models.store import KINDS, Model
from lrae.models.tables import CHANNELS, TRANSFORMS
from lrae.training.footage import to_frame
from lrae.training.streams import Streams, to_packed

MSE_FLOOR = 0.5  # below it (51 dB) a picture is as good as it needs to be
PREDICTION_WEIGHT = 0.5  # of the cost before synthesis against the cost after it


class Stepper:
    """Holds the closed-loop state of the streams. device: where the networks run."""

    def __init__(self, model: Model, network: LraeNetwork, streams: Streams, device: torch.device, bf16: bool = True):
        self.network, self.streams, self.device, self.bf16 = network, streams, device, bf16
        self.quantiser = {kind: Quantiser(model.tables[kind]) for kind in KINDS}
        self.linear = {kind: w.to(device) for kind, w in model.linear.items()}
        self.tables = model.tables
        self.grid = (streams.side // 16,) * 2
        size = (len(streams.slots), 96, streams.side // 8, streams.side // 8)
        self.packed = torch.zeros(size, device=device)
        self.memory = torch.zeros(size[0], network.config.memory, *size[2:], device=device)

    def mixed(self) -> torch.autocast:
        """Convolutions in bf16; what is summed over frames stays fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def residual(self, target: torch.Tensor, step: torch.Tensor, kind: str) -> torch.Tensor:
        """The quantised residual [B,96,h,w] of target [B,96,h,w]; no gradient."""
        with torch.no_grad():
            batch = len(target)
            blocks = to_blocks(target / step[:, None, None, None])
            linear = self.linear[kind]
            coefficients = (blocks @ linear.permute(1, 0, 2).reshape(384, -1)).cpu().numpy()
            classes, levels = self.quantiser[kind].choose(whole(coefficients), self.grid)
            values = torch.from_numpy(dequantise(levels, classes, self.tables[kind])).to(self.device)
            spread = torch.zeros(len(values), TRANSFORMS, CHANNELS, device=self.device)
            transform = torch.from_numpy(classes.astype(np.int64) % TRANSFORMS).to(self.device)
            spread[torch.arange(len(values), device=self.device), transform] = values
            vectors = spread.reshape(len(values), -1) @ linear.permute(0, 2, 1).reshape(-1, 384)
            return from_blocks(vectors, batch, *self.grid) * step[:, None, None, None]

    def rates(self, rates: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        steps = [step_of(q) for q in rates]
        return torch.tensor(rates, device=self.device), torch.tensor(steps, device=self.device)

    def base(self, pictures: np.ndarray, rates: list[int]) -> torch.Tensor:
        """The smooth pictures [B,96,h,w] of the quantised block means."""
        means = []
        for picture, q in zip(pictures, rates, strict=True):
            frame = to_frame(picture)
            means.append(intra_base.quantise(frame.y, frame.u, frame.v, q) * intra_base.steps(q)[:, None, None])
        return intra_base.picture(torch.from_numpy(np.stack(means)).to(self.device))

    def intra(self, pictures: np.ndarray, rates: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(reconstruction, memory, relative error after synthesis) of single pictures."""
        target, (q, step) = to_packed(pictures, self.device), self.rates(rates)
        base = self.base(pictures, rates)
        residual = self.residual(target - base, step, "intra")
        with self.mixed():
            picture, memory = self.network.synthesis_intra(base, residual, q, step)
        before = mse(base + residual, target).clamp(min=MSE_FLOOR)
        return clip(picture), memory, mse(picture, target) / before

    def restart(self) -> None:
        """Give ended slots a new clip, starting from the intra codec's own reconstruction."""
        ended = [i for i, slot in enumerate(self.streams.slots) if slot.ended or slot.position == 0]
        if not ended:
            return
        for i in ended:
            if self.streams.slots[i].ended:
                self.streams.slots[i] = self.streams.fresh()
        slots = [self.streams.slots[i] for i in ended]
        with torch.no_grad():
            rates = [frame_q(slot.q, 0, True) for slot in slots]
            picture, memory, _ = self.intra(np.stack([s.pictures[0] for s in slots]), rates)
        where = torch.tensor(ended, device=self.device)
        self.packed = self.packed.index_copy(0, where, picture)
        self.memory = self.memory.index_copy(0, where, memory.float())
        for slot in slots:
            slot.position = 1

    def inter(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance every stream by a frame. Returns relative errors [B] (before synthesis, after it)."""
        luma = torch.pixel_shuffle(self.packed[:, :64].detach(), 8)[:, 0]
        fields, rates = self.streams.motion((luma + 128.5).clamp(0, 255).to(torch.uint8).cpu().numpy())
        target, (q, step) = to_packed(self.streams.pictures(), self.device), self.rates(rates)
        warped, memory = self.warp(fields)
        with self.mixed():
            ctx, features = self.network.context(warped, memory, q, step)
        wanted = target - ctx
        if self.network.g_a is not None:
            with self.mixed():
                wanted = wanted + self.network.analysis(target, ctx, features, q, step)
        residual = self.residual(wanted.detach(), step, "inter")
        with self.mixed():
            picture, memory = self.network.synthesis(ctx, residual, features, q, step)
        scale = mse(warped + residual, target).detach().clamp(min=MSE_FLOOR)
        self.packed, self.memory = clip(picture), memory.float()
        for slot in self.streams.slots:
            slot.position += 1
        return mse(ctx + residual, target) / scale, mse(picture, target) / scale

    def warp(self, fields: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        y, u, v = unpack(self.packed)
        field = torch.from_numpy(fields).to(self.device)
        half = torch.from_numpy(np.stack([motion_field.chroma(f) for f in fields])).to(self.device)
        batch, height, width = fields.shape[:3]
        small = fields.reshape(batch, height // 8, 8, width // 8, 8, 2).mean((2, 4), dtype=np.float32) / 8
        chroma = warp_torch(torch.cat((u, v), 1), half, 4)
        warped = pack(warp_torch(y, field, 8), chroma[:, :1], chroma[:, 1:])
        return warped, sample_torch(self.memory, torch.from_numpy(small).to(self.device), "bilinear")

    def run(self, frames: int, intra_batch: int) -> tuple[torch.Tensor, dict[str, float]]:
        """`frames` frames of all streams (0: none) and one intra batch: (loss, means to log)."""
        self.packed, self.memory = self.packed.detach(), self.memory.detach()
        errors = {"intra": self.intra(*self.streams.still(intra_batch))[2]}
        loss = errors["intra"].mean()
        before, after = [], []
        for _ in range(frames):
            self.restart()
            a, b = self.inter()
            before.append(a)
            after.append(b)
        if frames:
            errors["prediction"], errors["synthesis"] = torch.stack(before), torch.stack(after)
            loss = loss + errors["synthesis"].mean() + PREDICTION_WEIGHT * errors["prediction"].mean()
        return loss, {k: float(10 * v.detach().log10().mean()) for k, v in errors.items()}


def mse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Per picture [B]; chroma weighs as in the quantiser's cost."""
    return (a - b).square().mean((1, 2, 3))
