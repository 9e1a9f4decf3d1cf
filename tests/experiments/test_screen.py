"""What was on screen when it was due, from made-up sessions whose figures are known."""

from collections import Counter
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.types import DecodedFrame, EncodedFrame, Frame, FrameHeader, VideoFormat
from lrae.codec.wire import DATA_OVERHEAD
from lrae.experiments.clips import Clip
from lrae.experiments.metrics import psnr_yuv
from lrae.experiments.screen import STATES, blank, gaps, on_screen, undecodable
from lrae.experiments.stream import Network, Setup, run_stream
from lrae.experiments.viewing import COLUMNS, FrameRow, Viewing, view
from lrae.experiments.virtual import Outcome, Shown

FPS, START = 25, 3.0
DELAY = 0.2  # viewing delay of these sessions


def picture(level):
    chroma = np.full((24, 32), 128, np.uint8)
    return Frame(np.full((48, 64), level, np.uint8), chroma, chroma)


def clip_of(levels):
    return Clip("made up", VideoFormat(64, 48, Fraction(FPS)), tuple(picture(level) for level in levels))


def session(clip, shows, skipped=(), payload=100, side=30):
    """shows: (index, seconds from capture to screen, level, packets used of 2) of each frame shown, in order."""
    outcome, numbers = Outcome(), {}
    for index in range(len(clip.frames)):
        if index not in skipped:
            number = numbers[index] = len(numbers)
            header = FrameHeader(number, number == 0, 10, 2)
            encoded = EncodedFrame(header, (b"x" * payload, b"y" * payload), side)
            outcome.sent[number] = index, encoded, START + index / FPS
    for index, after, level, used in shows:
        decoded = DecodedFrame(picture(level), frozenset(range(used)), used == 2)
        time = START + index / FPS + after
        outcome.shown.append(Shown(numbers[index], time, after, decoded, used, 2))
    outcome.clean = True
    return outcome


def states(clip, outcome, delay=DELAY):
    return [instant.state for instant in on_screen(clip, outcome, delay)]


CLIP = clip_of(range(20, 140, 10))  # 12 frames, each brighter


def test_a_session_without_loss_shows_every_frame_when_it_is_due():
    outcome = session(CLIP, [(i, 0.1, 20 + 10 * i, 2) for i in range(12)])
    screen = on_screen(CLIP, outcome, DELAY)
    assert [instant.source for instant in screen] == list(range(12))
    assert [instant.time for instant in screen] == pytest.approx([START + i / FPS + DELAY for i in range(12)])
    result, rows = view(CLIP, outcome, DELAY)
    assert (result.whole, result.frozen, result.undecodable, result.skipped, result.stall_s) == (12, 0, 0, 0, 0)
    assert result.psnr_yuv == 100 and result.ssim_db > 60
    assert result.delay_p50_ms == pytest.approx(100) and result.delay_p98_ms == pytest.approx(100)
    assert result.longest_gap_s == pytest.approx(1 / FPS)
    assert [row.state for row in rows] == ["whole"] * 12


def test_a_newer_frame_waits_for_its_instant():
    outcome = session(CLIP, [(i, 0.0, 20 + 10 * i, 2) for i in range(12)])  # all are there long before they are due
    assert view(CLIP, outcome, DELAY)[0].psnr_yuv == 100


def test_losses_by_what_was_left_of_the_frame():
    levels = [20, 30, 41, 52, 52, 70]  # 2 in part, 3 from the past alone, 4 repeats the picture of 3
    used = [2, 2, 1, 0, 0, 2]
    clip = clip_of(range(20, 80, 10))
    outcome = session(clip, [(i, 0.1, level, used[i]) for i, level in enumerate(levels)])
    assert states(clip, outcome) == ["whole", "whole", "partial", "extrapolated", "frozen", "whole"]
    assert undecodable(clip, outcome) == 1
    result, rows = view(clip, outcome, DELAY)
    expected = [psnr_yuv(frame, picture(level)) for frame, level in zip(clip.frames, levels, strict=True)]
    assert [row.psnr_yuv for row in rows] == pytest.approx(expected)
    assert result.psnr_yuv == pytest.approx(np.mean(expected))
    assert result.delay_p98_ms == pytest.approx(np.percentile([100] * 5 + [140], 98))  # frame 4: until frame 5 came


def test_a_frame_skipped_by_the_encoder_leaves_the_old_picture_and_counts_as_frozen():
    outcome = session(CLIP, [(i, 0.1, 20 + 10 * i, 2) for i in range(12) if i != 4], skipped={4})
    screen = on_screen(CLIP, outcome, DELAY)
    assert (screen[4].source, screen[4].state) == (3, "frozen")
    result, _ = view(CLIP, outcome, DELAY)
    assert (result.skipped, result.sent, result.frozen, result.undecodable) == (1, 11, 1, 0)
    assert result.psnr_yuv == pytest.approx((11 * 100 + psnr_yuv(CLIP.frames[4], CLIP.frames[3])) / 12)
    assert screen[4].delay == pytest.approx(0.1 + 1 / FPS)


