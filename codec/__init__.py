"""Entropy coding, packetisation, state, Encoder and Decoder (floor 2).

The functions import the networks when they are called, so that `lrae.codec.wire` works without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrae.codec.lrae import LraeDecoder, LraeEncoder
    from lrae.codec.types import VideoFormat


def make_encoder(model: str, video: VideoFormat, device: str = "auto", impute: str = "full") -> LraeEncoder:
    """The encoder of shipped weights (by name) or of a weights file (by path). Raises ModelError, ConfigError.

    impute: of IMPUTE; the two ends of a stream must agree.
    """
    from lrae.codec.lrae import LraeEncoder, pick_device
    from lrae.models.store import load_model

    device = pick_device(device)
    warm_up(model)
    encoder = LraeEncoder(load_model(model), video, device, impute)
    encoder.warm_up()
    return encoder


def make_decoder(model: str, video: VideoFormat, device: str = "auto", impute: str = "full") -> LraeDecoder:
    """The decoder of shipped weights (by name) or of a weights file (by path). Raises ModelError, ConfigError."""
    from lrae.codec.lrae import LraeDecoder, pick_device
    from lrae.models.store import load_model

    device = pick_device(device)
    warm_up(model)
    decoder = LraeDecoder(load_model(model), video, device, impute)
    decoder.warm_up()
    return decoder


def warm_up(model: str) -> None:
    """Loads the weights, and compiles what is not yet compiled. Raises ModelError."""
    from lrae.codec import warm
    from lrae.models.store import load_model

    warm.warm_up(load_model(model))


def share_cores() -> int:
    """Use half of this machine's cores, 4 at most, for the networks; returns how many. For programs that run in real
    time: torch's threads wait for one another actively, and more of them than free cores make both ends of a stream
    on one machine several times slower. OpenCV's threads sleep while they wait: they may use all cores."""
    import os

    import torch

    count = max(1, min(4, len(os.sched_getaffinity(0)) // 2)) if hasattr(os, "sched_getaffinity") else 1
    torch.set_num_threads(count)
    return count


def model_hash(model: str) -> str:
    """16 hex digits that name the weights; both ends of a stream must agree on them."""
    from lrae.models.store import load_model

    return load_model(model).hash
