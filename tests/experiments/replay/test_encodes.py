"""Encodes that are kept are those that an encoder would make, and a damaged file of them only costs time."""

import itertools
from dataclasses import replace

import pytest

from lrae.codec import conventional
from lrae.codec.conventional.settings import find
from lrae.errors import ConfigError
from lrae.experiments.replay.charge import Charge
from lrae.experiments.replay.encodes import FILE, CachedEncoder, Encodes
from lrae.experiments.replay.footage import Footage, load
from lrae.experiments.replay.job import run_job

CLIP = Footage("clip", "synthetic:96x64@25x12", "0" * 16)
PLAIN = [("frame", False)] * 12
EVENTS = [("frame", False)] * 4 + [("rate", 60_000), ("frame", False), ("frame", True), ("rate", 150_000)]
EVENTS += [("frame", False)] * 4


def drive(encoder, events, frames):
    """What an encoder makes of these events."""
    made, number = [], 0
    for event, value in events:
        if event == "rate":
            encoder.bitrate = value
            made.append(encoder.bitrate)
        else:
            made.append(encoder.encode(replace(frames[number], time=number / 25), value))
            number += 1
    return made


@pytest.mark.parametrize("name", conventional.NAMES)
def test_what_is_kept_is_what_the_encoder_makes(name, tmp_path):
    try:
        find(name)
    except ConfigError as error:
        pytest.skip(str(error))
    frames = load(CLIP).frames
    counts = []
    for events in (PLAIN, EVENTS, EVENTS, PLAIN):
        plain = conventional.make_encoder(name, load(CLIP).format, 100_000, 1100)
        encodes = Encodes(tmp_path)
        cached = CachedEncoder(encodes, name, load(CLIP).format, 100_000, 1100)
        assert (cached.reopens, cached.refreshes) == (plain.reopens, plain.refreshes)
        assert drive(cached, events, frames) == drive(plain, events, frames)
        encodes.close()
        counts.append(cached.encoded)
    assert counts == [12, 10, 0, 0]  # an encoder that is opened late is told all from the beginning


def test_other_settings_or_pictures_are_not_confused(tmp_path):
    video, frames = load(CLIP).format, load(CLIP).frames
    encodes = Encodes(tmp_path)
    drive(CachedEncoder(encodes, "h264", video, 100_000, 1100), PLAIN, frames)
    for rate, room, shown in ((90_000, 1100, frames), (100_000, 1000, frames), (100_000, 1100, frames[::-1])):
        other = CachedEncoder(encodes, "h264", video, rate, room)
        drive(other, PLAIN, shown)
        assert other.encoded == 12


def test_a_damaged_file_only_costs_time(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    encodes = Encodes(tmp_path)
    encoder = CachedEncoder(encodes, "h264", load(CLIP).format, 100_000, 1100)
    assert len(drive(encoder, PLAIN, load(CLIP).frames)) == 12
    encodes.close()


def test_a_run_is_the_same_with_and_without_kept_encodes(jobs_of, tmp_path):
    (job,) = jobs_of(changes=[("64x48@25x8", "96x64@25x24"), ('"none", ', "")])
    folders = [None, str(tmp_path / "cache"), str(tmp_path / "cache")]
    rows = [run_job(job, Charge(0.005, 0.001), folder).row for folder in folders]
    for one, other in itertools.pairwise(rows):
        assert {k: v for k, v in one.items() if k not in ("date", "took_s")} == {
            k: v for k, v in other.items() if k not in ("date", "took_s")
        }
