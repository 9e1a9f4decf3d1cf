"""The codecs that people would use instead: H.264, H.265, VP8, VP9 and AV1 through libav, in real-time settings.

    frame ─► ConventionalEncoder ─► units ─► pack ─► packets ─ ─ ─► unpack ─► ConventionalDecoder ─► frame
"""

from __future__ import annotations

from lrae.codec.conventional.decoder import ConventionalDecoder, model_hash
from lrae.codec.conventional.encoder import Coded, ConventionalEncoder
from lrae.codec.conventional.settings import CODECS
from lrae.codec.types import VideoFormat

NAMES = tuple(CODECS)


def make_encoder(
    name: str,
    video: VideoFormat,
    bitrate: float,
    room: int = 1150,
    refresh: int | None = None,
    preset: str | None = None,
) -> ConventionalEncoder:
    """The encoder of a name in NAMES; arguments as of ConventionalEncoder. Raises ConfigError."""
    return ConventionalEncoder(name, video, bitrate, room, refresh, preset)


def make_decoder(name: str, video: VideoFormat, conceal: bool = True) -> ConventionalDecoder:
    """The decoder of a name in NAMES; arguments as of ConventionalDecoder. Raises ConfigError."""
    return ConventionalDecoder(name, video, conceal)


__all__ = ["NAMES", "Coded", "ConventionalDecoder", "ConventionalEncoder", "make_decoder", "make_encoder", "model_hash"]