def test_a_frame_that_comes_too_late_is_shown_late():
    after = [0.1] * 12
    after[5] = 0.22  # due at 0.2: at its instant frame 4 is still there, at the next one frame 6 is
    after[6] = 0.23
    after[7] = 0.2
    outcome = session(CLIP, [(i, after[i], 20 + 10 * i, 2) for i in range(12)])
    screen = on_screen(CLIP, outcome, DELAY)
    assert [(instant.source, instant.state) for instant in screen[4:9]] == [
        (4, "whole"), (4, "frozen"), (5, "late"), (7, "whole"), (8, "whole"),
    ]  # fmt: skip
    assert view(CLIP, outcome, DELAY)[0].undecodable == 0


def test_a_frozen_stretch_of_more_than_200_ms_is_a_stall():
    shown = [(i, 0.1, 20 + 10 * i, 2) for i in (0, 1, 2, 8, 9, 10, 11)]
    result, _ = view(CLIP, session(CLIP, shown), DELAY)
    assert (result.frozen, result.undecodable) == (5, 5)
    assert result.stall_s == result.longest_gap_s == pytest.approx(6 / FPS)
    short = [(i, 0.1, 20 + 10 * i, 2) for i in (0, 1, 2, 7, 8, 9, 10, 11)]
    result, _ = view(CLIP, session(CLIP, short), DELAY)
    assert result.stall_s == 0 and result.longest_gap_s == pytest.approx(5 / FPS)  # 200 ms and no more


def test_a_decoder_that_repeats_its_last_picture_stalls_as_one_that_shows_nothing():
    whole = [(i, 0.1, 20 + 10 * i, 2) for i in (0, 1)]
    nothing = session(CLIP, whole)
    repeats = session(CLIP, whole + [(i, 0.1, 30, 0) for i in range(2, 12)])
    assert view(CLIP, nothing, DELAY)[0] == view(CLIP, repeats, DELAY)[0]
    assert view(CLIP, nothing, DELAY)[0].stall_s == pytest.approx(11 / FPS)


def test_a_still_clip_does_not_freeze_but_a_repeated_picture_of_a_moving_one_does():
    clip = clip_of([50] * 4 + [60])
    outcome = session(clip, [(0, 0.1, 48, 2), (1, 0.1, 48, 2), (3, 0.1, 48, 1), (4, 0.1, 48, 1)])
    assert states(clip, outcome) == ["whole", "whole", "still", "still", "frozen"]
    assert undecodable(clip, outcome) == 2  # frame 2 never came, frame 4 changed nothing


def test_before_the_first_picture_the_screen_is_grey_and_frozen():
    outcome = session(CLIP, [(i, 0.1, 20 + 10 * i, 2) for i in range(3, 12)])
    screen = on_screen(CLIP, outcome, DELAY)
    assert [instant.state for instant in screen[:4]] == ["frozen"] * 3 + ["whole"]
    assert screen[0].source is None and int(screen[0].picture.y.max()) == 128
    assert screen[0].delay == pytest.approx(0.1 + 3 / FPS)


def test_a_decoder_that_shows_grey_until_its_first_picture_has_shown_nothing():
    nothing = session(CLIP, [(i, 0.1, 20 + 10 * i, 2) for i in range(3, 12)])
    grey = session(CLIP, [(i, 0.1, 20 + 10 * i if i > 2 else 128, 2 * (i > 2)) for i in range(12)])
    assert view(CLIP, nothing, DELAY)[0] == view(CLIP, grey, DELAY)[0]
    assert view(CLIP, grey, DELAY)[0].undecodable == 3


def test_a_session_that_showed_nothing_has_figures_too():
    result, rows = view(CLIP, Outcome(), DELAY)
    assert (result.sent, result.skipped, result.frozen, result.undecodable) == (0, 12, 12, 0)
    assert result.stall_s == pytest.approx(13 / FPS)
    assert result.psnr_yuv == pytest.approx(np.mean([psnr_yuv(f, blank(f)) for f in CLIP.frames]))
    assert result.delay_p50_ms > DELAY * 1e3 and result.kbps == 0
    assert {row.source for row in rows} == {None}


def test_bits_on_the_wire_add_up_by_kind():
    outcome = session(CLIP, [], payload=100, side=30)
    packets = 24
    outcome.sizes = Counter(
        {
            ("data", "packets"): packets,
            ("data", "bytes"): packets * (100 + DATA_OVERHEAD),
            ("parity", "packets"): 4,
            ("parity", "bytes"): 500,
            ("retransmit", "packets"): 2,
            ("retransmit", "bytes"): 248,
            ("control", "packets"): 1,
            ("control", "bytes"): 60,
            ("feedback", "packets"): 12,
            ("feedback", "bytes"): 300,
        }
    )
    result, _ = view(CLIP, outcome, DELAY)
    per_byte = 8e-3 / (12 / FPS)
    assert result.media_kbps == pytest.approx((packets * 100 - 12 * 30) * per_byte)
    assert result.side_kbps == pytest.approx(12 * 30 * per_byte)
    assert result.parity_kbps == pytest.approx(500 * per_byte)
    assert result.headers_kbps == pytest.approx((28 * 31 + packets * DATA_OVERHEAD) * per_byte)
    kinds = ("media", "side", "parity", "retransmit", "control", "headers")
    assert result.kbps == pytest.approx(sum(getattr(result, f"{kind}_kbps") for kind in kinds))
    everything = sum(size for (kind, unit), size in outcome.sizes.items() if unit == "bytes" and kind != "feedback")
    assert result.kbps == pytest.approx((everything + 28 * 31) * per_byte)
    assert result.feedback_kbps == pytest.approx((300 + 12 * 28) * per_byte)


