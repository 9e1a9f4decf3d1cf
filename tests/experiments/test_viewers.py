"""What viewers cost: the measurement sees them come, encodes for them, and lets them go."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from lrae.experiments import viewers


def test_a_row_for_each_number_of_viewers_and_nothing_is_encoded_for_none(monkeypatch):
    pytest.importorskip("aiortc", reason="needs the web extra")
    monkeypatch.setattr(viewers, "COUNTS", (0, 2))
    monkeypatch.setattr(viewers, "SETTLE", 0.2)
    monkeypatch.setattr(viewers, "CLIP", "synthetic:64x48@30x60")
    monkeypatch.setattr(viewers, "ELSEWHERE", SimpleNamespace(Event=threading.Event, Process=threading.Thread))
    none, two = asyncio.run(viewers.measure((64, 48), 0.5))
    assert (none["viewers"], none["fps"], none["more_percent"]) == (0, 0.0, 0.0)
    assert (two["viewers"], two["size"]) == (2, "64x48")
    assert two["fps"] > 0 and two["kbps"] > 0
