"""Statistics as JSON lines with fixed keys. A line's "event" says which of KEYS it has, in that order."""

from __future__ import annotations

import contextlib
import json

from lrae.errors import SinkError

KEYS = {
    # lrae-send, one line per frame sent
    "sent": (
        "time",  # seconds since 1970, when the frame was handed to the pacer
        "number",  # frame number
        "capture",  # seconds since 1970, when the frame left the source
        "intra",  # true or false
        "q",  # 0 to 63
        "packets",  # K
        "bytes",  # UDP payload, headers included
        "side_bytes",  # of these: side information, all copies
        "encode_ms",  # computing time, replay included
        "replayed",  # frames decoded again for this one because some of their packets were lost
        "loss",  # packets lost lately, 0 to 1, as the sender knows it
        "rtt_ms",  # round trip, null until measured
        "queued",  # datagrams in the pacer
        "rate",  # bit/s that may leave, as the rate control has it; 0: no limit
        "target",  # of these: for what the encoder makes
        "fec",  # "none", "block" or "streaming"
        "parity",  # parity packets of this frame
    ),
    # lrae-send, once at the end
    "sender-summary": (
        "time",
        "seconds",  # from the first frame to the last
        "frames",  # sent
        "intra",  # of these
        "packets",
        "bytes",  # of all packets
        "kbps",  # bytes over seconds
        "dropped",  # frames left out because encoder or network were too slow
        "skipped",  # frames left out to keep the bitrate
        "replayed",
        "loss",
        "rtt_ms",
        "parity_bytes",  # of bytes
        "retransmit_bytes",  # of bytes
        "confirmed",  # true: the receiver has heard the end
    ),
    # lrae-recv, one line per frame shown
    "shown": (
        "time",  # seconds since 1970, when the frame went to the outputs
        "stream",  # stream id
        "number",
        "capture",  # seconds on the sender's clock
        "intra",  # null if nothing of the frame arrived, as are q and packets
        "q",
        "packets",  # K
        "received",  # of these: in time
        "used",  # of these: decoded
        "delay_ms",  # on screen, counted from when the frame could have been here at the earliest
        "decode_ms",  # computing time
        "label",  # what the classifier sees; null without one, or where it is not sure enough
        "label_confidence",  # of the likeliest class, 0 to 1, also where it is not shown; null without a classifier
    ),
    # lrae-recv, at the end of each stream
    "receiver-summary": (
        "time",
        "stream",
        "seconds",  # from the first frame to the last
        "frames",  # shown, however they came to be
        "partial",  # of these: some packets missing
        "lost",  # of these: all packets missing, extrapolated
        "packets",  # received
        "late",  # of these: after their frame was decoded
        "recovered",  # packets that parity brought back
        "dropped",  # datagrams refused, for whatever reason
        "reasons",  # {reason: datagrams}, of all streams so far
        "delay_ms_p50",  # null without frames
        "delay_ms_p95",
        "clean",  # true: the sender said its end itself
        "reason",  # why the stream ended
    ),
    # lrae-channel, one line a second
    "channel": (
        "time",
        "clients",  # remembered now
        "served",  # clients in all
        "send_errors",  # datagrams that the system refused to send
        "up",  # counts of all datagrams towards the target so far: the fields of LinkCounts, and in_flight
        "down",  # the same of the answers
    ),
}


KEYS["channel-summary"] = KEYS["channel"]  # lrae-channel, once at the end


class StatsFile:
    """Writes lines to `path`; None writes nothing. Raises SinkError where that fails."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        try:
            self._file = open(path, "w", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from None

    def write(self, event: str, **values: object) -> None:
        """One line. `values` must be exactly KEYS[event]."""
        if set(values) != set(KEYS[event]):
            raise ValueError(f"{event} takes {KEYS[event]}, not {tuple(values)}")
        if self._file is None:
            return
        line = {"event": event} | {key: _short(values[key]) for key in KEYS[event]}
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from None

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk refused, write() has reported
                self._file.close()


def _short(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


def percentile(values: list[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))]
