"""Which libav codec stands for a name, and the options that make it a real-time one.

Speed: of each encoder the slowest setting that is worth it and takes less than half a frame interval of 30 frames a
second at 480x272 on one core, the 95th percentile less than a whole one (docs/benchmarks.md has the times).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import av

from lrae.errors import ConfigError

VBV_SECONDS = 0.5  # how much of the stream an encoder's rate control may run ahead, keyframes included
NO_LIMIT = 100_000_000  # bit/s; see _h264
MAX_KEYFRAME = 900  # percent of a mean frame: libwebrtc's for VP8 and VP9 at 30 frames a second, 0.3 s of the stream
CYCLIC_REFRESH = 3  # of VP9's aq-mode: as in libwebrtc; without it, keyframes throw its rate control off by half
PARAMETER_SETS = 64  # bytes left in a packet beside a slice, for the parameter sets of a keyframe


class RateChange(Enum):
    """How an encoder is given another rate while it runs (libav hands a new bit_rate on to libx264 alone)."""

    LIVE = "its bit_rate is set"
    CLOCK = "its timestamps run slower or faster than the stream, which scales the rate that it believes to keep"
    REOPEN = "it is opened anew, which costs a keyframe"


@dataclass(frozen=True)
class Codec:
    """encoder, decoder: libav's names. options(bit/s, bytes of a slice, frames of an intra refresh or None): the
    encoder's; decoding: the decoder's.

    conceals: the decoder makes a picture of a damaged frame; the others' is frozen until a keyframe. refresh: frames of
    an intra refresh where the encoder is not told, None: none.
    """

    encoder: str
    decoder: str
    rate_change: RateChange
    options: Callable[[int, int, int | None], dict[str, str]]
    conceals: bool = False
    refresh: int | None = None
    gop_size: int = 0  # libav's, where it is not simply very large
    decoding: dict[str, str] = field(default_factory=dict)


def _h264(bitrate: int, slice_bytes: int, refresh: int | None) -> dict[str, str]:
    """x264. A stream that starts with vbv-maxrate = bitrate stays CBR whatever rate is set later, as long as that is
    below libav's own maxrate, which is therefore as good as infinite (x264's ratecontrol.c: b_vbv_min_rate)."""
    x264 = {
        "keyint": refresh or "infinite",
        "intra-refresh": int(refresh is not None),
        "scenecut": 0,
        "bframes": 0,
        "rc-lookahead": 0,
        "sync-lookahead": 0,
        "sliced-threads": 0,
        "threads": 1,
        "slice-max-size": slice_bytes,
        "vbv-maxrate": bitrate // 1000,
    }
    vbv = {"maxrate": str(NO_LIMIT), "bufsize": str(round(bitrate * VBV_SECONDS))}
    tuned = {"preset": "medium", "tune": "zerolatency", "forced-idr": "1"}
    return tuned | vbv | {"x264-params": _joined(x264)}


def _h265(bitrate: int, slice_bytes: int, refresh: int | None) -> dict[str, str]:
    """x265, one slice a frame: with more, or with threads, it holds a frame back (its encoder.cpp: m_zeroLatency)."""
    x265 = {
        "keyint": -1,
        "scenecut": 0,
        "bframes": 0,
        "rc-lookahead": 0,
        "frame-threads": 1,
        "pools": "none",
        "wpp": 0,
        "repeat-headers": 1,
        "info": 0,
        "log-level": "none",
    }
    vbv = {"maxrate": str(bitrate), "bufsize": str(round(bitrate * VBV_SECONDS))}
    return {"preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "x265-params": _joined(x265)} | vbv


def _vpx(speed: int, **more: int) -> Callable[[int, int, int | None], dict[str, str]]:
    """libvpx in its one-pass real-time CBR mode, as WebRTC uses it. speed: cpu-used; VP8's is negative, for a positive
    one follows the clock, and then no two runs are alike. more: other options."""

    def options(bitrate: int, slice_bytes: int, refresh: int | None) -> dict[str, str]:
        rate = {"minrate": str(bitrate), "maxrate": str(bitrate), "bufsize": str(round(bitrate * VBV_SECONDS))}
        speeds = {"deadline": "realtime", "cpu-used": str(speed), "lag-in-frames": "0", "auto-alt-ref": "0"}
        others = {key.replace("_", "-"): str(value) for key, value in more.items()}
        return speeds | rate | {"max-intra-rate": str(MAX_KEYFRAME)} | others

    return options


def _av1(bitrate: int, slice_bytes: int, refresh: int | None) -> dict[str, str]:
    """SVT-AV1's real-time mode: low-delay prediction, CBR, one thread. Without temporal layers, which make every second
    frame twice as large and, here, no picture better."""
    low_delay = {"rtc": 1, "pred-struct": 1, "hierarchical-levels": 0, "lookahead": 0, "scd": 0, "keyint": -1, "lp": 1}
    buffer = round(VBV_SECONDS * 1000)
    cbr = {"rc": 2, "buf-sz": buffer, "buf-initial-sz": buffer * 3 // 5, "buf-optimal-sz": buffer * 4 // 5}
    return {"preset": "8", "svtav1-params": _joined(low_delay | cbr)}


def _joined(parameters: dict[str, object]) -> str:
    return ":".join(f"{key}={value}" for key, value in parameters.items())


REFRESH = 60  # frames of h264-ir; 15 and 30 are 1.4 and 0.7 dB worse (10 % loss and none, 400 kbit/s)
_CONCEAL = {"ec": "guess_mvs+deblock"}  # libav's default, but said: motion is guessed, edges are smoothed

CODECS = {
    "h264": Codec("libx264", "h264", RateChange.LIVE, _h264, conceals=True, decoding=_CONCEAL),
    "h264-ir": Codec("libx264", "h264", RateChange.LIVE, _h264, conceals=True, refresh=REFRESH, decoding=_CONCEAL),
    "h265": Codec("libx265", "hevc", RateChange.REOPEN, _h265),
    "vp8": Codec("libvpx", "vp8", RateChange.CLOCK, _vpx(-1)),
    "vp9": Codec("libvpx-vp9", "vp9", RateChange.CLOCK, _vpx(5, aq_mode=CYCLIC_REFRESH)),
    "av1": Codec("libsvtav1", "libdav1d", RateChange.REOPEN, _av1, gop_size=-1),
}


def find(name: str) -> Codec:
    """The codec of a name. Raises ConfigError: unknown, or missing from this build of libav."""
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}: choose from {', '.join(CODECS)}")
    for library, mode in ((CODECS[name].encoder, "w"), (CODECS[name].decoder, "r")):
        try:
            av.Codec(library, mode)
        except ValueError:  # av.codec.UnknownCodecError
            what = "encoder" if mode == "w" else "decoder"
            raise ConfigError(f"{name}: this build of libav has no {what} {library}") from None
    return CODECS[name]
