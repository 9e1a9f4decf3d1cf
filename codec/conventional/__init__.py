"""The codecs that people would use instead: H.264, H.265, VP8, VP9 and AV1 through libav, in real-time settings.

    frame ─► ConventionalEncoder ─► units ─► pack ─► packets ─ ─ ─► unpack ─► ConventionalDecoder ─► frame
"""

from __future__ import annotations

from lrae.codec.conventional.decoder import ConventionalDecoder, model_hash
from lrae.codec.conventional.encoder import Coded, ConventionalEncoder
from lrae.codec.conventional.settings import CODECS

NAMES = tuple(CODECS)
# a name in NAMES, then as the classes say
make_encoder, make_decoder = ConventionalEncoder, ConventionalDecoder

__all__ = ["NAMES", "Coded", "ConventionalDecoder", "ConventionalEncoder", "make_decoder", "make_encoder", "model_hash"]
