"""What a matrix says is to be run, and what is refused."""

import pytest

from lrae.errors import ConfigError, LraeError
from lrae.experiments.replay.job import Job
from lrae.experiments.replay.matrix import load_matrix, plan, shipped

FULL = """
sequences = ["synthetic:64x48@25x8", "synthetic:96x64@30x8"]
seconds = 1
codecs = ["lrae", "h264", "vp8"]
bitrates = ["100k", 200_000, "auto"]
losses = ["none", "5%", 0.1, "ge:tambur"]
rtts_ms = [40, 150]
redundancy = ["none", "block:50", "streaming:200"]
retransmit = [false, true]
seeds = [0, 1]
"""


def test_every_combination_is_a_run_and_lrae_has_one_redundancy(jobs_of):
    jobs = jobs_of(FULL)
    assert len(jobs) == 2 * 3 * 4 * 2 * 2 * (1 + 2 * 3 * 2)
    assert len({job.run for job in jobs}) == len(jobs)
    assert {(j.condition.fec, j.condition.retransmit) for j in jobs if j.condition.codec == "lrae"} == {("auto", True)}
    assert {job.condition.bitrate for job in jobs} == {100_000, 200_000, None}


def test_tables_change_some_keys_and_what_they_share_is_run_once(jobs_of, tiny):
    head, charges = tiny.split("[codec_ms]")
    runs = "[[runs]]\n[[runs]]\nlosses = ['none', '5%']\n[[runs]]\nseeds = [7]\nlosses = 'none'\n"
    jobs = jobs_of(f"{head}{runs}[codec_ms]{charges}")
    assert [(j.condition.loss, j.condition.seed) for j in jobs] == [("none", 0), ("20%", 0), ("5%", 0), ("none", 7)]


def test_a_run_is_the_same_wherever_its_files_lie(jobs_of, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder, text in (("a", b"x"), ("b", b"x")):
        (tmp_path / folder / "clip.mp4").write_bytes(text)
    one, two = (jobs_of(changes=[("synthetic:64x48@25x8", f"{tmp_path}/{f}")]) for f in "ab")
    assert [job.run for job in one] == [job.run for job in two]
    (tmp_path / "b" / "clip.mp4").write_bytes(b"y")
    assert jobs_of(changes=[("synthetic:64x48@25x8", f"{tmp_path}/b")])[0].run != one[0].run


def test_a_run_survives_being_written_down(jobs_of):
    for job in jobs_of(FULL + "fit = '64x64'\n"):
        assert Job.from_json(job.to_json()) == job
    with pytest.raises(ConfigError, match="not a run"):
        Job.from_json("{}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("bitrates", "bitrate")], r"unknown key 'bitrate'; known: sequences, .*bitrates"),
        ([('["h264"]', '["h265", "h266"]')], "codecs: unknown codec 'h266'; known: lrae, h264"),
        ([('["h264"]', "[]")], "codecs: an empty list"),
        ([('"20%"', '"120%"')], "losses: loss probability 1.2"),
        ([('"20%"', '"wifi"')], "losses: loss 'wifi'"),
        ([('"100k"', '"fast"')], "bitrates: bitrate 'fast'"),
        ([('"100k"', "true")], "bitrates: True is not a text"),
        ([("= 40", "= [40, -1]")], "rtts_ms: -1 is not a number from 0"),
        ([("= false", "= 1")], "retransmit: 1 is neither"),
        ([("retransmit = false", "redundancy = 'block:300'")], "redundancy: .*block:300"),
        ([("retransmit = false", "seeds = 1.5")], "seeds: 1.5 is not a whole number"),
        ([("retransmit = false", "fit = 'wide'")], "fit: size 'wide'"),
        ([("retransmit = false", "runs = 3")], "runs: expected tables"),
        ([("retransmit = false", "runs = [{ loss = 1 }]")], "runs 1: unknown key 'loss'"),
        ([("h264 = [5, 1]", "h264 = [5]")], "codec_ms: h264: expected 2 numbers"),
        ([("h264 = [5, 1]", "h266 = [5, 1]")], "codec_ms: unknown codec 'h266'"),
        ([("h264 = [5, 1]", "h264 = [5, 1")], r"matrix.toml: Unclosed array"),
    ],
)
def test_a_wrong_key_or_value_is_named(matrix_of, changes, message):
    with pytest.raises(ConfigError, match=message):
        matrix_of(changes=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("synthetic:64x48@25x8", "nowhere.mp4")], "nowhere.mp4: No such file"),
        ([('"20%"', '"trace:nowhere.csv"')], "nowhere.csv: No such file"),
        ([("retransmit = false", "rates = 'mahimahi:nowhere'")], "nowhere: No such file"),
    ],
)
def test_a_missing_clip_or_trace_is_refused_unless_it_is_optional(jobs_of, matrix_of, tiny, changes, message):
    with pytest.raises(LraeError, match=message):
        jobs_of(changes=changes)
    head, charges = tiny.split("[codec_ms]")
    for old, new in changes:
        head = head.replace(old, new)
    sound = "sequences = 'synthetic:64x48@25x9'\nlosses = '1%'\nrates = '500'\nretransmit = true\n"
    runs = f"[[runs]]\noptional = true\n[[runs]]\n{sound}"
    jobs, notes = plan(matrix_of(f"{head}{runs}[codec_ms]{charges}"))
    assert len(jobs) == 1 and len(notes) == 1 and "optional" in notes[0]


def test_traces_lie_beside_the_matrix_and_a_malformed_one_is_refused_with_its_line(jobs_of, tmp_path):
    (tmp_path / "calls.csv").write_text("0101\n01x1\n")
    with pytest.raises(LraeError, match=r"calls.csv, line 2"):
        jobs_of(changes=[('"20%"', '"trace:calls.csv"')])
    (tmp_path / "calls.csv").write_text("0101\n")
    job = jobs_of(changes=[('"20%"', '"trace:calls.csv"')])[1]
    assert job.condition.loss == "trace:calls.csv" and job.traces == str(tmp_path)


def test_a_codec_that_libav_lacks_is_left_out_with_a_line(matrix_of, monkeypatch):
    def find(name):
        if name == "vp8":
            raise ConfigError("vp8: this build of libav has no encoder libvpx")

    monkeypatch.setattr("lrae.experiments.replay.matrix.find_codec", find)
    jobs, notes = plan(matrix_of(changes=[('["h264"]', '["vp8", "h264"]')]))
    assert {job.condition.codec for job in jobs} == {"h264"}
    assert notes == ["left out: vp8: this build of libav has no encoder libvpx"]


def test_two_clips_of_one_name_are_refused(jobs_of, tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(b"")
    with pytest.raises(LraeError, match="two clips are called 'clip'"):
        jobs_of(changes=[('["synthetic:64x48@25x8"]', f'["{tmp_path}/a", "{tmp_path}/b"]')])


@pytest.mark.parametrize("name", shipped())
def test_the_matrices_that_come_with_the_program_are_sound(name):
    assert load_matrix(name).blocks


def test_a_matrix_that_is_not_there_is_one_line():
    with pytest.raises(ConfigError, match=r"cannot read nowhere: .*headline, redundancy, smoke"):
        load_matrix("nowhere")