FATES = st.lists(st.tuples(st.booleans(), st.floats(0, 0.5), st.integers(0, 255), st.integers(0, 2)), max_size=12)


@given(FATES, st.floats(0, 0.5))
def test_whatever_happens_nothing_is_shown_before_it_is_due_or_there_and_all_instants_are_counted(fates, delay):
    shows, last = [], 0.0
    for index, (comes, after, level, used) in enumerate(fates):
        if comes:
            last = max(last, index / FPS + after)  # frames are shown in order
            shows.append((index, last - index / FPS, level, used))
    outcome = session(CLIP, shows)
    screen = on_screen(CLIP, outcome, delay)
    sources = [-1 if instant.source is None else instant.source for instant in screen]
    assert sources == sorted(sources) and all(a <= b for b, a in enumerate(sources))
    assert all(instant.shown is None or instant.shown.time <= instant.time + 1e-5 for instant in screen)
    assert all(instant.state in STATES and instant.delay > -1e-9 for instant in screen)
    result, _ = view(CLIP, outcome, delay, ())
    assert sum(getattr(result, state) for state in STATES) == 12
    assert 12 - len(shows) <= result.undecodable <= 12
    assert result.stall_s <= sum(gaps(screen, FPS)) + 1e-9


def test_only_the_quality_that_was_asked_for_is_measured():
    outcome = session(CLIP, [(i, 0.1, 20 + 10 * i, 2) for i in range(12)])
    result, rows = view(CLIP, outcome, DELAY, ("psnr_yuv",))
    assert (result.psnr_yuv, result.ssim_db, result.ms_ssim, result.vmaf) == (100, None, None, None)
    assert rows[0].ssim is None
    assert view(CLIP, outcome, DELAY, ("ms_ssim",))[0].ms_ssim is None  # 48 lines are too few for it
    with pytest.raises(ValueError, match="no measure called psnr"):
        view(CLIP, outcome, DELAY, ("psnr",))


def test_the_states_of_all_instants_are_columns_and_add_up():
    outcome = session(CLIP, [(i, 0.1, 20 + 10 * i, i % 3) for i in range(12) if i % 5])
    result, _ = view(CLIP, outcome, DELAY, ())
    assert sum(getattr(result, state) for state in STATES) == result.frames == 12


def test_a_real_session_without_loss_shows_every_frame_whole():
    rng = np.random.default_rng(1)
    noise = np.kron(rng.integers(60, 200, (8, 24)), np.ones((8, 8))).astype(np.uint8)
    chroma = np.full((32, 48), 128, np.uint8)
    frames = tuple(Frame(np.ascontiguousarray(noise[:, i : i + 96]), chroma, chroma) for i in range(6))
    clip, network = Clip("moving", VideoFormat(96, 64, Fraction(FPS)), frames), Network(rtt=0.04)
    result, outcome = run_stream(clip, Setup(), network)
    assert (result.whole, result.undecodable, result.clean) == (6, 0, True)
    assert result.psnr_yuv > 30 and result.delay_p98_ms < result.viewing_delay_ms
    assert [index for index, *_ in outcome.sent.values()] == list(range(6))


# name and unit of every column of a result table: readers of old files depend on them, so only add at the end
FROZEN_COLUMNS = """
psnr_yuv dB, ssim_db dB, ms_ssim, vmaf, frames, sent, skipped, whole, partial, extrapolated, late, still, frozen,
undecodable, stall_s s, longest_gap_s s, delay_p50_ms ms, delay_p95_ms ms, delay_p98_ms ms, viewing_delay_ms ms,
seconds s, kbps kbit/s, media_kbps kbit/s, side_kbps kbit/s, parity_kbps kbit/s, retransmit_kbps kbit/s,
control_kbps kbit/s, headers_kbps kbit/s, feedback_kbps kbit/s, recovered, replayed, clean
"""
FROZEN_ROW = "index time source state delay received packets size psnr_yuv ssim ms_ssim vmaf"


def test_the_columns_are_those_that_readers_know_and_each_has_a_meaning():
    expected = [column.split() for column in " ".join(FROZEN_COLUMNS.split()).split(",")]
    assert [[name, *([unit] if unit else [])] for name, unit, _ in COLUMNS] == expected
    assert all(meaning for *_, meaning in COLUMNS)
    assert [f.name for f in fields(Viewing)] == [name for name, *_ in COLUMNS]
    assert [f.name for f in fields(FrameRow)] == FROZEN_ROW.split()
