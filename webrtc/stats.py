"""The figures of an instant as a page draws them; the keys are described in webrtc/loop.py."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict
from typing import Any

from lrae.experiments.metrics import PSNR_CAP, psnr_yuv, ssim_db, ssim_y
from lrae.webrtc.display import View
from lrae.webrtc.pipeline import LRAE, Report

WINDOW = 1.0  # seconds over which rates are taken
SSIM_EVERY = 6  # instants: it takes longer than everything else here
LEAST_SIDE = 11  # samples: SSIM's window


class StatsMaker:
    """From reports to JSON-ready dicts; keeps what rates are taken from."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, dict[str, Counter[str]]]] = deque()
        self._ssim: dict[str, float | None] = {}
        self._count = 0

    def stats(self, report: Report, now: float) -> dict[str, Any]:
        """Of one instant. now: seconds since the start, when its pictures were shown."""
        instant, views = report.instant, report.instant.views
        network = report.situation.delay_ms
        if self._past and any(report.sent[leg] < sent for leg, sent in self._past[-1][1].items()):
            self._past.clear()  # the sessions have begun anew
        self._past.append((now, report.sent))
        while len(self._past) > 2 and now - self._past[1][0] >= WINDOW:
            self._past.popleft()
        seconds, before = max(1e-3, now - self._past[0][0]), self._past[0][1]
        if self._count % SSIM_EVERY == 0 and min(instant.source.size) >= LEAST_SIDE:
            self._ssim = {name: ssim_db(ssim_y(instant.source, view.picture)) for name, view in views.items()}
        self._count += 1
        delays = {name: view.delay * 1e3 for name, view in views.items()}
        return {
            "frame": instant.number,
            "time": instant.capture,
            "size": list(instant.source.size),
            "delay_ms": {**_rounded(delays, 1), "gateway": round((now - instant.capture) * 1e3 - network, 1)},
            "queue_ms": round(report.wait * 1e3, 1),
            "fps": round((len(self._past) - 1) / seconds, 1),
            "psnr": _rounded({n: min(PSNR_CAP, psnr_yuv(instant.source, v.picture)) for n, v in views.items()}, 2),
            "ssim": _rounded(self._ssim, 2),
            "kbps": {
                name: {kind: round((sent[kind] - before[name][kind]) * 8e-3 / seconds, 1) for kind in sent}
                for name, sent in report.sent.items()
            },
            "packets": report.packets,
            "state": {name: view.state for name, view in views.items()},
            "stall_ms": {name: round(view.stall * 1e3) for name, view in views.items()},
            "stalls": {name: view.stalls for name, view in views.items()},
            "label": _label(views[LRAE]),
            "dropped_inputs": report.dropped,
            "situation": asdict(report.situation),
        }


def _label(view: View) -> dict[str, Any] | None:
    seen = view.new.seen if view.new else None
    if seen is None or seen.confidence is None:
        return None
    return {"name": seen.label, "confidence": round(seen.confidence, 3)}


def _rounded(values: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
