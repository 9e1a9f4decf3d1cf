"""`lrae-train init`: a working codec without any gradient.

1. A bootstrap model: DCT transforms, class tables from a parametric energy model.
2. Closed-loop encoding of training clips at all rates with the model so far; what is left to code is collected.
3. PCA of the residuals, one transform per group of blocks, and classes and groups refined by EM on code length
   (a vector quantiser whose distance is D + λ·bits), as in a Lloyd iteration. Steps 2 and 3 repeat.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from rich.progress import Progress
from scipy.fft import dct

from lrae.codec.class_map import contexts
from lrae.codec.lrae import LraeEncoder
from lrae.codec.quantiser import Quantiser, whole
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.models.blocks import CHROMA_GAIN, COEFFICIENTS, CORNERS, from_blocks, pack, to_blocks
from lrae.models.network import LraeNetwork, NetworkConfig
from lrae.models.store import KINDS, Model
from lrae.models.tables import (
    BUCKETS,
    CHANNELS,
    CLASSES,
    CONTEXTS,
    ESCAPE,
    LEVELS,
    MAP_SETS,
    SYMBOLS,
    TRANSFORMS,
    ClassTables,
    table_grid,
    to_frequencies,
)
from lrae.training.footage import Clip

ROUNDS, REGROUPS, EM_STEPS = 2, 2, 6
BUSY_NORM = 40.0  # blocks of a larger norm (in steps) do not weigh more than this in the PCA
ACTIVE_NORM = 4.0  # blocks of a smaller norm are skipped anyway


def bootstrap(config: NetworkConfig = NetworkConfig()) -> Model:
    """DCT transforms and a hand-made energy model: codes anything, nothing well."""
    basis = _dct_basis()
    linear = np.repeat(basis[None], TRANSFORMS, 0)
    frequencies = table_grid()
    bits = -np.log2(frequencies / (1 << 16))
    level = np.abs(np.arange(-LEVELS, LEVELS + 1))
    scale = 0.1 * 2.0 ** np.arange(CLASSES // TRANSFORMS)
    decay = 1 / (1 + np.arange(CHANNELS) / 6)
    rows = np.zeros((CLASSES, CHANNELS), np.uint8)
    for k in range(CLASSES):
        spread = scale[k // TRANSFORMS] * decay
        mass = np.exp(-level / np.maximum(spread[:, None], 0.05))
        mass /= mass.sum(1, keepdims=True)
        rows[k] = (mass @ bits[:, : 2 * LEVELS + 1].T).argmin(1)
    uniform = np.full((MAP_SETS, CONTEXTS, CLASSES), (1 << 16) // CLASSES, np.int32)
    shift = np.full((len(frequencies), 2), 0.05, np.float32)
    tables = ClassTables(rows, frequencies, shift, uniform, np.ones(CLASSES, np.uint8))
    return Model(
        LraeNetwork(config).eval().requires_grad_(False),
        {kind: torch.from_numpy(linear.astype(np.float32)) for kind in KINDS},
        {kind: tables for kind in KINDS},
        {"stage": "bootstrap"},
    )


def _dct_basis() -> np.ndarray:
    """float [384, CHANNELS]: separable 16x16 DCT of Y, 8x8 of U and V, lowest frequencies first, as block vectors."""
    planes = {16: dct(np.eye(16), axis=0, norm="ortho"), 8: dct(np.eye(8), axis=0, norm="ortho")}
    found = []
    for plane, side in enumerate((16, 8, 8)):
        for i in range(side):
            for j in range(side):
                found.append(((i + j) * 16 / side, plane, i, j))
    columns = []
    for _, plane, i, j in sorted(found)[:CHANNELS]:
        side = (16, 8, 8)[plane]
        image = [torch.full((1, 1, s, s), 128.0) for s in (16, 8, 8)]
        wave = np.outer(planes[side][i], planes[side][j])
        image[plane] = image[plane] + torch.from_numpy(wave)[None, None] / (CHROMA_GAIN if plane else 1)
        columns.append(to_blocks(pack(*image)).numpy()[0])
    return np.stack(columns, 1)


def collect(
    model: Model, clips: list[Clip], rng: np.random.Generator, frames: int = 10, share: float = 0.5, advance=None
) -> dict[str, np.ndarray]:
    """Encode clips in the closed loop at random rates; returns block vectors in steps, float16 [N,384] by kind."""
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    encoders: dict[tuple[int, int], LraeEncoder] = {}
    order = np.argsort(CORNERS.numpy())  # the encoder hands out blocks by corners, the transforms are in raster order

    def blocks_of(analysed: tuple) -> np.ndarray:
        return analysed[0].numpy()[:, order].astype(np.float16)

    for clip in clips:
        width, height = clip.size
        encoder = encoders.setdefault((width, height), LraeEncoder(model, VideoFormat(width, height)))
        state, q = encoder.initial_state(), int(rng.integers(8, 58))
        start = int(rng.integers(0, max(1, len(clip.pictures) - frames)))
        for number, picture in enumerate(range(start, min(start + frames, len(clip.pictures))), 1):
            frame, intra = clip.frame(picture), number == 1
            if intra:
                for rate in (q, int(rng.integers(8, 60))):
                    found["intra"].append(blocks_of(encoder.analyse(state, frame, rate, True)))
            elif number > 2 and rng.random() < share:
                found["inter"].append(blocks_of(encoder.analyse(state, frame, q, False)))
            _, state = encoder.encode(state, frame, number, q, EncodeHints(intra=intra, packets=1))
        if advance:
            advance()
    return {kind: np.concatenate(parts) for kind, parts in found.items()}


def fit_transforms(blocks: np.ndarray, group: np.ndarray) -> np.ndarray:
    """PCA per group: blocks float [N,384] in steps, group int [N] (−1: none) -> float32 [TRANSFORMS,384,CHANNELS]."""
    norm = np.linalg.norm(blocks, axis=1)
    out = []
    for t in range(TRANSFORMS):
        mine = (group == t) & (norm > ACTIVE_NORM)
        part = blocks[mine] * np.minimum(1, BUSY_NORM / norm[mine])[:, None]
        covariance = (part.T @ part).astype(np.float64) + 1e-3 * np.eye(COEFFICIENTS)
        out.append(np.linalg.eigh(covariance)[1][:, ::-1][:, :CHANNELS])
    return np.stack(out).astype(np.float32)


def first_groups(blocks: np.ndarray) -> np.ndarray:
    """Blocks sorted by the direction and fineness of their luma texture: int [N] in 0…TRANSFORMS−1."""
    luma = from_blocks(torch.from_numpy(blocks), len(blocks), 1, 1)[:, :64]
    luma = torch.pixel_shuffle(luma, 8)[:, 0].numpy()
    across, down = np.abs(np.diff(luma, axis=2)).sum((1, 2)), np.abs(np.diff(luma, axis=1)).sum((1, 2))
    direction = np.log((across + 1e-2) / (down + 1e-2))
    low, high = np.quantile(direction, (0.27, 0.73))
    fine = np.log((across + down + 1e-2) / (np.abs(luma).sum((1, 2)) + 1e-2))
    mixed = np.where(fine > np.median(fine), 3, 2)
    return np.where(direction < low, 0, np.where(direction > high, 1, mixed))


def fit_rows(levels: np.ndarray, classes: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """The table of fewest bits for every (class, channel): uint8 [CLASSES, CHANNELS]; never where all are zero."""
    symbols = np.where(np.abs(levels) > LEVELS, ESCAPE, levels + LEVELS)
    flat = (classes[:, None].astype(np.int64) * CHANNELS + np.arange(CHANNELS)) * SYMBOLS + symbols
    counts = np.bincount(flat.ravel(), minlength=CLASSES * CHANNELS * SYMBOLS).reshape(CLASSES, CHANNELS, SYMBOLS)
    bits = 16 - np.log2(frequencies)
    rows = (counts @ bits.T).argmin(-1)
    total, busy = counts.sum(-1), counts.sum(-1) - counts[..., LEVELS]
    return np.where(busy > np.maximum(0, 2e-4 * total), rows, len(frequencies)).astype(np.uint8)


def fit_shift(magnitude: np.ndarray, levels: np.ndarray, table: np.ndarray, count: int) -> np.ndarray:
    """Mean of level − |u| for levels 1 and for larger ones, per table: float32 [count, 2]."""
    out = np.zeros((count, 2), np.float32)
    for column, mask in enumerate((np.abs(levels) == 1, (np.abs(levels) > 1) & (np.abs(levels) <= LEVELS))):
        where = table[mask]
        error = np.abs(levels[mask]) - magnitude[mask]
        hits = np.bincount(where, minlength=count + 1)[:count]
        sums = np.bincount(where, weights=error, minlength=count + 1)[:count]
        out[:, column] = np.clip((sums + 0.05 * 20) / (hits + 20), -0.1, 0.3)
    return out


def fit_rank(rows: np.ndarray, share: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Buckets 1…6 of the classes by expected bits; the bounds part the positions, not the classes, evenly."""
    p = frequencies / (1 << 16)
    entropy = np.append(-(p * np.log2(p)).sum(1), 0)
    busy = entropy[rows].sum(1)
    order = np.argsort(busy)
    cumulative = np.cumsum(share[order]) - share[order] / 2
    rank = np.empty(CLASSES, np.uint8)
    rank[order] = 1 + np.minimum((cumulative / share.sum() * (BUCKETS - 1)).astype(int), BUCKETS - 2)
    return rank


