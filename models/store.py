"""A model as one value (networks, linear transforms, entropy tables) and its safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lrae.errors import ModelError
from lrae.models.blocks import COEFFICIENTS
from lrae.models.network import LraeNetwork, NetworkConfig
from lrae.models.tables import (
    BUCKETS,
    CHANNELS,
    CLASSES,
    CONTEXTS,
    FREQUENCY_BITS,
    MAP_SETS,
    PAIRS,
    SYMBOLS,
    TRANSFORMS,
    ClassTables,
)

FORMAT = "lrae-1"
KINDS = ("inter", "intra")


@dataclass(eq=False)
class Model:
    """linear: {"inter"|"intra": float32 [TRANSFORMS, 384, CHANNELS]}, orthonormal columns.

    tables: {"inter"|"intra": ClassTables}. card: what it was trained on and for how long (JSON-able).
    hash: 16 hex digits over all tensors; the two ends of a stream compare it.
    loop_filter: float32, coefficients of lrae.codec.loop_filter; None: pictures stay as synthesis left them.
    """

    network: LraeNetwork
    linear: dict[str, torch.Tensor]
    tables: dict[str, ClassTables]
    card: dict = field(default_factory=dict)
    hash: str = ""
    loop_filter: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is saved: floating point as fp16, tables as integers."""
        out = {f"network.{k}": v.detach().half() for k, v in self.network.state_dict().items()}
        for kind in KINDS:
            out[f"{kind}.linear"] = self.linear[kind].half()
            tables = self.tables[kind]
            out[f"{kind}.rows"] = torch.from_numpy(tables.rows)
            out[f"{kind}.rank"] = torch.from_numpy(tables.rank)
            out[f"{kind}.shift"] = torch.from_numpy(tables.shift).half()
            out[f"{kind}.map"] = torch.from_numpy(tables.map_frequencies)
        if self.loop_filter is not None:
            out["loop_filter"] = self.loop_filter.half()
        out["frequencies"] = torch.from_numpy(self.tables["inter"].frequencies)
        # copies: a file must not hold one memory under two names, as the tables of bootstrap() are
        return {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in out.items()}

    def save(self, path: Path) -> None:
        """Write the file through a temporary one, so that a cut never leaves half a checkpoint."""
        config = asdict(self.network.config)
        metadata = {"format": FORMAT, "config": json.dumps(config), "card": json.dumps(self.card)}
        part = path.with_suffix(".part")
        save_file(self.tensors(), part, metadata)
        part.replace(path)


def load_model(name: str) -> Model:
    """Load shipped weights by name ("m") or any file by path. Raises ModelError with one line."""
    path = Path(name)
    if not path.suffix:
        path = Path(str(resources.files("lrae.models.weights"))) / f"lrae-{name}.safetensors"
        if not path.exists():
            known = sorted(p.stem.removeprefix("lrae-") for p in path.parent.glob("lrae-*.safetensors"))
            raise ModelError(f"unknown model {name!r}; shipped: {', '.join(known) or 'none'}, or give a file")
    if not path.exists():
        raise ModelError(f"no such weights file: {path}")
    return _load(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: str, _mtime: int) -> Model:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ModelError(f"{path}: not weights of this version ({FORMAT})")
        network = LraeNetwork(NetworkConfig(**json.loads(metadata["config"])))
        network.load_state_dict(
            {k.removeprefix("network."): v.float() for k, v in tensors.items() if k.startswith("network.")}
        )
        tables = {kind: _tables(tensors, kind) for kind in KINDS}
        linear = {kind: tensors[f"{kind}.linear"].float() for kind in KINDS}
        card = json.loads(metadata.get("card", "{}"))
        for kind in KINDS:
            _check(linear[kind], tables[kind])
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise ModelError(f"{path}: damaged weights ({str(error).splitlines()[0]})") from None
    loop_filter = tensors["loop_filter"].float() if "loop_filter" in tensors else None
    return Model(network.eval().requires_grad_(False), linear, tables, card, _hash(tensors), loop_filter)


def _tables(tensors: dict[str, torch.Tensor], kind: str) -> ClassTables:
    return ClassTables(
        rows=tensors[f"{kind}.rows"].numpy(),
        frequencies=tensors["frequencies"].numpy().astype(np.int32),
        shift=tensors[f"{kind}.shift"].float().numpy(),
        map_frequencies=tensors[f"{kind}.map"].numpy().astype(np.int32),
        rank=tensors[f"{kind}.rank"].numpy(),
    )


def _check(linear: torch.Tensor, tables: ClassTables) -> None:
    """Sizes and ranges that the codec relies on. ValueError."""
    shapes = (linear.shape, tables.rows.shape, tables.rank.shape, tables.shift.shape, tables.map_frequencies.shape)
    if shapes != (
        (TRANSFORMS, COEFFICIENTS, CHANNELS),
        (CLASSES, CHANNELS),
        (CLASSES,),
        (len(PAIRS), 2),
        (MAP_SETS, CONTEXTS, CLASSES),
    ):
        raise ValueError("transforms or tables of other sizes than this version's")
    for frequencies in (tables.frequencies, tables.map_frequencies):
        if frequencies.min() < 1 or (frequencies.sum(-1) != 1 << FREQUENCY_BITS).any():
            raise ValueError("tables that no range coder can use")
    if tables.frequencies.shape != (len(PAIRS), SYMBOLS):
        raise ValueError("level tables of another version")
    if tables.rows.max() > tables.never or tables.rank.max() >= BUCKETS:
        raise ValueError("classes that name no table or no rank")


def _hash(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
