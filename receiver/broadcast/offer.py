"""SDP offers from strangers: read with bounds, cleaned, or refused with an HTTP status."""

from __future__ import annotations

import ipaddress

from aiortc.sdp import SessionDescription

from lrae.errors import LraeError

MAX_OFFER = 64 * 1024  # bytes; a browser's are 3 to 8 KiB
MAX_LINES = 1_000  # aiortc's parser takes quadratic time in some of them
MAX_MEDIA = 4
MAX_CANDIDATES = 32  # each makes this side send a few checks to an address that the offer names
CODECS = ("video/h264", "video/vp8")
MALFORMED, BUSY = 400, 503


class OfferError(LraeError):
    """An offer that is not answered. status: of HTTP; retry_after: seconds after which another try may help."""

    def __init__(self, text: str, status: int = MALFORMED, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


def clean_offer(sdp: str) -> str:
    """The offer without what this side does not want to act on. Raises OfferError.

    Host names are left out of the candidates: looking them up would be work (and a query into the local network) at a
    stranger's word. A browser that hides its address behind one is found by its own checks (RFC 8445, 7.3.1.3), so the
    end of the candidates is left out too: it would end the wait for those.
    """
    if len(sdp) > MAX_OFFER:
        raise OfferError(f"the offer is larger than {MAX_OFFER} bytes", 413)
    lines = sdp.splitlines()
    if len(lines) > MAX_LINES:
        raise OfferError(f"the offer has more than {MAX_LINES} lines")
    kept, candidates = [], 0
    for line in lines:
        if line.startswith("a=candidate:"):
            candidates += _usable(line)
            if not _usable(line) or candidates > MAX_CANDIDATES:
                continue
        elif line.startswith("a=end-of-candidates"):
            continue
        kept.append(line)
    text = "\r\n".join([*kept, ""])
    _check(text)
    return text


def _usable(line: str) -> bool:
    """True for a candidate of UDP at an address, not a name."""
    bits = line.split()
    try:
        ipaddress.ip_address(bits[4])
        return bits[2].lower() == "udp" and 0 < int(bits[5]) < 65536
    except (ValueError, IndexError):
        return False


def _check(text: str) -> None:
    """Raises OfferError unless this is an offer that takes video in a codec we have."""
    try:
        description = SessionDescription.parse(text)
    except Exception as error:  # aiortc's parser raises whatever a wrong line happens to cause
        raise OfferError("the offer is not SDP that can be read") from error
    if not 0 < len(description.media) <= MAX_MEDIA:
        raise OfferError(f"the offer has {len(description.media)} media sections; 1 to {MAX_MEDIA} are taken")
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise OfferError("the offer has media other than audio, video and data")
        if not (media.ice.usernameFragment and media.ice.password):
            raise OfferError("the offer lacks ICE credentials")
        if not (media.dtls and media.dtls.fingerprints):
            raise OfferError("the offer lacks a DTLS fingerprint")
        if not media.rtp.muxId:
            raise OfferError("the offer lacks a=mid")
    wanted = [m for m in description.media if m.kind == "video"]
    if not wanted or wanted[0].direction not in ("recvonly", "sendrecv"):
        raise OfferError("the offer does not take video")
    if not any(codec.mimeType.lower() in CODECS for codec in wanted[0].rtp.codecs):
        raise OfferError("the offer takes neither H.264 nor VP8")


def chosen_codec(answer: str) -> str:
    """The codec that an answer of ours sends video in: "h264" or "vp8"."""
    media = next(m for m in SessionDescription.parse(answer).media if m.kind == "video")
    return media.rtp.codecs[0].name.lower()