def fit_map(maps: list[np.ndarray], rank: np.ndarray, steps: int = 8) -> np.ndarray:
    """Class frequencies int32 [MAP_SETS, CONTEXTS, CLASSES] from maps uint8 [rows, columns].

    The sets are clusters of frames (EM on code length), started from how busy the frames are.
    """
    joint = [contexts(m[None], rank)[0].ravel() * CLASSES + m.ravel() for m in maps]
    busy = np.argsort(np.argsort([rank[m].mean() for m in maps], kind="stable"))
    chosen = busy * MAP_SETS // len(maps)
    for _ in range(steps):
        groups = [[j for j, s in zip(joint, chosen, strict=True) if s == k] for k in range(MAP_SETS)]
        tables = np.stack([_context_model(group) for group in groups])
        bits = -np.log2(tables).reshape(MAP_SETS, -1)
        chosen = np.array([bits[:, j].sum(1).argmin() for j in joint])
    return tables


def _context_model(joint: list[np.ndarray]) -> np.ndarray:
    """Frequencies int32 [CONTEXTS, CLASSES] from context·CLASSES + class; rare contexts lean on their mean rank."""
    flat = np.concatenate(joint) if joint else np.zeros(0, np.int64)
    counts = np.bincount(flat, minlength=CONTEXTS * CLASSES).reshape(CONTEXTS, CLASSES).astype(float)
    index = np.arange(CONTEXTS)
    ranks = np.stack((index // BUCKETS**2 % BUCKETS, index // BUCKETS % BUCKETS, index % BUCKETS))
    known = (ranks > 0).sum(0)
    mean = ranks.sum(0) * 2 // np.maximum(known, 1)
    coarse = np.zeros((mean.max() + 1, CLASSES))
    np.add.at(coarse, mean, counts)
    overall = (counts.sum(0) + 0.1) / (counts.sum() + 0.1 * CLASSES)
    coarse = (coarse + 8 * overall) / (coarse.sum(1, keepdims=True) + 8)
    return to_frequencies(counts + 10 * coarse[mean])


def em(blocks: np.ndarray, linear: np.ndarray, tables: ClassTables, steps: int, advance=None):
    """Refine class rows, shifts and priors on blocks float32 [N,384]. Returns (tables, classes, active)."""
    coefficients = (blocks @ linear.transpose(1, 0, 2).reshape(COEFFICIENTS, -1)).reshape(-1, TRANSFORMS, CHANNELS)
    for _ in range(steps):
        quantiser = Quantiser(tables)
        parts = whole(coefficients)
        cost = quantiser.class_costs(parts) + quantiser.rate_weight * tables.class_bits()
        classes = cost.argmin(1).astype(np.uint8)
        levels = quantiser.levels(parts, classes)
        tables = refit(tables, coefficients, classes, levels)
        if advance:
            advance()
    return tables, classes, levels.any(1)


def refit(tables: ClassTables, coefficients: np.ndarray, classes: np.ndarray, levels: np.ndarray) -> ClassTables:
    """One M step: rows, shifts, ranks and the (context-free) class frequencies."""
    frequencies = tables.frequencies
    rows = fit_rows(levels, classes, frequencies)
    own = np.abs(coefficients[np.arange(len(classes)), classes % TRANSFORMS])
    shift = fit_shift(own, levels, rows[classes], len(frequencies))
    share = np.bincount(classes, minlength=CLASSES) + 1.0
    prior = np.broadcast_to(to_frequencies(share), (MAP_SETS, CONTEXTS, CLASSES)).copy()
    return replace(
        tables, rows=rows, shift=shift, rank=fit_rank(rows, share, frequencies), map_frequencies=prior
    )


def first_tables(blocks: np.ndarray, linear: np.ndarray, group: np.ndarray, frequencies: np.ndarray) -> ClassTables:
    """Start of the EM: classes by group and by the energy of the block."""
    coefficients = np.stack([blocks @ linear[t] for t in range(TRANSFORMS)], 1)
    own = coefficients[np.arange(len(group)), group]
    magnitude = np.abs(own)
    levels = (np.sign(own) * np.where(magnitude < 0.65, 0, np.floor(magnitude + 0.35))).astype(np.int16)
    cost = np.log2(1 + magnitude).sum(1)
    place = np.empty(len(cost))
    place[np.argsort(cost)] = np.arange(len(cost)) / len(cost)
    depth = CLASSES // TRANSFORMS
    classes = (np.minimum(place**2 * depth, depth - 1).astype(int) * TRANSFORMS + group).astype(np.uint8)
    uniform = np.full((MAP_SETS, CONTEXTS, CLASSES), (1 << 16) // CLASSES, np.int32)
    shift = np.full((len(frequencies), 2), 0.05, np.float32)
    rows, rank = np.zeros((CLASSES, CHANNELS), np.uint8), np.ones(CLASSES, np.uint8)
    start = ClassTables(rows, frequencies, shift, uniform, rank)
    return refit(start, coefficients, classes, levels)


def fit_maps(model: Model, clips: list[Clip], rng: np.random.Generator, frames: int = 8, advance=None) -> Model:
    """Fit the context model of the class map on maps that the encoder really chooses, in the closed loop."""
    maps: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for clip in clips:
        width, height = clip.size
        encoder = LraeEncoder(model, VideoFormat(width, height))
        state, q = encoder.initial_state(), int(rng.integers(8, 58))
        for number in range(1, min(frames, len(clip.pictures)) + 1):
            hints = EncodeHints(intra=number == 1, packets=1)
            encoded, state = encoder.encode(state, clip.frame(number - 1), number, q, hints)
            kind = "intra" if number == 1 else "inter"
            maps[kind].append(encoded.meta.classes.reshape(height // 16, width // 16))
        if advance:
            advance()
    tables = {
        kind: replace(t, map_frequencies=fit_map(maps[kind], t.rank)) for kind, t in model.tables.items()
    }
    return replace(model, tables=tables)


def initialise(clips: list[Clip], config: NetworkConfig = NetworkConfig(), seed: int = 0, most: int = 60_000) -> Model:
    """The whole of `lrae-train init`; clips from footage.load. Deterministic for a seed."""
    rng = np.random.default_rng(seed)
    model = bootstrap(config)
    with Progress(transient=True) as progress:
        bar = progress.add_task("init", total=ROUNDS * (len(clips) + 2 * REGROUPS * EM_STEPS) + 2 * len(clips))

        def advance() -> None:
            progress.advance(bar)

        for _ in range(ROUNDS):
            found = collect(model, clips, rng, advance=advance)
            linear, tables = {}, {}
            for kind in KINDS:
                blocks = found[kind]
                blocks = blocks[rng.permutation(len(blocks))[:most]].astype(np.float32)
                group = first_groups(blocks)
                for _ in range(REGROUPS):
                    w = fit_transforms(blocks, group)
                    t = first_tables(blocks, w, np.where(group < 0, 0, group), table_grid())
                    t, classes, active = em(blocks, w, t, EM_STEPS, advance)
                    group = np.where(active, classes.astype(int) % TRANSFORMS, -1)
                linear[kind], tables[kind] = torch.from_numpy(w), t
            model = replace(model, linear=linear, tables=tables)
        for _ in range(2):
            model = fit_maps(model, clips, rng, advance=advance)
    return replace(model, card={"stage": "init", "steps": 0})


def refit_tables(model: Model, clips: list[Clip], seed: int = 0, most: int = 60_000) -> Model:
    """Refit rows, shifts and contexts to what the trained networks leave to code; transforms stay as they are."""
    rng = np.random.default_rng(seed)
    with Progress(transient=True) as progress:
        bar = progress.add_task("refit", total=3 * len(clips) + 2 * EM_STEPS)

        def advance() -> None:
            progress.advance(bar)

        found, tables = collect(model, clips, rng, advance=advance), {}
        for kind in KINDS:
            blocks = found[kind]
            blocks = blocks[rng.permutation(len(blocks))[:most]].astype(np.float32)
            tables[kind] = em(blocks, model.linear[kind].numpy(), model.tables[kind], EM_STEPS, advance)[0]
        model = replace(model, tables=tables)
        for _ in range(2):
            model = fit_maps(model, clips, rng, advance=advance)
    return model
