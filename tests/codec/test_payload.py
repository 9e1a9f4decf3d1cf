"""Side information in packets of the layouts that deal levels: lengths, copies, gathering."""

from __future__ import annotations

import pytest

from lrae.codec import payload
from lrae.errors import WireError


def test_payload_length_is_checked():
    with pytest.raises(WireError):
        payload.split(b"")
    with pytest.raises(WireError):
        payload.split(b"\x85")
    with pytest.raises(WireError):
        payload.split(b"\x0aabc")
    with pytest.raises(WireError):
        payload.split(b"\x03\x02\x02abc")
    assert payload.split(payload.join(None, b"levels")) == (None, b"levels")
    for length in (1, 63, 64, 127, 128, 5000, 100_000):
        for fragment in (payload.Fragment(b"x" * length), payload.Fragment(b"y" * length, 3, 7)):
            assert payload.split(payload.join(fragment, b"levels")) == (fragment, b"levels")


def test_side_information_is_cut_dealt_and_gathered():
    side = bytes(range(256)) * 9
    fragments = payload.cut(side, 800)
    assert len(fragments) == 3 and max(len(f.data) for f in fragments) <= 800
    for packets, copies in ((3, 1), (8, 2), (9, 3), (4, 5)):
        dealt = payload.deal(fragments, packets, copies)
        assert max(dealt) < packets
        assert payload.gather(dealt.values()) == side
        assert len(dealt) == 3 * min(copies, packets // 3)
    assert payload.gather(fragments[:2]) is None and payload.gather([]) is None
    with pytest.raises(WireError):
        payload.gather([payload.Fragment(b"a", 0, 2), payload.Fragment(b"b", 1, 3)])
