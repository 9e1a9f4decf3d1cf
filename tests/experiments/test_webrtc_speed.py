"""What lrae-bench webrtc tells of a loop's statistics."""

from lrae.experiments.webrtc_speed import REST, _back


def told(at, lrae, h264="frozen"):
    return at, {"state": {"lrae": lrae, "h264": h264}}


def test_a_leg_is_back_with_the_first_picture_of_what_arrived_after_the_end():
    after = [told(0.9, "whole"), told(1.1, "extrapolated"), told(1.25, "partial"), told(1.5, "whole", "whole")]
    assert _back(after, 1.0, "lrae") == 0.25
    assert _back(after, 1.0, "h264") == 0.5
    assert _back(after[:2], 1.0, "lrae") == REST
