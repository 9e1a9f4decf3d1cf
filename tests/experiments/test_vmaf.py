"""VMAF: scores from the ffmpeg process where there is one, a note and None where not, never a hang."""

import sys
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest

from lrae.codec.types import Frame, VideoFormat
from lrae.experiments import vmaf as module
from lrae.experiments.vmaf import missing, vmaf

VIDEO = VideoFormat(177, 96, Fraction(30000, 1001))
here = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def clip(count, height=96, width=177):
    rng = np.random.default_rng(5)
    base = cv2.GaussianBlur(rng.integers(0, 256, (height, width + count), np.uint8), (0, 0), 1.2)
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    return [Frame(np.ascontiguousarray(base[:, i : i + width]), chroma, chroma) for i in range(count)]


def blurred(frames):
    return [Frame(cv2.GaussianBlur(f.y, (0, 0), 1.5), f.u, f.v) for f in frames]


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Puts a Python script in ffmpeg's place; returns a function that takes its text."""

    def use(text):
        script = tmp_path / "ffmpeg"
        listing = "if '-filters' in sys.argv: print(' .. libvmaf  VV->V'); sys.exit()\n"
        script.write_text(f"#!{sys.executable}\nimport sys\n{listing}{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(module, "find_ffmpeg", lambda: str(script))
        module.missing.cache_clear()

    yield use
    module.missing.cache_clear()


@here
def test_each_picture_gets_a_score_and_only_the_damaged_ones_a_low_one():
    frames = clip(6)
    tests = frames[:3] + blurred(frames[3:])
    scores = vmaf(frames, tests, VIDEO)
    assert len(scores) == 6
    assert min(scores[:3]) > 90 > 80 > max(scores[3:])


@here
def test_the_reference_is_the_reference():
    frames = clip(4)
    assert np.mean(vmaf(frames, blurred(frames), VIDEO)) < np.mean(vmaf(blurred(frames), frames, VIDEO))


def test_clips_of_different_length_are_a_mistake():
    with pytest.raises(ValueError, match="2 references but 1"):
        vmaf(clip(2), clip(1), VIDEO)


@pytest.mark.parametrize(
    ("found", "note"),
    [(None, "no ffmpeg found"), (sys.executable, "without libvmaf"), ("/nowhere", "does not run")],
)
def test_without_a_fit_ffmpeg_there_is_one_note_and_none(monkeypatch, found, note):
    monkeypatch.setattr(module, "find_ffmpeg", lambda: found)
    module.missing.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=note):
            assert vmaf(clip(1), clip(1), VIDEO) is None
    finally:
        module.missing.cache_clear()


@pytest.mark.skipif(sys.platform == "win32", reason="needs scripts as programs")
@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("print('Invalid thing', file=sys.stderr); sys.exit(1)", "Invalid thing"),
        ("sys.stdin.buffer.read(); sys.exit(0)", "scores.json"),
        ("sys.stdin.buffer.read(); open('scores.json', 'w').write('{}')", "frames"),
        ("sys.stdin.buffer.read(); open('scores.json', 'w').write('{\"frames\": []}')", "0 scores for 2 pictures"),
    ],
)
def test_an_ffmpeg_that_fails_is_a_note_with_its_own_words(program, text, note):
    program(text)
    with pytest.warns(RuntimeWarning, match=note):
        assert vmaf(clip(2), clip(2), VIDEO) is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs scripts as programs")
def test_an_ffmpeg_that_hangs_is_killed_whether_it_reads_or_not(program, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 0.5)
    frames = clip(20)  # more than a pipe holds
    for text in ("import time; time.sleep(60)", "import time; sys.stdin.buffer.read(); time.sleep(60)"):
        program(text)
        start = time.monotonic()
        with pytest.warns(RuntimeWarning, match="ended with -9"):
            assert vmaf(frames, frames, VIDEO) is None
        assert time.monotonic() - start < 30


@here
def test_a_picture_too_small_for_vmaf_is_a_note_not_a_crash():
    video, frames = VideoFormat(16, 16), clip(2, 16, 16)
    with pytest.warns(RuntimeWarning, match="no VMAF of this clip"):
        assert vmaf(frames, frames, video) is None

