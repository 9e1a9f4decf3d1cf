"""Entropy coding, packetisation, state, Encoder and Decoder (floor 2).

The functions import the networks when they are called, so that `lrae.codec.wire` works without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrae.codec.lrae import LraeDecoder, LraeEncoder
    from lrae.codec.types import VideoFormat


def make_encoder(model: str, video: VideoFormat, device: str = "auto") -> LraeEncoder:
    """The encoder of shipped weights (by name) or of a weights file (by path). Raises ModelError, ConfigError."""
    from lrae.codec.lrae import LraeEncoder, pick_device
    from lrae.models.store import load_model

    return LraeEncoder(load_model(model), video, pick_device(device))


def make_decoder(model: str, video: VideoFormat, device: str = "auto") -> LraeDecoder:
    """The decoder of shipped weights (by name) or of a weights file (by path). Raises ModelError, ConfigError."""
    from lrae.codec.lrae import LraeDecoder, pick_device
    from lrae.models.store import load_model

    return LraeDecoder(load_model(model), video, pick_device(device))


def model_hash(model: str) -> str:
    """16 hex digits that name the weights; both ends of a stream must agree on them."""
    from lrae.models.store import load_model

    return load_model(model).hash
